package provision

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/muster-hq/muster/drivers"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// Desk answers what requests ask of drivers and what changes nothing, on any node.
type Desk struct {
	Drivers drivers.Set
	// MachineToken gives the text of the enrolment token of an instance.
	MachineToken func(r state.Reader, i *model.InstanceRow) (string, error)
}

// Driver tells of the driver of a class, false when there is none.
func (d Desk) Driver(class string) (orchestrate.DriverInfo, bool) {
	driver, ok := d.Drivers.For(class)
	if !ok {
		return orchestrate.DriverInfo{}, false
	}
	about := driver.Describe()
	info := orchestrate.DriverInfo{Name: about.Name, Text: about.Text}
	_, info.Power = driver.(drivers.Power)
	_, info.Images = driver.(drivers.Imager)
	return info, true
}

// Token is the text of the enrolment token of an instance.
func (d Desk) Token(r state.Reader, i *model.InstanceRow) (string, error) {
	return d.MachineToken(r, i)
}

// Console is where the screen of a machine is reached; empty texts when it has none.
func (d Desk) Console(ctx context.Context, r state.Reader, i *model.InstanceRow) (host, port string, err error) {
	p, ok := state.Get[model.PlatformRow](r, i.PlatformID)
	if !ok {
		return "", "", nil
	}
	driver, _ := d.Drivers.For(p.Document.Driver.ClassName)
	screens, ok := driver.(drivers.Consoler)
	if !ok {
		return "", "", nil
	}
	call, err := callOf(r, &model.MachineWork{InstanceID: i.ID, OrgID: i.OrgID, HostID: i.HostID, PlatformID: i.PlatformID})
	if err != nil {
		return "", "", err
	}
	c, err := screens.Console(ctx, call)
	return c.Host, c.Port, err
}

// Images lists the images of a platform: none when its driver makes none.
func (d Desk) Images(ctx context.Context, r state.Reader, p *model.PlatformRow) ([]model.Image, error) {
	driver, _ := d.Drivers.For(p.Document.Driver.ClassName)
	im, ok := driver.(drivers.Imager)
	if !ok {
		return nil, nil
	}
	all, err := settings(r, orchestrate.OwnerOfKit(p))
	if err != nil {
		return nil, err
	}
	return im.Images(ctx, drivers.Call{Settings: all})
}

// ImageParameters are what an image is made with on platforms of a class.
func (d Desk) ImageParameters(class string) []model.Parameter {
	driver, _ := d.Drivers.For(class)
	if im, ok := driver.(drivers.Imager); ok {
		return im.ImageParameters()
	}
	return nil
}

// Defaults are the settings and parameters that the driver of a class adds to a new platform.
func (d Desk) Defaults(class string) ([]model.Setting, []model.Parameter) {
	driver, _ := d.Drivers.For(class)
	if def, ok := driver.(drivers.Defaulter); ok {
		return def.Defaults()
	}
	return nil, nil
}

// Test lets the driver of a class try settings. A class without a driver has nobody to try them. The error, which is Invalid
// when it is final, says what to change.
func (d Desk) Test(ctx context.Context, class string, given []model.Setting) error {
	driver, _ := d.Drivers.For(class)
	t, ok := driver.(drivers.Tester)
	if !ok {
		return nil
	}
	all := make(map[string]json.RawMessage, len(given))
	for _, s := range given {
		all[s.Key] = s.Value
	}
	err := t.Test(ctx, all)
	switch {
	case err == nil:
		return nil
	case drivers.IsFinal(err), errors.Is(err, context.DeadlineExceeded):
		return model.Errorf(model.Invalid, "the driver tried the settings: %s", err)
	}
	return &model.Error{Code: model.Unavailable, Messages: []string{"the driver could not try the settings: " + err.Error()}}
}
