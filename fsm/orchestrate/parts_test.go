package orchestrate_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

func TestParameters(t *testing.T) {
	w := newWorld(t)
	appID := w.app(web)
	h := w.host("h1", "web")
	w.do(func(tx *state.Tx) error {
		p, err := orchestrate.CreateParameter(tx, w.org, appID, model.Parameter{UUID: "theirs", Version: 9, Name: "Mail Host", Key: "mail", Value: value(`"m"`)})
		if p.Version != 1 || p.UUID == "theirs" || p.UUID == "" {
			t.Errorf("got %+v", p)
		}
		return err
	})
	if p, err := orchestrate.GetParameter(w.db.Local(), w.org, appID, "Mail Host", orchestrate.Show{}); err != nil || p.Key != "mail" {
		t.Errorf("by name: %+v %v", p, err)
	}
	if _, err := orchestrate.GetParameter(w.db.Local(), w.org, appID, "mail", orchestrate.Show{}); model.CodeOf(err) != model.NotFound {
		t.Errorf("by key: %v", err)
	}
	w.refused(model.Conflict, "already", func(tx *state.Tx) error {
		_, err := orchestrate.CreateParameter(tx, w.org, appID, model.Parameter{Name: "Mail Host", Key: "m2"})
		return err
	})
	w.refused(model.Invalid, `parameter key "mail" is there twice`, func(tx *state.Tx) error {
		_, err := orchestrate.CreateParameter(tx, w.org, appID, model.Parameter{Name: "Other", Key: "mail"})
		return err
	})
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.UpdateParameter(tx, w.org, appID, "Mail Host", []byte(`{"name":"Mail"}`))
		return err
	})
	list, err := orchestrate.Parameters(w.db.Local(), w.org, appID, orchestrate.Show{})
	if err != nil || len(list) != 3 || list[2].Name != "Mail" || string(list[2].Value) != `"m"` || list[2].Version != 2 {
		t.Errorf("list %+v %v", list, err)
	}
	all, err := orchestrate.Resolve(w.db.Local(), w.org, h, appID)
	if err != nil || len(all) != 2 || all[0].Key != "mail" || all[1].Key != "port" {
		t.Errorf("resolved %+v %v", all, err)
	}
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteParameter(tx, w.org, appID, "Mail") })
	w.refused(model.NotFound, `no parameter "Mail"`, func(tx *state.Tx) error {
		return orchestrate.DeleteParameter(tx, w.org, appID, "Mail")
	})
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteParameter(tx, w.org, appID, "Port") })
	if n := len(w.open(h)); n != 1 {
		t.Errorf("%d changes after the default went", n)
	}
}

func TestFilesAndPicture(t *testing.T) {
	w := newWorld(t)
	appID := w.app(web)
	list, err := orchestrate.Files(w.db.Local(), w.org, appID)
	if err != nil || len(list) != 1 || list[0].Version != 1 || list[0].UUID == "" {
		t.Errorf("files %+v %v", list, err)
	}
	one, err := orchestrate.GetFile(w.db.Local(), w.org, appID, "conf")
	if err != nil || one.UUID != list[0].UUID {
		t.Errorf("file %+v %v", one, err)
	}
	w.content(appID, "conf", "\x00\xff<#if") // no text: taken and given as it is
	h := w.host("h1", "web")
	if got := w.rendered(h, "web", "conf"); got != "\x00\xff<#if" {
		t.Errorf("rendered %q", got)
	}
	w.content(appID, "conf", "##port## ${port}")
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.UpdateFile(tx, w.org, appID, "conf", []byte(`{"template":{"name":"conf","delimiter":{"start":"##","end":"##"}}}`))
		return err
	})
	if got := w.rendered(h, "web", "conf"); got != "80 ${port}" {
		t.Errorf("with other marks %q", got)
	}
	if _, err := orchestrate.Thumb(w.db.Local(), w.org, appID); model.CodeOf(err) != model.NotFound {
		t.Errorf("no picture yet: %v", err)
	}
	w.do(func(tx *state.Tx) error { return orchestrate.PutThumb(tx, w.org, appID, []byte("png")) })
	if got, err := orchestrate.Thumb(w.db.Local(), w.org, appID); err != nil || string(got) != "png" {
		t.Errorf("picture %q %v", got, err)
	}
}

func TestRenamesFollow(t *testing.T) {
	w := newWorld(t)
	appID := w.app(web)
	h1, h2 := w.host("h1", "web"), w.host("h2", "web")
	w.set(w.context(h2, "web"), model.Setting{Key: "port", Value: value("1234")})
	w.set(w.owner(model.LevelHost, h1), model.Setting{Key: "port", Link: "organizations/Demo/environments/Default/hosts/h2/applications/web/settings/port"})
	check := func(app string) {
		t.Helper()
		o, err := orchestrate.Origin(w.db.Local(), w.org, h1, app, "port")
		if err != nil || string(o.Value) != "1234" {
			t.Errorf("got %s %v", o.Value, err)
		}
	}
	check("web")
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.UpdateEnvironment(tx, w.org, w.env, []byte(`{"name":"Prod","description":"d"}`))
		return err
	})
	check("web")
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.UpdateApplication(tx, w.org, appID, []byte(`{"name":"www"}`), orchestrate.Trigger{})
		return err
	})
	check("www")
	s, err := orchestrate.GetSetting(w.db.Local(), w.owner(model.LevelHost, h1), "port", orchestrate.Show{})
	if err != nil || s.Link != "organizations/Demo/environments/Prod/hosts/h2/applications/www/settings/port" {
		t.Errorf("link %q %v", s.Link, err)
	}
	host, err := orchestrate.HostByID(w.db.Local(), w.org, h1)
	if err != nil {
		t.Fatal(err)
	}
	if doc := orchestrate.HostDoc(w.db.Local(), host, orchestrate.Show{}); doc.Environment != "Prod" || doc.Applications[0] != "www" {
		t.Errorf("host %+v", doc)
	}
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.CreateEnvironment(tx, w.org, model.Environment{Name: "Test"})
		return err
	})
	w.refused(model.Conflict, "already", func(tx *state.Tx) error {
		_, err := orchestrate.UpdateEnvironment(tx, w.org, w.env, []byte(`{"name":"Test"}`))
		return err
	})
	w.refused(model.Invalid, "cannot carry", func(tx *state.Tx) error {
		_, err := orchestrate.UpdateEnvironment(tx, w.org, w.env, []byte(`{"name":"a/b"}`))
		return err
	})
}

func TestUpdateSettingKeepsWhatIsAbsent(t *testing.T) {
	w := newWorld(t)
	o := w.owner(model.LevelOrganization, w.org)
	w.set(o, model.Setting{Key: "k", Value: value("1"), Schema: value(`{"secret":true}`)})
	w.do(func(tx *state.Tx) error {
		s, err := orchestrate.UpdateSetting(tx, o, "k", []byte(`{"link":"organizations/Demo/settings/other"}`), orchestrate.Trigger{})
		if s.Version != 2 || string(s.Value) != "1" || s.Link == "" || string(s.Schema) != `{"secret":true}` {
			t.Errorf("got %+v", s)
		}
		return err
	})
}

func TestContextDocuments(t *testing.T) {
	w := newWorld(t)
	w.app(web)
	h := w.host("h1")
	install := func(doc string) func(tx *state.Tx) error {
		return func(tx *state.Tx) error {
			c, err := model.Decode[model.ApplicationContext]([]byte(doc))
			if err != nil {
				return err
			}
			_, err = orchestrate.InstallApplication(tx, w.org, h, c)
			return err
		}
	}
	w.refused(model.Invalid, "application is missing", install(`{}`))
	w.refused(model.Invalid, `"nope" does not exist`, install(`{"application":"nope"}`))
	w.refused(model.Invalid, `names "x"`, install(`{"application":"web","services":[{"name":"x"}]}`))
	w.refused(model.Invalid, "twice", install(`{"application":"web","services":[{"name":"httpd"},{"name":"httpd"}]}`))
	w.refused(model.Invalid, "enabled must be", install(`{"application":"web","enabled":[]}`))
	w.refused(model.Invalid, "twice", install(`{"application":"web","settings":[{"key":"a"},{"key":"a"}]}`))
	w.do(install(`{"application":"web","enabled":"true","services":[{"name":"httpd","enabled":false}],"settings":[{"key":"port","value":1}]}`))
	w.refused(model.Conflict, "installed on host", install(`{"application":"web"}`))
	view := w.db.Local()
	c, _, err := orchestrate.ContextByName(view, w.org, h, "web")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(orchestrate.ContextDoc(view, c, orchestrate.Show{}))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"enabled":"true"`, `"services":[{"name":"httpd","enabled":false}]`, `"host":"h1"`, `"environment":"Default"`, `"organization":"Demo"`, `"key":"port"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is missing in %s", want, text)
		}
	}
	if got := w.steps(h); got != "apply files /etc/conf, apply services httpd" {
		t.Errorf("plan %s", got)
	}
}

// TestRaces: another request commits between a verb and its own commit; the verb runs again and sees it.
func TestRaces(t *testing.T) {
	w := newWorld(t)
	appID := w.app(web)
	h := w.host("h1")
	newHost := func(tx *state.Tx) error {
		_, err := orchestrate.CreateHost(tx, w.org, w.env, model.Host{Name: "x"})
		return err
	}
	for _, c := range []struct {
		name          string
		first, second func(tx *state.Tx) error
		want          model.Code
	}{
		{"two hosts of one name", newHost, newHost, model.Conflict},
		{"deleted while installed", func(tx *state.Tx) error {
			_, err := orchestrate.InstallApplication(tx, w.org, h, model.ApplicationContext{Application: "web"})
			return err
		}, func(tx *state.Tx) error { return orchestrate.DeleteApplication(tx, w.org, appID) }, model.Conflict},
		{"a setting for a host that goes", func(tx *state.Tx) error {
			if err := orchestrate.DeleteInstance(tx, w.org, h); err != nil {
				return err
			}
			return orchestrate.DeleteHost(tx, w.org, h)
		}, func(tx *state.Tx) error {
			_, err := orchestrate.CreateSetting(tx, w.owner(model.LevelHost, h), model.Setting{Key: "k"}, orchestrate.Trigger{})
			return err
		}, model.NotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			runs := 0
			err := w.try(func(tx *state.Tx) error {
				err := c.second(tx)
				if runs++; runs == 1 {
					if err != nil {
						t.Fatalf("alone it must succeed: %v", err)
					}
					if err := w.db.Update(context.Background(), c.first); err != nil {
						t.Fatal(err)
					}
				}
				return err
			})
			if model.CodeOf(err) != c.want || runs < 2 {
				t.Errorf("got %v after %d runs, want %s", err, runs, c.want)
			}
		})
	}
}

// TestNumbersUnderRaces: two settings change at once; both changes get a number of their own.
func TestNumbersUnderRaces(t *testing.T) {
	w := newWorld(t)
	w.app(full)
	h := w.host("h1", "full")
	set := func(key string) func(tx *state.Tx) error {
		return func(tx *state.Tx) error {
			_, err := orchestrate.CreateSetting(tx, w.owner(model.LevelHost, h), model.Setting{Key: key, Value: value("1")}, orchestrate.Trigger{Handlers: true})
			return err
		}
	}
	first := true
	w.do(func(tx *state.Tx) error {
		err := set("x")(tx)
		if first && err == nil {
			first = false
			err = w.db.Update(context.Background(), set("y"))
		}
		return err
	})
	open := w.open(h)
	if len(open) != 2 || open[0].OrderNum != 1 || open[1].OrderNum != 2 || !strings.Contains(open[0].Description, "y changed") {
		t.Errorf("changes %+v", open)
	}
}
