package sys_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-hq/muster/agent/sys"
)

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(60 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			t.Fatalf("not within 60 s: %s", what)
		case <-tick.C:
		}
	}
}

func script(t *testing.T, dir, text string) {
	t.Helper()
	put(t, dir+"/s", "#!/bin/sh\n"+text, 0o755)
}

func TestRunGivesOutputAndExitCode(t *testing.T) {
	m, dir := machine(t, nil)
	put(t, dir+"/job/here", "", 0o600)
	script(t, dir, `ls; cat; echo "$X $1" >&2; exit 7`)
	r, err := m.Run(t.Context(), sys.Command{Argv: []string{"/s", "a b;c"}, Dir: "/job", Env: []string{"X=1"}, Stdin: []byte("in\n")})
	if want := (sys.Result{ExitCode: 7, Stdout: "here\nin\n", Stderr: "1 a b;c\n"}); err != nil || r != want {
		t.Errorf("Run = %+v, %v, want %+v", r, err, want)
	}
	script(t, dir, "kill -TERM $$")
	if r, err := m.Run(t.Context(), sys.Command{Argv: []string{"/s"}}); err != nil || r.ExitCode != 128+15 {
		t.Errorf("ended by a signal: %+v, %v", r, err)
	}
}

func TestRunKeepsHeadAndTail(t *testing.T) {
	m, dir := machine(t, nil)
	script(t, dir, "seq 1 20000")
	r, err := m.Run(t.Context(), sys.Command{Argv: []string{"/s"}, Limit: 100})
	if err != nil || !r.Truncated || !strings.HasPrefix(r.Stdout, "1\n2\n") || !strings.HasSuffix(r.Stdout, "19999\n20000\n") ||
		!strings.Contains(r.Stdout, "bytes left out]") || len(r.Stdout) > 200 {
		t.Errorf("Run = %+v, %v", r, err)
	}
	script(t, dir, "echo out; echo err >&2; exit 4")
	if r, err := m.Run(t.Context(), sys.Command{Argv: []string{"/s"}, Outlives: true}); err != nil || r != (sys.Result{ExitCode: 4, Stdout: "out\n", Stderr: "err\n"}) {
		t.Errorf("output of one that may outlive: %+v, %v", r, err)
	}
	script(t, dir, "printf 0123456789")
	if r, err := m.Run(t.Context(), sys.Command{Argv: []string{"/s"}, Limit: 10}); err != nil || r.Truncated || r.Stdout != "0123456789" {
		t.Errorf("just the limit: %+v, %v", r, err)
	}
}

func TestRunErrorsSayWhatToDo(t *testing.T) {
	m, dir := machine(t, nil)
	put(t, dir+"/plain", "x", 0o644)
	put(t, dir+"/d/x", "", 0o644)
	for program, text := range map[string]string{
		"":             "argv is empty",
		"/none":        "does not exist on this machine",
		"/plain":       "not executable",
		"/d":           "not a regular file",
		"rel/prog":     "absolute",
		"no-such-prog": "not installed",
	} {
		if _, err := m.Run(t.Context(), sys.Command{Argv: []string{program}}); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("Run(%q) = %v, want %q", program, err, text)
		}
	}
}

func alive(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestTheEndOfTheContextKillsTheGroup(t *testing.T) {
	m, dir := machine(t, nil)
	script(t, dir, "sleep 1000 & echo $! > child.tmp; mv child.tmp child; wait")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := m.Run(ctx, sys.Command{Argv: []string{"/s"}})
		ended <- err
	}()
	eventually(t, "the script has a child", func() bool { _, err := os.Stat(dir + "/child"); return err == nil })
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v", err)
	}
	pid := strings.TrimSpace(read(t, dir+"/child"))
	eventually(t, "the child of the script is dead", func() bool { return !alive(pid) })
}

func TestWhatHoldsTheOutputDoesNotHoldTheCaller(t *testing.T) {
	m, dir := machine(t, nil)
	script(t, dir, "sleep 1000 & echo $!")
	start := time.Now()
	r, err := m.Run(t.Context(), sys.Command{Argv: []string{"/s"}})
	if err != nil || r.ExitCode != 0 || time.Since(start) > 60*time.Second {
		t.Errorf("Run = %+v, %v after %v", r, err, time.Since(start))
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(r.Stdout))
	if pid == 0 || !alive(strconv.Itoa(pid)) {
		t.Errorf("what the script left in the background is gone")
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

func TestABusyFileIsWaitedFor(t *testing.T) {
	m, dir := machine(t, nil)
	script(t, dir, "echo ran")
	f, err := os.OpenFile(dir+"/s", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(200*time.Millisecond, func() { f.Close() })
	defer timer.Stop()
	if r, err := m.Run(t.Context(), sys.Command{Argv: []string{"/s"}}); err != nil || r.Stdout != "ran\n" {
		t.Errorf("Run = %+v, %v", r, err)
	}
}

// TestAProgramDiesWithTheAgent kills a process that runs a program, as kill -9 of the agent does.
func TestAProgramDiesWithTheAgent(t *testing.T) {
	const variable = "MUSTER_TEST_AGENT_ROOT"
	if dir := os.Getenv(variable); dir != "" { // the agent
		m, err := sys.New(sys.Options{Root: dir})
		if err != nil {
			t.Fatal(err)
		}
		outlives := os.Getenv("MUSTER_TEST_OUTLIVES") == "1"
		_, err = m.Run(t.Context(), sys.Command{Argv: []string{"/s"}, Outlives: outlives})
		t.Fatalf("the program ended: %v", err)
	}
	for _, outlives := range []bool{false, true} {
		t.Run(fmt.Sprint("outlives=", outlives), func(t *testing.T) {
			_, dir := machine(t, nil)
			script(t, dir, "echo $$ > pid.tmp; mv pid.tmp pid; while [ ! -e go ]; do sleep 0.05; done; echo out && echo err >&2 && touch done")
			agent := exec.Command(os.Args[0], "-test.run", "^TestAProgramDiesWithTheAgent$")
			agent.Env = append(os.Environ(), variable+"="+dir)
			if outlives {
				agent.Env = append(agent.Env, "MUSTER_TEST_OUTLIVES=1")
			}
			if err := agent.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the program runs", func() bool { _, err := os.Stat(dir + "/pid"); return err == nil })
			pid := strings.TrimSpace(read(t, dir+"/pid"))
			_ = agent.Process.Kill()
			_ = agent.Wait()
			if outlives {
				put(t, dir+"/go", "", 0o644)
				eventually(t, "the program ends in peace", func() bool { _, err := os.Stat(dir + "/done"); return err == nil })
				return
			}
			eventually(t, "the program is dead", func() bool { return !alive(pid) })
		})
	}
}

func TestOneExactCallCanFail(t *testing.T) {
	boom := errors.New("boom")
	m, dir := machine(t, func(op sys.Op, name string) error {
		if op == sys.OpExec && name == "/s" {
			return boom
		}
		return nil
	})
	script(t, dir, "touch ran")
	if _, err := m.Run(t.Context(), sys.Command{Argv: []string{"/s"}}); !errors.Is(err, boom) {
		t.Errorf("Run = %v", err)
	}
	if _, err := os.Stat(dir + "/ran"); err == nil {
		t.Error("it ran")
	}
}
