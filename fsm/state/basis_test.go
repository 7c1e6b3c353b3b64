package state_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/muster-hq/muster/fsm/state"
)

// What holds shows the same: after any writes, reads through a later view give what they gave, wherever the basis says so.
// What was read of other rows than those written goes on to hold.
func TestBasisHoldsWhileNothingChanged(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		db := newDB(t)
		envs, keys := []string{"e1", "e2", "e3"}, []string{"a", "b", "c", "d", "e", "f"}
		shown := func(r state.Reader, which int) string {
			switch env, key := envs[which%3], keys[which%6]; which % 4 {
			case 0:
				it, ok := state.Get[item](r, key)
				return fmt.Sprintf("%v %+v", ok, it)
			case 1:
				it, ok := state.Find[item](r, "env/"+env)
				return fmt.Sprintf("%v %+v", ok, it)
			case 2:
				text := ""
				for _, it := range state.List[item](r, "env/"+env) {
					text += fmt.Sprintf("%+v;", *it)
				}
				return text
			default:
				return fmt.Sprint(state.Keys[item](r, "env/"+env))
			}
		}
		type made struct {
			which int
			text  string
			basis *state.Basis
		}
		var all []made
		held, broken := 0, 0
		for range 150 {
			which := rng.IntN(12)
			ws := state.NewWatchSet()
			text := shown(db.Local().Watched(ws), which)
			basis, timed := ws.Basis(100)
			if basis == nil || timed {
				t.Fatalf("read %d has no basis, timed %v", which, timed)
			}
			all = append(all, made{which, text, basis})
			if key := keys[rng.IntN(6)]; rng.IntN(4) == 0 {
				if err := db.Update(t.Context(), func(tx *state.Tx) error { state.Delete[item](tx, key); return nil }); err != nil {
					t.Fatal(err)
				}
			} else {
				put(t, db, &item{ID: key, Env: envs[rng.IntN(3)], Name: fmt.Sprint(rng.IntN(4)) + key})
			}
			view := db.Local()
			all = slices.DeleteFunc(all, func(m made) bool {
				now := shown(view, m.which)
				if !m.basis.Holds(view) {
					broken++
					return true
				}
				if held++; now != m.text {
					t.Fatalf("seed %d: read %d gave %q, and gives %q, and is said to be the same", seed, m.which, m.text, now)
				}
				return false
			})
		}
		if held == 0 || broken == 0 {
			t.Errorf("seed %d: %d held, %d did not: nothing was tried", seed, held, broken)
		}
	}
}

// A basis is of one state: of an older view, another epoch, another life or another store it says nothing, and a reader
// that asked for the time is told.
func TestBasisIsOfOneState(t *testing.T) {
	db := newDB(t)
	old := db.Local()
	put(t, db, &item{ID: "a", Env: "e", Name: "a"})
	basisOf := func(views ...*state.View) (*state.Basis, bool) {
		ws := state.NewWatchSet()
		for _, v := range views {
			state.Get[item](v.Watched(ws), "a")
		}
		return ws.Basis(2)
	}
	b, _ := basisOf(db.Local())
	if !b.Holds(db.Local()) || !b.Holds(db.Local().At(db.Now().Add(time.Hour))) {
		t.Error("what was just read does not hold")
	}
	if b.Holds(old) {
		t.Error("it holds in a view older than itself")
	}
	if other := newDB(t); b.Holds(other.Local()) {
		t.Error("it holds in another store")
	}
	if b, _ := basisOf(old, db.Local()); b != nil {
		t.Error("two states have one basis")
	}
	if b, _ := basisOf(); b != nil {
		t.Error("nothing has a basis")
	}
	ws := state.NewWatchSet()
	v := db.Local().Watched(ws)
	state.Get[item](v, "a")
	state.Get[item](v, "b")
	if b, _ := ws.Basis(2); b != nil {
		t.Error("more than the limit has a basis")
	}
	ws = state.NewWatchSet()
	v = db.Local().Watched(ws)
	state.Get[item](v, "a")
	if v.Now().IsZero() {
		t.Error("there is no time")
	}
	if _, timed := ws.Basis(2); !timed {
		t.Error("nobody is told that the time was asked for")
	}
	if err := db.Store().Restore(snapshotOf(t, db)); err != nil {
		t.Fatal(err)
	}
	if b.Holds(db.Local()) {
		t.Error("it holds after a restore")
	}
}
