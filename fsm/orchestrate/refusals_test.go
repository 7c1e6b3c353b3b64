package orchestrate_test

import (
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// TestRefusals: wrong input of every kind gets a code and a text that says what to change, and changes nothing.
func TestRefusals(t *testing.T) {
	w := newWorld(t)
	appID, webID := w.app(full), w.app(web)
	h := w.host("h1", "full")
	w.do(func(tx *state.Tx) error {
		if _, err := orchestrate.CreateEnvironment(tx, w.org, model.Environment{Name: "Second"}); err != nil {
			return err
		}
		_, err := orchestrate.CreateHost(tx, w.org, w.env, model.Host{Name: "h2"})
		return err
	})
	w.stranger()
	org := w.owner(model.LevelOrganization, w.org)
	w.set(org, model.Setting{Key: "there", Value: value("1")})
	update := func(patch string) func(tx *state.Tx) error {
		return func(tx *state.Tx) error {
			_, err := orchestrate.UpdateApplication(tx, w.org, appID, []byte(patch), orchestrate.Trigger{})
			return err
		}
	}
	file := func(patch string) func(tx *state.Tx) error {
		return func(tx *state.Tx) error {
			_, err := orchestrate.UpdateFile(tx, w.org, appID, "a", []byte(patch))
			return err
		}
	}
	setting := func(s model.Setting) func(tx *state.Tx) error {
		return func(tx *state.Tx) error {
			_, err := orchestrate.CreateSetting(tx, org, s, orchestrate.Trigger{})
			return err
		}
	}
	host := func(doc model.Host) func(tx *state.Tx) error {
		return func(tx *state.Tx) error { _, err := orchestrate.CreateHost(tx, w.org, w.env, doc); return err }
	}
	for name, c := range map[string]struct {
		code model.Code
		text string
		fn   func(tx *state.Tx) error
	}{
		"organization twice": {model.Conflict, "choose another", func(tx *state.Tx) error {
			_, err := orchestrate.CreateOrganization(tx, model.Organization{Name: "Demo"}, "", true)
			return err
		}},
		"organization without a name": {model.Invalid, "name is missing", func(tx *state.Tx) error {
			_, err := orchestrate.CreateOrganization(tx, model.Organization{}, "", true)
			return err
		}},
		"organization with a bad setting": {model.Invalid, "key is missing", func(tx *state.Tx) error {
			_, err := orchestrate.CreateOrganization(tx, model.Organization{Name: "New", Settings: []model.Setting{{}}}, "", true)
			return err
		}},
		"organization renamed to another's name": {model.Conflict, "choose another", func(tx *state.Tx) error {
			_, err := orchestrate.UpdateOrganization(tx, w.org, []byte(`{"name":"Other"}`))
			return err
		}},
		"organization with machines": {model.Conflict, "1 host(s) with an instance", func(tx *state.Tx) error { return orchestrate.DeleteOrganization(tx, w.org) }},
		"environment twice": {model.Conflict, "choose another", func(tx *state.Tx) error {
			_, err := orchestrate.CreateEnvironment(tx, w.org, model.Environment{Name: "Second"})
			return err
		}},
		"environment cloned to a taken name": {model.Conflict, "choose another", func(tx *state.Tx) error {
			_, err := orchestrate.CloneEnvironment(tx, w.org, w.env, "Second")
			return err
		}},
		"environment with hosts":    {model.Conflict, "host", func(tx *state.Tx) error { return orchestrate.DeleteEnvironment(tx, w.org, w.env) }},
		"host twice":                {model.Conflict, `"h2" is taken already`, host(model.Host{Name: "h2"})},
		"host with an unknown app":  {model.Invalid, `"nope" does not exist`, host(model.Host{Name: "n", Applications: []string{"nope"}})},
		"host with an app twice":    {model.Conflict, "already", host(model.Host{Name: "n", Applications: []string{"web", "web"}})},
		"host with a setting twice": {model.Invalid, "twice", host(model.Host{Name: "n", Settings: []model.Setting{{Key: "a"}, {Key: "a"}}})},
		"host with a bad link":      {model.Invalid, "not the path of a setting", host(model.Host{Name: "n", Settings: []model.Setting{{Key: "a", Link: "x"}}})},
		"host renamed to a taken name": {model.Conflict, `"h2" is taken already`, func(tx *state.Tx) error {
			_, err := orchestrate.UpdateHost(tx, w.org, h, []byte(`{"name":"h2"}`))
			return err
		}},
		"host renamed to nothing": {model.Invalid, "name is missing", func(tx *state.Tx) error {
			_, err := orchestrate.UpdateHost(tx, w.org, h, []byte(`{"name":""}`))
			return err
		}},
		"host with a patch of no JSON": {model.Invalid, "not JSON", func(tx *state.Tx) error {
			_, err := orchestrate.UpdateHost(tx, w.org, h, []byte(`{name:1}`))
			return err
		}},

		"application twice": {model.Conflict, "choose another", func(tx *state.Tx) error {
			_, err := orchestrate.CreateApplication(tx, w.org, model.Application{Name: "web"})
			return err
		}},
		"application cloned to a taken name": {model.Conflict, "choose another", func(tx *state.Tx) error {
			_, err := orchestrate.CloneApplication(tx, w.org, appID, "web")
			return err
		}},
		"application renamed to a taken name": {model.Conflict, "choose another", update(`{"name":"web"}`)},
		"application in use":                  {model.Conflict, "installed on 1 host", func(tx *state.Tx) error { return orchestrate.DeleteApplication(tx, w.org, appID) }},
		"handler for an absent file":          {model.Invalid, `names the file "gone"`, update(`{"handlers":[{"on":["k"],"do":[{"action":"update","resource":"file://gone"}]}]}`)},
		"handler for a service that is taken": {model.Invalid, `names the service "on"`, update(`{"services":[{"name":"off"}]}`)},
		"handler that executes a service":     {model.Invalid, "execute goes with a file", update(`{"handlers":[{"on":["k"],"do":[{"action":"execute","resource":"service://on"}]}]}`)},
		"package that is an option":           {model.Invalid, "cannot contain", update(`{"packages":[{"name":"--purge"}]}`)},
		"file that a handler names":           {model.Conflict, "change the handler first", func(tx *state.Tx) error { return orchestrate.DeleteFile(tx, w.org, appID, "a") }},
		"file renamed to a taken name":        {model.Conflict, "already", file(`{"name":"b"}`)},
		"file moved onto another's path":      {model.Invalid, `path "/b" is there twice`, file(`{"path":"/b"}`)},
		"file with a mode of letters":         {model.Invalid, "octal", file(`{"mode":"rw"}`)},
		"file into a directory's path":        {model.Invalid, "which is a directory", file(`{"path":"/etc/"}`)},
		"content that is no template":         {model.Invalid, "line 1, column", func(tx *state.Tx) error { return orchestrate.PutFileContent(tx, w.org, appID, "a", []byte("${")) }},
		"content of a file that is not":       {model.NotFound, `no file "gone"`, func(tx *state.Tx) error { return orchestrate.PutFileContent(tx, w.org, appID, "gone", []byte("x")) }},
		"parameter with a broken schema": {model.Invalid, "secret must be", func(tx *state.Tx) error {
			_, err := orchestrate.UpdateParameter(tx, w.org, webID, "Port", []byte(`{"schema":{"secret":1}}`))
			return err
		}},
		"parameter renamed to a taken name": {model.Conflict, "already", func(tx *state.Tx) error {
			_, err := orchestrate.UpdateParameter(tx, w.org, webID, "Port", []byte(`{"name":"Pass"}`))
			return err
		}},
		"parameter with another's key": {model.Invalid, "there twice", func(tx *state.Tx) error {
			_, err := orchestrate.UpdateParameter(tx, w.org, webID, "Port", []byte(`{"key":"pass"}`))
			return err
		}},
		"package that the application has not": {model.NotFound, `no package "z"`, func(tx *state.Tx) error {
			_, err := orchestrate.PackageNow(tx, w.org, h, "full", "z", "install", "")
			return err
		}},
		"package verb": {model.Invalid, "use install or update", func(tx *state.Tx) error {
			_, err := orchestrate.PackageNow(tx, w.org, h, "full", "p", "erase", "")
			return err
		}},
		"handler that the application has not": {model.NotFound, `no handler "z"`, func(tx *state.Tx) error { _, err := orchestrate.RunHandler(tx, w.org, h, "full", "z"); return err }},
		"action of an application not there":   {model.NotFound, "not installed", func(tx *state.Tx) error { _, err := orchestrate.UpdateFileNow(tx, w.org, h, "web", "conf"); return err }},
		"context that becomes another": {model.Invalid, "cannot change", func(tx *state.Tx) error {
			_, err := orchestrate.UpdateContext(tx, w.org, h, "full", []byte(`{"application":"web"}`), orchestrate.Trigger{})
			return err
		}},

		"setting twice":                {model.Conflict, "update it instead", setting(model.Setting{Key: "there"})},
		"setting with a reserved key":  {model.Invalid, "reserved", setting(model.Setting{Key: "_host"})},
		"setting with a broken schema": {model.Invalid, "an object", setting(model.Setting{Key: "x", Schema: value(`7`)})},
		"setting that is not":          {model.NotFound, `"gone" not found`, func(tx *state.Tx) error { return orchestrate.DeleteSetting(tx, org, "gone", orchestrate.Trigger{}) }},
		"setting whose key changes": {model.Invalid, "cannot change", func(tx *state.Tx) error {
			_, err := orchestrate.UpdateSetting(tx, org, "there", []byte(`{"key":"x"}`), orchestrate.Trigger{})
			return err
		}},
		"bulk with one bad setting": {model.Invalid, "not the path", func(tx *state.Tx) error {
			return orchestrate.BulkSettings(tx, org, []model.Setting{{Key: "a", Value: value("1")}, {Key: "b", Link: "x"}}, false, orchestrate.Trigger{Handlers: true})
		}},
		"bulk with a key twice": {model.Invalid, "twice", func(tx *state.Tx) error {
			return orchestrate.BulkSettings(tx, org, []model.Setting{{Key: "a"}, {Key: "a"}}, true, orchestrate.Trigger{})
		}},
		"settings of what is not": {model.NotFound, "not found", func(tx *state.Tx) error {
			return orchestrate.BulkSettings(tx, w.owner(model.LevelHost, "gone"), nil, false, orchestrate.Trigger{})
		}},
		"retry of what went well": {model.Conflict, "nothing to retry", func(tx *state.Tx) error { _, err := orchestrate.RetryChange(tx, w.org, h, 0, false); return err }},
		"retry of what is not":    {model.NotFound, "no change 99", func(tx *state.Tx) error { _, err := orchestrate.RetryChange(tx, w.org, h, 99, false); return err }},
		"key with an odd method": {model.Invalid, "TOKEN or BASIC_AUTH", func(tx *state.Tx) error {
			_, err := orchestrate.CreateApplicationKey(tx, w.org, model.ApplicationKey{Name: "k", Method: "JWT", Group: "admin"}, "alice")
			return err
		}},
		"key in no group": {model.Invalid, "use admin, users", func(tx *state.Tx) error {
			_, err := orchestrate.CreateApplicationKey(tx, w.org, model.ApplicationKey{Name: "k", Method: "TOKEN", Group: "root"}, "alice")
			return err
		}},
		"key that has expired": {model.Invalid, "2001-01-01T00:00:00Z, which is past: give a time to come", func(tx *state.Tx) error {
			_, err := orchestrate.CreateApplicationKey(tx, w.org, model.ApplicationKey{Name: "k", Method: "TOKEN", Group: "admin", ExpirationDate: "2001-01-01T00:00:00Z"}, "alice")
			return err
		}},
		"job of the past": {model.Invalid, "which is past, and there is no cron", func(tx *state.Tx) error {
			_, err := orchestrate.CreateJob(tx, w.org, model.Job{Name: "j", Action: "X", Date: "2001-01-01T00:00:00Z"}, model.JobMaker{Name: "alice"})
			return err
		}},
		"key with an odd time": {model.Invalid, "expirationDate", func(tx *state.Tx) error {
			_, err := orchestrate.CreateApplicationKey(tx, w.org, model.ApplicationKey{Name: "k", Method: "TOKEN", Group: "admin", ExpirationDate: "9999-12-31T23:59:59.999-1200"}, "alice")
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) { w.refused(c.code, c.text, c.fn) })
	}
}

// TestLockedApplication: nothing of it changes, and what is installed can still be repaired.
func TestLockedApplication(t *testing.T) {
	w := newWorld(t)
	appID := w.app(web)
	h := w.host("h1", "web")
	w.do(func(tx *state.Tx) error { return orchestrate.LockApplication(tx, w.org, appID, true) })
	for name, fn := range map[string]func(tx *state.Tx) error{
		"update": func(tx *state.Tx) error {
			_, err := orchestrate.UpdateApplication(tx, w.org, appID, []byte(`{"description":"x"}`), orchestrate.Trigger{})
			return err
		},
		"delete":  func(tx *state.Tx) error { return orchestrate.DeleteApplication(tx, w.org, appID) },
		"content": func(tx *state.Tx) error { return orchestrate.PutFileContent(tx, w.org, appID, "conf", []byte("x")) },
		"picture": func(tx *state.Tx) error { return orchestrate.PutThumb(tx, w.org, appID, []byte("x")) },
		"file": func(tx *state.Tx) error {
			_, err := orchestrate.UpdateFile(tx, w.org, appID, "conf", []byte(`{"mode":"600"}`))
			return err
		},
		"file off": func(tx *state.Tx) error {
			_, err := orchestrate.CreateFile(tx, w.org, appID, model.File{Name: "x", Path: "/x"})
			return err
		},
		"parameter": func(tx *state.Tx) error {
			_, err := orchestrate.UpdateParameter(tx, w.org, appID, "Port", []byte(`{"value":1}`))
			return err
		},
		"parameter off": func(tx *state.Tx) error { return orchestrate.DeleteParameter(tx, w.org, appID, "Port") },
	} {
		t.Run(name, func(t *testing.T) { w.refused(model.Conflict, "", fn) })
	}
	w.do(func(tx *state.Tx) error { _, err := orchestrate.UpdateFileNow(tx, w.org, h, "web", "conf"); return err })
	w.set(w.owner(model.LevelHost, h), model.Setting{Key: "port", Value: value("5")})
	if got := strings.Count(w.steps(h), "apply files /etc/conf"); got != 2 {
		t.Errorf("%d writings of the file, want the live action and the handler", got)
	}
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.CloneApplication(tx, w.org, appID, "free")
		return err
	})
	w.do(func(tx *state.Tx) error {
		a, err := orchestrate.ApplicationByName(tx, w.org, "free")
		if err != nil {
			return err
		}
		_, err = orchestrate.UpdateApplication(tx, w.org, a.ID, []byte(`{"description":"the copy is not locked"}`), orchestrate.Trigger{})
		return err
	})
}
