package state_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

// randomTx is a transaction of random steps over few rows, the same for the same seed and the same state.
// It writes into seen all that it observes, also through its own writes.
func randomTx(seed uint64, seen *strings.Builder) func(tx *state.Tx) error {
	return func(tx *state.Tx) error {
		seen.Reset()
		r := rand.New(rand.NewPCG(seed, 1))
		id := func() string { return fmt.Sprint(r.IntN(6)) }
		parent := func() string { return fmt.Sprint("e", r.IntN(2)) }
		for range 1 + r.IntN(5) {
			switch r.IntN(8) {
			case 0:
				i, ok := state.Get[item](tx, id())
				fmt.Fprintln(seen, "get", show(i), ok)
			case 1:
				fmt.Fprintln(seen, "keys", state.Keys[item](tx, "env/"+parent()))
			case 2:
				for _, i := range state.List[item](tx, "env/"+parent()) {
					fmt.Fprintln(seen, "list", show(i))
				}
			case 3:
				i, ok := state.Find[item](tx, "name/"+parent()+"/n"+id())
				fmt.Fprintln(seen, "find", show(i), ok)
			case 4:
				state.Delete[item](tx, id())
			case 5:
				if i, ok := state.Edit[item](tx, id()); ok {
					i.Count++
					fmt.Fprintln(seen, "edit", show(i), state.Put(tx, i))
				}
			case 6:
				row := &item{ID: id(), Env: parent(), Name: "n" + id(), Count: int(seed)}
				fmt.Fprintln(seen, "put", show(row), state.Put(tx, row))
			case 7:
				e := &env{ID: parent(), Note: fmt.Sprint(seed)}
				if r.IntN(3) > 0 {
					fmt.Fprintln(seen, "env", state.Put(tx, e))
				} else {
					state.Delete[env](tx, e.ID)
				}
			}
		}
		return nil
	}
}

func show(i *item) string {
	if i == nil {
		return "-"
	}
	return fmt.Sprintf("%+v", *i)
}

// TestAppliedMeansNothingReadHadChanged computes transactions on views that then grow old, and commits them
// in random order. Each that is applied is first run again on the state just before: if it would have
// observed anything else there, the history has no serial order. Nodes that join by a snapshot must agree.
func TestAppliedMeansNothingReadHadChanged(t *testing.T) {
	for _, window := range []int{8, 1 << 16} {
		t.Run(fmt.Sprint("window ", window), func(t *testing.T) {
			seed := rand.Uint64()
			t.Log("seed", seed)
			r := rand.New(rand.NewPCG(seed, 2))
			db := statetest.NewOptions(t, state.Options{Window: window, Tables: tables(t)})
			type open struct {
				seed   uint64
				commit *state.Commit
				seen   string
			}
			var waiting []open
			got := map[state.Outcome]int{}
			for range 4000 {
				if len(waiting) < 6 && r.IntN(2) == 0 {
					o, seen := open{seed: r.Uint64() >> 32}, &strings.Builder{}
					c, err := db.Store().Attempt(state.TxOptions{}, randomTx(o.seed, seen))
					if err != nil {
						t.Fatal(err)
					}
					if c != nil {
						o.commit, o.seen = c, seen.String()
						waiting = append(waiting, o)
					}
					continue
				}
				if len(waiting) == 0 {
					continue
				}
				n := r.IntN(len(waiting))
				o := waiting[n]
				waiting = append(waiting[:n], waiting[n+1:]...)
				now := &strings.Builder{}
				if _, err := db.Store().Attempt(state.TxOptions{}, randomTx(o.seed, now)); err != nil {
					t.Fatal(err)
				}
				res := propose(t, db, o.commit)
				got[res.Outcome]++
				if res.Outcome == state.Applied && now.String() != o.seen {
					t.Fatalf("transaction %d was applied, but it had seen\n%s\nand would have seen\n%s", o.seed, o.seen, now)
				}
				if r.IntN(200) == 0 {
					checkCopy(t, db)
				}
			}
			t.Log(got)
			if got[state.Applied] < 300 || got[state.Conflict] < 100 || (got[state.TooOld] > 0) != (window == 8) || got[state.Malformed] > 0 {
				t.Errorf("outcomes %v do not test much", got)
			}
		})
	}
}

// checkCopy restores a snapshot into another store and compares.
func checkCopy(t *testing.T, db *statetest.DB) {
	t.Helper()
	st, err := state.NewStore(state.Options{Tables: tables(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Restore(snapshotOf(t, db)); err != nil {
		t.Fatal(err)
	}
	if a, b := db.Store().Fingerprint(), st.Fingerprint(); a != b {
		t.Fatalf("a copy has fingerprint %s, the original %s", b, a)
	}
}
