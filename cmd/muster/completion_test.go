package main

import (
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// completions are what the shells are offered for a line whose last word is being typed.
func (sh *shell) completions(args ...string) []string {
	sh.t.Helper()
	out, errs, code := sh.runArgs(append([]string{"__complete"}, args...)...)
	if code != exitDone {
		sh.t.Fatalf("completing %q: %d %s", args, code, errs)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return lines[:len(lines)-1] // the last is the directive
}

func TestLiveCompletion(t *testing.T) {
	t.Parallel()
	sh := newShell(t).fill()
	sh.ok("host create sapp0 -E Dev")
	sh.ok("environment create Test")
	for _, c := range []struct {
		line string
		want []string
	}{
		{"host|show|-E|Dev|", []string{"sapp0", "web1", "web2"}},
		{"host|show|-E|Dev|w", []string{"web1", "web2"}},
		{"host|list|-E|", []string{"Dev", "Test"}},
		{"host|list|-O|", []string{"acme"}},
		{"host|list|-E|Dev|", nil},
		{"host|uninstall|-E|Dev|web2|", []string{"web"}},
		{"host|install|-E|Dev|web1|", []string{"web"}},
		{"host|run|-E|Dev|web2|web|", []string{"again"}},
		{"host|restart-service|-E|Dev|web2|web|", []string{"nginx"}},
		{"host|update-file|-E|Dev|web2|web|m", []string{"motd"}},
		{"host|platform|render|-E|Dev|web2|", []string{"boot"}},
		{"host|platform|set|-E|Dev|web1|", []string{"cloud"}},
		{"application|show|", []string{"web"}},
		{"application|module|show|--application|web|", []string{"nodejs"}},
		{"setting|show|-E|Dev|", []string{"big", "word"}},
		{"setting|list|--host|web2|-E|Dev|--application|", []string{"web"}},
		{"file|download|--application|web|", []string{"motd"}},
		{"change|show|-E|Dev|--host|web2|", []string{}},
		{"group|show|", []string{"admin", "architects", "auditors", "no access", "readonly", "users"}},
		{"flavor|show|d", []string{"debian"}},
		{"distribution|create|--flavor|c", []string{"centos"}},
		{"host|list|-o|j", []string{"json", "jsonpath="}},
		{"user|delete|", []string{"admin"}},
	} {
		if got := sh.completions(strings.Split(c.line, "|")...); !slices.Equal(got, c.want) && len(got)+len(c.want) > 0 {
			t.Errorf("%s: %q, want %q", c.line, got, c.want)
		}
	}
	sh.env["XDG_CONFIG_HOME"] = sh.dir
	all := contexts{Contexts: map[string]loginContext{"home": {}, "work": {}}}
	if err := all.write(func(k string) string { return sh.env[k] }); err != nil {
		t.Fatal(err)
	}
	if got := sh.completions("context", "use", ""); !slices.Equal(got, []string{"home", "work"}) {
		t.Errorf("contexts: %q", got)
	}
	// Nobody is told of errors while typing.
	delete(sh.env, "MUSTER_USER")
	if got := sh.completions("host", "show", "-E", "Dev", ""); len(got) > 0 {
		t.Errorf("nobody is logged in: %q", got)
	}
}

// A server that does not answer holds up a key press for a short time only, and hostile names are left out.
func TestCompletionTrustsNobody(t *testing.T) {
	t.Parallel()
	sh := &shell{t: t, dir: t.TempDir()}
	held := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/organizations/" {
			_, _ = w.Write([]byte(`{"count":3,"items":[{"name":"good"},{"name":"bad\u001b[2J\n:0"},{"name":7}]}`))
			return
		}
		<-held
	}))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(held) })
	sh.env = map[string]string{"MUSTER_API": s.URL + "/api", "MUSTER_USER": "x", "MUSTER_PASSWORD_FILE": sh.file("pw", "x")}
	if got := sh.completions("organization", "show", ""); !slices.Equal(got, []string{"7", "good"}) {
		t.Errorf("names: %q", got)
	}
	if got := sh.completions("environment", "show", "-O", "good", ""); len(got) > 0 {
		t.Errorf("a server that hangs: %q", got)
	}
}

// The scripts for the shells are taken by the shells that are here.
func TestCompletionScripts(t *testing.T) {
	sh := &shell{t: t, dir: t.TempDir(), env: map[string]string{}}
	for _, name := range []string{"bash", "zsh", "fish"} {
		script := sh.ok("completion " + name)
		if !strings.Contains(script, "__complete") {
			t.Errorf("%s: %.200s", name, script)
		}
		path, err := exec.LookPath(name)
		if err != nil {
			t.Logf("%s is not here: its script is not tried", name)
			continue
		}
		if out, err := exec.CommandContext(t.Context(), path, "-n", sh.file(name, script)).CombinedOutput(); err != nil {
			t.Errorf("%s refuses its script: %v %s", name, err, out)
		}
	}
}
