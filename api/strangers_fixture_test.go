package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/api"
	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

const strangersPassword = "strangers' password"

// names are values for the placeholders of the route table, of things that exist in one organization.
type names map[string]string

// Names of the placeholders that are the same in every organization: they tell nothing of another one.
func commonNames() names {
	return names{"group": "admin", "type": "files", "coll": "hosts", "sensor": "cpu", "flavor": "debian", "K": "applications"}
}

// stranger is a caller and what it sends to be known.
type stranger struct {
	role    string
	headers []string
	org     string // where it has rights: "" nowhere, "rival" in the other organization, "acme" beside what it asks for
	blind   string // of acme: the placeholder at which its rights end
	site    bool   // an administrator of the site
}

// twoOrganizations is a site with acme, which has one of everything, and rival, which has its own.
type twoOrganizations struct {
	*site
	handler    http.Handler
	acme, ours names
	strangers  []stranger
}

func newTwoOrganizations(t testing.TB) *twoOrganizations {
	t.Helper()
	s := newSite(t, func(c *api.Config) { c.Log = newLog() }, withAgents(&fakeAgents{files: map[string]string{"/etc/motd": "hello"}}))
	w := &twoOrganizations{site: s, handler: s.server.Config.Handler}
	w.ours = names{"org": "rival", "env": "Lab", "host": "box1", "app": "tool", "plat": "mill", "dist": "bsd1", "hg": "few", "orch": "plan", "hook": "bell",
		"chan": "talk", "file": "own file", "param": "own param", "handler": "own do", "key": "own key", "mod": "own mod", "git": "own git", "svc": "ownsvc",
		"pkg": "ownpkg", "job": "own job", "num": "0", "pipe": "-", "stage": "-", "step": "-", "ctx": "-", "uuid": "-", "id": "-", "name": "-", "token": "-", "plan": "-"}
	w.acme = names{"org": "acme", "env": "Dev", "host": "web1", "app": "web", "plat": "cloud", "dist": "os", "hg": "all", "orch": "roll", "hook": "hook",
		"chan": "chat", "file": "site.conf", "param": "Listen port", "handler": "reload", "key": "port", "mod": "nodejs", "git": "site", "svc": "nginx",
		"pkg": "nginx", "job": "nightly", "num": "1", "pipe": "pipes", "stage": "stages", "step": "steps", "ctx": "context", "uuid": "C0FFEE", "id": "identity",
		"name": "rene", "token": "tokens", "host.compliance.show:id": "site.conf", "host.compliance.delete:id": "site.conf"}
	s.furnish()
	s.furnishMore()
	s.furnishMost("acme", "Dev", "web1", "web")
	w.acme["plan"] = s.raw("PUT", web1+"/applications/web/services/nginx/_restart", "").header.Get(spec.HeaderPlan)
	s.play([]exchange{{"POST", "/organizations/acme/jobs/", `{"name": "nightly", "action": "STOP_HOST", "input": "organizations/acme/environments/Dev/hosts/web1"}`, 201, ""}})
	w.furnishRival()
	w.strangers = w.people()
	return w
}

// furnishMost adds to furnishMore what routes need that name a single thing.
func (s *site) furnishMost(org, env, host, app string) {
	s.t.Helper()
	o := "/organizations/" + org
	h := o + "/environments/" + env + "/hosts/" + host
	s.play([]exchange{
		{"POST", h + "/applications/", `{"application": "` + app + `"}`, 201, ""},
		{"PUT", h + "/applications/" + app + "/services/nginx/_restart", "", 200, ""}, // change 1: the other organization's host has but 0
		{"POST", o + "/applicationkeys/", `{"name": "port", "method": "TOKEN", "group": "users"}`, 201, ""},
		{"POST", o + "/orchestrations/roll/handlers/", `{"name": "reload", "triggers": ["port"]}`, 201, ""},
	})
	for _, owner := range []string{o, o + "/environments/" + env, h, h + "/applications/" + app, h + "/platform", h + "/distribution",
		o + "/platforms/cloud", o + "/distributions/os", o + "/hostgroups/all"} {
		s.play([]exchange{{"POST", owner + "/settings/?trigger_application_handler=false", `{"key": "port", "value": "8080"}`, 201, ""}})
	}
	for _, kit := range []string{o + "/platforms/cloud", o + "/distributions/os"} {
		s.play([]exchange{
			{"POST", kit + "/files/", `{"name": "site.conf"}`, 201, ""},
			{"POST", kit + "/parameters/", `{"name": "Listen port", "key": "listen", "value": "1"}`, 201, ""},
		})
	}
	origin := model.Origin{Application: app, Type: "files", Name: "site.conf"}
	s.update(func(tx *state.Tx) error {
		org, err := orchestrate.OrganizationByName(tx, org)
		if err != nil {
			return err
		}
		e, err := orchestrate.EnvironmentByName(tx, org.ID, env)
		if err != nil {
			return err
		}
		row, err := orchestrate.HostByName(tx, org.ID, e.ID, host)
		if err != nil {
			return err
		}
		if err := orchestrate.PutCompliance(tx, row.ID, origin, json.RawMessage(`{"present":true}`), json.RawMessage(`{"present":false}`)); err != nil {
			return err
		}
		for _, other := range []model.Origin{{Application: app, Type: "services", Name: "nginx"}, {Application: app, Type: "packages", Name: "nginx"}} {
			if err := orchestrate.PutCompliance(tx, row.ID, other, json.RawMessage(`{"running":true}`), json.RawMessage(`{"running":false}`)); err != nil {
				return err
			}
		}
		return nil
	})
}

// furnishRival makes the other organization with names of its own.
func (w *twoOrganizations) furnishRival() {
	w.t.Helper()
	o := "/organizations/rival"
	h := o + "/environments/Lab/hosts/box1"
	w.play([]exchange{
		{"POST", "/organizations/", `{"name": "rival"}`, 201, ""},
		{"POST", o + "/environments/", `{"name": "Lab"}`, 201, ""},
		{"POST", o + "/platforms/", `{"name": "mill", "driver": {"className": "x"}, "files": [{"name": "own file"}]}`, 201, ""},
		{"POST", o + "/distributions/", `{"name": "bsd1", "files": [{"name": "own file"}]}`, 201, ""},
		{"POST", o + "/applications/", `{"name": "tool", "packages": [{"name": "ownpkg"}], "services": [{"name": "ownsvc"}],
			"files": [{"name": "own file", "path": "/etc/x"}], "handlers": [{"name": "own do", "on": ["own key"], "do": []}]}`, 201, ""},
	})
	w.adopt("rival", "Lab", "box1")
	w.play([]exchange{
		{"POST", h + "/platform/", `{"platform": "mill"}`, 201, ""},
		{"POST", h + "/distribution/", `{"distribution": "bsd1"}`, 201, ""},
		{"POST", h + "/applications/", `{"application": "tool"}`, 201, ""},
		{"POST", o + "/hostgroups/", `{"name": "few", "hosts": [{"position": 0, "environment": "Lab", "host": "box1"}]}`, 201, ""},
		{"POST", o + "/orchestrations/", `{"name": "plan", "applicationsOperations": [], "orderedHostGroup": []}`, 201, ""},
		{"POST", o + "/webhooks/", `{"name": "bell", "serverName": "example.org", "path": "/"}`, 201, ""},
		{"POST", o + "/notifications/", `{"channel": "talk", "value": "{}"}`, 201, ""},
		{"GET", h, "", 200, `"applications":["tool"]`},
		{"POST", "/organizations/acme/environments/", `{"name": "Side"}`, 201, ""},
		{"POST", "/organizations/acme/environments/Side/hosts/", `{"name": "web9"}`, 201, ""},
		{"POST", "/organizations/acme/environments/Dev/hosts/", `{"name": "web2"}`, 201, ""},
	})
}

// people are all the callers: every group at every level of the other organization, keys of each group, a session,
// those who are in nothing, and those of acme whose rights end beside what they ask for.
func (w *twoOrganizations) people() []stranger {
	w.t.Helper()
	basic := func(name string) []string { return []string{"Authorization", basicAuth(name, strangersPassword)} }
	list := []stranger{{role: "anonymous", headers: []string{"Authorization", ""}}}
	hash := auth.HashPassword(strangersPassword)
	w.person("nogroup", hash)
	list = append(list, stranger{role: "a user without a group", headers: basic("nogroup")})
	w.play([]exchange{{"POST", "/users/", `{"username": "root2", "password": "` + strangersPassword + `", "admin": true}`, 201, `"admin":true`}})
	list = append(list, stranger{role: "an administrator of the site", headers: basic("root2"), site: true})
	for _, at := range []struct{ where, level string }{{"rival", "organization"}, {"rival/Lab", "environment"}, {"rival/Lab/box1", "host"}} {
		for _, group := range append(rightsGroups(), model.GroupNoAccess) {
			name := "r-" + at.level + "-" + strings.ReplaceAll(group, " ", "")
			w.person(name, hash)
			w.join(name, group, at.where)
			org := "rival"
			if group == model.GroupNoAccess {
				org = ""
			}
			list = append(list, stranger{role: group + " of an " + at.level + " of rival", headers: basic(name), org: org})
		}
	}
	for _, at := range []struct{ where, blind string }{{"acme/Side", "env"}, {"acme/Side/web9", "env"}, {"acme/Dev/web2", "host"}} {
		for _, group := range rightsGroups() {
			name := "s-" + strings.ReplaceAll(at.where, "/", "-") + "-" + group
			w.person(name, hash)
			w.join(name, group, at.where)
			list = append(list, stranger{role: group + " of " + at.where, headers: basic(name), org: "acme", blind: at.blind})
		}
	}
	for _, group := range rightsGroups() {
		var key model.ApplicationKey
		w.call(w.admin, client.Op{Name: "applicationkeys.create", Params: map[string]string{"org": "rival"},
			Body: map[string]any{"name": "k-" + group, "method": "TOKEN", "group": group}}, &key)
		list = append(list, stranger{role: "key of " + group + " of rival", headers: []string{"Authorization", "", "X-ComodIT-AppKey", key.Token}, org: "rival"})
	}
	session := w.raw("POST", "/account/sessions/", "{}", basic("r-organization-admin")...)
	var token struct{ Token string }
	if err := json.Unmarshal([]byte(session.body), &token); err != nil || token.Token == "" {
		w.t.Fatalf("a session: %d %s", session.status, session.body)
	}
	list = append(list, stranger{role: "session of admin of rival", headers: []string{"Authorization", "", "X-Comodit-Jwttoken", token.Token}, org: "rival"})
	w.identities()
	w.settle(list)
	return list
}

// person makes a user. One hash serves all: making each its own would take most of the test's time.
func (w *twoOrganizations) person(name, hash string) {
	w.t.Helper()
	w.update(func(tx *state.Tx) error {
		_, err := orchestrate.CreateUser(tx, model.User{Username: name}, hash)
		return err
	})
}

// rightsGroups are the groups that give rights.
func rightsGroups() []string {
	return []string{model.GroupAdmin, model.GroupUsers, model.GroupAuditors, model.GroupArchitects, model.GroupReadonly}
}

// identities makes what is named by an identifier: a user with a session, an enrolment token, an invitation.
func (w *twoOrganizations) identities() {
	w.t.Helper()
	w.user("rene", "users", "acme")
	w.join("not-here-yet", "users", "acme")
	id := func(method, path, body, user string, out any) {
		a := w.raw(method, path, body, "Authorization", user)
		if err := json.Unmarshal([]byte(a.body), out); err != nil {
			w.t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
		}
	}
	var session struct {
		UUID string `json:"uuid"`
	}
	admin := basicAuth("admin", adminPassword)
	id("POST", "/account/sessions/", "{}", basicAuth("rene", "rene-password"), &session)
	var token struct{ ID string }
	id("POST", "/organizations/acme/environments/Dev/enroltokens/", "{}", admin, &token)
	var invited struct {
		Items []struct {
			UUID string `json:"uuid"`
		}
	}
	id("GET", "/organizations/acme/invitations/", "", admin, &invited)
	if session.UUID == "" || token.ID == "" || len(invited.Items) != 1 {
		w.t.Fatalf("identities: %+v %+v %+v", session, token, invited)
	}
	w.acme["account.sessions.delete:id"] = session.UUID
	w.acme["enroltokens.delete:id"] = token.ID
	w.acme["invitations.confirm:id"], w.acme["invitations.delete:id"] = invited.Items[0].UUID, invited.Items[0].UUID
}

// settle has each caller known, and waits until the use of keys and sessions was written down: later ones leave the
// state as it is.
func (w *twoOrganizations) settle(list []stranger) {
	w.t.Helper()
	uses := 0
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for _, p := range list {
		if slices.Contains(p.headers, "X-ComodIT-AppKey") || slices.Contains(p.headers, "X-Comodit-Jwttoken") {
			uses++
		}
		deadline := time.Now().Add(60 * time.Second)
		for p.role != "anonymous" { // a password takes its time the first time
			a := w.ask(p, "GET", "/organizations/", "")
			if written := w.rowsLeft()["lastuse"]; a.Code == http.StatusOK && written >= uses {
				break
			}
			if time.Now().After(deadline) {
				w.t.Fatalf("%s is not known: %d %s", p.role, a.Code, a.Body)
			}
			<-tick.C
		}
	}
}

// ask sends a request past the network.
func (w *twoOrganizations) ask(p stranger, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/api"+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(p.headers); i += 2 {
		if p.headers[i+1] != "" {
			r.Header.Set(p.headers[i], p.headers[i+1])
		}
	}
	a := httptest.NewRecorder()
	w.handler.ServeHTTP(a, r)
	return a
}

// used uses an application key, and waits until that was written down: at its next uses the state stays.
func (s *site) used(org, name, token string) {
	s.t.Helper()
	s.raw("GET", "/organizations/", "", "Authorization", "", "X-ComodIT-AppKey", token)
	ws := state.NewWatchSet()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	for {
		view := s.db.Local().Watched(ws)
		o, err := orchestrate.OrganizationByName(view, org)
		if err != nil {
			s.t.Fatal(err)
		}
		k, err := orchestrate.GetApplicationKey(view, o.ID, name)
		if err != nil {
			s.t.Fatal(err)
		}
		if k.LastUsed != "" {
			return
		}
		if err := ws.Wait(ctx); err != nil {
			s.t.Fatalf("the use of key %s was not written: %v", name, err)
		}
		ws = state.NewWatchSet()
	}
}
