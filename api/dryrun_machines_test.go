package api_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/fsm/model"
)

// A dry run of provisioning shows what is rendered for the machine, and what its host gets once the agent is there, as
// differences to an empty machine; and it writes nothing.
func TestDryRunOfProvisioning(t *testing.T) {
	s := newSite(t, withDesk).furnish()
	at := inAcme + "/environments/Dev/hosts/"
	s.play([]exchange{
		{"POST", inAcme + "/platforms/", `{"name": "vms", "driver": {"className": "sim"}, "files": [{"name": "boot", "delimiter": {"start": "##", "end": "##"}}],
			"settings": [{"key": "size", "value": "small"}, {"key": "api", "value": "s3cret-api", "schema": {"secret": true}}]}`, 201, ""},
		{"POST", inAcme + "/distributions/", osDistribution, 201, ""},
		{"POST", at, `{"name": "new", "platform": "vms", "distribution": "os", "applications": ["web"]}`, 201, ""},
		{"POST", inAcme + "/environments/Dev/settings/", `{"key": "where", "property": "ip.eth0", "value": null}`, 201, ""},
		{"POST", inAcme + "/environments/Dev/settings/", `{"key": "who", "property": "hostname", "value": null}`, 201, ""},
	})
	for _, up := range []struct{ level, key, of, file, text string }{
		{"platform", "plat", "vms", "boot", "##size## ##api##\n"},
		{"distribution", "dist", "os", "ks", "lang ${lang}\n"},
		{"application", "app", "web", "site.conf", "listen ${port} as ${who};\nkey ${tls_key};\n"},
	} {
		op := client.Op{Name: "files.content.set", Level: up.level, Params: map[string]string{"org": "acme", up.key: up.of, "file": up.file}}
		if err := s.admin.Upload(t.Context(), op, "x", []byte(up.text)); err != nil {
			t.Fatal(err)
		}
	}
	s.user("eve", "readonly", "acme")
	before, rows := s.db.Local().Index(), s.allRows()
	p := s.plan("POST", at+"new/instance/?dry_run=true", "{}")
	if p.Count != 1 || len(p.Hosts) != 1 || p.Hosts[0].Host != "new" || len(p.Hosts[0].Machine) != 2 || len(p.Hosts[0].Changes) != 1 {
		t.Fatalf("provisioning: %+v", p)
	}
	machine, change := p.Hosts[0].Machine, p.Hosts[0].Changes[0]
	if m := machine[0]; m.Diff != "--- /dev/null\n+++ b/boot\n@@ -0,0 +1 @@\n+small ********\n" || m.Action != "render" || m.Description != "Render file boot of platform vms" {
		t.Errorf("the platform's file: %+v", m)
	}
	if m := machine[1]; !strings.HasSuffix(m.Diff, "+lang en\n") || m.Resource != "ks" || m.OrderNum != 1 {
		t.Errorf("the distribution's file: %+v", m)
	}
	if change.OrderNum != 0 || change.Description != "Install application web" || len(change.Tasks) != 3 || change.Tasks[0].Collection != "packages" || change.Tasks[2].Resource != "nginx" {
		t.Errorf("the application: %+v", change)
	}
	// Its name is known before the machine is there.
	if d := diffs(p); d != "--- /dev/null\n+++ b/etc/nginx/site.conf\n@@ -0,0 +1,2 @@\n+listen 80 as new;\n+key ********;\n" {
		t.Errorf("the application's file: %s", d)
	}
	if b, err := json.Marshal(p); err != nil || bytes.Contains(b, []byte("s3cret")) {
		t.Errorf("a plan tells a secret: %s %v", b, err)
	}
	// A machine that is taken over tells the same; who may not provision hears nothing.
	if p := s.plan("POST", at+"new/instance/properties?dry_run=true", `[{"key": "ip.eth0", "value": "192.0.2.1"}]`); len(p.Hosts) != 1 || len(p.Hosts[0].Changes) != 1 {
		t.Errorf("taking over: %+v", p)
	}
	if a := s.raw("POST", at+"new/instance/?dry_run=true", "{}", "Authorization", basicAuth("eve", "eve-password")); a.status != 403 || strings.Contains(a.body, "small") {
		t.Errorf("who may only read: %d %s", a.status, a.body)
	}
	if now := s.db.Local().Index(); now != before || !bytes.Equal(rows, s.allRows()) {
		t.Errorf("a dry run of provisioning wrote something: index %d became %d", before, now)
	}
}

// What hangs on what the machine will tell of itself says so.
func TestDryRunOfProvisioningWithProperties(t *testing.T) {
	s := newSite(t, withDesk).furnish()
	s.machine("new", "")
	at := inAcme + "/environments/Dev/hosts/new"
	s.play([]exchange{
		{"POST", at + "/settings/", `{"key": "where", "property": "ip.eth0", "value": null}`, 201, ""},
		{"POST", at + "/applications/", `{"application": "web"}`, 201, ""},
	})
	op := client.Op{Name: "files.content.set", Level: "application", Params: map[string]string{"org": "acme", "app": "web", "file": "site.conf"}}
	if err := s.admin.Upload(t.Context(), op, "x", []byte("${where?upper_case?length + nothing}\n")); err != nil {
		t.Fatal(err)
	}
	p := s.plan("POST", at+"/instance/?dry_run=true", "{}")
	var file model.PlanTask
	for _, task := range p.Hosts[0].Changes[0].Tasks {
		if task.Collection == model.TypeFiles {
			file = task
		}
	}
	if file.Error == "" || !strings.Contains(file.Note, "not known yet") || file.Diff != "" {
		t.Errorf("a file that cannot be rendered yet: %+v", file)
	}
}
