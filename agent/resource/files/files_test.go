package files_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/agent/resource/files"
	"github.com/muster-hq/muster/agent/resource/resourcetest"
	"github.com/muster-hq/muster/agent/sys"
)

var _ resource.Watcher = (*files.Collection)(nil)

func collection(t *testing.T, o sys.Options) (*files.Collection, string) {
	t.Helper()
	o.Root = t.TempDir()
	m, err := sys.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return files.New(m, files.Options{}), o.Root
}

// tree describes every file below a directory, with times of change.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st syscall.Stat_t
		if err := syscall.Lstat(path, &st); err != nil {
			return err
		}
		fmt.Fprintln(&b, path, st.Ino, st.Mode, st.Uid, st.Gid, st.Size, st.Ctim, st.Mtim)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestSuite(t *testing.T) {
	c, dir := collection(t, sys.Options{})
	resourcetest.Run(t, c, resourcetest.Case{
		ID: "/etc/app/conf", Want: `{"content":"a\n","mode":"640"}`, Other: `{"content":"b","mode":"4755"}`, Absent: `{"ensure":"absent"}`,
		Invalid: map[string]string{
			`{"owner":"no-such-user"}`:               `user "no-such-user" does not exist on this machine; create it first or change owner`,
			`{"group":"no-such-group"}`:              `group "no-such-group" does not exist`,
			`{"mode":"rwx"}`:                         "octal",
			`{"content":"a","contentBase64":"YQ=="}`: "state one",
			`{"contentBase64":"%%"}`:                 "not base64",
			`{"content":5}`:                          `"content" cannot be a number`,
		},
		BadIDs:   map[string]string{"etc/x": "absolute", "/etc/../x": "plain form", "/": "root itself", "": "absolute"},
		Snapshot: func(t *testing.T) string { return tree(t, dir) },
	})
}

func apply(t *testing.T, c *files.Collection, id, want string) resource.Diff {
	t.Helper()
	d, err := c.Apply(t.Context(), id, json.RawMessage(want))
	if err != nil {
		t.Fatalf("Apply(%s): %v", want, err)
	}
	return d
}

func TestTheDiffShowsDigestsAndNotContents(t *testing.T) {
	c, dir := collection(t, sys.Options{})
	if err := os.WriteFile(dir+"/f", []byte("old secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := apply(t, c, "/f", `{"content":"new secret"}`)
	text, _ := json.Marshal(d)
	if strings.Contains(string(text), "secret") || !strings.HasPrefix(d.Expected["content"].(string), "sha256:") {
		t.Errorf("Diff = %s", text)
	}
	if s, _ := os.Stat(dir + "/f"); s.Mode().Perm() != 0o600 {
		t.Errorf("the mode was not stated, and changed to %v", s.Mode())
	}
}

func TestBytesAndEmptyContents(t *testing.T) {
	c, dir := collection(t, sys.Options{})
	blob := []byte{0, 255, '\n', 128}
	apply(t, c, "/b", `{"contentBase64":"`+base64.StdEncoding.EncodeToString(blob)+`"}`)
	if got, _ := os.ReadFile(dir + "/b"); string(got) != string(blob) {
		t.Errorf("content = %v", got)
	}
	for _, want := range []string{`{"content":""}`, `{"contentBase64":""}`} {
		if err := os.WriteFile(dir+"/e", []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if d := apply(t, c, "/e", want); d.Empty() {
			t.Errorf("%s is not stated content", want)
		}
		if got, _ := os.ReadFile(dir + "/e"); len(got) != 0 {
			t.Errorf("%s left %q", want, got)
		}
	}
	apply(t, c, "/new", `{"mode":"600"}`)
	if s, err := os.Stat(dir + "/new"); err != nil || s.Size() != 0 || s.Mode().Perm() != 0o600 {
		t.Errorf("a new file without content: %v, %v", s, err)
	}
	if err := os.WriteFile(dir+"/kept", []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	apply(t, c, "/kept", `{"mode":"640"}`)
	if got, _ := os.ReadFile(dir + "/kept"); string(got) != "kept" {
		t.Errorf("content that is not stated is now %q", got)
	}
}

func TestWhatIsInTheWay(t *testing.T) {
	c, dir := collection(t, sys.Options{})
	if err := errors.Join(os.Mkdir(dir+"/d", 0o755), syscall.Mkfifo(dir+"/pipe", 0o600), os.Symlink("d", dir+"/l"),
		os.WriteFile(dir+"/plain", nil, 0o600), os.Symlink(t.TempDir(), dir+"/out")); err != nil {
		t.Fatal(err)
	}
	for id, text := range map[string]string{"/d": "a directory is in its place", "/pipe": "pipe", "/plain/x": "not a directory", "/out/x": "escapes"} {
		before := tree(t, dir)
		for _, want := range []string{`{"content":"x"}`, `{"ensure":"absent"}`} {
			if _, err := c.Apply(t.Context(), id, json.RawMessage(want)); err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("Apply(%s, %s) = %v, want %q", id, want, err, text)
			}
		}
		if tree(t, dir) != before {
			t.Errorf("Apply(%s) changed something", id)
		}
	}
	if _, err := c.Apply(t.Context(), "/l", json.RawMessage(`{"mode":"600"}`)); err == nil || !strings.Contains(err.Error(), "a link is in its place") {
		t.Errorf("a link without content = %v", err)
	}
	apply(t, c, "/l", `{"content":"x"}`)
	if s, _ := os.Lstat(dir + "/l"); !s.Mode().IsRegular() {
		t.Errorf("the link was not replaced: %v", s.Mode())
	}
}

func TestAFailureLeavesTheFile(t *testing.T) {
	boom := errors.New("boom")
	for _, op := range []sys.Op{sys.OpWrite, sys.OpChmod, sys.OpSync, sys.OpRename} {
		var on atomic.Bool
		c, dir := collection(t, sys.Options{Before: func(o sys.Op, _ string) error {
			if o == op && on.Load() {
				return boom
			}
			return nil
		}})
		apply(t, c, "/f", `{"content":"old"}`)
		before := tree(t, dir+"/f")
		on.Store(true)
		if d, err := c.Apply(t.Context(), "/f", json.RawMessage(`{"content":"new","mode":"600"}`)); !errors.Is(err, boom) || !d.Empty() {
			t.Errorf("%s: Apply = %v, %v", op, d, err)
		}
		if tree(t, dir+"/f") != before {
			t.Errorf("%s: the file changed", op)
		}
		on.Store(false)
		apply(t, c, "/f", `{"content":"new","mode":"600"}`)
		if got, _ := os.ReadFile(dir + "/f"); string(got) != "new" {
			t.Errorf("%s: again = %q", op, got)
		}
	}
}

func TestOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("in CI this may not be skipped: it needs root")
		}
		t.Skip("it needs root")
	}
	c, dir := collection(t, sys.Options{})
	owner := func() (int, int) {
		var st syscall.Stat_t
		if err := syscall.Stat(dir+"/f", &st); err != nil {
			t.Fatal(err)
		}
		return int(st.Uid), int(st.Gid)
	}
	apply(t, c, "/f", `{"content":"a","owner":"1234","group":"2345","mode":"4755"}`)
	if u, g := owner(); u != 1234 || g != 2345 {
		t.Errorf("made for %d:%d", u, g)
	}
	apply(t, c, "/f", `{"content":"b"}`)
	if u, g := owner(); u != 1234 || g != 2345 {
		t.Errorf("a new content made it %d:%d's", u, g)
	}
	if s, _ := os.Stat(dir + "/f"); s.Mode()&fs.ModeSetuid == 0 {
		t.Error("a new content took setuid away")
	}
	if d := apply(t, c, "/f", `{"owner":"root","group":"root"}`); d.Observed["owner"] != "1234" || d.Expected["owner"] != "root" {
		t.Errorf("Diff = %v", d)
	}
	if s, _ := os.Stat(dir + "/f"); s.Mode()&fs.ModeSetuid == 0 {
		t.Error("a new owner took setuid away, which was not stated otherwise")
	}
	u, _ := collection(t, sys.Options{Unprivileged: true})
	apply(t, u, "/f", `{"content":"x","owner":"1234"}`)
	if d, err := u.Check(t.Context(), "/f", json.RawMessage(`{"owner":"1234"}`)); err != nil || !d.Empty() {
		t.Errorf("unprivileged Check = %v, %v", d, err)
	}
}

func TestWatchTellsOfAnEditByHand(t *testing.T) {
	c, dir := collection(t, sys.Options{})
	apply(t, c, "/etc/f", `{"content":"a"}`)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	told := make(chan string, 100)
	ended := make(chan error, 1)
	go func() { ended <- c.Watch(ctx, []string{"/etc/f"}, func(id string) { told <- id }) }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case id := <-told:
			if id != "/etc/f" {
				t.Errorf("told of %s", id)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Watch = %v", err)
			}
			return
		case <-ctx.Done():
			t.Fatal("not told within 60 s")
		case <-tick.C:
			if err := os.WriteFile(dir+"/etc/f", []byte(fmt.Sprint(n)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func FuzzApply(f *testing.F) {
	f.Add("/etc/motd", []byte(`{"content":"x","mode":"644"}`))
	f.Add("/../x", []byte(`{"contentBase64":"AA==","ensure":"present"}`))
	f.Add("/a/./b", []byte(`{"ensure":"absent"}`))
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
		c := files.New(m, files.Options{})
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
