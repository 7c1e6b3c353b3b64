package state_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/seal"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

// note is a row that is sealed with the key of who owns it.
type note struct {
	ID   string `json:"id"`
	Org  string `json:"org"`
	Text string `json:"text"`
}

func (*note) Table() string            { return "note" }
func (n *note) Key() string            { return n.ID }
func (n *note) Ranges() []string       { return []string{"org/" + n.Org} }
func (*note) Parent() (string, string) { return "", "" }

func noteTable() state.TableDef {
	return state.Define[note](state.TableOptions[note]{Sealed: func(_ state.Reader, n *note) string { return n.Org }})
}

// sealing is a store with one cluster key, in use.
func sealing(t *testing.T) (*statetest.DB, *seal.Keyring, string) {
	t.Helper()
	ring, key := &seal.Keyring{}, seal.NewKey()
	ring.Add(key)
	db := statetest.NewOptions(t, state.Options{Tables: statetest.Tables(t, noteTable()), Keys: ring})
	do(t, db, func(tx *state.Tx) error { return state.PutClusterKeys(tx, state.ClusterKeys{Active: key.ID()}) })
	return db, ring, key.ID()
}

func do(t *testing.T, db *statetest.DB, fn func(tx *state.Tx) error) {
	t.Helper()
	if err := db.Inject(fn); err != nil {
		t.Fatal(err)
	}
}

func putNotes(t *testing.T, db *statetest.DB, notes ...note) {
	t.Helper()
	do(t, db, func(tx *state.Tx) error {
		for _, n := range notes {
			if err := state.Put(tx, &n); err != nil {
				return err
			}
		}
		return nil
	})
}

func wantNote(t *testing.T, r state.Reader, id, text string) {
	t.Helper()
	n, ok := state.Get[note](r, id)
	if !ok || n.Text != text {
		t.Fatalf("note %s is %+v (%v), want %q", id, n, ok, text)
	}
}

// rawNotes are the values of the notes as they are stored.
func rawNotes(t *testing.T, v *state.View) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	if err := state.Rows(v, func(r state.RawRow) error {
		if r.Table == "note" {
			out[r.Key] = r.Value
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSealedRows(t *testing.T) {
	db, _, _ := sealing(t)
	var log bytes.Buffer
	db.BeforeCommit(func(c *state.Commit) { log.Write(c.Encode(nil)) })
	err := db.Update(t.Context(), func(tx *state.Tx) error {
		if err := state.Put(tx, &note{ID: "1", Org: "acme", Text: "tr0ub4dor"}); err != nil {
			return err
		}
		wantNote(t, tx, "1", "tr0ub4dor") // its own write
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wantNote(t, db.Local(), "1", "tr0ub4dor")
	err = db.Update(t.Context(), func(tx *state.Tx) error {
		n, _ := state.Edit[note](tx, "1")
		n.Text += "-2"
		if err := state.Put(tx, n); err != nil {
			return err
		}
		n.Text += "-3"
		return state.Put(tx, n)
	})
	if err != nil {
		t.Fatal(err)
	}
	wantNote(t, db.Local(), "1", "tr0ub4dor-2-3")
	if got := state.List[note](db.Local(), "org/acme"); len(got) != 1 || got[0].Text != "tr0ub4dor-2-3" {
		t.Fatalf("listed %+v", got)
	}
	var snap bytes.Buffer
	sn := db.Store().Snapshot()
	defer sn.Release()
	if err := sn.Write(&snap); err != nil {
		t.Fatal(err)
	}
	var rows bytes.Buffer
	if _, err := state.Inspect(bytes.NewReader(snap.Bytes()), func(r state.RawRow) error { rows.Write(r.Value); return nil }); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"the log": log.Bytes(), "the snapshot": snap.Bytes(), "its rows": rows.Bytes()} {
		if bytes.Contains(b, []byte("tr0ub4dor")) {
			t.Errorf("%s shows the text", name)
		}
	}
}

func TestSealedRowMovedOrChanged(t *testing.T) {
	db, ring, _ := sealing(t)
	putNotes(t, db, note{ID: "1", Org: "acme", Text: "a"}, note{ID: "2", Org: "acme", Text: "b"}, note{ID: "3", Org: "other", Text: "c"})
	raw := rawNotes(t, db.Local())
	for name, value := range map[string][]byte{
		"another row of the organization": raw["2"],
		"a row of another organization":   raw["3"],
		"a changed one":                   append(bytes.Clone(raw["1"][:len(raw["1"])-1]), raw["1"][len(raw["1"])-1]^1),
		"a cut one":                       raw["1"][:4],
	} {
		forged := statetest.NewOptions(t, state.Options{Tables: statetest.Tables(t, noteTable()), Keys: ring})
		// The rows of the first store, with the value of note 1 replaced.
		do(t, forged, func(tx *state.Tx) error {
			return state.Rows(db.Local(), func(r state.RawRow) error {
				if r.Table == "note" && r.Key == "1" {
					r.Value = value
				}
				if r.Table == "_schema" {
					return nil
				}
				return state.PutRawForTest(tx, r)
			})
		})
		err := forged.Inject(func(tx *state.Tx) error { state.Get[note](tx, "1"); return nil })
		if model.CodeOf(err) != model.Internal || strings.Contains(err.Error(), `"b"`) {
			t.Errorf("%s in the place of note 1: %v, want a refusal", name, err)
		}
		if err := forged.Inject(func(tx *state.Tx) error { wantNote(t, tx, "2", "b"); return nil }); err != nil {
			t.Errorf("note 2 beside it: %v", err)
		}
	}
}

func TestWithoutTheClusterKey(t *testing.T) {
	db, _, id := sealing(t)
	putNotes(t, db, note{ID: "1", Org: "acme", Text: "a"})
	var snap bytes.Buffer
	sn := db.Store().Snapshot()
	defer sn.Release()
	if err := sn.Write(&snap); err != nil {
		t.Fatal(err)
	}
	ring := &seal.Keyring{}
	away, err := state.NewStore(state.Options{Tables: statetest.Tables(t, noteTable()), Keys: ring})
	if err != nil {
		t.Fatal(err)
	}
	if err := away.Restore(bytes.NewReader(snap.Bytes())); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(state.NamedKeys(away.View())); got != "["+id+"]" {
		t.Errorf("the state names the keys %s, not %s", got, id)
	}
	for name, fn := range map[string]func(tx *state.Tx) error{
		"a read": func(tx *state.Tx) error { state.Get[note](tx, "1"); return nil },
		"a put":  func(tx *state.Tx) error { return state.Put(tx, &note{ID: "1", Org: "acme"}) },
		"a new":  func(tx *state.Tx) error { return state.Put(tx, &note{ID: "2", Org: "acme"}) },
		"an org": func(tx *state.Tx) error { return state.Put(tx, &note{ID: "3", Org: "fresh"}) },
	} {
		_, err := away.Attempt(state.TxOptions{}, fn)
		if model.CodeOf(err) != model.Unavailable || !strings.Contains(err.Error(), id) {
			t.Errorf("%s without the key: %v, want Unavailable and the id %s", name, err, id)
		}
	}
}

func TestDataKeyRotation(t *testing.T) {
	db, _, _ := sealing(t)
	for i := range 100 {
		putNotes(t, db, note{ID: fmt.Sprintf("%03d", i), Org: "acme", Text: strings.Repeat("x", 2000)})
	}
	putNotes(t, db, note{ID: "other", Org: "other", Text: "y"})
	other := rawNotes(t, db.Local())["other"]
	do(t, db, func(tx *state.Tx) error { return state.RotateDataKey(tx, "acme") })
	if err := db.Inject(func(tx *state.Tx) error { return state.RotateDataKey(tx, "acme") }); model.CodeOf(err) != model.Conflict {
		t.Fatalf("a second rotation within the first: %v", err)
	}
	if err := db.Inject(func(tx *state.Tx) error { return state.RotateDataKey(tx, "nobody") }); model.CodeOf(err) != model.NotFound {
		t.Fatalf("a rotation for what has no key: %v", err)
	}
	// A write from before the rotation, sealed with the key that is to go, is refused and made anew.
	before, after := db.Local(), 0
	rows := stale(t, before)
	if len(rows) != 100 {
		t.Fatalf("%d rows are stale, want 100", len(rows))
	}
	for len(rows) > 0 {
		n := 0
		do(t, db, func(tx *state.Tx) (err error) { n, err = state.Reseal(tx, rows); return err })
		if n == 0 || n == 100 {
			t.Fatalf("one commit took %d rows", n)
		}
		rows = rows[n:]
		putNotes(t, db, note{ID: fmt.Sprintf("new%d", after), Org: "acme", Text: "while it is going on"})
		after++
	}
	v := db.Local()
	if rows := stale(t, v); len(rows) != 0 {
		t.Fatalf("%d rows are still stale", len(rows))
	}
	do(t, db, func(tx *state.Tx) error { return state.DropOldDataKeys(tx, v, "acme") })
	if d, _ := state.DataKeysOf(db.Local(), "acme"); len(d.Versions) != 1 {
		t.Fatalf("there are %d versions of the key", len(d.Versions))
	}
	for i := range 100 {
		wantNote(t, db.Local(), fmt.Sprintf("%03d", i), strings.Repeat("x", 2000))
	}
	if !bytes.Equal(rawNotes(t, db.Local())["other"], other) {
		t.Error("a row of another organization was sealed anew")
	}
}

func stale(t *testing.T, v *state.View) []state.RowName {
	t.Helper()
	rows, err := state.Stale(v)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// TestOldKeyIsRefused: a commit that seals with the key of before a rotation conflicts with it.
func TestOldKeyIsRefused(t *testing.T) {
	db, _, _ := sealing(t)
	putNotes(t, db, note{ID: "1", Org: "acme", Text: "a"})
	rotated := false
	db.BeforeCommit(func(*state.Commit) {
		if !rotated {
			rotated = true
			do(t, db, func(tx *state.Tx) error { return state.RotateDataKey(tx, "acme") })
		}
	})
	tries := 0
	err := db.Update(t.Context(), func(tx *state.Tx) error {
		tries++
		return state.Put(tx, &note{ID: "2", Org: "acme", Text: "b"})
	})
	if err != nil || tries != 2 {
		t.Fatalf("%d tries, %v: want a conflict and a second one", tries, err)
	}
	if rows := stale(t, db.Local()); len(rows) != 1 || rows[0].Key != "1" {
		t.Fatalf("stale are %v, want note 1 only", rows)
	}
}

func TestRowsOfBefore(t *testing.T) {
	ring, key := &seal.Keyring{}, seal.NewKey()
	ring.Add(key)
	db := statetest.NewOptions(t, state.Options{Tables: statetest.Tables(t, noteTable()), Keys: ring})
	putNotes(t, db, note{ID: "1", Org: "acme", Text: "in clear"})
	if raw := rawNotes(t, db.Local())["1"]; !bytes.Contains(raw, []byte("in clear")) {
		t.Fatalf("sealed before there is a key: %q", raw)
	}
	// A write in clear that the first key overtakes is made anew.
	first := true
	db.BeforeCommit(func(*state.Commit) {
		if first {
			first = false
			do(t, db, func(tx *state.Tx) error { return state.PutClusterKeys(tx, state.ClusterKeys{Active: key.ID()}) })
			putNotes(t, db, note{ID: "3", Org: "acme", Text: "sealed"})
		}
	})
	if err := db.Update(t.Context(), func(tx *state.Tx) error { return state.Put(tx, &note{ID: "2", Org: "acme", Text: "late"}) }); err != nil {
		t.Fatal(err)
	}
	rows := stale(t, db.Local())
	if len(rows) != 1 || rows[0].Key != "1" {
		t.Fatalf("stale are %v, want note 1 only", rows)
	}
	do(t, db, func(tx *state.Tx) error { _, err := state.Reseal(tx, rows); return err })
	if raw := rawNotes(t, db.Local())["1"]; bytes.Contains(raw, []byte("in clear")) {
		t.Fatalf("still in clear: %q", raw)
	}
	wantNote(t, db.Local(), "1", "in clear")
}

func TestRewrap(t *testing.T) {
	db, ring, old := sealing(t)
	putNotes(t, db, note{ID: "1", Org: "acme", Text: "a"}, note{ID: "2", Org: "other", Text: "b"})
	next := seal.NewKey()
	ring.Add(next)
	do(t, db, func(tx *state.Tx) error {
		return state.PutClusterKeys(tx, state.ClusterKeys{Active: next.ID(), Round: 1})
	})
	for _, d := range state.AllDataKeys(db.Local()) {
		do(t, db, func(tx *state.Tx) error {
			if changed, err := state.RewrapDataKeys(tx, d.Domain); err != nil || !changed {
				return errors.Join(err, fmt.Errorf("%s: changed %v", d.Domain, changed))
			}
			return nil
		})
	}
	if got := state.NamedKeys(db.Local()); len(got) != 1 || got[0] != next.ID() {
		t.Fatalf("the state names %v, want the new key %s and not %s", got, next.ID(), old)
	}
	wantNote(t, db.Local(), "1", "a")
	do(t, db, func(tx *state.Tx) error { state.DropDataKeys(tx, "other"); return nil })
	if _, ok := state.DataKeysOf(db.Local(), "other"); ok {
		t.Error("the dropped keys are there")
	}
}
