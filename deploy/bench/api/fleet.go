package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/deploy/bench/report"
	"github.com/muster-hq/muster/deploy/site"
	"github.com/muster-hq/muster/fsm/model"
)

const (
	rowFleetAnswer = "a setting that touches 10,000 hosts, each with a handler and a file: answered after, ms"
	rowFleetCPU    = "the same: processor time of the leader until all is planned, s"
	rowFleetOthers = "the same: p99 of other requests meanwhile against before, ms"
)

// fleetSection measures a write that concerns many hosts: three real processes, hosts without agents.
func fleetSection() section {
	return section{name: "fleet", baseline: "before", run: runFleet, rows: []want{
		{rowFleetAnswer, report.AtMost(100)}, {rowFleetCPU, report.AtMost(4)}, {rowFleetOthers, report.AtMost(2)},
	}}
}

// Of the fleet. The rate is that of other requests, half reads of a host and half writes of a setting elsewhere.
const (
	fleetOrg     = "fleet"
	fleetEnv     = "All"
	fleetMakers  = 16
	otherClients = 4
	otherEvery   = 10 * time.Millisecond // for each client
	quietFor     = 6 * time.Second
)

const fleetApplication = `{"name": "web", "services": [{"name": "nginx", "enabled": true}],
	"parameters": [{"name": "Port", "key": "port", "value": 80, "schema": {"type": "integer"}}, {"name": "Root", "key": "root", "value": "/srv"}]}`

const fleetHandlers = `{"handlers": [{"name": "reload", "on": ["port"], "do": [{"action": "update", "resource": "file://site.conf"},
	{"action": "restart", "resource": "service://nginx"}]}]}`

const fleetTemplate = "server {\n  listen ${port};\n  server_name ${_host.name}.example.org;\n  root ${root};\n}\n"

func runFleet(ctx context.Context, r *run) (err error) {
	hosts, rounds := 10_000, 5
	if r.quick {
		hosts, rounds = 200, 1
	}
	dir, err := os.MkdirTemp("", "bench-fleet-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := site.Start(ctx, site.Config{Bin: r.bin, Dir: dir, Nodes: 3})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	f := &fleet{site: s, bin: r.bin, hosts: hosts}
	began := time.Now()
	if err := f.furnish(ctx); err != nil {
		return fmt.Errorf("making the fleet: %w", err)
	}
	r.say("made %d hosts in %s", hosts, time.Since(began).Round(time.Second))
	var answers, cpus, before, during []float64
	for i := range rounds {
		m, err := f.round(ctx, 8000+i)
		if err != nil {
			return fmt.Errorf("round %d: %w", i, err)
		}
		r.say("round %d: answered in %.1f ms, planned in %.1f s with %.2f s of the leader's processor; p99 of others %.1f ms, before %.1f ms",
			i, m.answered, m.took, m.cpu, m.during, m.before)
		answers, cpus = append(answers, m.answered), append(cpus, m.cpu)
		before, during = append(before, m.before), append(during, m.during)
	}
	r.add(report.Against(rowFleetAnswer, report.Median(answers), report.AtMost(100)))
	r.add(report.Against(rowFleetCPU, report.Median(cpus), report.AtMost(4)))
	r.add(report.Compare(rowFleetOthers, during, before, report.AtMost(2)))
	return nil
}

// fleet is a site with many hosts.
type fleet struct {
	site  *site.Site
	bin   string // folder with the built programs
	hosts int
	all   []*client.Client // of the nodes, with a key
}

func hostName(i int) string { return fmt.Sprintf("host%05d", i) }

func in(more ...string) map[string]string {
	p := map[string]string{"org": fleetOrg}
	for i := 0; i+1 < len(more); i += 2 {
		p[more[i]] = more[i+1]
	}
	return p
}

// furnish makes the organization and the hosts, each with its machine. The application gets its file and its handler
// last, so that nothing is queued for them meanwhile.
func (f *fleet) furnish(ctx context.Context) error {
	admin, err := f.site.Client(0)
	if err != nil {
		return err
	}
	var key model.ApplicationKey
	for _, op := range []struct {
		op  client.Op
		out any
	}{
		{client.Op{Name: "organizations.create", Body: map[string]string{"name": fleetOrg}}, nil},
		{client.Op{Name: "applicationkeys.create", Params: in(), Body: map[string]string{"name": "bench", "method": model.KeyToken, "group": "admin"}}, &key},
		{client.Op{Name: "environments.create", Params: in(), Body: map[string]string{"name": fleetEnv}}, nil},
		{client.Op{Name: "environments.create", Params: in(), Body: map[string]string{"name": "Other"}}, nil},
		{client.Op{Name: "applications.create", Params: in(), Body: json.RawMessage(strings.Replace(fleetApplication, `"services": [{"name": "nginx", "enabled": true}],`, "", 1))}, nil},
	} {
		if err := admin.Call(ctx, op.op, op.out); err != nil {
			return err
		}
	}
	for _, n := range f.site.Nodes {
		wire := &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 2 * fleetMakers}}
		c, err := client.New(client.Config{URL: n.API(), AppKey: key.Token, Patience: 30 * time.Second, HTTP: wire})
		if err != nil {
			return err
		}
		f.all = append(f.all, c)
	}
	if err := f.populate(ctx, admin); err != nil {
		return err
	}
	app := in("app", "web", "file", "site.conf")
	file := map[string]any{"name": "site.conf", "path": "/etc/nginx/site.conf", "mode": "644"}
	if err := admin.Call(ctx, client.Op{Name: "files.create", Level: "application", Params: in("app", "web"), Body: file}, nil); err != nil {
		return err
	}
	if err := admin.Upload(ctx, client.Op{Name: "files.content.set", Level: "application", Params: app}, "site.conf", []byte(fleetTemplate)); err != nil {
		return err
	}
	var doc map[string]any
	if err := json.Unmarshal([]byte(fleetHandlers), &doc); err != nil {
		return err
	}
	doc["services"] = []map[string]any{{"name": "nginx", "enabled": true}}
	if err := admin.Call(ctx, client.Op{Name: "applications.update", Params: in("app", "web"), Body: doc}, nil); err != nil {
		return err
	}
	return f.clear(ctx)
}

// each does something for all hosts, some at once.
func (f *fleet) each(ctx context.Context, do func(ctx context.Context, c *client.Client, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for w := range fleetMakers {
		wg.Go(func() {
			for i := w; i < f.hosts && ctx.Err() == nil; i += fleetMakers {
				if err := do(ctx, f.all[w%len(f.all)], i); err != nil {
					cancel(fmt.Errorf("%s: %w", hostName(i), err))
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// clear waits until all is planned, and deletes what is queued.
func (f *fleet) clear(ctx context.Context) error {
	if err := f.planned(ctx); err != nil {
		return err
	}
	return f.each(ctx, func(ctx context.Context, c *client.Client, i int) error {
		return c.Call(ctx, client.Op{Name: "host.changes.clear", Params: in("env", fleetEnv, "host", hostName(i)), Query: map[string][]string{"processed_only": {"false"}}}, nil)
	})
}

// planned waits until no write is being planned.
func (f *fleet) planned(ctx context.Context) error {
	return site.WaitFor(ctx, "all to be planned", 3*time.Minute, func(ctx context.Context) (bool, error) {
		left, err := client.List[model.PendingPlan](ctx, f.all[0], client.Op{Name: "plans.list", Params: in()})
		return err == nil && len(left) == 0, err
	})
}

// fleetTurn is what one round told.
type fleetTurn struct{ answered, took, cpu, before, during float64 }

// round changes the setting and looks on.
func (f *fleet) round(ctx context.Context, port int) (m fleetTurn, err error) {
	leader, err := f.site.Leader(ctx)
	if err != nil {
		return m, err
	}
	others := f.others(ctx)
	start, spent, err := others.mark(f, leader)
	if err != nil {
		return m, err
	}
	select {
	case <-time.After(quietFor):
	case <-ctx.Done():
		return m, ctx.Err()
	}
	set := time.Now()
	quiet, err := processor(f.site.Nodes[leader].Pid())
	if err != nil {
		return m, err
	}
	idleRate := (quiet - spent).Seconds() / set.Sub(start).Seconds()
	body := map[string]any{"newOrUpdatedSettings": []any{map[string]any{"key": "port", "value": port}}}
	op := client.Op{Name: "settings.bulk", Level: "environment", Params: in("env", fleetEnv), Query: map[string][]string{"no_delete": {"true"}}, Body: body}
	if err := f.all[(leader+1)%len(f.all)].Call(ctx, op, nil); err != nil {
		return m, err
	}
	m.answered = float64(time.Since(set).Microseconds()) / 1000
	if err := f.planned(ctx); err != nil {
		return m, err
	}
	end := time.Now()
	busy, err := processor(f.site.Nodes[leader].Pid())
	if err != nil {
		return m, err
	}
	m.took = end.Sub(set).Seconds()
	m.cpu = (busy - quiet).Seconds() - idleRate*m.took
	if m.before, m.during, err = others.end(start, set, end); err != nil {
		return m, err
	}
	if err := f.check(ctx, port); err != nil {
		return m, err
	}
	return m, f.clear(ctx)
}

// check looks at some hosts: each has one change, of a file and a service.
func (f *fleet) check(ctx context.Context, port int) error {
	for range 50 {
		name := hostName(rand.IntN(f.hosts))
		changes, err := f.all[0].Changes(ctx, in("env", fleetEnv, "host", name), false)
		if err != nil {
			return err
		}
		if len(changes) != 1 || len(changes[0].Tasks) != 2 {
			return fmt.Errorf("%s has %d changes for port %d", name, len(changes), port)
		}
	}
	return nil
}

// others are the requests of everybody else.
type others struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	seen   []sample
	err    error
}

type sample struct {
	at   time.Time
	took time.Duration
}

func (f *fleet) others(ctx context.Context) *others {
	ctx, cancel := context.WithCancel(ctx)
	o := &others{cancel: cancel}
	for w := range otherClients {
		o.wg.Go(func() {
			c, tick := f.all[w%len(f.all)], time.NewTicker(otherEvery)
			defer tick.Stop()
			for n := 0; ; n++ {
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
				start := time.Now()
				err := o.ask(ctx, f, c, w, n)
				if ctx.Err() != nil {
					return
				}
				o.mu.Lock()
				o.seen = append(o.seen, sample{start, time.Since(start)})
				o.err = errors.Join(o.err, err)
				o.mu.Unlock()
			}
		})
	}
	return o
}

func (o *others) ask(ctx context.Context, f *fleet, c *client.Client, w, n int) error {
	if n%2 == 0 {
		return c.Call(ctx, client.Op{Name: "hosts.show", Params: in("env", fleetEnv, "host", hostName(rand.IntN(f.hosts)))}, nil)
	}
	body := map[string]any{"newOrUpdatedSettings": []any{map[string]any{"key": "k" + strconv.Itoa(w), "value": n}}}
	return c.Call(ctx, client.Op{Name: "settings.bulk", Level: "environment", Params: in("env", "Other"), Query: map[string][]string{"no_delete": {"true"}}, Body: body}, nil)
}

// mark is when the quiet time begins, and what the leader has spent so far.
func (o *others) mark(f *fleet, leader int) (time.Time, time.Duration, error) {
	spent, err := processor(f.site.Nodes[leader].Pid())
	return time.Now(), spent, err
}

// end gives the p99 of both times, in milliseconds.
func (o *others) end(start, set, end time.Time) (before, during float64, err error) {
	o.cancel()
	o.wg.Wait()
	var a, b []time.Duration
	for _, s := range o.seen {
		switch {
		case s.at.Before(start) || s.at.After(end):
		case s.at.Before(set):
			a = append(a, s.took)
		default:
			b = append(b, s.took)
		}
	}
	return report.Quantile(a, 0.99), report.Quantile(b, 0.99), o.err
}

// processor is what a process has spent of processors.
func processor(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, ok := bytes.Cut(b[slices.Index(b, '(')+1:], []byte(") "))
	fields := strings.Fields(string(rest))
	if !ok || len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat does not read", pid)
	}
	ticks := 0
	for _, f := range fields[11:13] { // utime, stime
		n, err := strconv.Atoi(f)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil // a tick is a hundredth of a second on Linux
}
