package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-hq/muster/agent/agenttest"
	"github.com/muster-hq/muster/dispatch/wire"
)

// file is a step that writes and watches a file.
func file(t testing.TB, path, content string) wire.Step {
	t.Helper()
	want, err := json.Marshal(map[string]string{"content": content})
	if err != nil {
		t.Fatal(err)
	}
	watch := true
	return wire.Step{
		Collection: "files", Resource: path, Verb: wire.VerbApply, Want: want, Monitor: &watch,
		Origin: wire.Origin{Application: "app", Type: "files", Name: path},
	}
}

// script is a step that appends a line to the file lines and takes its time over it.
func script(t testing.TB, line string) wire.Step {
	t.Helper()
	args, err := json.Marshal(map[string]any{"argv": []string{"sh", "-c", "sleep 0.01; echo " + line + " >> lines; sleep 0.01"}})
	if err != nil {
		t.Fatal(err)
	}
	return wire.Step{Collection: "executables", Resource: line, Verb: wire.VerbAct, Action: "run", Args: args}
}

// The agent's process is killed at random moments of changes of 20 steps, half of them scripts that append
// a line. Every change ends, no line is there twice, nothing told as done is missing, and only one script
// that had begun may be told as interrupted.
func TestKilledAtRandomMoments(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	o := agenttest.Start(t)
	root := t.TempDir()
	args := []string{"run", "--bus", o.URL, "--token-file", o.TokenFile(), "--state", t.TempDir(), "--root", root, "--name", "web1"}
	p := start(t, args...)
	id := o.Agent()
	if o.Name(id) != "web1" {
		t.Errorf("enrolled as %q", o.Name(id))
	}
	interrupted := 0
	for n := 1; n <= 20; n++ {
		var steps []wire.Step
		for i := range 10 {
			steps = append(steps, file(t, fmt.Sprintf("/f%d", i), fmt.Sprint(n)), script(t, fmt.Sprintf("n%d-%d", n, i)))
		}
		order := o.Order(id, n, steps...)
		o.SendUntil(order, "the agent on the bus", func() bool { return len(o.Replies(order.ID)) > 0 })
		pause := time.NewTimer(time.Duration(random.IntN(300)) * time.Millisecond)
		<-pause.C
		p.end(syscall.SIGKILL)
		p = start(t, args...)
		o.SendUntil(order, "the end of "+order.ID, func() bool { return o.Over(order) })
		if judge(t, root, order, o.Replies(order.ID)) {
			interrupted++
		}
	}
	if a := o.Alerts(); len(a) > 0 {
		t.Errorf("what an order does is not drift, but: %+v", a[0])
	}
	t.Logf("%d of 20 kills hit a running script", interrupted)
}

// judge compares what was told with the machine.
func judge(t *testing.T, root string, order wire.Order, told map[int]wire.Reply) (interrupted bool) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "lines"))
	if err != nil && !os.IsNotExist(err) { // killed before its first script: there are no lines
		t.Fatal(err)
	}
	lines := map[string]int{}
	for line := range strings.SplitSeq(string(data), "\n") {
		lines[line]++
	}
	for i, s := range order.Steps {
		r := told[i]
		switch {
		case !interrupted && r.Status == wire.StatusOK, interrupted && r.Status == wire.StatusSkipped:
		case !interrupted && r.Status == wire.StatusInterrupted && s.Verb == wire.VerbAct:
			interrupted = true
		default:
			t.Errorf("%s, step %d: %+v", order.ID, i, r)
		}
		if s.Verb != wire.VerbAct {
			continue
		}
		n := lines[s.Resource]
		if n > 1 || n == 0 && r.Status == wire.StatusOK || n == 1 && r.Status == wire.StatusSkipped {
			t.Errorf("%s, step %d was told as %s, and its line is there %d times", order.ID, i, r.Status, n)
		}
	}
	return interrupted
}

func TestDriftReachesTheOrchestrator(t *testing.T) {
	o := agenttest.Start(t)
	root := t.TempDir()
	start(t, "run", "--bus", "amqps://127.0.0.1:1", "--bus", o.URL, "--token-file", o.TokenFile(), "--state", t.TempDir(), "--root", root)
	order := o.Order(o.Agent(), 1, file(t, "/motd", "hello\n"))
	o.SendUntil(order, "the agent on the bus", func() bool { return o.Over(order) })
	// A machine that is busy with other tests may be slow once: the best of a few counts.
	best := time.Hour
	for n := 2; n < 6 && best > 2*time.Second; n++ {
		before := len(o.Alerts())
		if err := os.WriteFile(filepath.Join(root, "motd"), []byte("by hand\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		agenttest.Wait(t, "the alert", func() bool { return len(o.Alerts()) > before })
		best = min(best, time.Since(begun))
		if a := o.Alerts()[before]; a.Compliant || a.Collection != "files" || a.Resource != "/motd" || a.Origin.Application != "app" {
			t.Errorf("%+v", a)
		}
		repair := o.Order(o.Agent(), n, file(t, "/motd", "hello\n"))
		o.SendUntil(repair, "the end of the drift", func() bool {
			all := o.Alerts()
			return all[len(all)-1].Compliant && o.Over(repair)
		})
	}
	if best > 2*time.Second {
		t.Errorf("told after %v at best", best)
	}
}
