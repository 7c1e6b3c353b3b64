package state_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/fsm/seal"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

// contentRows are the rows that keep contents, as they are stored.
func contentRows(t *testing.T, v *state.View) (rows []state.RawRow) {
	t.Helper()
	err := state.Rows(v, func(r state.RawRow) error {
		if r.Table == "_contents" || r.Table == "_chunks" {
			rows = append(rows, r)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// shows gives the rows that hold one of some texts, in a value or in a key.
func shows(t *testing.T, v *state.View, texts ...string) (rows []string) {
	t.Helper()
	err := state.Rows(v, func(r state.RawRow) error {
		for _, text := range texts {
			if bytes.Contains(r.Value, []byte(text)) || strings.Contains(r.Key+fmt.Sprint(r.Ranges), text) {
				rows = append(rows, r.Table+" "+r.Key)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func putContent(t *testing.T, db *statetest.DB, domain, content string) string {
	t.Helper()
	digest := ""
	do(t, db, func(tx *state.Tx) (err error) {
		digest, err = state.PutContent(tx, domain, []byte(content))
		return err
	})
	return digest
}

func wantContent(t *testing.T, v *state.View, domain, digest, want string) {
	t.Helper()
	if got, ok := state.Content(v, domain, digest); !ok || string(got) != want {
		t.Fatalf("the content of %s is %.40q, %v", domain, got, ok)
	}
}

func collect(t *testing.T, db *statetest.DB) {
	t.Helper()
	for range 2 {
		if _, err := state.CollectContents(t.Context(), db, db.Local(), -time.Hour); err != nil {
			t.Fatal(err)
		}
	}
}

// TestContentsAreSealed: two organizations store the same. Nothing tells so, nothing tells what it is, and what one of
// them has the other cannot read. What only one of them names, goes for the other.
func TestContentsAreSealed(t *testing.T) {
	db, _, _ := sealing(t)
	const text = "password = tr0ub4dor"
	digest := putContent(t, db, "acme", text)
	if _, ok := state.Content(db.Local(), "other", digest); ok {
		t.Fatal("another organization reads it by its digest")
	}
	one := contentRows(t, db.Local())
	putContent(t, db, "other", text)
	both := contentRows(t, db.Local())
	at := db.Local().Index()
	putContent(t, db, "acme", text)
	if len(one) != 2 || len(both) != 4 || db.Local().Index() != at {
		t.Fatalf("%d rows, with another organization %d, index %d then %d", len(one), len(both), at, db.Local().Index())
	}
	large := make([]byte, 700<<10) // some part of it begins as a sealed value does
	if _, err := rand.Read(large); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(large); i += 1 << 10 {
		large[i] = 0xA5
	}
	big, err := state.StageContent(t.Context(), db, "acme", large)
	if err != nil {
		t.Fatal(err)
	}
	putNotes(t, db, note{ID: "1", Org: "acme", Text: digest + " and " + big})
	if got := shows(t, db.Local(), text, "tr0ub4dor", digest, big, string(large[1000:1030])); len(got) > 0 {
		t.Errorf("contents or their digests are in %v", got)
	}
	collect(t, db)
	wantContent(t, db.Local(), "acme", digest, text)
	wantContent(t, db.Local(), "acme", big, string(large))
	if _, ok := state.Content(db.Local(), "other", digest); ok {
		t.Error("a content that only another organization names was kept")
	}

	// Another key of the organization: everything is sealed anew, and the names stay.
	do(t, db, func(tx *state.Tx) error { return state.RotateDataKey(tx, "acme") })
	for rows := stale(t, db.Local()); len(rows) > 0; rows = stale(t, db.Local()) {
		do(t, db, func(tx *state.Tx) error { _, err := state.Reseal(tx, rows); return err })
	}
	v := db.Local()
	do(t, db, func(tx *state.Tx) error { return state.DropOldDataKeys(tx, v, "acme") })
	wantContent(t, db.Local(), "acme", digest, text)
	wantContent(t, db.Local(), "acme", big, string(large))
	at = db.Local().Index()
	putContent(t, db, "acme", text)
	if db.Local().Index() != at {
		t.Error("after a rotation a content that is there is stored again")
	}

	// Without its keys nothing is left to read, and it goes.
	do(t, db, func(tx *state.Tx) error { state.DropDataKeys(tx, "acme"); state.Delete[note](tx, "1"); return nil })
	collect(t, db)
	collect(t, db)
	if rows := contentRows(t, db.Local()); len(rows) > 0 {
		t.Errorf("of an organization that is gone %d rows are left", len(rows))
	}
}

// TestContentsInClearAreSealed seals what a version of before stored: for each organization that names it, and then
// what is in clear goes, also what nobody names and what was staged in part.
func TestContentsInClearAreSealed(t *testing.T) {
	db, ring, _ := sealing(t)
	noise := make([]byte, 300<<10)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	digest, lost := putContent(t, db, "", "in clear"), putContent(t, db, "", "of nobody")
	big, err := state.StageContent(t.Context(), db, "", noise)
	if err != nil {
		t.Fatal(err)
	}
	do(t, db, func(tx *state.Tx) error {
		return state.PutRawForTest(tx, state.RawRow{Table: "_chunks", Key: state.Digest([]byte("part")) + "/n/000000", Value: []byte("\xa5 part")})
	})
	putNotes(t, db, note{ID: "1", Org: "acme", Text: digest + big}, note{ID: "2", Org: "other", Text: digest})
	if len(shows(t, db.Local(), "in clear", digest, lost, "part")) == 0 {
		t.Fatal("nothing is in clear before")
	}
	clear, err := state.ClearContents(t.Context(), db.Local())
	if err != nil || len(clear) != 4 {
		t.Fatalf("in clear are %v, %v", clear, err)
	}
	for _, c := range clear {
		if want := map[string]string{digest: "acme other", big: "acme"}[c.Digest]; strings.Join(c.Domains, " ") != want {
			t.Errorf("%s is wanted by %v", c.Digest, c.Domains)
		}
		if err := state.SealContent(t.Context(), db, db.Local(), c); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the age does not count for them
		if _, err := state.CollectContents(t.Context(), db, db.Local(), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if got := shows(t, db.Local(), "in clear", "of nobody", digest, big, lost, "part"); len(got) > 0 {
		t.Errorf("still in clear: %v", got)
	}
	if clear, err := state.ClearContents(t.Context(), db.Local()); err != nil || len(clear) > 0 {
		t.Errorf("in clear are %v, %v", clear, err)
	}
	wantContent(t, db.Local(), "acme", digest, "in clear")
	wantContent(t, db.Local(), "other", digest, "in clear")
	wantContent(t, db.Local(), "acme", big, string(noise))

	// Another key of the cluster: the key that makes names is wrapped anew, too, and a restore elsewhere does it as well.
	next := seal.NewKey()
	ring.Add(next)
	do(t, db, func(tx *state.Tx) error { return state.PutClusterKeys(tx, state.ClusterKeys{Active: next.ID()}) })
	for _, domain := range []string{"acme", "other"} {
		do(t, db, func(tx *state.Tx) error { _, err := state.RewrapDataKeys(tx, domain); return err })
	}
	if ids := state.NamedKeys(db.Local()); !slices.Equal(ids, []string{next.ID()}) {
		t.Errorf("the state names the cluster keys %v", ids)
	}
	wantContent(t, db.Local(), "other", digest, "in clear")
	saved, only := db.Save(t), &seal.Keyring{}
	only.Add(next)
	fresh := statetest.NewOptions(t, state.Options{Tables: statetest.Tables(t, noteTable()), Keys: only})
	fresh.Restore(t, saved)
	wantContent(t, fresh.Local(), "acme", big, string(noise))
}

// BenchmarkPutContent is a content of 4 KiB and its row, in clear and sealed.
func BenchmarkPutContent(b *testing.B) {
	for _, domain := range []string{"", "acme"} {
		b.Run("domain="+domain, func(b *testing.B) {
			ring, key := &seal.Keyring{}, seal.NewKey()
			ring.Add(key)
			db := statetest.NewOptions(b, state.Options{Tables: statetest.Tables(b, noteTable()), Keys: ring})
			if err := db.Inject(func(tx *state.Tx) error { return state.PutClusterKeys(tx, state.ClusterKeys{Active: key.ID()}) }); err != nil {
				b.Fatal(err)
			}
			text := strings.Repeat("listen = 0.0.0.0:8080\n", 190)
			for i := 0; b.Loop(); i++ {
				if err := db.Inject(func(tx *state.Tx) error {
					_, err := state.PutContent(tx, domain, fmt.Append(nil, i, text))
					return err
				}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
