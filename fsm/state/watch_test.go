package state_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

// TestWatchWakesOnlyThoseConcerned reads in different ways, makes each change, and looks who woke.
func TestWatchWakesOnlyThoseConcerned(t *testing.T) {
	reads := map[string]struct {
		fn    func(v *state.View)
		wakes []string
	}{
		"row":     {func(v *state.View) { state.Get[item](v, "in") }, []string{"edit member", "rename member", "delete member", "move member"}},
		"absent":  {func(v *state.View) { state.Get[item](v, "new") }, []string{"create member"}},
		"members": {func(v *state.View) { state.Keys[item](v, "env/e") }, []string{"create member", "delete member", "move member"}},
		"content": {func(v *state.View) { state.List[item](v, "env/e") }, []string{"edit member", "rename member", "create member", "delete member", "move member"}},
		"name":    {func(v *state.View) { state.Find[item](v, "name/e/new") }, []string{"create member"}},
		"parent":  {func(v *state.View) { state.VersionOf[env](v, "e") }, []string{"edit parent", "delete parent"}},
	}
	for change, fn := range changes {
		t.Run(change, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db := newDB(t)
				put(t, db, &item{ID: "in", Env: "e", Name: "in"}, &item{ID: "o", Env: "other", Name: "o"})
				ctx, cancel := context.WithCancel(t.Context())
				woke := make(map[string]error)
				var names []string
				done := make(chan string)
				results := make(map[string]*error)
				for name, r := range reads {
					ws := state.NewWatchSet()
					r.fn(db.Local().Watched(ws))
					names = append(names, name)
					var err error
					results[name] = &err
					go func() { err = ws.Wait(ctx); done <- name }()
				}
				synctest.Wait() // all wait
				update(t, db, fn)
				synctest.Wait() // those concerned have ended
				cancel()
				for range names {
					name := <-done
					woke[name] = *results[name]
				}
				for name, r := range reads {
					want := false
					for _, w := range r.wakes {
						want = want || w == change
					}
					if want && woke[name] != nil {
						t.Errorf("%s slept through: %v", name, woke[name])
					}
					if !want && !errors.Is(woke[name], context.Canceled) {
						t.Errorf("%s woke: %v", name, woke[name])
					}
				}
			})
		})
	}
}

func TestWatchSeesWhatCameBeforeTheWait(t *testing.T) {
	db := newDB(t)
	put(t, db, &item{ID: "1", Env: "e", Name: "n"})
	ws := state.NewWatchSet()
	v := db.Local().Watched(ws)
	update(t, db, changesTo("1", 5))
	if i, _ := state.Get[item](v, "1"); i.Count != 0 {
		t.Errorf("the view moved: %+v", i)
	}
	if err := ws.Wait(t.Context()); err != nil {
		t.Errorf("a change between view and wait was missed: %v", err)
	}
}

func TestWatchOfNothingEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := state.NewWatchSet().Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func snapshotOf(t *testing.T, db *statetest.DB) *bytes.Buffer {
	t.Helper()
	sn := db.Store().Snapshot()
	defer sn.Release()
	var buf bytes.Buffer
	if err := sn.Write(&buf); err != nil {
		t.Fatal(err)
	}
	return &buf
}

// TestReadingDuringTheWait is what a sender does that waits for news while it still writes out what it read.
func TestReadingDuringTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDB(t)
		put(t, db, &item{ID: "a", Env: "e", Name: "a"}, &item{ID: "b", Env: "e", Name: "b"})
		ws := state.NewWatchSet()
		v := db.Local().Watched(ws)
		state.Get[item](v, "a")
		ctx, cancel := context.WithCancel(t.Context())
		waited := make(chan error, 1)
		go func() { waited <- ws.Wait(ctx) }()
		synctest.Wait()
		read := make(chan bool, 1)
		go func() { _, ok := state.Get[item](v, "b"); read <- ok }()
		synctest.Wait()
		select {
		case ok := <-read:
			if !ok {
				t.Error("b was not found")
			}
		default:
			t.Error("the read waits for the wait")
		}
		put(t, db, &item{ID: "b", Env: "e", Name: "b2"})
		synctest.Wait()
		select {
		case err := <-waited:
			t.Errorf("what was read during the wait woke it: %v", err)
		default:
		}
		put(t, db, &item{ID: "a", Env: "e", Name: "a2"})
		if err := <-waited; err != nil {
			t.Errorf("slept through: %v", err)
		}
		cancel()
	})
}

func TestRestoreWakesWatchers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, other := newDB(t), newDB(t)
		put(t, db, &item{ID: "1", Env: "e", Name: "n"})
		put(t, other, &item{ID: "1", Env: "e", Name: "n", Count: 42})
		waiting, before := state.NewWatchSet(), state.NewWatchSet()
		state.Get[item](db.Local().Watched(waiting), "1")
		old := db.Local().Watched(before)
		state.Get[item](old, "1")
		done := make(chan error, 1)
		go func() { done <- waiting.Wait(t.Context()) }()
		synctest.Wait()
		if err := db.Store().Restore(snapshotOf(t, other)); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Errorf("a waiter: %v", err)
		}
		if err := before.Wait(t.Context()); err != nil {
			t.Errorf("one that waits after the restore: %v", err)
		}
		if i, _ := state.Get[item](db.Local(), "1"); i.Count != 42 {
			t.Errorf("restored %+v", i)
		}
		if i, _ := state.Get[item](old, "1"); i.Count != 0 {
			t.Errorf("the view from before the restore moved: %+v", i)
		}
	})
}
