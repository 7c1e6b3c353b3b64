package services_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/agent/resource/resourcetest"
	"github.com/muster-hq/muster/agent/resource/services"
	"github.com/muster-hq/muster/agent/sys"
	"github.com/muster-hq/muster/deploy/e2e/guest"
)

var (
	_ resource.Watcher = (*services.Collection)(nil)
	_ resource.Actor   = (*services.Collection)(nil)
	_ resource.Lister  = (*services.Collection)(nil)
)

func TestNotUnderARoot(t *testing.T) {
	m, err := sys.New(sys.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c := services.New(m, services.Options{})
	_, err1 := c.Check(t.Context(), "x", nil)
	_, err2 := c.Act(t.Context(), "x", resource.Action{Verb: "restart"})
	_, err3 := c.List(t.Context())
	for _, err := range []error{err1, err2, err3, c.Watch(t.Context(), []string{"x"}, func(string) {})} {
		if !errors.Is(err, resource.ErrUnavailable) {
			t.Errorf("error = %v, want ErrUnavailable", err)
		}
	}
}

func TestABusThatIsNotThereIsTold(t *testing.T) {
	m, err := sys.New(sys.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := services.New(m, services.Options{Bus: "unix:path=" + t.TempDir() + "/none"})
	if _, err := c.Check(t.Context(), "x", nil); err == nil || !strings.Contains(err.Error(), "systemd cannot be reached") {
		t.Errorf("Check = %v", err)
	}
	for id, text := range map[string]string{"": "name of a service", "-x": "name of a service", "a b": "name of a service", "../x": "name of a service",
		strings.Repeat("x", 300): "name of a service"} {
		if _, err := c.Check(t.Context(), id, nil); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("Check(%q) = %v", id, err)
		}
	}
	if _, err := c.Act(t.Context(), "x", resource.Action{Verb: "stop"}); err == nil || !strings.Contains(err.Error(), `"restart" and "reload"`) {
		t.Errorf("Act(stop) = %v", err)
	}
	if _, err := c.Act(t.Context(), "x", resource.Action{Verb: "restart", Args: json.RawMessage(`{"now":true}`)}); err == nil || !strings.Contains(err.Error(), `unknown attribute "now"`) {
		t.Errorf("Act with arguments = %v", err)
	}
}

const demo = `[Service]
ExecStart=/bin/sleep infinity
ExecReload=/bin/true
[Install]
WantedBy=multi-user.target
`

func unitFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile("/etc/systemd/system/"+name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func systemctl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("systemctl", args...).CombinedOutput()
	if err != nil && args[0] != "is-active" && args[0] != "is-enabled" {
		t.Fatalf("systemctl %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestSystemd(t *testing.T) {
	if !guest.Inside() {
		g := guest.Boot(t, guest.Options{})
		overAnotherBus(t, g)
		g.Again(t)
		return
	}
	m, err := sys.New(sys.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := services.New(m, services.Options{})
	unitFile(t, "demo.service", demo)
	t.Run("suite", func(t *testing.T) { suite(t, c) })
	t.Run("restart and reload", func(t *testing.T) { actions(t, c) })
	t.Run("failures", func(t *testing.T) { failures(t, c) })
	t.Run("init script", func(t *testing.T) { initScript(t, c) })
	t.Run("alias and stale unit file", func(t *testing.T) { aliasAndStale(t, c) })
	t.Run("watch", func(t *testing.T) { watches(t, c) })
	t.Run("context", func(t *testing.T) { endsWithContext(t, c) })
}

// overAnotherBus asks the guest's systemd from the host.
func overAnotherBus(t *testing.T, g *guest.Guest) {
	m, err := sys.New(sys.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := services.New(m, services.Options{Bus: g.Bus()})
	if s, err := c.Read(t.Context(), "dbus.socket"); err != nil || s["running"] != true {
		t.Errorf("Read = %v, %v", s, err)
	}
	ended := make(chan error, 1)
	told := make(chan string, 1000)
	go func() {
		ended <- c.Watch(t.Context(), []string{"systemd-journald"}, func(id string) { told <- id })
	}()
	eventually(t, "a restart is told", func() bool { g.Must(t, "systemctl", "restart", "systemd-journald"); return len(told) > 0 })
	g.Must(t, "systemctl", "stop", "dbus.socket", "dbus.service")
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "connection to systemd was lost") {
			t.Errorf("Watch after the bus ended = %v", err)
		}
	case <-time.After(60 * time.Second):
		t.Error("Watch did not notice that the bus ended")
	}
	g.Must(t, "systemctl", "start", "dbus.socket", "dbus.service")
}

func suite(t *testing.T, c *services.Collection) {
	resourcetest.Run(t, c, resourcetest.Case{
		ID: "demo", Exists: true, Want: `{"running":true,"enabled":true}`, Other: `{"running":false,"enabled":false}`,
		Invalid: map[string]string{`{"running":"yes"}`: `"running" cannot be a string`, `{"ensure":"present"}`: "unknown attribute"},
		BadIDs:  map[string]string{"-demo": "name of a service", "a/b": "name of a service"},
		Snapshot: func(t *testing.T) string {
			links, _ := filepath.Glob("/etc/systemd/system/*.wants/demo.service")
			return systemctl(t, "show", "-p", "ActiveState,UnitFileState,MainPID", "demo") + strings.Join(links, " ")
		},
	})
	if a, e := systemctl(t, "is-active", "demo"), systemctl(t, "is-enabled", "demo"); a != "active" || e != "enabled" {
		t.Errorf("systemctl says %s, %s", a, e)
	}
	if d, err := c.Apply(t.Context(), "demo.service", json.RawMessage(`{"running":false}`)); err != nil || len(d.Expected) != 1 {
		t.Errorf("Apply = %v, %v", d, err)
	}
	if a, e := systemctl(t, "is-active", "demo"), systemctl(t, "is-enabled", "demo"); a != "inactive" || e != "enabled" {
		t.Errorf("only running was stated; systemctl says %s, %s", a, e)
	}
	if names, err := c.List(t.Context()); err != nil || !strings.Contains(strings.Join(names, " "), "dbus") {
		t.Errorf("List = %v, %v", names, err)
	}
}

func actions(t *testing.T, c *services.Collection) {
	for _, verb := range []string{"restart", "reload"} {
		before := systemctl(t, "show", "-p", "MainPID", "demo")
		started := time.Now().UnixNano()
		a := resource.Action{Verb: verb}
		if done, err := c.Done(t.Context(), "demo", a, started); err != nil || done {
			t.Errorf("Done(%s) before = %v, %v", verb, done, err)
		}
		if _, err := c.Act(t.Context(), "demo", a); err != nil {
			t.Fatalf("Act(%s): %v", verb, err)
		}
		if done, err := c.Done(t.Context(), "demo", a, started); err != nil || !done {
			t.Errorf("Done(%s) after = %v, %v", verb, done, err)
		}
		if done, err := c.Done(t.Context(), "demo", a, time.Now().UnixNano()); err != nil || done {
			t.Errorf("Done(%s) of a later one = %v, %v", verb, done, err)
		}
		if same := before == systemctl(t, "show", "-p", "MainPID", "demo"); same != (verb == "reload") {
			t.Errorf("%s: the same process is %v", verb, same)
		}
	}
}

func failures(t *testing.T, c *services.Collection) {
	unitFile(t, "broken.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n")
	unitFile(t, "static.service", "[Service]\nExecStart=/bin/sleep infinity\n")
	unitFile(t, "nonsense.service", "[Service]\nType=nonsense\n")
	systemctl(t, "daemon-reload")
	systemctl(t, "mask", "demo2.service")
	for _, x := range []struct{ id, want, text string }{
		{"broken", `{"running":true}`, "exit status 1"},
		{"static", `{"enabled":true}`, "no [Install] section"},
		{"no-such", `{"running":true}`, "does not exist on this machine"},
		{"demo2", `{"running":true}`, "masked"},
		{"nonsense", `{"running":true}`, "unit file"},
	} {
		d, err := c.Apply(t.Context(), x.id, json.RawMessage(x.want))
		if err == nil || !strings.Contains(err.Error(), x.text) || !d.Empty() {
			t.Errorf("Apply(%s) = %v, %v, want %q", x.id, d, err, x.text)
		}
		t.Log(err)
	}
	if _, err := c.Act(t.Context(), "broken", resource.Action{Verb: "restart"}); err == nil || !strings.Contains(err.Error(), "failed") {
		t.Errorf("Act = %v", err)
	}
	if done, err := c.Done(t.Context(), "broken", resource.Action{Verb: "restart"}, 1); err != nil || done {
		t.Errorf("Done of a failed restart = %v, %v", done, err)
	}
	if s, err := c.Read(t.Context(), "no-such"); err != nil || s["present"] != false {
		t.Errorf("Read(no-such) = %v, %v", s, err)
	}
	unitFile(t, "touchy.service", "[Unit]\nStartLimitBurst=2\nStartLimitIntervalSec=1000\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/bin/test -e /run/calm\n")
	for range 4 {
		if _, err := c.Apply(t.Context(), "touchy", json.RawMessage(`{"running":true}`)); err == nil || !strings.Contains(err.Error(), "exit status 1") {
			t.Errorf("Apply = %v", err)
		}
	}
	if err := os.WriteFile("/run/calm", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Apply(t.Context(), "touchy", json.RawMessage(`{"running":true}`)); err != nil {
		t.Errorf("Apply after the cause is gone = %v", err)
	}
	systemctl(t, "reset-failed")
}

const script = `#!/bin/sh
### BEGIN INIT INFO
# Provides: oldstyle
# Required-Start:
# Required-Stop:
# Default-Start: 2 3 4 5
# Default-Stop: 0 1 6
### END INIT INFO
case "$1" in
start) start-stop-daemon --start --background --make-pidfile --pidfile /run/oldstyle.pid --exec /bin/sleep -- infinity ;;
stop) start-stop-daemon --stop --pidfile /run/oldstyle.pid ;;
esac
`

func initScript(t *testing.T, c *services.Collection) {
	if err := os.WriteFile("/etc/init.d/oldstyle", []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, on := range []string{"true", "false"} {
		want := json.RawMessage(`{"running":` + on + `,"enabled":` + on + `}`)
		d, err := c.Apply(t.Context(), "oldstyle", want)
		if err != nil || d.Empty() {
			t.Fatalf("Apply(%s) = %v, %v", want, d, err)
		}
		if d, err := c.Check(t.Context(), "oldstyle", want); err != nil || !d.Empty() {
			t.Errorf("Check(%s) = %v, %v", want, d, err)
		}
		links, _ := filepath.Glob("/etc/rc2.d/S*oldstyle")
		if (len(links) == 1) != (on == "true") {
			t.Errorf("enabled %s: links %v", on, links)
		}
	}
}

func aliasAndStale(t *testing.T, c *services.Collection) {
	unitFile(t, "real.service", strings.Replace(demo, "[Install]\n", "[Install]\nAlias=other.service\n", 1))
	want := json.RawMessage(`{"running":true,"enabled":true}`)
	if _, err := c.Apply(t.Context(), "real", want); err != nil {
		t.Fatal(err)
	}
	if d, err := c.Check(t.Context(), "other", want); err != nil || !d.Empty() {
		t.Errorf("Check of the alias = %v, %v", d, err)
	}
	unitFile(t, "real.service", strings.Replace(demo, "infinity", "12345", 1))
	if _, err := c.Act(t.Context(), "real", resource.Action{Verb: "restart"}); err != nil {
		t.Fatal(err)
	}
	if out := systemctl(t, "show", "-p", "ExecStart", "real"); !strings.Contains(out, "12345") {
		t.Errorf("restarted with the old unit file: %s", out)
	}
}

func watches(t *testing.T, c *services.Collection) {
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	count := map[string]int{}
	of := func(id string) int { mu.Lock(); defer mu.Unlock(); return count[id] }
	ended := make(chan error, 1)
	go func() {
		ended <- c.Watch(ctx, []string{"demo", "real", "not-yet"}, func(id string) { mu.Lock(); defer mu.Unlock(); count[id]++ })
	}()
	eventually(t, "a stop is told", func() bool { systemctl(t, "restart", "demo"); return of("demo") > 0 })
	before, other := of("demo"), of("real")
	pid := strings.TrimPrefix(systemctl(t, "show", "-p", "MainPID", "demo"), "MainPID=")
	if err := exec.Command("kill", "-9", pid).Run(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a killed process is told", func() bool { return of("demo") > before })
	if of("real") != other {
		t.Error("told of a unit that did not change")
	}
	before = of("not-yet")
	unitFile(t, "not-yet.service", demo)
	systemctl(t, "enable", "--now", "not-yet")
	eventually(t, "a unit that is new is told", func() bool { return of("not-yet") > before })
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Watch = %v", err)
	}
}

func endsWithContext(t *testing.T, c *services.Collection) {
	unitFile(t, "slow.service", "[Service]\nType=oneshot\nExecStart=/bin/sleep 1000\n")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := c.Apply(ctx, "slow", json.RawMessage(`{"running":true}`)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Apply = %v", err)
	}
	systemctl(t, "stop", "slow")
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(60 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			t.Fatalf("not within 60 s: %s", what)
		case <-tick.C:
		}
	}
}
