package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/fsm/model"
)

// machineTest is a host of `muster dev --simulate` whose machine is made and destroyed.
type machineTest struct {
	t    *testing.T
	c    *client.Client
	at   map[string]string
	host string
}

func (m *machineTest) call(op string, body, out any) error {
	m.t.Helper()
	p := map[string]string{"host": m.host}
	for k, v := range m.at {
		p[k] = v
	}
	return m.c.Call(m.t.Context(), client.Op{Name: op, Params: p, Body: body}, out)
}

func (m *machineTest) must(op string, body, out any) {
	m.t.Helper()
	if err := m.call(op, body, out); err != nil {
		m.t.Fatalf("%s: %v", op, err)
	}
}

// becomes waits for the state of the host and of its machine.
func (m *machineTest) becomes(host model.HostState, machine model.InstanceState, agent string) {
	m.t.Helper()
	var h model.Host
	var i model.Instance
	defer func() {
		if m.t.Failed() {
			m.t.Logf("host %s, instance %+v", h.State, i)
		}
	}()
	eventually(m.t, string(host)+" and "+string(machine), func() bool {
		h, i = model.Host{}, model.Instance{}
		if m.call("hosts.show", nil, &h) != nil || m.call("host.instance.show", nil, &i) != nil {
			return false
		}
		return h.State == host && i.State == machine && i.SynapseState == agent
	})
}

func TestDevSimulates(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "dev")
	addr := testPorts(t, 1)[0]
	p, info := startDev(t, dir, "--http", addr, "--simulate")
	c, err := info.at(t, 0).client(info.Admin.PasswordFile)
	if err != nil {
		t.Fatal(err)
	}
	m := &machineTest{t: t, c: c, host: "h 1", at: map[string]string{"org": info.Organization, "env": info.Environment}}
	class := "com.guardis.cortex.server.driver.AmazonEc2Driver"
	m.must("platforms.create", map[string]any{"name": "cloud", "driver": map[string]any{"className": class}}, nil)
	m.must("applications.create", map[string]any{
		"name": "web", "packages": []any{map[string]any{"name": "nginx"}}, "services": []any{map[string]any{"name": "nginx", "enabled": true}},
		"files": []any{map[string]any{"name": "motd", "path": "/etc/motd", "mode": "644"}},
	}, nil)
	m.must("hosts.create", map[string]any{"name": m.host, "platform": "cloud", "applications": []string{"web"}}, nil)
	var i model.Instance
	m.must("host.instance.set", map[string]any{}, &i)
	if i.State != model.InstanceStarting || i.Host != m.host {
		t.Errorf("right after it was asked for: %+v", i)
	}
	m.becomes(model.HostReady, model.InstanceRunning, model.SynapseUp)
	i = model.Instance{}
	m.must("host.instance.show", nil, &i)
	if ip := property(i, "ip.eth0"); !strings.HasPrefix(ip, "10.") || i.Waiting != "" || i.Error != "" {
		t.Errorf("the machine is told as %+v", i)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "machines", "*", "root", "etc", "motd"))
	if len(files) != 1 {
		t.Errorf("the file of the application lies at %v", files)
	}
	m.powers()
	// The machines of a stopped process are as after a power cut: they come back with it.
	if code := p.stop(); code != 0 {
		t.Fatalf("it ended with %d", code)
	}
	startDev(t, dir, "--http", addr, "--simulate")
	m.becomes(model.HostReady, model.InstanceRunning, model.SynapseUp)
	m.commands(info)
	m.must("host.instance.delete", nil, nil)
	var h model.Host
	if m.must("hosts.show", nil, &h); h.State != model.HostDefined {
		t.Errorf("right after the deletion: %s", h.State)
	}
	if err := m.call("host.instance.show", nil, nil); model.CodeOf(err) != model.NotFound {
		t.Errorf("the instance after its deletion: %v", err)
	}
	eventually(t, "the machine to be destroyed", func() bool {
		left, _ := filepath.Glob(filepath.Join(dir, "machines", "*", "machine.json"))
		var list json.RawMessage
		return len(left) == 0 && m.call("machines.list", nil, &list) == nil && strings.Contains(string(list), `"count":0`)
	})
	m.must("hosts.delete", nil, nil)
}

func property(i model.Instance, key string) string {
	for _, p := range i.Properties {
		if p.Key == key {
			return p.Value
		}
	}
	return ""
}

// commands does the same by the command line.
func (m *machineTest) commands(info devInfo) {
	m.t.Helper()
	n := info.at(m.t, 0)
	do := func(words ...string) string {
		return n.do(info.Admin.PasswordFile, append(words, "-O", info.Organization, "-E", info.Environment)...)
	}
	org := func(words ...string) string {
		return n.do(info.Admin.PasswordFile, append(words, "-O", info.Organization)...)
	}
	if out := do("host", "fetch", m.host, "/etc/motd"); out != "" { // as it was described
		m.t.Errorf("host fetch prints %q", out)
	}
	if out := do("host", "sensor", m.host, "services", "nginx"); !strings.Contains(out, `"running": true`) {
		m.t.Errorf("host sensor prints %s", out)
	}
	if out := do("host", "sensor", m.host, "hosts", "hostname"); !strings.Contains(out, m.host) {
		m.t.Errorf("host sensor prints %s", out)
	}
	do("host", "create", "h2", "--platform", "cloud")
	if out := do("host", "provision", "h2", "--dry-run"); !strings.HasPrefix(out, "Nothing was done.\n") || !strings.Contains(out, "instance would be created: 1\n") {
		m.t.Errorf("host provision --dry-run prints %s", out)
	}
	if out := do("host", "show", "h2"); !strings.Contains(out, "DEFINED") {
		m.t.Errorf("host show after a dry run prints %s", out)
	}
	do("host", "provision", "h2", "--wait")
	if out := do("instance", "show", "h2"); !strings.Contains(out, "RUNNING") || !strings.Contains(out, "Up") {
		m.t.Errorf("instance show prints %s", out)
	}
	do("host", "pause", "h2", "--wait")
	do("host", "resume", "h2", "--wait")
	if out := do("host", "vnc", "h2"); !strings.HasSuffix(strings.TrimSpace(out), ":5900") {
		m.t.Errorf("host vnc prints %s", out)
	}
	do("host", "lock", "h2")
	_, errs, code := muster(m.t, n.as(info.Admin.PasswordFile, "host", "off", "h2", "-O", info.Organization, "-E", info.Environment)...)
	if code != exitConflict || !strings.Contains(errs, "locked") {
		m.t.Errorf("a locked machine is turned off: %d %s", code, errs)
	}
	do("host", "unlock", "h2")
	do("host", "image", "h2", "gold", "--wait", "--setting", "comment=x")
	if out := org("platform", "images", "cloud"); !strings.Contains(out, "gold") {
		m.t.Errorf("platform images prints %s", out)
	}
	at := "organizations/" + info.Organization + "/environments/" + info.Environment + "/hosts/h2"
	org("job", "create", "night", "--action", "STOP_HOST", "--input", at, "--cron", "0 22 * * mon-fri")
	org("job", "run", "night", "--wait")
	if out := do("instance", "show", "h2"); !strings.Contains(out, "STOPPED") {
		m.t.Errorf("after the job: %s", out)
	}
	if out := org("job", "list", "-o", "name"); out != "night\n" {
		m.t.Errorf("job list prints %s", out)
	}
	_, errs, code = muster(m.t, n.as(info.Admin.PasswordFile, "host", "fetch", "h2", "/etc/motd", "-O", info.Organization, "-E", info.Environment)...)
	if code != exitConflict || !strings.Contains(errs, "is down since") {
		m.t.Errorf("a file of a machine that is off: %d %s", code, errs)
	}
	do("host", "start", "h2", "--wait")
	do("host", "destroy", "h2")
	eventually(m.t, "the machine to be destroyed", func() bool { return org("machine", "list", "-o", "name") == "" })
	do("host", "provision", "h2", "--property", "ip.eth0=192.0.2.7", "--wait")
	if out := do("instance", "show", "h2", "-o", "json"); !strings.Contains(out, "192.0.2.7") {
		m.t.Errorf("a machine that was attached: %s", out)
	}
	do("host", "destroy", "h2")
	do("host", "delete", "h2")
}

// powers goes through the power actions, ends in an error of an application, and is ready again by itself.
func (m *machineTest) powers() {
	m.t.Helper()
	for _, step := range []struct {
		op    string
		state model.InstanceState
		agent string
	}{
		{"pause", model.InstancePaused, model.SynapseDown}, {"resume", model.InstanceRunning, model.SynapseUp},
		{"stop", model.InstanceStopped, model.SynapseDown}, {"start", model.InstanceRunning, model.SynapseUp},
		{"off", model.InstanceStopped, model.SynapseDown}, {"start", model.InstanceRunning, model.SynapseUp},
	} {
		m.must("host.instance."+step.op, nil, nil)
		m.becomes(model.HostReady, step.state, step.agent)
	}
	if err := m.call("host.instance.start", nil, nil); model.CodeOf(err) != model.Conflict {
		m.t.Errorf("a running machine is started: %v", err)
	}
	m.must("applications.create", map[string]any{"name": "bad", "packages": []any{map[string]any{"name": "no-such-package"}}}, nil)
	m.must("host.applications.create", map[string]any{"application": "bad"}, nil)
	m.becomes(model.HostError, model.InstanceRunning, model.SynapseUp)
	m.at["app"] = "bad"
	m.must("host.applications.delete", nil, nil)
	delete(m.at, "app")
	m.becomes(model.HostReady, model.InstanceRunning, model.SynapseUp)
}
