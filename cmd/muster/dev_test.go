package main

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/fsm/model"
)

// startDev runs `muster dev` and gives what dev.json tells once it is there.
func startDev(t *testing.T, dir string, more ...string) (*program, devInfo) {
	t.Helper()
	p := begin(t, append([]string{"dev", "--data", dir}, more...)...)
	file := filepath.Join(dir, "dev.json")
	eventually(t, "dev.json", func() bool {
		select {
		case <-p.ended:
			t.Fatalf("it ended with %d:\n%s", p.code, p.stderr.String())
		default:
		}
		_, err := os.Stat(file)
		return err == nil
	})
	info := devInfoOf(t, file)
	eventually(t, "its words", func() bool { return strings.Contains(p.stdout.String(), "Ctrl-C stops it.") })
	return p, info
}

// devInfoOf is what a dev.json tells.
func devInfoOf(t *testing.T, file string) devInfo {
	t.Helper()
	var info devInfo
	if err := json.Unmarshal([]byte(mustRead(t, file)), &info); err != nil {
		t.Fatalf("dev.json: %v", err)
	}
	return info
}

// at is the node of dev.json that a client asks.
func (i devInfo) at(t *testing.T, k int) *node {
	t.Helper()
	addr := strings.TrimSuffix(strings.TrimPrefix(i.Nodes[k].API, "http://"), "/api")
	return &node{t: t, name: i.Nodes[k].Name, http: addr}
}

func TestDevOneNode(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "it's here")
	addr := testPorts(t, 1)[0]
	p, info := startDev(t, dir, "--http", addr)

	// What scripts rely on, by its names.
	var raw map[string]any
	if err := json.Unmarshal([]byte(mustRead(t, filepath.Join(dir, "dev.json"))), &raw); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for k := range raw {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	if got := strings.Join(keys, " "); got != "admin api bus enrol_token_file environment nodes organization" {
		t.Errorf("dev.json has the keys %s", got)
	}
	if info.API != "http://"+addr+"/api" || len(info.Nodes) != 1 || info.Nodes[0].API != info.API || info.Nodes[0].Name != "n1" {
		t.Errorf("dev.json tells %+v", info)
	}
	if !strings.HasPrefix(info.Bus, "amqps://127.0.0.1:") || !answers(strings.TrimPrefix(info.Bus, "amqps://")) {
		t.Errorf("nothing answers at %s", info.Bus)
	}
	for _, path := range []string{info.Admin.PasswordFile, info.EnrolToken, filepath.Join(dir, "dev.json")} {
		if stat, err := os.Stat(path); err != nil || !filepath.IsAbs(path) || stat.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; expected a file for its owner alone", path, stat, err)
		}
	}
	// It is written once ready: the first question needs no second try.
	n := info.at(t, 0)
	if err := n.login(info.Admin.PasswordFile); err != nil {
		t.Errorf("right after dev.json was there: %v", err)
	}
	devWords(t, p.stdout.String(), info)

	// A second one on the folder is refused, and leaves the first and its file alone.
	second := begin(t, "dev", "--data", dir, "--http", "127.0.0.1:0")
	if code := second.wait(); code != exitFailed || !strings.Contains(second.stderr.String(), "in use by another server") {
		t.Errorf("a second one: status %d, %s", code, second.stderr.String())
	}
	if _, err := os.Stat(filepath.Join(dir, "dev.json")); err != nil {
		t.Errorf("the second one took dev.json away: %v", err)
	}
	third := begin(t, "dev", "--data", filepath.Join(t.TempDir(), "other"), "--http", addr)
	if code := third.wait(); code != exitFailed || !strings.Contains(third.stderr.String(), "--http") {
		t.Errorf("a port in use: status %d, %s", code, third.stderr.String())
	}
	if err := n.login(info.Admin.PasswordFile); err != nil {
		t.Errorf("afterwards: %v", err)
	}

	if code := p.stop(); code != 0 {
		t.Errorf("Ctrl-C ended it with %d: %s", code, p.stderr.String())
	}
	if _, err := os.Stat(filepath.Join(dir, "dev.json")); !os.IsNotExist(err) {
		t.Errorf("dev.json is still there: %v", err)
	}
	fourth := begin(t, "dev", "--data", dir, "--http", addr, "--nodes", "3")
	if code := fourth.wait(); code != exitFailed || !strings.Contains(fourth.stderr.String(), "was made with --nodes 1") {
		t.Errorf("another number of nodes: status %d, %s", code, fourth.stderr.String())
	}
}

// devWords does what the printed words say, in a shell.
func devWords(t *testing.T, words string, info devInfo) {
	t.Helper()
	if !strings.Contains(words, "API: "+info.API) || !strings.Contains(words, info.Admin.PasswordFile) {
		t.Errorf("the words name neither API nor password:\n%s", words)
	}
	export := regexp.MustCompile(`(?m)^ *export .*$`).FindAllString(words, -1)
	if len(export) != 1 {
		t.Fatalf("%d lines to export in\n%s", len(export), words)
	}
	bin := buildMuster(t)
	out, err := exec.Command("sh", "-c", export[0]+"\n"+bin+" environment list -o name && "+bin+" host list -o json").CombinedOutput()
	if err != nil || !strings.Contains(string(out), info.Environment) {
		t.Errorf("after the export line: %v\n%s", err, out)
	}
}

// agentLine is the printed line that starts an agent, for a folder to run it in.
func agentLine(t *testing.T, words string) string {
	t.Helper()
	lines := regexp.MustCompile(`(?m)^ *\S*muster-agent run .*$`).FindAllString(words, -1)
	if len(lines) != 1 {
		t.Fatalf("%d lines that start an agent in\n%s", len(lines), words)
	}
	return lines[0]
}

// startAgent runs the printed line with the built agent on the PATH, under a name of the test's.
func startAgent(t *testing.T, words, bin, name string) {
	t.Helper()
	line := strings.Replace(agentLine(t, words), "--name web1", "--name "+name, 1)
	line = regexp.MustCompile(`^ *\S*muster-agent`).ReplaceAllString(line, "exec muster-agent")
	cmd := exec.Command("sh", "-c", line)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	log := &output{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the agent said:\n%s", log)
		}
	})
}

// waitHost waits until a node tells of a host that is READY, with its agent there.
func waitHost(t *testing.T, n *node, info devInfo, name string) {
	t.Helper()
	c, err := n.client(info.Admin.PasswordFile)
	if err != nil {
		t.Fatal(err)
	}
	p := map[string]string{"org": info.Organization, "env": info.Environment, "host": name}
	eventually(t, name+" to be READY", func() bool {
		var h model.Host
		var i model.Instance
		return c.Call(t.Context(), client.Op{Name: "hosts.show", Params: p}, &h) == nil && h.State == model.HostReady &&
			c.Call(t.Context(), client.Op{Name: "host.instance.show", Params: p}, &i) == nil && i.SynapseState == model.SynapseUp
	})
}

func TestDevStateSurvives(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", bin+"/muster-agent", "../muster-agent").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for _, nodes := range []string{"1", "3"} {
		t.Run(nodes, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "dev")
			args := []string{"--nodes", nodes, "--http", testPorts(t, 1)[0]}
			p, before := startDev(t, dir, args...)
			startAgent(t, p.stdout.String(), bin, "web1")
			waitHost(t, before.at(t, 0), before, "web1")
			last := len(before.Nodes) - 1
			before.at(t, last).do(before.Admin.PasswordFile, "organization", "create", "acme")
			if code := p.stop(); code != 0 {
				t.Errorf("it stopped with %d: %s", code, p.stderr.String())
			}

			p, after := startDev(t, dir, args...)
			if b, a := text(before), text(after); a != b {
				t.Errorf("dev.json was %s, it is %s", b, a)
			}
			if out := after.at(t, last).do(after.Admin.PasswordFile, "organization", "list", "-o", "name"); out != "Dev\nacme\n" {
				t.Errorf("the organizations are %q", out)
			}
			waitHost(t, after.at(t, last), after, "web1") // comes back by itself
			startAgent(t, p.stdout.String(), bin, "web2") // and the token still lets another in
			waitHost(t, after.at(t, 0), after, "web2")
			after.at(t, 0).waitVoters(after.Admin.PasswordFile, len(after.Nodes))
		})
	}
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// A first start that ended before all three had joined goes on where it was.
func TestDevBeginningCutOff(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "dev")
	addr := testPorts(t, 1)[0]
	p, info := startDev(t, dir, "--nodes", "3", "--http", addr)
	epoch := info.at(t, 0).status(info.Admin.PasswordFile).Epoch
	info.at(t, 2).do(info.Admin.PasswordFile, "cluster", "leave") // as if it had never come
	if code := p.wait(); code != exitFailed || !strings.Contains(p.stderr.String(), "n3: left the cluster") {
		t.Errorf("after a node left it ended with %d: %s", code, p.stderr.String())
	}
	for _, path := range []string{filepath.Join(dir, "n3"), info.EnrolToken} {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	_, info = startDev(t, dir, "--nodes", "3", "--http", addr)
	n := info.at(t, 1)
	n.waitVoters(info.Admin.PasswordFile, 3)
	if st := n.status(info.Admin.PasswordFile); st.Epoch != epoch {
		t.Errorf("the epoch was %d, it is %d", epoch, st.Epoch)
	}
	if _, err := os.Stat(info.EnrolToken); err != nil {
		t.Errorf("the token was not made anew: %v", err)
	}
}

func TestDevStoppedBeforeItIsReady(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "dev")
	p := begin(t, "dev", "--nodes", "3", "--data", dir, "--http", "127.0.0.1:0")
	eventually(t, "the first node's folder", func() bool {
		_, err := os.Stat(filepath.Join(dir, "n1", "cluster", "node.json"))
		return err == nil
	})
	if code := p.stop(); code != 0 {
		t.Errorf("status %d: %s", code, p.stderr.String())
	}
	if _, err := os.Stat(filepath.Join(dir, "dev.json")); !os.IsNotExist(err) {
		t.Errorf("dev.json: %v", err)
	}
	startDev(t, dir, "--nodes", "3", "--http", "127.0.0.1:0")
}

func TestDevOnAllAddresses(t *testing.T) {
	_, port, err := net.SplitHostPort(testPorts(t, 1)[0])
	if err != nil {
		t.Fatal(err)
	}
	_, info := startDev(t, filepath.Join(t.TempDir(), "dev"), "--http", ":"+port)
	if info.API != "http://127.0.0.1:"+port+"/api" {
		t.Errorf("the API is at %s", info.API)
	}
}

func TestQuoted(t *testing.T) {
	for in, want := range map[string]string{"/a/b-c.d": "/a/b-c.d", "a b": "'a b'", "it's": `'it'\''s'`, "$x": "'$x'", "é": "'é'"} {
		if got := quoted(in); got != want {
			t.Errorf("%s: %s, expected %s", in, got, want)
		}
	}
}

// No flags make the configuration of dev's nodes. What none means must not be that changes of a host that is away expire at
// once, or that nothing is kept of the audit.
func TestDevKeepsWhatAServerKeeps(t *testing.T) {
	cfgs, err := (&dev{dir: t.TempDir()}).configs(3, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var shipped serverConfig
	shipped.flags(pflag.NewFlagSet("", pflag.ContinueOnError))
	for _, c := range cfgs {
		if c.Changes != shipped.Changes || c.Audit != shipped.Audit {
			t.Errorf("%s keeps %+v and %+v, a server %+v and %+v", c.Name, c.Changes, c.Audit, shipped.Changes, shipped.Audit)
		}
		if errs := append(c.Changes.validate(), c.Audit.validate()...); len(errs) > 0 {
			t.Errorf("%s: %v", c.Name, errs)
		}
	}
}
