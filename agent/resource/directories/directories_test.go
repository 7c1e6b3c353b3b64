package directories_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/agent/resource/directories"
	"github.com/muster-hq/muster/agent/resource/resourcetest"
	"github.com/muster-hq/muster/agent/sys"
)

var _ resource.Watcher = (*directories.Collection)(nil)

func collection(t *testing.T, o sys.Options) (*directories.Collection, string) {
	t.Helper()
	o.Root = t.TempDir()
	m, err := sys.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return directories.New(m, directories.Options{}), o.Root
}

func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		b.WriteString(path + " " + info.Mode().String() + " " + info.ModTime().String() + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestSuite(t *testing.T) {
	c, dir := collection(t, sys.Options{})
	resourcetest.Run(t, c, resourcetest.Case{
		ID: "/srv/www/site", Want: `{"mode":"750"}`, Other: `{"mode":"2775"}`, Absent: `{"ensure":"absent"}`,
		Invalid: map[string]string{
			`{"owner":"no-such-user"}`: `user "no-such-user" does not exist on this machine; create it first or change owner`,
			`{"content":"x"}`:          "unknown attribute",
			`{"mode":"7"}`:             "octal",
		},
		BadIDs:   map[string]string{"srv": "absolute", "/srv/../x": "plain form", "/": "root itself"},
		Snapshot: func(t *testing.T) string { return tree(t, dir) },
	})
	if info, err := os.Stat(dir + "/srv/www"); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the directory above: %v, %v", info, err)
	}
}

func TestWhatIsInTheWayOrInside(t *testing.T) {
	c, dir := collection(t, sys.Options{})
	if err := errors.Join(os.MkdirAll(dir+"/full/x", 0o755), os.WriteFile(dir+"/file", nil, 0o600), os.Symlink("full", dir+"/link")); err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	for _, x := range []struct{ id, want, text string }{
		{"/full", `{"ensure":"absent"}`, "not empty"},
		{"/file", `{}`, "no directory is in its place"},
		{"/file", `{"ensure":"absent"}`, "no directory is in its place"},
		{"/link", `{}`, "a link is in its place"},
	} {
		if _, err := c.Apply(t.Context(), x.id, json.RawMessage(x.want)); err == nil || !strings.Contains(err.Error(), x.text) {
			t.Errorf("Apply(%s, %s) = %v, want %q", x.id, x.want, err, x.text)
		}
	}
	if tree(t, dir) != before {
		t.Error("something changed")
	}
}

func TestAFailedCallIsToldAndDoneAgain(t *testing.T) {
	boom := errors.New("boom")
	for _, op := range []sys.Op{sys.OpMkdir, sys.OpChmod} {
		fail := true
		c, _ := collection(t, sys.Options{Before: func(o sys.Op, name string) error {
			if fail && o == op && name == "/d" {
				return boom
			}
			return nil
		}})
		if _, err := c.Apply(t.Context(), "/d", json.RawMessage(`{"mode":"1777"}`)); !errors.Is(err, boom) {
			t.Errorf("%s: Apply = %v", op, err)
		}
		fail = false
		if _, err := c.Apply(t.Context(), "/d", json.RawMessage(`{"mode":"1777"}`)); err != nil {
			t.Errorf("%s: Apply again = %v", op, err)
		}
		if s, err := c.Read(t.Context(), "/d"); err != nil || s["mode"] != "1777" {
			t.Errorf("%s: Read = %v, %v", op, s, err)
		}
	}
}

func FuzzApply(f *testing.F) {
	f.Add("/srv/x", []byte(`{"mode":"755"}`))
	f.Add("/../x", []byte(`{"ensure":"absent"}`))
	f.Fuzz(func(t *testing.T, id string, want []byte) {
		outer := t.TempDir()
		root := filepath.Join(outer, "root")
		if err := os.Mkdir(root, 0o755); err != nil {
			t.Fatal(err)
		}
		m, err := sys.New(sys.Options{Root: root, Unprivileged: true})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		c := directories.New(m, directories.Options{})
		if _, err := c.Apply(t.Context(), id, want); err == nil {
			if d, err := c.Check(t.Context(), id, want); err != nil || !d.Empty() {
				t.Errorf("Check after Apply(%q, %s) = %v, %v", id, want, d, err)
			}
		}
		if left, _ := os.ReadDir(outer); len(left) != 1 {
			t.Errorf("Apply(%q) made something outside the root: %v", id, left)
		}
	})
}
