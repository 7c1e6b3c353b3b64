package state_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

// recordsOf decompresses a snapshot of either form, without the code that is tested.
func recordsOf(t *testing.T, data []byte) (all []byte) {
	t.Helper()
	magic, body := string(data[:8]), data[8:]
	switch magic {
	case "musterS1":
		z, err := zstd.NewReader(bytes.NewReader(body[:len(body)-32]))
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		if all, err = io.ReadAll(z); err != nil {
			t.Fatal(err)
		}
	case "musterS3":
		for n := binary.LittleEndian.Uint32(body); n > 0; n = binary.LittleEndian.Uint32(body) {
			n += 8
			part, err := s2.Decode(nil, body[8:n])
			if err != nil {
				t.Fatal(err)
			}
			all, body = append(all, part...), body[n:]
		}
	default:
		t.Fatalf("a snapshot that begins with %q", magic)
	}
	return all
}

// tagsOf counts the records of a snapshot by tag.
func tagsOf(t *testing.T, data []byte) map[byte]int {
	t.Helper()
	in, tags := bufio.NewReader(bytes.NewReader(recordsOf(t, data))), map[byte]int{}
	for {
		tag, err := in.ReadByte()
		if errors.Is(err, io.EOF) {
			return tags
		}
		n, err2 := binary.ReadUvarint(in)
		if _, err3 := in.Discard(int(n)); err != nil || err2 != nil || err3 != nil {
			t.Fatal(err, err2, err3)
		}
		tags[tag]++
	}
}

func events(t *testing.T, v *state.View, after state.Version, max int, match func(*state.Event) bool) ([]state.Event, state.Version) {
	t.Helper()
	evs, next, err := state.Events(v, after, max, match)
	if err != nil {
		t.Fatalf("events after %s: %v", after, err)
	}
	return evs, next
}

func TestEventsTellWhatHappened(t *testing.T) {
	db := newDB(t)
	from := state.EventsEnd(db.Local())
	update(t, db, func(tx *state.Tx) error {
		tx.SetActor("me")
		for _, e := range []string{"e", "f"} {
			if err := state.Put(tx, &env{ID: e}); err != nil {
				return err
			}
		}
		if err := state.Put(tx, &item{ID: "1", Env: "e", Name: "silent"}); err != nil {
			return err
		}
		return state.Put(tx, &item{ID: "2", Env: "e", Name: "n"})
	})
	update(t, db, func(tx *state.Tx) error {
		state.Delete[item](tx, "2")
		state.Delete[env](tx, "f")
		if err := state.Put(tx, &env{ID: "f", Note: "again"}); err != nil { // deleted and put: an update
			return err
		}
		if err := state.Put(tx, &env{ID: "g"}); err != nil {
			return err
		}
		state.Delete[env](tx, "g") // never was
		i, _ := state.Edit[item](tx, "1")
		i.Name = "loud"
		return state.Put(tx, i)
	})
	evs, next := events(t, db.Local(), from, 100, nil)
	var got []string
	for i, e := range evs {
		got = append(got, fmt.Sprintf("%s %s %s %s", e.Org, e.Kind, e.Object, e.Actor))
		if i > 0 && (e.Version.Index < evs[i-1].Version.Index || e.Version == evs[i-1].Version) || e.Time.IsZero() {
			t.Errorf("event %d: version %s after %s, time %v", i, e.Version, evs[i-1].Version, e.Time)
		}
	}
	want := []string{"org-e envs.created e me", "org-f envs.created f me", "org-e items.created item n me",
		"org-f envs.updated f ", "org-e items.updated item loud ", "org-e items.deleted item n "}
	if !slices.Equal(got, want) {
		t.Errorf("events\n%q\nwant\n%q", got, want)
	}
	if v, _ := state.VersionOf[item](db.Local(), "1"); v != evs[4].Version {
		t.Errorf("the event's version is %s, the row's %s", evs[4].Version, v)
	}
	if more, again := events(t, db.Local(), next, 100, nil); len(more) != 0 || again != next {
		t.Errorf("after all: %v, then %s after %s", more, again, next)
	}
	onlyF := func(e *state.Event) bool { return e.Org == "org-f" }
	var read []state.Event
	at := from
	for range 20 { // one event at a time
		var evs []state.Event
		evs, at = events(t, db.Local(), at, 1, onlyF)
		read = append(read, evs...)
	}
	if len(read) != 2 || at != next {
		t.Errorf("read one by one: %v, then %s, want %s", read, at, next)
	}
}

// TestEventReadsConflictWithNothing: what an event names is looked up in passing.
func TestEventReadsConflictWithNothing(t *testing.T) {
	look := state.Define[item](state.TableOptions[item]{Event: func(r state.Reader, i *item) (string, string, bool) {
		e, ok := state.Get[env](r, i.Env)
		if !ok || len(state.Keys[env](r, "all")) == 0 || len(state.List[env](r, "all")) == 0 {
			return "", "", false
		}
		return e.Note, i.ID, true
	}})
	db := statetest.New(t, look, state.Define[env](state.TableOptions[env]{}))
	from := state.EventsEnd(db.Local())
	update(t, db, func(tx *state.Tx) error {
		if err := state.Put(tx, &env{ID: "e", Note: "in this transaction"}); err != nil {
			return err
		}
		return state.Put(tx, &item{ID: "1", Env: "e"})
	})
	c := attempt(t, db, changesTo("1", 5))
	update(t, db, func(tx *state.Tx) error { return state.Put(tx, &env{ID: "e", Note: "edited"}) })
	if res := propose(t, db, c); res.Outcome != state.Applied {
		t.Errorf("the event's read conflicts: %+v", res)
	}
	evs, _ := events(t, db.Local(), from, 9, nil)
	if len(evs) != 2 || evs[0].Org != "in this transaction" || evs[1].Object != "1" {
		t.Errorf("events %+v", evs)
	}
}

func TestOldEventsAreGone(t *testing.T) {
	db := statetest.NewOptions(t, state.Options{Tables: tables(t), EventBytes: 3000})
	from := state.EventsEnd(db.Local())
	put(t, db, &item{ID: "1", Env: "e", Name: "n"})
	events(t, db.Local(), from, 1, nil)
	kept := 0
	for n := range 1000 {
		update(t, db, changesTo("1", n))
		evs, _ := events(t, db.Local(), state.EventsStart(db.Local()), 1000, nil)
		kept = len(evs)
		if last := evs[kept-1].Version; last.Index != db.Local().Index() {
			t.Fatalf("the last event is %s at index %d", last, db.Local().Index())
		}
	}
	if kept < 15 || kept > 30 {
		t.Errorf("%d events are kept in 3000 bytes", kept)
	}
	_, _, err := state.Events(db.Local(), from, 1, nil)
	if model.CodeOf(err) != model.Gone {
		t.Errorf("events that were forgotten: %v", err)
	}
}

// TestEventRingIsTheSameOnEveryNode applies one log to nodes that get it in batches of other sizes, and to one that
// is restored from a snapshot now and then. All must keep, and forget, the same.
func TestEventRingIsTheSameOnEveryNode(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 8))
	o := state.Options{Tables: tables(t), EventBytes: 20000, Window: 300}
	db := statetest.NewOptions(t, o)
	put(t, db, &item{ID: "1", Env: "e", Name: "n"})
	nodes := make([]*state.Store, 3)
	for i := range nodes {
		var err error
		if nodes[i], err = state.NewStore(o); err != nil {
			t.Fatal(err)
		}
		if err := nodes[i].Restore(snapshotOf(t, db)); err != nil {
			t.Fatal(err)
		}
	}
	type entry struct {
		index   uint64
		time    int64
		commits []*state.Commit
	}
	var log []entry
	for n := range 1500 {
		e := entry{index: db.Store().AppliedIndex() + 1, time: int64(n)}
		for range 1 + r.IntN(3) {
			c := attempt(t, db, changesTo("1", n))
			if r.IntN(2) == 0 {
				id := fmt.Sprint(r.IntN(30))
				c = attempt(t, db, func(tx *state.Tx) error {
					tx.SetActor(fmt.Sprint("actor", r.IntN(3)))
					if err := state.Put(tx, &env{ID: "e" + id}); err != nil {
						return err
					}
					return state.Put(tx, &item{ID: id, Env: "e" + id, Name: id})
				})
			}
			e.commits = append(e.commits, c)
		}
		log = append(log, e)
		applyEntries(t, db.Store(), e.index, e.time, e.commits)
	}
	for i, st := range nodes {
		for rest := log; len(rest) > 0; {
			n := min(len(rest), 1+i*r.IntN(50))
			b := st.Batch()
			for _, e := range rest[:n] {
				b.Entry(e.index, e.time)
				for _, c := range e.commits {
					if _, err := b.Commit(c); err != nil {
						t.Fatal(err)
					}
				}
			}
			b.Publish()
			rest = rest[n:]
			if i == 2 && r.IntN(10) == 0 {
				st = restored(t, st, o)
			}
		}
		if a, b := db.Store().Fingerprint(), st.Fingerprint(); a != b {
			t.Errorf("node %d has fingerprint %s, the first %s", i, b, a)
		}
		a, endA := events(t, db.Local(), state.EventsStart(db.Local()), 1e6, nil)
		b, endB := events(t, st.View(), state.EventsStart(st.View()), 1e6, nil)
		if !slices.Equal(a, b) || endA != endB || len(a) < 50 {
			t.Errorf("node %d has %d events up to %s, the first %d up to %s", i, len(b), endB, len(a), endA)
		}
	}
}

func applyEntries(t *testing.T, st *state.Store, index uint64, at int64, commits []*state.Commit) {
	t.Helper()
	b := st.Batch()
	b.Entry(index, at)
	for _, c := range commits {
		if _, err := b.Commit(c); err != nil {
			t.Fatal(err)
		}
	}
	b.Publish()
}

// restored is the state of a store in another one.
func restored(t *testing.T, from *state.Store, o state.Options) *state.Store {
	t.Helper()
	st, err := state.NewStore(o)
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	sn := from.Snapshot()
	defer sn.Release()
	if err := sn.Write(&buf); err != nil {
		t.Fatal(err)
	}
	if err := st.Restore(&buf); err != nil {
		t.Fatal(err)
	}
	return st
}

func TestWatchOfEventsWakesOnlyTheOrganization(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDB(t)
		put(t, db, &item{ID: "1", Env: "e", Name: "n"}, &item{ID: "2", Env: "f", Name: "n"}, &item{ID: "3", Env: "f", Name: "silent"})
		woke := map[string]bool{}
		done := make(chan string, 4)
		wait := func(name string, orgs ...string) {
			ws := state.NewWatchSet()
			ws.Events(db.Local(), orgs...)
			go func() {
				if ws.Wait(t.Context()) == nil {
					done <- name
				}
			}()
		}
		wait("any")
		wait("e", "org-e")
		wait("f", "org-f")
		wait("both", "org-e", "org-f")
		synctest.Wait()
		update(t, db, changesTo("3", 1)) // tells nothing
		synctest.Wait()
		if len(done) != 0 {
			t.Errorf("%s woke for a change without an event", <-done)
		}
		update(t, db, changesTo("1", 1))
		synctest.Wait()
		for len(done) > 0 {
			woke[<-done] = true
		}
		if !woke["any"] || !woke["e"] || !woke["both"] || woke["f"] {
			t.Errorf("woke: %v", woke)
		}
		update(t, db, changesTo("2", 1))
		synctest.Wait()
		if len(done) != 1 || <-done != "f" {
			t.Error("the other organization's reader slept through its event")
		}
	})
}
