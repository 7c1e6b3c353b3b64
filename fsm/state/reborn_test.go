package state_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

// TestReborn exchanges rows between two clusters' states: what is the cluster's own stays, the rest is the backup's,
// and nothing of the epochs before counts any more.
func TestReborn(t *testing.T) {
	old, now := statetest.NewOptions(t, state.Options{Tables: tables(t)}), statetest.NewOptions(t, state.Options{Tables: tables(t)})
	put(t, old, &item{ID: "i1", Env: "e1", Name: "a", Count: 1}, &item{ID: "i2", Env: "e1", Name: "b", Count: 2})
	update(t, old, func(tx *state.Tx) error { return state.Put(tx, &env{ID: "own-of-old"}) })
	for range 20 { // its log and its term are further than the backup's
		put(t, now, &item{ID: "i1", Env: "e1", Name: "a", Count: 7}, &item{ID: "gone", Env: "e1", Name: "gone", Count: 9})
	}
	update(t, now, func(tx *state.Tx) error { return state.Put(tx, &env{ID: "own-of-now"}) })
	old.OpenTerm(40)
	now.OpenTerm(3)
	late, err := now.Store().Attempt(state.TxOptions{Now: time.Now()}, func(tx *state.Tx) error {
		return state.Put(tx, &env{ID: "late"})
	})
	if err != nil {
		t.Fatal(err)
	}
	own := func(table, key string) bool { return table == "envs" && len(key) > 4 && key[:4] == "own-" }
	sn, err := old.Store().Reborn(state.Rebirth{Epoch: 5, Term: 3, Own: own, Keep: now.Local()})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := sn.Write(&b); err != nil {
		t.Fatal(err)
	}
	sn.Release()
	if got := old.Local().Epoch(); got != 1 || len(state.Keys[env](old.Local(), "all")) != 2 {
		t.Errorf("the backup itself has changed: epoch %d", got)
	}
	ws := state.NewWatchSet()
	if _, ok := state.Get[item](now.Local().Watched(ws), "i1"); !ok {
		t.Fatal("no i1")
	}
	index := now.Local().Index()
	if err := now.Store().Restore(&b); err != nil {
		t.Fatal(err)
	}
	if err := ws.Wait(t.Context()); err != nil {
		t.Errorf("who watched did not wake: %v", err)
	}
	v := now.Local()
	if v.Epoch() != 5 || v.Term() != 3 || v.Index() < index {
		t.Errorf("epoch %d, term %d, index %d (was %d)", v.Epoch(), v.Term(), v.Index(), index)
	}
	if i, ok := state.Get[item](v, "i1"); !ok || i.Count != 1 {
		t.Errorf("i1 is %+v", i)
	}
	if _, ok := state.Get[item](v, "gone"); ok {
		t.Error("a row that is not in the backup is there still")
	}
	if got := state.Keys[item](v, "env/e1"); len(got) != 2 || got[1] != "i2" {
		t.Errorf("the range holds %v", got)
	}
	if got := state.Keys[env](v, "all"); len(got) != 2 || got[1] != "own-of-now" {
		t.Errorf("the environments are %v", got)
	}
	if res, err := now.Propose(t.Context(), late); err != nil || res.Outcome != state.TooOld {
		t.Errorf("a commit from before: %v, %v", res.Outcome, err)
	}
	// The log of the statetest goes on where it was; a cluster's goes on above the snapshot's index.
	for now.Local().Index() <= index {
		now.OpenTerm(4)
	}
	put(t, now, &item{ID: "i3", Env: "e1", Name: "c"})
	// A snapshot of a schema that the cluster has not raised would stop its other members.
	older := statetest.NewOptions(t, state.Options{Tables: tables(t), Known: state.SchemaFirst})
	_, err = old.Store().Reborn(state.Rebirth{Own: own, Keep: older.Local()})
	if model.CodeOf(err) != model.Conflict {
		t.Errorf("a state of a later schema: %v", err)
	}
	if sn, err = old.Store().Reborn(state.Rebirth{Own: own, Keep: now.Local()}); err != nil {
		t.Fatal(err)
	}
	defer sn.Release()
	b.Reset()
	if err := errors.Join(sn.Write(&b), now.Store().Restore(&b)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := state.Events(now.Local(), state.Version{Index: index}, 10, nil); model.CodeOf(err) != model.Gone {
		t.Errorf("events from a cursor of before the restore: %v", err)
	}
	if got := state.SchemaOf(now.Local()); got != state.Schema || now.Local().Epoch() != 6 {
		t.Errorf("schema %d, epoch %d: it must be after that of the present state, 5", got, now.Local().Epoch())
	}
}

// TestRebornWithoutAnother drops rows and goes on, as a recovery without quorum does.
func TestRebornWithoutAnother(t *testing.T) {
	db := statetest.NewOptions(t, state.Options{Tables: tables(t)})
	put(t, db, &item{ID: "i1", Env: "e1", Name: "a"}, &item{ID: "i2", Env: "e1", Name: "b"})
	v := db.Local()
	sn, err := db.Store().Reborn(state.Rebirth{Own: func(table, key string) bool { return table == "items" && key == "i2" }})
	if err != nil {
		t.Fatal(err)
	}
	defer sn.Release()
	var b bytes.Buffer
	if err := sn.Write(&b); err != nil {
		t.Fatal(err)
	}
	other, err := state.NewStore(state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Restore(&b); err != nil {
		t.Fatal(err)
	}
	w := other.View()
	if w.Epoch() != v.Epoch()+1 || w.Index() != v.Index() || w.Term() != v.Term() || !w.Now().Equal(db.Store().Now()) {
		t.Errorf("epoch %d, index %d, term %d, time %s", w.Epoch(), w.Index(), w.Term(), w.Now())
	}
	if got := state.Keys[item](w, "env/e1"); len(got) != 1 || got[0] != "i1" {
		t.Errorf("the range holds %v", got)
	}
}
