package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func TestJSONPathOutput(t *testing.T) {
	const list = `[{"name":"web1","state":"READY","n":9007199254740993,"zoo":{"b":1,"a":1.5}},{"name":"db","state":"DEFINED","n":1,"tags":["x","y"]}]`
	for _, c := range []struct{ path, want string }{
		{"[*].name", "web1\ndb\n"},
		{"$[0].n", "9007199254740993\n"}, // exact beyond 2^53
		{"[*].zoo", `{"b":1,"a":1.5}` + "\n"},
		{"[0].zoo.*", "1\n1.5\n"}, // in the order of the document
		{"[1].tags", `["x","y"]` + "\n"},
		{`[?@.state == "READY"].name`, "web1\n"},
		{"[?@.n > 1].name", "web1\n"},
		{"[7].name", ""},
		{"{[*].name}", "web1 db\n"},
		{`{[0].name}: {[0].state}{"\n"}`, "web1: READY\n"},
		{`n={[?@.name == "}"].name}.`, "n=.\n"},
	} {
		p, err := parseJSONPath(c.path)
		if err != nil {
			t.Errorf("%s: %v", c.path, err)
			continue
		}
		var out bytes.Buffer
		if err := p.print(&out, []byte(list)); err != nil || out.String() != c.want {
			t.Errorf("%s: %q, %v; want %q", c.path, &out, err, c.want)
		}
	}
	for _, bad := range []string{"", "$[", "{.name", "{.a[}", `{"x}`, "[?(@.x "} {
		if _, err := parseJSONPath(bad); exitCode(err) != exitUsage || !strings.Contains(err.Error(), "jsonpath") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzJSONPath(f *testing.F) {
	for _, s := range []string{"[*].name", `{.a}{"\n"}`, "$..*", "[?@.x>1]", "[-1:]", "{'}'}", "$['a','b'][0:9:2]"} {
		f.Add(s, []byte(`[{"name":"x","a":{"b":[1,2.5,null]}}]`))
	}
	f.Fuzz(func(t *testing.T, path string, doc []byte) {
		if p, err := parseJSONPath(path); err == nil {
			_ = p.print(&bytes.Buffer{}, doc) // may refuse, must not panic
		} else if exitCode(err) != exitUsage {
			t.Errorf("%q: %v", path, err)
		}
	})
}

// Each form of output, of a list and of one.
func TestForms(t *testing.T) {
	sh := newShell(t).furnish()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"host", "list", "-E", "Dev", "-o", "jsonpath=[*].name"}, "web1\n"},
		{[]string{"host", "show", "web1", "-E", "Dev", "-o", `jsonpath={.name} is {.state}`}, "web1 is READY\n"},
		{[]string{"host", "list", "-E", "Dev", "-o", "wide"}, "UUID"},
		{[]string{"environment", "show", "Dev", "-o", "wide"}, "ORGANIZATION  acme"},
		{[]string{"change", "list", "--host", "web1", "-E", "Dev", "-o", "wide"}, "NUMBER"},
		{[]string{"context", "list", "-o", "jsonpath=[*].name"}, ""},
	} {
		got, errs, code := sh.runArgs(c.args...)
		if code != exitDone || !strings.Contains(got, c.want) {
			t.Errorf("muster %q: %d %q %s, want %q", c.args, code, got, errs, c.want)
		}
	}
	if _, errs, code := sh.run("host list -E Dev -o jsonpath=$["); code != exitUsage || !strings.Contains(errs, "jsonpath") {
		t.Errorf("a wrong path: %d %s", code, errs)
	}
}

// muster alone says what to type first, and each topic has a page.
func TestWhatToTypeFirst(t *testing.T) {
	sh := &shell{t: t, dir: t.TempDir(), env: map[string]string{}}
	sh.env["XDG_CONFIG_HOME"] = filepath.Join(sh.dir, "none")
	if got := sh.ok(""); !strings.Contains(got, "muster dev") || !strings.Contains(got, "muster login") {
		t.Errorf("nobody is logged in: %s", got)
	}
	all := contexts{Current: "x", Contexts: map[string]loginContext{"x": {Server: "http://h/api", User: "anna", Token: "secret"}}}
	if err := all.write(func(k string) string { return sh.env[k] }); err != nil {
		t.Fatal(err)
	}
	if got := sh.ok(""); !strings.Contains(got, "You are anna at http://h/api") || strings.Contains(got, "secret") {
		t.Errorf("anna is logged in: %s", got)
	}
	help := sh.ok("help exit-codes")
	for _, code := range []int{exitDone, exitFailed, exitDifferences, exitTasksFailed, exitWaitOver, exitConflict, exitUsage, exitUnreachable, exitNotAllowed} {
		if !strings.Contains(help, fmt.Sprintf("\n%4d   ", code)) {
			t.Errorf("muster help exit-codes does not tell %d: %s", code, help)
		}
	}
	for _, topic := range []string{"output", "variables"} {
		if got := sh.ok("help " + topic); len(got) < 200 {
			t.Errorf("muster help %s: %s", topic, got)
		}
	}
	for _, line := range []string{"nonsense", "application thumb nonsense", "host platform nonsense", "template nonsense", "host list extra"} {
		if _, errs, code := sh.run(line); code != exitUsage || !strings.Contains(errs, "--help") {
			t.Errorf("muster %s: %d %s", line, code, errs)
		}
	}
}
