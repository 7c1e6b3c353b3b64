package sys_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/muster-hq/muster/agent/sys"
)

func machine(t *testing.T, before func(sys.Op, string) error) (*sys.Machine, string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m, err := sys.New(sys.Options{Root: dir, Before: before})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m, dir
}

func put(t *testing.T, name, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var own = sys.Attr{Perm: 0o640, UID: -1, GID: -1}

func TestWriteFileIsWholeOrNothingWhereverItFails(t *testing.T) {
	boom := errors.New("boom")
	for _, op := range []sys.Op{sys.OpCreate, sys.OpWrite, sys.OpChown, sys.OpChmod, sys.OpSync, sys.OpRename, sys.OpSyncDir} {
		t.Run(string(op), func(t *testing.T) {
			var seen []sys.Op
			m, dir := machine(t, func(o sys.Op, name string) error {
				seen = append(seen, o)
				if o == op {
					return boom
				}
				return nil
			})
			put(t, dir+"/etc/motd", "old", 0o600)
			err := m.WriteFile("/etc/motd", []byte("new"), own)
			if !errors.Is(err, boom) || !strings.Contains(err.Error(), string(op)) || !strings.Contains(err.Error(), "/etc/motd") {
				t.Errorf("error = %v, want one that names %s and the file", err, op)
			}
			want := "old"
			if op == sys.OpSyncDir { // it is in its place already
				want = "new"
			}
			if got := read(t, dir+"/etc/motd"); got != want {
				t.Errorf("content = %q, want %q", got, want)
			}
			if left, _ := os.ReadDir(dir + "/etc"); len(left) != 1 {
				t.Errorf("left beside it: %v", left)
			}
			if seen[len(seen)-1] != op {
				t.Errorf("went on after the failure: %v", seen)
			}
		})
	}
}

func TestWriteFileSetsModeAndTakesAwayWhatACutLeft(t *testing.T) {
	var temp string
	m, dir := machine(t, nil)
	put(t, dir+"/f", "old", 0o600)
	cut, err := sys.New(sys.Options{Root: dir, Before: func(o sys.Op, _ string) error {
		if o == sys.OpRename {
			files, _ := os.ReadDir(dir)
			temp = files[0].Name()
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer cut.Close()
	if err := cut.WriteFile("/f", []byte("x"), own); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, temp), "left by a dead agent", 0o600)
	if err := m.WriteFile("/f", []byte("new"), sys.Attr{Perm: 0o4751, UID: -1, GID: -1}); err != nil {
		t.Fatal(err)
	}
	i, err := m.Lstat("/f")
	if err != nil || i.Perm != 0o4751 || i.Type != 0 || i.Size != 3 {
		t.Errorf("Lstat = %+v, %v", i, err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("left: %v", files)
	}
}

func TestNothingLeadsOutOfTheRoot(t *testing.T) {
	m, dir := machine(t, nil)
	outside := t.TempDir()
	put(t, outside+"/secret", "s", 0o644)
	for name, target := range map[string]string{"abs": outside, "rel": "../../../../../../../.." + outside} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, dirname := range []string{"/abs", "/rel", "/../" + filepath.Base(outside)} {
		file := dirname + "/secret"
		calls := map[string]error{
			"write":    m.WriteFile(file, []byte("x"), own),
			"chmod":    m.Chmod(file, 0o777),
			"chown":    m.Chown(file, os.Getuid(), -1),
			"remove":   m.Remove(file),
			"mkdir":    m.Mkdir(dirname+"/d", own),
			"mkdirall": m.MkdirAll(dirname + "/d/e"),
		}
		_, calls["lstat"] = m.Lstat(file)
		_, calls["open"] = m.Open(file)
		_, calls["run"] = m.Run(t.Context(), sys.Command{Argv: []string{file}})
		_, calls["run in"] = m.Run(t.Context(), sys.Command{Argv: []string{"true"}, Dir: dirname})
		for call, err := range calls {
			if err == nil {
				t.Errorf("%s through %s succeeded", call, dirname)
			}
		}
	}
	if read(t, outside+"/secret") != "s" {
		t.Error("the file outside was changed")
	}
	if files, _ := os.ReadDir(outside); len(files) != 1 {
		t.Errorf("something was made outside: %v", files)
	}
}

func TestLinksAreNotFollowedAtTheEnd(t *testing.T) {
	m, dir := machine(t, nil)
	put(t, dir+"/target", "t", 0o600)
	if err := os.Symlink("target", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Open("/link"); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("Open = %v, want ELOOP", err)
	}
	if err := m.Chmod("/link", 0o777); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("Chmod = %v, want ELOOP", err)
	}
	if err := m.WriteFile("/link", []byte("x"), own); err != nil {
		t.Fatal(err)
	}
	if i, _ := m.Lstat("/link"); i.Type != 0 || read(t, dir+"/target") != "t" {
		t.Errorf("the link was followed: %+v", i)
	}
}

func TestOpenDoesNotWaitOnAPipe(t *testing.T) {
	m, dir := machine(t, nil)
	if err := syscall.Mkfifo(dir+"/pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Open("/pipe"); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("Open(pipe) = %v", err)
	}
}

func TestMkdirAllAndRemove(t *testing.T) {
	m, dir := machine(t, nil)
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	if err := m.MkdirAll("/a/b/c"); err != nil {
		t.Fatal(err)
	}
	if i, err := m.Lstat("/a/b"); err != nil || i.Perm != 0o755 || i.Type != fs.ModeDir {
		t.Errorf("Lstat = %+v, %v; want mode 0755 whatever the umask", i, err)
	}
	put(t, dir+"/a/f", "x", 0o600)
	if err := m.MkdirAll("/a/f/g"); err == nil {
		t.Error("MkdirAll through a file succeeded")
	}
	if err := m.Remove("/a/b"); !errors.Is(err, syscall.ENOTEMPTY) {
		t.Errorf("Remove of a full directory = %v", err)
	}
	if err := errors.Join(m.Remove("/a/b/c"), m.Remove("/a/f")); err != nil {
		t.Error(err)
	}
	if _, err := m.Lstat("/a/f/g"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Lstat below what is gone = %v", err)
	}
}

func TestCheckPath(t *testing.T) {
	for _, good := range []string{"/a", "/etc/nginx/nginx.conf", "/a b/ü", "/.hidden", "/a..b"} {
		if err := sys.CheckPath(good); err != nil {
			t.Errorf("CheckPath(%q) = %v", good, err)
		}
	}
	for bad, text := range map[string]string{
		"": "absolute", "etc/motd": "absolute", "../x": "absolute", "/": "root itself", "/a/../b": "plain form",
		"/a//b": "plain form", "/a/": "plain form", "/./a": "plain form", "/..": "plain form", "/a\x00b": "NUL",
		"/" + strings.Repeat("x", 256): "255", "/" + strings.Repeat("x/", 3000): "4095",
	} {
		if err := sys.CheckPath(bad); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("CheckPath(%.20q) = %v, want %q", bad, err, text)
		}
	}
}

func FuzzCheckPath(f *testing.F) {
	for _, s := range []string{"/a/b", "/../x", "a", "/a/./b", "//"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if sys.CheckPath(name) != nil {
			return
		}
		if filepath.Join("/root", name) != "/root"+name || slices.Contains(strings.Split(name, "/"), "..") {
			t.Errorf("%q was let through", name)
		}
	})
}

func TestRootMustExist(t *testing.T) {
	if _, err := sys.New(sys.Options{Root: t.TempDir() + "/none"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("New = %v", err)
	}
}
