package orchestrate_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

// TestUsageIsWhatIsStored: after random operations in two organizations the count is that before and what each transaction said
// that it adds; it is the same after a restore; and of what is deleted nothing is left.
func TestUsageIsWhatIsStored(t *testing.T) {
	db := statetest.New(t, orchestrate.Tables()...)
	rnd := rand.New(rand.NewPCG(1, 2))
	ids := map[string]string{}
	do := func(f func(tx *state.Tx) error) (grown map[string]int64) {
		t.Helper()
		if err := db.Update(t.Context(), func(tx *state.Tx) error {
			err := f(tx)
			grown = state.Grown(tx)
			return err
		}); err != nil && model.CodeOf(err) == model.Internal {
			t.Fatal(err)
		} else if err != nil {
			grown = nil
		}
		return grown
	}
	count := func() map[string]int64 {
		t.Helper()
		c, err := state.CountStored(db.Local())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, name := range []string{"acme", "corp"} {
		do(func(tx *state.Tx) error {
			o, err := orchestrate.CreateOrganization(tx, model.Organization{Name: name}, "", false)
			if err == nil {
				ids[name] = o.ID
			}
			return err
		})
	}
	sum := count()
	for i := range 300 {
		org := ids[[]string{"acme", "corp"}[rnd.IntN(2)]]
		n := rnd.IntN(8)
		grown := do(func(tx *state.Tx) error {
			env, _ := orchestrate.EnvironmentByName(tx, org, fmt.Sprint("E", n))
			switch rnd.IntN(4) {
			case 0:
				_, err := orchestrate.CreateEnvironment(tx, org, model.Environment{Name: fmt.Sprint("E", n)})
				return err
			case 1:
				if env == nil {
					return model.Errorf(model.NotFound, "none")
				}
				_, err := orchestrate.CreateHost(tx, org, env.ID, model.Host{Name: fmt.Sprint("h", i)})
				return err
			case 2:
				value, _ := json.Marshal(strings.Repeat("v", rnd.IntN(500)))
				owner := model.Owner{Level: model.LevelOrganization, OrgID: org, ID: org}
				_, err := orchestrate.CreateSetting(tx, owner, model.Setting{Key: fmt.Sprint("k", i), Value: value}, orchestrate.Trigger{})
				return err
			}
			if env == nil {
				return model.Errorf(model.NotFound, "none")
			}
			return orchestrate.DeleteEnvironment(tx, org, env.ID)
		})
		for o, by := range grown {
			sum[o] += by
		}
		if got := count(); got[ids["acme"]] != sum[ids["acme"]] || got[ids["corp"]] != sum[ids["corp"]] {
			t.Fatalf("operation %d: counted %v, by what was added %v", i, got, sum)
		}
	}
	db.Restore(t, db.Save(t))
	if got := count(); !maps.Equal(got, sum) {
		t.Fatalf("after a restore %v are counted, before it %v", got, sum)
	}
	for name, id := range ids {
		if got := state.StoredBytes(db.Local(), id); got != sum[id] {
			t.Errorf("%s has %d bytes by the machine's count, and stores %d", name, got, sum[id])
		}
	}
	thing := bytes.Repeat([]byte("0123456789 abc"), 1000)
	for range 2 { // the second time it is there already
		for o, by := range do(func(tx *state.Tx) error { _, err := state.PutContent(tx, ids["acme"], thing); return err }) {
			sum[o] += by
		}
		if got := state.StoredBytes(db.Local(), ids["acme"]); got != sum[ids["acme"]] {
			t.Errorf("with a content %d bytes are counted, by what was added %d", got, sum[ids["acme"]])
		}
	}
	do(func(tx *state.Tx) error { return orchestrate.DeleteOrganization(tx, ids["corp"]) })
	if n := state.StoredBytes(db.Local(), ids["corp"]); n != 0 {
		t.Errorf("%d bytes of a deleted organization are left", n)
	}
}
