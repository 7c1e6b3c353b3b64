package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/muster-hq/muster/api"
	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

// shell runs client commands against an API over a real store.
type shell struct {
	t   *testing.T
	db  *statetest.DB
	dir string
	env map[string]string
}

func newShell(t *testing.T) *shell {
	t.Helper()
	sh := &shell{t: t, db: statetest.New(t, orchestrate.Tables()...), dir: t.TempDir()}
	a, err := api.New(api.Config{Store: sh.db, Log: discard(), EnrolToken: func(tx *state.Tx, _, envID string, uses int, expires time.Time) (string, string, error) {
		pub, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return "", "", err
		}
		_, err = orchestrate.CreateEnrolToken(tx, envID, "t1", pub, uses, expires, tx.Actor())
		return "t1", "muster-enrol-1.abc", err
	}})
	if err != nil {
		t.Fatalf("make the API: %v", err)
	}
	server := httptest.NewServer(a.Handler())
	t.Cleanup(server.Close)
	hash := auth.HashPassword("correct horse")
	if err := sh.db.Update(t.Context(), func(tx *state.Tx) error {
		_, err := orchestrate.FirstStart(tx, "admin", hash)
		return err
	}); err != nil {
		t.Fatalf("first start: %v", err)
	}
	sh.env = map[string]string{"MUSTER_API": server.URL + "/api", "MUSTER_USER": "admin",
		"MUSTER_PASSWORD_FILE": sh.file("pw", "correct horse\n"), "MUSTER_ORGANIZATION": "acme"}
	return sh
}

func (sh *shell) file(name, content string) string {
	sh.t.Helper()
	path := filepath.Join(sh.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		sh.t.Fatal(err)
	}
	return path
}

// run runs one command line, with its arguments parted at spaces.
func (sh *shell) run(line string) (stdout, stderr string, code int) {
	sh.t.Helper()
	return sh.runArgs(strings.Fields(line)...)
}

// runArgs runs one command line.
func (sh *shell) runArgs(args ...string) (stdout, stderr string, code int) {
	sh.t.Helper()
	root := rootCommand(func(k string) string { return sh.env[k] })
	var out, errs bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&errs)
	root.SetArgs(args)
	err := root.ExecuteContext(sh.t.Context())
	if err != nil && !errors.Is(err, errDifferences) {
		fmt.Fprintln(&errs, err)
	}
	return out.String(), errs.String(), exitCode(err)
}

// ok runs a command line that must succeed.
func (sh *shell) ok(line string) string {
	sh.t.Helper()
	out, errs, code := sh.run(line)
	if code != exitDone {
		sh.t.Fatalf("muster %s: exit %d, %s", line, code, errs)
	}
	return out
}

// furnish makes an organization with a host that has enrolled.
func (sh *shell) furnish() *shell {
	sh.ok("organization create acme")
	sh.ok("environment create Dev --description x")
	sh.ok("application create -f " + sh.file("web.yaml", `
name: web
files: [{name: motd, path: /etc/motd, owner: root, group: root, mode: "644", template: {name: motd}}]
services: [{name: nginx, enabled: true}]
handlers: [{name: again, on: [greeting], do: [{action: update, resource: "file://motd"}]}]
`))
	sh.ok("file upload motd " + sh.file("motd.ftl", "hello ${greeting!}\n") + " --application web")
	if err := sh.db.Update(sh.t.Context(), func(tx *state.Tx) error {
		o, err := orchestrate.OrganizationByName(tx, "acme")
		if err != nil {
			return err
		}
		e, err := orchestrate.EnvironmentByName(tx, o.ID, "Dev")
		if err != nil {
			return err
		}
		_, err = orchestrate.AdoptHost(tx, o.ID, e.ID, "web1")
		return err
	}); err != nil {
		sh.t.Fatalf("adopt: %v", err)
	}
	return sh
}

// agent ends the changes of web1 as they come: with an error where its text is not empty.
func (sh *shell) agent(fail string) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- sh.work(ctx, fail) }()
	return func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			sh.t.Errorf("the agent: %v", err)
		}
	}
}

func (sh *shell) work(ctx context.Context, fail string) error {
	for {
		ws := state.NewWatchSet()
		view := sh.db.Local().Watched(ws)
		o, err := orchestrate.OrganizationByName(view, "acme")
		if err != nil {
			return err
		}
		e, err := orchestrate.EnvironmentByName(view, o.ID, "Dev")
		if err != nil {
			return err
		}
		h, err := orchestrate.HostByName(view, o.ID, e.ID, "web1")
		if err != nil {
			return err
		}
		for _, id := range state.Keys[model.Change](view, model.OpenChangesOf(h.ID)) {
			if err := sh.db.Update(ctx, func(tx *state.Tx) error { return endChange(tx, id, fail) }); err != nil {
				return err
			}
		}
		if err := ws.Wait(ctx); err != nil {
			return err
		}
	}
}

func endChange(tx *state.Tx, id, fail string) error {
	ch, ok := state.Edit[model.Change](tx, id)
	if !ok || ch.Done {
		return nil
	}
	for i := range ch.Tasks {
		ch.Tasks[i].Status, ch.Tasks[i].Error = model.TaskOK, ""
		if fail != "" {
			ch.Tasks[i].Status, ch.Tasks[i].Error = model.TaskError, fail
		}
	}
	ch.Done = true
	return state.Put(tx, ch)
}

func TestNounsFromTheCommandLine(t *testing.T) {
	t.Parallel()
	sh := newShell(t).furnish()
	for _, c := range []struct{ line, want string }{
		{"organization list -o name", "acme\n"},
		{"environment list", "NAME  HOSTS  DESCRIPTION\nDev   web1   x\n"},
		{"environment show Dev -o name", "Dev\n"},
		{"environment update Dev --description y -o name", "Dev\n"},
		{"host list -E Dev -o name", "web1\n"},
		{"host create web2 -E Dev --description d -o name", "web2\n"},
		{"application list -o name", "web\n"},
		{"file list --application web", "NAME  PATH       OWNER  GROUP  MODE\nmotd  /etc/motd  root   root   644\n"},
		{"file download motd - --application web", "hello ${greeting!}\n"},
		{"parameter create Greeting --key greeting --application web -o name", "Greeting\n"},
		{"parameter list --application web -o name", "Greeting\n"},
		{"setting create domain -f " + sh.file("domain.json", `{"value": "example.org"}`) + " -o name", "domain\n"},
		{"setting set port 8080", ""},
		{"setting set text 8080 --text -E Dev", ""},
		{"setting list", "KEY     VALUE        LINK  PROPERTY\ndomain  example.org\nport    8080\n"},
		{"setting show text -E Dev -o json", "{\n"},
		{"group list -o name", ""},
		{"user create anna --new-password-file " + sh.file("anna", "anna's password") + " -o name", "anna\n"},
		{"group add users anna", ""},
		{"group show users", "USERS  anna\n"},
		{"group remove users anna", ""},
		{"key create ci --group users --method TOKEN -o name", "ci\n"},
		{"enrol-token create -E Dev --uses 2", "muster-enrol-1.abc\n"},
		{"enrol-token list -E Dev -o name", "t1\n"},
		{"enrol-token delete t1 -E Dev", ""},
		{"host instance web1 -E Dev", "HOST"},
		{"compliance list --host web1 -E Dev", "NAME"},
		{"host delete web2 -E Dev", ""},
		{"user delete anna", ""},
	} {
		if got := sh.ok(c.line); !strings.Contains(got, c.want) {
			t.Errorf("muster %s: %q, want %q", c.line, got, c.want)
		}
	}
	if got := sh.ok("setting show text -E Dev -o json"); !strings.Contains(got, `"value": "8080"`) {
		t.Errorf("--text: %s", got)
	}
	if got := sh.ok("setting show port -o json"); !strings.Contains(got, `"value": 8080`) {
		t.Errorf("a number: %s", got)
	}
}

// What -o yaml prints is the same document as -o json, and can be created from.
func TestOutputGoesBackIn(t *testing.T) {
	sh := newShell(t).furnish()
	var fromJSON, fromYAML any
	j, y := sh.ok("application show web -o json"), sh.ok("application show web -o yaml")
	if err := json.Unmarshal([]byte(j), &fromJSON); err != nil {
		t.Fatalf("JSON: %v\n%s", err, j)
	}
	if err := yaml.Unmarshal([]byte(y), &fromYAML); err != nil {
		t.Fatalf("YAML: %v\n%s", err, y)
	}
	a, _ := json.Marshal(fromJSON) //nolint:errchkjson // just decoded
	b, _ := json.Marshal(fromYAML) //nolint:errchkjson // just decoded
	if string(a) != string(b) {
		t.Errorf("YAML says %s, JSON says %s", b, a)
	}
	for form, text := range map[string]string{"yaml": y, "json": j} {
		sh.ok("application create copy-" + form + " -f " + sh.file("copy."+form, text))
		if got := sh.ok("application show copy-" + form + " -o json"); !strings.Contains(got, `"644"`) {
			t.Errorf("the copy from %s: %s", form, got)
		}
	}
}

func TestWaitAndExitCodes(t *testing.T) {
	t.Parallel()
	sh := newShell(t).furnish()
	sh.env["MUSTER_ENVIRONMENT"] = "Dev"
	stop := sh.agent("")
	if out := sh.ok("host install web1 web --wait"); out != "" {
		t.Errorf("install prints %q", out)
	}
	sh.ok("host run web1 web again --wait")
	sh.ok("host update-file web1 web motd --wait")
	sh.ok("setting set greeting world --host web1 --wait")
	if got := sh.ok("host render web1 web motd"); got != "hello world\n" {
		t.Errorf("rendered: %q", got)
	}
	stop()
	stop = sh.agent("no such user")
	_, errs, code := sh.run("host restart-service web1 web nginx --wait")
	if code != exitTasksFailed || !strings.Contains(errs, "no such user") {
		t.Errorf("a failed task: exit %d, %s", code, errs)
	}
	stop()
	last := strings.Fields(sh.ok("change list --all --host web1 -o name"))
	num := last[len(last)-1]
	if got := sh.ok("change show " + num + " --host web1"); !strings.Contains(got, "ERROR") || !strings.Contains(got, "no such user") {
		t.Errorf("the failed change: %s", got)
	}
	if _, _, code = sh.run("change wait --after 0 --host web1"); code != exitTasksFailed {
		t.Errorf("waiting for what failed already: exit %d", code)
	}
	sh.ok("change wait --host web1") // nothing is pending, and earlier failures are not this wait's
	stop = sh.agent("")
	sh.ok("change retry " + num + " --host web1 --wait")
	sh.ok("compliance rebuild --host web1 --wait")
	stop()
	if got := sh.ok("change list --all --host web1"); !strings.Contains(got, "ERROR") || !strings.Contains(got, "OK") {
		t.Errorf("changes: %s", got)
	}
	if _, errs, code = sh.run("host update-file web1 web motd --wait --timeout 50ms"); code != exitWaitOver || !strings.Contains(errs, "50ms") {
		t.Errorf("a wait that runs out: exit %d, %s", code, errs)
	}
	for _, c := range []struct {
		line string
		code int
		want string
	}{
		{"host show nope", exitFailed, "nope"},
		{"organization create acme", exitConflict, "acme"},
		{"organization create a/b", exitFailed, "contains /"},
		{"organization show", exitUsage, "needs ORGANIZATION"},
		{"organization frobnicate", exitUsage, "unknown command"},
		{"organization list --nope", exitUsage, "unknown flag"},
		{"organization list -o xml", exitUsage, "not \"xml\""},
		{"organization create", exitUsage, "needs ORGANIZATION"},
		{"organization create -f /nonexistent", exitUsage, "reading the document"},
		{"organization create -f " + sh.file("bad", "- a\n- b"), exitUsage, "neither JSON nor YAML"},
		{"setting list --application web", exitUsage, "give --host too"},
		{"compliance show x --host web1", exitUsage, "applications/APPLICATION"},
		{"user create x", exitUsage, "--new-password-file"},
		{"organization list --api http://127.0.0.1:1/api", exitUnreachable, "cannot be reached"},
		{"organization list --api nonsense", exitUsage, "must look like"},
		{"organization list --password-file " + sh.file("wrong", "x"), exitNotAllowed, "not known"},
		{"organization list --password-file " + sh.file("void", "\n"), exitUsage, "is empty"},
	} {
		_, errs, code := sh.run(c.line)
		if code != c.code || !strings.Contains(errs, c.want) {
			t.Errorf("muster %s: exit %d, %q; want %d with %q", c.line, code, errs, c.code, c.want)
		}
	}
	delete(sh.env, "MUSTER_USER")
	if _, errs, code := sh.run("organization list"); code != exitUsage || !strings.Contains(errs, "MUSTER_USER") {
		t.Errorf("nobody calls: %d %s", code, errs)
	}
}

func TestExitCodeOfErrors(t *testing.T) {
	for code, err := range map[int]error{
		exitDone: nil, exitFailed: errors.New("x"), exitTasksFailed: fmt.Errorf("w: %w", &tasksError{2}), exitWaitOver: &waitError{time.Second},
		exitConflict: model.Errorf(model.Conflict, "x"), exitUsage: usagef("x"), exitUnreachable: &client.UnreachableError{URL: "u", Err: errors.New("x")},
		exitNotAllowed: model.Errorf(model.Forbidden, "x"),
	} {
		if got := exitCode(err); got != code {
			t.Errorf("%v: exit %d, want %d", err, got, code)
		}
	}
	if got := exitCode(model.Errorf(model.Unavailable, "x")); got != exitUnreachable {
		t.Errorf("no leader: exit %d", got)
	}
}

// Names from others cannot draw on the terminal.
func TestCellsAreHarmless(t *testing.T) {
	if got := oneLine("a\x1b[31mb\n\tc\u009bd"); strings.ContainsAny(got, "\x1b\n\t\u009b") {
		t.Errorf("cell %q", got)
	}
}

// Every command says what it does, and every noun shows an example.
func TestHelpTeaches(t *testing.T) {
	for _, noun := range newNouns(func(string) string { return "" }) {
		if noun.Example == "" || noun.Short == "" {
			t.Errorf("%s has no example or no summary", noun.Name())
		}
		for _, verb := range noun.Commands() {
			if verb.Short == "" {
				t.Errorf("%s %s has no summary", noun.Name(), verb.Name())
			}
		}
	}
}
