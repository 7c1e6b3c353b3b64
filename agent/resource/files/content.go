package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/agent/sys"
)

// ReadContent implements resource.ContentReader. It follows links. It gives away neither what is in a private directory
// nor what /proc tells of processes: their memory and their environment are no files of the machine.
func (c *Collection) ReadContent(ctx context.Context, id string, offset int64, limit int) (resource.Part, error) {
	if err := sys.CheckPath(id); err != nil {
		return resource.Part{}, fmt.Errorf("%w: %w", resource.ErrName, err)
	}
	f, real, err := c.sys.OpenContent(id)
	if err != nil {
		return resource.Part{}, err
	}
	defer f.Close() //nolint:errcheck // read only
	if c.private(real) {
		return resource.Part{}, fmt.Errorf("%w: %s", resource.ErrPrivate, id)
	}
	info, err := f.Stat()
	if err != nil {
		return resource.Part{}, err
	}
	p := resource.Part{Size: info.Size()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		p.Tag = fmt.Sprintf("%x-%x", st.Dev, st.Ino)
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = f.SetReadDeadline(deadline) // those of /proc that wait can be interrupted; others never wait
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return resource.Part{}, err
	}
	buf := make([]byte, limit)
	n, err := io.ReadFull(f, buf)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		p.End = true
	case err != nil:
		return resource.Part{}, err
	default:
		p.End = p.Size > 0 && offset+int64(n) >= p.Size
	}
	p.Data = buf[:n]
	return p, nil
}

// private says whether a path, with all links resolved, is not to be given away.
func (c *Collection) private(real string) bool {
	if rest, ok := strings.CutPrefix(real, "/proc/"); ok {
		first, _, _ := strings.Cut(rest, "/")
		if strings.Trim(first, "0123456789") == "" || first == "kcore" || first == "kmsg" {
			return true
		}
	}
	for _, dir := range c.hidden {
		if at, err := filepath.EvalSymlinks(dir); err == nil {
			dir = at
		}
		if rel, err := filepath.Rel(dir, real); err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(os.PathSeparator)) {
			return true
		}
	}
	return false
}
