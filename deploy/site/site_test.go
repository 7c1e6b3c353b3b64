package site

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func sh(t *testing.T, script string) *Process {
	t.Helper()
	p := newProcess("it", filepath.Join(t.TempDir(), "sub", "log"), []string{"GREETING=hello"}, "sh", "-c", script)
	t.Cleanup(func() { p.Kill() })
	return p
}

func start(t *testing.T, p *Process) {
	t.Helper()
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
}

// said waits until a process has written a word.
func said(t *testing.T, p *Process, word string) {
	t.Helper()
	err := WaitFor(t.Context(), word, 60*time.Second, func(context.Context) (bool, error) { return strings.Contains(p.Tail(), word), nil })
	if err != nil {
		t.Fatalf("%v; it said %q", err, p.Tail())
	}
}

func TestProcessStartsStopsAndStartsAgain(t *testing.T) {
	p := sh(t, `trap 'echo bye; exit 0' TERM; echo "$GREETING"; while :; do sleep 0.02; done`)
	if p.Running() || p.Pid() != 0 || p.Stop() != nil {
		t.Error("before its start it runs")
	}
	start(t, p)
	said(t, p, "hello")
	if err := p.Start(); err == nil || !strings.Contains(err.Error(), "it is running") {
		t.Errorf("started twice: %v", err)
	}
	if err := p.Stop(); err != nil || p.Running() {
		t.Errorf("it stopped with %v", err)
	}
	said(t, p, "bye")
	first := p.Pid()
	start(t, p)
	if p.Pid() == first {
		t.Error("the second process has the first one's id")
	}
	p.Kill()
	if p.Running() || p.Stop() != nil {
		t.Error("killed, it runs")
	}
}

func TestProcessThatEndsBadlyIsTold(t *testing.T) {
	p := sh(t, `trap 'exit 7' TERM; echo ready; while :; do sleep 0.02; done`)
	start(t, p)
	said(t, p, "ready")
	if err := p.Stop(); err == nil || !strings.Contains(err.Error(), "7") {
		t.Errorf("it ended with status 7, and Stop tells %v", err)
	}
	absent := newProcess("absent", filepath.Join(t.TempDir(), "log"), nil, filepath.Join(t.TempDir(), "nothing"))
	if err := absent.Start(); err == nil || !strings.Contains(err.Error(), "start absent") {
		t.Errorf("a program that is not there: %v", err)
	}
	if absent.Running() {
		t.Error("what could not start runs")
	}
}

func TestTailIsTheEnd(t *testing.T) {
	p := sh(t, `i=0; while [ $i -lt 1000 ]; do echo "line $i"; i=$((i+1)); done`)
	start(t, p)
	<-p.Done()
	if tail := p.Tail(); len(tail) > 3000 || !strings.HasSuffix(tail, "line 999\n") {
		t.Errorf("the tail has %d bytes and ends in %q", len(tail), tail[max(0, len(tail)-20):])
	}
}

func TestWaitFor(t *testing.T) {
	broken := errors.New("broken")
	tries := 0
	err := WaitFor(t.Context(), "the third try", time.Minute, func(context.Context) (bool, error) { tries++; return tries == 3, nil })
	if err != nil || tries != 3 {
		t.Errorf("%v after %d tries", err, tries)
	}
	err = WaitFor(t.Context(), "a miracle", 50*time.Millisecond, func(context.Context) (bool, error) { return false, broken })
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "for a miracle") {
		t.Errorf("over time: %v", err)
	}
	at := time.Now()
	err = WaitFor(t.Context(), "a miracle", time.Minute, func(context.Context) (bool, error) { return false, GiveUp(broken) })
	if !errors.Is(err, broken) || time.Since(at) > 50*time.Second {
		t.Errorf("given up: %v after %s", err, time.Since(at))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := WaitFor(ctx, "a miracle", time.Minute, func(context.Context) (bool, error) { return false, nil }); err == nil {
		t.Error("a context that ended is no error")
	}
}

// A node that only ends is told at once, with its last words, and nothing stays.
func TestStartTellsOfANodeThatEnds(t *testing.T) {
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "muster"), []byte("#!/bin/sh\necho no node today \"$@\"\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	s, err := Start(t.Context(), Config{Bin: bin, Dir: t.TempDir(), Nodes: 1, Bus: "amqp://broker", BusPW: "/pw", Args: []string{"--more"}, Debug: true})
	if err == nil || s != nil {
		t.Fatal("it started")
	}
	for _, w := range []string{"n1 ended", "no node today server --name n1 --data ", "--bus amqp://broker --bus-password-file /pw", "--log-level debug --more"} {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error is %q, expected %q in it", err, w)
		}
	}
}
