package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/deploy/e2e/guest"
	"github.com/muster-hq/muster/deploy/site"
	"github.com/muster-hq/muster/dispatch/bus/rabbittest"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/internal/freeport"
)

const (
	lbApp  = "Cluster-LoadBalancer"
	lbHost = "lb1"
	lbConf = "/etc/nginx/nginx.conf"
	// lbAgent is the unit of the agent in the guest.
	lbAgent = "[Unit]\nWants=network-online.target\n[Service]\nExecStart=/usr/local/bin/muster-agent run --token-file /etc/muster-token --name " + lbHost +
		"%s\nRestart=on-failure\n[Install]\nWantedBy=multi-user.target\n"
	// driftLimit is how soon a drift is to be told: the fastest of a few counts, since the machine may be busy.
	driftLimit = 3 * time.Second
)

// lbRig is a site in the network of a guest, whose agent only connects outwards.
type lbRig struct {
	*rig
	net   *guest.Network
	guest *guest.Guest
}

// TestLoadBalancer is the main job on a real machine: somebody else's application, as it was published, on
// a Debian with systemd; once over the embedded hubs, once over RabbitMQ.
func TestLoadBalancer(t *testing.T) {
	app := filepath.Join("..", "..", "..", "shared", "demo-apps", "lb")
	if _, err := os.Stat(app); errors.Is(err, fs.ErrNotExist) {
		guest.Skip(t, "../shared/demo-apps, beside the repository, is absent")
	}
	guest.Need(t)
	programs(t)
	debs := guest.NewRepo(t)
	debs.Fetch(t, "nginx")
	t.Run("embedded hubs", func(t *testing.T) { loadBalancer(t, app, debs, embeddedHubs) })
	t.Run("RabbitMQ", func(t *testing.T) {
		rabbittest.Need(t)
		loadBalancer(t, app, debs, rabbitMQ)
	})
}

// embeddedHubs starts three nodes in the network, and gives the agent's flags.
func embeddedHubs(t *testing.T, n *guest.Network, cfg site.Config) (*rig, string) {
	r := startSite(t, cfg)
	flags := ""
	for _, n := range r.site.Nodes {
		flags += " --bus " + n.BusURL()
	}
	return r, flags
}

// rabbitMQ starts three nodes and a RabbitMQ, which asks the first node about agents.
func rabbitMQ(t *testing.T, n *guest.Network, cfg site.Config) (*rig, string) {
	ports, err := freeport.Take("127.0.0.1", 1)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Bus = fmt.Sprintf("amqp://orchestrator@%s:%d", n.Address, ports[0])
	cfg.BusPW = rabbittest.PasswordFile(t)
	r := startSite(t, cfg)
	b := rabbittest.StartAt(t, rabbittest.Options{
		Host: n.Address, Port: ports[0], Prefix: cfg.Prefix, Auth: "http://" + r.site.Nodes[0].HTTP + "/bus/auth",
	})
	return r, " --bus " + b.AgentURL
}

func loadBalancer(t *testing.T, app string, debs *guest.Repo, start func(*testing.T, *guest.Network, site.Config) (*rig, string)) {
	at := time.Now()
	n := guest.NewNetwork(t)
	base, flags := start(t, n, site.Config{
		Nodes: 3, Host: n.Address, Prefix: []string{"ip", "netns", "exec", n.Name},
		Dial: func(_ context.Context, _, address string) (net.Conn, error) { return n.Dial(address) },
	})
	r := &lbRig{rig: base, net: n}
	t.Logf("%-30s %6.2f s", "nodes and bus", time.Since(at).Seconds())
	first, second := r.serve("first"), r.serve("second")
	repo := r.handle(http.FileServer(http.Dir(debs.Dir)))

	r.guest = guest.Boot(t, guest.Options{Network: n, OutwardOnly: true, Hostname: lbHost})
	debs.UseURL(t, r.guest, "http://"+repo+"/")

	r.steps(
		step{"the agent enrols", func() { r.startAgent(flags) }},
		step{"install", func() { r.installLB(app, first) }},
		step{"the guest is closed to others", r.closed},
		step{"upstream changes", func() { r.changeUpstream(second) }},
		step{"drift of the service", r.serviceDrifts},
		step{"drift of the file", r.fileDrifts},
		step{"enable and disable", r.switchService},
		step{"bad input", r.badResources},
		step{"reboot", r.reboot},
	)
}

type step struct {
	name string
	do   func()
}

// steps does one after the other and tells how long each took.
func (r *lbRig) steps(all ...step) {
	for _, s := range all {
		at := time.Now()
		s.do()
		if r.t.Failed() {
			r.t.Fatalf("ends after: %s", s.name)
		}
		r.t.Logf("%-30s %6.2f s", s.name, time.Since(at).Seconds())
	}
}

// handle serves HTTP in the network and gives the address.
func (r *lbRig) handle(h http.Handler) string {
	r.t.Helper()
	l, err := r.net.Listen(0)
	if err != nil {
		r.t.Fatal(err)
	}
	server := &http.Server{Handler: h}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	r.t.Cleanup(func() {
		server.Close()
		<-ended
	})
	return l.Addr().String()
}

// serve serves one text.
func (r *lbRig) serve(text string) string {
	return r.handle(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }))
}

func (r *lbRig) startAgent(flags string) {
	r.t.Helper()
	r.guest.Put(r.t, filepath.Join(programs(r.t), "muster-agent"), "/usr/local/bin/muster-agent", 0o755)
	r.guest.Put(r.t, r.enrolToken(1), "/etc/muster-token", 0o600)
	r.write("/etc/systemd/system/muster-agent.service", fmt.Sprintf(lbAgent, flags))
	r.guest.Must(r.t, "systemctl", "daemon-reload")
	r.guest.Must(r.t, "systemctl", "enable", "--now", "muster-agent")
	r.t.Cleanup(func() {
		if r.t.Failed() {
			out, _ := r.guest.Run("journalctl", "-o", "cat", "-n", "60", "-u", "muster-agent", "-u", "nginx")
			r.t.Logf("== agent and nginx\n%s", out)
		}
	})
	r.waitState(lbHost, model.HostReady)
}

// write writes a file of the guest, as somebody on it would.
func (r *lbRig) write(name, text string) {
	r.t.Helper()
	cmd := r.guest.Command("sh", "-c", `cat > "$1"`, "sh", name)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("write %s: %v\n%s", name, err, out)
	}
}

// importLB posts the application as the published client imports one: the document as it lies there, then
// the content of each file.
func (r *lbRig) importLB(dir string) {
	r.t.Helper()
	doc, err := os.ReadFile(filepath.Join(dir, "definition.json"))
	if err != nil {
		r.t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "files", "nginx.conf"))
	if err != nil {
		r.t.Fatal(err)
	}
	r.application(doc, map[string]string{"nginx.conf": string(text)})
	var got []byte
	r.call(client.Op{Name: "files.content.show", Level: "application", Params: r.p("app", lbApp, "file", "nginx.conf")}, &got)
	if !bytes.Equal(got, text) {
		r.t.Fatalf("the template came back changed:\n%s", got)
	}
}

func (r *lbRig) installLB(dir, upstream string) {
	r.application(json.RawMessage(`{"name": "nginx-user", "users": [{"name": "nginx", "system": true, "home": "/nonexistent", "shell": "/usr/sbin/nologin"}]}`), nil)
	r.importLB(dir)
	r.install(lbHost, "nginx-user")
	body := map[string]any{"application": lbApp, "settings": []any{map[string]any{"key": "upstream", "value": []string{upstream}}}}
	r.call(client.Op{Name: "host.applications.create", Params: r.p("host", lbHost), Body: body}, nil)
	changes := r.settle(lbHost)
	if c := changes[len(changes)-1]; c.Failed() {
		r.t.Fatalf("the installation failed: %s", describe(c))
	}
	r.waitState(lbHost, model.HostReady)
	r.answers("first")
	// Debian starts nginx while the package is installed, before the file is there.
	if started, written := r.activeSince(), r.modified(); started < written {
		r.t.Errorf("nginx runs since %d µs, its file was written at %d µs: it was not restarted", started, written)
	}
	if out, _ := r.guest.Run("systemctl", "is-enabled", "nginx"); strings.TrimSpace(out) != "enabled" {
		r.t.Errorf("nginx is %s, expected enabled", out)
	}
	if out := r.guest.Must(r.t, "ps", "-C", "nginx", "-o", "user="); !slices.Contains(strings.Fields(out), "nginx") {
		r.t.Errorf("nginx runs as %q, expected a worker of the declared user", out)
	}
}

// get asks nginx from inside the guest.
func (r *lbRig) get() (string, error) {
	c := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return r.guest.Dial("127.0.0.1:80") }}}
	resp, err := c.Get("http://" + lbHost + "/")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

// answers checks which server answers a request to nginx; it must be so at once.
func (r *lbRig) answers(want string) {
	r.t.Helper()
	if got, err := r.get(); err != nil || got != want {
		r.t.Errorf("a request to nginx is answered %q (%v), expected %q", got, err, want)
	}
}

// closed checks that nobody can connect to the guest, while nginx listens on all its addresses.
func (r *lbRig) closed() {
	out, err := r.net.Command("timeout", "1", "bash", "-c", "exec 3<>/dev/tcp/"+r.guest.Address+"/80").CombinedOutput()
	if err == nil || strings.Contains(string(out), "refused") {
		r.t.Errorf("connecting to the guest's port 80 from its network: %v %s, expected no answer", err, out)
	}
}

// property reads a time of nginx's unit, in µs since 1970.
func (r *lbRig) property(name string) int64 {
	r.t.Helper()
	out := r.guest.Must(r.t, "busctl", "get-property", "org.freedesktop.systemd1", "/org/freedesktop/systemd1/unit/nginx_2eservice", "org.freedesktop.systemd1.Unit", name)
	n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimPrefix(out, "t ")), 10, 64)
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// activeSince is when systemd began to start nginx the last time.
func (r *lbRig) activeSince() int64 { return r.property("InactiveExitTimestamp") }

// modified is when nginx's file was changed, in µs since 1970.
func (r *lbRig) modified() int64 {
	r.t.Helper()
	info, err := os.Stat(filepath.Join(r.guest.Root, lbConf))
	if err != nil {
		r.t.Fatal(err)
	}
	return info.ModTime().UnixMicro()
}

// starts counts how often nginx was started, by the guest's journal.
func (r *lbRig) starts() int {
	r.t.Helper()
	r.guest.Must(r.t, "journalctl", "--sync")
	return strings.Count(r.guest.Must(r.t, "journalctl", "-o", "cat", "-u", "nginx"), "Started nginx.service")
}

func (r *lbRig) changeUpstream(upstream string) {
	before, starts := r.settle(lbHost), r.starts()
	at := time.Now()
	r.set("context", "settings.update", r.p("host", lbHost, "app", lbApp, "key", "upstream"), "upstream", []string{upstream})
	after := r.settle(lbHost)
	r.t.Logf("the change of upstream took %s", time.Since(at).Round(time.Millisecond))
	if len(after) != len(before)+1 {
		r.t.Fatalf("%d changes were queued, expected one", len(after)-len(before))
	}
	c := after[len(after)-1]
	var did []string
	for _, t := range c.Tasks {
		did = append(did, fmt.Sprintf("%s: %s", t.Description, t.Status))
	}
	if want := []string{"Update file nginx.conf: OK", "Restart service nginx: OK"}; !slices.Equal(did, want) {
		r.t.Errorf("the change did %q, expected %q", did, want)
	}
	r.answers("second")
	if written, started := r.modified(), r.activeSince(); written > started || written < at.UnixMicro() {
		r.t.Errorf("the setting changed at %d, the file was written at %d, nginx started at %d", at.UnixMicro(), written, started)
	}
	if n := r.starts() - starts; n != 1 {
		r.t.Errorf("nginx was started %d times, expected once", n)
	}
}

// awaitDrift waits for a compliance error and gives it with how long it took since at.
func (r *lbRig) awaitDrift(at time.Time, kind, name string) (model.ComplianceError, time.Duration) {
	r.t.Helper()
	var e model.ComplianceError
	c, err := r.site.Client(0)
	if err != nil {
		r.t.Fatal(err)
	}
	op := client.Op{Name: "host.compliance.show", Params: r.p("host", lbHost, "app", lbApp, "type", kind, "id", name)}
	err = site.WaitFor(r.ctx, "the compliance error of "+name, limit, func(ctx context.Context) (bool, error) {
		err := c.Call(ctx, op, &e)
		return err == nil, err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	took := time.Since(at)
	r.t.Logf("the drift of %s was told after %s", name, took.Round(time.Millisecond))
	r.waitState(lbHost, model.HostError)
	return e, took
}

// soonEnough checks the fastest of a few drifts.
func (r *lbRig) soonEnough(name string, best time.Duration) {
	r.t.Helper()
	if best > driftLimit {
		r.t.Errorf("the drift of %s was told after %s at best, expected at most %s", name, best, driftLimit)
	}
}

// live does a live action, and checks that it went well and leaves no compliance error.
func (r *lbRig) live(op, key, name string) {
	r.t.Helper()
	r.call(client.Op{Name: op, Params: r.p("host", lbHost, "app", lbApp, key, name)}, nil)
	changes := r.settle(lbHost)
	if c := changes[len(changes)-1]; c.Failed() {
		r.t.Errorf("%s failed: %s", op, describe(c))
	}
	r.waitState(lbHost, model.HostReady)
	r.compliant()
}

func (r *lbRig) compliant() {
	r.t.Helper()
	var l struct{ Items []model.ComplianceError }
	r.call(client.Op{Name: "host.compliance.list", Params: r.p("host", lbHost)}, &l)
	if len(l.Items) > 0 {
		r.t.Errorf("there are compliance errors: %s %s: %s", l.Items[0].Type, l.Items[0].Name, l.Items[0].CurrentState)
	}
}

// stopService stops nginx as somebody on the machine would, and waits until that is told.
func (r *lbRig) stopService() (model.ComplianceError, time.Duration) {
	r.t.Helper()
	at := time.Now()
	r.guest.Must(r.t, "systemctl", "stop", "nginx")
	return r.awaitDrift(at, "services", "nginx")
}

func (r *lbRig) serviceDrifts() {
	best := limit
	for _, repair := range []string{"enable", "update", "restart"} {
		e, took := r.stopService()
		best = min(best, took)
		var is, should struct{ Running *bool }
		if err := errors.Join(json.Unmarshal(e.CurrentState, &is), json.Unmarshal(e.ExpectedState, &should)); err != nil {
			r.t.Fatal(err)
		}
		if is.Running == nil || *is.Running || should.Running == nil || !*should.Running {
			r.t.Errorf("observed %s, expected %s", e.CurrentState, e.ExpectedState)
		}
		r.live("host.applications.services."+repair, "svc", "nginx")
		r.answers("second")
	}
	r.soonEnough("the service", best)
}

func (r *lbRig) fileDrifts() {
	good, err := os.ReadFile(filepath.Join(r.guest.Root, lbConf))
	if err != nil {
		r.t.Fatal(err)
	}
	best := limit
	for tries := 0; best > driftLimit && tries < 4; tries++ {
		at := time.Now()
		r.write(lbConf, "# by hand\n"+string(good))
		e, took := r.awaitDrift(at, "files", "nginx.conf")
		best = min(best, took)
		if bytes.Equal(e.CurrentState, e.ExpectedState) || len(e.CurrentState) < 3 {
			r.t.Errorf("observed %s, expected %s", e.CurrentState, e.ExpectedState)
		}
		r.live("host.applications.files.update", "file", "nginx.conf")
		if now, err := os.ReadFile(filepath.Join(r.guest.Root, lbConf)); err != nil || !bytes.Equal(now, good) {
			r.t.Errorf("the file was not repaired: %v\n%s", err, now)
		}
		r.answers("second")
	}
	r.soonEnough("the file", best)
}

// switchService takes the service down as described, and up again.
func (r *lbRig) switchService() {
	for _, s := range []struct{ verb, boot, now string }{{"disable", "disabled", "inactive"}, {"enable", "enabled", "active"}} {
		r.live("host.applications.services."+s.verb, "svc", "nginx")
		boot, _ := r.guest.Run("systemctl", "is-enabled", "nginx")
		now, _ := r.guest.Run("systemctl", "is-active", "nginx")
		if strings.TrimSpace(boot) != s.boot || strings.TrimSpace(now) != s.now {
			r.t.Errorf("after %s nginx is %s at boot and %s now", s.verb, strings.TrimSpace(boot), strings.TrimSpace(now))
		}
	}
	r.answers("second")
}

// badResources installs applications that cannot work on this machine. Each change ends with a text that
// names the trouble, and nothing else changes.
func (r *lbRig) badResources() {
	for _, c := range []struct{ name, doc, want string }{
		{"no-package", `{"name": "no-package", "packages": [{"name": "there-is-no-such-package"}]}`, "there-is-no-such-package"},
		{"no-owner", `{"name": "no-owner", "files": [{"name": "f", "path": "/etc/no-owner", "owner": "nobody-there", "mode": "644", "template": {"name": "f", "delimiter": {"start": "${", "end": "}"}}}]}`, "nobody-there"},
	} {
		r.application(json.RawMessage(c.doc), nil)
		r.call(client.Op{Name: "host.applications.create", Params: r.p("host", lbHost), Body: map[string]string{"application": c.name}}, nil)
		changes := r.settle(lbHost)
		last := changes[len(changes)-1]
		if text := describe(last); !last.Failed() || !strings.Contains(last.Tasks[0].Error, c.want) {
			r.t.Errorf("%s: the change should fail and name %q: %s", c.name, c.want, text)
		} else {
			r.t.Logf("%s: %s", c.name, last.Tasks[0].Error)
		}
		r.call(client.Op{Name: "host.applications.delete", Params: r.p("host", lbHost, "app", c.name)}, nil)
		if changes = r.settle(lbHost); changes[len(changes)-1].Failed() {
			r.t.Errorf("%s cannot be uninstalled: %s", c.name, describe(changes[len(changes)-1]))
		}
	}
	if _, err := os.Stat(filepath.Join(r.guest.Root, "etc/no-owner")); !errors.Is(err, fs.ErrNotExist) {
		r.t.Errorf("the file without an owner is there: %v", err)
	}
	r.waitState(lbHost, model.HostReady)
	r.compliant()
	r.answers("second")
}

// reboot shows what starts at boot: nginx as it was described, and the agent, which goes on.
func (r *lbRig) reboot() {
	r.guest.Reboot(r.t)
	err := site.WaitFor(r.ctx, "nginx after the reboot", limit, func(context.Context) (bool, error) {
		text, err := r.get()
		return text == "second", err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.closed()
	best := limit
	for tries := 0; best > driftLimit && tries < 4; tries++ {
		_, took := r.stopService()
		best = min(best, took)
		r.live("host.applications.services.update", "svc", "nginx")
	}
	r.soonEnough("the service after the reboot", best)
}
