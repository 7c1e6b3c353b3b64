package state_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

// propose applies one commit and gives its result.
func propose(t *testing.T, db *statetest.DB, c *state.Commit) state.Result {
	t.Helper()
	res, err := db.Propose(t.Context(), c)
	if err != nil {
		t.Fatalf("propose: %v", err)
	}
	return res
}

// attempt computes a commit on the present state, without applying it.
func attempt(t *testing.T, db *statetest.DB, fn func(tx *state.Tx) error) *state.Commit {
	t.Helper()
	c, err := db.Store().Attempt(state.TxOptions{}, fn)
	if err != nil || c == nil {
		t.Fatalf("attempt: commit %v, error %v", c, err)
	}
	return c
}

// The changes that a transaction may meet between its view and its verification.
var changes = map[string]func(tx *state.Tx) error{
	"edit member": func(tx *state.Tx) error {
		i, _ := state.Edit[item](tx, "in")
		i.Count++
		return state.Put(tx, i)
	},
	"rename member": func(tx *state.Tx) error {
		i, _ := state.Edit[item](tx, "in")
		i.Name = "renamed"
		return state.Put(tx, i)
	},
	"create member": func(tx *state.Tx) error { return state.Put(tx, &item{ID: "new", Env: "e", Name: "new"}) },
	"delete member": func(tx *state.Tx) error { state.Delete[item](tx, "in"); return nil },
	"move member": func(tx *state.Tx) error {
		i, _ := state.Edit[item](tx, "in")
		i.Env = "other"
		return state.Put(tx, i)
	},
	"edit parent":   func(tx *state.Tx) error { return state.Put(tx, &env{ID: "e", Note: "edited"}) },
	"delete parent": func(tx *state.Tx) error { state.Delete[env](tx, "e"); return nil },
	"elsewhere":     func(tx *state.Tx) error { return state.Put(tx, &item{ID: "far", Env: "other", Name: "far"}) },
}

// TestWhatConflictsWithWhat is the table of section 4: which read conflicts with which change.
func TestWhatConflictsWithWhat(t *testing.T) {
	for read, c := range map[string]struct {
		fn   func(tx *state.Tx)
		with []string
	}{
		"row": {func(tx *state.Tx) { state.Get[item](tx, "in") },
			[]string{"edit member", "rename member", "delete member", "move member"}},
		"absent row":  {func(tx *state.Tx) { state.Get[item](tx, "new") }, []string{"create member"}},
		"version":     {func(tx *state.Tx) { state.VersionOf[env](tx, "e") }, []string{"edit parent", "delete parent"}},
		"members":     {func(tx *state.Tx) { state.Keys[item](tx, "env/e") }, []string{"create member", "delete member", "move member"}},
		"content":     {func(tx *state.Tx) { state.List[item](tx, "env/e") }, []string{"edit member", "rename member", "create member", "delete member", "move member"}},
		"free name":   {func(tx *state.Tx) { state.Find[item](tx, "name/e/new") }, []string{"create member"}},
		"taken name":  {func(tx *state.Tx) { state.Find[item](tx, "name/e/in") }, []string{"edit member", "rename member", "delete member", "move member"}},
		"parent":      {func(tx *state.Tx) { _ = state.Put(tx, &item{ID: "child", Env: "e", Name: "child"}) }, []string{"delete parent"}},
		"own write":   {func(tx *state.Tx) { _ = state.Put(tx, &item{ID: "in", Env: "other"}) }, []string{"edit member", "rename member", "delete member", "move member"}},
		"own create":  {func(tx *state.Tx) { _ = state.Put(tx, &item{ID: "new", Env: "other"}) }, []string{"create member"}},
		"own delete":  {func(tx *state.Tx) { state.Delete[item](tx, "in") }, []string{"edit member", "rename member", "delete member", "move member"}},
		"delete none": {func(tx *state.Tx) { state.Delete[item](tx, "new") }, []string{"create member"}},
		"put, delete": {func(tx *state.Tx) {
			_ = state.Put(tx, &item{ID: "new", Env: "other"})
			state.Delete[item](tx, "new")
		}, []string{"create member"}},
	} {
		for change, fn := range changes {
			t.Run(read+" against "+change, func(t *testing.T) {
				db := newDB(t)
				put(t, db, &item{ID: "in", Env: "e", Name: "in"}, &item{ID: "o", Env: "other", Name: "o"})
				commit := attempt(t, db, func(tx *state.Tx) error {
					c.fn(tx)
					return state.Put(tx, &env{ID: "witness"})
				})
				update(t, db, fn)
				want := state.Applied
				if slices.Contains(c.with, change) {
					want = state.Conflict
				}
				res := propose(t, db, commit)
				if res.Outcome != want {
					t.Errorf("%s, want %s", res.Outcome, want)
				}
				if _, ok := state.Get[env](db.Local(), "witness"); ok != (want == state.Applied) {
					t.Errorf("outcome %s, but the write's presence is %v", res.Outcome, ok)
				}
				if (res.ConflictKey != "") != (want == state.Conflict) {
					t.Errorf("conflict key %q", res.ConflictKey)
				}
			})
		}
	}
}

func TestRepeatedCommitTakesEffectOnce(t *testing.T) {
	db := newDB(t)
	put(t, db, &item{ID: "1", Env: "e", Name: "n"})
	c := attempt(t, db, func(tx *state.Tx) error {
		i, _ := state.Edit[item](tx, "1")
		i.Count++
		return state.Put(tx, i)
	})
	first := propose(t, db, c)
	update(t, db, changesTo("1", 100))
	if again := propose(t, db, c); again != first || first.Outcome != state.Applied {
		t.Errorf("the repeat got %+v, the first %+v", again, first)
	}
	if i, _ := state.Get[item](db.Local(), "1"); i.Count != 100 {
		t.Errorf("the repeat changed the row: %+v", i)
	}
}

func changesTo(id string, count int) func(tx *state.Tx) error {
	return func(tx *state.Tx) error {
		i, _ := state.Edit[item](tx, id)
		i.Count = count
		return state.Put(tx, i)
	}
}

// TestForgetting goes on until an applied and a never applied commit are both forgotten. Whatever is said
// of them on the way must be true, and in the end it must be "too old".
func TestForgetting(t *testing.T) {
	db := statetest.NewOptions(t, state.Options{Window: 16, Tables: tables(t)})
	put(t, db, &item{ID: "1", Env: "e", Name: "n"}, &item{ID: "2", Env: "e", Name: "m"})
	applied := attempt(t, db, changesTo("1", 1))
	stale := attempt(t, db, changesTo("1", 2))
	first := propose(t, db, applied)
	forgotten := 0
	for n := range 40 {
		update(t, db, changesTo("2", n))
		a, b := propose(t, db, applied), propose(t, db, stale)
		switch a.Outcome {
		case state.Applied:
			if a != first || forgotten > 0 {
				t.Fatalf("step %d: repeat %+v, first %+v", n, a, first)
			}
		case state.TooOld:
			forgotten++
		default:
			t.Fatalf("step %d: the repeat is %s", n, a.Outcome)
		}
		if b.Outcome != state.Conflict && b.Outcome != state.TooOld {
			t.Fatalf("step %d: the stale commit is %s", n, b.Outcome)
		}
	}
	if forgotten == 0 {
		t.Error("nothing was ever forgotten")
	}
	if i, _ := state.Get[item](db.Local(), "1"); i.Count != 1 {
		t.Errorf("row %+v", i)
	}
}

// TestRepeatOfWhatWasReadLongBefore: a commit that was applied late says so when it is repeated, for as long as its id is
// remembered, also when nothing could be verified any more against what it had read.
func TestRepeatOfWhatWasReadLongBefore(t *testing.T) {
	db := statetest.NewOptions(t, state.Options{Window: 16, Tables: tables(t)})
	put(t, db, &item{ID: "1", Env: "e", Name: "n"}, &item{ID: "2", Env: "e", Name: "m"})
	late := attempt(t, db, changesTo("1", 1))
	never := make([]*state.Commit, 40) // of the same base; an outcome is looked at once only
	for i := range never {
		never[i] = attempt(t, db, changesTo("1", 2))
	}
	for n := range 10 {
		update(t, db, changesTo("2", n))
	}
	first := propose(t, db, late)
	if first.Outcome != state.Applied {
		t.Fatalf("after 10 commits elsewhere: %s", first.Outcome)
	}
	both := 0
	for n := range never {
		tooOld := propose(t, db, never[n]).Outcome == state.TooOld
		again := propose(t, db, late)
		if tooOld && again == first {
			both++
		}
		if again != first && again.Outcome != state.TooOld || again != first && !tooOld {
			t.Fatalf("step %d: the repeat is %+v, the first was %+v", n, again, first)
		}
		update(t, db, changesTo("2", n))
	}
	if both == 0 {
		t.Error("the repeat is too old as soon as its base is, though its id is remembered")
	}
}

func TestForeignEpochAndMalformedAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(c *state.Commit)
		want  state.Outcome
	}{
		"other epoch":      {func(c *state.Commit) { c.Epoch++ }, state.TooOld},
		"from the future":  {func(c *state.Commit) { c.Base += 1000 }, state.Malformed},
		"written twice":    {func(c *state.Commit) { c.Writes = append(c.Writes, c.Writes[0]) }, state.Malformed},
		"unsorted ranges":  {func(c *state.Commit) { slices.Reverse(c.Writes[0].New) }, state.Malformed},
		"delete into":      {func(c *state.Commit) { c.Writes[0].Delete = true }, state.Malformed},
		"fresh with old":   {func(c *state.Commit) { c.Writes[0].Fresh = true }, state.Malformed},
		"empty key":        {func(c *state.Commit) { c.Writes[0].Key = "" }, state.Malformed},
		"NUL in a range":   {func(c *state.Commit) { c.Writes[0].New[0] = "a\x00" }, state.Malformed},
		"NUL in the table": {func(c *state.Commit) { c.Writes[0].Table = "items\x00" }, state.Malformed},
		"nothing wrong":    {func(*state.Commit) {}, state.Applied},
	} {
		t.Run(name, func(t *testing.T) {
			db := newDB(t)
			put(t, db, &item{ID: "1", Env: "e", Name: "n"})
			commit, err := state.DecodeCommit(attempt(t, db, changesTo("1", 1)).Encode(nil))
			if err != nil {
				t.Fatal(err)
			}
			c.spoil(commit)
			if got := propose(t, db, commit).Outcome; got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if i, _ := state.Get[item](db.Local(), "1"); (i.Count == 1) != (c.want == state.Applied) {
				t.Errorf("row %+v", i)
			}
		})
	}
}

// TestConflictRunsAgain puts a change between each first attempt and its verification.
func TestConflictRunsAgain(t *testing.T) {
	db := newDB(t)
	put(t, db, &item{ID: "1", Env: "e", Name: "n"})
	once := true
	db.BeforeCommit(func(*state.Commit) {
		if once {
			once = false
			if err := db.Inject(changesTo("1", 10)); err != nil {
				t.Error(err)
			}
		}
	})
	runs := 0
	update(t, db, func(tx *state.Tx) error {
		runs++
		i, _ := state.Edit[item](tx, "1")
		i.Count++
		return state.Put(tx, i)
	})
	if i, _ := state.Get[item](db.Local(), "1"); i.Count != 11 || runs != 2 {
		t.Errorf("count %d after %d runs", i.Count, runs)
	}
}

func TestUpdateEndsWithItsContext(t *testing.T) {
	db := newDB(t)
	put(t, db, &item{ID: "1", Env: "e", Name: "n"})
	ctx, cancel := context.WithCancel(t.Context())
	tries := 0
	db.BeforeCommit(func(*state.Commit) { // always another change in between: it can never win
		if err := db.Inject(changesTo("1", 1)); err != nil {
			t.Error(err)
		}
		if tries++; tries == 5 {
			cancel()
		}
	})
	err := db.Update(ctx, changesTo("1", 7))
	if !errors.Is(err, context.Canceled) || model.CodeOf(err) != model.Unavailable || tries != 5 {
		t.Errorf("after %d tries: %v", tries, err)
	}
}

func TestStoredRowOfAnotherShape(t *testing.T) {
	db := newDB(t)
	putAhead(t, db, &wrongItem{ID: "1", Count: "many"})
	err := db.Update(t.Context(), func(tx *state.Tx) error { state.Get[item](tx, "1"); return nil })
	if model.CodeOf(err) != model.Internal || !strings.Contains(err.Error(), `items "1"`) {
		t.Errorf("error %v", err)
	}
}

// wrongItem stores what item cannot read.
type wrongItem struct {
	ID    string `json:"id"`
	Count string `json:"count"`
}

func (*wrongItem) Table() string            { return "items" }
func (i *wrongItem) Key() string            { return i.ID }
func (*wrongItem) Ranges() []string         { return nil }
func (*wrongItem) Parent() (string, string) { return "", "" }

// TestListAppend is Elle's list-append in small: transactions append to lists and read them by range. The
// order of appends in every read must be a prefix of the final one, and reads of two lists must agree on
// one order of all transactions.
func TestListAppend(t *testing.T) {
	db := newDB(t)
	put(t, db, &item{ID: "a", Env: "e", Name: "a"}, &item{ID: "b", Env: "e", Name: "b"}, &item{ID: "c", Env: "e", Name: "c"})
	type seen struct {
		id    string
		lists map[string][]string
		at    string // the list that was appended to
	}
	var mu sync.Mutex
	var all []seen
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			for n := range 30 {
				id, at := fmt.Sprintf("%d-%d", w, n), string(rune('a'+(w+n)%3))
				var s seen
				err := db.Update(t.Context(), func(tx *state.Tx) error {
					s = seen{id: id, lists: map[string][]string{}, at: at}
					for _, i := range state.List[item](tx, "env/e") {
						s.lists[i.ID] = i.Log
					}
					i, _ := state.Edit[item](tx, at)
					i.Log = append(i.Log, id)
					return state.Put(tx, i)
				})
				if err != nil {
					t.Errorf("append: %v", err)
				}
				mu.Lock()
				all = append(all, s)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	total := func(s seen) int { return len(s.lists["a"]) + len(s.lists["b"]) + len(s.lists["c"]) }
	slices.SortFunc(all, func(x, y seen) int { return total(x) - total(y) })
	final := map[string][]string{}
	for n, s := range all {
		for id, list := range s.lists {
			if !slices.Equal(list, final[id]) {
				t.Fatalf("transaction %d (%s) read %s = %v; in order it was %v", n, s.id, id, list, final[id])
			}
		}
		final[s.at] = append(final[s.at], s.id)
	}
	for _, i := range state.List[item](db.Local(), "env/e") {
		if !slices.Equal(i.Log, final[i.ID]) {
			t.Errorf("%s ended as %v, want %v", i.ID, i.Log, final[i.ID])
		}
	}
}
