package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/muster-hq/muster/agent/agenttest"
)

// asAgent in the environment makes the test binary be the agent: a real process, to be killed.
const asAgent = "MUSTER_TEST_AS_AGENT"

func TestMain(m *testing.M) {
	if os.Getenv(asAgent) != "" {
		os.Exit(command(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// process is one running agent.
type process struct {
	t    testing.TB
	cmd  *exec.Cmd
	out  *buffer
	done chan struct{}
	once sync.Once
}

// buffer is a bytes.Buffer for two goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func start(t testing.TB, args ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return startBinary(t, exe, args...)
}

func startBinary(t testing.TB, exe string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(exe, args...), out: &buffer{}, done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), asAgent+"=1")
	p.cmd.Stderr, p.cmd.Stdout = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.end(syscall.SIGKILL)
		if t.Failed() {
			t.Logf("the agent said:\n%s", p.out)
		}
	})
	return p
}

// end sends a signal and waits for the process's end. It returns the exit status, -1 for a signal's end.
func (p *process) end(sig syscall.Signal) int {
	p.once.Do(func() { _ = p.cmd.Process.Signal(sig) })
	<-p.done
	return p.cmd.ProcessState.ExitCode()
}

func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = command(context.Background(), args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestCommandLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("muster-enrol-1.nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	state := t.TempDir()
	bus := "amqp://127.0.0.1:1"
	for name, c := range map[string]struct {
		args []string
		code int
		text string // in what is printed
	}{
		"nothing":             {nil, 2, "A first start"},
		"help":                {[]string{"--help"}, 0, "--token-file"},
		"help of run":         {[]string{"run", "--help"}, 0, "repeat it for more endpoints"},
		"version":             {[]string{"--version"}, 0, "muster-agent "},
		"an unknown command":  {[]string{"walk"}, 2, `unknown command "walk"`},
		"an unknown flag":     {[]string{"run", "--fast"}, 2, "-fast"},
		"a stray argument":    {[]string{"run", "now"}, 2, `takes no argument "now"`},
		"no bus":              {[]string{"run", "--state", state}, 2, "--bus is missing"},
		"no token":            {[]string{"run", "--bus", bus, "--state", state}, 2, "give an enrolment token with --token-file"},
		"no token file":       {[]string{"run", "--bus", bus, "--state", state, "--token-file", file + "x"}, 1, "no such file"},
		"a bad token":         {[]string{"run", "--bus", bus, "--state", state, "--token-file", file}, 1, "--token-file " + file},
		"no root":             {[]string{"run", "--bus", bus, "--state", state, "--root", file}, 1, "is not a directory, and none can be made there"},
		"state is a file":     {[]string{"run", "--bus", bus, "--state", file}, 1, "state directory"},
		"a period too short":  {[]string{"run", "--bus", bus, "--check-interval", "1ms"}, 2, "at least 1s"},
		"status of nobody":    {[]string{"status", "--state", state}, 0, "start the agent with --token-file first"},
		"status as json":      {[]string{"status", "--state", state, "-o", "json"}, 0, `"member": false`},
		"status in ink":       {[]string{"status", "-o", "ink"}, 2, "use table or json"},
		"status of a journal": {[]string{"status", "--state", "/proc/self/nothing"}, 0, "holds no member"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := run(t, c.args...)
			if code != c.code || !strings.Contains(stdout+stderr, c.text) {
				t.Errorf("status %d, want %d; printed:\n%s%s", code, c.code, stdout, stderr)
			}
		})
	}
}

func TestRefusedAndInUse(t *testing.T) {
	o := agenttest.Start(t)
	o.Refuse("the token was used up on 2026-01-01: ask for a new one")
	state := t.TempDir()
	args := []string{"run", "--bus", o.URL, "--token-file", o.TokenFile(), "--state", state}
	p := start(t, args...)
	<-p.done
	if code := p.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(p.out.String(), "refused: the token was used up on 2026-01-01") {
		t.Fatalf("status %d", code)
	}
	o.Refuse("")
	p = start(t, args...)
	o.Agent()
	second := start(t, args...)
	<-second.done
	if code := second.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(second.out.String(), "in use by another agent") {
		t.Errorf("a second agent on the same directory ended with %d: %s", code, second.out)
	}
	agenttest.Wait(t, "a heartbeat", func() bool { return len(o.Presence()) > 0 })
	if code := p.end(syscall.SIGTERM); code != 0 {
		t.Errorf("SIGTERM ended the agent with %d", code)
	}
	agenttest.Wait(t, "the goodbye", func() bool { ps := o.Presence(); return ps[len(ps)-1].Bye })
	code, stdout, _ := run(t, "status", "--state", state)
	if code != 0 || !strings.Contains(stdout, "Acme") || !strings.Contains(stdout, o.Agent()) {
		t.Errorf("status: %d %s", code, stdout)
	}
	for _, name := range []string{"keys.json", "identity.json", "journal", "ca.pem"} {
		info, err := os.Stat(filepath.Join(state, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want mode 0600", name, info, err)
		}
	}
	if strings.Contains(p.out.String(), fmt.Sprintf("%x", o.Token.Seed)) || strings.Contains(p.out.String(), o.Token.String()) {
		t.Error("the token is in the log")
	}
	// The token is not needed any more, and not even looked for.
	start(t, "run", "--bus", o.URL, "--token-file", "/nowhere", "--state", state)
	n := len(o.Presence())
	agenttest.Wait(t, "a heartbeat of the second start", func() bool { return len(o.Presence()) > n })
}
