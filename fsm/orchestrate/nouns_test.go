package orchestrate_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

func TestHostStates(t *testing.T) {
	w := newWorld(t)
	w.app(web)
	var h string
	w.do(func(tx *state.Tx) error {
		row, err := orchestrate.CreateHost(tx, w.org, w.env, model.Host{Name: "h1", Applications: []string{"web"}})
		h = row.ID
		return err
	})
	expect := func(want model.HostState) {
		t.Helper()
		view := w.db.Local()
		row, err := orchestrate.HostByID(view, w.org, h)
		if err != nil {
			t.Fatal(err)
		}
		if got := orchestrate.HostDoc(view, row, orchestrate.Show{}).State; got != want {
			t.Errorf("state %s, want %s", got, want)
		}
	}
	expect(model.HostDefined)
	w.do(func(tx *state.Tx) error { _, err := orchestrate.AdoptHost(tx, w.org, w.env, "h1"); return err })
	expect(model.HostUpdating)
	w.finish(h)
	expect(model.HostReady)
	set := func(v string) {
		w.set(w.owner(model.LevelHost, h), model.Setting{Key: "port", Value: value(v)})
	}
	set("1")
	w.finish(h, 1)
	expect(model.HostError)
	set("2")
	w.finish(h)
	expect(model.HostReady)
	set("3")
	w.finish(h, 0)
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteChanges(tx, w.org, h, true) })
	expect(model.HostReady)
	origin := model.Origin{Application: "web", Type: "services", Name: "httpd"}
	w.do(func(tx *state.Tx) error {
		return orchestrate.PutCompliance(tx, h, origin, value(`{"running":true}`), value(`{"running":false}`))
	})
	expect(model.HostError)
	w.do(func(tx *state.Tx) error { return orchestrate.ClearCompliance(tx, h, origin) })
	expect(model.HostReady)
	w.refused(model.Conflict, "delete or forget it first", func(tx *state.Tx) error { return orchestrate.DeleteHost(tx, w.org, h) })
	w.do(func(tx *state.Tx) error { return orchestrate.LockInstance(tx, w.org, h, true) })
	w.refused(model.Conflict, "locked", func(tx *state.Tx) error { return orchestrate.DeleteInstance(tx, w.org, h) })
	w.do(func(tx *state.Tx) error { return orchestrate.LockInstance(tx, w.org, h, false) })
	set("4")
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteInstance(tx, w.org, h) })
	expect(model.HostDefined)
	if n := len(w.open(h)); n != 0 {
		t.Errorf("%d changes are open without a machine", n)
	}
}

func TestInstanceDocument(t *testing.T) {
	w := newWorld(t)
	h := w.host("h1")
	w.do(func(tx *state.Tx) error {
		if err := state.Put(tx, &model.Agent{ID: "a", OrgID: w.org, EnvID: w.env, HostID: h}); err != nil {
			return err
		}
		return state.Put(tx, &model.Presence{AgentID: "a", Up: true})
	})
	i, err := orchestrate.GetInstance(w.db.Local(), w.org, h)
	if err != nil || i.State != model.InstanceRunning || i.SynapseState != model.SynapseUp || i.Hostname != "h1" || i.Environment != "Default" {
		t.Errorf("got %+v %v", i, err)
	}
	if !slices.Equal(i.Properties, []model.Property{{Key: "hostname", Value: "h1"}}) {
		t.Errorf("properties %+v", i.Properties)
	}
	w.do(func(tx *state.Tx) error { return state.Put(tx, &model.Presence{AgentID: "a"}) })
	if i, _ := orchestrate.GetInstance(w.db.Local(), w.org, h); i.SynapseState != model.SynapseDown {
		t.Errorf("agent state %s", i.SynapseState)
	}
}

func TestAdoptRefusesATakenName(t *testing.T) {
	w := newWorld(t)
	w.host("h1")
	w.refused(model.Conflict, "has a machine already", func(tx *state.Tx) error {
		_, err := orchestrate.AdoptHost(tx, w.org, w.env, "h1")
		return err
	})
}

func TestChangesOfAHost(t *testing.T) {
	w := newWorld(t)
	w.app(web)
	h := w.host("h1", "web")
	for _, v := range []string{"1", "2", "3"} {
		w.set(w.owner(model.LevelHost, h), model.Setting{Key: "port", Value: value(v)})
	}
	all, err := orchestrate.Changes(w.db.Local(), w.org, h, true)
	if err != nil || len(all) != 4 {
		t.Fatalf("%d changes, %v", len(all), err)
	}
	for i, c := range all {
		if c.OrderNum != i || c.Key == "" || c.Description == "" || c.Done != (i == 0) {
			t.Errorf("change %d: %+v", i, c)
		}
	}
	w.do(func(tx *state.Tx) error { // 1 is on its way
		c, _ := state.Edit[model.Change](tx, all[1].UUID)
		c.Order = "O"
		return state.Put(tx, c)
	})
	w.refused(model.Conflict, "on its way", func(tx *state.Tx) error { return orchestrate.DeleteChange(tx, w.org, h, 1) })
	w.refused(model.NotFound, "no change 9", func(tx *state.Tx) error { return orchestrate.DeleteChange(tx, w.org, h, 9) })
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteChange(tx, w.org, h, 3) })
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteChanges(tx, w.org, h, true) })
	if _, err := orchestrate.GetChange(w.db.Local(), w.org, h, 0); model.CodeOf(err) != model.NotFound {
		t.Errorf("change 0: %v", err)
	}
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteChanges(tx, w.org, h, false) })
	left, _ := orchestrate.Changes(w.db.Local(), w.org, h, true)
	if len(left) != 1 || left[0].OrderNum != 1 {
		t.Errorf("left: %+v", left)
	}
	w.set(w.owner(model.LevelHost, h), model.Setting{Key: "port", Value: value("4")})
	if _, err := orchestrate.GetChange(w.db.Local(), w.org, h, 4); err != nil {
		t.Errorf("a number was given twice: %v", err)
	}
}

func TestComplianceErrors(t *testing.T) {
	w := newWorld(t)
	appID := w.app(web)
	h := w.host("h1", "web")
	origin := model.Origin{Application: "web", Type: "files", Name: "conf"}
	put := func(expected, observed string) {
		w.do(func(tx *state.Tx) error {
			return orchestrate.PutCompliance(tx, h, origin, value(expected), value(observed))
		})
	}
	put(`{"mode":"644"}`, `null`)
	got, err := orchestrate.GetComplianceError(w.db.Local(), w.org, h, "web", "files", "conf")
	if err != nil || got.Type != "fileResource" || string(got.CurrentState) != `{"path":"/etc/conf","present":true}` ||
		string(got.ExpectedState) != `{"mode":"644","path":"/etc/conf","present":true}` {
		t.Errorf("got %+v %v", got, err)
	}
	index := w.db.Local().Index()
	put(`{"mode":"644"}`, `{}`)
	if w.db.Local().Index() != index {
		t.Error("the same error was written again")
	}
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.UpdateApplication(tx, w.org, appID, []byte(`{"name":"www"}`), orchestrate.Trigger{})
		return err
	})
	w.finish(h)
	put(`{"mode":"600"}`, `{"mode":"1"}`) // the agent still says web
	list, err := orchestrate.ComplianceErrors(w.db.Local(), w.org, h)
	if err != nil || len(list) != 1 || list[0].Application != "www" || string(list[0].ExpectedState) != `{"mode":"600","path":"/etc/conf","present":true}` {
		t.Errorf("after a rename: %+v %v", list, err)
	}
	w.do(func(tx *state.Tx) error {
		return orchestrate.DeleteComplianceError(tx, w.org, h, "www", "files", "conf")
	})
	w.refused(model.NotFound, "applications/www/files/conf", func(tx *state.Tx) error {
		return orchestrate.DeleteComplianceError(tx, w.org, h, "www", "files", "conf")
	})
	put(`{}`, `{}`)
	w.do(func(tx *state.Tx) error {
		return orchestrate.UninstallApplication(tx, w.org, h, "www", orchestrate.Trigger{})
	})
	if list, _ := orchestrate.ComplianceErrors(w.db.Local(), w.org, h); len(list) != 0 {
		t.Errorf("after uninstalling: %+v", list)
	}
	put(`{}`, `{"mode":"2"}`) // was on its way
	if list, _ := orchestrate.ComplianceErrors(w.db.Local(), w.org, h); len(list) != 0 {
		t.Errorf("of an application that is gone: %+v", list)
	}
}

func TestApplicationsAndTheirParts(t *testing.T) {
	w := newWorld(t)
	appID := w.app(full)
	w.refused(model.Invalid, `file "a": template: line 2, column`, func(tx *state.Tx) error {
		return orchestrate.PutFileContent(tx, w.org, appID, "a", []byte("x\n<#if>\n"))
	})
	w.content(appID, "a", "${_host.name}")
	w.do(func(tx *state.Tx) error {
		f, err := orchestrate.UpdateFile(tx, w.org, appID, "a", []byte(`{"name":"c","mode":"600"}`))
		if f.Name != "c" || f.Mode != "600" || f.Path != "/a" || f.Version != 3 || f.UUID == "" {
			t.Errorf("got %+v", f)
		}
		return err
	})
	if text, err := orchestrate.FileContent(w.db.Local(), w.org, appID, "c"); err != nil || string(text) != "${_host.name}" {
		t.Errorf("content %q %v", text, err)
	}
	if text, err := orchestrate.FileContent(w.db.Local(), w.org, appID, "b"); err != nil || len(text) != 0 {
		t.Errorf("a file without content: %q %v", text, err)
	}
	w.refused(model.Conflict, "handler 1", func(tx *state.Tx) error { return orchestrate.DeleteFile(tx, w.org, appID, "c") })
	w.refused(model.Conflict, "already", func(tx *state.Tx) error {
		_, err := orchestrate.CreateFile(tx, w.org, appID, model.File{Name: "b", Path: "/z"})
		return err
	})
	w.refused(model.Invalid, "absolute", func(tx *state.Tx) error {
		_, err := orchestrate.CreateFile(tx, w.org, appID, model.File{Name: "z", Path: "z"})
		return err
	})
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.CreateFile(tx, w.org, appID, model.File{Name: "z", Path: "/z"})
		return err
	})
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteFile(tx, w.org, appID, "z") })
	var clone string
	w.do(func(tx *state.Tx) error {
		a, err := orchestrate.CloneApplication(tx, w.org, appID, "copy")
		clone = a.ID
		return err
	})
	if text, _ := orchestrate.FileContent(w.db.Local(), w.org, clone, "c"); string(text) != "${_host.name}" {
		t.Errorf("the clone has %q", text)
	}
	w.do(func(tx *state.Tx) error { return orchestrate.LockApplication(tx, w.org, appID, true) })
	w.refused(model.Conflict, "locked", func(tx *state.Tx) error {
		return orchestrate.PutFileContent(tx, w.org, appID, "b", []byte("x"))
	})
	w.do(func(tx *state.Tx) error { return orchestrate.LockApplication(tx, w.org, appID, false) })
	w.host("h1", "full")
	w.refused(model.Conflict, "installed on 1 host", func(tx *state.Tx) error { return orchestrate.DeleteApplication(tx, w.org, appID) })
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteApplication(tx, w.org, clone) })
}

func TestStoredApplicationComesBackAsGiven(t *testing.T) {
	w := newWorld(t)
	const given = `{"name":"x","custom":1,"files":[{"name":"f","path":"/f","note":null}],"directories":[{"name":"d","path":"/d","extra":[]}],"price":"0.00"}`
	w.app(given)
	view := w.db.Local()
	a, err := orchestrate.ApplicationByName(view, w.org, "x")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(orchestrate.ApplicationDoc(view, a, orchestrate.Show{}))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"custom":1`, `"note":null`, `"extra":[]`, `"price":"0.00"`, `"organization":"Demo"`, `"version":1`, `"uuid":"` + a.ID} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is missing in %s", want, text)
		}
	}
}

func TestClonesAndMoves(t *testing.T) {
	w := newWorld(t)
	w.app(web)
	h := w.host("h1", "web")
	w.set(w.context(h, "web"), model.Setting{Key: "port", Value: value("7")})
	w.finish(h)
	var other string
	w.do(func(tx *state.Tx) error {
		c, err := orchestrate.CloneHost(tx, w.org, h)
		if err != nil {
			return err
		}
		if c.Name != "h1-clone" || orchestrate.HostState(tx, c.ID) != model.HostDefined {
			t.Errorf("clone %+v", c)
		}
		e, err := orchestrate.CloneEnvironment(tx, w.org, w.env, "Second")
		if err != nil {
			return err
		}
		other = e.ID
		if doc := orchestrate.EnvironmentDoc(tx, e, orchestrate.Show{}); !slices.Equal(doc.Hosts, []string{"h1", "h1-clone"}) {
			t.Errorf("hosts %v", doc.Hosts)
		}
		twin, err := orchestrate.HostByName(tx, w.org, other, "h1")
		if err != nil {
			return err
		}
		o, err := orchestrate.Origin(tx, w.org, twin.ID, "web", "port")
		if string(o.Value) != "7" {
			t.Errorf("setting %s", o.Value)
		}
		return err
	})
	w.refused(model.Conflict, "already", func(tx *state.Tx) error {
		_, err := orchestrate.UpdateHost(tx, w.org, h, []byte(`{"environment":"Second"}`))
		return err
	})
	w.do(func(tx *state.Tx) error {
		row, err := orchestrate.UpdateHost(tx, w.org, h, []byte(`{"environment":"Second","name":"moved"}`))
		if row.EnvID != other || row.Version != 2 {
			t.Errorf("moved %+v", row)
		}
		return err
	})
	w.refused(model.Invalid, `environment "Third" does not exist`, func(tx *state.Tx) error {
		_, err := orchestrate.UpdateHost(tx, w.org, h, []byte(`{"environment":"Third"}`))
		return err
	})
	w.refused(model.Invalid, `platform "P" does not exist`, func(tx *state.Tx) error {
		p := "P"
		_, err := orchestrate.CreateHost(tx, w.org, w.env, model.Host{Name: "x", Platform: &p})
		return err
	})
}

// TestWallsBetweenTenants: what one organization has, another's id does not find.
func TestWallsBetweenTenants(t *testing.T) {
	w := newWorld(t)
	appID := w.app(web)
	h := w.host("h1", "web")
	var other string
	w.do(func(tx *state.Tx) error {
		o, err := orchestrate.CreateOrganization(tx, model.Organization{Name: "Other"}, "", true)
		other = o.ID
		return err
	})
	for name, fn := range map[string]func(tx *state.Tx) error{
		"host":        func(tx *state.Tx) error { _, err := orchestrate.HostByID(tx, other, h); return err },
		"host name":   func(tx *state.Tx) error { _, err := orchestrate.HostByName(tx, other, w.env, "h1"); return err },
		"environment": func(tx *state.Tx) error { return orchestrate.DeleteEnvironment(tx, other, w.env) },
		"application": func(tx *state.Tx) error { return orchestrate.DeleteApplication(tx, other, appID) },
		"file":        func(tx *state.Tx) error { _, err := orchestrate.FileContent(tx, other, appID, "conf"); return err },
		"changes":     func(tx *state.Tx) error { _, err := orchestrate.Changes(tx, other, h, true); return err },
		"compliance":  func(tx *state.Tx) error { return orchestrate.DeleteComplianceErrors(tx, other, h) },
		"instance":    func(tx *state.Tx) error { return orchestrate.DeleteInstance(tx, other, h) },
		"resolve":     func(tx *state.Tx) error { _, err := orchestrate.Resolve(tx, other, h, appID); return err },
		"install": func(tx *state.Tx) error {
			_, err := orchestrate.InstallApplication(tx, other, h, model.ApplicationContext{Application: "web"})
			return err
		},
		"setting": func(tx *state.Tx) error {
			_, err := orchestrate.CreateSetting(tx, model.Owner{Level: model.LevelHost, OrgID: other, ID: h}, model.Setting{Key: "k"}, orchestrate.Trigger{})
			return err
		},
		"group": func(tx *state.Tx) error {
			_, err := orchestrate.UpdateGroup(tx, model.Owner{Level: model.LevelOrganization, OrgID: other, ID: w.org}, "admin", []byte(`{"users":[]}`))
			return err
		},
		"adopt": func(tx *state.Tx) error { _, err := orchestrate.AdoptHost(tx, other, w.env, "h1"); return err },
	} {
		t.Run(name, func(t *testing.T) { w.refused(model.NotFound, "not found", fn) })
	}
	if hosts := orchestrate.Hosts(w.db.Local(), other, w.env); len(hosts) != 0 {
		t.Errorf("hosts of another organization: %v", hosts)
	}
}
