// Package directories is the collection of directories. The id is the absolute path.
package directories

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
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
	Mkdir(name string, a sys.Attr) error
	MkdirAll(name string) error
	Remove(name string) error
	Watch(ctx context.Context, names []string, changed func(name string)) error
}

// Options of New.
type Options struct{}

// Collection implements resource.Collection and resource.Watcher. It never removes what is in a
// directory: one that is not empty cannot be made absent.
type Collection struct{ sys System }

// New makes the collection on a machine.
func New(s System, _ Options) *Collection { return &Collection{sys: s} }

// Name is "directories".
func (c *Collection) Name() string { return "directories" }

// defaultPerm is the mode of a new directory for which no mode is stated.
const defaultPerm = 0o755

// Want holds the attributes an owner may state.
type Want struct {
	// Ensure is "present" or "absent".
	Ensure string `json:"ensure"`
	// Owner and Group are names or numbers, Mode an octal number; "" is not stated.
	Owner string `json:"owner"`
	Group string `json:"group"`
	Mode  string `json:"mode"`
}

func parse(id string, raw json.RawMessage) (Want, error) {
	var w Want
	if err := sys.CheckPath(id); err != nil {
		return w, err
	}
	if err := resource.Decode(raw, &w); err != nil {
		return w, err
	}
	var err error
	w.Ensure, err = resource.Ensure(w.Ensure, resource.Present, resource.Absent)
	return w, err
}

func (c *Collection) resolve(ctx context.Context, id string, raw json.RawMessage) (absent bool, st posix.Stated, err error) {
	w, err := parse(id, raw)
	if err == nil && w.Ensure != resource.Absent {
		st, err = posix.Resolve(ctx, c.sys, w.Owner, w.Group, w.Mode)
	}
	if err != nil {
		return false, st, fmt.Errorf("directory %s: %w", id, err)
	}
	return w.Ensure == resource.Absent, st, nil
}

func (c *Collection) lstat(id string) (sys.Info, bool, error) {
	i, err := c.sys.Lstat(id)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return i, false, nil
	case err != nil:
		return i, false, fmt.Errorf("directory %s: %w", id, err)
	case i.Type == fs.ModeSymlink:
		return i, true, fmt.Errorf("directory %s: a link is in its place; name the directory that it leads to, or remove it", id)
	case i.Type != fs.ModeDir:
		return i, true, fmt.Errorf("directory %s: something that is no directory is in its place; remove it or change the path", id)
	}
	return i, true, nil
}

// Read tells owner, group, mode and times.
func (c *Collection) Read(_ context.Context, id string) (resource.State, error) {
	if err := sys.CheckPath(id); err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	i, there, err := c.lstat(id)
	if err != nil {
		return nil, err
	}
	if !there {
		return resource.State{"present": false, "path": id}, nil
	}
	return posix.Describe(c.sys, id, i), nil
}

// Check compares the mode as a number.
func (c *Collection) Check(ctx context.Context, id string, raw json.RawMessage) (resource.Diff, error) {
	absent, st, err := c.resolve(ctx, id, raw)
	if err != nil {
		return resource.Diff{}, err
	}
	d, _, err := c.compare(id, absent, st)
	return d, err
}

func (c *Collection) compare(id string, absent bool, st posix.Stated) (resource.Diff, sys.Info, error) {
	var d resource.Diff
	i, there, err := c.lstat(id)
	switch {
	case err != nil:
	case absent == there:
		d.Add("present", !absent, there)
	case there:
		st.Compare(c.sys, i, &d)
	}
	return d, i, err
}

// Apply makes the directory so, and those above it with mode 0755.
func (c *Collection) Apply(ctx context.Context, id string, raw json.RawMessage) (resource.Diff, error) {
	absent, st, err := c.resolve(ctx, id, raw)
	if err != nil {
		return resource.Diff{}, err
	}
	d, i, err := c.compare(id, absent, st)
	if err != nil || d.Empty() {
		return d, err
	}
	if err := ctx.Err(); err != nil {
		return resource.Diff{}, fmt.Errorf("directory %s: %w", id, err)
	}
	_, create := d.Expected["present"]
	switch {
	case absent:
		err = c.remove(id)
	case create:
		if err = c.sys.MkdirAll(path.Dir(id)); err == nil {
			err = c.sys.Mkdir(id, st.Attr(defaultPerm))
		}
	default:
		err = st.Set(c.sys, id, i)
	}
	if err != nil {
		return resource.Diff{}, fmt.Errorf("directory %s: %w", id, err)
	}
	return d, nil
}

func (c *Collection) remove(id string) error {
	err := c.sys.Remove(id)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case isNotEmpty(err):
		return errors.New("it is not empty; remove what is in it first")
	}
	return err
}

// Watch is told by inotify on the directories above.
func (c *Collection) Watch(ctx context.Context, ids []string, changed func(id string)) error {
	return c.sys.Watch(ctx, ids, changed)
}
