package state_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-hq/muster/fsm/state"
)

// A reader that saw an earlier state is told at once of what it has missed, and of nothing else.
func TestWatchSetSince(t *testing.T) {
	db := newDB(t)
	put(t, db, &item{ID: "a", Env: "e", Name: "a"}, &item{ID: "b", Env: "e", Name: "b"})
	saw := db.Local().Index()
	put(t, db, &item{ID: "a", Env: "e", Name: "a2"})
	for _, c := range []struct {
		key   string
		since uint64
		want  bool
	}{{"a", saw, true}, {"a", saw + 1, false}, {"b", saw, false}, {"b", saw - 1, true}, {"absent", saw, false}} {
		ws := state.NewWatchSetSince(c.since)
		state.Get[item](db.Local().Watched(ws), c.key)
		if got := ws.Changed(); got != c.want {
			t.Errorf("%s has changed since %d: %v", c.key, c.since, got)
		}
	}
	ws := state.NewWatchSet()
	state.Get[item](db.Local().Watched(ws), "a")
	if ws.Changed() {
		t.Error("what was just read has changed")
	}
	if state.NewWatchSetSince(0).Changed() {
		t.Error("nothing that was read has changed")
	}
}

// Await gives a view that holds an entry, and what was read through it is watched as before.
func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDB(t)
		ws := state.NewWatchSet()
		v := db.Local().Watched(ws)
		if same, err := v.Await(t.Context(), v.Index()); err != nil || same != v {
			t.Errorf("an index that is there: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := v.Await(ctx, v.Index()+1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("an index that does not come: %v", err)
		}
		got := make(chan *state.View)
		go func() {
			later, err := v.Await(t.Context(), v.Index()+1)
			if err != nil {
				t.Error(err)
			}
			got <- later
		}()
		synctest.Wait()
		put(t, db, &item{ID: "a", Env: "e", Name: "a"})
		later := <-got
		if _, ok := state.Get[item](later, "a"); !ok || later.Index() != v.Index()+1 {
			t.Errorf("index %d after %d", later.Index(), v.Index())
		}
		put(t, db, &item{ID: "a", Env: "e", Name: "b"})
		if !ws.Changed() {
			t.Error("what was read through the later view is not watched")
		}
	})
}
