package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/deploy/site"
	"github.com/muster-hq/muster/fsm/model"
)

const (
	app      = "motd"
	motdPath = "/etc/motd"
	notePath = "/var/log/handler.log"
	motd     = "Welcome to ${_host.name}.\n<#if greeting??>\n${greeting}\n</#if>\n<#list admins as a>\n- ${a}\n</#list>\n"
	script   = "#!/bin/sh\necho \"greeting is now: ${greeting}\" >> var/log/handler.log\n"
)

// application is what both hosts get: a file from a template, and a script that a setting's handler runs.
func application() json.RawMessage {
	return json.RawMessage(`{
  "name": "motd", "description": "A message of the day, and a script that notes each change of it",
  "parameters": [
    {"name": "Greeting", "key": "greeting", "schema": {"type": "string"}, "value": "Have a good day."},
    {"name": "Admins", "key": "admins", "schema": {"type": "array", "items": {"type": "string"}}, "value": ["alice", "bob"]}],
  "directories": [{"name": "log", "path": "/var/log", "mode": "755"}],
  "files": [
    {"name": "motd", "path": "/etc/motd", "mode": "644", "template": {"name": "motd", "delimiter": {"start": "${", "end": "}"}}},
    {"name": "note.sh", "path": "/usr/local/bin/note.sh", "mode": "755", "template": {"name": "note.sh", "delimiter": {"start": "${", "end": "}"}}}],
  "handlers": [{"name": "greet", "on": ["greeting"], "do": [
    {"action": "update", "resource": "file://motd"}, {"action": "update", "resource": "file://note.sh"}, {"action": "execute", "resource": "file://note.sh"}]}]
}`)
}

func (d *demo) steps() []step {
	return []step{
		{"three nodes, as three processes", d.startNodes},
		{"an organization, an environment, an application with a FreeMarker template", d.describe},
		{"two agents enrol, each on a scratch root", d.startAgents},
		{"the application is installed on both hosts", d.install},
		{"a managed file is changed by hand: a compliance error appears", d.drift},
		{"the live action repairs it", d.repair},
		{"a setting is changed: its handler runs", d.handler},
		{"the leader is killed: the next change still arrives", d.loseLeader},
	}
}

func (d *demo) startNodes(ctx context.Context) (string, error) {
	s, err := site.Start(ctx, site.Config{Bin: d.bin, Dir: d.dir, Nodes: 3})
	if err != nil {
		return "", err
	}
	d.site = s
	st, err := s.Status(ctx)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("three voters, %s leads in term %d; any one of them may be lost", st.Leader, st.Term), nil
}

// client is a client of the i-th node that is there.
func (d *demo) client(i int) (*client.Client, error) { return d.site.Client(i % len(d.site.Nodes)) }

func (d *demo) call(ctx context.Context, node int, op client.Op, out any) error {
	c, err := d.client(node)
	if err != nil {
		return err
	}
	return c.Call(ctx, op, out)
}

func (d *demo) describe(ctx context.Context) (string, error) {
	p := d.site.In("app", app)
	if err := d.call(ctx, 0, client.Op{Name: "organizations.create", Body: map[string]string{"name": d.site.Org}}, nil); err != nil {
		return "", err
	}
	if err := d.call(ctx, 1, client.Op{Name: "environments.create", Params: p, Body: map[string]string{"name": d.site.Env}}, nil); err != nil {
		return "", err
	}
	if err := d.call(ctx, 2, client.Op{Name: "applications.create", Params: p, Body: application()}, nil); err != nil {
		return "", err
	}
	for name, text := range map[string]string{"motd": motd, "note.sh": script} {
		c, err := d.client(1)
		if err != nil {
			return "", err
		}
		p := d.site.In("app", app, "file", name)
		if err := c.Upload(ctx, client.Op{Name: "files.content.set", Level: "application", Params: p}, name, []byte(text)); err != nil {
			return "", err
		}
		var got []byte
		if err := d.call(ctx, 2, client.Op{Name: "files.content.show", Level: "application", Params: p}, &got); err != nil {
			return "", err
		}
		if string(got) != text {
			return "", fmt.Errorf("node 3 has %q as the template %s", got, name)
		}
	}
	return "each written on one node and read back on another", nil
}

func (d *demo) startAgents(ctx context.Context) (string, error) {
	token, err := d.site.EnrolToken(ctx, 2)
	if err != nil {
		return "", err
	}
	for _, name := range []string{"web1", "web2"} {
		a, err := d.site.StartAgent(site.AgentConfig{Host: name, TokenFile: token, Root: filepath.Join(d.dir, name, "root")})
		if err != nil {
			return "", err
		}
		d.agents = append(d.agents, a)
	}
	for _, a := range d.agents {
		if err := d.waitState(ctx, a, model.HostReady); err != nil {
			return "", err
		}
	}
	return "web1 and web2 are READY; the token pinned the cluster's CA and the organization's key", nil
}

// waitState waits until a host has a state; an agent that ended is told at once.
func (d *demo) waitState(ctx context.Context, a *site.Agent, want model.HostState) error {
	return site.WaitFor(ctx, a.Host+" to be "+string(want), d.patience, func(ctx context.Context) (bool, error) {
		select {
		case <-a.Done():
			return false, site.GiveUp(fmt.Errorf("the agent of %s ended:\n%s", a.Host, a.Tail()))
		default:
		}
		var h model.Host
		err := d.call(ctx, 0, client.Op{Name: "hosts.show", Params: d.site.In("host", a.Host)}, &h)
		return h.State == want, err
	})
}

// settled waits until all changes of a host after number after are done, and fails when a task failed.
func (d *demo) settled(ctx context.Context, node int, a *site.Agent, after int) error {
	c, err := d.client(node)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, d.patience)
	defer cancel()
	ctx, ended := context.WithCancelCause(ctx)
	defer ended(nil)
	go func() {
		select {
		case <-a.Done():
			ended(fmt.Errorf("the agent of %s ended", a.Host))
		case <-ctx.Done():
		}
	}()
	changes, err := c.WaitChanges(ctx, d.site.In("host", a.Host), after, 50*time.Millisecond, nil)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		return fmt.Errorf("waiting for the change of %s: %w\n%s", a.Host, err, a.Tail())
	}
	if len(changes) == 0 {
		return fmt.Errorf("no change was queued for %s", a.Host)
	}
	for _, ch := range changes {
		for _, t := range ch.Tasks {
			if t.Status != model.TaskOK {
				return fmt.Errorf("change %d of %s: %s: %s %s", ch.OrderNum, a.Host, t.Description, t.Status, t.Error)
			}
		}
	}
	return nil
}

// last is the number of the newest change of each host.
func (d *demo) last(ctx context.Context, node int) ([]int, error) {
	c, err := d.client(node)
	if err != nil {
		return nil, err
	}
	var nums []int
	for _, a := range d.agents {
		n, err := c.LastChange(ctx, d.site.In("host", a.Host))
		if err != nil {
			return nil, err
		}
		nums = append(nums, n)
	}
	return nums, nil
}

// onDisk compares a file below an agent's root.
func onDisk(a *site.Agent, path, want string) error {
	got, err := os.ReadFile(filepath.Join(a.Root, path))
	if err != nil {
		return err
	}
	if string(got) != want {
		return fmt.Errorf("%s on %s is %q, expected %q", path, a.Host, got, want)
	}
	return nil
}

func wantMotd(a *site.Agent, greeting string) string {
	return "Welcome to " + a.Host + ".\n" + greeting + "\n- alice\n- bob\n"
}

func (d *demo) install(ctx context.Context) (string, error) {
	before, err := d.last(ctx, 0)
	if err != nil {
		return "", err
	}
	for i, a := range d.agents {
		op := client.Op{Name: "host.applications.create", Params: d.site.In("host", a.Host), Body: map[string]string{"application": app}}
		if err := d.call(ctx, i, op, nil); err != nil {
			return "", err
		}
	}
	for i, a := range d.agents {
		if err := errors.Join(d.settled(ctx, 2, a, before[i]), d.waitState(ctx, a, model.HostReady)); err != nil {
			return "", err
		}
		if err := onDisk(a, motdPath, wantMotd(a, "Have a good day.")); err != nil {
			return "", err
		}
	}
	return "both changes ended OK, both files on disk are the rendered template", nil
}

// errorsOf lists a host's compliance errors.
func (d *demo) errorsOf(ctx context.Context, node int, a *site.Agent) ([]model.ComplianceError, error) {
	c, err := d.client(node)
	if err != nil {
		return nil, err
	}
	return client.List[model.ComplianceError](ctx, c, client.Op{Name: "host.compliance.list", Params: d.site.In("host", a.Host)})
}

func (d *demo) drift(ctx context.Context) (string, error) {
	a := d.agents[0]
	if err := os.WriteFile(filepath.Join(a.Root, motdPath), []byte("changed by hand\n"), 0o600); err != nil {
		return "", err
	}
	at := time.Now()
	var found model.ComplianceError
	err := site.WaitFor(ctx, "the compliance error", d.patience, func(ctx context.Context) (bool, error) {
		es, err := d.errorsOf(ctx, 1, a)
		if err != nil || len(es) == 0 {
			return false, err
		}
		found = es[0]
		return true, nil
	})
	if err != nil {
		return "", err
	}
	took := time.Since(at)
	if found.Application != app || found.Name != "motd" {
		return "", fmt.Errorf("the compliance error is of %s/%s", found.Application, found.Name)
	}
	expected, _ := json.Marshal(found.ExpectedState)
	observed, _ := json.Marshal(found.CurrentState)
	if len(expected) < 3 || len(observed) < 3 || string(expected) == string(observed) {
		return "", fmt.Errorf("the compliance error tells expected %s, observed %s", expected, observed)
	}
	if err := d.waitState(ctx, a, model.HostError); err != nil {
		return "", err
	}
	return fmt.Sprintf("seen after %.2f s: expected %s, observed %s", took.Seconds(), expected, observed), nil
}

func (d *demo) repair(ctx context.Context) (string, error) {
	a := d.agents[0]
	before, err := d.last(ctx, 2)
	if err != nil {
		return "", err
	}
	op := client.Op{Name: "host.applications.files.update", Params: d.site.In("host", a.Host, "app", app, "file", "motd")}
	if err := d.call(ctx, 2, op, nil); err != nil {
		return "", err
	}
	if err := d.settled(ctx, 0, a, before[0]); err != nil {
		return "", err
	}
	err = site.WaitFor(ctx, "the compliance error to go", d.patience, func(ctx context.Context) (bool, error) {
		es, err := d.errorsOf(ctx, 1, a)
		return err == nil && len(es) == 0, err
	})
	if err != nil {
		return "", err
	}
	if err := errors.Join(onDisk(a, motdPath, wantMotd(a, "Have a good day.")), d.waitState(ctx, a, model.HostReady)); err != nil {
		return "", err
	}
	return "the file is as described again, the error is gone, the host is READY", nil
}

func (d *demo) handler(ctx context.Context) (string, error) {
	const greeting = "Mind the gap."
	if err := d.greet(ctx, 0, "settings.create", greeting); err != nil {
		return "", err
	}
	for _, a := range d.agents {
		if err := errors.Join(onDisk(a, motdPath, wantMotd(a, greeting)), onDisk(a, notePath, "greeting is now: "+greeting+"\n")); err != nil {
			return "", err
		}
	}
	return "a setting of the environment reached both hosts: file written, script run once on each", nil
}

// greet sets the greeting of the environment through a node, and waits until it has arrived.
func (d *demo) greet(ctx context.Context, node int, op, greeting string) error {
	before, err := d.last(ctx, node)
	if err != nil {
		return err
	}
	set := client.Op{Name: op, Level: "environment", Params: d.site.In("key", "greeting"), Body: map[string]string{"key": "greeting", "value": greeting}}
	err = site.WaitFor(ctx, "the setting to be taken", d.patience, func(ctx context.Context) (bool, error) {
		err := d.call(ctx, node, set, nil)
		return err == nil, err
	})
	if err != nil {
		return err
	}
	for i, a := range d.agents {
		if err := d.settled(ctx, node, a, before[i]); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) loseLeader(ctx context.Context) (string, error) {
	leader, err := d.site.Leader(ctx)
	if err != nil {
		return "", err
	}
	const greeting = "Still here."
	other := (leader + 1) % len(d.site.Nodes)
	d.site.Nodes[leader].Kill()
	at := time.Now()
	if err := d.greet(ctx, other, "settings.update", greeting); err != nil {
		return "", err
	}
	took := time.Since(at)
	for _, a := range d.agents {
		if err := onDisk(a, motdPath, wantMotd(a, greeting)); err != nil {
			return "", err
		}
		if err := onDisk(a, notePath, "greeting is now: Mind the gap.\ngreeting is now: "+greeting+"\n"); err != nil {
			return "", err
		}
	}
	now, err := d.site.Leader(ctx)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s was killed, %s leads; the change was on both machines %.1f s later, each script ran once more",
		d.site.Nodes[leader].Name, d.site.Nodes[now].Name, took.Seconds()), nil
}
