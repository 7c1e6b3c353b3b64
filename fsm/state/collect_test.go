package state_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

// keeper is a store whose leader's time is the test's.
type keeper struct {
	*statetest.DB
	t   *testing.T
	now time.Time
}

func newKeeper(t *testing.T) *keeper {
	k := &keeper{DB: statetest.NewOptions(t, state.Options{Tables: tables(t)}), t: t, now: time.Now()}
	k.SetClock(func() time.Time { return k.now })
	update(t, k.DB, func(tx *state.Tx) error { return state.Put(tx, &env{ID: "e1"}) })
	return k
}

const keepFor = 24 * time.Hour

func (k *keeper) collect() state.Collected {
	k.t.Helper()
	got, err := state.CollectContents(k.t.Context(), k, k.Local(), keepFor)
	if err != nil {
		k.t.Fatal(err)
	}
	return got
}

// later collects after so long.
func (k *keeper) later(d time.Duration) state.Collected {
	k.t.Helper()
	k.now = k.now.Add(d)
	return k.collect()
}

func (k *keeper) has(digest string) bool {
	k.t.Helper()
	_, ok := state.Content(k.Local(), "", digest)
	return ok
}

// rows counts the store's own rows about contents.
func (k *keeper) rows() (n int) {
	k.t.Helper()
	if err := state.Rows(k.Local(), func(r state.RawRow) error {
		if r.Table == "_contents" || r.Table == "_chunks" || r.Table == "_unnamed" {
			n++
		}
		return nil
	}); err != nil {
		k.t.Fatal(err)
	}
	return n
}

func (k *keeper) stage(size int) (digest string) {
	k.t.Helper()
	noise := make([]byte, size)
	_, _ = rand.Read(noise)
	digest, err := state.StageContent(k.t.Context(), k, "", noise)
	if err != nil {
		k.t.Fatal(err)
	}
	return digest
}

// name puts a row that names a content.
func (k *keeper) name(id, digest string) {
	k.t.Helper()
	update(k.t, k.DB, func(tx *state.Tx) error { return state.Put(tx, &item{ID: id, Env: "e1", Name: "of " + digest}) })
}

// TestContentsAreCollected: what a row names stays, what none names goes after an age, what came ahead of its row
// has the age to be named in.
func TestContentsAreCollected(t *testing.T) {
	k := newKeeper(t)
	if got := k.collect(); got != (state.Collected{}) {
		t.Errorf("of nothing: %+v", got)
	}
	named, ahead, lost := k.stage(1000), k.stage(300<<10), k.stage(500<<10)
	k.name("i1", named)
	if got := k.collect(); got != (state.Collected{Marked: 2}) {
		t.Errorf("at first: %+v", got)
	}
	if got := k.later(keepFor - time.Minute); got != (state.Collected{}) || !k.has(ahead) || !k.has(lost) {
		t.Errorf("before the age: %+v", got)
	}
	k.name("i2", ahead)
	if got := k.later(2 * time.Minute); got != (state.Collected{Deleted: 1}) {
		t.Errorf("after the age: %+v", got)
	}
	if !k.has(named) || !k.has(ahead) || k.has(lost) {
		t.Errorf("there are named %v, ahead %v, lost %v", k.has(named), k.has(ahead), k.has(lost))
	}
	update(t, k.DB, func(tx *state.Tx) error { state.Delete[item](tx, "i1"); state.Delete[item](tx, "i2"); return nil })
	k.later(time.Hour)
	if k.later(keepFor + time.Hour); k.rows() != 0 {
		t.Errorf("%d rows are left of contents that no row names", k.rows())
	}
}

// TestPartsOfNoContentAreCollected: an upload that broke off, and one that lost against the same content from elsewhere.
func TestPartsOfNoContentAreCollected(t *testing.T) {
	k := newKeeper(t)
	noise := make([]byte, 400<<10)
	_, _ = rand.Read(noise)
	ctx, cancel := context.WithCancel(t.Context())
	commits := 0
	k.BeforeCommit(func(*state.Commit) {
		if commits++; commits == 2 {
			cancel()
		}
	})
	if _, err := state.StageContent(ctx, k, "", noise); err == nil {
		t.Fatal("it did not break off")
	}
	k.BeforeCommit(nil)
	if k.rows() == 0 {
		t.Fatal("nothing was left of it")
	}
	if got := k.collect(); got != (state.Collected{Marked: 1}) {
		t.Errorf("at first: %+v", got)
	}
	digest, err := state.StageContent(t.Context(), k, "", noise) // once more, whole
	if err != nil {
		t.Fatal(err)
	}
	k.name("i1", digest)
	if got := k.later(keepFor + time.Minute); got != (state.Collected{Deleted: 1}) || !k.has(digest) {
		t.Errorf("after the age: %+v, the content is there: %v", got, k.has(digest))
	}
}

// TestAContentThatIsNamedMeanwhileStays puts a commit that names a content in between the collection's look and its
// commits, and the collection in between such a commit's look and itself.
func TestAContentThatIsNamedMeanwhileStays(t *testing.T) {
	body := []byte("what a row will name")
	nameIt := func(tx *state.Tx) error {
		digest, err := state.PutContent(tx, "", body)
		if err != nil {
			return err
		}
		return state.Put(tx, &item{ID: "i1", Env: "e1", Name: "of " + digest})
	}
	for _, c := range []struct {
		name   string
		marked time.Duration // before; 0 for not yet
		first  bool          // the collection begins
	}{
		{"it is about to be marked", 0, true},
		{"it is about to be deleted", keepFor + time.Hour, true},
		{"it was marked since the commit looked", 0, false},
		{"it was deleted since the commit looked", keepFor + time.Hour, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newKeeper(t)
			digest, err := state.StageContent(t.Context(), k, "", body)
			if err != nil {
				t.Fatal(err)
			}
			if c.marked > 0 {
				k.collect()
				k.now = k.now.Add(c.marked)
			}
			done := false
			between := func(f func()) {
				k.BeforeCommit(func(*state.Commit) {
					if !done {
						done = true
						f()
					}
				})
			}
			if c.first {
				between(func() {
					if err := k.Inject(nameIt); err != nil {
						t.Error(err)
					}
				})
				k.collect()
			} else {
				between(func() {
					if _, err := state.CollectContents(t.Context(), injector{k}, k.Local(), keepFor); err != nil {
						t.Error(err)
					}
				})
				update(t, k.DB, nameIt)
			}
			k.BeforeCommit(nil)
			if !done {
				t.Fatal("nothing came in between")
			}
			for range 3 {
				if k.later(keepFor + time.Hour); !k.has(digest) {
					t.Fatal("the content is gone, and a row names it")
				}
			}
		})
	}
}

// injector runs transactions past the hook of the test.
type injector struct{ k *keeper }

func (i injector) Update(_ context.Context, fn func(tx *state.Tx) error) error { return i.k.Inject(fn) }

// TestCollectionsAreBounded deletes a content of the largest size, and more small ones than one commit takes.
func TestCollectionsAreBounded(t *testing.T) {
	k := newKeeper(t)
	for i := range 700 {
		update(t, k.DB, func(tx *state.Tx) error {
			_, err := state.PutContent(tx, "", []byte(fmt.Sprint("content ", i)))
			return err
		})
	}
	k.stage(state.MaxContent)
	most := 0
	k.BeforeCommit(func(c *state.Commit) { most = max(most, len(c.Writes)) })
	if got := k.collect(); got.Marked != 701 {
		t.Errorf("%+v", got)
	}
	if got := k.later(keepFor + time.Hour); got.Deleted != 701 || k.rows() != 0 {
		t.Errorf("%+v, %d rows are left", got, k.rows())
	}
	if most > 600 {
		t.Errorf("a commit of the collection has %d writes", most)
	}
}
