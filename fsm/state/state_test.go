package state_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

// env and item are rows of a parent and its children.
type env struct {
	ID   string `json:"id"`
	Note string `json:"note,omitempty"`
}

func (*env) Table() string            { return "envs" }
func (e *env) Key() string            { return e.ID }
func (*env) Ranges() []string         { return []string{"all"} }
func (*env) Parent() (string, string) { return "", "" }

type item struct {
	ID    string   `json:"id"`
	Env   string   `json:"env"`
	Name  string   `json:"name"`
	Count int      `json:"count"`
	Log   []string `json:"log,omitempty"`
}

func (*item) Table() string              { return "items" }
func (i *item) Key() string              { return i.ID }
func (i *item) Ranges() []string         { return []string{"env/" + i.Env, "name/" + i.Env + "/" + i.Name} }
func (i *item) Parent() (string, string) { return "envs", i.Env }

func defs() []state.TableDef {
	return []state.TableDef{
		state.Define[env](state.TableOptions[env]{Event: func(_ state.Reader, e *env) (string, string, bool) { return "org-" + e.ID, e.ID, true }}),
		state.Define[item](state.TableOptions[item]{Event: func(_ state.Reader, i *item) (string, string, bool) {
			return "org-" + i.Env, "item " + i.Name, i.Name != "silent"
		}}),
	}
}

func tables(t testing.TB) *state.Tables { return statetest.Tables(t, defs()...) }

func newDB(t testing.TB) *statetest.DB { return statetest.New(t, defs()...) }

// putAhead puts a row of a type that the store of db does not know: one of a node of another version, which has
// applied the same log.
func putAhead[T any, P interface {
	*T
	state.Row
}](t *testing.T, db *statetest.DB, row *T) {
	t.Helper()
	st, err := state.NewStore(state.Options{Tables: statetest.Tables(t, state.Define[T, P](state.TableOptions[T]{}))})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Restore(snapshotOf(t, db)); err != nil {
		t.Fatal(err)
	}
	c := attemptAt(t, st, func(tx *state.Tx) error { return state.Put[T, P](tx, row) })
	if res := propose(t, db, c); res.Outcome != state.Applied {
		t.Fatalf("the row of another version: %s", res.Outcome)
	}
}

func attemptAt(t *testing.T, st *state.Store, fn func(tx *state.Tx) error) *state.Commit {
	t.Helper()
	c, err := st.Attempt(state.TxOptions{}, fn)
	if err != nil || c == nil {
		t.Fatalf("attempt: commit %v, error %v", c, err)
	}
	return c
}

func update(t *testing.T, db *statetest.DB, fn func(tx *state.Tx) error) {
	t.Helper()
	if err := db.Update(t.Context(), fn); err != nil {
		t.Fatalf("update: %v", err)
	}
}

func put(t *testing.T, db *statetest.DB, items ...*item) {
	t.Helper()
	update(t, db, func(tx *state.Tx) error {
		for _, i := range items {
			if err := state.Put(tx, &env{ID: i.Env}); err != nil {
				return err
			}
			if err := state.Put(tx, i); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestReadsAndWrites(t *testing.T) {
	db := newDB(t)
	put(t, db, &item{ID: "2", Env: "e", Name: "b"}, &item{ID: "1", Env: "e", Name: "a"}, &item{ID: "3", Env: "e2", Name: "a"})
	v := db.Local()
	if got, ok := state.Get[item](v, "1"); !ok || got.Name != "a" {
		t.Errorf("Get = %v, %v", got, ok)
	}
	if _, ok := state.Get[item](v, "9"); ok {
		t.Error("Get of an absent row found one")
	}
	if got, ok := state.Find[item](v, "name/e/b"); !ok || got.ID != "2" {
		t.Errorf("Find = %v, %v", got, ok)
	}
	if got := state.Keys[item](v, "env/e"); !reflect.DeepEqual(got, []string{"1", "2"}) {
		t.Errorf("Keys = %v", got)
	}
	if got := state.List[item](v, "env/e"); len(got) != 2 || got[0].ID != "1" {
		t.Errorf("List = %v", got)
	}
	before, _ := state.VersionOf[item](v, "1")
	update(t, db, func(tx *state.Tx) error {
		i, _ := state.Edit[item](tx, "1")
		i.Env, i.Count = "e2", 7
		i.Name = "moved"
		state.Delete[item](tx, "2")
		return state.Put(tx, i)
	})
	if got := state.Keys[item](v, "env/e"); len(got) != 2 {
		t.Errorf("an old view changed: %v", got)
	}
	v = db.Local()
	if got := state.Keys[item](v, "env/e"); len(got) != 0 {
		t.Errorf("range e has %v", got)
	}
	if got := state.Keys[item](v, "env/e2"); !reflect.DeepEqual(got, []string{"1", "3"}) {
		t.Errorf("range e2 has %v", got)
	}
	if _, ok := state.Find[item](v, "name/e/a"); ok {
		t.Error("the old name still finds the row")
	}
	after, _ := state.VersionOf[item](v, "1")
	if after == before || after.Index != v.Index() {
		t.Errorf("version %v after %v at index %d", after, before, v.Index())
	}
}

func TestTxSeesItsWrites(t *testing.T) {
	db := newDB(t)
	put(t, db, &item{ID: "b", Env: "e", Name: "b"}, &item{ID: "d", Env: "e", Name: "d"})
	update(t, db, func(tx *state.Tx) error {
		row := &item{ID: "c", Env: "e", Name: "c", Count: 1}
		if err := state.Put(tx, row); err != nil {
			return err
		}
		row.Count = 99 // must have no effect
		state.Delete[item](tx, "b")
		if got := state.Keys[item](tx, "env/e"); !reflect.DeepEqual(got, []string{"c", "d"}) {
			t.Errorf("Keys in the transaction = %v", got)
		}
		if got, ok := state.Get[item](tx, "c"); !ok || got.Count != 1 {
			t.Errorf("Get of an own write = %+v, %v", got, ok)
		}
		if _, ok := state.Find[item](tx, "name/e/b"); ok {
			t.Error("a deleted row is found")
		}
		return nil
	})
	if got, _ := state.Get[item](db.Local(), "c"); got == nil || got.Count != 1 {
		t.Errorf("stored %+v", got)
	}
}

func TestEditIsPrivateAndGetIsShared(t *testing.T) {
	db := newDB(t)
	put(t, db, &item{ID: "a", Env: "e", Name: "a", Log: []string{"x"}})
	update(t, db, func(tx *state.Tx) error {
		i, _ := state.Edit[item](tx, "a")
		i.Log[0] = "spoilt"
		return nil
	})
	one, _ := state.Get[item](db.Local(), "a")
	two, _ := state.Get[item](db.Local(), "a")
	if one.Log[0] != "x" || one != two {
		t.Errorf("got %v; shared: %v", one.Log, one == two)
	}
}

func TestBadRowsAreRefused(t *testing.T) {
	db := newDB(t)
	for _, c := range []struct {
		row  *item
		want model.Code
	}{
		{&item{ID: "1", Env: "none", Name: "n"}, model.NotFound},
		{&item{ID: "", Env: "e", Name: "n"}, model.Invalid},
		{&item{ID: "a\x00b", Env: "e", Name: "n"}, model.Invalid},
		{&item{ID: "1", Env: "e", Name: "n\x00"}, model.Invalid},
	} {
		err := db.Update(t.Context(), func(tx *state.Tx) error { return state.Put(tx, c.row) })
		if model.CodeOf(err) != c.want {
			t.Errorf("put %+v: %v, want %s", c.row, err, c.want)
		}
	}
	err := db.Update(t.Context(), func(tx *state.Tx) error {
		return state.Put(tx, &env{ID: "big", Note: string(make([]byte, state.MaxCommit))})
	})
	if model.CodeOf(err) != model.TooLarge {
		t.Errorf("a commit beyond the limit: %v", err)
	}
	if got := state.Keys[env](db.Local(), "all"); len(got) != 0 {
		t.Errorf("refused rows were stored: %v", got)
	}
}

func TestUpdatePassesErrorsThrough(t *testing.T) {
	db := newDB(t)
	mine := errors.New("mine")
	runs := 0
	err := db.Update(t.Context(), func(*state.Tx) error { runs++; return mine })
	if err != mine || runs != 2 {
		t.Errorf("error %v after %d runs; a failure is believed of a current view only", err, runs)
	}
}

// envAhead is a later version of env, with a field that env does not know.
type envAhead struct {
	env
	Extra map[string]int `json:"extra"`
}

func TestUnknownFieldsAreCarried(t *testing.T) {
	db := newDB(t)
	putAhead(t, db, &envAhead{env: env{ID: "e", Note: "old"}, Extra: map[string]int{"x": 1}})
	update(t, db, func(tx *state.Tx) error {
		e, _ := state.Edit[env](tx, "e")
		e.Note = "" // a known field that is left out must not come back
		return state.Put(tx, e)
	})
	got, ok := state.Get[envAhead](db.Local(), "e")
	if !ok || got.Extra["x"] != 1 || got.Note != "" {
		t.Errorf("got %+v", got)
	}
	update(t, db, func(tx *state.Tx) error {
		state.Delete[env](tx, "e")
		return state.Put(tx, &env{ID: "e"})
	})
	if got, _ := state.Get[envAhead](db.Local(), "e"); got.Extra != nil {
		t.Errorf("a new row of the same key has fields of the old: %+v", got)
	}
}

// Table must work on a nil receiver, which an embedded one does not.
func (*envAhead) Table() string { return "envs" }

// TestTransfers moves amounts between rows from many goroutines: the sum must stay.
func TestTransfers(t *testing.T) {
	db := newDB(t)
	const rows, each, workers = 8, 100, 8
	for i := range rows {
		put(t, db, &item{ID: fmt.Sprint(i), Env: "e", Name: fmt.Sprint(i), Count: each})
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 7))
			for range 100 {
				from, to, n := fmt.Sprint(r.IntN(rows)), fmt.Sprint(r.IntN(rows)), r.IntN(5)
				err := db.Update(t.Context(), func(tx *state.Tx) error {
					a, _ := state.Edit[item](tx, from)
					a.Count -= n
					if err := state.Put(tx, a); err != nil {
						return err
					}
					b, _ := state.Edit[item](tx, to)
					b.Count += n
					return state.Put(tx, b)
				})
				if err != nil {
					t.Errorf("transfer: %v", err)
				}
				sum := 0
				for _, i := range state.List[item](db.Local(), "env/e") {
					sum += i.Count
				}
				if sum != rows*each {
					t.Errorf("the sum is %d", sum)
				}
			}
		})
	}
	wg.Wait()
}

// TestPhantom counts a range and creates one more under it, from many goroutines: each count must be
// taken once, so the counts are 0..n-1 without gap or double.
func TestPhantom(t *testing.T) {
	db := newDB(t)
	update(t, db, func(tx *state.Tx) error { return state.Put(tx, &env{ID: "e"}) })
	var wg sync.WaitGroup
	const workers, each = 6, 25
	for w := range workers {
		wg.Go(func() {
			for n := range each {
				err := db.Update(t.Context(), func(tx *state.Tx) error {
					count := len(state.Keys[item](tx, "env/e"))
					id := fmt.Sprintf("%d-%d", w, n)
					return state.Put(tx, &item{ID: id, Env: "e", Name: id, Count: count})
				})
				if err != nil {
					t.Errorf("create: %v", err)
				}
			}
		})
	}
	wg.Wait()
	seen := map[int]string{}
	for _, i := range state.List[item](db.Local(), "env/e") {
		if other, ok := seen[i.Count]; ok {
			t.Errorf("%s and %s both counted %d", other, i.ID, i.Count)
		}
		seen[i.Count] = i.ID
	}
	if len(seen) != workers*each {
		t.Errorf("%d different counts, want %d", len(seen), workers*each)
	}
}

func TestContents(t *testing.T) {
	db := newDB(t)
	noise := make([]byte, 500<<10)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(noise)
	for name, content := range map[string][]byte{
		"empty": {}, "small": []byte("hello"), "zeros": make([]byte, 1<<20), "noise": noise[:150<<10],
	} {
		var digest string
		update(t, db, func(tx *state.Tx) (err error) { digest, err = state.PutContent(tx, "", content); return err })
		got, ok := state.Content(db.Local(), "", digest)
		if !ok || !bytes.Equal(got, content) || digest != state.Digest(content) {
			t.Errorf("%s: %d bytes back, %v, digest %s", name, len(got), ok, digest)
		}
	}
	err := db.Update(t.Context(), func(tx *state.Tx) error { _, err := state.PutContent(tx, "", noise); return err })
	if model.CodeOf(err) != model.TooLarge {
		t.Errorf("a content beyond one commit: %v", err)
	}
	digest, err := state.StageContent(t.Context(), db, "", noise)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := state.Content(db.Local(), "", digest); !ok || !bytes.Equal(got, noise) {
		t.Error("a staged content does not come back")
	}
	at := db.Local().Index()
	if _, err := state.StageContent(t.Context(), db, "", noise); err != nil || db.Local().Index() != at {
		t.Errorf("staging what is stored wrote something: %v", err)
	}
	if _, ok := state.Content(db.Local(), "", state.Digest([]byte("never"))); ok {
		t.Error("a content that was never stored was found")
	}
}

func TestTimeNeverGoesBack(t *testing.T) {
	db := newDB(t)
	at := time.Date(2031, 1, 2, 3, 4, 5, 0, time.UTC)
	db.SetClock(func() time.Time { return at })
	put(t, db, &item{ID: "1", Env: "e", Name: "n"})
	db.SetClock(func() time.Time { return at.Add(-time.Hour) })
	put(t, db, &item{ID: "2", Env: "e", Name: "m"})
	update(t, db, func(tx *state.Tx) error {
		if !tx.Now().Equal(at) {
			t.Errorf("now is %v, want %v", tx.Now(), at)
		}
		return nil
	})
}

func TestWaitIndex(t *testing.T) {
	db := newDB(t)
	at := db.Store().AppliedIndex()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- db.Store().WaitIndex(ctx, at+1) }()
	put(t, db, &item{ID: "1", Env: "e", Name: "n"})
	if err := <-done; err != nil {
		t.Errorf("wait for the next index: %v", err)
	}
	cancel()
	if err := db.Store().WaitIndex(ctx, at+100); !errors.Is(err, context.Canceled) {
		t.Errorf("wait without end: %v", err)
	}
}
