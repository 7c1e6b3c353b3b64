package executables_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/agent/resource/executables"
	"github.com/muster-hq/muster/agent/sys"
)

var _ resource.Actor = (*executables.Collection)(nil)

func collection(t *testing.T, script string) (*executables.Collection, string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(dir, 0o755), os.MkdirAll(dir+"/srv", 0o755),
		os.WriteFile(dir+"/srv/run.sh", []byte("#!/bin/sh\n"+script), 0o755)); err != nil {
		t.Fatal(err)
	}
	m, err := sys.New(sys.Options{Root: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return executables.New(m, executables.Options{}), dir
}

func run(t *testing.T, c *executables.Collection, args string) (resource.Output, error) {
	t.Helper()
	return c.Act(t.Context(), "/srv/run.sh", resource.Action{Verb: "run", Args: json.RawMessage(args)})
}

func TestRunBelowTheRoot(t *testing.T) {
	c, dir := collection(t, `pwd; echo "$0 $1 $GREETING"; echo x >> ran`)
	out, err := run(t, c, `{"argv":["/srv/run.sh","a;b $HOME"],"env":{"GREETING":"hello"}}`)
	if want := dir + "\n" + dir + "/srv/run.sh a;b $HOME hello\n"; err != nil || out.Stdout != want || out.ExitCode != 0 {
		t.Errorf("Act = %+v, %v, want %q", out, err, want)
	}
	if out, err = run(t, c, `{"cwd":"/srv"}`); err != nil || !strings.HasPrefix(out.Stdout, dir+"/srv\n") {
		t.Errorf("without argv the id is run: %+v, %v", out, err)
	}
	if _, err := os.Stat(dir + "/srv/ran"); err != nil {
		t.Error(err)
	}
}

func TestANonZeroExitIsAnExitErrorWithItsOutput(t *testing.T) {
	c, _ := collection(t, "echo out; seq 1 3000 >&2; echo last words >&2; exit 3")
	out, err := run(t, c, "")
	var exit *resource.ExitError
	if !errors.As(err, &exit) || exit.Code != 3 || !strings.HasSuffix(exit.Stderr, "last words\n") || len(exit.Stderr) > 2048 {
		t.Errorf("error = %v", err)
	}
	if out.ExitCode != 3 || out.Stdout != "out\n" || !strings.HasPrefix(out.Stderr, "1\n") {
		t.Errorf("Output = %+v", out)
	}
}

func TestTimeout(t *testing.T) {
	c, _ := collection(t, "echo begun; sleep 1000")
	var exit *resource.ExitError
	for limit := 300 * time.Millisecond; ; limit *= 4 { // a busy machine may not come to the first line in time
		start := time.Now()
		out, err := run(t, c, fmt.Sprintf(`{"timeout":%g}`, limit.Seconds()))
		if !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &exit) || !strings.Contains(err.Error(), "longer than its timeout of "+limit.String()) {
			t.Errorf("error = %v", err)
		}
		if took := time.Since(start); took > limit+time.Minute {
			t.Errorf("a timeout of %s ended it after %s", limit, took)
		}
		if out.Stdout == "begun\n" {
			return
		}
		if limit > 10*time.Second {
			t.Fatalf("Output = %+v, %v", out, err)
		}
	}
}

func TestRefused(t *testing.T) {
	c, dir := collection(t, "touch ran")
	for args, text := range map[string]string{
		`{"shell":"x"}`:                      "unknown attribute",
		`{"argv":"/srv/run.sh"}`:             `"argv" cannot be a string`,
		`{"argv":["../srv/run.sh"]}`:         "absolute",
		`{"argv":["/srv/../srv/run.sh"]}`:    "plain form",
		`{"argv":["/none"]}`:                 "/none does not exist on this machine",
		`{"argv":["/srv/run.sh","a\u0000"]}`: "NUL",
		`{"cwd":"srv"}`:                      "cwd",
		`{"cwd":"/none"}`:                    "working directory /none does not exist",
		`{"timeout":-1}`:                     "between 0 and 86400",
		`{"timeout":1e300}`:                  "between 0 and 86400",
		`{"env":{"A=B":"x"}}`:                "name of a variable",
		`{"user":"no-such-user"}`:            `user "no-such-user" does not exist on this machine`,
	} {
		if _, err := run(t, c, args); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("Act(%s) = %v, want %q", args, err, text)
		}
	}
	if _, err := c.Act(t.Context(), "/srv/run.sh", resource.Action{Verb: "start"}); err == nil || !strings.Contains(err.Error(), `knows "run"`) {
		t.Errorf("Act(start) = %v", err)
	}
	if _, err := os.Stat(dir + "/ran"); err == nil {
		t.Error("it ran")
	}
	for _, f := range []func(context.Context, string, json.RawMessage) (resource.Diff, error){c.Check, c.Apply} {
		if _, err := f(t.Context(), "/srv/run.sh", nil); err == nil || !strings.Contains(err.Error(), "can only be run") {
			t.Errorf("Check or Apply = %v", err)
		}
	}
}

func TestNobodyCanTellWhetherItWasDone(t *testing.T) {
	c, _ := collection(t, "")
	if _, err := c.Done(t.Context(), "/srv/run.sh", resource.Action{Verb: "run"}, 1); !errors.Is(err, resource.ErrCannotTell) {
		t.Errorf("Done = %v", err)
	}
	if s, err := c.Read(t.Context(), "/srv/run.sh"); err != nil || s["present"] != true {
		t.Errorf("Read = %v, %v", s, err)
	}
	if s, err := c.Read(t.Context(), "/srv/none"); err != nil || s["present"] != false {
		t.Errorf("Read = %v, %v", s, err)
	}
}

func TestAsAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("in CI this may not be skipped: it needs root")
		}
		t.Skip("it needs root")
	}
	m, err := sys.New(sys.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := executables.New(m, executables.Options{})
	out, err := c.Act(t.Context(), "id", resource.Action{Verb: "run", Args: json.RawMessage(`{"argv":["sh","-c","id -un; id -Gn; echo $HOME"],"user":"nobody"}`)})
	if err != nil || !strings.HasPrefix(out.Stdout, "nobody\nnogroup\n/nonexistent\n") {
		t.Errorf("Act = %+v, %v", out, err)
	}
}

// nothing is a machine that refuses to run.
type nothing struct{ executables.System }

func (nothing) Run(context.Context, sys.Command) (sys.Result, error) { return sys.Result{}, nil }
func (nothing) LookupUser(context.Context, string) (sys.User, bool, error) {
	return sys.User{}, false, nil
}

func FuzzArgs(f *testing.F) {
	f.Add([]byte(`{"argv":["/bin/true"],"timeout":1,"env":{"A":"b"},"cwd":"/"}`))
	f.Fuzz(func(t *testing.T, args []byte) {
		c := executables.New(nothing{}, executables.Options{})
		_, err := c.Act(t.Context(), "/x", resource.Action{Verb: "run", Args: args})
		if err != nil || len(strings.TrimSpace(string(args))) == 0 {
			return
		}
		var given map[string]any
		if err := json.Unmarshal(args, &given); err != nil {
			t.Fatalf("took %q, which is no object", args)
		}
		for key := range given {
			if !slices.Contains([]string{"argv", "cwd", "env", "user", "timeout"}, key) {
				t.Errorf("took the argument %q", key)
			}
		}
	})
}
