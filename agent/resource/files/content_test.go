package files_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/agent/resource/files"
	"github.com/muster-hq/muster/agent/sys"
)

var _ resource.ContentReader = (*files.Collection)(nil)

// whole reads a file part by part.
func whole(t *testing.T, c *files.Collection, id string, limit int) ([]byte, error) {
	t.Helper()
	var out []byte
	for {
		p, err := c.ReadContent(t.Context(), id, int64(len(out)), limit)
		if err != nil {
			return out, err
		}
		out = append(out, p.Data...)
		if p.End {
			return out, nil
		}
		if len(p.Data) == 0 {
			t.Fatalf("%s: nothing, and no end", id)
		}
	}
}

// On the whole machine and below a root alike.
func TestReadContent(t *testing.T) {
	for _, root := range []bool{false, true} {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		o, at := sys.Options{}, dir
		if root {
			o.Root, at = dir, ""
		}
		m, err := sys.New(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() }) //nolint:errcheck // a test's
		c := files.New(m, files.Options{Private: []string{filepath.Join(dir, "state")}})
		text := bytes.Repeat([]byte("0123456789"), 100)
		put := func(name string, b []byte) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(os.Mkdir(filepath.Join(dir, "state"), 0o700), os.Symlink("text", filepath.Join(dir, "link")),
			os.Symlink("state/keys", filepath.Join(dir, "sly")), syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600)); err != nil {
			t.Fatal(err)
		}
		put("text", text)
		put("empty", nil)
		put("state/keys", []byte("seed"))
		for name, want := range map[string][]byte{"text": text, "link": text, "empty": nil} {
			for _, limit := range []int{1, 7, 1000, 4096} {
				if got, err := whole(t, c, at+"/"+name, limit); err != nil || !bytes.Equal(got, want) {
					t.Errorf("root %t, %s by %d: %d bytes, %v", root, name, limit, len(got), err)
				}
			}
		}
		for name, want := range map[string]error{
			"/none": fs.ErrNotExist, "/state/keys": resource.ErrPrivate, "/sly": resource.ErrPrivate, "/pipe": sys.ErrNotRegular, "/state": sys.ErrNotRegular,
			"/../x": resource.ErrName, "//text": resource.ErrName, "/a/./b": resource.ErrName, "/x\x00y": resource.ErrName,
		} {
			if p, err := c.ReadContent(t.Context(), at+name, 0, 10); !errors.Is(err, want) {
				t.Errorf("root %t, %q: %q, %v; want %v", root, name, p.Data, err, want)
			} else if text := "open " + at + "/none: no such file or directory"; name == "/none" && err.Error() != text {
				t.Errorf("root %t: %q; want %q", root, err, text)
			}
		}
		if _, err := c.ReadContent(t.Context(), "etc/passwd", 0, 10); !errors.Is(err, resource.ErrName) {
			t.Errorf("a path that is not absolute: %v", err)
		}
		// Another file in its place has another tag.
		before, err := c.ReadContent(t.Context(), at+"/text", 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		put("new", text)
		if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "text")); err != nil {
			t.Fatal(err)
		}
		if after, err := c.ReadContent(t.Context(), at+"/text", 10, 10); err != nil || after.Tag == before.Tag {
			t.Errorf("tags %q and %q, %v", before.Tag, after.Tag, err)
		}
	}
}

// What the kernel makes up has no size; what it tells of processes is given to nobody, by whatever path.
func TestReadContentOfTheKernel(t *testing.T) {
	m, err := sys.New(sys.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := files.New(m, files.Options{})
	if b, err := whole(t, c, "/proc/meminfo", 50); err != nil || !strings.HasPrefix(string(b), "MemTotal:") {
		t.Errorf("%.40q, %v", b, err)
	}
	sly := filepath.Join(t.TempDir(), "sly")
	if err := os.Symlink("/proc/self", sly); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"/proc/self/environ", "/proc/" + strconv.Itoa(os.Getpid()) + "/environ", "/proc/self/mem", "/proc/thread-self/environ", sly + "/environ"} {
		if p, err := c.ReadContent(t.Context(), name, 0, 10); !errors.Is(err, resource.ErrPrivate) {
			t.Errorf("%s: %q, %v", name, p.Data, err)
		}
	}
	if _, err := c.ReadContent(t.Context(), "/dev/null", 0, 10); !errors.Is(err, sys.ErrNotRegular) {
		t.Errorf("a device: %v", err)
	}
}
