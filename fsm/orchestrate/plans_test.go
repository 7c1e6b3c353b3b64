package orchestrate_test

import (
	"crypto/rand"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// handlersOf is an application with three files, two services and the handlers given.
func handlersOf(handlers string) string {
	return `{"name":"app","files":[{"name":"a","path":"/a"},{"name":"b","path":"/b"},{"name":"run","path":"/run"}],
"services":[{"name":"s","enabled":true},{"name":"t","enabled":true}],"handlers":[` + handlers + `]}`
}

// TestHandlerPlans: the steps that a change of the keys x and y comes to.
func TestHandlerPlans(t *testing.T) {
	do := func(on string, steps ...string) string {
		var parts []string
		for _, s := range steps {
			action, resource, _ := strings.Cut(s, " ")
			parts = append(parts, `{"action":"`+action+`","resource":"`+resource+`"}`)
		}
		return `{"on":[` + on + `],"do":[` + strings.Join(parts, ",") + `]}`
	}
	const x, y, both = `"x"`, `"y"`, `"x","y"`
	for name, c := range map[string]struct {
		handlers []string
		x, xy    string // steps when x changes; when both change at once
	}{
		"in the order written": {
			[]string{do(x, "restart service://s", "update file://a")},
			"act services s restart, apply files /a", "act services s restart, apply files /a",
		},
		"one handler for two keys runs once": {
			[]string{do(both, "update file://a", "execute file://run")},
			"apply files /a, act executables /run run", "apply files /a, act executables /run run",
		},
		"each step once, a restart behind the last file": {
			[]string{do(x, "update file://a", "restart service://s"), do(y, "update file://b", "restart service://s")},
			"apply files /a, act services s restart", "apply files /a, apply files /b, act services s restart",
		},
		"restart and reload are two things": {
			[]string{do(x, "reload service://s"), do(y, "restart service://s")},
			"act services s reload", "act services s reload, act services s restart",
		},
		"two services do not wait for each other": {
			[]string{do(x, "update file://a", "restart service://s"), do(y, "update file://b", "restart service://t")},
			"apply files /a, act services s restart", "apply files /a, act services s restart, apply files /b, act services t restart",
		},
		"a script that was run stays where it was": {
			[]string{do(x, "execute file://run", "update file://a"), do(y, "execute file://run", "update file://b")},
			"act executables /run run, apply files /a", "act executables /run run, apply files /a, apply files /b",
		},
		"a handler on another key": {[]string{do(`"z"`, "update file://a")}, "", ""},
		"a handler without steps":  {[]string{do(both)}, "", ""},
		"install and uninstall are no keys": {
			[]string{do(`"_install","_uninstall"`, "execute file://run")}, "", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.app(handlersOf(strings.Join(c.handlers, ",")))
			h := w.host("h1", "app")
			host := w.owner(model.LevelHost, h)
			w.set(host, model.Setting{Key: "x", Value: value("1")})
			if got := w.steps(h); got != c.x {
				t.Errorf("x changed:\n got %s\nwant %s", got, c.x)
			}
			w.finish(h)
			w.do(func(tx *state.Tx) error {
				return orchestrate.BulkSettings(tx, host, []model.Setting{{Key: "x", Value: value("2")}, {Key: "y", Value: value("2")}}, true, orchestrate.Trigger{Handlers: true})
			})
			if got := w.steps(h); got != c.xy {
				t.Errorf("both changed:\n got %s\nwant %s", got, c.xy)
			}
		})
	}
}

func TestInstallHandlersRunOnce(t *testing.T) {
	w := newWorld(t)
	w.app(handlersOf(`{"on":["_install","x"],"do":[{"action":"execute","resource":"file://run"}]},{"on":["_uninstall"],"do":[{"action":"execute","resource":"file://run"}]}`))
	h := w.host("h1")
	count := func() int { return strings.Count(w.steps(h), "act executables /run run") }
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.InstallApplication(tx, w.org, h, model.ApplicationContext{Application: "app", Settings: []model.Setting{{Key: "x", Value: value("1")}}})
		return err
	})
	if count() != 1 {
		t.Errorf("installed with a setting: %s", w.steps(h))
	}
	w.finish(h)
	w.do(func(tx *state.Tx) error { _, err := orchestrate.Rebuild(tx, w.org, h); return err })
	if count() != 0 {
		t.Errorf("a rebuild runs handlers: %s", w.steps(h))
	}
	w.finish(h)
	w.do(func(tx *state.Tx) error {
		return orchestrate.UninstallApplication(tx, w.org, h, "app", orchestrate.Trigger{Handlers: true})
	})
	if got := w.steps(h); count() != 1 || !strings.HasPrefix(got, "act executables") {
		t.Errorf("uninstalled: %s", got)
	}
}

// TestMissingValueEndsTheChange: the whole way of a template without its value, and back by a retry.
func TestMissingValueEndsTheChange(t *testing.T) {
	w := newWorld(t)
	appID := w.app(handlersOf(""))
	w.content(appID, "b", "one\n  ${who}\n")
	h := w.enrol("a1", "h1")
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.InstallApplication(tx, w.org, h, model.ApplicationContext{Application: "app"})
		return err
	})
	c := w.change(h)
	fail := c.Tasks[1].Fail
	if !strings.Contains(fail, "file b: line 2, column") || !strings.Contains(fail, "who") || c.Tasks[0].Fail != "" {
		t.Fatalf("the plan says %q", fail)
	}
	w.order(h, "O1")
	w.reply("a1", orchestrate.StepOutcome{OrderID: "O1", Step: 0, OK: true, Changed: true})
	w.reply("a1", orchestrate.StepOutcome{OrderID: "O1", Step: 1, Error: fail})
	for i := 2; i < len(c.Tasks); i++ {
		w.reply("a1", orchestrate.StepOutcome{OrderID: "O1", Step: i, Skipped: true})
	}
	view, err := orchestrate.GetChange(w.db.Local(), w.org, h, c.OrderNum)
	if err != nil || !view.Done || view.Tasks[1].Error != fail || view.Tasks[2].Error == "" {
		t.Errorf("the change is told as %+v, %v", view, err)
	}
	if got := orchestrate.HostState(w.db.Local(), h); got != model.HostError {
		t.Errorf("the host is %s", got)
	}
	again := func() *model.Change {
		t.Helper()
		var c2 *model.Change
		w.do(func(tx *state.Tx) error {
			var err error
			c2, err = orchestrate.RetryChange(tx, w.org, h, c.OrderNum, false)
			return err
		})
		return c2
	}
	if got := again(); got.Tasks[0].Fail != fail {
		t.Errorf("retried with the value still missing: %q", got.Tasks[0].Fail)
	}
	w.finish(h, 0)
	w.set(w.owner(model.LevelHost, h), model.Setting{Key: "who", Value: value(`"me"`)})
	got := again()
	if got.Tasks[0].Fail != "" || got.Tasks[0].Resource != "/b" {
		t.Errorf("retried with the value: %+v", got.Tasks[0])
	}
	if text, ok := state.Content(w.db.Local(), w.org, got.Tasks[0].Content); !ok || string(text) != "one\n  me\n" {
		t.Errorf("content %q", text)
	}
	// File a was written in the first attempt, so the services are owed a restart beside that for file b.
	if steps := w.steps(h); !strings.Contains(steps, "act services s restart") || !strings.Contains(steps, "act services t restart") {
		t.Errorf("steps %s", steps)
	}
}

// TestRetryAfterInterruption: what was cut off is asked about, what was skipped goes on, what is done stays done.
func TestRetryAfterInterruption(t *testing.T) {
	for name, c := range map[string]struct {
		skip bool
		want string
	}{
		"again":    {false, "act executables /run run, apply files /a"},
		"left out": {true, "apply files /a"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.app(handlersOf(`{"name":"h","on":["x"],"do":[{"action":"update","resource":"file://b"},{"action":"execute","resource":"file://run"},{"action":"update","resource":"file://a"}]}`))
			h := w.host("h1", "app")
			w.do(func(tx *state.Tx) error {
				if err := state.Put(tx, &model.Agent{ID: "a1", OrgID: w.org, EnvID: w.env, HostID: h}); err != nil {
					return err
				}
				return state.Put(tx, &model.Lanes{AgentID: "a1", Epoch: tx.Epoch()})
			})
			w.do(func(tx *state.Tx) error { _, err := orchestrate.RunHandler(tx, w.org, h, "app", "h"); return err })
			num := w.change(h).OrderNum
			w.order(h, "O1")
			w.reply("a1", orchestrate.StepOutcome{OrderID: "O1", Step: 0, OK: true})
			w.reply("a1", orchestrate.StepOutcome{OrderID: "O1", Step: 1, Interrupted: true})
			w.reply("a1", orchestrate.StepOutcome{OrderID: "O1", Step: 2, Skipped: true})
			w.do(func(tx *state.Tx) error { _, err := orchestrate.RetryChange(tx, w.org, h, num, c.skip); return err })
			if got := w.steps(h); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if d := w.change(h).Description; !strings.Contains(d, "retry of change") {
				t.Errorf("description %q", d)
			}
		})
	}
}

// TestRetryOfWhatIsGone: a task whose declaration is gone stays as it was planned.
func TestRetryOfWhatIsGone(t *testing.T) {
	w := newWorld(t)
	appID := w.app(handlersOf(""))
	w.content(appID, "a", "kept")
	h := w.host("h1", "app")
	w.do(func(tx *state.Tx) error { _, err := orchestrate.UpdateFileNow(tx, w.org, h, "app", "a"); return err })
	num := w.change(h).OrderNum
	w.finish(h, 0)
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteFile(tx, w.org, appID, "a") })
	w.finish(h) // the one that removes it
	w.do(func(tx *state.Tx) error { _, err := orchestrate.RetryChange(tx, w.org, h, num, false); return err })
	task := w.change(h).Tasks[0]
	if text, ok := state.Content(w.db.Local(), w.org, task.Content); !ok || string(text) != "kept" || task.Fail != "" {
		t.Errorf("task %+v with %q", task, text)
	}
}

// TestSharedResourcesSurviveInAnyOrder: two applications declare the same things; the last one to go takes them.
func TestSharedResourcesSurviveInAnyOrder(t *testing.T) {
	const doc = `{"name":"NAME","packages":[{"name":"p"}],"files":[{"name":"NAME-file","path":"/shared"}],"services":[{"name":"s","enabled":true}],
"directories":[{"name":"d","path":"/d"}],"users":[{"name":"u"}],"groups":[{"name":"g"}]}`
	for _, order := range [][2]string{{"one", "two"}, {"two", "one"}} {
		w := newWorld(t)
		for _, name := range order {
			w.app(strings.ReplaceAll(doc, "NAME", name))
		}
		h := w.host("h1", "one", "two")
		off := func(name string) string {
			w.do(func(tx *state.Tx) error {
				return orchestrate.UninstallApplication(tx, w.org, h, name, orchestrate.Trigger{Handlers: true})
			})
			steps := w.steps(h)
			w.finish(h)
			return steps
		}
		if got := off(order[0]); got != "" {
			t.Errorf("%s went and took along %s", order[0], got)
		}
		const all = "apply services s, apply files /shared, apply packages p, forget directories /d, forget users u, forget groups g"
		if got := off(order[1]); got != all {
			t.Errorf("the last one took along %s", got)
		}
	}
}

// TestCloneIsApart: what is done to a clone does not touch what it was made from.
func TestCloneIsApart(t *testing.T) {
	w := newWorld(t)
	appID := w.app(web)
	w.content(appID, "conf", "first")
	h := w.host("h1", "web")
	w.set(w.context(h, "web"), model.Setting{Key: "port", Value: value("7"), Schema: value(`{"secret":true}`)})
	w.finish(h)
	var hostClone, appClone string
	w.do(func(tx *state.Tx) error {
		a, err := orchestrate.CloneApplication(tx, w.org, appID, "copy")
		if err != nil {
			return err
		}
		c, err := orchestrate.CloneHost(tx, w.org, h)
		if err != nil {
			return err
		}
		second, err := orchestrate.CloneHost(tx, w.org, h)
		if err == nil && second.Name != "h1-clone-2" {
			t.Errorf("the second clone is named %q", second.Name)
		}
		appClone, hostClone = a.ID, c.ID
		return err
	})
	w.content(appClone, "conf", "second")
	w.set(w.context(hostClone, "web"), model.Setting{Key: "port", Value: value("9")})
	if text, err := orchestrate.FileContent(w.db.Local(), w.org, appID, "conf"); err != nil || string(text) != "first" {
		t.Errorf("the original has the content %q %v", text, err)
	}
	if o, err := orchestrate.Origin(w.db.Local(), w.org, h, "web", "port"); err != nil || string(o.Value) != "7" {
		t.Errorf("the original has port %s %v", o.Value, err)
	}
	mine, err1 := orchestrate.Files(w.db.Local(), w.org, appID)
	theirs, err2 := orchestrate.Files(w.db.Local(), w.org, appClone)
	if err1 != nil || err2 != nil || mine[0].UUID == theirs[0].UUID {
		t.Errorf("a file and its copy have one id: %v %v", err1, err2)
	}
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteHost(tx, w.org, hostClone) })
	if got := orchestrate.HostState(w.db.Local(), h); got != model.HostReady {
		t.Errorf("the original is %s", got)
	}
}

// TestLargeFiles: one that is not rendered may have any size; a template has a bound, which names the file.
func TestLargeFiles(t *testing.T) {
	w := newWorld(t)
	appID := w.app(handlersOf(""))
	h := w.host("h1")
	junk := make([]byte, 300<<10)
	if _, err := rand.Read(junk); err != nil {
		t.Fatal(err)
	}
	put := func(file string, content []byte) {
		t.Helper()
		if _, err := state.StageContent(t.Context(), w.db, w.org, content); err != nil {
			t.Fatal(err)
		}
		w.do(func(tx *state.Tx) error { return orchestrate.PutFileContent(tx, w.org, appID, file, content) })
	}
	install := func(tx *state.Tx) error {
		_, err := orchestrate.InstallApplication(tx, w.org, h, model.ApplicationContext{Application: "app"})
		return err
	}
	put("a", append([]byte{0}, junk...))
	put("b", []byte(base64.StdEncoding.EncodeToString(junk)+"${_host.name}"))
	w.refused(model.TooLarge, `file "b" of application "app" comes to`, install)
	put("b", []byte("small"))
	w.do(install)
	if got, ok := state.Content(w.db.Local(), w.org, w.change(h).Tasks[0].Content); !ok || len(got) != len(junk)+1 {
		t.Errorf("the large file has %d bytes", len(got))
	}
}
