package api_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"mime/multipart"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// tried are the bodies with which the writes of the table are tried, by row, or by row and level: a body that would do
// something. What needs none is not listed.
var tried = map[string]string{
	"organizations.create": `{"name": "other"}`, "groups.update": `{"users": [{"username": "new"}]}`, "environment.groups.update": `{"users": []}`,
	"host.groups.update": `{"users": []}`, "applicationkeys.create": `{"name": "other", "method": "TOKEN", "group": "users"}`,
	"settings.create": `{"key": "other", "value": 1}`, "settings.update": `{"value": 82}`, "settings.bulk": `{"newOrUpdatedSettings": [{"key": "port", "value": 83}]}`,
	"hostgroups.settings.create": `{"key": "other", "value": 1}`, "hostgroups.settings.update": `{"value": 82}`,
	"hostgroups.settings.bulk": `{"newOrUpdatedSettings": []}`, "environments.create": `{"name": "other"}`, "hosts.create": `{"name": "other"}`,
	"host.applications.create": `{"application": "second"}`, "host.applications.update": `{"services": [{"name": "nginx", "enabled": false}]}`,
	"host.platform.set": `{"platform": "cloud"}`, "host.distribution.set": `{"distribution": "os"}`,
	"platforms.create": strings.Replace(cloudPlatform, "cloud", "other", 1), "distributions.create": strings.Replace(osDistribution, `"os"`, `"other"`, 1),
	"applications.create": strings.Replace(webApplication, "web", "other", 1), "files.create": `{"name": "other", "path": "/etc/other"}`,
	"parameters.create": `{"name": "other", "key": "other", "value": 1}`, "parameters.update": `{"value": "84"}`,
	"hostgroups.create": `{"name": "other"}`, "orchestrations.create": `{"name": "other"}`, "orchestrations.handlers.create": `{"name": "other", "triggers": []}`,
	"orchestrations.handlers.update": `{"triggers": ["port"]}`,
	"webhooks.create":                `{"name": "other", "method": "PUT", "protocol": "HTTPS", "serverName": "example.org", "authenticationMethod": "NO_AUTH"}`,
	"notifications.create":           `{"channel": "other", "value": "{}"}`, "applications.rpmmodules.create": `{"name": "other", "stream": "20"}`,
	"applications.gits.create": `{"name": "other", "endpoint": "https://example.org/other.git", "authenticationMethod": "HTTPS"}`,
	"users.create":             `{"username": "other", "password": "a long password"}`, "users.password": `{"password": "a long password"}`,
	"users.update": `{"fullname": "T"}`, "enroltokens.create": `{"uses": 1}`, "account.totp.confirm": `{"code": "123456"}`,
}

// described is the body of what is tried with no other: a patch of whatever it is.
const described = `{"description": "tried"}`

// Every write of the table answers a plan when it is only tried, and changes nothing: no index, no row, no answer.
func TestDryRunOfEveryWriteChangesNothing(t *testing.T) {
	s := newSite(t).furnish()
	s.furnishMore()
	s.play([]exchange{
		{"POST", web1 + "/applications/", `{"application": "web"}`, 201, ""},
		{"POST", inAcme + "/applications/", `{"name": "second"}`, 201, ""},
		{"POST", inAcme + "/applicationkeys/", `{"name": "port", "method": "TOKEN", "group": "users"}`, 201, ""},
		{"POST", inAcme + "/orchestrations/roll/handlers/", `{"name": "reload", "triggers": []}`, 201, ""},
		{"POST", "/users/", `{"username": "t", "password": "a long password"}`, 201, ""},
		{"POST", inAcme + "/jobs/", `{"name": "nightly", "action": "DELETE_INSTANCE", "input": "organizations/acme/environments/Dev/hosts/web1"}`, 201, ""},
	})
	for _, level := range []string{inAcme, inAcme + "/environments/Dev", web1, web1 + "/applications/web", web1 + "/platform", web1 + "/distribution",
		inAcme + "/platforms/cloud", inAcme + "/distributions/os", inAcme + "/hostgroups/all"} {
		s.do("POST", level+"/settings/", `{"key": "port", "value": "81"}`)
	}
	before, rows := s.db.Local().Index(), s.allRows()
	count, plans := 0, 0
	for _, r := range spec.Routes() {
		if r.State != spec.Built || r.Name == "host.preview" || r.Name == "organizations.export" || r.Method == spec.GET && !strings.Contains(r.Name, ".link.") && r.Name != "links.show" {
			continue
		}
		count++
		a := s.try(r)
		var plan model.Plan
		err := json.Unmarshal([]byte(a.body), &plan)
		switch {
		case a.status == 200 && err == nil && plan.DryRun:
			plans++
		case a.status/100 == 4: // it would be refused, too
			t.Logf("%s %s (%s): %d %s", r.Method, r.Pattern, r.Name, a.status, a.body)
		default:
			t.Errorf("%s %s (%s): %d %s", r.Method, r.Pattern, r.Name, a.status, a.body)
		}
		if now := s.db.Local().Index(); now != before {
			t.Fatalf("%s %s wrote", r.Method, r.Pattern)
		}
	}
	if !bytes.Equal(rows, s.allRows()) {
		t.Error("the rows are not what they were")
	}
	if count < 120 || plans < count*4/5 {
		t.Errorf("%d writes were tried, of which %d answered a plan", count, plans)
	}
}

// try sends a write of the table with dry_run.
func (s *site) try(r spec.Route) answer {
	s.t.Helper()
	pattern := r.Pattern
	switch r.Level {
	case "platform":
		pattern = strings.NewReplacer("{file}", "boot%20%5B1%5D.ipxe", "{param}", "The%20size").Replace(pattern)
	case "distribution":
		pattern = strings.NewReplacer("{file}", "ks", "{param}", "Language").Replace(pattern)
	}
	if strings.HasPrefix(pattern, "/users/") {
		pattern = strings.Replace(pattern, "{name}", "t", 1)
	}
	if strings.HasPrefix(pattern, "/quotas/") {
		pattern = strings.Replace(pattern, "{name}", "acme", 1)
	}
	path := strings.Replace(inTable.Replace(pattern), "{org}", "acme", 1) + "?dry_run=true&name=other"
	body, ok := tried[r.Name+" "+r.Level]
	if !ok {
		body, ok = tried[r.Name]
	}
	if !ok {
		body = described
	}
	if strings.HasPrefix(r.Row.Body, "multipart") {
		var form bytes.Buffer
		w := multipart.NewWriter(&form)
		if part, err := w.CreateFormFile("file", "x"); err != nil {
			s.t.Fatal(err)
		} else if _, err := part.Write([]byte("listen ${port} now;\n")); err != nil {
			s.t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			s.t.Fatal(err)
		}
		return s.raw(r.Method, path, form.String(), "Content-Type", w.FormDataContentType())
	}
	return s.raw(r.Method, path, body)
}

// allRows are the rows of the state, but for when passwords and keys were last used.
func (s *site) allRows() []byte {
	s.t.Helper()
	var out bytes.Buffer
	if err := state.Rows(s.db.Local(), func(r state.RawRow) error {
		if r.Table != "lastuse" {
			out.WriteString(r.Table + " " + r.Key + " ")
			out.Write(r.Value)
			out.WriteByte('\n')
		}
		return nil
	}); err != nil {
		s.t.Fatal(err)
	}
	return out.Bytes()
}

// plan is what a write would do.
func (s *site) plan(method, path, body string) model.Plan {
	s.t.Helper()
	a := s.raw(method, path, body)
	var p model.Plan
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || a.status != 200 {
		s.t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
	}
	return p
}

// A plan names hosts, steps, and what changes in files, without a secret.
func TestDryRunShowsThePlan(t *testing.T) {
	s := newSite(t).furnish()
	content := client.Op{Name: "files.content.set", Level: "application", Params: map[string]string{"org": "acme", "app": "web", "file": "site.conf"}}
	if err := s.admin.Upload(t.Context(), content, "x", []byte("head\nlisten ${port};\nkey ${tls_key};\nown ${own};\n")); err != nil {
		t.Fatal(err)
	}
	s.play([]exchange{
		{"POST", inAcme + "/settings/", `{"key": "own", "value": "s3cret-setting", "schema": {"secret": true}}`, 201, ""},
	})
	install := s.plan("POST", web1+"/applications/?dry_run=true", `{"application": "web"}`)
	if install.Count != 1 || install.Hosts[0].Host != "web1" || install.Hosts[0].Environment != "Dev" || len(install.Hosts[0].Changes) != 1 {
		t.Fatalf("installing: %+v", install)
	}
	if d := diffs(install); d != "--- /dev/null\n+++ b/etc/nginx/site.conf\n@@ -0,0 +1,4 @@\n+head\n+listen 80;\n+key ********;\n+own ********;\n" {
		t.Errorf("installing: %s", d)
	}
	s.do("POST", web1+"/applications/", `{"application": "web"}`)
	set := s.plan("PUT", inAcme+"/environments/Dev/settings/?no_delete=true&dry_run=True", `{"newOrUpdatedSettings": [{"key": "port", "value": "8080"}, {"key": "tls_key", "value": "s3cret-two"}]}`)
	if want := "--- a/etc/nginx/site.conf\n+++ b/etc/nginx/site.conf\n@@ -1,4 +1,4 @@\n head\n-listen 80;\n+listen 8080;\n key ********;\n own ********;\n"; diffs(set) != want {
		t.Errorf("a setting: %s", diffs(set))
	}
	if len(set.Objects) != 1 || set.Objects[0] != (model.PlanObjects{Kind: "setting.created", Count: 2}) {
		t.Errorf("a setting: %+v", set.Objects)
	}
	tasks := set.Hosts[0].Changes[0].Tasks
	if len(tasks) != 2 || tasks[0].Action != "apply" || tasks[1].Action != "restart" || tasks[1].Resource != "nginx" || set.Hosts[0].Changes[0].OrderNum != 1 {
		t.Errorf("a setting: %+v", tasks)
	}
	gone := s.plan("DELETE", web1+"/applications/web?dry_run=true", "")
	if d := diffs(gone); !strings.HasPrefix(d, "--- a/etc/nginx/site.conf\n+++ /dev/null\n@@ -1,4 +0,0 @@\n-head\n") {
		t.Errorf("uninstalling: %s", d)
	}
	for _, p := range []model.Plan{install, set, gone} {
		if b, err := json.Marshal(p); err != nil || bytes.Contains(b, []byte("s3cret")) {
			t.Errorf("a plan tells a secret: %s %v", b, err)
		}
	}
	// Whoever may not read a host is told that there are others.
	s.user("ann", "users", "acme")
	s.join("ann", "no access", "acme/Dev")
	a := s.raw("PUT", inAcme+"/settings/?no_delete=true&dry_run=true", `{"newOrUpdatedSettings": [{"key": "port", "value": "8080"}]}`, "Authorization", basicAuth("ann", "ann-password"))
	if !strings.Contains(a.body, `"count":0,"hosts":[],"noAccessToAllResources":true`) {
		t.Errorf("without access: %d %s", a.status, a.body)
	}
}

// diffs are all diffs of a plan.
func diffs(p model.Plan) string {
	out := ""
	for _, h := range p.Hosts {
		for _, c := range h.Changes {
			for _, t := range c.Tasks {
				out += t.Diff
			}
		}
	}
	return out
}

func TestDryRunRefusesWhatTheWriteWould(t *testing.T) {
	s := newSite(t).furnish()
	for _, c := range []struct {
		method, path, body, want string
		status                   int
	}{
		{"PUT", inAcme + "?dry_run=maybe", `{"description": "d"}`, "dry_run: give true or false", 400},
		{"PUT", inAcme + "?dry_run", `{"description": "d"}`, "dry_run: give true or false", 400},
		{"POST", inAcme + "/settings/?dry_run=true", `{"key": "_x"}`, "reserved", 400},
		{"POST", inAcme + "/environments/?dry_run=true", `{"name": "Dev"}`, "already", 409},
		{"DELETE", inAcme + "/environments/None?dry_run=true", "", "no environment", 404},
	} {
		index := s.db.Local().Index()
		if a := s.raw(c.method, c.path, c.body); a.status != c.status || !strings.Contains(a.body, c.want) || s.db.Local().Index() != index {
			t.Errorf("%s %s: %d %s", c.method, c.path, a.status, a.body)
		}
	}
	s.user("eve", "readonly", "acme")
	if a := s.raw("PUT", inAcme+"?dry_run=true", `{"description": "d"}`, "Authorization", basicAuth("eve", "eve-password")); a.status != 403 {
		t.Errorf("who may only read tries a write: %d %s", a.status, a.body)
	}
	if a := s.raw("GET", inAcme+"?dry_run=x", ""); a.status != 200 {
		t.Errorf("a read does not know the parameter: %d %s", a.status, a.body)
	}
	// A content too large for one transaction is tried, too.
	big := client.Op{Name: "files.content.set", Level: "application", Params: map[string]string{"org": "acme", "app": "web", "file": "site.conf"}, Query: map[string][]string{"dry_run": {"true"}}}
	index := s.db.Local().Index()
	random := make([]byte, 1<<20)
	if _, err := rand.Read(random); err != nil {
		t.Fatal(err)
	}
	if err := s.admin.Upload(t.Context(), big, "x", random); err != nil || s.db.Local().Index() != index {
		t.Errorf("a large content: %v, at %d after %d", err, s.db.Local().Index(), index)
	}
}
