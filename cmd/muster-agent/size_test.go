package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/agent/agenttest"
	"github.com/muster-hq/muster/dispatch/wire"
)

// The budgets of docs/design.md section 7.
const (
	binaryBudget = 15 // MB
	memoryBudget = 25 // MB, resident, idle, with 200 watched resources
)

// build makes the agent as it is released and returns its path and size in megabytes.
func build(tb testing.TB) (path string, size float64) {
	tb.Helper()
	path = filepath.Join(tb.TempDir(), "muster-agent")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("build the agent: %v\n%s", err, out)
	}
	info, err := os.Stat(path)
	if err != nil {
		tb.Fatal(err)
	}
	return path, float64(info.Size()) / (1 << 20)
}

func TestTheBinaryIsSmall(t *testing.T) {
	_, size := build(t)
	t.Logf("%.1f MB", size)
	if size > binaryBudget {
		t.Errorf("the agent has %.1f MB on disk; its budget is %d", size, binaryBudget)
	}
}

// BenchmarkIdleMemory prints the resident memory of an agent that watches 200 files and has nothing to do,
// and its share of a core.
func BenchmarkIdleMemory(b *testing.B) {
	exe, size := build(b)
	o := agenttest.Start(b)
	p := startBinary(b, exe, "run", "--bus", o.URL, "--token-file", o.TokenFile(), "--state", b.TempDir(), "--root", b.TempDir())
	var steps []wire.Step
	for i := range 200 {
		steps = append(steps, file(b, fmt.Sprintf("/f%d", i), strings.Repeat(fmt.Sprint(i, "\n"), 500)))
	}
	order := o.Order(o.Agent(), 1, steps...)
	agenttest.Wait(b, "the agent on the bus", func() bool {
		if len(o.Presence()) == 0 {
			return false
		}
		o.Send(order)
		return true
	})
	agenttest.Wait(b, "200 files", func() bool { return o.Over(order) })
	wait(8 * time.Second) // the last Watch begins, the first garbage goes
	before, idle := cpu(b, p.cmd.Process.Pid), 10*time.Second
	wait(idle)
	used := cpu(b, p.cmd.Process.Pid) - before
	memory := rss(b, p.cmd.Process.Pid)
	for b.Loop() {
		_ = rss(b, p.cmd.Process.Pid)
	}
	b.ReportMetric(memory, "MB-resident")
	b.ReportMetric(100*used.Seconds()/idle.Seconds(), "%core")
	b.ReportMetric(size, "MB-binary")
	if memory > memoryBudget {
		b.Errorf("the budget for idle memory is %d MB", memoryBudget)
	}
}

// wait lets an idle process be idle; there is no condition to wait for.
func wait(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
}

// rss is the resident memory of a process in megabytes.
func rss(tb testing.TB, pid int) float64 {
	tb.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		tb.Skipf("this system has no /proc to measure with: %v", err)
	}
	_, rest, _ := strings.Cut(string(data), "VmRSS:")
	var kb float64
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		tb.Fatal(err)
	}
	return kb / 1024
}

// cpu is the time that a process has used, counted in ticks of 10 ms.
func cpu(tb testing.TB, pid int) time.Duration {
	tb.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		tb.Fatal(err)
	}
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	var user, system int64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}
