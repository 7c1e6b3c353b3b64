package api_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/fsm/model"
)

// act sends a request as a user whom site.user made.
func (s *site) act(who, method, path, body string) answer {
	s.t.Helper()
	return s.raw(method, path, body, "Authorization", basicAuth(who, who+"-password"))
}

// Whoever sees no secrets does not get to see one by changing what makes it a secret, and learns nothing of it by trying
// which schemas it fits.
func TestSecretsAreNotOpened(t *testing.T) {
	s := newSite(t).furnish()
	s.user("otto", "auditors", "acme")
	s.user("arne", "architects", "acme")
	s.user("uwe", "users", "acme")
	const vault, ctx = "/organizations/acme/applications/vault", web1 + "/applications/vault/settings/"
	s.play([]exchange{
		{"POST", "/organizations/acme/applications/", `{"name": "vault", "parameters": [
			{"name": "Password", "key": "pw", "schema": {"type": "string", "secret": true}},
			{"name": "Seed", "key": "seed", "value": "s3cret", "schema": {"type": "string", "secret": true}}]}`, 201, ""},
		{"POST", web1 + "/applications/", `{"application": "vault", "settings": [{"key": "pw", "value": "s3cret"}]}`, 201, ""},
		{"POST", inAcme + "/settings/", `{"key": "own", "value": "s3cret", "schema": {"type": "string", "secret": true}}`, 201, ""},
		{"POST", "/organizations/acme/platforms/", `{"name": "cloud", "driver": {"className": "a.B"}, "settings": [{"key": "key", "value": "s3cret", "schema": {"secret": true}}]}`, 201, ""},
	})
	for _, c := range []struct {
		who, method, path, body string
		status                  int
	}{
		{"otto", "PUT", inAcme + "/settings/own", `{"schema": {"type": "string"}}`, 400},
		{"otto", "PUT", inAcme + "/settings/own", `{"schema": {"secret": false}}`, 400},
		{"otto", "PUT", inAcme + "/settings/own", `{"schema": null}`, 400},
		{"otto", "PUT", inAcme + "/settings/own", `{"value": "********", "schema": {"secret": false}}`, 400},
		{"otto", "PUT", inAcme + "/settings/?no_delete=true", `{"newOrUpdatedSettings": [{"key": "own", "value": "********", "schema": {"secret": false}}]}`, 400},
		{"otto", "PUT", inAcme + "/settings/?no_delete=true", `{"newOrUpdatedSettings": [{"key": "own", "value": "********"}]}`, 200},
		{"arne", "PUT", "/organizations/acme/platforms/cloud/settings/key", `{"schema": {"secret": false}}`, 400},
		{"otto", "PUT", ctx + "pw", `{"schema": {"type": "string"}}`, 200}, // a secret by its parameter: it stays one
		{"arne", "PUT", vault + "/parameters/Password", `{"schema": {"type": "string"}}`, 403},
		{"arne", "PUT", vault + "/parameters/Password", `{"key": "another"}`, 403},
		{"otto", "DELETE", vault + "/parameters/Password", "", 403},
		{"arne", "DELETE", vault + "/parameters/Password?dry_run=true", "", 403},
		{"arne", "PUT", vault + "/parameters/Password", `{"schema": {"type": "string", "secret": true, "pattern": "^x"}}`, 200},
		{"otto", "PUT", ctx + "pw", `{"schema": {"pattern": "^x"}}`, 200}, // that it does not fit is not told
		{"otto", "PUT", inAcme + "/settings/own", `{"schema": {"secret": true, "pattern": "^x"}}`, 200},
		{"arne", "PUT", vault + "/parameters/Seed", `{"schema": {"type": "string", "secret": true, "pattern": "^x"}}`, 400},
		{"arne", "PUT", vault + "/parameters/Seed", `{"schema": {"type": "string", "secret": true, "pattern": "^s"}}`, 400},
		{"arne", "PUT", vault + "/parameters/Seed?dry_run=true", `{"value": "s3cret", "schema": {"type": "string"}}`, 200}, // as with any value
	} {
		if a := s.act(c.who, c.method, c.path, c.body); a.status != c.status || strings.Contains(a.body, "s3cret") {
			t.Errorf("%s: %s %s %s: %d %s, expected %d", c.who, c.method, c.path, c.body, a.status, a.body, c.status)
		}
	}
	for _, path := range []string{inAcme + "/settings/", inAcme + "/tree/settings/", web1 + "/applications/", ctx, vault, "/organizations/acme/platforms/cloud/settings/"} {
		if a := s.act("otto", "GET", path, ""); a.status != 200 || strings.Contains(a.body, "s3cret") {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	for _, path := range []string{inAcme + "/settings/own", ctx + "pw"} { // all that was kept is there
		if a := s.act("uwe", "GET", path, ""); !strings.Contains(a.body, "s3cret") {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	s.play([]exchange{ // who sees it may make it public
		{"PUT", inAcme + "/settings/own", `{"value": "s3cret", "schema": {"type": "string"}}`, 200, "s3cret"},
		{"PUT", vault + "/parameters/Password", `{"schema": {"type": "string"}}`, 200, ""},
	})
}

// The walls between environments hold for links, previews and origins of settings.
func TestWallsBetweenEnvironments(t *testing.T) {
	s := newSite(t).furnish()
	s.play([]exchange{
		{"POST", inAcme + "/environments/", `{"name": "Prod"}`, 201, ""},
		{"POST", inAcme + "/environments/Prod/hosts/", `{"name": "db1", "settings": [{"key": "pw", "value": "s3cret", "schema": {"secret": true}}]}`, 201, ""},
		{"POST", inAcme + "/environments/Prod/settings/", `{"key": "plain", "value": "s3cret"}`, 201, ""},
		{"POST", inAcme + "/settings/", `{"key": "above", "value": "s3cret"}`, 201, ""},
		{"POST", web1 + "/applications/", `{"application": "web"}`, 201, ""},
		{"POST", web1 + "/settings/", `{"key": "was", "link": "organizations/acme/environments/Prod/settings/other"}`, 201, ""},
	})
	s.user("dora", "users", "acme/Dev")
	s.user("mix", "users", "acme")
	s.join("mix", "no access", "acme/Prod")
	s.user("rob", "users", "acme/Dev")
	s.join("rob", "readonly", "acme/Prod")
	s.user("uwe", "users", "acme")
	link := func(to string) string { return `{"key": "l", "value": "own", "link": "organizations/acme/` + to + `"}` }
	const settings = web1 + "/settings/"
	for _, c := range []struct {
		who, to string
		status  int
	}{
		{"dora", "environments/Prod/hosts/db1/settings/pw", 403},
		{"dora", "environments/Prod/settings/plain", 403},
		{"dora", "environments/Later/settings/plain", 403}, // it is not told whether it is there
		{"dora", "settings/above", 403},
		{"dora", "environments/Dev/settings/port", 201},
		{"mix", "environments/Prod/settings/plain", 403},
		{"mix", "settings/above", 201},
		{"rob", "environments/Prod/hosts/db1/settings/pw", 403}, // reads there, but no secrets
		{"uwe", "environments/Prod/hosts/db1/settings/pw", 201},
	} {
		a := s.act(c.who, "POST", settings, link(c.to))
		if a.status != c.status || strings.Contains(a.body, "s3cret") {
			t.Errorf("%s links to %s: %d %s, expected %d", c.who, c.to, a.status, a.body, c.status)
		}
		bulk := s.act(c.who, "PUT", settings+"?no_delete=true", `{"newOrUpdatedSettings": [`+link(c.to)+`]}`)
		if (bulk.status == 200) != (c.status == 201) {
			t.Errorf("%s links to %s among others: %d %s", c.who, c.to, bulk.status, bulk.body)
		}
		dry := s.act(c.who, "PUT", settings+"was?dry_run=true", strings.Replace(link(c.to), `"l"`, `"was"`, 1))
		if (dry.status == 403) != (c.status == 403) {
			t.Errorf("%s tries a link to %s: %d %s", c.who, c.to, dry.status, dry.body)
		}
		if a.status == 201 {
			s.do("DELETE", settings+"l", "")
		}
	}
	host := `{"name": "new", "settings": [` + link("environments/Prod/settings/plain") + `]}`
	if a := s.act("dora", "POST", inAcme+"/environments/Dev/hosts/", host); a.status != 403 {
		t.Errorf("a link in a new host: %d %s", a.status, a.body)
	}
	if a := s.act("dora", "PUT", settings+"was", `{"value": "another default"}`); a.status != 200 {
		t.Errorf("a link that was there stays: %d %s", a.status, a.body)
	}
	if a := s.act("dora", "POST", web1+"/_preview", `{"template": "<${above}>"}`); a.status != 200 || a.body != "<********>" {
		t.Errorf("a preview of what stands above: %d %s", a.status, a.body)
	}
	if a := s.act("dora", "GET", web1+"/applications/web/origin-settings/above", ""); a.status != 200 || strings.Contains(a.body, "s3cret") {
		t.Errorf("the origin of what stands above: %d %s", a.status, a.body)
	}
	if a := s.act("mix", "POST", web1+"/_preview", `{"template": "<${above}>"}`); a.body != "<s3cret>" {
		t.Errorf("who reads the organization: %d %s", a.status, a.body)
	}
	s.play([]exchange{{"POST", inAcme + "/applications/", `{"name": "shows", "files": [{"name": "f", "path": "/f"}]}`, 201, ""}})
	file := client.Op{Name: "files.content.set", Level: "application", Params: map[string]string{"org": "acme", "app": "shows", "file": "f"}}
	if err := s.admin.Upload(t.Context(), file, "f", []byte("above is <${above}>\n")); err != nil {
		t.Fatal(err)
	}
	for who, want := range map[string]string{"dora": "********", "uwe": "s3cret"} {
		a := s.act(who, "POST", web1+"/applications/?dry_run=true", `{"application": "shows"}`)
		var p model.Plan
		if err := json.Unmarshal([]byte(a.body), &p); err != nil || a.status != 200 || !strings.Contains(diffs(p), "+above is <"+want+">") {
			t.Errorf("%s tries an installation: %d %s", who, a.status, a.body)
		}
	}
}

// What a webhook or a repository sends to its server is not got by who may not see it: neither by a name of another server, nor
// by the word that it is no secret.
func TestSecretsGoToTheirServer(t *testing.T) {
	s := newSite(t).furnish()
	s.user("otto", "auditors", "acme")
	s.user("uwe", "users", "acme")
	const hook, git = inAcme + "/webhooks/h", inAcme + "/applications/web/gits/g"
	s.play([]exchange{
		{"POST", inAcme + "/webhooks/", `{"name": "h", "serverName": "hooks.example.org", "path": "/", "token": "s3cret", "headers": [{"name": "A", "value": "s3cret", "secret": true}]}`, 201, ""},
		{"POST", inAcme + "/applications/web/gits/", `{"name": "g", "endpoint": "https://git.example.org/x.git", "branch": "main", "token": "s3cret"}`, 201, ""},
	})
	for _, c := range []struct {
		path, body string
		status     int
	}{
		{hook, `{"headers": [{"name": "A", "value": "********", "secret": false}]}`, 400},
		{hook, `{"serverName": "evil.example.org"}`, 403},
		{hook, `{"port": 8443}`, 403},
		{hook, `{"protocol": "HTTP"}`, 403},
		{hook, `{"serverName": "evil.example.org", "token": "********", "headers": []}`, 403},
		{hook, `{"serverName": "evil.example.org", "token": "mine"}`, 403},
		{hook, `{"serverName": "evil.example.org", "token": "mine", "headers": [{"name": "A", "value": "********", "secret": true}]}`, 403},
		{hook, `{"path": "/other", "description": "same server"}`, 200},
		{git, `{"endpoint": "https://evil.example.org/x.git"}`, 403},
		{git, `{"branch": "other"}`, 200},
		{git, `{"endpoint": "https://evil.example.org/x.git", "token": "mine"}`, 200},
		{hook, `{"serverName": "evil.example.org", "token": "mine", "headers": []}`, 200},
	} {
		if a := s.act("otto", "PUT", c.path, c.body); a.status != c.status || strings.Contains(a.body, "s3cret") {
			t.Errorf("%s %s: %d %s, expected %d", c.path, c.body, a.status, a.body, c.status)
		}
	}
	s.play([]exchange{{"PUT", hook, `{"token": "s3cret"}`, 200, ""}})
	if a := s.act("uwe", "PUT", hook, `{"serverName": "new.example.org"}`); a.status != 200 || !strings.Contains(a.body, "s3cret") {
		t.Errorf("who sees them moves the webhook: %d %s", a.status, a.body)
	}
}
