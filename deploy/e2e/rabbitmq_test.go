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
}
