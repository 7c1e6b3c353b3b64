package state_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/seal"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

// TestBytesAreCounted: after random writes of two organizations, rows in clear and sealed ones, contents, puts, edits and deletions of a
// row in one transaction and in one batch, what the machine counts is what a look at every row gives, and what each transaction
// said that it adds; on another node that took the log in other batches, and after a restore, too.
func TestBytesAreCounted(t *testing.T) {
	var log []*state.Commit
	db := statetest.New(t, orchestrate.Tables()...)
	db.BeforeCommit(func(c *state.Commit) { log = append(log, c) })
	before := db.Save(t)
	rnd := rand.New(rand.NewPCG(3, 4))
	orgs := []string{"o1", "o2"}
	sum := map[string]int64{}
	for _, id := range orgs {
		count(t, db, sum, func(tx *state.Tx) error {
			if err := state.Put(tx, &model.OrganizationRow{ID: id, Name: id, AccessKey: id}); err != nil {
				return err
			}
			return state.Put(tx, &model.EnvironmentRow{ID: "env-" + id, OrgID: id, Name: "e"})
		})
	}
	for i := range 400 {
		org := orgs[rnd.IntN(2)]
		count(t, db, sum, func(tx *state.Tx) error {
			for range 1 + rnd.IntN(4) {
				if err := randomWrite(tx, rnd, org, i); err != nil {
					return err
				}
			}
			return nil
		})
		same(t, fmt.Sprint("operation ", i), db.Local(), sum)
	}
	if sum["o1"] < 1000 || sum["o2"] < 1000 || len(sum) != 2 {
		t.Fatalf("the test stores too little: %v", sum)
	}
	for _, most := range []int{1, 7, 1000} { // another node, in batches of its own
		other := statetest.New(t, orchestrate.Tables()...)
		if err := other.Store().Restore(bytes.NewReader(before)); err != nil { // as of a leader
			t.Fatal(err)
		}
		replay(t, other.Store(), log, db.Local().Index()-uint64(len(log)), most)
		same(t, fmt.Sprint("in batches of ", most), other.Local(), sum)
	}
	db.Restore(t, db.Save(t))
	same(t, "after a restore", db.Local(), sum)
	count(t, db, sum, func(tx *state.Tx) error { // and it goes on from there
		return state.Put(tx, &model.HostRow{ID: "last", OrgID: "o1", EnvID: "env-o1", Name: "last"})
	})
	same(t, "after a write behind the restore", db.Local(), sum)
}

// randomWrite puts, edits or deletes a row or stores a content.
func randomWrite(tx *state.Tx, rnd *rand.Rand, org string, i int) error {
	id := fmt.Sprintf("%s-%d", org, rnd.IntN(12))
	switch rnd.IntN(6) {
	case 0:
		state.Delete[model.HostRow](tx, id)
	case 1:
		state.Delete[model.SettingRow](tx, (&model.SettingRow{Owner: model.Owner{Level: model.LevelOrganization, OrgID: org, ID: org}, Name: id}).Key())
	case 2:
		return state.Put(tx, &model.HostRow{ID: id, OrgID: org, EnvID: "env-" + org, Name: id, Description: strings.Repeat("d", rnd.IntN(300))})
	case 3:
		_, err := state.PutContent(tx, org, bytes.Repeat([]byte{byte(i), byte(rnd.IntN(3)), 7}, 1+rnd.IntN(2000)))
		return err
	case 4: // nobody's
		return state.Put(tx, &model.UserRow{ID: id, Username: id, Fullname: strings.Repeat("n", rnd.IntN(100))})
	default:
		return state.Put(tx, &model.SettingRow{Owner: model.Owner{Level: model.LevelOrganization, OrgID: org, ID: org}, Name: id, Value: fmt.Appendf(nil, "%q", strings.Repeat("v", rnd.IntN(700)))})
	}
	return nil
}

// count runs a transaction and adds what it says that it adds.
func count(t *testing.T, db *statetest.DB, sum map[string]int64, fn func(tx *state.Tx) error) {
	t.Helper()
	var grown map[string]int64
	if err := db.Update(t.Context(), func(tx *state.Tx) error {
		err := fn(tx)
		grown = state.Grown(tx)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for org, n := range grown {
		sum[org] += n
	}
}

// same compares the count of the machine, a look at all rows, and what is wanted.
func same(t *testing.T, when string, v *state.View, want map[string]int64) {
	t.Helper()
	looked, err := state.CountStored(v)
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(looked, want) {
		t.Fatalf("%s: the rows have %v, the transactions told of %v", when, looked, want)
	}
	for org, n := range want {
		if got := state.StoredBytes(v, org); got != n {
			t.Fatalf("%s: %s has %d bytes by the machine's count, and stores %d", when, org, got, n)
		}
	}
}

// replay applies commits as entries that follow an index, most of them in a batch.
func replay(t *testing.T, st *state.Store, log []*state.Commit, index uint64, most int) {
	t.Helper()
	for len(log) > 0 {
		b := st.Batch()
		n := min(most, len(log))
		for _, c := range log[:n] {
			index++
			b.Entry(index, 1)
			if res, err := b.Commit(c); err != nil || res.Outcome != state.Applied {
				t.Fatalf("replay the commit of index %d: %v %v", index, res, err)
			}
		}
		b.Publish()
		log = log[n:]
	}
}

func TestSealedSize(t *testing.T) {
	for _, domain := range []string{"", "o", strings.Repeat("d", 127), strings.Repeat("d", 128), strings.Repeat("d", 40_000)} {
		k := seal.NewDataKey(domain)
		for _, n := range []int{0, 1, 1000} {
			value := k.Seal(make([]byte, n), seal.Place{Table: "t", Key: "k"})
			if got := seal.SealedSize(domain, n); got != len(value) {
				t.Errorf("domain of %d, %d bytes: %d, and it is %d", len(domain), n, got, len(value))
			}
			if got, ok := seal.DomainOf(value); !ok || string(got) != domain {
				t.Errorf("domain of %d: %q %v", len(domain), got, ok)
			}
			for cut := range min(len(value), 60) {
				_, _ = seal.DomainOf(value[:cut])
			}
		}
	}
	if _, ok := seal.DomainOf([]byte(`{"orgId":"o"}`)); ok {
		t.Error("a value in clear has a domain")
	}
}
