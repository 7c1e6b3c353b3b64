package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/muster-hq/muster/api/client"
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "muster-demo-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Setenv(programsIn, dir)
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// programsIn names the folder of the programs that this package's tests build.
const programsIn = "MUSTER_DEMO_TEST_BIN"

// programs builds what the demonstration runs, and the demonstration, unless that is done.
func programs(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: this runs a whole installation")
	}
	dir := os.Getenv(programsIn)
	if _, err := os.Stat(filepath.Join(dir, "demo")); err == nil {
		return dir
	}
	for _, p := range []string{"../../cmd/muster", "../../cmd/muster-agent", "../demo"} {
		cmd := exec.Command("go", "build", "-o", dir+"/", p)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go build %s: %v\n%s", p, err, out)
		}
	}
	return dir
}

// log is what the demonstration prints.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// running are the processes whose command line names a folder.
func running(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(all) == 0 {
		t.Skip("there is no /proc here to look for processes")
	}
	var out []string
	for _, f := range all {
		b, err := os.ReadFile(f)
		if err != nil || !bytes.Contains(b, []byte(dir)) {
			continue // ended meanwhile
		}
		out = append(out, strings.ReplaceAll(string(b), "\x00", " "))
	}
	return out
}

// gone waits until nothing runs on a folder.
func gone(t *testing.T, dir string) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(60 * time.Second)
	for left := running(t, dir); len(left) > 0; left = running(t, dir) {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("still running:\n%s", strings.Join(left, "\n"))
		}
	}
}

func TestDemo(t *testing.T) {
	bin, dir := programs(t), t.TempDir()
	var out log
	if err := run(t.Context(), bin, dir, false, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if !strings.Contains(out.String(), "8 steps, each checked in the API and on disk, in ") || strings.Count(out.String(), " s\n    ") != 8 {
		t.Errorf("the summary is missing:\n%s", &out)
	}
	gone(t, dir)
}

// Each step must be able to fail: a saboteur before, in or after one makes the demonstration end with an error
// that names the step, with nothing left running.
func TestDemoSabotaged(t *testing.T) {
	bin := programs(t)
	cases := []struct {
		name   string
		before int // the step that must fail, counted from 1; the saboteur works right before it
		do     func(ctx context.Context, d *demo) error
		want   []string
		soon   bool // it fails by waiting in vain: for less than usual, then
	}{
		{"the template is another", 4, func(ctx context.Context, d *demo) error {
			c, err := d.client(0)
			if err != nil {
				return err
			}
			op := client.Op{Name: "files.content.set", Level: "application", Params: d.site.In("app", app, "file", "motd")}
			return c.Upload(ctx, op, "motd", []byte("Welcome elsewhere.\n"))
		}, []string{motdPath, `is "Welcome elsewhere.\n"`, "expected"}, false},
		{"a template that cannot be rendered", 4, func(ctx context.Context, d *demo) error {
			c, err := d.client(0)
			if err != nil {
				return err
			}
			op := client.Op{Name: "files.content.set", Level: "application", Params: d.site.In("app", app, "file", "motd")}
			return c.Upload(ctx, op, "motd", []byte("${nobody}\n"))
		}, []string{"web1", "ERROR", "nobody is missing"}, false},
		{"an agent is gone", 4, func(_ context.Context, d *demo) error {
			d.agents[1].Kill()
			return nil
		}, []string{"the agent of web2 ended"}, false},
		{"the file was never written", 4, func(_ context.Context, d *demo) error {
			return os.MkdirAll(filepath.Join(d.agents[1].Root, motdPath, "in the way"), 0o755)
		}, []string{"web2", motdPath}, true},
		{"the drift is nowhere seen", 5, func(_ context.Context, d *demo) error {
			d.agents[0].Kill()
			return nil
		}, []string{"waited", "for the compliance error"}, true},
		{"a script ran too often", 7, func(_ context.Context, d *demo) error {
			return os.WriteFile(filepath.Join(d.agents[1].Root, notePath), []byte("greeting is now: Mind the gap.\n"), 0o600)
		}, []string{notePath + " on web2", "expected"}, false},
		{"a second node is lost", 8, func(ctx context.Context, d *demo) error {
			leader, err := d.site.Leader(ctx)
			if err != nil {
				return err
			}
			d.site.Nodes[(leader+2)%3].Kill()
			return nil
		}, nil, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // most of them wait for what does not come
			var out log
			d := &demo{bin: bin, dir: t.TempDir(), out: &out, patience: patience}
			steps := d.steps()
			inner := steps[c.before-1].do
			steps[c.before-1].do = func(ctx context.Context) (string, error) {
				if c.soon {
					d.patience = 8 * time.Second
				}
				ctx, cancel := context.WithTimeout(ctx, 2*d.patience) // a cluster without a leader waits for longer
				defer cancel()
				if err := c.do(ctx, d); err != nil {
					t.Errorf("the saboteur: %v", err)
				}
				return inner(ctx)
			}
			err := d.show(t.Context(), steps, false)
			if err == nil {
				t.Fatalf("the demonstration noticed nothing:\n%s", &out)
			}
			for _, w := range append(c.want, fmt.Sprintf("step %d, %s", c.before, steps[c.before-1].title)) {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("the error is %q, expected %q in it", err, w)
				}
			}
			if !strings.Contains(out.String(), "FAILED") || strings.Contains(out.String(), "each checked in the API and on disk, in") {
				t.Errorf("it printed\n%s", &out)
			}
			gone(t, d.dir)
		})
	}
}

// TestDemoStatus runs the program itself: with an agent that only ends, its status is 1 and nothing stays.
func TestDemoStatus(t *testing.T) {
	bin := programs(t)
	broken := t.TempDir()
	if err := os.Symlink(filepath.Join(bin, "muster"), filepath.Join(broken, "muster")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(broken, "muster-agent"), []byte("#!/bin/sh\necho no agent today >&2\nexit 3\n"), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	dir := t.TempDir()
	out, err := exec.Command(filepath.Join(bin, "demo"), "-bin", broken, "-dir", dir).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("it ended with %v", err)
	}
	for _, w := range []string{"the demonstration failed: step 3, two agents enrol", "no agent today"} {
		if !strings.Contains(string(out), w) {
			t.Errorf("expected %q in\n%s", w, out)
		}
	}
	gone(t, dir)
}

// TestDemoInterrupted stops the program in the middle, as Ctrl-C would.
func TestDemoInterrupted(t *testing.T) {
	bin, dir := programs(t), t.TempDir()
	var out log
	cmd := exec.Command(filepath.Join(bin, "demo"), "-bin", bin, "-dir", dir)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(2 * time.Minute)
	for !strings.Contains(out.String(), " 4. ") {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("it did not come to step 4:\n%s", &out)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("it ended with status 0 before it was done")
		}
	case <-limit:
		_ = cmd.Process.Kill()
		t.Fatalf("it did not stop:\n%s", &out)
	}
	gone(t, dir)
}

// TestDemoKept ends the program and finds its installation alive, by what was printed.
func TestDemoKept(t *testing.T) {
	bin, dir := programs(t), t.TempDir()
	out, err := exec.Command(filepath.Join(bin, "demo"), "-bin", bin, "-dir", dir, "-keep").CombinedOutput()
	kill := regexp.MustCompile(`(?m)^ *kill [0-9 ]+$`).FindString(string(out))
	if kill != "" {
		defer func() { _ = exec.Command("sh", "-c", kill).Run() }()
	}
	if err != nil || kill == "" {
		t.Fatalf("it ended with %v:\n%s", err, out)
	}
	if n := len(running(t, dir)); n != 5 {
		t.Errorf("%d processes run, expected three nodes and two agents", n)
	}
	export := regexp.MustCompile(`(?m)^ *export .*\n.*$`).FindString(string(out))
	list, err := exec.Command("sh", "-c", export).CombinedOutput()
	if err != nil || !strings.Contains(string(list), "web1") || !strings.Contains(string(list), "web2") {
		t.Errorf("by the printed lines %q: %v\n%s", export, err, list)
	}
	if out, err := exec.Command("sh", "-c", kill).CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", kill, err, out)
	}
	gone(t, dir)
}
