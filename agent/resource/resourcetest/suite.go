// Package resourcetest holds the tests that every collection must pass.
package resourcetest

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/muster-hq/muster/agent/resource"
)

// Case is one resource of a collection that can be made, changed and taken away again.
type Case struct {
	// ID does not exist when the suite starts, unless Exists is set.
	ID string
	// Want makes it, Other differs from Want in something Check sees, Absent takes it away; "" leaves
	// the part out.
	Want, Other, Absent string
	// Exists: the resource is there before, in another state than Want.
	Exists bool
	// Invalid are wants that must be refused, and a piece of the text that tells why.
	Invalid map[string]string
	// BadIDs are ids that must be refused, and a piece of the text.
	BadIDs map[string]string
	// Snapshot tells everything that Check must not touch, in any form.
	Snapshot func(t *testing.T) string
}

// Run checks the contract of resource.Collection on c.
func Run(t *testing.T, col resource.Collection, c Case) {
	t.Helper()
	s := suite{col: col, c: c}
	t.Run("unknown attribute is refused", s.unknown)
	t.Run("invalid wants are refused and change nothing", s.invalid)
	t.Run("check does not touch", s.check)
	t.Run("apply then check is empty", func(t *testing.T) { s.apply(t, c.Want, !c.Exists) })
	if c.Other != "" {
		t.Run("drift is seen and repaired", s.drift)
	}
	if c.Absent != "" {
		t.Run("absent", s.absent)
	}
}

type suite struct {
	col resource.Collection
	c   Case
}

func (s suite) unknown(t *testing.T) {
	for _, want := range []string{`{"nosuchthing":1}`, `{"ensure":"present","Ensure":"absent"}`} {
		before := s.c.Snapshot(t)
		_, err := s.col.Check(t.Context(), s.c.ID, json.RawMessage(want))
		if err == nil || !strings.Contains(err.Error(), "unknown attribute") {
			t.Errorf("Check(%s) = %v, want an error that names the unknown attribute", want, err)
		}
		_, err = s.col.Apply(t.Context(), s.c.ID, json.RawMessage(want))
		if err == nil || !strings.Contains(err.Error(), "unknown attribute") {
			t.Errorf("Apply(%s) = %v, want an error that names the unknown attribute", want, err)
		}
		if after := s.c.Snapshot(t); after != before {
			t.Errorf("Apply(%s) changed something:\n%s\nbefore:\n%s", want, after, before)
		}
	}
}

func (s suite) invalid(t *testing.T) {
	refused := func(id, want, text string) {
		t.Helper()
		before := s.c.Snapshot(t)
		if _, err := s.col.Check(t.Context(), id, json.RawMessage(want)); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("Check(%q, %s) = %v, want an error with %q", id, want, err, text)
		}
		if _, err := s.col.Apply(t.Context(), id, json.RawMessage(want)); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("Apply(%q, %s) = %v, want an error with %q", id, want, err, text)
		}
		if after := s.c.Snapshot(t); after != before {
			t.Errorf("Apply(%q, %s) changed something:\n%s\nbefore:\n%s", id, want, after, before)
		}
	}
	for want, text := range s.c.Invalid {
		refused(s.c.ID, want, text)
	}
	for _, want := range []string{`[]`, `null`, `"x"`, `{`, `{"ensure":"perhaps"}`, `{"ensure":1}`} {
		refused(s.c.ID, want, "")
	}
	for id, text := range s.c.BadIDs {
		refused(id, s.c.Want, text)
	}
}

func (s suite) check(t *testing.T) {
	before := s.c.Snapshot(t)
	d, err := s.col.Check(t.Context(), s.c.ID, json.RawMessage(s.c.Want))
	if err != nil || d.Empty() {
		t.Fatalf("Check before Apply = %v, %v, want a difference", d, err)
	}
	sameKeys(t, d)
	if _, err := s.col.Read(t.Context(), s.c.ID); err != nil {
		t.Errorf("Read: %v", err)
	}
	if after := s.c.Snapshot(t); after != before {
		t.Errorf("Check or Read changed something:\n%s\nbefore:\n%s", after, before)
	}
}

func sameKeys(t *testing.T, d resource.Diff) {
	t.Helper()
	if len(d.Expected) != len(d.Observed) {
		t.Errorf("Expected %v and Observed %v have different keys", d.Expected, d.Observed)
	}
	for key := range d.Expected {
		if _, ok := d.Observed[key]; !ok {
			t.Errorf("Observed lacks %q", key)
		}
	}
	if _, err := json.Marshal(d); err != nil {
		t.Errorf("the Diff is not JSON: %v", err)
	}
}

func (s suite) apply(t *testing.T, want string, create bool) {
	foretold, err := s.col.Check(t.Context(), s.c.ID, json.RawMessage(want))
	if err != nil {
		t.Fatalf("Check: %v", err)
	}
	done, err := s.col.Apply(t.Context(), s.c.ID, json.RawMessage(want))
	if err != nil {
		t.Fatalf("Apply: %v", err)
	}
	a, _ := json.Marshal(foretold)
	b, _ := json.Marshal(done)
	if string(a) != string(b) {
		t.Errorf("Apply changed %s, Check had said %s", b, a)
	}
	if d, err := s.col.Check(t.Context(), s.c.ID, json.RawMessage(want)); err != nil || !d.Empty() {
		t.Errorf("Check after Apply = %v, %v, want nothing", d, err)
	}
	before := s.c.Snapshot(t)
	if d, err := s.col.Apply(t.Context(), s.c.ID, json.RawMessage(want)); err != nil || !d.Empty() {
		t.Errorf("second Apply = %v, %v, want nothing", d, err)
	}
	if after := s.c.Snapshot(t); after != before {
		t.Errorf("second Apply changed something:\n%s\nbefore:\n%s", after, before)
	}
	if state, err := s.col.Read(t.Context(), s.c.ID); create && (err != nil || state["present"] == false) {
		t.Errorf("Read after Apply = %v, %v", state, err)
	}
}

func (s suite) drift(t *testing.T) {
	d, err := s.col.Check(t.Context(), s.c.ID, json.RawMessage(s.c.Other))
	if err != nil || d.Empty() {
		t.Fatalf("Check of another want = %v, %v, want a difference", d, err)
	}
	sameKeys(t, d)
	s.apply(t, s.c.Other, false)
	s.apply(t, s.c.Want, false)
}

func (s suite) absent(t *testing.T) {
	for range 2 {
		if _, err := s.col.Apply(t.Context(), s.c.ID, json.RawMessage(s.c.Absent)); err != nil {
			t.Fatalf("Apply(%s): %v", s.c.Absent, err)
		}
		if d, err := s.col.Check(t.Context(), s.c.ID, json.RawMessage(s.c.Absent)); err != nil || !d.Empty() {
			t.Errorf("Check(%s) = %v, %v, want nothing", s.c.Absent, d, err)
		}
	}
	if state, err := s.col.Read(t.Context(), s.c.ID); err != nil || (state["present"] != false && state["installed"] != false) {
		t.Errorf("Read of what is absent = %v, %v", state, err)
	}
}
