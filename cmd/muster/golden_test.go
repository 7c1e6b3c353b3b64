package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// golden is one command of the published client, its arguments parted by |, and what it must print: the text is in what it
// prints, or nothing is printed for "".
type golden struct {
	line, want string
	until      bool           // asked again until it prints that: it comes about by itself
	do         func(*comodit) // something else, instead of a command
	outside    bool           // it does something outside of the cluster: nobody repeats it for the client
}

// until is a command that is repeated until it prints what it should.
func until(line, want string) golden { return golden{line: line, want: want, until: true} }

// once makes commands of pairs.
func once(all ...[2]string) (out []golden) {
	for _, c := range all {
		out = append(out, golden{line: c[0], want: c[1]})
	}
	return out
}

// words of the command.
func (g golden) words() []string { return strings.Split(g.line, "|") }

// comodit is the published client as a command, with a home of its own.
type comodit struct {
	t         *testing.T
	dir, home string

	machines string // folder of simulated machines

	in     *json.Encoder
	out    *json.Decoder
	said   output
	played int         // commands
	calm   atomic.Bool // a command is repeated for long: what it waits for is to come about undisturbed
}

// publishedClient gives the folder of the published client's source; false when nobody asked for being judged by it: that
// is no skip, since the recorded exchanges always run.
func publishedClient(t *testing.T) (dir string, wanted bool) {
	t.Helper()
	dir = os.Getenv("COMODIT_CLIENT")
	if dir == "" {
		t.Log("COMODIT_CLIENT is not set: the recorded exchanges stand in for the client")
	}
	return dir, dir != ""
}

const (
	goldenApplication = `{"name": "web", "description": "a web server", "packages": [{"name": "nginx"}], "services": [{"name": "nginx", "enabled": true}],
	"files": [{"name": "site.conf", "path": "/etc/nginx/site.conf", "owner": "root", "group": "root", "mode": "644",
		"template": {"name": "site.conf", "delimiter": {"start": "${", "end": "}"}}}],
	"parameters": [{"name": "Listen port", "key": "port", "value": "80", "schema": {"type": "string"}},
		{"name": "Key", "key": "tls_key", "value": "s3cret-default", "schema": {"type": "string", "secret": true}}],
	"handlers": [{"name": "reload", "on": ["port"], "do": [{"action": "update", "resource": "file://site.conf"},
		{"action": "restart", "resource": "service://nginx"}]}]}`
	goldenPlatform = `{"name": "cloud", "description": "d", "driver": {"className": "com.guardis.cortex.server.driver.LibvirtDriver"},
	"settings": [{"key": "zone", "value": "a"}, {"key": "apiKey", "value": "s3cret-of-cloud", "schema": {"type": "string", "secret": true}}],
	"files": [{"name": "boot [1].ipxe", "delimiter": {"start": "##", "end": "##"}}],
	"parameters": [{"key": "size", "value": "small", "name": "The size", "description": "d"}]}`
	goldenDistribution = `{"name": "os", "description": "d", "settings": [{"key": "kickstartName", "value": "ks"}], "files": [{"name": "ks",
	"parameters": [{"key": "a", "value": "b", "name": "n", "description": ""}]}], "parameters": [{"key": "lang", "value": "en", "name": "Language"}]}`
)

// newComodit gives the client a home with a configuration for an API and some files.
func newComodit(t *testing.T, dir, url, passwordFile string) *comodit {
	t.Helper()
	password, err := readSecret(passwordFile)
	if err != nil {
		t.Fatal(err)
	}
	c := &comodit{t: t, dir: dir, home: t.TempDir()}
	if err := os.Mkdir(filepath.Join(c.home, ".comodit"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "templates"), filepath.Join(c.home, ".comodit", "templates")); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		".comoditrc": fmt.Sprintf("[client]\ndefault_profile = default\n[default]\napi = %s\nusername = %s\npassword = %s\nvnc_viewer_call = echo viewer of %%%%h:%%%%p\n",
			url, adminName, password),
		"editor":   "#!/bin/sh\necho edited >> \"$1\"\ntouch -d @1 \"$1\"\n",
		"web.json": goldenApplication, "cloud.json": goldenPlatform, "os.json": goldenDistribution,
		"site.conf": "listen ${port} of ${_host.name};\n", "boot": "##size## of ##_host.name## ${x}\n", "ks": "lang ${lang};\n", "thumb": "a picture\n",
	} {
		if err := os.WriteFile(filepath.Join(c.home, name), []byte(text), 0o700); err != nil { //nolint:gosec // one is a program
			t.Fatal(err)
		}
	}
	return c
}

// command runs a script with Debian's own interpreter, for which the client's libraries are packaged.
func (c *comodit) command(script string, args ...string) *exec.Cmd {
	c.t.Helper()
	at, err := filepath.Abs(filepath.Join("testdata", "golden", script))
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.CommandContext(c.t.Context(), "/usr/bin/python3", append([]string{at}, args...)...) //nolint:gosec // the test's own arguments
	cmd.Dir = c.home
	cmd.Env = append(os.Environ(), "HOME="+c.home, "EDITOR="+filepath.Join(c.home, "editor"), "VISUAL=", "PYTHONPATH="+c.dir, "PYTHONDONTWRITEBYTECODE=1")
	return cmd
}

// start makes ready to run commands: the client's modules are loaded once.
func (c *comodit) start() {
	c.t.Helper()
	cmd := c.command("many.py", filepath.Join(c.dir, "comodit"))
	in, err := cmd.StdinPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	cmd.Stderr = &c.said
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	c.in, c.out = json.NewEncoder(in), json.NewDecoder(out)
}

// run runs one command and gives what it prints. The client's exit status says little (contract section 5).
func (c *comodit) run(words ...string) string {
	c.t.Helper()
	if c.in == nil {
		c.start()
	}
	var printed string
	if err := errors.Join(c.in.Encode(words), c.out.Decode(&printed)); err != nil {
		c.t.Fatalf("comodit %s: %v\n%s", strings.Join(words, " "), err, &c.said)
	}
	c.played++
	return printed
}

// lost is what it prints when a request got no answer of a node.
var lost = regexp.MustCompile(`Oops|Traceback|[Ee]rror \(?(0|50[0234])\b`)

// play runs commands in turn.
func (c *comodit) play(commands []golden) {
	c.t.Helper()
	for _, g := range commands {
		c.one(g)
	}
}

func (c *comodit) one(g golden) {
	c.t.Helper()
	if g.do != nil {
		g.do(c)
		return
	}
	defer c.calm.Store(false)
	limit, calm := time.After(2*patience), time.After(patience/6)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		out := c.run(g.words()...)
		good := strings.Contains(out, g.want) && (g.want != "" || strings.TrimSpace(out) == "")
		if good && !lost.MatchString(out) {
			return
		}
		if g.until && !lost.MatchString(out) {
			select {
			case <-tick.C:
				continue
			case <-calm:
				c.calm.Store(true)
				continue
			case <-limit:
			}
		}
		c.t.Errorf("comodit %s\nprints %s\nwant   %s", strings.ReplaceAll(g.line, "|", " "), out, g.want)
		return
	}
}

// goldenSections are all commands that are played, by what they are about, in turn.
func goldenSections() []struct {
	name     string
	commands []golden
} {
	return []struct {
		name     string
		commands []golden
	}{
		{"world", goldenWorld()},
		{"kits", goldenKits()},
		{"life", goldenLife()},
		{"applications", goldenApplications()},
		{"changes", goldenChanges()},
		{"compliance", goldenCompliance()},
		{"power", goldenPower()},
		{"jobs", goldenJobs()},
		{"settings", goldenSettings()},
		{"owners", goldenOwners()},
		{"definitions", goldenDefinitions()},
		{"not built", goldenNotBuilt()},
		{"logs", goldenLogs()},
		{"folders", goldenFolders()},
		{"ends", goldenEnds()},
	}
}

// goldenLeftOut are the commands that are not played, with the contract's reason. A name ends in what all of them end in.
func goldenLeftOut() map[string]string {
	out := map[string]string{
		"help":                                     "prints the client's own text and asks nobody",
		"hosts render-tree":                        "section 5: fails on the first file, after one GET",
		"organizations notification-logs":          "section 5: fails before sending",
		"hosts settings impact":                    "section 5: fails before sending",
		"organizations hostgroups settings impact": "section 5: fails before sending",
	}
	for _, noun := range []string{"jobs", "hostgroups", "webhooks", "notification-channels"} {
		out["organizations "+noun+" clone"] = "section 5: fails before sending"
	}
	return out
}

// TestPublishedClientCommands counts the commands that the published client has: each is played, or left out for a reason.
func TestPublishedClientCommands(t *testing.T) {
	dir, wanted := publishedClient(t)
	if !wanted {
		return
	}
	c := newComodit(t, dir, "http://127.0.0.1:9/api", textFile(t, "password", "none"))
	out, err := c.command("commands.py").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	has := map[string]int{}
	for line := range strings.Lines(string(out)) {
		has[strings.TrimSpace(line)] = 0
	}
	if len(has) < 300 || has["hosts instance poweroff"] != 0 {
		t.Fatalf("the client tells of %d commands:\n%s", len(has), out)
	}
	for _, s := range goldenSections() {
		for _, g := range s.commands {
			if g.do != nil {
				continue
			}
			words, known := g.words(), false
			for k := 2; k <= len(words) && !known; k++ {
				name := strings.Join(words[:k], " ")
				if _, known = has[name]; known {
					has[name]++
				}
			}
			if !known {
				t.Errorf("%s: the client has no command %q", s.name, g.line)
			}
		}
	}
	left := goldenLeftOut()
	used := map[string]bool{}
	for name, times := range has {
		reason := name
		if strings.HasSuffix(name, " help") {
			reason = "help"
		}
		_, out := left[reason]
		used[reason] = used[reason] || out
		switch {
		case times == 0 && !out:
			t.Errorf("no golden case runs %q", name)
		case times > 0 && out:
			t.Errorf("%q is run, and left out", name)
		}
	}
	for name := range left {
		if !used[name] {
			t.Errorf("the client has no %q to be left out", name)
		}
	}
}

// devProcess runs a built `muster dev --simulate` and gives what dev.json tells.
func devProcess(t *testing.T) (info devInfo, passwordFile string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "dev")
	log := &output{}
	cmd := exec.Command(buildMuster(t), "dev", "--simulate", "--data", dir, "--http", testPorts(t, 1)[0]) //nolint:gosec // the test's own arguments
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("muster dev said:\n%s", log)
		}
	})
	file := filepath.Join(dir, "dev.json")
	eventually(t, "dev.json", func() bool { _, err := os.Stat(file); return err == nil })
	info = devInfoOf(t, file)
	return info, info.Admin.PasswordFile
}

// TestPublishedClient runs every command of the published client against a process of `muster dev --simulate`, where
// COMODIT_CLIENT names the folder of the client's source. It needs python3-pycurl, python3-future, python3-six and
// python3-progressbar.
func TestPublishedClient(t *testing.T) {
	dir, wanted := publishedClient(t)
	if !wanted {
		return
	}
	info, password := devProcess(t)
	c := newComodit(t, dir, info.API, password)
	c.machines = filepath.Join(filepath.Dir(info.EnrolToken), "machines")
	for _, s := range goldenSections() {
		at := time.Now()
		c.play(s.commands)
		t.Logf("%-14s %3d commands, %5.1f s", s.name, len(s.commands), time.Since(at).Seconds())
	}
}

// The published client's library goes through the life of a host, and sees what it waits for.
func TestPublishedClientLibrary(t *testing.T) {
	dir, wanted := publishedClient(t)
	if !wanted {
		return
	}
	info, password := devProcess(t)
	c := newComodit(t, dir, info.API, password)
	out, err := c.command("library.py", info.API, adminName, password).CombinedOutput()
	if err != nil || strings.Contains(string(out), "WRONG") || !strings.HasSuffix(string(out), "done\n") {
		t.Errorf("%v\n%s", err, out)
	}
}
