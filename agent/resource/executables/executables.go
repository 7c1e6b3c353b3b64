// Package executables is the collection of programs that are run on demand. A program is run once, at
// once; it is never made true, watched or repeated.
package executables

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/agent/sys"
)

// System is what the collection needs of the machine.
type System interface {
	Lstat(name string) (sys.Info, error)
	Run(ctx context.Context, c sys.Command) (sys.Result, error)
	LookupUser(ctx context.Context, name string) (sys.User, bool, error)
	Groups() ([]sys.Group, error)
}

// Options of New.
type Options struct {
	// Limit is how many bytes of each output are kept, head and tail; 0 means 64 KiB.
	Limit int
}

// Collection implements resource.Collection and resource.Actor. Its id is a name for the log, or the
// path of the program when the arguments of the action hold no argv.
type Collection struct {
	sys   System
	limit int
}

// New makes the collection on a machine.
func New(s System, o Options) *Collection { return &Collection{sys: s, limit: o.Limit} }

// Name is "executables".
func (c *Collection) Name() string { return "executables" }

// Args are the arguments of the action "run".
type Args struct {
	// Argv is the program and its arguments, as they are: there is no shell. The program is an absolute
	// path, or a bare name that is looked for in sys.SearchPath. Empty: the id is the program.
	Argv []string `json:"argv"`
	// Cwd is the working directory, an absolute path; "" is the root.
	Cwd string `json:"cwd"`
	// Env is added to PATH, LC_ALL and HOME.
	Env map[string]string `json:"env"`
	// User is whom to run as; "" is the agent's own user.
	User string `json:"user"`
	// Timeout in seconds; 0 is none but the order's.
	Timeout float64 `json:"timeout"`
}

// Run is the only verb.
const Run = "run"

// stderrTail is how much of the standard error an ExitError repeats.
const stderrTail = 2 << 10

// Read tells whether the program named by an absolute path exists.
func (c *Collection) Read(_ context.Context, id string) (resource.State, error) {
	if err := sys.CheckPath(id); err != nil {
		return nil, fmt.Errorf("executable: %w", err)
	}
	_, err := c.sys.Lstat(id)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("executable %s: %w", id, err)
	}
	return resource.State{"present": err == nil, "path": id}, nil
}

// Check is an error: a program has no state to compare.
func (c *Collection) Check(_ context.Context, id string, _ json.RawMessage) (resource.Diff, error) {
	return resource.Diff{}, fmt.Errorf("executable %s: it can only be run; use the action %q", id, Run)
}

// Apply is an error, as Check is.
func (c *Collection) Apply(ctx context.Context, id string, want json.RawMessage) (resource.Diff, error) {
	return c.Check(ctx, id, want)
}

// Act runs the program and waits for its end. It is killed, with its process group, when ctx or the
// timeout ends, and by the kernel when the agent dies. An exit status other than 0 is a
// *resource.ExitError; the Output is valid with it.
func (c *Collection) Act(ctx context.Context, id string, a resource.Action) (resource.Output, error) {
	out, err := c.act(ctx, id, a)
	if err != nil {
		return out, fmt.Errorf("executable %s: %w", id, err)
	}
	return out, nil
}

func (c *Collection) act(ctx context.Context, id string, a resource.Action) (resource.Output, error) {
	args, err := parse(id, a)
	if err != nil {
		return resource.Output{}, err
	}
	cmd, err := c.command(ctx, args)
	if err != nil {
		return resource.Output{}, err
	}
	if args.Timeout > 0 {
		limit := time.Duration(args.Timeout * float64(time.Second))
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf("it ran longer than its timeout of %v: %w", limit, context.DeadlineExceeded))
		defer cancel()
	}
	r, err := c.sys.Run(ctx, cmd)
	out := resource.Output{ExitCode: r.ExitCode, Stdout: r.Stdout, Stderr: r.Stderr, Truncated: r.Truncated}
	if err != nil {
		return out, err
	}
	if r.ExitCode != 0 {
		tail := r.Stderr
		if len(tail) > stderrTail {
			tail = strings.ToValidUTF8(tail[len(tail)-stderrTail:], "")
		}
		return out, &resource.ExitError{Code: r.ExitCode, Stderr: tail}
	}
	return out, nil
}

func parse(id string, a resource.Action) (Args, error) {
	var args Args
	if a.Verb != Run {
		return args, fmt.Errorf("the action %q is not known; an executable knows %q", a.Verb, Run)
	}
	if err := resource.Decode(a.Args, &args); err != nil {
		return args, fmt.Errorf("arguments of %q: %w", Run, err)
	}
	if len(args.Argv) == 0 {
		args.Argv = []string{id}
	}
	for _, word := range args.Argv {
		if strings.ContainsRune(word, 0) {
			return args, errors.New("argv contains a NUL character")
		}
	}
	if args.Cwd != "" && args.Cwd != "/" {
		if err := sys.CheckPath(args.Cwd); err != nil {
			return args, fmt.Errorf("cwd: %w", err)
		}
	}
	// A day: more cannot be meant, and the product with a second must not overflow.
	if args.Timeout < 0 || args.Timeout > 86400 {
		return args, fmt.Errorf("timeout %v: it must be between 0 and 86400 seconds", args.Timeout)
	}
	for name, value := range args.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0) {
			return args, fmt.Errorf("env: %q cannot be the name of a variable, or its value holds a NUL character", name)
		}
	}
	return args, nil
}

func (c *Collection) command(ctx context.Context, args Args) (sys.Command, error) {
	cmd := sys.Command{Argv: args.Argv, Dir: args.Cwd, Limit: c.limit}
	if args.User != "" {
		user, ok, err := c.sys.LookupUser(ctx, args.User)
		if err != nil {
			return cmd, err
		}
		if !ok || user.GID < 0 {
			return cmd, fmt.Errorf("user %q does not exist on this machine; create it first or change user", args.User)
		}
		if user.UID != os.Geteuid() {
			if os.Geteuid() != 0 {
				return cmd, fmt.Errorf("the agent does not run as root and cannot run a program as %q", args.User)
			}
			if cmd.As, err = c.credential(user); err != nil {
				return cmd, err
			}
		}
		cmd.Env = append(cmd.Env, "HOME="+user.Home, "USER="+user.Name, "LOGNAME="+user.Name)
	} else if os.Geteuid() == 0 {
		cmd.Env = append(cmd.Env, "HOME=/root")
	}
	for name, value := range args.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd, nil
}

func (c *Collection) credential(user sys.User) (*sys.Credential, error) {
	groups, err := c.sys.Groups()
	if err != nil {
		return nil, err
	}
	cred := &sys.Credential{UID: uint32(user.UID), GID: uint32(user.GID), Groups: []uint32{uint32(user.GID)}}
	for _, g := range groups {
		if slices.Contains(g.Members, user.Name) && g.GID != user.GID {
			cred.Groups = append(cred.Groups, uint32(g.GID))
		}
	}
	return cred, nil
}

// Done is always resource.ErrCannotTell: nobody can see how far a program came.
func (c *Collection) Done(_ context.Context, id string, _ resource.Action, _ int64) (bool, error) {
	return false, fmt.Errorf("executable %s: %w", id, resource.ErrCannotTell)
}
