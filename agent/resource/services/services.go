// Package services is the collection of systemd units, over D-Bus. The id is the unit's name; without a
// suffix it is a service.
package services

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/agent/sys"
)

// System is what the collection needs of the machine; most is asked of systemd.
type System interface {
	Confined() bool
	Run(ctx context.Context, c sys.Command) (sys.Result, error)
}

// DefaultBus is where the system bus listens.
const DefaultBus = "unix:path=/run/dbus/system_bus_socket"

// Options of New.
type Options struct {
	// Bus is the D-Bus address of the system bus; "" is DefaultBus.
	Bus string
}

// Collection implements resource.Collection, resource.Watcher, resource.Actor and resource.Lister. Each
// call has a connection of its own to the bus, so that one that hangs holds up no other.
type Collection struct {
	sys System
	bus string
}

// New makes the collection on a machine.
func New(s System, o Options) *Collection {
	if o.Bus == "" {
		o.Bus = DefaultBus
	}
	return &Collection{sys: s, bus: o.Bus}
}

// Name is "services".
func (c *Collection) Name() string { return "services" }

// Want holds the attributes an owner may state.
type Want struct {
	// Running: the unit is active. A unit that is still starting, or waits for its next start after a
	// failure, is not.
	Running *bool `json:"running"`
	// Enabled: the unit starts at boot.
	Enabled *bool `json:"enabled"`
}

// The verbs of Act.
const (
	Restart = "restart"
	// Reload restarts a unit that cannot reload its settings.
	Reload = "reload"
)

var nameForm = regexp.MustCompile(`^[A-Za-z0-9:_.@\\][A-Za-z0-9:_.@\\-]*$`)

// unitName completes the id; systemd.unit(5) has the rules.
func unitName(id string) (string, error) {
	if len(id) > 240 || !nameForm.MatchString(id) {
		return "", fmt.Errorf("%q cannot be the name of a service", id)
	}
	for _, suffix := range []string{".service", ".socket", ".timer", ".path", ".target", ".mount"} {
		if strings.HasSuffix(id, suffix) && len(id) > len(suffix) {
			return id, nil
		}
	}
	return id + ".service", nil
}

func (c *Collection) parse(id string, raw json.RawMessage) (string, Want, error) {
	var w Want
	if c.sys.Confined() {
		return "", w, fmt.Errorf("service %s: %w", id, resource.ErrUnavailable)
	}
	name, err := unitName(id)
	if err == nil {
		err = resource.Decode(raw, &w)
	}
	if err != nil {
		return "", w, fmt.Errorf("service %s: %w", id, err)
	}
	return name, w, nil
}

// Read tells running, enabled and systemd's own words for both.
func (c *Collection) Read(ctx context.Context, id string) (resource.State, error) {
	name, _, err := c.parse(id, nil)
	if err != nil {
		return nil, err
	}
	u, err := c.look(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("service %s: %w", id, err)
	}
	if !u.exists() {
		return resource.State{"present": false, "running": false, "enabled": false}, nil
	}
	return resource.State{"present": true, "running": u.running(), "enabled": u.enabled(),
		"state": u.active + "/" + u.sub, "unitFileState": u.file}, nil
}

func (c *Collection) look(ctx context.Context, name string) (unit, error) {
	b, err := c.dial(ctx)
	if err != nil {
		return unit{}, err
	}
	defer b.close()
	return b.unit(ctx, name)
}

// Check compares with what systemd tells. A unit that does not exist is neither running nor enabled.
func (c *Collection) Check(ctx context.Context, id string, raw json.RawMessage) (resource.Diff, error) {
	name, w, err := c.parse(id, raw)
	if err != nil {
		return resource.Diff{}, err
	}
	u, err := c.look(ctx, name)
	if err != nil {
		return resource.Diff{}, fmt.Errorf("service %s: %w", id, err)
	}
	return compare(w, u), nil
}

func compare(w Want, u unit) resource.Diff {
	var d resource.Diff
	if w.Running != nil && *w.Running != u.running() {
		d.Add("running", *w.Running, u.running())
	}
	if w.Enabled != nil && *w.Enabled != u.enabled() {
		d.Add("enabled", *w.Enabled, u.enabled())
	}
	return d
}

// Apply enables, then starts; or stops, then disables. It waits until systemd has finished the job; a
// unit that fails meanwhile is an error with its state and result.
func (c *Collection) Apply(ctx context.Context, id string, raw json.RawMessage) (resource.Diff, error) {
	name, w, err := c.parse(id, raw)
	if err != nil {
		return resource.Diff{}, err
	}
	d, err := c.apply(ctx, name, w)
	if err != nil {
		return resource.Diff{}, fmt.Errorf("service %s: %w", id, err)
	}
	return d, nil
}

func (c *Collection) apply(ctx context.Context, name string, w Want) (resource.Diff, error) {
	b, err := c.dial(ctx)
	if err != nil {
		return resource.Diff{}, err
	}
	defer b.close()
	u, err := b.fresh(ctx, name)
	if err != nil {
		return resource.Diff{}, err
	}
	d := compare(w, u)
	if d.Empty() {
		return d, nil
	}
	if err := u.refuse(name); err != nil {
		return d, err
	}
	_, running := d.Expected["running"]
	_, enabled := d.Expected["enabled"]
	if running && !*w.Running {
		if err := b.job(ctx, "StopUnit", name); err != nil {
			return d, err
		}
	}
	if enabled {
		if err := c.enable(ctx, b, name, u, *w.Enabled); err != nil {
			return d, err
		}
	}
	if running && *w.Running {
		if err := b.job(ctx, "StartUnit", name); err != nil {
			return d, err
		}
	}
	return d, nil
}

// refuse tells why a unit cannot be changed at all.
func (u unit) refuse(name string) error {
	switch {
	case !u.exists():
		return fmt.Errorf("%s does not exist on this machine; install the package that brings it, or check the name", name)
	case u.load == "masked" || strings.HasPrefix(u.file, "masked"):
		return fmt.Errorf("%s is masked; unmask it first", name)
	case u.load == "error" || u.load == "bad-setting":
		return fmt.Errorf("systemd cannot use the unit file of %s (%s): %s", name, u.load, u.loadError)
	}
	return nil
}

func (c *Collection) enable(ctx context.Context, b *bus, name string, u unit, on bool) error {
	switch u.file {
	case "static", "transient":
		return fmt.Errorf("%s cannot be enabled or disabled: it is %s, its unit file has no [Install] section", name, u.file)
	case "generated", "":
		return c.enableSysV(ctx, b, name, on)
	}
	return b.enable(ctx, u.id, on)
}

// enableSysV does what systemctl does for an init script that systemd wraps.
func (c *Collection) enableSysV(ctx context.Context, b *bus, name string, on bool) error {
	verb := "enable"
	if !on {
		verb = "disable"
	}
	script := strings.TrimSuffix(name, ".service")
	r, err := c.sys.Run(ctx, sys.Command{Argv: []string{sysvInstall, verb, script}})
	if err != nil {
		return fmt.Errorf("its unit is generated, and cannot be %sd as an init script: %w", verb, err)
	}
	if r.ExitCode != 0 {
		return fmt.Errorf("its unit is generated, and cannot be %sd as an init script: %s", verb, strings.TrimSpace(r.Stderr))
	}
	return b.reload(ctx)
}

// sysvInstall is systemd's own tool for init scripts.
const sysvInstall = "/lib/systemd/systemd-sysv-install"

// Act restarts or reloads the unit and waits until that is done. A failure is the unit's own state and
// result.
func (c *Collection) Act(ctx context.Context, id string, a resource.Action) (resource.Output, error) {
	name, method, err := c.action(id, a)
	if err != nil {
		return resource.Output{}, err
	}
	if err := c.act(ctx, name, method); err != nil {
		return resource.Output{}, fmt.Errorf("service %s: %w", id, err)
	}
	return resource.Output{}, nil
}

func (c *Collection) action(id string, a resource.Action) (name, method string, err error) {
	name, _, err = c.parse(id, nil)
	if err != nil {
		return "", "", err
	}
	if err := resource.Decode(a.Args, &struct{}{}); err != nil {
		return "", "", fmt.Errorf("service %s: arguments of %q: %w", id, a.Verb, err)
	}
	switch a.Verb {
	case Restart:
		return name, "RestartUnit", nil
	case Reload:
		return name, "ReloadOrRestartUnit", nil
	}
	return "", "", fmt.Errorf("service %s: the action %q is not known; a service knows %q and %q", id, a.Verb, Restart, Reload)
}

func (c *Collection) act(ctx context.Context, name, method string) error {
	b, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer b.close()
	u, err := b.fresh(ctx, name)
	if err != nil {
		return err
	}
	if err := u.refuse(name); err != nil {
		return err
	}
	return b.job(ctx, method, name)
}

// Done tells by systemd's time stamps: the unit is active, and became so after started (a reload: last
// changed its state then). A job that is still under way is waited for.
func (c *Collection) Done(ctx context.Context, id string, a resource.Action, started int64) (bool, error) {
	name, _, err := c.action(id, a)
	if err != nil {
		return false, err
	}
	b, err := c.dial(ctx)
	if err != nil {
		return false, fmt.Errorf("service %s: %w", id, err)
	}
	defer b.close()
	u, err := b.settled(ctx, name)
	if err != nil {
		return false, fmt.Errorf("service %s: %w", id, err)
	}
	since := u.activeSince
	if a.Verb == Reload {
		since = u.changedAt
	}
	return u.running() && since > uint64(max(started, 0))/uint64(time.Microsecond), nil
}

// Watch subscribes to the units' own signals and to changes of unit files. A lost connection is an
// error.
func (c *Collection) Watch(ctx context.Context, ids []string, changed func(id string)) error {
	if c.sys.Confined() {
		return fmt.Errorf("services: %w", resource.ErrUnavailable)
	}
	b, err := c.dial(ctx)
	if err != nil {
		return fmt.Errorf("watch services: %w", err)
	}
	defer b.close()
	paths := map[string][]string{}
	var bad error
	for _, id := range ids {
		name, err := unitName(id)
		if err != nil {
			bad = errors.Join(bad, err) // told at the end: the others are watched
			continue
		}
		path, err := b.watchUnit(ctx, name)
		if err != nil {
			return fmt.Errorf("watch service %s: %w", id, err)
		}
		if !slices.Contains(paths[path], id) {
			paths[path] = append(paths[path], id)
		}
	}
	if err := b.watchFiles(ctx); err != nil {
		return fmt.Errorf("watch services: %w", err)
	}
	if err := b.signals(ctx, paths, ids, changed); err != nil {
		return fmt.Errorf("watch services: %w", err)
	}
	return bad
}

// List names the services that systemd has loaded.
func (c *Collection) List(ctx context.Context) ([]string, error) {
	if c.sys.Confined() {
		return nil, fmt.Errorf("services: %w", resource.ErrUnavailable)
	}
	b, err := c.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("list of services: %w", err)
	}
	defer b.close()
	names, err := b.list(ctx)
	if err != nil {
		return nil, fmt.Errorf("list of services: %w", err)
	}
	return names, nil
}
