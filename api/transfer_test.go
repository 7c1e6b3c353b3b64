package api_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/api/transfer"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

const passphrase = "correct horse battery"

// export is the file of an organization.
func (s *site) export(org, body string) []byte {
	s.t.Helper()
	a := s.raw("POST", "/organizations/"+org+"/_export", body)
	if a.status != http.StatusOK {
		s.t.Fatalf("export: %d %s", a.status, a.body)
	}
	return []byte(a.body)
}

// importFile sends a file; key opens its secrets.
func (s *site) importFile(file []byte, query, key string) answer {
	s.t.Helper()
	return s.raw("POST", "/organizations/_import"+query, string(file), "Content-Type", "application/octet-stream",
		spec.HeaderUnseal, base64.StdEncoding.EncodeToString([]byte(key)))
}

// lines are the records of a file, but for its first and last one and the sealed secrets, which differ each time.
func lines(t *testing.T, file []byte) []string {
	t.Helper()
	r, err := transfer.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out []string
	for {
		rec, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		switch rec.Kind {
		case transfer.KindHeader, transfer.KindEnd, transfer.KindSealed:
			continue
		}
		b, err := json.Marshal(rec)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(b))
	}
}

// furnishAll gives acme one of everything that a file holds, and hosts.
func (s *site) furnishAll(hosts int) {
	s.t.Helper()
	s.furnish().furnishMore().furnishMost("acme", "Dev", "web1", "web")
	big := strings.Repeat("a line of a large file\n", 30_000) + "${port}\n"
	if a := s.raw("POST", inAcme+"/applications/web/files/site.conf/content", "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\n"+big+"\r\n--B--\r\n",
		"Content-Type", "multipart/form-data; boundary=B"); a.status != 200 {
		s.t.Fatalf("upload: %d %s", a.status, a.body)
	}
	s.play([]exchange{
		{"POST", inAcme + "/settings/", `{"key": "linked", "link": "organizations/acme/environments/Dev/settings/port", "value": null}`, 201, ""},
		{"POST", inAcme + "/settings/", `{"key": "hidden", "value": {"deep": ["s3cret-of-acme"]}, "schema": {"type": "object", "secret": true}}`, 201, ""},
		{"POST", inAcme + "/settings/", `{"key": "big number", "value": 12345678901234567890.5}`, 201, ""},
		{"POST", inAcme + "/distributions/os/settings/", `{"key": "of a locked one", "value": 1}`, 201, ""},
		{"POST", inAcme + "/distributions/os/lock", "", 200, ""},
		{"PUT", inAcme + "/environments/Dev/groups/users", `{"users": [{"username": "admin"}, {"username": "not here"}]}`, 200, ""},
	})
	s.play([]exchange{
		{"POST", inAcme + "/jobs/", `{"name": "weekly", "enabled": false, "cron": "0 5 * * mon", "action": "START_HOST", "input": "organizations/acme/environments/Dev/hosts/web1", "custom": [1.50]}`, 201, ""},
		{"POST", inAcme + "/jobs/", `{"name": "once", "date": "2050-01-02T03:04:05Z", "action": "NOTE", "operation": {"operation": "MAIL", "arguments": ["s3cret word"]}}`, 201, ""},
		{"PUT", "/quotas/acme", `{"hosts": 12345, "requestsPerSecond": 99999}`, 200, ""},
	})
	s.play([]exchange{{"POST", inAcme + "/environments/", `{"name": "Many (1)", "settings": [{"key": "port", "value": 82}]}`, 201, ""}})
	for first := 0; first < hosts; first += 50 { // what one commit holds
		s.update(func(tx *state.Tx) error {
			o, err := orchestrate.OrganizationByName(tx, "acme")
			if err != nil {
				return err
			}
			e, err := orchestrate.EnvironmentByName(tx, o.ID, "Many (1)")
			if err != nil {
				return err
			}
			for n := first; n < min(first+50, hosts); n++ {
				platform := "cloud"
				h := model.Host{Name: fmt.Sprintf("host %03d", n), Description: "d", Platform: &platform, Applications: []string{"web"},
					Settings: []model.Setting{{Key: "number", Value: json.RawMessage(strconv.Itoa(n))}}}
				if _, err := orchestrate.CreateHost(tx, o.ID, e.ID, h); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// An organization with 200 hosts goes from one cluster into another, and comes out of that one the same, but for what
// is the cluster's own: identifiers, indexes, times.
func TestExportImportExport(t *testing.T) {
	from, to := newSite(t), newSite(t)
	from.furnishAll(199)
	file := from.export("acme", `{"passphrase": "`+passphrase+`"}`)
	a := to.importFile(file, "", passphrase)
	var result spec.ImportResult
	if err := json.Unmarshal([]byte(a.body), &result); a.status != 200 || err != nil || result.Organization != "acme" || result.LeftOutCount != 0 ||
		result.Imported["host"] != 200 || result.Imported["context"] != 200 || result.Imported["environment"] != 2 {
		t.Fatalf("import: %d %s", a.status, a.body)
	}
	was, is := lines(t, file), lines(t, to.export("acme", `{"passphrase": "`+passphrase+`"}`))
	if len(was) < 800 || len(was) != len(is) {
		t.Fatalf("%d records, then %d", len(was), len(is))
	}
	for i := range was {
		if was[i] != is[i] {
			t.Errorf("record %d was\n%s\nand is\n%s", i, was[i], is[i])
		}
	}
	fromRows, toRows := from.countRows(), to.countRows()
	for table, why := range inFile() {
		if why == "" && (fromRows[table] == 0 || fromRows[table] != toRows[table]) {
			t.Errorf("%d rows of table %s became %d", fromRows[table], table, toRows[table])
		}
	}
	for _, path := range []string{"", "/jobs/weekly", "/jobs/once", "/quota", "/environments/Dev", "/environments/Many%20%281%29/hosts/host%20042", "/applications/web", "/platforms/cloud", "/distributions/os",
		"/webhooks/hook", "/notifications/chat", "/applications/web/gits/site", "/hostgroups/all", "/orchestrations/roll", "/orchestrations/roll/handlers/",
		"/settings/", "/tree/settings/", "/applications/web/files/site.conf/content", "/applications/web/parameters/Key",
		"/environments/Many%20%281%29/hosts/host%20042/applications/web/files/site.conf", "/environments/Dev/groups/users"} {
		a, b := from.raw("GET", inAcme+path, ""), to.raw("GET", inAcme+path, "")
		if a.status != 200 || b.status != 200 || plainDoc(t, a.body) != plainDoc(t, b.body) {
			t.Errorf("%s was\n%d %.500s\nand is\n%d %.500s", path, a.status, a.body, b.status, b.body)
		}
	}
	if left := to.raw("GET", "/organizations/", ""); strings.Count(left.body, `"name":"acme"`) != 1 || strings.Contains(left.body, "import ") {
		t.Errorf("organizations: %s", left.body)
	}
}

// inFile are all tables: "" where a file holds its rows, else why not.
func inFile() map[string]string {
	const (
		machine = "hosts come out DEFINED: the machine and its agent stay where they are"
		work    = "what is under way stays where it is, and so does what was done"
		own     = "keys and tokens are of one cluster, and made anew"
		people  = "users are the site's, and go by their names"
	)
	return map[string]string{
		"organization": "", "environment": "", "host": "", "application": "", "context": "", "setting": "", "platform": "", "distribution": "",
		"platformcontext": "", "distributioncontext": "", "hostgroup": "", "orchestration": "", "webhook": "", "notification": "", "rpmmodule": "", "git": "",
		"job": "", "group": "", "quota": "", "invitation": "",
		"instance": machine, "compliance": machine, "agent": machine, "presence": machine, "lanes": machine, "alertmark": machine, "machinework": machine,
		"change": work, "changecounter": work, "order": work, "request": work, "requestmark": work, "intent": work, "intentcounter": work, "intentmark": work,
		"delivery": work, "webhookhealth": work, "eventmark": work, "filelink": work, "usage": "nothing writes it any more",
		"enroltoken": own, "applicationkey": own, "orgkey": own, "lastuse": own,
		"user": people, "session": people, "loginkeys": people, "totp": people, "registration": people, "identity": people,
	}
}

// TestEveryTableIsInTheFileOrLeftOut: who adds a table says whether the file of an organization holds it.
func TestEveryTableIsInTheFileOrLeftOut(t *testing.T) {
	known := inFile()
	for _, d := range orchestrate.Tables() {
		if _, ok := known[d.Name()]; !ok {
			t.Errorf("table %s is neither in the file of an organization nor among what is left out with a reason", d.Name())
		}
		delete(known, d.Name())
	}
	for name := range known {
		t.Errorf("there is no table %s", name)
	}
}

// countRows counts the rows of acme by table, of those tables that a file holds.
func (s *site) countRows() map[string]int {
	s.t.Helper()
	out := map[string]int{}
	if err := state.Rows(s.db.Local(), func(r state.RawRow) error { out[r.Table]++; return nil }); err != nil {
		s.t.Fatal(err)
	}
	return out
}

// plainDoc is a document without what differs between two clusters.
func plainDoc(t *testing.T, body string) string {
	t.Helper()
	var v any
	if json.Unmarshal([]byte(body), &v) != nil {
		return body // it is no JSON
	}
	var strip func(v any) any
	strip = func(v any) any {
		switch d := v.(type) {
		case map[string]any:
			for _, own := range []string{"uuid", "version", "access", "state", "used", "lastRun", "lastError", "applicationkeys", "applicationKeys"} {
				delete(d, own)
			}
			for k := range d {
				d[k] = strip(d[k])
			}
		case []any:
			for i := range d {
				d[i] = strip(d[i])
			}
		}
		return v
	}
	b, err := json.Marshal(strip(v))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Secrets are in no file in clear: sealed for who has the passphrase or the key, or left out and named.
func TestExportSealsSecrets(t *testing.T) {
	s := newSite(t)
	s.furnishAll(1)
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for seal, key := range map[string]string{
		`{}`: "", `{"passphrase": "` + passphrase + `"}`: passphrase, `{"recipients": ["` + id.Recipient().String() + `"]}`: id.String(),
	} {
		file := s.export("acme", seal)
		r, err := transfer.NewReader(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		for rec, err := r.Next(); err == nil; rec, err = r.Next() {
			if text, _ := json.Marshal(rec); bytes.Contains(text, []byte("s3cret")) || bytes.Contains(rec.Data, []byte("s3cret")) {
				t.Errorf("with %s the file holds a secret: %.300s", seal, text)
			}
		}
		r.Close()
		n++
		name := fmt.Sprintf("copy %d", n)
		for _, wrong := range []string{"swordfish swordfish", "AGE-SECRET-KEY-1QQQ"} {
			if a := s.importFile(file, "?name=x", wrong); a.status != 400 || strings.Contains(a.body, wrong) {
				t.Errorf("%s with a wrong key: %d %s", seal, a.status, a.body)
			}
		}
		a := s.importFile(file, "?name=copy%20"+fmt.Sprint(n), key)
		var result spec.ImportResult
		if err := json.Unmarshal([]byte(a.body), &result); a.status != 200 || err != nil || result.Organization != name {
			t.Fatalf("import of %s: %d %s", seal, a.status, a.body)
		}
		whole := map[bool]string{true: "s3cret", false: ""}[key != ""]
		for _, path := range []string{"/settings/hidden", "/webhooks/hook", "/notifications/chat", "/applications/web/gits/site", "/applications/web/parameters/Key", "/platforms/cloud/settings/apiKey"} {
			a := s.raw("GET", "/organizations/copy%20"+fmt.Sprint(n)+path, "")
			if a.status != 200 || strings.Contains(a.body, "s3cret") != (whole != "") {
				t.Errorf("%s: %s: %d %s", seal, path, a.status, a.body)
			}
		}
		if key == "" && (result.LeftOutCount != 8 || !strings.Contains(strings.Join(result.LeftOut, "\n"), `operation of job "once"`) || !strings.Contains(strings.Join(result.LeftOut, "\n"), `value of setting "hidden"`)) {
			t.Errorf("left out: %d %q", result.LeftOutCount, result.LeftOut)
		}
		link := s.raw("GET", "/organizations/copy%20"+fmt.Sprint(n)+"/settings/linked", "")
		if !strings.Contains(link.body, `"link":"organizations/copy `+fmt.Sprint(n)+`/environments/Dev/settings/port"`) {
			t.Errorf("a link: %s", link.body)
		}
	}
	for body, want := range map[string]string{
		`{"passphrase": "short"}`:                                       "at least 12",
		`{"recipients": ["` + id.String() + `"]}`:                       "no public key of age",
		`{"passphrase": "` + passphrase + `", "recipients": ["age1x"]}`: "not both",
		`{"passphrase": 1}`:                                             "must be a text",
	} {
		if a := s.raw("POST", inAcme+"/_export", body); a.status != 400 || !strings.Contains(a.body, want) || strings.Contains(a.body, id.String()) {
			t.Errorf("export %s: %d %s", body, a.status, a.body)
		}
	}
	if strings.Contains(s.log.String(), passphrase) || strings.Contains(s.log.String(), id.String()) {
		t.Error("the log holds a passphrase or a key")
	}
}

// Who may: administrators of the organization export it, administrators of the site import.
func TestExportImportRights(t *testing.T) {
	s := newSite(t).furnish()
	s.user("uma", "users", "acme")
	s.user("ada", "admin", "acme")
	file := s.export("acme", "{}")
	for who, want := range map[string][2]int{"uma": {403, 403}, "ada": {200, 403}} {
		basic := basicAuth(who, who+"-password")
		if a := s.raw("POST", inAcme+"/_export", "{}", "Authorization", basic); a.status != want[0] {
			t.Errorf("%s exports: %d %.200s", who, a.status, a.body)
		}
		if a := s.raw("POST", "/organizations/_import?name=x", string(file), "Authorization", basic); a.status != want[1] {
			t.Errorf("%s imports: %d %.200s", who, a.status, a.body)
		}
	}
	if a := s.importFile(file, "", ""); a.status != 409 || !strings.Contains(a.body, "taken already") {
		t.Errorf("under a name that is taken: %d %s", a.status, a.body)
	}
	if a := s.importFile(file, "?name=a/b", ""); a.status != 400 {
		t.Errorf("under a name that cannot be: %d %s", a.status, a.body)
	}
}
