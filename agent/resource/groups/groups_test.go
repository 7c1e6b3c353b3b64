package groups_test

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/agent/resource/groups"
	"github.com/muster-hq/muster/agent/resource/resourcetest"
	"github.com/muster-hq/muster/agent/sys"
	"github.com/muster-hq/muster/deploy/e2e/guest"
)

var (
	_ resource.Watcher = (*groups.Collection)(nil)
	_ resource.Lister  = (*groups.Collection)(nil)
)

func TestNotUnderARoot(t *testing.T) {
	m, err := sys.New(sys.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c := groups.New(m, groups.Options{})
	_, err1 := c.Apply(t.Context(), "x", nil)
	_, err2 := c.Read(t.Context(), "x")
	_, err3 := c.List(t.Context())
	for _, err := range []error{err1, err2, err3, c.Watch(t.Context(), []string{"x"}, func(string) {})} {
		if !errors.Is(err, resource.ErrUnavailable) {
			t.Errorf("error = %v, want ErrUnavailable", err)
		}
	}
}

func TestShadowTools(t *testing.T) {
	if !guest.Inside() {
		guest.Boot(t, guest.Options{}).Again(t)
		return
	}
	m, err := sys.New(sys.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := groups.New(m, groups.Options{})
	snapshot := func(t *testing.T) string {
		a, err1 := os.ReadFile("/etc/group")
		b, err2 := os.ReadFile("/etc/gshadow")
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		return string(a) + string(b)
	}
	resourcetest.Run(t, c, resourcetest.Case{
		ID: "ops", Want: `{"gid":4321}`, Other: `{"gid":4322}`, Absent: `{"ensure":"absent"}`,
		Invalid:  map[string]string{`{"gid":-2}`: "out of range", `{"gid":"1"}`: `"gid" cannot be a string`, `{"members":[]}`: "unknown attribute"},
		BadIDs:   map[string]string{"-x": "name of a group", "a:b": "name of a group", "": "name of a group"},
		Snapshot: snapshot,
	})
	if _, err := c.Apply(t.Context(), "sysops", json.RawMessage(`{"system":true,"gid":-1}`)); err != nil {
		t.Fatal(err)
	}
	if s, err := c.Read(t.Context(), "sysops"); err != nil || s["gid"].(int) >= 1000 {
		t.Errorf("Read = %v, %v", s, err)
	}
	before := snapshot(t)
	if _, err := c.Apply(t.Context(), "ops", json.RawMessage(`{"gid":0}`)); err == nil || !strings.Contains(err.Error(), "GID '0' already exists") {
		t.Errorf("a number that is taken = %v", err)
	}
	if _, err := c.Apply(t.Context(), "root", json.RawMessage(`{"ensure":"absent"}`)); err == nil || !strings.Contains(err.Error(), "primary group") {
		t.Errorf("a group in use = %v", err)
	}
	if snapshot(t) != before {
		t.Error("something changed")
	}
	if names, err := c.List(t.Context()); err != nil || !strings.Contains(strings.Join(names, " "), "sysops") {
		t.Errorf("List = %v, %v", names, err)
	}
}

func FuzzCheck(f *testing.F) {
	f.Add("ops", []byte(`{"gid":1,"ensure":"absent"}`))
	m, err := sys.New(sys.Options{})
	if err != nil {
		f.Fatal(err)
	}
	c := groups.New(m, groups.Options{})
	f.Fuzz(func(t *testing.T, id string, want []byte) {
		d, err := c.Check(t.Context(), id, want)
		if err == nil && (id == "" || strings.HasPrefix(id, "-") || strings.ContainsAny(id, ":\n /,")) {
			t.Errorf("the name %q was let through", id)
		}
		if len(d.Expected) != len(d.Observed) {
			t.Errorf("Diff = %v", d)
		}
	})
}
