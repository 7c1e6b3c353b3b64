package state_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

func oldDB(t *testing.T) *statetest.DB {
	return statetest.NewOptions(t, state.Options{Tables: tables(t), Known: state.SchemaFirst})
}

func TestTablesAreChecked(t *testing.T) {
	d := state.Define[env](state.TableOptions[env]{})
	for want, defs := range map[string][]state.TableDef{
		"defined twice": {d, d},
		"Define":        {{}},
		"underscore":    {state.Define[reserved](state.TableOptions[reserved]{})},
	} {
		if _, err := state.NewTables(defs...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("tables %v: error %v, want one that says %q", defs, err, want)
		}
	}
	all := statetest.Tables(t, d, state.Define[item](state.TableOptions[item]{Secret: true}))
	if names := all.Names(); len(names) != 2 || names[0] != "envs" || all.Secret("envs") || !all.Secret("items") || !all.Secret("unheard") || !all.Secret("_chunks") || all.Secret("_schema") {
		t.Errorf("tables %v", names)
	}
}

type reserved struct{ env }

func (*reserved) Table() string { return "_mine" }

func TestPutAsksTheTables(t *testing.T) {
	bad := model.Errorf(model.Invalid, "no note")
	db := statetest.New(t, state.Define[env](state.TableOptions[env]{Validate: func(e *env) error {
		if e.Note == "" {
			return bad
		}
		return nil
	}}))
	if err := db.Update(t.Context(), func(tx *state.Tx) error { return state.Put(tx, &env{ID: "e"}) }); !errors.Is(err, bad) {
		t.Errorf("a row that is not valid: %v", err)
	}
	for _, fn := range []func(tx *state.Tx) error{
		func(tx *state.Tx) error { return state.Put(tx, &item{ID: "1"}) },
		func(tx *state.Tx) error { return state.Put(tx, &envAhead{env: env{ID: "e", Note: "n"}}) },
	} {
		if err := db.Update(t.Context(), fn); model.CodeOf(err) != model.Internal {
			t.Errorf("a row that is not registered: %v", err)
		}
	}
	if n := len(state.Keys[env](db.Local(), "all")); n != 0 {
		t.Errorf("%d refused rows are there", n)
	}
	update(t, db, func(tx *state.Tx) error { return state.Put(tx, &env{ID: "e", Note: "n"}) })
}

func TestCommitsAreOfTheRaisedSchema(t *testing.T) {
	db := statetest.NewOptions(t, state.Options{Tables: tables(t), Known: state.Schema, Version: "1.2.3"})
	if got := state.SchemaOf(db.Local()); got != state.Schema || state.SchemaVersion(db.Local()) != "1.2.3" {
		t.Errorf("raised to %d by %q", got, state.SchemaVersion(db.Local()))
	}
	old := oldDB(t)
	if got := state.SchemaOf(old.Local()); got != state.SchemaFirst {
		t.Errorf("schema %d before it was raised", got)
	}
	put(t, old, &item{ID: "1", Env: "e", Name: "n"})
	put(t, db, &item{ID: "1", Env: "e", Name: "n"})
	for want, d := range map[uint32]*statetest.DB{state.SchemaFirst: old, state.Schema: db} {
		c := attempt(t, d, changesTo("1", 7))
		if data := c.Encode(nil); c.Schema != want || (want == state.SchemaFirst) != (data[0] == 1) || (len(c.Events) > 0) != (want > state.SchemaFirst) {
			t.Errorf("a commit of schema %d in format %d with %d events, want schema %d", c.Schema, data[0], len(c.Events), want)
		}
	}
	if _, _, err := state.Events(old.Local(), state.Version{}, 1, nil); model.CodeOf(err) != model.Unavailable {
		t.Errorf("events of the first schema: %v", err)
	}
	err := old.Update(t.Context(), func(tx *state.Tx) error { return state.RaiseSchema(tx, state.Schema) })
	if model.CodeOf(err) != model.Invalid {
		t.Errorf("a node raised a schema that it does not know: %v", err)
	}
}

// TestRaiseDependsOnWhatWasRead: the raise reads the members, so one that joins meanwhile refuses it.
func TestRaiseDependsOnWhatWasRead(t *testing.T) {
	old := oldDB(t)
	put(t, old, &item{ID: "1", Env: "e", Name: "n"})
	db, err := state.NewStore(state.Options{Tables: tables(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Restore(snapshotOf(t, old)); err != nil {
		t.Fatal(err)
	}
	raise := func(tx *state.Tx) error {
		state.List[item](tx, "env/e")
		return state.RaiseSchema(tx, state.SchemaEvents)
	}
	c := attemptAt(t, db, raise)
	if c.Schema != state.SchemaFirst {
		t.Errorf("the raise itself is of schema %d: older members could not read it", c.Schema)
	}
	b := db.Batch()
	b.Entry(db.AppliedIndex()+1, 0)
	for _, want := range []struct {
		c *state.Commit
		o state.Outcome
	}{
		{attemptAt(t, db, func(tx *state.Tx) error { return state.Put(tx, &item{ID: "2", Env: "e", Name: "m"}) }), state.Applied},
		{c, state.Conflict},
		{attemptAt(t, db, func(tx *state.Tx) error { return state.RaiseSchema(tx, state.SchemaEvents) }), state.Applied},
		{attemptAt(t, db, raise), state.Conflict},
	} {
		if res, err := b.Commit(want.c); err != nil || res.Outcome != want.o {
			t.Errorf("outcome %v, %v; want %s", res, err, want.o)
		}
	}
	b.Publish()
	if got := state.SchemaOf(db.View()); got != state.SchemaEvents {
		t.Errorf("schema %d", got)
	}
	// No proposer of ours lowers it, or writes a commit of a schema that was not raised.
	high := attempt(t, old, changesTo("1", 3))
	high.Schema = state.SchemaEvents
	if res := propose(t, old, high); res.Outcome != state.Malformed {
		t.Errorf("a commit ahead of the schema: %s", res.Outcome)
	}
	for _, value := range [][]byte{{1, 0}, {}, {0, 0}, {9, 5, 'x'}} {
		low := attemptAt(t, db, func(tx *state.Tx) error { return state.Put(tx, &env{ID: "z"}) })
		low.Writes = []state.Write{{Table: "_schema", Key: "schema", Value: value}}
		b := db.Batch()
		b.Entry(db.AppliedIndex()+1, 0)
		if res, err := b.Commit(low); err != nil || res.Outcome != state.Malformed {
			t.Errorf("the schema's row %v: %v, %v", value, res, err)
		}
		b.Publish()
	}
}

// TestOlderNodesSayWhatTheyNeed gives a node of the first schema a raise, a commit and a snapshot of the next.
func TestOlderNodesSayWhatTheyNeed(t *testing.T) {
	db := statetest.NewOptions(t, state.Options{Tables: tables(t), Version: "7.8.9", Known: state.SchemaEvents})
	put(t, db, &item{ID: "1", Env: "e", Name: "n"})
	old := oldDB(t)
	before := old.Store().Fingerprint()
	raise := &state.Commit{Base: old.Store().AppliedIndex(), Epoch: 1, Schema: 1,
		Writes: []state.Write{{Table: "_schema", Key: "schema", Fresh: true, Value: append([]byte{2, 5}, "7.8.9 and more"...)}}}
	b := old.Store().Batch()
	b.Entry(old.Store().AppliedIndex()+1, 0)
	_, err := b.Commit(raise)
	b.Abort()
	needs := func(what string, err error) {
		t.Helper()
		var e *state.SchemaError
		if !errors.As(err, &e) || e.Schema != 2 || e.Known != 1 || !strings.Contains(err.Error(), "7.8.9") || !strings.Contains(err.Error(), "schema 2") {
			t.Errorf("%s: %v", what, err)
		}
	}
	needs("raise", err)
	needs("snapshot", old.Store().Restore(snapshotOf(t, db)))
	if got := old.Store().Fingerprint(); got != before {
		t.Error("something of it was taken")
	}
	info, err := state.Verify(snapshotOf(t, db))
	if err != nil || info.Schema != 2 || info.SchemaVersion != "7.8.9" {
		t.Errorf("verify: %+v, %v", info, err)
	}
	c := attempt(t, db, changesTo("1", 1))
	c.Schema = state.Schema + 1
	data := c.Encode(nil)
	for _, format := range []byte{2, 3, 200} { // whatever form comes with it
		data[0] = format
		_, err = state.DecodeCommit(data)
		var e *state.SchemaError
		if !errors.As(err, &e) || e.Schema != state.Schema+1 || !errors.Is(err, state.ErrDecode) {
			t.Errorf("a commit of a later schema: %v", err)
		}
	}
}

// TestSnapshotsOfTheFirstSchemaHaveNoNewRecords: a build that knows the first schema refuses tags that it does not know.
func TestSnapshotsOfTheFirstSchemaHaveNoNewRecords(t *testing.T) {
	old := oldDB(t)
	put(t, old, &item{ID: "1", Env: "e", Name: "n"})
	for want, db := range map[bool]*statetest.DB{false: old, true: newDB(t)} {
		var buf bytes.Buffer
		if _, err := buf.ReadFrom(snapshotOf(t, db)); err != nil {
			t.Fatal(err)
		}
		tags := tagsOf(t, buf.Bytes())
		if tags[1] != 1 || tags[255] != 1 || (tags[7] > 0) != want {
			t.Errorf("records by tag %v, with a schema: %v", tags, want)
		}
	}
}
