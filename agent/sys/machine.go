// Package sys is the operating system as the collections see it: files, commands, accounts and events,
// all below one root directory. Every call goes through one gate, so that a test can make exactly one
// of them fail. Names are absolute paths as seen from the root.
package sys

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Op names a call at the gate of Options.Before.
type Op string

// The operations. Those of WriteFile come in the order create, write, chown, chmod, sync, rename,
// syncdir.
const (
	OpStat    Op = "stat"
	OpOpen    Op = "open"
	OpCreate  Op = "create"
	OpWrite   Op = "write"
	OpChown   Op = "chown"
	OpChmod   Op = "chmod"
	OpSync    Op = "sync"
	OpRename  Op = "rename"
	OpSyncDir Op = "syncdir"
	OpMkdir   Op = "mkdir"
	OpRemove  Op = "remove"
	OpExec    Op = "exec"
)

// Options of New. The zero value is the whole machine.
type Options struct {
	// Root confines everything below this directory; "" and "/" are the whole machine.
	Root string
	// Unprivileged says that owners cannot be set and shall not be tried: the demonstration mode of an
	// agent that is confined and does not run as root.
	Unprivileged bool
	// Before is called ahead of each operation with its name (argv[0] for OpExec); an error that it
	// returns is the operation's. It must be safe for concurrent use. For tests.
	Before func(op Op, name string) error
}

// Machine is the operating system below one root. It is safe for concurrent use.
type Machine struct {
	root         string
	confined     *os.Root // nil: the whole machine
	unprivileged bool
	before       func(op Op, name string) error
	accounts     chan struct{}
}

// New opens the machine. An error says that Root is not a directory that can be opened.
func New(o Options) (*Machine, error) {
	m := &Machine{root: "/", unprivileged: o.Unprivileged, before: o.Before, accounts: make(chan struct{}, 1)}
	if o.Root == "" || o.Root == "/" {
		return m, nil
	}
	abs, err := filepath.Abs(o.Root)
	if err != nil {
		return nil, fmt.Errorf("root directory %s: %w", o.Root, err)
	}
	// The real path, since a command's own view of a file is compared with it.
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return nil, fmt.Errorf("root directory: %w", err)
	}
	if m.confined, err = os.OpenRoot(abs); err != nil {
		return nil, fmt.Errorf("root directory: %w", err)
	}
	m.root = abs
	return m, nil
}

// Close frees the root directory. The Machine cannot be used afterwards.
func (m *Machine) Close() error {
	if m.confined == nil {
		return nil
	}
	return m.confined.Close()
}

// Confined says that a root directory other than "/" was given.
func (m *Machine) Confined() bool { return m.confined != nil }

// Unprivileged says that owners are neither compared nor set.
func (m *Machine) Unprivileged() bool { return m.unprivileged }

// HostPath is name as processes outside the root see it. It does not resolve links.
func (m *Machine) HostPath(name string) string { return filepath.Join(m.root, name) }

func (m *Machine) gate(op Op, name string) error {
	if m.before == nil {
		return nil
	}
	if err := m.before(op, name); err != nil {
		return &fs.PathError{Op: string(op), Path: name, Err: err}
	}
	return nil
}

func relative(name string) string {
	if rel := strings.TrimPrefix(name, "/"); rel != "" {
		return rel
	}
	return "."
}

// ErrNotAbsolute is wrapped by CheckPath for a path that does not begin with "/".
var ErrNotAbsolute = errors.New("the path must be absolute")

// CheckPath says what is wrong with a path that an owner stated. Right is: absolute, without "." or
// ".." or empty parts, without NUL, and not the root itself. A wrong path is not repaired, since the
// same resource would then have two names.
func CheckPath(name string) error {
	switch {
	case !strings.HasPrefix(name, "/"):
		return fmt.Errorf("%w: %q does not begin with /", ErrNotAbsolute, name)
	case strings.ContainsRune(name, 0):
		return fmt.Errorf("the path %q contains a NUL character", name)
	case name == "/":
		return errors.New("the path / is the root itself; name something below it")
	case len(name) > 4095:
		return fmt.Errorf("the path is %d bytes long; the limit is 4095", len(name))
	}
	for part := range strings.SplitSeq(name[1:], "/") {
		if len(part) > 255 {
			return fmt.Errorf("the path has a part of %d bytes; the limit is 255", len(part))
		}
	}
	if clean := filepath.Clean(name); clean != name {
		return fmt.Errorf("the path %q is not in its plain form; write %q if that is meant", name, clean)
	}
	return nil
}
