// Package files is the collection of regular files. The id is the absolute path.
package files

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/agent/resource/posix"
	"github.com/muster-hq/muster/agent/sys"
)

// System is what the collection needs of the machine.
type System interface {
	posix.System
	posix.Setter
	Lstat(name string) (sys.Info, error)
	Digest(name string) (string, error)
	WriteFile(name string, content []byte, a sys.Attr) error
	MkdirAll(name string) error
	Remove(name string) error
	Watch(ctx context.Context, names []string, changed func(name string)) error
	OpenContent(name string) (f *os.File, real string, err error)
}

// Options of New.
type Options struct {
	// Private are directories of the machine whose files are not read for anybody: the agent's own state.
	Private []string
}

// Collection implements resource.Collection, resource.Watcher and resource.ContentReader.
//
// A file is written whole, beside its place, and renamed into it: a reader sees the old or the new
// content. Directories above it are made with mode 0755. A link in its place is replaced by the file;
// anything else that is not a regular file is an error.
type Collection struct {
	sys    System
	hidden []string
}

// New makes the collection on a machine.
func New(s System, o Options) *Collection { return &Collection{sys: s, hidden: o.Private} }

// Name is "files".
func (c *Collection) Name() string { return "files" }

// defaultPerm is the mode of a new file for which no mode is stated.
const defaultPerm = 0o644

// Want holds the attributes an owner may state.
type Want struct {
	// Ensure is "present" or "absent".
	Ensure string `json:"ensure"`
	// Content is the text of the file; ContentBase64 the same for any bytes. Not both.
	Content       *string `json:"content"`
	ContentBase64 *string `json:"contentBase64"`
	// Owner and Group are names or numbers, Mode an octal number; "" is not stated.
	Owner string `json:"owner"`
	Group string `json:"group"`
	Mode  string `json:"mode"`
}

type wanted struct {
	absent  bool
	content []byte // nil: not stated
	digest  string
	stated  posix.Stated
}

func parse(id string, raw json.RawMessage) (Want, []byte, error) {
	var w Want
	if err := sys.CheckPath(id); err != nil {
		return w, nil, err
	}
	if err := resource.Decode(raw, &w); err != nil {
		return w, nil, err
	}
	ensure, err := resource.Ensure(w.Ensure, resource.Present, resource.Absent)
	if err != nil {
		return w, nil, err
	}
	w.Ensure = ensure
	if w.Content != nil && w.ContentBase64 != nil {
		return w, nil, errors.New("content and contentBase64 are both stated; state one")
	}
	if w.Content != nil {
		return w, []byte(*w.Content), nil
	}
	if w.ContentBase64 == nil {
		return w, nil, nil
	}
	content, err := base64.StdEncoding.DecodeString(*w.ContentBase64)
	if err != nil {
		return w, nil, fmt.Errorf("contentBase64 is not base64: %w", err)
	}
	if content == nil {
		content = []byte{}
	}
	return w, content, nil
}

func (c *Collection) resolve(ctx context.Context, id string, raw json.RawMessage) (wanted, error) {
	w, content, err := parse(id, raw)
	if err != nil {
		return wanted{}, fmt.Errorf("file %s: %w", id, err)
	}
	if w.Ensure == resource.Absent {
		return wanted{absent: true}, nil
	}
	stated, err := posix.Resolve(ctx, c.sys, w.Owner, w.Group, w.Mode)
	if err != nil {
		return wanted{}, fmt.Errorf("file %s: %w", id, err)
	}
	out := wanted{content: content, stated: stated}
	if content != nil {
		sum := sha256.Sum256(content)
		out.digest = hex.EncodeToString(sum[:])
	}
	return out, nil
}

// lstat says whether there is a regular file or a link; a missing directory above is no error. What is
// in the way of a file is an error.
func (c *Collection) lstat(id string) (sys.Info, bool, error) {
	i, err := c.sys.Lstat(id)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return i, false, nil
	case err != nil:
		return i, false, fmt.Errorf("file %s: %w", id, err)
	case i.Type == fs.ModeDir:
		return i, true, fmt.Errorf("file %s: a directory is in its place; remove it or change the path", id)
	case i.Type != 0 && i.Type != fs.ModeSymlink:
		return i, true, fmt.Errorf("file %s: a device, pipe or socket is in its place; remove it or change the path", id)
	}
	return i, true, nil
}

// Read tells owner, group, mode, times and the SHA-256 of the content ("digest").
func (c *Collection) Read(_ context.Context, id string) (resource.State, error) {
	if err := sys.CheckPath(id); err != nil {
		return nil, fmt.Errorf("file: %w", err)
	}
	i, there, err := c.lstat(id)
	if err != nil {
		return nil, err
	}
	if !there {
		return resource.State{"present": false, "path": id}, nil
	}
	state := posix.Describe(c.sys, id, i)
	if i.Type == fs.ModeSymlink {
		state["type"] = "link"
		return state, nil
	}
	if state["digest"], err = c.sys.Digest(id); err != nil {
		return nil, fmt.Errorf("file %s: %w", id, err)
	}
	return state, nil
}

// Check compares the content by its SHA-256, which the Diff shows in place of it, and the mode as a
// number.
func (c *Collection) Check(ctx context.Context, id string, raw json.RawMessage) (resource.Diff, error) {
	w, err := c.resolve(ctx, id, raw)
	if err != nil {
		return resource.Diff{}, err
	}
	d, _, err := c.compare(id, w)
	return d, err
}

func (c *Collection) compare(id string, w wanted) (resource.Diff, sys.Info, error) {
	var d resource.Diff
	i, there, err := c.lstat(id)
	if err != nil {
		return d, i, err
	}
	if w.absent || !there {
		if w.absent == there {
			d.Add("present", !w.absent, there)
		}
		return d, i, nil
	}
	if i.Type == fs.ModeSymlink {
		d.Add("type", "file", "link")
		return d, i, nil
	}
	w.stated.Compare(c.sys, i, &d)
	if w.content != nil {
		have := ""
		if i.Size != int64(len(w.content)) && i.Size > 1<<30 {
			have = fmt.Sprintf("(%d bytes)", i.Size) // surely another content; not worth reading
		} else if have, err = c.sys.Digest(id); err != nil {
			return d, i, fmt.Errorf("file %s: %w", id, err)
		}
		if have != w.digest {
			d.Add("content", "sha256:"+w.digest, "sha256:"+have)
		}
	}
	return d, i, nil
}

// Apply makes the file so. Without a stated content a file that does not exist is made empty, and one
// that exists keeps its content.
func (c *Collection) Apply(ctx context.Context, id string, raw json.RawMessage) (resource.Diff, error) {
	w, err := c.resolve(ctx, id, raw)
	if err != nil {
		return resource.Diff{}, err
	}
	d, i, err := c.compare(id, w)
	if err != nil || d.Empty() {
		return d, err
	}
	if err := ctx.Err(); err != nil {
		return resource.Diff{}, fmt.Errorf("file %s: %w", id, err)
	}
	if err := c.change(id, w, d, i); err != nil {
		return resource.Diff{}, fmt.Errorf("file %s: %w", id, err)
	}
	return d, nil
}

func (c *Collection) change(id string, w wanted, d resource.Diff, i sys.Info) error {
	if w.absent {
		if err := c.sys.Remove(id); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	_, create := d.Expected["present"]
	_, link := d.Expected["type"]
	_, rewrite := d.Expected["content"]
	if link && w.content == nil {
		return errors.New("a link is in its place and no content is stated; state the content or remove the link")
	}
	switch {
	case create:
		if err := c.sys.MkdirAll(path.Dir(id)); err != nil {
			return fmt.Errorf("make the directories above: %w", err)
		}
		return c.sys.WriteFile(id, w.content, w.stated.Attr(defaultPerm))
	case link:
		return c.sys.WriteFile(id, w.content, w.stated.Attr(defaultPerm))
	case rewrite:
		a := w.stated.Attr(i.Perm)
		if !c.sys.Unprivileged() { // what is not stated stays as it is
			if a.UID < 0 {
				a.UID = int(i.UID)
			}
			if a.GID < 0 {
				a.GID = int(i.GID)
			}
		}
		return c.sys.WriteFile(id, w.content, a)
	}
	return w.stated.Set(c.sys, id, i)
}

// Watch is told by inotify on the directories of the files.
func (c *Collection) Watch(ctx context.Context, ids []string, changed func(id string)) error {
	return c.sys.Watch(ctx, ids, changed)
}
