// Package resource is the contract between the agent and its collections.
//
// A collection knows one kind of thing on a machine (files, packages, services) and three verbs: Read
// what is, Check what is against what is wanted without touching anything, Apply what is wanted. Dry
// run, compliance and apply are therefore one code path. Optional powers are separate interfaces that
// the agent asks for by type assertion.
package resource

import (
	"context"
	"encoding/json"
	"errors"
)

// Collection is one kind of resource. Its methods may be called at the same time for different ids;
// the agent never calls two of them at once for the same id.
//
// want is a JSON object of the attributes that the owner stated. Only stated attributes are owned and
// compared; an unknown attribute is an error. "ensure" is "present" when absent from want, or "absent".
type Collection interface {
	// Name is the collection's path segment: "files", "packages".
	Name() string
	// Read tells what is. A resource that does not exist is a state with "present": false, not an error.
	Read(ctx context.Context, id string) (State, error)
	// Check compares want with what is and touches nothing.
	Check(ctx context.Context, id string, want json.RawMessage) (Diff, error)
	// Apply makes want true and tells what it changed; an empty Diff means that it was true already.
	// It must be safe to call again after it was cut off at any point.
	Apply(ctx context.Context, id string, want json.RawMessage) (Diff, error)
}

// State is what was observed, in the words of contract section 3.6 ("present", "owner", "running").
type State map[string]any

// Diff is the difference between what is wanted and what was found. Expected and Observed hold the
// same keys: those of the stated attributes that differ. Secret values appear as "***" on both sides.
type Diff struct {
	Expected State `json:"expected,omitempty"`
	Observed State `json:"observed,omitempty"`
}

// Empty says that nothing differs.
func (d Diff) Empty() bool { return len(d.Expected) == 0 }

// Add notes that attribute key differs.
func (d *Diff) Add(key string, expected, observed any) {
	if d.Expected == nil {
		d.Expected, d.Observed = State{}, State{}
	}
	d.Expected[key], d.Observed[key] = expected, observed
}

// Watcher is a collection that is told by the system when a resource may have changed. Watch calls
// changed(id) for any of the ids, possibly too often, never too late; it returns when ctx ends, or
// with an error, after which the agent falls back to its timer and starts Watch again with back-off.
// The agent calls Watch anew when the set of ids changes.
type Watcher interface {
	Watch(ctx context.Context, ids []string, changed func(id string)) error
}

// Action is a verb that is done rather than made true: "restart", "reload", "run". Output is what the
// action printed, cut to head and tail by the collection.
type Action struct {
	Verb string          `json:"verb"`
	Args json.RawMessage `json:"args,omitempty"`
}

// Actor is a collection with actions.
type Actor interface {
	// Act does the action once. An error that is an *ExitError is the action's own failure.
	Act(ctx context.Context, id string, a Action) (Output, error)
	// Done tells whether an action that was started at the given time (Unix nanoseconds) and then cut
	// off has taken effect: true or false when the collection can see it, ErrCannotTell when nobody can.
	Done(ctx context.Context, id string, a Action, started int64) (bool, error)
}

// ErrCannotTell is returned by Actor.Done for an action whose effect leaves no trace to look at.
var ErrCannotTell = errors.New("whether the action took effect cannot be seen")

// Output is what an action left behind.
type Output struct {
	ExitCode  int    `json:"exitCode"`
	Stdout    string `json:"stdout,omitempty"`
	Stderr    string `json:"stderr,omitempty"`
	Truncated bool   `json:"truncated,omitempty"`
}

// ContentReader is a collection whose members have a content that can be read.
type ContentReader interface {
	// ReadContent reads up to limit bytes from offset on. Errors wrap fs.ErrNotExist, ErrName or ErrPrivate, or are the
	// machine's.
	ReadContent(ctx context.Context, id string, offset int64, limit int) (Part, error)
}

// Part is a part of a content.
type Part struct {
	Data []byte
	Size int64  // of the whole content; 0 where the kernel makes it up
	End  bool   // nothing follows
	Tag  string // names the content: parts with different tags are not of one
}

var (
	// ErrPrivate is wrapped by ReadContent for what is given to nobody.
	ErrPrivate = errors.New("the agent does not give this away")
	// ErrName is wrapped by ReadContent for an id that no resource can have.
	ErrName = errors.New("that is no name of a file")
)

// Lister is a collection that can name its members.
type Lister interface {
	List(ctx context.Context) ([]string, error)
}
