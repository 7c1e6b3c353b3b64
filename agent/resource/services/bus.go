package services

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

const (
	destination = "org.freedesktop.systemd1"
	managerPath = dbus.ObjectPath("/org/freedesktop/systemd1")
	manager     = "org.freedesktop.systemd1.Manager"
	unitIface   = "org.freedesktop.systemd1.Unit"
	properties  = "org.freedesktop.DBus.Properties"
	// signalBuffer holds what arrives while one signal is handled; beyond it godbus starts a goroutine
	// for each.
	signalBuffer = 1024
	// jobPoll is how often a job is asked for, in case systemd was executed anew and forgot subscribers.
	jobPoll = 2 * time.Second
)

// bus is one connection to systemd.
type bus struct {
	conn *dbus.Conn
	ch   chan *dbus.Signal
}

func (c *Collection) dial(ctx context.Context) (*bus, error) {
	conn, err := dbus.Dial(c.bus, dbus.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("systemd cannot be reached at %s: %w", c.bus, err)
	}
	if err = conn.Auth(nil); err == nil {
		err = conn.Hello()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("systemd cannot be reached at %s: %w", c.bus, err), conn.Close())
	}
	b := &bus{conn: conn, ch: make(chan *dbus.Signal, signalBuffer)}
	conn.Signal(b.ch)
	return b, nil
}

func (b *bus) close() { _ = b.conn.Close() } // nothing is lost with it

func (b *bus) call(ctx context.Context, method string, args ...any) *dbus.Call {
	return b.conn.Object(destination, managerPath).CallWithContext(ctx, manager+"."+method, 0, args...)
}

// unit is what systemd tells of one.
type unit struct {
	path        dbus.ObjectPath
	id          string // the main name
	load        string // loaded, not-found, masked, error, bad-setting
	loadError   string
	active, sub string
	file        string // enabled, disabled, static, ...
	result      string
	exitStatus  int32
	stale       bool   // the unit file changed since it was read
	activeSince uint64 // Unix microseconds
	changedAt   uint64 // Unix microseconds
	job         uint32 // 0 is none
}

func (u unit) exists() bool { return u.load != "not-found" }

func (u unit) running() bool {
	return u.active == "active" || u.active == "reloading" || u.active == "refreshing"
}

// enabled holds what "systemctl is-enabled" calls so, but "static", which says nothing about the boot,
// and what is gone after the next one.
func (u unit) enabled() bool {
	return u.file == "enabled" || u.file == "alias" || u.file == "indirect" || u.file == "generated"
}

func (b *bus) unit(ctx context.Context, name string) (unit, error) {
	var u unit
	if err := b.call(ctx, "LoadUnit", name).Store(&u.path); err != nil {
		return u, fmt.Errorf("ask systemd for %s: %w", name, err)
	}
	var p map[string]dbus.Variant
	object := b.conn.Object(destination, u.path)
	if err := object.CallWithContext(ctx, properties+".GetAll", 0, "").Store(&p); err != nil {
		return u, fmt.Errorf("ask systemd for the state of %s: %w", name, err)
	}
	u.read(p)
	if u.file == "generated" {
		// Every init script has a generated unit; whether it starts at boot is in what wants it.
		var on bool
		for _, key := range []string{"WantedBy", "RequiredBy"} {
			wanting, _ := p[key].Value().([]string)
			on = on || len(wanting) > 0
		}
		if !on {
			u.file = ""
		}
	}
	return u, nil
}

func (u *unit) read(p map[string]dbus.Variant) {
	for key, to := range map[string]*string{"Id": &u.id, "LoadState": &u.load, "ActiveState": &u.active,
		"SubState": &u.sub, "UnitFileState": &u.file, "Result": &u.result} {
		if v, ok := p[key].Value().(string); ok {
			*to = v
		}
	}
	for key, to := range map[string]*uint64{"ActiveEnterTimestamp": &u.activeSince, "StateChangeTimestamp": &u.changedAt} {
		if v, ok := p[key].Value().(uint64); ok {
			*to = v
		}
	}
	u.stale, _ = p["NeedDaemonReload"].Value().(bool)
	u.exitStatus, _ = p["ExecMainStatus"].Value().(int32)
	if job, ok := p["Job"].Value().([]any); ok && len(job) > 0 {
		u.job, _ = job[0].(uint32)
	}
	if e, ok := p["LoadError"].Value().([]any); ok && len(e) > 1 {
		u.loadError, _ = e[1].(string)
	}
}

// fresh lets systemd read its unit files again where they changed, or where the unit is not known yet.
func (b *bus) fresh(ctx context.Context, name string) (unit, error) {
	u, err := b.unit(ctx, name)
	if err != nil || (!u.stale && u.exists()) {
		return u, err
	}
	if err := b.reload(ctx); err != nil {
		return u, err
	}
	return b.unit(ctx, name)
}

func (b *bus) reload(ctx context.Context) error {
	if err := b.call(ctx, "Reload").Err; err != nil {
		return fmt.Errorf("let systemd read its unit files: %w", err)
	}
	return nil
}

func (b *bus) enable(ctx context.Context, id string, on bool) error {
	var err error
	if on {
		err = b.call(ctx, "EnableUnitFiles", []string{id}, false, true).Err
	} else {
		err = b.call(ctx, "DisableUnitFiles", []string{id}, false).Err
	}
	if err != nil {
		return fmt.Errorf("change whether %s starts at boot: %w", id, err)
	}
	return b.reload(ctx)
}

// job asks for a job on a unit and waits for its result.
func (b *bus) job(ctx context.Context, method, name string) error {
	if err := b.subscribe(ctx, dbus.WithMatchObjectPath(managerPath),
		dbus.WithMatchInterface(manager), dbus.WithMatchMember("JobRemoved")); err != nil {
		return err
	}
	what := strings.ToLower(strings.TrimSuffix(method, "Unit"))
	if method != "StopUnit" {
		// Else a unit that failed too often in a row refuses to start, also after its cause was removed. A
		// unit that did not fail answers with an error that tells nothing.
		_ = b.call(ctx, "ResetFailedUnit", name).Err
	}
	var job dbus.ObjectPath
	if err := b.call(ctx, method, name, "replace").Store(&job); err != nil {
		return fmt.Errorf("%s %s: %w", what, name, err)
	}
	result, err := b.await(ctx, job)
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, name, err)
	}
	u, err := b.unit(ctx, name)
	if err != nil {
		return err
	}
	if (result == "done" || result == "skipped" || result == "") && u.active != "failed" {
		return nil
	}
	return fmt.Errorf("%s %s: the job ended as %q, the unit is %s/%s with result %q, exit status %d; journalctl -u %s on the machine tells more",
		what, name, result, u.active, u.sub, u.result, u.exitStatus, name)
}

// await gives the result of a job; "" when its end was seen, but not its result.
func (b *bus) await(ctx context.Context, job dbus.ObjectPath) (string, error) {
	poll := time.NewTicker(jobPoll)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("wait for systemd: %w", ctx.Err())
		case s, ok := <-b.ch:
			if !ok {
				return "", errors.New("the connection to systemd was lost")
			}
			if s.Name != manager+".JobRemoved" || len(s.Body) < 4 {
				continue
			}
			if path, _ := s.Body[1].(dbus.ObjectPath); path == job {
				result, _ := s.Body[3].(string)
				return result, nil
			}
		case <-poll.C:
			gone, err := b.jobGone(ctx, job)
			if err != nil {
				return "", err
			}
			if gone && len(b.ch) == 0 {
				return "", nil
			}
		}
	}
}

func (b *bus) jobGone(ctx context.Context, job dbus.ObjectPath) (bool, error) {
	object := b.conn.Object(destination, job)
	err := object.CallWithContext(ctx, properties+".Get", 0, "org.freedesktop.systemd1.Job", "State").Err
	var told dbus.Error
	switch {
	case err == nil:
		return false, nil
	case errors.As(err, &told):
		return true, nil
	}
	return false, fmt.Errorf("ask systemd for a job: %w", err)
}

// settled is the unit once no job is under way for it.
func (b *bus) settled(ctx context.Context, name string) (unit, error) {
	poll := time.NewTicker(jobPoll / 10)
	defer poll.Stop()
	for {
		u, err := b.unit(ctx, name)
		if err != nil || u.job == 0 {
			return u, err
		}
		select {
		case <-ctx.Done():
			return u, fmt.Errorf("wait for the job of %s: %w", name, ctx.Err())
		case <-poll.C:
		}
	}
}

func (b *bus) subscribe(ctx context.Context, match ...dbus.MatchOption) error {
	match = append(match, dbus.WithMatchSender(destination))
	if err := b.conn.AddMatchSignalContext(ctx, match...); err != nil {
		return fmt.Errorf("subscribe to systemd: %w", err)
	}
	if err := b.call(ctx, "Subscribe").Err; err != nil {
		var told dbus.Error
		if !errors.As(err, &told) || told.Name != "org.freedesktop.systemd1.AlreadySubscribed" {
			return fmt.Errorf("subscribe to systemd: %w", err)
		}
	}
	return nil
}

// watchUnit matches one unit's own path: matched widely, a single enable is thousands of signals.
func (b *bus) watchUnit(ctx context.Context, name string) (string, error) {
	u, err := b.unit(ctx, name)
	if err != nil {
		return "", err
	}
	return string(u.path), b.subscribe(ctx, dbus.WithMatchObjectPath(u.path),
		dbus.WithMatchInterface(properties), dbus.WithMatchMember("PropertiesChanged"))
}

func (b *bus) watchFiles(ctx context.Context) error {
	return b.subscribe(ctx, dbus.WithMatchObjectPath(managerPath),
		dbus.WithMatchInterface(manager), dbus.WithMatchMember("UnitFilesChanged"))
}

// signals hands on what the units tell until ctx ends. paths maps unit paths to ids.
func (b *bus) signals(ctx context.Context, paths map[string][]string, ids []string, changed func(string)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case s, ok := <-b.ch:
			if !ok {
				if ctx.Err() != nil {
					return nil
				}
				return errors.New("the connection to systemd was lost")
			}
			which := paths[string(s.Path)]
			if s.Name == manager+".UnitFilesChanged" {
				which = ids
			}
			for _, id := range which {
				changed(id)
			}
		}
	}
}

func (b *bus) list(ctx context.Context) ([]string, error) {
	var units [][]any
	if err := b.call(ctx, "ListUnitsByPatterns", []string{}, []string{"*.service"}).Store(&units); err != nil {
		return nil, err
	}
	var names []string
	for _, u := range units {
		if len(u) < 3 || u[2] == "not-found" {
			continue
		}
		if name, ok := u[0].(string); ok {
			names = append(names, strings.TrimSuffix(name, ".service"))
		}
	}
	return names, nil
}
