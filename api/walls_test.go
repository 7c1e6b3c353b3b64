package api_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/fsm/model"
)

// inTable puts what the fixture has into a pattern of the table, but for the organization.
var inTable = strings.NewReplacer("{env}", "Dev", "{host}", "web1", "{app}", "web", "{file}", "site.conf", "{file...}", "site.conf",
	"{param}", "Listen%20port", "{group}", "admin", "{num}", "1", "{svc}", "nginx", "{pkg}", "nginx", "{svc...}", "nginx",
	"{pkg...}", "nginx", "{type}", "files", "{id...}", "x", "{handler}", "reload", "{key}", "port", "{id}", "t",
	"{plat}", "cloud", "{dist}", "os", "{hg}", "all", "{orch}", "roll", "{hook}", "hook", "{chan}", "chat", "{mod}", "nodejs", "{git}", "site", "{job}", "nightly")

// Names of one's own organization do not lead into another one.
func TestOwnNamesStayInTheOwnOrganization(t *testing.T) {
	s := newSite(t).furnish()
	s.call(s.admin, client.Op{Name: "organizations.create", Body: map[string]any{"name": "rival"}}, nil)
	eve := s.user("eve", "admin", "rival")
	for _, op := range []client.Op{
		{Name: "environments.show", Params: map[string]string{"org": "rival", "env": "Dev"}},
		{Name: "hosts.show", Params: map[string]string{"org": "rival", "env": "Dev", "host": "web1"}},
		{Name: "applications.show", Params: map[string]string{"org": "rival", "app": "web"}},
		{Name: "files.content.show", Level: "application", Params: map[string]string{"org": "rival", "app": "web", "file": "site.conf"}},
	} {
		if err := eve.Call(t.Context(), op, nil); model.CodeOf(err) != model.NotFound {
			t.Errorf("%s: %v", op.Name, err)
		}
	}
}

func basicAuth(user, password string) string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

func TestRolesDecide(t *testing.T) {
	s := newSite(t).furnish()
	org, env := map[string]string{"org": "acme"}, map[string]string{"org": "acme", "env": "Dev"}
	secret := map[string]any{"key": "password", "value": "hunter2", "schema": map[string]any{"type": "string", "secret": true}}
	s.call(s.admin, client.Op{Name: "settings.create", Level: "environment", Params: env, Body: secret}, nil)
	s.call(s.admin, client.Op{Name: "host.applications.create", Params: host(), Body: map[string]any{"application": "web"}}, nil)
	people := map[string]*client.Client{}
	for _, group := range []string{"users", "auditors", "readonly"} {
		people[group] = s.user("in-"+group, group, "acme")
	}
	people["admin"] = s.admin
	people["nobody"] = s.user("stranger", "", "")
	inApp := map[string]string{"org": "acme", "env": "Dev", "host": "web1", "app": "web", "file": "site.conf"}
	for _, c := range []struct {
		op   client.Op
		want map[string]model.Code // "" is success
	}{
		{client.Op{Name: "environments.show", Params: env}, map[string]model.Code{"users": "", "auditors": "", "readonly": "", "nobody": model.NotFound}},
		{client.Op{Name: "environments.update", Params: env, Body: map[string]any{"description": "d"}},
			map[string]model.Code{"admin": "", "users": "", "auditors": "", "readonly": model.Forbidden, "nobody": model.NotFound}},
		{client.Op{Name: "organizations.update", Params: org, Body: map[string]any{"description": "d"}},
			map[string]model.Code{"admin": "", "users": model.Forbidden, "auditors": model.Forbidden, "readonly": model.Forbidden}},
		{client.Op{Name: "groups.update", Params: map[string]string{"org": "acme", "group": "auditors"}, Body: map[string]any{"description": "d"}},
			map[string]model.Code{"users": model.Forbidden, "auditors": model.Forbidden, "readonly": model.Forbidden, "nobody": model.NotFound}},
		{client.Op{Name: "access.set", Params: org}, map[string]model.Code{"users": model.Forbidden, "readonly": model.Forbidden}},
		{client.Op{Name: "host.applications.files.show", Params: inApp},
			map[string]model.Code{"users": "", "auditors": model.Forbidden, "readonly": model.Forbidden, "nobody": model.NotFound}},
		{client.Op{Name: "users.list"}, map[string]model.Code{"admin": "", "users": model.Forbidden, "nobody": model.Forbidden}},
		{client.Op{Name: "organizations.create", Body: map[string]any{"name": "mine"}}, map[string]model.Code{"users": model.Forbidden, "nobody": model.Forbidden}},
		{client.Op{Name: "enroltokens.create", Params: env, Body: map[string]any{}},
			map[string]model.Code{"admin": "", "users": model.Forbidden, "readonly": model.Forbidden, "nobody": model.NotFound}},
	} {
		for who, want := range c.want {
			if err := people[who].Call(t.Context(), c.op, nil); model.CodeOf(err) != want {
				t.Errorf("%s as %s: %v, want code %q", c.op.Name, who, err, want)
			}
		}
	}
	for who, sees := range map[string]bool{"admin": true, "users": true, "auditors": false, "readonly": false} {
		for _, op := range []client.Op{
			{Name: "settings.list", Level: "environment", Params: env}, {Name: "environments.show", Params: env},
			{Name: "environments.list", Params: org}, {Name: "settings.list", Level: "environment", Params: env, Query: map[string][]string{"secret_only": {"True"}}},
		} {
			var doc json.RawMessage
			s.call(people[who], op, &doc)
			if strings.Contains(string(doc), "hunter2") != sees {
				t.Errorf("%s as %s: %s; the secret should be seen: %v", op.Name, who, doc, sees)
			}
		}
		var o model.Organization
		s.call(people[who], client.Op{Name: "organizations.show", Params: org}, &o)
		if (o.Access != nil) != (who == "admin") {
			t.Errorf("%s sees the access pair: %v", who, o.Access != nil)
		}
	}
}

// What a change would touch is told as far as the caller may see it.
func TestImpactHidesHosts(t *testing.T) {
	s := newSite(t).furnish()
	org := map[string]string{"org": "acme", "key": "port"}
	s.call(s.admin, client.Op{Name: "settings.create", Level: "organization", Params: map[string]string{"org": "acme"}, Body: map[string]any{"key": "port", "value": "81"}}, nil)
	s.call(s.admin, client.Op{Name: "host.applications.create", Params: host(), Body: map[string]any{"application": "web"}}, nil)
	ben := s.user("ben", "users", "acme")
	s.call(s.admin, client.Op{Name: "settings.create", Level: "environment", Params: map[string]string{"org": "acme", "env": "Dev"},
		Body: map[string]any{"key": "open", "link": "organizations/acme/settings/port"}}, nil)
	var others []string
	impact := func(c *client.Client) model.SettingHandlerContext {
		var i model.SettingImpact
		s.call(c, client.Op{Name: "settings.impact.show", Level: "organization", Params: org}, &i)
		if len(i.SettingHandlerContexts) != 1 {
			t.Fatalf("impact %+v", i)
		}
		others = i.OtherResources
		return i.SettingHandlerContexts[0]
	}
	if i := impact(ben); len(i.Hosts) != 1 || i.NoAccessToAllResources || i.Application != "web" {
		t.Errorf("impact %+v", i)
	}
	if !slices.Contains(others, "organizations/acme/environments/Dev/settings/open") {
		t.Errorf("others %q", others)
	}
	s.join("ben", "no access", "acme/Dev")
	if i := impact(ben); len(i.Hosts) != 0 || !i.NoAccessToAllResources || len(others) != 0 {
		t.Errorf("impact with the environment hidden: %+v %q", i, others)
	}
	reads := func() int {
		var events struct{ Items []any }
		s.call(s.admin, client.Op{Name: "audit.list", Params: map[string]string{"org": "acme"}, Query: map[string][]string{"read": {"true"}}}, &events)
		return len(events.Items)
	}
	hush := map[string]any{"key": "hush", "value": "x", "schema": map[string]any{"secret": true}}
	s.call(s.admin, client.Op{Name: "settings.create", Level: "organization", Params: map[string]string{"org": "acme"}, Body: hush}, nil)
	before := reads()
	s.call(s.admin, client.Op{Name: "settings.impact.show", Level: "organization", Params: map[string]string{"org": "acme", "key": "hush"}}, nil)
	if after := reads(); after != before {
		t.Errorf("an impact shows no value, and is recorded as the reading of a secret: %d reads, then %d", before, after)
	}
}

// An environment can be hidden from some, and be all that others see.
func TestEnvironmentsHideAndShow(t *testing.T) {
	s := newSite(t).furnish()
	s.call(s.admin, client.Op{Name: "environments.create", Params: map[string]string{"org": "acme"}, Body: map[string]any{"name": "Prod"}}, nil)
	ben := s.user("ben", "users", "acme")
	s.join("ben", "no access", "acme/Prod")
	guest := s.user("guest", "users", "acme/Dev")
	names := func(c *client.Client) (org, list string) {
		var o model.Organization
		s.call(c, client.Op{Name: "organizations.show", Params: map[string]string{"org": "acme"}}, &o)
		envs, err := client.List[model.Environment](t.Context(), c, client.Op{Name: "environments.list", Params: map[string]string{"org": "acme"}})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range envs {
			list += e.Name + " "
		}
		return strings.Join(o.Environments, " "), list
	}
	var tree model.SettingTree
	s.call(ben, client.Op{Name: "tree.settings.list", Params: map[string]string{"org": "acme"}}, &tree)
	if len(tree.Environments) != 1 || tree.Environments[0].Environment != "Dev" || len(tree.Environments[0].Hosts) != 1 {
		t.Errorf("the tree of settings shows %+v", tree)
	}
	for who, c := range map[string]*client.Client{"ben": ben, "guest": guest} {
		if org, list := names(c); org != "Dev" || list != "Dev " {
			t.Errorf("%s sees %q in the organization and %q in the list", who, org, list)
		}
		err := c.Call(t.Context(), client.Op{Name: "environments.show", Params: map[string]string{"org": "acme", "env": "Prod"}}, nil)
		if model.CodeOf(err) != model.NotFound {
			t.Errorf("%s asks for the hidden one: %v", who, err)
		}
	}
	if err := guest.Call(t.Context(), client.Op{Name: "hosts.update", Params: host(), Body: map[string]any{"description": "d"}}, nil); err != nil {
		t.Errorf("a user of one environment works in it: %v", err)
	}
	err := guest.Call(t.Context(), client.Op{Name: "environments.create", Params: map[string]string{"org": "acme"}, Body: map[string]any{"name": "X"}}, nil)
	if model.CodeOf(err) != model.Forbidden {
		t.Errorf("a user of one environment makes another: %v", err)
	}
	// Moving a host is making one at the other end.
	err = guest.Call(t.Context(), client.Op{Name: "hosts.update", Params: host(), Body: map[string]any{"environment": "Prod"}}, nil)
	nowhere := guest.Call(t.Context(), client.Op{Name: "hosts.update", Params: host(), Body: map[string]any{"environment": "None"}}, nil)
	if model.CodeOf(err) != model.Invalid || strings.ReplaceAll(err.Error(), "Prod", "None") != nowhere.Error() {
		t.Errorf("a host is moved to an environment that its mover cannot see: %v, and to none: %v", err, nowhere)
	}
}

func TestCredentials(t *testing.T) {
	s := newSite(t).furnish()
	s.user("rené", "users", "acme")
	latin := "Basic " + "cmVu6TpyZW7pLXBhc3N3b3Jk" // "ren\xe9:ren\xe9-password"
	if a := s.raw("GET", "/organizations/acme", "", "Authorization", latin); a.status != 200 {
		t.Errorf("Latin-1: %d %s", a.status, a.body)
	}
	wrong := s.raw("GET", "/organizations/acme", "", "Authorization", basicAuth("admin", "x"))
	unknown := s.raw("GET", "/organizations/acme", "", "Authorization", basicAuth("nobody", "x"))
	if wrong.status != 401 || unknown.status != 401 || wrong.errors(t) != unknown.errors(t) || wrong.header.Get("WWW-Authenticate") == "" {
		t.Errorf("a wrong password: %d %s; an unknown user: %d %s", wrong.status, wrong.body, unknown.status, unknown.body)
	}
	if a := s.raw("GET", "/organizations/acme", "", "Authorization", ""); a.status != 401 {
		t.Errorf("no credentials: %d %s", a.status, a.body)
	}
	if a := s.raw("GET", "/account/_verify", "", "X-ComodIT-TotpToken", "123456"); a.status != 401 {
		t.Errorf("a one-time code: %d %s", a.status, a.body)
	}
	if a := s.raw("GET", "/account/_verify", "", "Authorization", "", "X-ComodIT-JwtToken", "x"); a.status != 401 {
		t.Errorf("a JWT: %d %s", a.status, a.body)
	}
	// Another password holds at once, although the old one was remembered.
	s.call(s.admin, client.Op{Name: "users.password", Params: map[string]string{"name": "rené"}, Body: map[string]string{"password": "another one"}}, nil)
	if a := s.raw("GET", "/organizations/acme", "", "Authorization", latin); a.status != 401 {
		t.Errorf("the old password: %d %s", a.status, a.body)
	}
	own := s.as("rené", "another one")
	if err := own.Call(t.Context(), client.Op{Name: "users.password", Params: map[string]string{"name": "rené"}, Body: map[string]string{"password": "my own choice"}}, nil); err != nil {
		t.Errorf("a user sets its own password: %v", err)
	}
	own = s.as("rené", "my own choice")
	err := own.Call(t.Context(), client.Op{Name: "users.password", Params: map[string]string{"name": "admin"}, Body: map[string]string{"password": "taken over"}}, nil)
	if model.CodeOf(err) != model.Forbidden {
		t.Errorf("a user sets the administrator's password: %v", err)
	}
	if err := s.admin.Call(t.Context(), client.Op{Name: "users.delete", Params: map[string]string{"name": "admin"}}, nil); model.CodeOf(err) != model.Conflict {
		t.Errorf("the administrator deletes itself: %v", err)
	}
	if strings.Contains(s.log.String(), "my own choice") || strings.Contains(s.log.String(), adminPassword) {
		t.Error("the log holds a password")
	}
}

func TestApplicationKeys(t *testing.T) {
	s := newSite(t).furnish()
	org := map[string]string{"org": "acme"}
	var token, basic model.ApplicationKey
	s.call(s.admin, client.Op{Name: "applicationkeys.create", Params: org, Body: map[string]any{"name": "ci", "method": "TOKEN", "group": "readonly"}}, &token)
	s.call(s.admin, client.Op{Name: "applicationkeys.create", Params: org, Body: map[string]any{"name": "sync", "method": "BASIC_AUTH", "group": "users"}}, &basic)
	if token.Token == "" || basic.AccessKey == "" || basic.SecretKey == "" {
		t.Fatalf("keys: %+v %+v", token, basic)
	}
	with := func(key string) answer {
		return s.raw("GET", "/organizations/acme", "", "Authorization", "", "X-Comodit-Appkey", key)
	}
	if a := with(token.Token); a.status != 200 {
		t.Errorf("with the token: %d %s", a.status, a.body)
	}
	if a := with(token.Token + "x"); a.status != 401 {
		t.Errorf("with a wrong token: %d %s", a.status, a.body)
	}
	a := s.raw("PUT", "/organizations/acme/environments/Dev", `{}`, "Authorization", "", "X-ComodIT-AppKey", token.Token)
	if a.status != 403 {
		t.Errorf("a key of readonly writes: %d %s", a.status, a.body)
	}
	a = s.raw("PUT", "/organizations/acme/environments/Dev", `{"description": "by key"}`, "Authorization", basicAuth(basic.AccessKey, basic.SecretKey))
	if a.status != 200 {
		t.Errorf("access and secret key: %d %s", a.status, a.body)
	}
	var again model.ApplicationKey
	s.call(s.admin, client.Op{Name: "applicationkeys.reset", Params: map[string]string{"org": "acme", "key": "ci"}}, &again)
	if a := with(token.Token); a.status != 401 {
		t.Errorf("the old token after a reset: %d", a.status)
	}
	if a := with(again.Token); a.status != 200 {
		t.Errorf("the new token: %d", a.status)
	}
	s.call(s.admin, client.Op{Name: "applicationkeys.delete", Params: map[string]string{"org": "acme", "key": "ci"}}, nil)
	if a := with(again.Token); a.status != 401 {
		t.Errorf("the token of a deleted key: %d", a.status)
	}
}
