package api

import (
	"context"
	"time"

	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// Machines is what the API asks of the drivers that make machines. It changes nothing; what is to be done is written down as
// rows, and the leader does it.
type Machines interface {
	// Driver tells of the driver of a class, false when there is none.
	Driver(class string) (orchestrate.DriverInfo, bool)
	// Token is the text of the enrolment token of an instance.
	Token(r state.Reader, i *model.InstanceRow) (string, error)
	// Console is where the screen of a machine is reached; empty texts when it has none.
	Console(ctx context.Context, r state.Reader, i *model.InstanceRow) (host, port string, err error)
	// Images lists the images of a platform.
	Images(ctx context.Context, r state.Reader, p *model.PlatformRow) ([]model.Image, error)
	// ImageParameters are what an image is made with on platforms of a class.
	ImageParameters(class string) []model.Parameter
	// Defaults are what the driver of a class adds to a new platform.
	Defaults(class string) ([]model.Setting, []model.Parameter)
	// Test lets the driver of a class try settings.
	Test(ctx context.Context, class string, settings []model.Setting) error
}

// noMachines is a server without drivers.
type noMachines struct{}

// Driver implements Machines.
func (noMachines) Driver(string) (orchestrate.DriverInfo, bool) {
	return orchestrate.DriverInfo{}, false
}

// Token implements Machines.
func (noMachines) Token(state.Reader, *model.InstanceRow) (string, error) {
	return "", model.Errorf(model.Unimplemented, "this server makes no tokens of machines")
}

// Console implements Machines.
func (noMachines) Console(context.Context, state.Reader, *model.InstanceRow) (host, port string, err error) {
	return "", "", nil
}

// Images implements Machines.
func (noMachines) Images(context.Context, state.Reader, *model.PlatformRow) ([]model.Image, error) {
	return nil, nil
}

// ImageParameters implements Machines.
func (noMachines) ImageParameters(string) []model.Parameter { return nil }

// Defaults implements Machines.
func (noMachines) Defaults(string) ([]model.Setting, []model.Parameter) { return nil, nil }

// Test implements Machines.
func (noMachines) Test(context.Context, string, []model.Setting) error { return nil }

// driverTimeout bounds what a request waits for a driver.
const driverTimeout = 10 * time.Second

// instance is the document of a host's machine, unless what went before failed.
func (c *call) instance(r state.Reader, at scope, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return orchestrate.GetInstance(r, at.org.ID, at.host.ID)
}

func instanceEndpoints() map[string]endpoint {
	locked := func(locked bool) endpoint {
		return acting(auth.Operate, func(_ *call, tx *state.Tx, at scope) (any, error) {
			return nil, orchestrate.LockInstance(tx, at.org.ID, at.host.ID, locked)
		})
	}
	power := func(do model.MachineDo) endpoint {
		return acting(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
			return nil, orchestrate.Power(tx, at.org.ID, at.host.ID, do, c.srv.cfg.Machines.Driver)
		})
	}
	return map[string]endpoint{
		"host.instance.set": {need: auth.Operate, write: func(c *call, tx *state.Tx, at scope) (any, error) {
			return c.instance(tx, at, orchestrate.Provision(tx, at.org.ID, at.host.ID, c.srv.cfg.Machines.Driver))
		}},
		"host.instance.properties.set": {need: auth.Operate, body: listBody, write: func(c *call, tx *state.Tx, at scope) (any, error) {
			props, err := model.Decode[[]model.Property](c.body)
			if err != nil {
				return nil, err
			}
			return c.instance(tx, at, orchestrate.Reattach(tx, at.org.ID, at.host.ID, props, c.srv.cfg.Machines.Driver))
		}},
		"host.instance.show": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			return c.instance(r, at, nil)
		}),
		"host.instance.vnc.show": reading(auth.Read, showConsole),
		"host.instance.delete": acting(auth.Operate, func(_ *call, tx *state.Tx, at scope) (any, error) {
			return nil, orchestrate.Destroy(tx, at.org.ID, at.host.ID)
		}),
		"host.instance.forget": acting(auth.Operate, func(_ *call, tx *state.Tx, at scope) (any, error) {
			return nil, orchestrate.DeleteInstance(tx, at.org.ID, at.host.ID)
		}),
		"host.instance.lock":   locked(true),
		"host.instance.unlock": locked(false),
		"host.instance.start":  power(model.DoStart),
		"host.instance.pause":  power(model.DoPause),
		"host.instance.resume": power(model.DoResume),
		"host.instance.stop":   power(model.DoStop),
		"host.instance.off":    power(model.DoOff),
		"host.instance.create_image": changing(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
			image, err := model.Decode[model.Image](c.body)
			if err != nil {
				return nil, err
			}
			if image.CreateDistribution && !at.role.May(auth.Design) {
				return nil, forbidden()
			}
			return nil, orchestrate.CreateImage(tx, at.org.ID, at.host.ID, image, c.srv.cfg.Machines.Driver)
		}),
		// Nothing measures machines yet, so there are no alerts: an instance has none, and they can be cleared.
		"host.instance.alerts.list": reading(auth.Read, func(_ *call, r state.Reader, at scope) (any, error) {
			if _, err := orchestrate.GetInstance(r, at.org.ID, at.host.ID); err != nil {
				return nil, err
			}
			return list[struct{}](nil), nil
		}),
		"host.instance.alerts.clear": acting(auth.Operate, func(_ *call, tx *state.Tx, at scope) (any, error) {
			_, err := orchestrate.GetInstance(tx, at.org.ID, at.host.ID)
			return nil, err
		}),
		"host.instance.token": acting(auth.Operate, showMachineToken),
		"machines.list": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			return list(orchestrate.Machines(r, at.org.ID)), nil
		}),
		"machines.retry": acting(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
			w, err := orchestrate.RetryMachine(tx, at.org.ID, c.params["id"])
			if err != nil {
				return nil, err
			}
			return orchestrate.MachineDoc(tx, w), nil
		}),
		"machines.delete": acting(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
			return nil, orchestrate.DropMachine(tx, at.org.ID, c.params["id"])
		}),
	}
}

// showConsole answers an object in any case: the published client asks for it with every instance (contract section 2.1).
func showConsole(c *call, r state.Reader, at scope) (any, error) {
	if _, err := orchestrate.GetInstance(r, at.org.ID, at.host.ID); err != nil {
		return nil, err
	}
	var host, port string
	if i, ok := state.Get[model.InstanceRow](r, at.host.ID); ok {
		ctx, cancel := context.WithTimeout(c.req.Context(), driverTimeout)
		defer cancel()
		var err error
		if host, port, err = c.srv.cfg.Machines.Console(ctx, r, i); err != nil {
			c.srv.cfg.Log.Warn("a driver tells of no console", "id", c.id, "error", err)
			host, port = "", ""
		}
	}
	return map[string]string{"hostname": host, "port": port}, nil
}

// showMachineToken hands the token of a host's machine out, to who makes the machine by hand.
func showMachineToken(c *call, tx *state.Tx, at scope) (any, error) {
	t, i, err := orchestrate.MachineTokenOf(tx, at.org.ID, at.host.ID)
	if err != nil {
		return nil, err
	}
	text, err := c.srv.cfg.Machines.Token(tx, i)
	if err != nil {
		return nil, err
	}
	return spec.EnrolToken{ID: t.ID, Organization: at.org.Name, Environment: at.env.Name, Uses: t.Uses, Used: t.Used, Token: text}, nil
}
