// Package drivers is the contract between provisioning and what makes machines: a hypervisor, a cloud, a boot server, a
// person. A driver is create, status and destroy; what else it can do are optional interfaces, asked for by type assertion.
// drivertest is the suite that every driver passes; DESIGN.md says what the contract rests on.
package drivers

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/muster-hq/muster/fsm/model"
)

// Driver makes machines on platforms of one class. Its methods may be called at the same time for different machines, and are
// never called at the same time for the same one by one leader. Each may be called again after any outcome, also when the
// first call took effect and its answer was lost: the key of the call says that it is the same machine.
//
// An error is temporary, and the call is made again later, unless Final made it. Error texts are shown to people: they name
// what to change, and hold no secret.
type Driver interface {
	// Describe tells what the driver is. It does not fail and asks nobody.
	Describe() Description
	// Create makes the machine of the key, or finds the one that an earlier call made, and answers without waiting until it
	// runs. A key that was destroyed is refused for good, where the driver can tell: that call is a late one.
	Create(ctx context.Context, c Call, s Spec) (Machine, error)
	// Status tells of the machine as it is now; one that is not there is State Gone, and no error.
	Status(ctx context.Context, c Call) (Machine, error)
	// Destroy takes the machine away, with its disks. One that is not there is no error.
	Destroy(ctx context.Context, c Call) error
}

// Description is what a driver is.
type Description struct {
	Name, Text string // for people
	// EnrolWithin is how long a machine may take, from the request to the enrolment of its agent; 0: as long as it likes.
	EnrolWithin time.Duration
	// StopWithin is how long an orderly shutdown may take until it counts as failed; 0: as long as it likes.
	StopWithin time.Duration
}

// Call is what every call carries: whose machine it is about, and how the platform is reached.
type Call struct {
	// Key is the instance's id: one machine, for ever. It is the idempotency key of Create.
	Key string
	// Handle is what the driver called the machine in its answer to Create; "" before that is known.
	Handle string
	// Epoch and Term are those of the leader that calls: a driver that can tell refuses calls below the highest it has seen.
	Epoch, Term uint64
	// Settings are those that hold for the machine: of the host's platform context while there is one, else of the platform.
	Settings map[string]json.RawMessage
	// Properties are those of the instance, for machines that the driver did not make.
	Properties map[string]string
}

// Spec is what a machine is to become.
type Spec struct {
	Organization, Environment, Host string
	// Token is the text of the enrolment token of the machine's agent. It is a secret, good once, for this machine alone.
	Token string
	// Distribution is the operating system; nil when the host has none.
	Distribution *Distribution
	// Render gives a file of the platform or of the distribution, rendered for the host.
	Render func(of FileOf, name string) ([]byte, error)
}

// FileOf says whose file is rendered.
type FileOf string

// Whose files there are.
const (
	OfPlatform     FileOf = "platform"
	OfDistribution FileOf = "distribution"
)

// Distribution is an operating system as a driver needs it.
type Distribution struct {
	Name     string
	Settings map[string]json.RawMessage // that hold for the host
	Files    []string                   // names, for Render
}

// State is how a machine is.
type State string

// The states of a machine.
const (
	Starting State = "starting" // it is being made, or boots
	Running  State = "running"
	Paused   State = "paused"
	Stopped  State = "stopped"
	Failed   State = "failed" // it is there and of no use
	Gone     State = "gone"   // it is not there
)

// Machine is a machine as a driver tells of it.
type Machine struct {
	Handle     string // what the driver calls it, at most 4096 bytes; no secret
	State      State
	Properties map[string]string // such as ip.eth0; shown to all who see the host
}

// Action is a power action.
type Action string

// The power actions.
const (
	Start  Action = "start"
	Pause  Action = "pause"
	Resume Action = "resume"
	Stop   Action = "stop" // an orderly shutdown is asked for
	Off    Action = "off"
)

// Power is a driver with power over its machines. Power asks for the action and may answer before it is done; Status tells.
// An action that was done already is no error.
type Power interface {
	Power(ctx context.Context, c Call, a Action) error
}

// Console is where the screen of a machine is reached by VNC.
type Console struct{ Host, Port string }

// Consoler is a driver whose machines have a console. A machine that has none now answers the zero Console.
type Consoler interface {
	Console(ctx context.Context, c Call) (Console, error)
}

// Attacher is a driver that takes over a machine which exists already, by its properties.
type Attacher interface {
	Attach(ctx context.Context, c Call, s Spec) (Machine, error)
}

// Imager is a driver that makes images of machines. The platform is that of the call's settings.
type Imager interface {
	// Images lists the images of the platform.
	Images(ctx context.Context, c Call) ([]model.Image, error)
	// ImageParameters are what an image is made with.
	ImageParameters() []model.Parameter
	// CreateImage makes an image of the machine. Of the same machine and name there is one: another call finds it.
	CreateImage(ctx context.Context, c Call, image model.Image) error
}

// Found is a machine that a platform has and no host stands for.
type Found struct {
	Handle, Name string
	State        State
	Properties   map[string]string
}

// Discoverer is a driver that can name all machines of a platform.
type Discoverer interface {
	Discover(ctx context.Context, c Call) ([]Found, error)
}

// Tester is a driver that tries the settings of a platform before it is stored (contract section 2.1, test).
type Tester interface {
	Test(ctx context.Context, settings map[string]json.RawMessage) error
}

// Defaulter is a driver that adds to a new platform what it needs (contract section 2.1, default). What the document has
// already stays.
type Defaulter interface {
	Defaults() (settings []model.Setting, parameters []model.Parameter)
}

// finalError is an error that no further attempt mends.
type finalError struct{ error }

// Unwrap gives the error.
func (e finalError) Unwrap() error { return e.error }

// Final makes an error final: the call is not made again by itself. nil stays nil.
func Final(err error) error {
	if err == nil {
		return nil
	}
	return finalError{err}
}

// IsFinal says whether Final made the error, or one that it wraps.
func IsFinal(err error) bool {
	var f finalError
	return errors.As(err, &f)
}

// Set is the drivers of a server, by the class that platforms name. It is made once and then only read.
type Set struct {
	ByClass map[string]Driver
	// Any answers for every other class; nil: there is no driver for those.
	Any Driver
}

// For finds the driver of a class.
func (s Set) For(class string) (Driver, bool) {
	if d, ok := s.ByClass[class]; ok {
		return d, true
	}
	return s.Any, s.Any != nil
}
