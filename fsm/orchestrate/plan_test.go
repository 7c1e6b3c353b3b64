package orchestrate_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

const full = `{"name":"full","groups":[{"name":"g","gid":7}],"users":[{"name":"u","uid":-1,"loginGroup":"g","home":"/home/u","createHome":true,"password":"$6$x$y"}],
"packages":[{"name":"p"}],"directories":[{"name":"d","path":"/d","mode":"755"}],
"files":[{"name":"a","path":"/a","owner":"root","mode":"644"},{"name":"b","path":"/b"},{"name":"run","path":"/run.sh"}],
"services":[{"name":"on","enabled":true},{"name":"off","enabled":false}],
"handlers":[{"on":["_install"],"do":[{"action":"update","resource":"file://a"},{"action":"execute","resource":"file://run"}]},
{"on":["_uninstall"],"do":[{"action":"execute","resource":"file://run"}]},
{"name":"first","on":["x","y"],"do":[{"action":"update","resource":"file://a"},{"action":"restart","resource":"service://on"}]},
{"on":["x"],"do":[{"action":"update","resource":"file://b"},{"action":"restart","resource":"service://on"},{"action":"reload","resource":"service://off"}]}]}`

func (w *world) change(hostID string) *model.Change {
	w.t.Helper()
	open := w.open(hostID)
	if len(open) != 1 {
		w.t.Fatalf("%d open changes, want 1:\n%s", len(open), w.steps(hostID))
	}
	return open[0]
}

func TestInstallPlan(t *testing.T) {
	w := newWorld(t)
	appID := w.app(full)
	w.content(appID, "a", "hello ${_host.name}\n")
	h := w.host("h1")
	w.do(func(tx *state.Tx) error {
		tx.SetActor("alice")
		_, err := orchestrate.InstallApplication(tx, w.org, h, model.ApplicationContext{Application: "full"})
		return err
	})
	const want = "apply groups g, apply users u, apply packages p, apply directories /d, apply files /a, apply files /b, apply files /run.sh, " +
		"apply services on restart[4 5 6], apply services off, act executables /run.sh run"
	if got := w.steps(h); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	c := w.change(h)
	if c.OrderNum != 0 || c.Actor != "alice" || c.Description != "Install application full" {
		t.Errorf("change %+v", c)
	}
	for i, wantJSON := range map[int]string{
		0: `{"ensure":"present","gid":7}`, 1: `{"createHome":true,"ensure":"present","group":"g","home":"/home/u","passwordHash":"$6$x$y"}`,
		2: `{"ensure":"present"}`, 3: `{"ensure":"present","mode":"755"}`, 4: `{"ensure":"present","mode":"644","owner":"root"}`,
		5: `{"content":"","ensure":"present"}`, 7: `{"enabled":true,"running":true}`, 8: `{"enabled":false,"running":false}`,
	} {
		if got := string(c.Tasks[i].Want); got != wantJSON {
			t.Errorf("task %d wants %s, not %s", i, got, wantJSON)
		}
		if c.Tasks[i].Monitor == nil || !*c.Tasks[i].Monitor {
			t.Errorf("task %d is not watched", i)
		}
	}
	if got, ok := state.Content(w.db.Local(), w.org, c.Tasks[4].Content); !ok || string(got) != "hello h1\n" {
		t.Errorf("content %q %v", got, ok)
	}
	if got := string(c.Tasks[9].Args); got != `{"argv":["/run.sh"]}` {
		t.Errorf("arguments %s", got)
	}
	if o := c.Tasks[4].Origin; o != (model.Origin{Application: "full", Type: "files", Name: "a"}) {
		t.Errorf("origin %+v", o)
	}
}

func TestClearPasswordIsHashedOnce(t *testing.T) {
	w := newWorld(t)
	w.app(`{"name":"people","users":[{"name":"u","password":"open sesame"},{"name":"locked","password":"!"}]}`)
	h := w.host("h1", "people")
	var wants []string
	for range 2 {
		w.do(func(tx *state.Tx) error { _, err := orchestrate.Rebuild(tx, w.org, h); return err })
		c := w.change(h)
		wants = append(wants, string(c.Tasks[0].Want))
		if c.Tasks[0].Fail != "" || strings.Contains(wants[0], "sesame") || !strings.Contains(wants[0], `"passwordHash":"$6$`) {
			t.Errorf("task %+v wants %s", c.Tasks[0], wants[0])
		}
		if got := string(c.Tasks[1].Want); got != `{"ensure":"present","passwordHash":"!"}` {
			t.Errorf("a locked account: %s", got)
		}
		w.finish(h)
	}
	if wants[0] != wants[1] {
		t.Error("the same password got another hash")
	}
}

// TestHandlersOnOneKey: two handlers name the key; the restart comes once, after both files.
func TestHandlersOnOneKey(t *testing.T) {
	w := newWorld(t)
	w.app(full)
	h := w.host("h1", "full")
	w.set(w.owner(model.LevelHost, h), model.Setting{Key: "x", Value: value("1")})
	const want = "apply files /a, apply files /b, act services on restart, act services off reload"
	if got := w.steps(h); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTemplateErrorBecomesTheTasks(t *testing.T) {
	w := newWorld(t)
	appID := w.app(full)
	w.content(appID, "a", "line\n${missing}\n")
	h := w.host("h1")
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.InstallApplication(tx, w.org, h, model.ApplicationContext{Application: "full"})
		return err
	})
	if fail := w.change(h).Tasks[4].Fail; !strings.Contains(fail, "file a: line 2, column") || !strings.Contains(fail, "missing") {
		t.Errorf("got %q", fail)
	}
	if _, err := orchestrate.RenderHostFile(w.db.Local(), w.org, h, "full", "a"); model.CodeOf(err) != model.Invalid || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("rendering: %v", err)
	}
}

func TestUninstallKeepsWhatIsShared(t *testing.T) {
	w := newWorld(t)
	w.app(full)
	w.app(`{"name":"other","packages":[{"name":"p"}],"files":[{"name":"mine","path":"/b"}],"services":[{"name":"on"}],"users":[{"name":"u"}]}`)
	h := w.host("h1", "full", "other")
	uninstall := func(handlers bool) {
		w.do(func(tx *state.Tx) error {
			return orchestrate.UninstallApplication(tx, w.org, h, "full", orchestrate.Trigger{Handlers: handlers})
		})
	}
	view := w.db.Local()
	ctx, _, err := orchestrate.ContextByName(view, w.org, h, "full")
	if err != nil {
		t.Fatal(err)
	}
	without := orchestrate.PlanUninstall(view, ctx, false)
	uninstall(true)
	const rest = "apply services off, apply files /a, apply files /run.sh, forget directories /d, forget groups g"
	if got := w.steps(h); got != "act executables /run.sh run, "+rest {
		t.Errorf("got\n%s", got)
	}
	if got := taskLine(t, without.Tasks); got != rest {
		t.Errorf("without handlers: got\n%s", got)
	}
	for _, task := range w.change(h).Tasks[1:] {
		if task.Monitor == nil || *task.Monitor {
			t.Errorf("%s is still watched", task.Resource)
		}
	}
	w.refused(model.NotFound, "not installed", func(tx *state.Tx) error {
		return orchestrate.UninstallApplication(tx, w.org, h, "full", orchestrate.Trigger{})
	})
}

func TestLiveActions(t *testing.T) {
	w := newWorld(t)
	w.app(full)
	h := w.host("h1", "full")
	for _, c := range []struct {
		want, wantJSON string
		do             func(tx *state.Tx) (*model.Change, error)
	}{
		{"apply files /a", `{"content":"","ensure":"present","mode":"644","owner":"root"}`, func(tx *state.Tx) (*model.Change, error) {
			return orchestrate.UpdateFileNow(tx, w.org, h, "full", "a")
		}},
		{"act services on restart", "", func(tx *state.Tx) (*model.Change, error) {
			return orchestrate.ServiceNow(tx, w.org, h, "full", "on", "restart")
		}},
		{"apply services on", `{"enabled":true,"running":true}`, func(tx *state.Tx) (*model.Change, error) {
			return orchestrate.ServiceNow(tx, w.org, h, "full", "on", "update")
		}},
		{"apply services on", `{"enabled":false,"running":false}`, func(tx *state.Tx) (*model.Change, error) {
			return orchestrate.ServiceNow(tx, w.org, h, "full", "on", "disable")
		}},
		{"apply services on", `{"enabled":true,"running":true}`, func(tx *state.Tx) (*model.Change, error) {
			return orchestrate.ServiceNow(tx, w.org, h, "full", "on", "enable")
		}},
		{"apply packages p", `{"ensure":"present","version":"1.2"}`, func(tx *state.Tx) (*model.Change, error) {
			return orchestrate.PackageNow(tx, w.org, h, "full", "p", "install", "1.2")
		}},
		{"apply packages p", `{"ensure":"latest"}`, func(tx *state.Tx) (*model.Change, error) {
			return orchestrate.PackageNow(tx, w.org, h, "full", "p", "update", "")
		}},
		{"apply files /a, act services on restart", `{"content":"","ensure":"present","mode":"644","owner":"root"}`, func(tx *state.Tx) (*model.Change, error) {
			return orchestrate.RunHandler(tx, w.org, h, "full", "first")
		}},
	} {
		var key string
		w.do(func(tx *state.Tx) error {
			change, err := c.do(tx)
			if err == nil {
				key = change.ID
			}
			return err
		})
		if got := w.change(h); w.steps(h) != c.want || string(got.Tasks[0].Want) != c.wantJSON || got.ID != key {
			t.Errorf("got %s %s", w.steps(h), got.Tasks[0].Want)
		}
		w.finish(h)
	}
	w.do(func(tx *state.Tx) error { _, err := orchestrate.Rebuild(tx, w.org, h); return err })
	if got := w.steps(h); !strings.HasPrefix(got, "apply groups g, ") || strings.Contains(got, "act") {
		t.Errorf("rebuild: %s", got)
	}
}

func TestLiveActionsRefused(t *testing.T) {
	w := newWorld(t)
	w.app(full)
	h := w.host("h1", "full")
	var bare string
	w.do(func(tx *state.Tx) error {
		row, err := orchestrate.CreateHost(tx, w.org, w.env, model.Host{Name: "bare", Applications: []string{"full"}})
		bare = row.ID
		return err
	})
	w.refused(model.NotFound, `no file "z"`, func(tx *state.Tx) error {
		_, err := orchestrate.UpdateFileNow(tx, w.org, h, "full", "z")
		return err
	})
	w.refused(model.Invalid, "use restart", func(tx *state.Tx) error {
		_, err := orchestrate.ServiceNow(tx, w.org, h, "full", "on", "kill")
		return err
	})
	w.refused(model.Conflict, "has no instance", func(tx *state.Tx) error {
		_, err := orchestrate.RunHandler(tx, w.org, bare, "full", "first")
		return err
	})
	w.refused(model.Conflict, "has no instance", func(tx *state.Tx) error {
		_, err := orchestrate.Rebuild(tx, w.org, bare)
		return err
	})
}

func TestDisableIsRemembered(t *testing.T) {
	w := newWorld(t)
	w.app(full)
	h := w.host("h1", "full")
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.ServiceNow(tx, w.org, h, "full", "on", "disable")
		return err
	})
	ctx, _, err := orchestrate.ContextByName(w.db.Local(), w.org, h, "full")
	if err != nil {
		t.Fatal(err)
	}
	if doc := orchestrate.ContextDoc(w.db.Local(), ctx, orchestrate.Show{}); !slices.Equal(doc.Services, []model.ServiceSwitch{{Name: "on"}}) {
		t.Errorf("overrides %+v", doc.Services)
	}
	w.finish(h)
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.UpdateContext(tx, w.org, h, "full", []byte(`{"services":[{"name":"off","enabled":true}]}`), orchestrate.Trigger{})
		return err
	})
	if got := w.steps(h); got != "apply services on, apply services off" {
		t.Errorf("switched: %s", got)
	}
	w.refused(model.Invalid, `names "z"`, func(tx *state.Tx) error {
		_, err := orchestrate.UpdateContext(tx, w.org, h, "full", []byte(`{"services":[{"name":"z"}]}`), orchestrate.Trigger{})
		return err
	})
}

func TestChangedApplicationIsApplied(t *testing.T) {
	w := newWorld(t)
	appID := w.app(full)
	h := w.host("h1", "full")
	update := func(patch string, tr orchestrate.Trigger) {
		w.do(func(tx *state.Tx) error {
			_, err := orchestrate.UpdateApplication(tx, w.org, appID, []byte(patch), tr)
			return err
		})
	}
	update(`{"description":"new","files":[]}`, orchestrate.Trigger{})
	if got := w.steps(h); got != "" {
		t.Errorf("nothing differs, and files change in their collection only: %s", got)
	}
	update(`{"packages":[{"name":"q"}],"users":[]}`, orchestrate.Trigger{})
	if got := w.steps(h); got != "apply packages q, apply packages p, forget users u" {
		t.Errorf("got %s", got)
	}
	w.finish(h)
	update(`{}`, orchestrate.Trigger{Force: true})
	if got := w.steps(h); !strings.HasPrefix(got, "apply groups g, apply packages q") {
		t.Errorf("by force: %s", got)
	}
}

func TestRetry(t *testing.T) {
	w := newWorld(t)
	appID := w.app(full)
	h := w.host("h1")
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.InstallApplication(tx, w.org, h, model.ApplicationContext{Application: "full"})
		return err
	})
	w.refused(model.Conflict, "not processed yet", func(tx *state.Tx) error {
		_, err := orchestrate.RetryChange(tx, w.org, h, 0, false)
		return err
	})
	c := w.change(h)
	w.do(func(tx *state.Tx) error { // file b could not be written, all behind it is skipped; file a was changed
		e, _ := state.Edit[model.Change](tx, c.ID)
		for i := range e.Tasks {
			e.Tasks[i].Status = model.TaskOK
			if i >= 5 {
				e.Tasks[i].Status, e.Tasks[i].Error = model.TaskError, "skipped"
			}
		}
		e.Tasks[4].Changed, e.Tasks[9].Interrupted, e.Done = true, true, true
		return state.Put(tx, e)
	})
	if s := orchestrate.HostState(w.db.Local(), h); s != model.HostError {
		t.Errorf("state %s", s)
	}
	w.content(appID, "b", "now there")
	if got, want := w.steps(h), "apply files /b, apply services on restart[0]"; got != want {
		t.Errorf("after the upload: %s, want %s", got, want)
	}
	w.finish(h)
	retry := func(skip bool) {
		w.do(func(tx *state.Tx) error { _, err := orchestrate.RetryChange(tx, w.org, h, 0, skip); return err })
	}
	retry(true)
	const want = "apply files /b, apply files /run.sh, apply services on restart[0 1], act services on restart, apply services off"
	if got := w.steps(h); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	got, _ := state.Content(w.db.Local(), w.org, w.change(h).Tasks[0].Content)
	if string(got) != "now there" {
		t.Errorf("content %q", got)
	}
	w.finish(h)
	if s := orchestrate.HostState(w.db.Local(), h); s != model.HostReady {
		t.Errorf("state %s after the retry", s)
	}
	retry(false)
	if got := w.steps(h); got != want+", act executables /run.sh run" {
		t.Errorf("with the interrupted task: %s", got)
	}
	w.finish(h)
	w.refused(model.Conflict, "nothing to retry", func(tx *state.Tx) error {
		_, err := orchestrate.RetryChange(tx, w.org, h, 1, false)
		return err
	})
}

func TestDemoLoadBalancer(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "demo-apps", "lb")
	doc, err := os.ReadFile(filepath.Join(dir, "definition.json"))
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("the demo applications are not here: %v", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "files", "nginx.conf"))
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.content(w.app(string(doc)), "nginx.conf", string(text))
	h := w.host("lb")
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.InstallApplication(tx, w.org, h, model.ApplicationContext{
			Application: "Cluster-LoadBalancer", Settings: []model.Setting{{Key: "upstream", Value: value(`["10.0.0.1:80"]`)}},
		})
		return err
	})
	if got := w.steps(h); got != "apply packages nginx, apply files /etc/nginx/nginx.conf, apply services nginx restart[1]" {
		t.Errorf("install: %s", got)
	}
	got, _ := state.Content(w.db.Local(), w.org, w.change(h).Tasks[1].Content)
	if !strings.Contains(string(got), "    server 10.0.0.1:80 fail_timeout=30s;\n") || strings.Contains(string(got), "<#") {
		t.Errorf("rendered:\n%s", got)
	}
	w.finish(h)
	w.set(w.context(h, "Cluster-LoadBalancer"), model.Setting{Key: "upstream", Value: value(`["10.0.0.2:80"]`)})
	if got := w.steps(h); got != "apply files /etc/nginx/nginx.conf, act services nginx restart" {
		t.Errorf("upstream changed: %s", got)
	}
}
