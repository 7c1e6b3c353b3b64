// Package free is the driver of machines that somebody else made: a server in a rack, a machine rented by hand. It makes
// nothing. Provisioning waits until the agent on that machine enrols with the token that is the machine's own.
package free

import (
	"context"

	"github.com/muster-hq/muster/drivers"
)

// Driver is the driver. It is safe for concurrent use.
type Driver struct{}

// Describe implements drivers.Driver.
func (Driver) Describe() drivers.Description {
	return drivers.Description{Name: "FreeDriver", Text: "machines that somebody else made"}
}

// Create implements drivers.Driver: the machine is there, or will be.
func (Driver) Create(_ context.Context, c drivers.Call, _ drivers.Spec) (drivers.Machine, error) {
	return drivers.Machine{Handle: c.Key, State: drivers.Running}, nil
}

// Status implements drivers.Driver. Nobody but the agent knows better.
func (Driver) Status(_ context.Context, c drivers.Call) (drivers.Machine, error) {
	return drivers.Machine{Handle: c.Key, State: drivers.Running}, nil
}

// Destroy implements drivers.Driver: the machine stays with who made it.
func (Driver) Destroy(context.Context, drivers.Call) error { return nil }
