// Package e2e tests the built programs as a whole: nodes, agents and guests as a user would run them.
package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/deploy/site"
	"github.com/muster-hq/muster/fsm/model"
)

// limit is how long one wait of these tests may take.
const limit = 60 * time.Second

// rig is a running site, and what a test does with it as the administrator.
type rig struct {
	t    *testing.T
	ctx  context.Context
	dir  string
	site *site.Site
}

// programs builds muster and muster-agent once for this test process and gives their folder.
func programs(t *testing.T) string {
	t.Helper()
	dir, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var build = sync.OnceValues(func() (string, error) {
	dir := filepath.Join("..", "..", "bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	cmd := exec.Command("make", "-s", "build")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Stderr, cmd.Stdout = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return "", err
	}
	return filepath.Abs(dir)
})

// startSite starts nodes with the site's organization and environment on them, and stops them with the test.
func startSite(t *testing.T, cfg site.Config) *rig {
	t.Helper()
	cfg.Bin = programs(t)
	cfg.Dir = t.TempDir()
	s, err := site.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, ctx: t.Context(), dir: cfg.Dir, site: s}
	t.Cleanup(func() {
		if t.Failed() {
			r.logs()
		}
		s.Stop()
	})
	r.call(client.Op{Name: "organizations.create", Body: map[string]string{"name": s.Org}}, nil)
	r.call(client.Op{Name: "environments.create", Params: r.p(), Body: map[string]string{"name": s.Env}}, nil)
	return r
}

// logs shows how the logs of all processes end, and keeps them whole in the folder MUSTER_KEEP, when it is
// set, with what each process was doing.
func (r *rig) logs() {
	if keep := os.Getenv("MUSTER_KEEP"); keep != "" {
		for _, n := range r.site.Nodes {
			n.Dump()
		}
		for _, a := range r.site.Agents {
			a.Dump()
		}
		if err := os.CopyFS(keep, os.DirFS(r.dir)); err != nil {
			r.t.Logf("keep %s: %v", keep, err)
		}
	}
	for _, n := range r.site.Nodes {
		r.t.Logf("== %s\n%s", n.Name, n.Tail())
	}
	for _, a := range r.site.Agents {
		r.t.Logf("== %s\n%s", a.Host, a.Tail())
	}
}

// p is the parameters of an operation in the site's organization and environment.
func (r *rig) p(more ...string) map[string]string { return r.site.In(more...) }

// try does an operation on whichever node answers; what is unavailable is tried again. What is in conflict after a try of
// which nobody knows whether it was done has been done by that one.
func (r *rig) try(op client.Op, out any) error {
	var last error
	unsure := false
	return site.WaitFor(r.ctx, op.Name, limit, func(ctx context.Context) (bool, error) {
		for i := range r.site.Nodes {
			c, err := r.site.Client(i)
			if err == nil {
				err = c.Call(ctx, op, out)
			}
			code := model.CodeOf(err)
			if err == nil || unsure && out == nil && code == model.Conflict {
				return true, nil
			}
			unsure = unsure || code == model.Unknown || client.IsUnreachable(err)
			if last = err; !client.IsUnreachable(err) && code != model.Unavailable && code != model.Unknown {
				r.t.Helper()
				r.t.Fatalf("%s: %v", op.Name, err)
			}
		}
		return false, last
	})
}

func (r *rig) call(op client.Op, out any) {
	r.t.Helper()
	if err := r.try(op, out); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) enrolToken(uses int) string {
	r.t.Helper()
	f, err := r.site.EnrolToken(r.ctx, uses)
	if err != nil {
		r.t.Fatal(err)
	}
	return f
}

// application posts an application and the contents of its files.
func (r *rig) application(doc json.RawMessage, texts map[string]string) {
	r.t.Helper()
	var named struct{ Name string }
	if err := json.Unmarshal(doc, &named); err != nil {
		r.t.Fatal(err)
	}
	r.call(client.Op{Name: "applications.create", Params: r.p(), Body: doc}, nil)
	c, err := r.site.Client(0)
	if err != nil {
		r.t.Fatal(err)
	}
	for name, text := range texts {
		op := client.Op{Name: "files.content.set", Level: "application", Params: r.p("app", named.Name, "file", name)}
		if err := c.Upload(r.ctx, op, name, []byte(text)); err != nil {
			r.t.Fatal(err)
		}
	}
}

// install installs an application and waits until all its changes are over and went well.
func (r *rig) install(host, app string) {
	r.t.Helper()
	r.call(client.Op{Name: "host.applications.create", Params: r.p("host", host), Body: map[string]string{"application": app}}, nil)
	for _, c := range r.settle(host) {
		if c.Failed() {
			r.t.Fatalf("installing %s on %s: %s", app, host, describe(c))
		}
	}
}

// set gives a setting its value.
func (r *rig) set(level, op string, params map[string]string, key string, value any) {
	r.t.Helper()
	r.call(client.Op{Name: op, Level: level, Params: params, Body: map[string]any{"key": key, "value": value}}, nil)
}

// settle waits until no change of the host is open, and gives all of them.
func (r *rig) settle(host string) []client.Change {
	r.t.Helper()
	var all []client.Change
	err := site.WaitFor(r.ctx, "the changes of "+host+" to end", limit, func(context.Context) (bool, error) {
		all = nil
		var l struct{ Items []client.Change }
		op := client.Op{Name: "host.changes.list", Params: r.p("host", host), Query: map[string][]string{"show_processed": {"true"}}}
		if err := r.try(op, &l); err != nil {
			return false, err
		}
		all = l.Items
		for _, c := range all {
			if c.Pending() {
				return false, nil
			}
		}
		return len(all) > 0, nil
	})
	if err != nil {
		if len(all) > 0 {
			r.t.Logf("the last change: %s", describe(all[len(all)-1]))
		}
		r.t.Fatal(err)
	}
	return all
}

// waitState waits until a host has a state.
func (r *rig) waitState(host string, want model.HostState) {
	r.t.Helper()
	err := site.WaitFor(r.ctx, host+" to be "+string(want), limit, func(context.Context) (bool, error) {
		var h model.Host
		for _, a := range r.site.Agents {
			select {
			case <-a.Done():
				r.t.Fatalf("the agent of %s ended:\n%s", a.Host, a.Tail())
			default:
			}
		}
		c, err := r.site.Client(0)
		if err != nil {
			return false, err
		}
		err = c.Call(r.ctx, client.Op{Name: "hosts.show", Params: r.p("host", host)}, &h)
		return h.State == want, err
	})
	if err != nil {
		var l json.RawMessage
		r.call(client.Op{Name: "host.compliance.list", Params: r.p("host", host)}, &l)
		r.t.Fatalf("%v; its compliance errors: %s", err, l)
	}
}
