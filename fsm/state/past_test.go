package state_test

import (
	"bytes"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

func organizationsOf(r state.Reader) string {
	names := ""
	for _, o := range orchestrate.Organizations(r) {
		names += o.Name + " "
	}
	return names
}

// The past of a transaction is what was before it, with what others wrote later.
func TestPastPutsBackWhatOneTransactionChanged(t *testing.T) {
	db := statetest.New(t, orchestrate.Tables()...)
	put := func(tx *state.Tx, id, name string) error {
		return state.Put(tx, &model.OrganizationRow{ID: id, Name: name})
	}
	run := func(f func(tx *state.Tx) error) {
		t.Helper()
		if err := db.Inject(f); err != nil {
			t.Fatal(err)
		}
	}
	run(func(tx *state.Tx) error {
		if err := put(tx, "1", "one"); err != nil {
			return err
		}
		return put(tx, "2", "two")
	})
	var undo []byte
	run(func(tx *state.Tx) error {
		state.Delete[model.OrganizationRow](tx, "1")
		if err := put(tx, "2", "zwei"); err != nil {
			return err
		}
		if err := put(tx, "3", "three"); err != nil {
			return err
		}
		undo = state.Undo(tx)
		return nil
	})
	run(func(tx *state.Tx) error { return put(tx, "4", "four") })
	past, err := state.Past(db.Local(), undo)
	if err != nil {
		t.Fatal(err)
	}
	if got := organizationsOf(past); got != "four one two " {
		t.Errorf("the past is %q", got)
	}
	if got := organizationsOf(db.Local()); got != "four three zwei " {
		t.Errorf("the present is %q", got)
	}
	if _, err := orchestrate.OrganizationByName(past, "zwei"); model.CodeOf(err) != model.NotFound {
		t.Errorf("the new name is in the past: %v", err)
	}
}

func FuzzPast(f *testing.F) {
	db := statetest.New(f, orchestrate.Tables()...)
	f.Add([]byte{1, 0})
	f.Add([]byte("\x01\x01\x05table\x03key\x01\x01\x01r\x02{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := state.Past(db.Local(), b)
		if (r == nil) == (err == nil) {
			t.Errorf("%v %v", r, err)
		}
	})
}

func TestUndoOfNothing(t *testing.T) {
	db := statetest.New(t, orchestrate.Tables()...)
	if err := db.Inject(func(tx *state.Tx) error {
		if u := state.Undo(tx); !bytes.Equal(u, []byte{1, 0}) {
			t.Errorf("%x", u)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
