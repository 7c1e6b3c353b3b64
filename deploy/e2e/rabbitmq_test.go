package e2e

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/deploy/site"
	"github.com/muster-hq/muster/dispatch/bus/rabbittest"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/internal/freeport"
)

// asks fetches a file and a sensor of the machine through the broker.
func (r *killRig) asks(root string) {
	r.t.Helper()
	text := strings.Repeat("0123456789abcdef", 40<<10) // of more than one part
	if err := os.WriteFile(filepath.Join(root, "large"), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	var got []byte
	op := client.Op{Name: "host.instance.files.show", Params: r.p("host", "victim"), Query: url.Values{"path": {"/large"}}}
	if r.call(op, &got); string(got) != text {
		r.t.Errorf("a file of the machine: %d bytes of %d", len(got), len(text))
	}
	var status struct{ Status map[string]float64 }
	op = client.Op{Name: "host.instance.status.show", Params: r.p("host", "victim", "coll", "hosts", "sensor", "uptime")}
	if r.call(op, &status); status.Status["uptime"] <= 0 {
		r.t.Errorf("a sensor of the machine: %v", status)
	}
}

// TestRabbitMQLostMidChange stops a real RabbitMQ in the middle of a change, takes all that it has on its disks, and
// starts it again. The change ends well, and no line is there twice.
func TestRabbitMQLostMidChange(t *testing.T) {
	rabbittest.Need(t)
	ports, err := freeport.Take("127.0.0.1", 1)
	if err != nil {
		t.Fatal(err)
	}
	r := &killRig{rig: startSite(t, site.Config{
		Nodes: 1, Bus: fmt.Sprintf("amqp://orchestrator@127.0.0.1:%d", ports[0]), BusPW: rabbittest.PasswordFile(t),
	})}
	b := rabbittest.StartAt(t, rabbittest.Options{Port: ports[0], Auth: "http://" + r.site.Nodes[0].HTTP + "/bus/auth"})
	a, err := r.site.StartAgent(site.AgentConfig{
		Host: "victim", TokenFile: r.enrolToken(1), Root: filepath.Join(r.dir, "root"), Buses: []string{b.AgentURL},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.agent = a
	r.waitState("victim", model.HostReady)
	r.asks(a.Root)
	doc, texts := killApplication()
	for name, text := range texts { // all but the first wait for a file: so long the change is in its middle
		if name != "s0.sh" {
			texts[name] = strings.Replace(text, "\n", "\nwhile [ ! -e go ]; do sleep 0.05; done\n", 1)
		}
	}
	gate := filepath.Join(a.Root, "go")
	open := func() {
		if err := os.WriteFile(gate, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	open()
	r.application(doc, texts)
	r.install("victim", "lines")
	r.set("context", "settings.create", r.p("host", "victim", "app", "lines"), "round", "0")
	r.settle("victim")
	r.check(0)
	count := func() (n int) {
		for s := range scripts {
			n += r.lines()[r.line(strconv.Itoa(s))]
		}
		return n
	}
	if err := os.Remove(gate); err != nil {
		t.Fatal(err)
	}
	r.round++
	r.set("context", "settings.update", r.p("host", "victim", "app", "lines", "key", "round"), "round", strconv.Itoa(r.round))
	if err := site.WaitFor(r.ctx, "the first line", limit, func(context.Context) (bool, error) { return count() > 0, nil }); err != nil {
		t.Fatal(err)
	}
	b.Ctl(t, "stop_app")
	done := count()
	if done == scripts {
		t.Error("the broker stopped after the change was over: nothing was tried")
	}
	b.Ctl(t, "reset")
	open()
	at := time.Now()
	b.Ctl(t, "start_app")
	changes := r.settle("victim")
	if last := changes[len(changes)-1]; last.Failed() {
		t.Errorf("the change failed: %s", describe(last))
	}
	r.check(r.round)
	t.Logf("%d of %d lines when the broker was gone; settled %.1f s after it began to start", done, scripts, time.Since(at).Seconds())
	r.cancels()
}

// cancels cancels a change that waits for another, and then that other in its middle. The first does nothing of what it
// says; the second finishes the step that it is at, and begins no other. The next change is done whole.
func (r *killRig) cancels() {
	r.t.Helper()
	gate := func(step int) string { return filepath.Join(r.agent.Root, "go"+strconv.Itoa(step)) }
	open := func(step int) {
		r.t.Helper()
		if err := os.WriteFile(gate(step), nil, 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
	c, err := r.site.Client(0)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := range scripts { // each step says that it is there, and waits for a file of its own
		name := fmt.Sprintf("s%d.sh", i)
		text := fmt.Sprintf("#!/bin/sh\necho ${round} %d >> lines\nwhile [ ! -e go%d ]; do sleep 0.05; done\n", i, i)
		op := client.Op{Name: "files.content.set", Level: "application", Params: r.p("app", "lines", "file", name)}
		if err := c.Upload(r.ctx, op, name, []byte(text)); err != nil {
			r.t.Fatal(err)
		}
	}
	r.settle("victim")
	first, next := r.round+1, r.round+2
	r.round = next
	for _, round := range []int{first, next} {
		r.set("context", "settings.update", r.p("host", "victim", "app", "lines", "key", "round"), "round", strconv.Itoa(round))
	}
	line := func(round, step int) int { return r.lines()[fmt.Sprintf("%d %d", round, step)] }
	wait := func(what string, ok func() bool) {
		r.t.Helper()
		if err := site.WaitFor(r.ctx, what, limit, func(context.Context) (bool, error) { return ok(), nil }); err != nil {
			r.t.Fatal(err)
		}
	}
	open(0)
	wait("the second step to begin", func() bool { return line(first, 1) == 1 })
	pending, err := c.Changes(r.ctx, r.p("host", "victim"), false)
	if err != nil || len(pending) != 2 {
		r.t.Fatalf("the changes to come: %+v, %v", pending, err)
	}
	num := func(k int) map[string]string { return r.p("host", "victim", "num", strconv.Itoa(pending[k].OrderNum)) }
	r.call(client.Op{Name: "host.changes.cancel", Params: num(1)}, nil)
	var ended client.Change
	if r.call(client.Op{Name: "host.changes.show", Params: num(1)}, &ended); ended.Pending() || !ended.Failed() {
		r.t.Errorf("a change that was not begun, cancelled: %s", describe(ended))
	}
	r.call(client.Op{Name: "host.changes.cancel", Params: num(0)}, nil)
	wait("the agent to hear of it", func() bool { return strings.Contains(r.agent.Tail(), "the order is cancelled") })
	for i := range scripts {
		open(i)
	}
	r.settle("victim")
	r.call(client.Op{Name: "host.changes.show", Params: num(0)}, &ended)
	for step := range scripts {
		want := 0
		if step <= 1 { // the second one was at work when the agent heard of it
			want = 1
		}
		if got := line(first, step); got != want || line(next, step) != 0 {
			r.t.Errorf("step %d: %d lines of the change that was cancelled in its middle, expected %d, and %d of the one before its begin: %s",
				step, got, want, line(next, step), describe(ended))
		}
	}
	if !ended.Failed() || ended.Pending() {
		r.t.Errorf("the change that was cancelled in its middle: %s", describe(ended))
	}
	r.round++
	r.set("context", "settings.update", r.p("host", "victim", "app", "lines", "key", "round"), "round", strconv.Itoa(r.round))
	if changes := r.settle("victim"); changes[len(changes)-1].Failed() {
		r.t.Errorf("the change after both: %s", describe(changes[len(changes)-1]))
	}
	for step := range scripts {
		if line(r.round, step) != 1 {
			r.t.Errorf("step %d of the change after both: %d lines", step, line(r.round, step))
		}
	}
}
