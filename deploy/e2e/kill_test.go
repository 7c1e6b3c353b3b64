package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/deploy/site"
	"github.com/muster-hq/muster/fsm/model"
)

// scripts is how many steps of a change run a script; as many write it.
const scripts = 10

// trials is how often each victim is killed.
const trials = 20

// killApplication has scripts that each append one line, and a handler that writes and runs them in turn: a
// change of 20 steps.
func killApplication() (json.RawMessage, map[string]string) {
	type m = map[string]any
	var files, do []m
	texts := map[string]string{}
	for i := range scripts {
		name := fmt.Sprintf("s%d.sh", i)
		files = append(files, m{"name": name, "path": "/opt/" + name, "mode": "755", "template": m{"name": name, "delimiter": m{"start": "${", "end": "}"}}})
		do = append(do, m{"action": "update", "resource": "file://" + name}, m{"action": "execute", "resource": "file://" + name})
		texts[name] = fmt.Sprintf("#!/bin/sh\necho ${round} %d >> lines\n", i)
	}
	b, _ := json.Marshal(m{
		"name": "lines", "files": files, "directories": []m{{"name": "opt", "path": "/opt", "mode": "755"}},
		"parameters": []m{{"name": "Round", "key": "round", "schema": m{"type": "string"}, "value": "none"}},
		"handlers":   []m{{"name": "round", "on": []string{"round"}, "do": do}},
	})
	return b, texts
}

// killRig is a site with one agent and the application installed on it.
type killRig struct {
	*rig
	agent *site.Agent
	round int
	mid   int // kills that came before the change was over
	rnd   *rand.Rand
}

// TestKill kills the leader, the node that the agent is connected to, and the agent, each at random moments
// of a change of 20 steps. Every change ends; no line is there twice; nothing acknowledged is missing.
func TestKill(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("MUSTER_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("MUSTER_SEED: %v", err)
		}
		seed = n
	}
	t.Logf("MUSTER_SEED=%d", seed)
	r := &killRig{rig: startSite(t, site.Config{Nodes: 3}), rnd: rand.New(rand.NewPCG(seed, 1))}
	token := r.enrolToken(1)
	// The agent knows one hub only at a time, so that the test knows which node it hangs on.
	a, err := r.site.StartAgent(site.AgentConfig{Host: "victim", TokenFile: token, Root: filepath.Join(r.dir, "root")})
	if err != nil {
		t.Fatal(err)
	}
	r.agent = a
	r.waitState("victim", model.HostReady)
	doc, texts := killApplication()
	r.application(doc, texts)
	r.install("victim", "lines")
	r.set("context", "settings.create", r.p("host", "victim", "app", "lines"), "round", "0")
	r.settle("victim")
	r.check(0)

	victims := []struct {
		name string
		find func() (kill func() (restart func())) // before the change, so that the moment is the test's own
	}{
		{"leader", r.killLeader},
		{"node of the agent", r.killNodeOfAgent},
		{"agent", r.killAgent},
	}
	interrupted := 0
	for _, v := range victims {
		r.mid = 0
		for i := range trials {
			began := time.Now()
			n := r.trial(v.name, i, v.find)
			t.Logf("%s, trial %d: %.1f s, %d interrupted", v.name, i, time.Since(began).Seconds(), n)
			interrupted += n
			if n > 0 && v.name != "agent" {
				t.Errorf("%s, trial %d: a step was interrupted although the agent lived", v.name, i)
			}
		}
		t.Logf("%s: %d of %d kills came before the change was over", v.name, r.mid, trials)
		if r.mid < trials/2 {
			t.Errorf("%s: hardly any kill came in the middle of a change: nothing was tried", v.name)
		}
	}
	t.Logf("%d trials, %d steps interrupted, %d lines written", len(victims)*trials, interrupted, r.round*scripts)
}

// trial changes the setting, kills at a random moment, and checks how it ended. It gives the number of
// interrupted steps.
func (r *killRig) trial(victim string, i int, find func() func() func()) int {
	r.t.Helper()
	r.round++
	value := strconv.Itoa(r.round)
	kill := find()
	r.set("context", "settings.update", r.p("host", "victim", "app", "lines", "key", "round"), "round", value)
	after := r.moment()
	restart := kill()
	if r.lines()[r.line(strconv.Itoa(scripts-1))] == 0 {
		r.mid++
	}
	if victim == "agent" || r.rnd.IntN(2) == 0 { // a node may stay away until the change is over
		restart()
		restart = func() {}
	}
	interrupted := 0
	for try := 0; ; try++ {
		changes := r.settle("victim")
		last := changes[len(changes)-1]
		n, where := interruptedIn(last)
		interrupted += n
		if !last.Failed() {
			break
		}
		if n == 0 || try > scripts {
			r.t.Fatalf("%s, trial %d, killed %s: the change failed: %s", victim, i, after, describe(last))
		}
		// Nobody but the operator can tell whether the cut off script ran: the test looks, as an operator would.
		ran := r.lines()[r.line(where)] > 0
		if ran && n == undone(last) {
			break // it was the last step, and it is done: there is nothing to retry
		}
		q := url.Values{"skip_interrupted": {strconv.FormatBool(ran)}}
		r.call(client.Op{Name: "host.changes.retry", Params: r.p("host", "victim", "num", strconv.Itoa(last.OrderNum)), Query: q}, nil)
	}
	restart()
	r.check(r.round)
	return interrupted
}

// moment waits for a random moment of the change: until some of its lines are written, and a little more.
func (r *killRig) moment() string {
	r.t.Helper()
	n, more := r.rnd.IntN(scripts), time.Duration(r.rnd.IntN(8000))*time.Microsecond
	err := site.WaitFor(r.ctx, "the change to begin", limit, func(context.Context) (bool, error) {
		if n == 0 {
			return true, nil
		}
		tick := time.NewTicker(time.Millisecond) // finer than WaitFor: a step takes a few milliseconds
		defer tick.Stop()
		for range 1000 {
			if got := r.lines(); got[r.line(strconv.Itoa(n-1))] > 0 {
				return true, nil
			}
			<-tick.C
		}
		return false, nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	timer := time.NewTimer(more)
	<-timer.C
	return fmt.Sprintf("%s after %d lines", more, n)
}

// line is the line that the script of a task writes in this round; tasks are update, execute, update, ...
func (r *killRig) line(script string) string { return strconv.Itoa(r.round) + " " + script }

// interruptedIn counts the interrupted tasks of a change and names the script of the first.
func interruptedIn(c client.Change) (int, string) {
	n, script := 0, ""
	for _, t := range c.Tasks {
		if t.Interrupted {
			n++
			if i := strings.LastIndex(t.Description, "s"); script == "" && i >= 0 {
				script = digits(t.Description)
			}
		}
	}
	return n, script
}

// undone counts the tasks of a change that are not known to be done.
func undone(c client.Change) int {
	n := 0
	for _, t := range c.Tasks {
		if t.Status != model.TaskOK {
			n++
		}
	}
	return n
}

// digits is the number in the script's name within a description.
func digits(s string) string {
	i := strings.Index(s, ".sh")
	if i < 1 {
		return ""
	}
	return s[i-1 : i]
}

func describe(c client.Change) string {
	var b strings.Builder
	for _, t := range c.Tasks {
		fmt.Fprintf(&b, "\n  %2d %s %s %s", t.OrderNum, t.Status, t.Description, t.Error)
	}
	return b.String()
}

// lines counts each line that the scripts wrote.
func (r *killRig) lines() map[string]int {
	r.t.Helper()
	b, err := os.ReadFile(filepath.Join(r.agent.Root, "lines"))
	if err != nil {
		r.t.Fatal(err)
	}
	m := map[string]int{}
	for _, l := range strings.Fields(strings.ReplaceAll(string(b), " ", "~")) {
		m[strings.ReplaceAll(l, "~", " ")]++
	}
	return m
}

// check looks that every line of every round up to this one is there once.
func (r *killRig) check(upTo int) {
	r.t.Helper()
	got := r.lines()
	for round := 0; round <= upTo; round++ {
		for s := range scripts {
			l := fmt.Sprintf("%d %d", round, s)
			if got[l] != 1 {
				r.t.Fatalf("line %q is there %d times, expected once", l, got[l])
			}
		}
	}
}

func (r *killRig) killLeader() func() func() {
	i, err := r.site.Leader(r.ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	return func() func() { return r.killNode(i) }
}

func (r *killRig) killNode(i int) func() {
	r.t.Helper()
	n := r.site.Nodes[i]
	n.Kill()
	return func() {
		if err := n.Start(); err != nil {
			r.t.Fatal(err)
		}
		if err := r.site.WaitReady(r.ctx, i); err != nil {
			r.t.Fatal(err)
		}
	}
}

// killNodeOfAgent finds the node by the agent's open connection to its hub.
func (r *killRig) killNodeOfAgent() func() func() {
	r.t.Helper()
	var i int
	err := site.WaitFor(r.ctx, "the agent's connection", limit, func(context.Context) (bool, error) {
		n, ok, err := connectedTo(r.agent.Pid(), r.site.Nodes)
		i = n
		return ok, err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return func() func() { return r.killNode(i) }
}

func (r *killRig) killAgent() func() func() {
	return func() func() {
		r.agent.Kill()
		return func() {
			if err := r.agent.Start(); err != nil {
				r.t.Fatal(err)
			}
		}
	}
}

// connectedTo tells to which node's hub a process has an established connection, by the kernel's tables.
func connectedTo(pid int, nodes []*site.Node) (int, bool, error) {
	inodes := map[string]bool{}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return 0, false, err
	}
	for _, fd := range fds {
		l, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name()))
		if n, ok := strings.CutPrefix(l, "socket:["); err == nil && ok {
			inodes[strings.TrimSuffix(n, "]")] = true
		}
	}
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", pid))
	if err != nil {
		return 0, false, err
	}
	for _, l := range strings.Split(string(table), "\n")[1:] {
		f := strings.Fields(l)
		if len(f) < 10 || f[3] != "01" || !inodes[f[9]] {
			continue
		}
		_, hexPort, _ := strings.Cut(f[2], ":")
		port, err := strconv.ParseUint(hexPort, 16, 16)
		if err != nil {
			return 0, false, err
		}
		for i, n := range nodes {
			if strings.HasSuffix(n.BusAddr, ":"+strconv.FormatUint(port, 10)) {
				return i, true, nil
			}
		}
	}
	return 0, false, nil
}
