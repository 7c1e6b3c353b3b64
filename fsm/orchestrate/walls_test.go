package orchestrate_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// stranger makes an organization that has the same names as the world's, and gives its id.
func (w *world) stranger() string {
	w.t.Helper()
	var id string
	w.do(func(tx *state.Tx) error {
		o, err := orchestrate.CreateOrganization(tx, model.Organization{Name: "Other"}, "", true)
		id = o.ID
		return err
	})
	return id
}

// TestForeignIDsFindNothing gives each verb the id of another organization with ids of ours: it finds nothing and
// changes nothing, whatever the caller was allowed in its own.
func TestForeignIDsFindNothing(t *testing.T) {
	w := newWorld(t)
	appID := w.app(full)
	h := w.host("h1", "full")
	w.set(w.owner(model.LevelHost, h), model.Setting{Key: "k", Value: value("1")})
	w.draft(h, 1)
	w.finish(h, 0)
	o := w.stranger()
	for name, fn := range map[string]func(tx *state.Tx) error{
		"environment update": func(tx *state.Tx) error {
			_, err := orchestrate.UpdateEnvironment(tx, o, w.env, []byte(`{"name":"x"}`))
			return err
		},
		"environment clone":  func(tx *state.Tx) error { _, err := orchestrate.CloneEnvironment(tx, o, w.env, "x"); return err },
		"environment delete": func(tx *state.Tx) error { return orchestrate.DeleteEnvironment(tx, o, w.env) },
		"host create": func(tx *state.Tx) error {
			_, err := orchestrate.CreateHost(tx, o, w.env, model.Host{Name: "x"})
			return err
		},
		"host update": func(tx *state.Tx) error {
			_, err := orchestrate.UpdateHost(tx, o, h, []byte(`{"name":"x"}`))
			return err
		},
		"host clone":  func(tx *state.Tx) error { _, err := orchestrate.CloneHost(tx, o, h); return err },
		"host delete": func(tx *state.Tx) error { return orchestrate.DeleteHost(tx, o, h) },
		"adopt":       func(tx *state.Tx) error { _, err := orchestrate.AdoptHost(tx, o, w.env, "new"); return err },
		"instance":    func(tx *state.Tx) error { _, err := orchestrate.GetInstance(tx, o, h); return err },
		"lock":        func(tx *state.Tx) error { return orchestrate.LockInstance(tx, o, h, true) },
		"forget":      func(tx *state.Tx) error { return orchestrate.DeleteInstance(tx, o, h) },
		"application update": func(tx *state.Tx) error {
			_, err := orchestrate.UpdateApplication(tx, o, appID, []byte(`{"name":"x"}`), orchestrate.Trigger{Force: true})
			return err
		},
		"application clone":  func(tx *state.Tx) error { _, err := orchestrate.CloneApplication(tx, o, appID, "x"); return err },
		"application lock":   func(tx *state.Tx) error { return orchestrate.LockApplication(tx, o, appID, true) },
		"application delete": func(tx *state.Tx) error { return orchestrate.DeleteApplication(tx, o, appID) },
		"picture":            func(tx *state.Tx) error { _, err := orchestrate.Thumb(tx, o, appID); return err },
		"picture put":        func(tx *state.Tx) error { return orchestrate.PutThumb(tx, o, appID, []byte("x")) },
		"files":              func(tx *state.Tx) error { _, err := orchestrate.Files(tx, o, appID); return err },
		"file":               func(tx *state.Tx) error { _, err := orchestrate.GetFile(tx, o, appID, "a"); return err },
		"file create": func(tx *state.Tx) error {
			_, err := orchestrate.CreateFile(tx, o, appID, model.File{Name: "x", Path: "/x"})
			return err
		},
		"file update": func(tx *state.Tx) error {
			_, err := orchestrate.UpdateFile(tx, o, appID, "a", []byte(`{}`))
			return err
		},
		"file delete": func(tx *state.Tx) error { return orchestrate.DeleteFile(tx, o, appID, "b") },
		"content":     func(tx *state.Tx) error { _, err := orchestrate.FileContent(tx, o, appID, "a"); return err },
		"content put": func(tx *state.Tx) error { return orchestrate.PutFileContent(tx, o, appID, "a", []byte("x")) },
		"parameters": func(tx *state.Tx) error {
			_, err := orchestrate.Parameters(tx, o, appID, orchestrate.Show{})
			return err
		},
		"install": func(tx *state.Tx) error {
			_, err := orchestrate.InstallApplication(tx, o, h, model.ApplicationContext{Application: "full"})
			return err
		},
		"context": func(tx *state.Tx) error { _, _, err := orchestrate.ContextByName(tx, o, h, "full"); return err },
		"context edit": func(tx *state.Tx) error {
			_, err := orchestrate.UpdateContext(tx, o, h, "full", []byte(`{}`), orchestrate.Trigger{Force: true})
			return err
		},
		"uninstall": func(tx *state.Tx) error {
			return orchestrate.UninstallApplication(tx, o, h, "full", orchestrate.Trigger{})
		},
		"render":         func(tx *state.Tx) error { _, err := orchestrate.RenderHostFile(tx, o, h, "full", "a"); return err },
		"origin":         func(tx *state.Tx) error { _, err := orchestrate.Origin(tx, o, h, "full", "k"); return err },
		"changes":        func(tx *state.Tx) error { _, err := orchestrate.Changes(tx, o, h, true); return err },
		"change":         func(tx *state.Tx) error { _, err := orchestrate.GetChange(tx, o, h, 0); return err },
		"change delete":  func(tx *state.Tx) error { return orchestrate.DeleteChange(tx, o, h, 0) },
		"changes delete": func(tx *state.Tx) error { return orchestrate.DeleteChanges(tx, o, h, false) },
		"retry":          func(tx *state.Tx) error { _, err := orchestrate.RetryChange(tx, o, h, 1, false); return err },
		"rebuild":        func(tx *state.Tx) error { _, err := orchestrate.Rebuild(tx, o, h); return err },
		"file now":       func(tx *state.Tx) error { _, err := orchestrate.UpdateFileNow(tx, o, h, "full", "a"); return err },
		"service now": func(tx *state.Tx) error {
			_, err := orchestrate.ServiceNow(tx, o, h, "full", "on", "restart")
			return err
		},
		"package now": func(tx *state.Tx) error {
			_, err := orchestrate.PackageNow(tx, o, h, "full", "p", "install", "")
			return err
		},
		"handler":    func(tx *state.Tx) error { _, err := orchestrate.RunHandler(tx, o, h, "full", "first"); return err },
		"compliance": func(tx *state.Tx) error { _, err := orchestrate.ComplianceErrors(tx, o, h); return err },
	} {
		t.Run(name, func(t *testing.T) { w.refused(model.NotFound, "", fn) })
	}
}

// TestForeignOwnersOwnNothing does the same at each level that owns settings and groups.
func TestForeignOwnersOwnNothing(t *testing.T) {
	w := newWorld(t)
	w.app(full)
	h := w.host("h1", "full")
	other := w.stranger()
	for _, mine := range []model.Owner{
		w.owner(model.LevelOrganization, w.org), w.owner(model.LevelEnvironment, w.env), w.owner(model.LevelHost, h), w.context(h, "full"),
	} {
		w.set(mine, model.Setting{Key: "k", Value: value(`"mine"`)})
		o := mine
		o.OrgID = other
		t.Run(string(mine.Level), func(t *testing.T) {
			if got := orchestrate.Settings(w.db.Local(), o, orchestrate.Show{}); len(got) != 0 {
				t.Errorf("settings %+v", got)
			}
			for name, fn := range map[string]func(tx *state.Tx) error{
				"show": func(tx *state.Tx) error { _, err := orchestrate.GetSetting(tx, o, "k", orchestrate.Show{}); return err },
				"create": func(tx *state.Tx) error {
					_, err := orchestrate.CreateSetting(tx, o, model.Setting{Key: "x"}, orchestrate.Trigger{})
					return err
				},
				"update": func(tx *state.Tx) error {
					_, err := orchestrate.UpdateSetting(tx, o, "k", []byte(`{"value":2}`), orchestrate.Trigger{})
					return err
				},
				"delete": func(tx *state.Tx) error { return orchestrate.DeleteSetting(tx, o, "k", orchestrate.Trigger{}) },
				"bulk":   func(tx *state.Tx) error { return orchestrate.BulkSettings(tx, o, nil, false, orchestrate.Trigger{}) },
				"impact": func(tx *state.Tx) error { _, err := orchestrate.Impact(tx, o, "k", all); return err },
				"group": func(tx *state.Tx) error {
					_, err := orchestrate.UpdateGroup(tx, o, "admin", []byte(`{"users":[]}`))
					return err
				},
			} {
				t.Run(name, func(t *testing.T) { w.refused(model.NotFound, "", fn) })
			}
		})
	}
}

// TestSameNamesInTwoOrganizations: each sees its own.
func TestSameNamesInTwoOrganizations(t *testing.T) {
	w := newWorld(t)
	other := w.stranger()
	w.app(web)
	mine, env := w.org, w.env
	h := w.host("h1", "web")
	w.do(func(tx *state.Tx) error {
		e, err := orchestrate.EnvironmentByName(tx, other, "Default")
		w.org, w.env = other, e.ID
		return err
	})
	w.app(strings.Replace(web, `"value":80`, `"value":99`, 1))
	theirs := w.host("h1", "web")
	for id, want := range map[string]string{h: "80", theirs: "99"} {
		org := mine
		if id == theirs {
			org = other
		}
		o, err := orchestrate.Origin(w.db.Local(), org, id, "web", "port")
		if err != nil || string(o.Value) != want {
			t.Errorf("host of %s: %s %v", org, o.Value, err)
		}
	}
	w.set(w.owner(model.LevelOrganization, other), model.Setting{Key: "port", Value: value("1")})
	if w.steps(theirs) == "" {
		t.Error("their handlers did not run")
	}
	w.org, w.env = mine, env
	if got := w.steps(h); got != "" {
		t.Errorf("a setting of the other organization set off %s", got)
	}
	for _, doc := range []any{
		orchestrate.Environments(w.db.Local(), mine), orchestrate.Applications(w.db.Local(), mine), orchestrate.Hosts(w.db.Local(), mine, env),
	} {
		text, err := json.Marshal(doc)
		if err != nil || bytes.Contains(text, []byte(other)) {
			t.Errorf("what is listed holds the other organization: %s %v", text, err)
		}
	}
}

// TestAgentsOfTwoOrganizations: a token makes hosts of its own environment only, and an agent tells of its own host.
func TestAgentsOfTwoOrganizations(t *testing.T) {
	w := newWorld(t)
	w.app(web)
	h := w.enrol("a1", "h1")
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.InstallApplication(tx, w.org, h, model.ApplicationContext{Application: "web"})
		return err
	})
	w.order(h, "O1")
	other := w.stranger()
	w.do(func(tx *state.Tx) error {
		e, err := orchestrate.EnvironmentByName(tx, other, "Default")
		if err != nil {
			return err
		}
		if _, err := orchestrate.CreateEnrolToken(tx, e.ID, "theirs", keyOf("theirs"), 0, tx.Now().AddDate(1, 0, 0), "eve"); err != nil {
			return err
		}
		a, err := orchestrate.Enrol(tx, enrolment("theirs", "a2", "h1"))
		if err == nil && (a.OrgID != other || a.EnvID != e.ID || a.HostID == h) {
			err = fmt.Errorf("their agent is %+v", a)
		}
		return err
	})
	w.quiet("a reply to another organization's order", func() { w.reply("a2", orchestrate.StepOutcome{OrderID: "O1", OK: true}) })
	w.alert("a2", 1, w.db.Now(), false, `{"mode":"1"}`)
	if list, err := orchestrate.ComplianceErrors(w.db.Local(), w.org, h); err != nil || len(list) != 0 {
		t.Errorf("an agent told of another organization's host: %+v %v", list, err)
	}
	mine, err1 := orchestrate.SigningKey(w.db.Local(), w.org)
	theirs, err2 := orchestrate.SigningKey(w.db.Local(), other)
	if err1 != nil || err2 != nil || mine.Equal(theirs) {
		t.Errorf("two organizations sign with one key: %v %v", err1, err2)
	}
}
