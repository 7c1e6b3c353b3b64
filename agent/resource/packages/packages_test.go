package packages_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/agent/resource/packages"
	"github.com/muster-hq/muster/agent/resource/resourcetest"
	"github.com/muster-hq/muster/agent/sys"
	"github.com/muster-hq/muster/deploy/e2e/guest"
)

var (
	_ resource.Watcher = (*packages.Collection)(nil)
	_ resource.Lister  = (*packages.Collection)(nil)
)

// scripted answers commands by the beginning of their argument vectors, and notes them.
type scripted struct {
	packages.System
	answers map[string]sys.Result
	ran     []string
}

func (*scripted) Confined() bool { return false }
func (s *scripted) Run(_ context.Context, c sys.Command) (sys.Result, error) {
	line := strings.Join(c.Argv, " ")
	s.ran = append(s.ran, line)
	for prefix, r := range s.answers {
		if strings.HasPrefix(line, prefix) {
			return r, nil
		}
	}
	return sys.Result{ExitCode: 127, Stderr: "no answer for " + line}, nil
}

const absent = "dpkg-query: no packages found matching x"

func TestNamesAndWantsAreRefusedBeforeAnythingIsRun(t *testing.T) {
	s := &scripted{}
	c := packages.New(s, packages.Options{})
	for _, id := range []string{"", "-x", "x-", "x y", "x;rm -rf /", "X", "x=1", "x/bookworm", "x*", "x:", "../x", strings.Repeat("x", 256)} {
		if _, err := c.Apply(t.Context(), id, nil); err == nil || !strings.Contains(err.Error(), "name of a package") {
			t.Errorf("Apply(%q) = %v", id, err)
		}
	}
	for want, text := range map[string]string{
		`{"version":"1 2"}`:                 "version of a package",
		`{"version":"1.*"}`:                 "version of a package",
		`{"version":"-1"}`:                  "version of a package",
		`{"version":"1","ensure":"latest"}`: `goes with "present" only`,
		`{"ensure":"held"}`:                 "ensure",
		`{"installed":true}`:                `unknown attribute "installed"`,
	} {
		if _, err := c.Apply(t.Context(), "x", json.RawMessage(want)); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("Apply(%s) = %v, want %q", want, err, text)
		}
	}
	if len(s.ran) > 0 {
		t.Errorf("ran %v", s.ran)
	}
	for _, good := range []string{"g++", "libstdc++6", "0ad", "libc6:amd64", "python3.11"} {
		if _, err := c.Read(t.Context(), good); err == nil || strings.Contains(err.Error(), "name of a package") {
			t.Errorf("Read(%q) = %v", good, err)
		}
	}
}

func TestAnUnknownPackageIsLookedForInAFreshIndexOnce(t *testing.T) {
	s := &scripted{answers: map[string]sys.Result{
		"dpkg-query": {ExitCode: 1, Stderr: absent}, "apt-cache policy": {}, "apt-get": {},
	}}
	_, err := packages.New(s, packages.Options{}).Apply(t.Context(), "x", nil)
	if err == nil || !strings.Contains(err.Error(), "package x: it does not exist in the machine's package sources") {
		t.Errorf("Apply = %v", err)
	}
	all := strings.Join(s.ran, "\n")
	if strings.Count(all, " update") != 1 || strings.Contains(all, " install ") {
		t.Errorf("ran\n%s", all)
	}
}

func TestThePartsOfTheCommandLine(t *testing.T) {
	s := &scripted{answers: map[string]sys.Result{
		"dpkg-query":        {ExitCode: 1, Stderr: absent},
		"apt-cache madison": {Stdout: " x | 2.0 | file:/srv ./ Packages\n x | 1.0 | file:/srv ./ Packages\n"},
		"apt-get":           {ExitCode: 100, Stdout: "Reading...\n", Stderr: "W: old\nE: Unable to fetch x\nE: Maybe run update?\n"},
	}}
	c := packages.New(s, packages.Options{LockWait: 90 * time.Second})
	_, err := c.Apply(t.Context(), "x", json.RawMessage(`{"version":"1.0"}`))
	if err == nil || !strings.HasSuffix(err.Error(), "apt-get install failed: E: Unable to fetch x; E: Maybe run update?") {
		t.Errorf("Apply = %v", err)
	}
	last := s.ran[len(s.ran)-1]
	want := "apt-get -y -q -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=90 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold --allow-downgrades install -- x=1.0"
	if last != want {
		t.Errorf("ran %q\nwant %q", last, want)
	}
	_, err = c.Apply(t.Context(), "x", json.RawMessage(`{"version":"3.0"}`))
	if err == nil || !strings.Contains(err.Error(), "do not have version 3.0; they have 2.0, 1.0") {
		t.Errorf("Apply = %v", err)
	}
}

func TestNotUnderARoot(t *testing.T) {
	m, err := sys.New(sys.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c := packages.New(m, packages.Options{})
	_, err1 := c.Apply(t.Context(), "x", nil)
	_, err2 := c.Read(t.Context(), "x")
	_, err3 := c.List(t.Context())
	for _, err := range []error{err1, err2, err3, c.Watch(t.Context(), []string{"x"}, func(string) {})} {
		if !errors.Is(err, resource.ErrUnavailable) {
			t.Errorf("error = %v, want ErrUnavailable", err)
		}
	}
}

func TestOneAptAtATime(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	s := &blocking{entered: entered, leave: leave}
	c := packages.New(s, packages.Options{})
	first := make(chan error, 1)
	go func() { _, err := c.Apply(context.Background(), "x", nil); first <- err }()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Apply(ctx, "y", nil); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "another change of packages") {
		t.Errorf("second Apply = %v", err)
	}
	close(leave)
	<-first
}

// blocking answers that everything is installed, after it was let.
type blocking struct {
	packages.System
	entered, leave chan struct{}
}

func (*blocking) Confined() bool { return false }
func (b *blocking) Run(context.Context, sys.Command) (sys.Result, error) {
	b.entered <- struct{}{}
	<-b.leave
	return sys.Result{Stdout: "installed\t1\tall\n"}, nil
}

func TestApt(t *testing.T) {
	if os.Getenv(doomed) != "" {
		installSlow(t)
		return
	}
	if !guest.Inside() {
		r := guest.NewRepo(t)
		r.Add(t, guest.Deb{Name: "slow", Version: "1", Scripts: map[string]string{"postinst": "#!/bin/sh\n" +
			"echo begun >>/root/slow; while [ ! -e /root/go-on ]; do sleep 0.05; done; echo words; echo done >>/root/slow\n"}})
		for _, v := range []string{"1.0", "2.0"} {
			r.Add(t, guest.Deb{Name: "demo", Version: v, Files: map[string]string{"/etc/demo.conf": "shipped " + v + "\n", "/usr/bin/demo": "#!/bin/sh\n"}})
		}
		r.Add(t, guest.Deb{Name: "demo++", Version: "1:3~rc1-1"})
		r.Add(t, guest.Deb{Name: "needy", Version: "1", Depends: "not-to-be-had"})
		r.Add(t, guest.Deb{Name: "sulky", Version: "1", Scripts: map[string]string{"postinst": "#!/bin/sh\ntest -e /root/may-install || { echo sulking >&2; exit 1; }\n"}})
		g := guest.Boot(t, guest.Options{})
		r.Use(t, g)
		g.Again(t)
		return
	}
	m, err := sys.New(sys.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := packages.New(m, packages.Options{LockWait: time.Minute})
	snapshot := func(t *testing.T) string {
		out, err := exec.Command("dpkg-query", "-W", "-f=${Package} ${Version} ${Status}\n").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	resourcetest.Run(t, c, resourcetest.Case{
		ID: "demo", Want: `{"version":"1.0"}`, Other: `{"version":"2.0"}`, Absent: `{"ensure":"absent"}`, Snapshot: snapshot,
		Invalid: map[string]string{`{"version":"1;2"}`: "version of a package"},
		BadIDs:  map[string]string{"demo-": "name of a package", "-o": "name of a package"},
	})
	t.Run("latest and configuration files", func(t *testing.T) { latest(t, c) })
	t.Run("purged", func(t *testing.T) { purged(t, c) })
	t.Run("failures", func(t *testing.T) { failures(t, c, snapshot) })
	t.Run("a dpkg that was cut off", func(t *testing.T) { cutOff(t, c) })
	t.Run("the agent is killed", func(t *testing.T) { agentKilled(t, c) })
	t.Run("watch", func(t *testing.T) { watches(t, c) })
}

// doomed is set in a process that is killed while it installs.
const doomed = "MUSTER_TEST_DOOMED"

func installSlow(t *testing.T) {
	m, err := sys.New(sys.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = packages.New(m, packages.Options{}).Apply(t.Context(), "slow", nil)
	t.Fatalf("it ended: %v", err)
}

func agentKilled(t *testing.T, c *packages.Collection) {
	agent := exec.Command(os.Args[0], "-test.run", "^TestApt$")
	agent.Env = append(os.Environ(), doomed+"=1")
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.NewTimer(60 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat("/root/slow"); err == nil {
			break
		}
		select {
		case <-deadline.C:
			t.Fatal("the installation did not begin within 60 s")
		case <-tick.C:
		}
	}
	if err := agent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = agent.Wait()
	again := make(chan error, 1)
	go func() {
		_, err := c.Apply(t.Context(), "slow", nil)
		again <- err
	}()
	if err := os.WriteFile("/root/go-on", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-again; err != nil {
		t.Errorf("Apply after the agent was killed: %v", err)
	}
	if text, _ := os.ReadFile("/root/slow"); string(text) != "begun\ndone\n" {
		t.Errorf("the package's script ran not exactly once:\n%s", text)
	}
	if s, err := c.Read(t.Context(), "slow"); err != nil || s["installed"] != true {
		t.Errorf("Read = %v, %v", s, err)
	}
}

func apply(t *testing.T, c *packages.Collection, id, want string) resource.Diff {
	t.Helper()
	d, err := c.Apply(t.Context(), id, json.RawMessage(want))
	if err != nil {
		t.Fatalf("Apply(%s, %s): %v", id, want, err)
	}
	return d
}

func latest(t *testing.T, c *packages.Collection) {
	apply(t, c, "demo", `{"version":"1.0"}`)
	if err := os.WriteFile("/etc/demo.conf", []byte("changed here\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := c.Check(t.Context(), "demo", json.RawMessage(`{"ensure":"latest"}`))
	if err != nil || d.Expected["version"] != "2.0" || d.Observed["version"] != "1.0" {
		t.Errorf("Check = %v, %v", d, err)
	}
	apply(t, c, "demo", `{"ensure":"latest"}`)
	if s, err := c.Read(t.Context(), "demo"); err != nil || s["version"] != "2.0" || s["installed"] != true {
		t.Errorf("Read = %v, %v", s, err)
	}
	if text, _ := os.ReadFile("/etc/demo.conf"); string(text) != "changed here\n" {
		t.Errorf("the changed configuration file is now %q", text)
	}
	apply(t, c, "demo++", `{"version":"1:3~rc1-1"}`)
	if names, err := c.List(t.Context()); err != nil || !strings.Contains(strings.Join(names, " "), "demo demo++ ") {
		t.Errorf("List = %v, %v", names, err)
	}
}

func purged(t *testing.T, c *packages.Collection) {
	apply(t, c, "demo", `{"ensure":"absent"}`)
	if _, err := os.Stat("/etc/demo.conf"); err != nil {
		t.Errorf("absent took the configuration file: %v", err)
	}
	if d, err := c.Check(t.Context(), "demo", json.RawMessage(`{"ensure":"purged"}`)); err != nil || d.Empty() {
		t.Errorf("Check(purged) after absent = %v, %v", d, err)
	}
	apply(t, c, "demo", `{"ensure":"purged"}`)
	if _, err := os.Stat("/etc/demo.conf"); err == nil {
		t.Error("purged left the configuration file")
	}
}

func failures(t *testing.T, c *packages.Collection, snapshot func(*testing.T) string) {
	before := snapshot(t)
	for _, x := range []struct{ id, want, text string }{
		{"no-such-package", `{}`, "does not exist in the machine's package sources"},
		{"no.such", `{}`, "does not exist in the machine's package sources"}, // apt would take it for a pattern
		{"demo", `{"version":"9"}`, "they have 2.0, 1.0"},
		{"needy", `{}`, "needy : Depends: not-to-be-had but it is not installable"},
	} {
		d, err := c.Apply(t.Context(), x.id, json.RawMessage(x.want))
		if err == nil || !strings.Contains(err.Error(), x.text) || !d.Empty() {
			t.Errorf("Apply(%s) = %v, %v, want %q", x.id, d, err, x.text)
		}
		t.Log(err)
	}
	if snapshot(t) != before {
		t.Error("something changed")
	}
	if _, err := c.Apply(t.Context(), "sulky", nil); err == nil || !strings.Contains(err.Error(), "; sulking;") && !strings.Contains(err.Error(), ": sulking;") {
		t.Errorf("Apply = %v", err)
	} else {
		t.Log(err)
	}
	if s, err := c.Read(t.Context(), "sulky"); err != nil || s["installed"] != false {
		t.Errorf("half installed is %v, %v", s, err)
	}
	if err := os.WriteFile("/root/may-install", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	apply(t, c, "sulky", `{}`)
}

func cutOff(t *testing.T, c *packages.Collection) {
	apply(t, c, "demo", `{"ensure":"purged"}`)
	// What dpkg leaves there tells apt that it was interrupted.
	journal := "/var/lib/dpkg/updates/0000"
	out, err := exec.Command("dpkg-query", "-s", "sulky").Output()
	if err == nil {
		err = os.WriteFile(journal, out, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	apply(t, c, "demo", `{"version":"1.0"}`)
	if _, err := os.Stat(journal); err == nil {
		t.Error("dpkg was not brought to its end")
	}
}

func watches(t *testing.T, c *packages.Collection) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	told := make(chan string, 1000)
	ended := make(chan error, 1)
	go func() { ended <- c.Watch(ctx, []string{"demo"}, func(id string) { told <- id }) }()
	wants := []string{`{"ensure":"absent"}`, `{"version":"1.0"}`}
	for n := 0; len(told) == 0 && ctx.Err() == nil; n++ {
		apply(t, c, "demo", wants[n%2])
	}
	select {
	case id := <-told:
		if id != "demo" {
			t.Errorf("told of %q", id)
		}
	case <-ctx.Done():
		t.Fatal("not told")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Watch = %v", err)
	}
}
