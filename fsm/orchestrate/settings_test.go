package orchestrate_test

import (
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

const web = `{"name":"web","files":[{"name":"conf","path":"/etc/conf"}],"services":[{"name":"httpd","enabled":true}],
"parameters":[{"name":"Port","key":"port","value":80},{"name":"Pass","key":"pass","schema":{"secret":true}}],
"handlers":[{"name":"conf changed","on":["port"],"do":[{"action":"update","resource":"file://conf"},{"action":"restart","resource":"service://httpd"}]}]}`

func TestNearestSettingHolds(t *testing.T) {
	w := newWorld(t)
	appID := w.app(web)
	w.content(appID, "conf", "${port} ${_host.name} ${_host.environment} ${_host.organization}")
	h := w.host("h1", "web")
	check := func(wantText, wantFrom string) {
		t.Helper()
		o, err := orchestrate.Origin(w.db.Local(), w.org, h, "web", "port")
		if err != nil || string(o.Value) != wantText || o.From != wantFrom {
			t.Errorf("got %s from %s, %v; want %s from %s", o.Value, o.From, err, wantText, wantFrom)
		}
		if got := w.rendered(h, "web", "conf"); got != wantText+" h1 Default Demo" {
			t.Errorf("rendered %q", got)
		}
	}
	check("80", "organizations/Demo/applications/web/parameters/Port")
	w.set(w.owner(model.LevelOrganization, w.org), model.Setting{Key: "port", Value: value("81")})
	check("81", "organizations/Demo")
	w.set(w.owner(model.LevelEnvironment, w.env), model.Setting{Key: "port", Value: value("82")})
	check("82", "organizations/Demo/environments/Default")
	w.set(w.owner(model.LevelHost, h), model.Setting{Key: "port", Value: value("83")})
	check("83", "organizations/Demo/environments/Default/hosts/h1")
	w.set(w.context(h, "web"), model.Setting{Key: "port", Value: value("84")})
	check("84", "organizations/Demo/environments/Default/hosts/h1/applications/web")
	w.set(w.owner(model.LevelOrganization, w.org), model.Setting{Key: "port", Value: value("85"), Schema: value(`{"final":true}`)})
	check("85", "organizations/Demo")
	w.refused(model.Conflict, "final at organizations/Demo", func(tx *state.Tx) error {
		return orchestrate.BulkSettings(tx, w.owner(model.LevelHost, h), []model.Setting{{Key: "port", Value: value("1")}}, true, orchestrate.Trigger{})
	})
}

func TestLinkSettings(t *testing.T) {
	w := newWorld(t)
	w.app(web)
	h1, h2 := w.host("h1", "web"), w.host("h2")
	link := func(to string) {
		w.set(w.context(h1, "web"), model.Setting{Key: "port", Value: value(`"default"`), Link: to})
	}
	check := func(want string) {
		t.Helper()
		o, err := orchestrate.Origin(w.db.Local(), w.org, h1, "web", "port")
		if err != nil || string(o.Value) != want {
			t.Errorf("got %s %v, want %s", o.Value, err, want)
		}
	}
	link("organizations/Demo/environments/Default/hosts/h2/settings/p")
	check(`"default"`)
	w.set(w.owner(model.LevelOrganization, w.org), model.Setting{Key: "p", Value: value("1")})
	check("1") // inherited at the target
	w.set(w.owner(model.LevelHost, h2), model.Setting{Key: "p", Value: value("2")})
	check("2")
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.UpdateHost(tx, w.org, h2, []byte(`{"name":"renamed"}`))
		return err
	})
	check("2") // links follow a rename
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.UpdateOrganization(tx, w.org, []byte(`{"name":"Demo2"}`))
		return err
	})
	check("2")
	own := "organizations/Demo2/environments/Default/hosts/h1/applications/web/settings/port"
	w.refused(model.Invalid, "its link leads in a circle: "+own+" -> "+own+": let one", func(tx *state.Tx) error {
		return orchestrate.BulkSettings(tx, w.context(h1, "web"), []model.Setting{{Key: "port", Link: own, Value: value(`"default"`)}}, true, orchestrate.Trigger{})
	})
	check("2")
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.CreateOrganization(tx, model.Organization{Name: "Other", Settings: []model.Setting{{Key: "p", Value: value(`"stolen"`)}}}, "", false)
		return err
	})
	link("organizations/Other/settings/p")
	check(`"default"`) // the wall between tenants
	w.refused(model.Invalid, "not the path of a setting", func(tx *state.Tx) error {
		_, err := orchestrate.CreateSetting(tx, w.owner(model.LevelHost, h1), model.Setting{Key: "x", Link: "nowhere"}, orchestrate.Trigger{})
		return err
	})
}

func TestLinkTargetRunsHandlers(t *testing.T) {
	w := newWorld(t)
	w.app(web)
	h := w.host("h1", "web")
	w.set(w.context(h, "web"), model.Setting{Key: "port", Link: "organizations/Demo/settings/p"})
	w.finish(h)
	w.set(w.owner(model.LevelOrganization, w.org), model.Setting{Key: "p", Value: value("90")})
	if got := w.steps(h); !strings.HasPrefix(got, "apply files /etc/conf") {
		t.Errorf("got %q", got)
	}
}

func TestPropertySettings(t *testing.T) {
	w := newWorld(t)
	w.app(web)
	h := w.host("h1", "web")
	w.set(w.owner(model.LevelEnvironment, w.env), model.Setting{Key: "port", Property: "ip.eth0"})
	w.finish(h)
	if _, err := orchestrate.Origin(w.db.Local(), w.org, h, "web", "port"); model.CodeOf(err) != model.NotFound {
		t.Errorf("a property that is missing gives no value: %v", err)
	}
	props := []model.Property{{Key: "ip.eth0", Value: "10.0.0.1"}}
	w.do(func(tx *state.Tx) error { return orchestrate.SetProperties(tx, h, props) })
	if o, err := orchestrate.Origin(w.db.Local(), w.org, h, "web", "port"); err != nil || string(o.Value) != `"10.0.0.1"` {
		t.Errorf("got %s %v", o.Value, err)
	}
	if n := len(w.open(h)); n != 1 {
		t.Errorf("%d changes after a property changed", n)
	}
	before := w.db.Local().Index()
	w.do(func(tx *state.Tx) error { return orchestrate.SetProperties(tx, h, props) })
	if w.db.Local().Index() != before {
		t.Error("the same properties were written again")
	}
}

func TestWhoseHandlersRun(t *testing.T) {
	const one = "apply files /etc/conf, act services httpd restart"
	w := newWorld(t)
	w.app(web)
	w.app(`{"name":"deaf"}`)
	h1, h2, h3 := w.host("h1", "web"), w.host("h2", "web"), w.host("h3", "deaf")
	env := w.owner(model.LevelEnvironment, w.env)
	w.do(func(tx *state.Tx) error { // described only: gets nothing
		_, err := orchestrate.CreateHost(tx, w.org, w.env, model.Host{Name: "h4", Applications: []string{"web"}})
		return err
	})
	expect := func(what, want1, want2 string) {
		t.Helper()
		if g1, g2, g3 := w.steps(h1), w.steps(h2), w.steps(h3); g1 != want1 || g2 != want2 || g3 != "" {
			t.Errorf("%s: got %q, %q, %q", what, g1, g2, g3)
		}
		for _, h := range []string{h1, h2} {
			w.finish(h)
		}
	}
	change := func(v string, tr orchestrate.Trigger) {
		w.do(func(tx *state.Tx) error {
			return orchestrate.BulkSettings(tx, env, []model.Setting{{Key: "port", Value: value(v)}, {Key: "other", Value: value(v)}}, true, tr)
		})
	}
	change("1", orchestrate.Trigger{Handlers: true})
	expect("environment", one, one)
	change("1", orchestrate.Trigger{Handlers: true})
	expect("same value", "", "")
	change("1", orchestrate.Trigger{Handlers: true, Force: true})
	expect("same value by force", one, one)
	change("2", orchestrate.Trigger{})
	expect("without handlers", "", "")
	w.set(w.owner(model.LevelHost, h2), model.Setting{Key: "port", Value: value("9")})
	expect("host", "", one)
	change("3", orchestrate.Trigger{Handlers: true})
	expect("overridden at h2", one, "")
	w.do(func(tx *state.Tx) error {
		return orchestrate.DeleteSetting(tx, w.owner(model.LevelHost, h2), "port", orchestrate.Trigger{Handlers: true})
	})
	expect("override deleted", "", one)
	w.do(func(tx *state.Tx) error {
		return orchestrate.BulkSettings(tx, env, nil, false, orchestrate.Trigger{Handlers: true})
	})
	expect("all deleted: the default holds", one, one)
}

func TestParameterDefaultRunsHandlers(t *testing.T) {
	w := newWorld(t)
	appID := w.app(web)
	h1, h2 := w.host("h1", "web"), w.host("h2", "web")
	w.set(w.owner(model.LevelHost, h2), model.Setting{Key: "port", Value: value("9")})
	w.finish(h2)
	w.do(func(tx *state.Tx) error {
		p, err := orchestrate.UpdateParameter(tx, w.org, appID, "Port", []byte(`{"value":8080}`))
		if p.Version != 2 {
			t.Errorf("version %d", p.Version)
		}
		return err
	})
	if len(w.open(h1)) != 1 || len(w.open(h2)) != 0 {
		t.Errorf("changes: %d and %d, want 1 and 0", len(w.open(h1)), len(w.open(h2)))
	}
}

func TestSecretsAreShownAsAsked(t *testing.T) {
	w := newWorld(t)
	w.app(web)
	o := w.owner(model.LevelOrganization, w.org)
	w.set(o, model.Setting{Key: "pass", Value: value(`"s3cret"`)}) // secret by the parameter's schema
	w.set(o, model.Setting{Key: "own", Value: value(`"s3cret"`), Schema: value(`{"secret":true}`)})
	w.set(o, model.Setting{Key: "plain", Value: value("1")})
	count := func(show orchestrate.Show) int { return len(orchestrate.Settings(w.db.Local(), o, show)) }
	if a, b, c, d := count(orchestrate.Show{}), count(orchestrate.Show{SecretOnly: true}), count(orchestrate.Show{NoSecret: true}), count(orchestrate.Show{Key: "own"}); a != 3 || b != 2 || c != 1 || d != 1 {
		t.Errorf("counts %d %d %d %d", a, b, c, d)
	}
	for _, s := range orchestrate.Settings(w.db.Local(), o, orchestrate.Show{Obfuscate: true}) {
		if strings.Contains(string(s.Value), "s3cret") {
			t.Errorf("%s is shown", s.Key)
		}
	}
	if _, err := orchestrate.GetSetting(w.db.Local(), o, "pass", orchestrate.Show{NoSecret: true}); model.CodeOf(err) != model.NotFound {
		t.Errorf("a secret setting was shown: %v", err)
	}
}

func TestBadSettings(t *testing.T) {
	w := newWorld(t)
	o := w.owner(model.LevelOrganization, w.org)
	w.set(o, model.Setting{Key: "k", Value: value("1")})
	w.refused(model.Conflict, "already", func(tx *state.Tx) error {
		_, err := orchestrate.CreateSetting(tx, o, model.Setting{Key: "k"}, orchestrate.Trigger{})
		return err
	})
	w.refused(model.Invalid, "reserved", func(tx *state.Tx) error {
		_, err := orchestrate.CreateSetting(tx, o, model.Setting{Key: "_host"}, orchestrate.Trigger{})
		return err
	})
	w.refused(model.NotFound, `"x" not found`, func(tx *state.Tx) error {
		_, err := orchestrate.UpdateSetting(tx, o, "x", []byte(`{}`), orchestrate.Trigger{})
		return err
	})
	w.refused(model.Invalid, "cannot change", func(tx *state.Tx) error {
		_, err := orchestrate.UpdateSetting(tx, o, "k", []byte(`{"key":"l"}`), orchestrate.Trigger{})
		return err
	})
	w.refused(model.Invalid, "twice", func(tx *state.Tx) error {
		return orchestrate.BulkSettings(tx, o, []model.Setting{{Key: "a"}, {Key: "a"}}, true, orchestrate.Trigger{})
	})
	w.refused(model.NotFound, "not found", func(tx *state.Tx) error {
		return orchestrate.DeleteSetting(tx, w.owner(model.LevelHost, w.env), "k", orchestrate.Trigger{})
	})
}

func TestTree(t *testing.T) {
	w := newWorld(t)
	w.app(web)
	w.host("h1", "web")
	o := w.owner(model.LevelOrganization, w.org)
	w.set(o, model.Setting{Key: "port", Value: value("1")})
	tree, err := orchestrate.Tree(w.db.Local(), w.org, orchestrate.Show{})
	if err != nil || len(tree.Settings) != 1 || tree.Environments[0].Hosts[0].Applications[0].Application != "web" {
		t.Errorf("tree %+v %v", tree, err)
	}
}

// TestSecretsThroughLinks: a value stays secret under whatever name it is reached.
func TestSecretsThroughLinks(t *testing.T) {
	w := newWorld(t)
	w.app(web)
	h := w.host("h1", "web")
	org, host := w.owner(model.LevelOrganization, w.org), w.owner(model.LevelHost, h)
	w.set(org, model.Setting{Key: "own", Value: value(`"s3cret"`), Schema: value(`{"secret":true}`)})
	w.set(org, model.Setting{Key: "pass", Value: value(`"s3cret"`)}) // secret by the schema of a parameter
	w.set(org, model.Setting{Key: "plain", Value: value(`"open"`)})
	w.set(org, model.Setting{Key: "hop", Link: "organizations/Demo/settings/pass"})
	w.set(host, model.Setting{Key: "a", Link: "organizations/Demo/settings/own"})
	w.set(host, model.Setting{Key: "b", Link: "organizations/Demo/settings/pass"})
	w.set(host, model.Setting{Key: "c", Link: "organizations/Demo/settings/hop"})
	w.set(host, model.Setting{Key: "d", Link: "organizations/Demo/settings/plain"})
	w.set(w.context(h, "web"), model.Setting{Key: "pass", Value: value(`"s3cret"`), Schema: value(`{"secret":false}`)})
	for key, want := range map[string]bool{"a": true, "b": true, "c": true, "d": false, "pass": true, "plain": false} {
		got, err := orchestrate.Origin(w.db.Local(), w.org, h, "web", key)
		if err != nil || got.Secret != want || len(got.Value) == 0 {
			t.Errorf("%s: %+v %v, want secret %v", key, got, err, want)
		}
	}
}

func TestValuesFitTheirSchemas(t *testing.T) {
	w := newWorld(t)
	w.app(`{"name": "one", "parameters": [{"name": "The port", "key": "port", "value": 80, "schema": {"type": "integer", "minimum": 1}}]}`)
	host := w.host("h", "one")
	set := func(o model.Owner, doc string) func(tx *state.Tx) error {
		return func(tx *state.Tx) error {
			s, err := model.Decode[model.Setting]([]byte(doc))
			if err != nil {
				return err
			}
			return orchestrate.BulkSettings(tx, o, []model.Setting{s}, true, orchestrate.Trigger{Handlers: true})
		}
	}
	org, ctx := w.owner(model.LevelOrganization, w.org), w.context(host, "one")
	w.do(set(org, `{"key": "port", "value": 9007199254740993}`))
	w.do(set(ctx, `{"key": "port", "value": "8080"}`)) // a text that reads as what is wanted
	w.refused(model.Invalid, `setting "port": the value does not fit parameter "The port" of application "one": it must be at least 1`, set(ctx, `{"key": "port", "value": 0}`))
	w.refused(model.Invalid, "it is a text, and an integer is wanted", set(org, `{"key": "port", "value": "s3cret"}`))
	w.refused(model.Invalid, `setting "own": the value does not fit its schema: it is a list, and a text is wanted`, set(org, `{"key": "own", "value": [1], "schema": {"type": "string"}}`))
	w.refused(model.Invalid, `setting "own": schema: type "text" is unknown`, set(org, `{"key": "own", "value": 1, "schema": {"type": "text"}}`))
	w.refused(model.Invalid, `parameter "The port": the value does not fit the schema`, func(tx *state.Tx) error {
		a, err := orchestrate.ApplicationByName(tx, w.org, "one")
		if err != nil {
			return err
		}
		_, err = orchestrate.UpdateParameter(tx, w.org, a.ID, "The port", []byte(`{"value": "eighty"}`))
		return err
	})
	// Of several applications one that accepts it is enough, where it may be meant for any.
	w.app(`{"name": "two", "parameters": [{"name": "Port", "key": "port", "schema": {"type": "string"}}]}`)
	w.do(set(org, `{"key": "port", "value": "http"}`))
	w.refused(model.Invalid, "an integer is wanted", set(ctx, `{"key": "port", "value": "http"}`))
}

func TestExplain(t *testing.T) {
	w := newWorld(t)
	w.app(`{"name": "one", "parameters": [{"name": "The port", "key": "port", "value": 80}]}`)
	host := w.host("h", "one")
	all := func(model.Owner) bool { return true }
	ctx := w.context(host, "one")
	explain := func(key string, see func(model.Owner) bool) model.Explanation {
		t.Helper()
		e, err := orchestrate.Explain(w.db.Local(), ctx, key, see)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	if e := explain("port", all); string(e.Value) != "80" || e.From != "organizations/Demo/applications/one/parameters/The port" || len(e.Candidates) != 1 || !e.Candidates[0].Counts {
		t.Errorf("a default: %+v", e)
	}
	w.set(w.owner(model.LevelOrganization, w.org), model.Setting{Key: "base", Value: value("7")})
	w.set(w.owner(model.LevelEnvironment, w.env), model.Setting{Key: "port", Link: "organizations/Demo/settings/base"})
	w.set(w.owner(model.LevelOrganization, w.org), model.Setting{Key: "port", Value: value("1")})
	e := explain("port", all)
	if string(e.Value) != "7" || len(e.Candidates) != 3 || !e.Candidates[0].Counts || e.Candidates[1].Why != "a nearer one counts" || e.Candidates[2].Why != "there is a setting" {
		t.Errorf("a link: %+v", e)
	}
	if len(e.Way) != 1 || e.Way[0] != "organizations/Demo/settings/base" || e.From != "organizations/Demo/environments/Default" {
		t.Errorf("the way of a link: %+v", e)
	}
	hidden := explain("port", func(o model.Owner) bool { return o.Level != model.LevelEnvironment })
	if !hidden.Hidden || hidden.Value != nil || !hidden.Candidates[0].Hidden || hidden.Candidates[0].Link != "" || hidden.Candidates[1].Value == nil {
		t.Errorf("what may not be read: %+v", hidden)
	}
	w.set(w.owner(model.LevelOrganization, w.org), model.Setting{Key: "port", Value: value("1"), Schema: value(`{"final": true, "secret": true}`)})
	e = explain("port", all)
	if string(e.Value) != "1" || !e.Secret || e.Candidates[0].Counts || e.Candidates[0].Why != "the one at organizations/Demo is final" || !e.Candidates[1].Final {
		t.Errorf("a final one: %+v", e)
	}
	if m := orchestrate.Masked(e); string(m.Value) != `"********"` || string(m.Candidates[1].Value) != `"********"` {
		t.Errorf("masked: %+v", m)
	}
	if _, err := orchestrate.Explain(w.db.Local(), ctx, "none", all); model.CodeOf(err) != model.NotFound {
		t.Errorf("an unknown key: %v", err)
	}
}

// Who writes other keys of the same owner meanwhile is no reason to begin anew; who deletes what was not listed must see all.
func TestBulkWritesOfOtherKeysAreNoConflict(t *testing.T) {
	for _, test := range []struct {
		name     string
		noDelete bool
		tries    int
	}{{"others stay", true, 1}, {"others are deleted", false, 2}} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			o := w.owner(model.LevelEnvironment, w.env)
			one := func(key string) func(tx *state.Tx) error {
				return func(tx *state.Tx) error {
					return orchestrate.BulkSettings(tx, o, []model.Setting{{Key: key, Value: value("1")}}, test.noDelete, orchestrate.Trigger{Handlers: true})
				}
			}
			tries := 0
			w.do(func(tx *state.Tx) error {
				if tries++; tries == 1 {
					if err := w.db.Inject(one("b")); err != nil {
						return err
					}
				}
				return one("a")(tx)
			})
			if tries != test.tries {
				t.Errorf("it was tried %d times, want %d", tries, test.tries)
			}
			_, err := orchestrate.GetSetting(w.db.Local(), o, "b", orchestrate.Show{})
			if gone := model.CodeOf(err) == model.NotFound; gone == test.noDelete {
				t.Errorf("the other: %v", err)
			}
		})
	}
}

// What was read with obfuscate can be sent back: the secret stays, whether its own schema or a parameter makes it one.
func TestTheMaskOfASecretChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.app(`{"name":"web","parameters":[{"name":"Password","key":"pass","schema":{"type":"string","secret":true}}]}`)
	o := w.owner(model.LevelEnvironment, w.env)
	w.set(o, model.Setting{Key: "own", Value: value(`"deep"`), Schema: value(`{"secret":true}`)})
	w.set(o, model.Setting{Key: "pass", Value: value(`"deep"`)})
	w.set(o, model.Setting{Key: "open", Value: value(`"deep"`)})
	masked := value(`"********"`)
	w.do(func(tx *state.Tx) error {
		for _, key := range []string{"own", "pass", "open"} {
			if _, err := orchestrate.UpdateSetting(tx, o, key, []byte(`{"value":"********"}`), orchestrate.Trigger{}); err != nil {
				return err
			}
		}
		return orchestrate.BulkSettings(tx, o, []model.Setting{{Key: "own", Value: masked, Schema: value(`{"secret":true}`)}}, true, orchestrate.Trigger{})
	})
	for key, want := range map[string]string{"own": `"deep"`, "pass": `"deep"`, "open": string(masked)} {
		if s, err := orchestrate.GetSetting(w.db.Local(), o, key, orchestrate.Show{}); err != nil || string(s.Value) != want {
			t.Errorf("%s is %s (%v), want %s", key, s.Value, err, want)
		}
	}
}

// Errors of a schema name it once.
func TestErrorsOfSchemas(t *testing.T) {
	w := newWorld(t)
	o := w.owner(model.LevelEnvironment, w.env)
	for schema, want := range map[string]string{
		`{"type":"text"}`:           `setting "k": schema: type "text" is unknown`,
		`{"items":{"type":"text"}}`: `setting "k": schema.items: type "text" is unknown`,
		`{"pattern":"("}`:           `setting "k": schema: /pattern: it is not of the format regex`,
	} {
		w.refused(model.Invalid, want, func(tx *state.Tx) error {
			_, err := orchestrate.CreateSetting(tx, o, model.Setting{Key: "k", Value: value("1"), Schema: value(schema)}, orchestrate.Trigger{})
			return err
		})
	}
}

func TestSettingsOfALockedDistribution(t *testing.T) {
	w := newWorld(t)
	var o model.Owner
	lock := func(locked bool) {
		w.do(func(tx *state.Tx) error { return orchestrate.LockDistribution(tx, w.org, o.ID, locked) })
	}
	w.do(func(tx *state.Tx) error {
		d, err := orchestrate.CreateDistribution(tx, w.org, model.Distribution{Name: "os", Settings: []model.Setting{{Key: "k", Value: value("1")}}}, "")
		if err == nil {
			o = orchestrate.OwnerOfKit(d)
		}
		return err
	})
	lock(true)
	none := orchestrate.Trigger{}
	for what, write := range map[string]func(tx *state.Tx) error{
		"create": func(tx *state.Tx) error {
			_, err := orchestrate.CreateSetting(tx, o, model.Setting{Key: "l", Value: value("1")}, none)
			return err
		},
		"update": func(tx *state.Tx) error {
			_, err := orchestrate.UpdateSetting(tx, o, "k", []byte(`{"value":2}`), none)
			return err
		},
		"delete": func(tx *state.Tx) error { return orchestrate.DeleteSetting(tx, o, "k", none) },
		"bulk":   func(tx *state.Tx) error { return orchestrate.BulkSettings(tx, o, nil, false, none) },
	} {
		t.Run(what, func(t *testing.T) {
			w.refused(model.Conflict, `distribution "os" is locked: unlock it first`, write)
		})
	}
	lock(false)
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteSetting(tx, o, "k", none) })
}
