package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api"
	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// orgSettings are settings of the organization itself.
const orgSettings = "/organizations/acme/settings/"

// auditOf lists a log by its path, with a query.
func (s *site) auditOf(path, query string, headers ...string) (list spec.AuditList) {
	s.t.Helper()
	a := s.raw("GET", path+query, "", headers...)
	if a.status != http.StatusOK {
		s.t.Fatalf("GET %s%s: %d %s", path, query, a.status, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &list); err != nil {
		s.t.Fatalf("GET %s%s: %v", path, query, err)
	}
	return list
}

func messages(l spec.AuditList) []string {
	out := []string{}
	for _, i := range l.Items {
		out = append(out, i.Message)
	}
	return out
}

// TestAuditTellsBeforeAndAfter looks at the fields of some records.
func TestAuditTellsBeforeAndAfter(t *testing.T) {
	s := newSite(t).furnish()
	s.do("POST", orgSettings, `{"key": "shape", "value": 80}`)
	s.do("PUT", orgSettings+"shape", `{"value": {"a": 1, "b": [1, 2]}}`)
	rec := s.lastOf("acme")
	want := `[{"kind":"setting","object":"settings/shape","action":"updated","fields":[{"field":"value","before":80,"after":{"a":1,"b":[1,2]}}]}]`
	if got, err := json.Marshal(rec.Changes); err != nil || string(got) != want || rec.Message != "updated settings/shape" || rec.Object != "organizations/acme/settings/shape" {
		t.Errorf("%s, %v\n%+v", got, err, rec)
	}
	s.do("PUT", "/organizations/acme/applications/web", `{"description": "new", "packages": [{"name": "nginx"}, {"name": "vim"}]}`)
	rec = s.lastOf("acme")
	if len(rec.Changes) != 1 || rec.Changes[0].Object != "applications/web" {
		t.Fatalf("%+v", rec)
	}
	var fields []string
	for _, f := range rec.Changes[0].Fields {
		fields = append(fields, fmt.Sprintf("%s: %s > %s", f.Field, f.Before, f.After))
	}
	if got := strings.Join(fields, "\n"); got != "document.description: \"a web server\" > \"new\"\ndocument.packages[vim].name:  > \"vim\"" {
		t.Errorf("fields\n%s", got)
	}
	s.do("PUT", "/organizations/acme/applications/web", `{"description": "`+strings.Repeat("long ", 2000)+`"}`)
	if f := s.lastOf("acme").Changes[0].Fields[0]; len(f.After) > 400 || !strings.Contains(string(f.After), "10002 bytes") {
		t.Errorf("a long value: %s", f.After)
	}
	s.do("DELETE", "/organizations/acme/environments/Dev/hosts/web1/instance/", "")
	s.do("DELETE", "/organizations/acme/environments/Dev", "")
	rec = s.lastOf("acme")
	var objects []string
	for _, c := range rec.Changes {
		objects = append(objects, c.Action+" "+c.Object)
	}
	if !slices.Contains(objects, "deleted environments/Dev") || !slices.Contains(objects, "deleted environments/Dev/hosts/web1") {
		t.Errorf("objects %q", objects)
	}
	s.do("DELETE", "/organizations/acme", "")
	if rec := s.lastOf(""); rec.Message != "deleted organizations/acme" || rec.Actor != "admin" || len(rec.Changes) == 0 {
		t.Errorf("the site's log ends with %+v", rec)
	}
}

// TestAuditIsSearched asks for parts of a log, and follows it by cursor in both directions.
func TestAuditIsSearched(t *testing.T) {
	s := newSite(t).furnish()
	for i := range 30 {
		s.do("POST", orgSettings, fmt.Sprintf(`{"key": "k%d", "value": "v<%d>"}`, i, i))
	}
	s.do("POST", "/organizations/acme/environments/Dev/settings/", `{"key": "deep", "value": 1}`)
	s.do("GET", "/organizations/acme", "")
	const log = "/organizations/acme/audit/"
	all := s.auditOf(log, "")
	for query, want := range map[string]int{
		"?text=V%3C7%3E": 1, "?text=nowhere": 0, "?actor=ADMIN": len(all.Items), "?actor=eve": 0, "?kind=setting": 31, "?action=settings.create": 31,
		"?action=settings": 31, "?object=environments/Dev": 2, "?object=environments/De": 0, "?object=environments/Dev/settings/deep": 1, "?read=true": 2,
		"?since=1h": len(all.Items), "?until=1h": 0, "?since=2100-01-01": 0, "?since=2000-01-01T00:00:00Z&until=2100-01-01": len(all.Items),
	} {
		if got := s.auditOf(log, query); got.Count != want || len(got.Items) != want {
			t.Errorf("%s: %d records, want %d of %d", query, got.Count, want, len(all.Items))
		}
	}
	if got := s.auditOf("/organizations/acme/environments/Dev/audit/", ""); !slices.Equal(messages(got), []string{"created environments/Dev", "created environments/Dev/settings/deep"}) {
		t.Errorf("the environment's log: %q", messages(got))
	}
	for _, order := range []string{"oldest", "newest"} {
		var parts []spec.AuditLog
		cursor, pages := "", 0
		for {
			part := s.auditOf(log, "?kind=setting&limit=7&order="+order+"&cursor="+cursor)
			parts = append(parts, part.Items...)
			if cursor = part.Cursor; cursor == "" {
				break
			}
			if pages++; pages > 10 {
				t.Fatal("it does not end")
			}
			s.do("POST", "/organizations/acme/environments/", fmt.Sprintf(`{"name": "E%s%d"}`, order, pages)) // while it is read
		}
		if order == "newest" {
			slices.Reverse(parts)
		}
		want := s.auditOf(log, "?kind=setting").Items
		a, _ := json.Marshal(parts)
		if b, _ := json.Marshal(want); string(a) != string(b) {
			t.Errorf("%s: %d records in parts, want %d", order, len(parts), len(want))
		}
	}
	for query, says := range map[string]string{
		"?cursor=x": "cursor", "?cursor=1-x": "cursor", "?cursor=0-1": "cursor", "?limit=0": "limit", "?limit=x": "limit", "?limit=1001": "limit",
		"?order=up": "order", "?since=soon": "since", "?until=-4h": "until", "?read=maybe": "read",
	} {
		if a := s.raw("GET", log+query, ""); a.status != 400 || !strings.HasPrefix(a.errors(t), says+":") {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
	if a := s.raw("GET", log+"?cursor=77-1", ""); a.status != http.StatusGone {
		t.Errorf("a cursor of another epoch: %d %s", a.status, a.body)
	}
}

// TestAuditExport breaks an export off, and goes on with the cursor of the last line that came.
func TestAuditExport(t *testing.T) {
	s := newSite(t).furnish()
	for i := range 120 {
		s.do("POST", orgSettings, fmt.Sprintf(`{"key": "k%d", "value": %q}`, i, strings.Repeat("v", 300)))
	}
	const log = "/organizations/acme/audit/"
	if _, err := state.TidyLogs(t.Context(), s.db, s.db.Local(), func(string) state.LogKeep { return state.LogKeep{} }); err != nil {
		t.Fatal(err)
	}
	whole := s.raw("GET", log+"_export", "")
	lines := strings.Split(strings.TrimSuffix(whole.body, "\n"), "\n")
	if whole.status != 200 || whole.header.Get("Content-Type") != "application/x-ndjson" || len(lines) < 121 {
		t.Fatalf("%d %v: %d lines", whole.status, whole.header, len(lines))
	}
	var at spec.AuditLog
	sc := bufio.NewScanner(strings.NewReader(whole.body))
	sc.Buffer(nil, 1<<20)
	for range 50 {
		sc.Scan()
	}
	if err := json.Unmarshal(sc.Bytes(), &at); err != nil {
		t.Fatal(err)
	}
	rest := s.raw("GET", log+"_export?cursor="+url.QueryEscape(at.Cursor), "")
	if got := strings.Split(strings.TrimSuffix(rest.body, "\n"), "\n"); !slices.Equal(got, lines[50:]) {
		t.Errorf("after line 50 come %d lines, want %d", len(got), len(lines)-50)
	}
	if a := s.raw("GET", log+"_export?kind=setting&text=k119", ""); strings.Count(a.body, "\n") != 1 {
		t.Errorf("a search: %q", a.body)
	}
	for _, bad := range []string{"?limit=3", "?order=newest", "?cursor=x"} {
		if a := s.raw("GET", log+"_export"+bad, ""); a.status != 400 {
			t.Errorf("%s: %d", bad, a.status)
		}
	}
	if a := s.raw("GET", "/audit/_export", ""); a.status != 200 || !strings.Contains(a.body, "created organizations/acme") {
		t.Errorf("the site's: %d %s", a.status, a.body)
	}
}

// TestAuditHasWalls: who sees not all of an organization sees not all of its log, and nobody without rights sees the
// site's.
func TestAuditHasWalls(t *testing.T) {
	s := newSite(t).furnish()
	s.do("POST", "/organizations/acme/environments/", `{"name": "Secret"}`)
	s.do("POST", "/organizations/acme/environments/Secret/settings/", `{"key": "hidden-key", "value": 1}`)
	s.do("POST", orgSettings, `{"key": "open-key", "value": 1}`)
	s.user("ben", "users", "acme")
	s.join("ben", "no access", "acme/Secret")
	s.user("rita", "readonly", "acme")
	for who, want := range map[string]struct{ hidden, address bool }{"admin": {true, true}, "ben": {false, true}, "rita": {true, false}} {
		password := map[string]string{"admin": adminPassword}[who]
		if password == "" {
			password = who + "-password"
		}
		as := []string{"Authorization", basicAuth(who, password)}
		for _, path := range []string{"/organizations/acme/audit/", "/organizations/acme/audit/_export"} {
			a := s.raw("GET", path, "", as...)
			if a.status != 200 || !strings.Contains(a.body, "open-key") || strings.Contains(a.body, "hidden-key") != want.hidden || strings.Contains(a.body, "127.0.0.1") != want.address {
				t.Errorf("%s as %s: %d, hidden %t, address %t", path, who, a.status, strings.Contains(a.body, "hidden-key"), strings.Contains(a.body, "127.0.0.1"))
			}
		}
		wantSite := http.StatusForbidden
		if who == "admin" {
			wantSite = http.StatusOK
		}
		for _, path := range []string{"/audit/", "/audit/_export"} {
			if a := s.raw("GET", path, "", as...); a.status != wantSite {
				t.Errorf("%s as %s: %d", path, who, a.status)
			}
		}
	}
}

// TestNoSecretIsInTheAudit plants secrets wherever one can be, and looks for them in all that is kept of the logs and in
// what the lists answer.
func TestNoSecretIsInTheAudit(t *testing.T) {
	const planted = "pl4nted"
	s := newSite(t).furnish()
	secret := `{"secret": true, "default": "pl4nted-d", "enum": ["pl4nted-e", "pl4nted-1", "pl4nted-2", {"a": ["pl4nted-5"]}]}`
	web := strings.Replace(strings.ReplaceAll(webApplication, "s3cret-default", "pl4nted-default"), `"name": "web"`, `"name": "web2"`, 1)
	web = strings.Replace(web, `"parameters"`, `"users": [{"name": "u", "password": "pl4nted-user"}], "parameters"`, 1)
	hook := `{"name": "h", "method": "POST", "protocol": "HTTPS", "serverName": "example.org", "authenticationMethod": "BASIC_AUTH", "username": "u",
		"token": "pl4nted-token", "headers": [{"name": "X", "value": "pl4nted-header", "secret": true}, {"name": "Authorization", "value": "Bearer pl4nted-bearer", "secret": false}], "parameters": [{"name": "p", "value": "pl4nted-param", "secret": true}]}`
	for _, w := range [][3]string{
		{"POST", orgSettings, `{"key": "s", "value": "pl4nted-1", "schema": ` + secret + `}`},
		{"PUT", orgSettings + "s", `{"value": "pl4nted-2"}`},
		{"POST", orgSettings, `{"key": "tls_key", "value": "pl4nted-3"}`}, // secret by the parameter of an application
		{"PUT", orgSettings, `{"newOrUpdatedSettings": [{"key": "tls_key", "value": "pl4nted-4"}, {"key": "s", "value": {"a": ["pl4nted-5"]}, "schema": ` + secret + `}]}`},
		{"DELETE", orgSettings + "s", ""},
		{"DELETE", orgSettings + "tls_key", ""},
		{"POST", "/organizations/acme/applications/", web},
		{"PUT", "/organizations/acme/applications/web2", `{"users": [{"name": "u", "password": "pl4nted-user2"}, {"name": "v", "password": "pl4nted-user3"}]}`},
		{"DELETE", "/organizations/acme/applications/web2", ""},
		{"POST", "/organizations/acme/webhooks/", hook},
		{"PUT", "/organizations/acme/webhooks/h", `{"token": "pl4nted-token2", "headers": [{"name": "X", "value": "pl4nted-header2", "secret": true}, {"name": "Authorization", "value": "Bearer pl4nted-bearer2", "secret": false}]}`},
		{"PUT", "/organizations/acme/webhooks/h", `{"headers": [], "parameters": [{"name": "api_key", "value": "pl4nted-key", "secret": false}], "signingSecret": "whsec_pl4ntedpl4ntedpl4ntedpl4ntedpl4n"}`},
		{"POST", "/organizations/acme/jobs/", `{"name": "j", "action": "NOTE", "operation": {"operation": "MAIL", "arguments": ["pl4nted-job"]}}`},
		{"POST", orgSettings, `{"key": "broker", "value": {"at": "amqp://u:pl4nted-amqp@example.org/"}}`},
		{"PUT", orgSettings + "broker", `{"value": "amqp://u:pl4nted-amqp2@example.org/"}`},
		{"POST", "/organizations/acme/notifications/", `{"name": "n", "channel": "mail", "value": "{\"password\": \"pl4nted-channel\"}"}`},
		{"PUT", "/organizations/acme/notifications/n", `{"value": "{\"password\": \"pl4nted-channel2\"}"}`},
		{"POST", "/organizations/acme/applications/web/gits/", `{"name": "g", "endpoint": "https://u:pl4nted-endpoint@example.org/g", "token": "pl4nted-git"}`},
		{"POST", "/users/", `{"username": "eve", "password": "pl4nted-password"}`},
		{"PUT", "/users/eve/password", `{"password": "pl4nted-password2"}`},
		{"POST", "/account/sessions/", `{}`},
	} {
		if a := s.raw(w[0], w[1], w[2]); a.status > 299 {
			t.Fatalf("%s %s: %d %s", w[0], w[1], a.status, a.body)
		}
	}
	var tokens []string
	for _, w := range [][2]string{{"POST /organizations/acme/applicationkeys/", `{"name": "k", "method": "TOKEN", "group": "users"}`},
		{"POST /organizations/acme/applicationkeys/", `{"name": "b", "method": "BASIC_AUTH", "group": "users"}`}, {"PUT /organizations/acme/applicationkeys/k/_reset", ""},
		{"POST /organizations/acme/access", ""}, {"POST /organizations/acme/environments/Dev/enroltokens/", `{}`}} {
		method, path, _ := strings.Cut(w[0], " ")
		a := s.raw(method, path, w[1])
		var doc struct{ Token, SecretKey string }
		if err := json.Unmarshal([]byte(a.body), &doc); err != nil || doc.Token+doc.SecretKey == "" {
			t.Fatalf("%s: %d %s", w[0], a.status, a.body)
		}
		tokens = append(tokens, doc.Token+doc.SecretKey)
	}
	looked := 0
	look := func(where, text string) {
		looked++
		for _, secret := range append(tokens, planted) {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%s holds a secret: ...%s", where, text[max(0, i-200):min(len(text), i+20)])
			}
		}
	}
	for _, log := range state.Logs(s.db.Local()) {
		state.ReadLog(s.db.Local(), log, state.LogRange{}, func(l state.LogRecord) bool { look(log, string(l.Data)); return true })
	}
	for _, path := range []string{"/audit/", "/audit/_export", "/organizations/acme/audit/", "/organizations/acme/audit/_export", "/organizations/acme/events", "/organizations/acme/other/"} {
		look(path, s.raw("GET", path, "").body)
	}
	if looked < 30 {
		t.Errorf("only %d texts were looked at", looked)
	}
	look("the log", s.log.String())
}

// TestReadingSecretsIsRecorded: once for who reads the same again at once, never for who sees a mask, and where it cannot
// be recorded a mask is all there is.
func TestReadingSecretsIsRecorded(t *testing.T) {
	fail := false
	s := newSite(t, func(c *api.Config) { c.Store = failingStore{c.Store, &fail} }).furnish()
	s.do("POST", orgSettings, `{"key": "s", "value": "hunter2", "schema": {"secret": true}}`)
	s.do("PUT", "/organizations/acme/environments/Dev", `{"description": "d"}`)
	reads := func() (n int) {
		for _, rec := range s.logOf("acme") {
			if rec.Read && strings.HasPrefix(rec.Message, "read secrets of ") {
				n++
			}
		}
		return n
	}
	s.user("ann", "auditors", "acme")
	for _, step := range []struct {
		path, auth string
		want       int
	}{
		{"/organizations/acme/environments/Dev", "", 0},
		{orgSettings + "s?obfuscate=true", "", 0},
		{orgSettings + "?no_secret=true", "", 0},
		{orgSettings, basicAuth("ann", "ann-password"), 0},
		{"/organizations/acme", basicAuth("ann", "ann-password"), 0},
		{orgSettings + "s", "", 1},
		{orgSettings + "s", "", 1},
		{orgSettings, "", 2},
		{"/organizations/acme/applications/web", "", 3},
		{"/organizations/", basicAuth("ann", "ann-password"), 3},
		{"/organizations/", "", 4},
		{"/organizations/", "", 4},
	} {
		headers := []string{}
		if step.auth != "" {
			headers = append(headers, "Authorization", step.auth)
		}
		if a := s.raw("GET", step.path, "", headers...); a.status != 200 {
			t.Errorf("%s: %d", step.path, a.status)
		}
		if got := reads(); got != step.want {
			t.Errorf("after GET %s there are %d records of reading, want %d", step.path, got, step.want)
		}
	}
	// The answer to a write shows what the caller did not send.
	for body, want := range map[string]bool{`{"value": "hunter3"}`: false, `{"schema": {"secret": true, "type": "string"}}`: true} {
		s.do("PUT", orgSettings+"s", body)
		if log := s.logOf("acme"); log[len(log)-1].Read != want {
			t.Errorf("PUT %s: the record says that secrets were read: %v", body, !want)
		}
	}
	fail = true
	if a := s.raw("GET", orgSettings+"?key=s", ""); a.status != 200 || !strings.Contains(a.body, "hunter3") {
		t.Errorf("what is in the record already: %d %s", a.status, a.body)
	}
	if a := s.raw("GET", "/organizations/acme/applications/web/parameters/", ""); a.status != 200 || strings.Contains(a.body, "s3cret") {
		t.Errorf("not recorded, and shown: %d %s", a.status, a.body)
	}
	if a := s.raw("GET", "/organizations/acme", ""); a.status != 200 || strings.Contains(a.body, "secretKey") || strings.Contains(a.body, "hunter2") {
		t.Errorf("not recorded, and shown: %d %s", a.status, a.body)
	}
	fail = false
	if a := s.raw("GET", "/organizations/acme", ""); a.status != 200 || !strings.Contains(a.body, "secretKey") {
		t.Errorf("recorded again: %d %s", a.status, a.body)
	}
}

// TestAuditOfKeys: an application key is the actor by its name.
func TestAuditOfKeys(t *testing.T) {
	s := newSite(t).furnish()
	var key struct{ Token string }
	s.call(s.admin, client.Op{Name: "applicationkeys.create", Params: map[string]string{"org": "acme"}, Body: map[string]any{"name": "ci", "method": "TOKEN", "group": "users"}}, &key)
	s.raw("POST", orgSettings, `{"key": "a", "value": 1}`, "Authorization", "", "X-ComodIT-AppKey", key.Token, "User-Agent", "x")
	if rec := s.lastOf("acme"); rec.Actor != "key ci" || rec.Kind != model.ActorKey || rec.Message != "created settings/a" {
		t.Errorf("%+v", rec)
	}
}

// failingStore is a store that takes no writes while it fails.
type failingStore struct {
	api.Store
	fail *bool
}

func (f failingStore) Update(ctx context.Context, fn func(tx *state.Tx) error) error {
	if *f.fail {
		return model.Errorf(model.Unavailable, "there is no leader")
	}
	return f.Store.Update(ctx, fn)
}

// TestOtherWritesAreAudited does what the other tests of this package only try.
func TestOtherWritesAreAudited(t *testing.T) {
	s := newSite(t).furnish().furnishMore()
	do := func(method, path, body string, headers ...string) (doc struct{ UUID, ID string }) {
		t.Helper()
		a := s.raw(method, path, body, headers...)
		if a.status > 299 {
			t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
		}
		_ = json.Unmarshal([]byte(a.body), &doc) // most have none
		return doc
	}
	do("POST", inAcme+"/distributions/os/thumb", anyUpload, "Content-Type", "multipart/form-data; boundary=B")
	s.user("eve", "", "")
	do("PUT", "/users/eve", `{"fullname": "Eve"}`)
	if rec := s.lastOf(""); len(rec.Changes) != 1 || rec.Changes[0].Object != "users/eve" || len(rec.Changes[0].Fields) != 1 {
		t.Errorf("%+v", rec)
	}
	do("DELETE", "/users/eve/identities/"+do("POST", "/users/eve/identities/", `{"issuer": "https://op.example.org", "subject": "1"}`).UUID, "")
	id := do("POST", "/users/admin/identities/", `{"issuer": "https://op.example.org", "subject": "2"}`).UUID
	do("DELETE", "/account/identities/"+id, "")
	do("DELETE", inAcme+"/environments/Dev/enroltokens/"+do("POST", inAcme+"/environments/Dev/enroltokens/", `{}`).ID, "")
	do("PUT", inAcme+"/groups/users", `{"users": [{"username": "tom"}]}`)
	var list struct{ Items []struct{ UUID string } }
	if err := json.Unmarshal([]byte(s.raw("GET", inAcme+"/invitations/", "").body), &list); err != nil || len(list.Items) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	do("DELETE", inAcme+"/invitations/"+list.Items[0].UUID, "")
	do("POST", web1+"/applications/", `{"application": "web"}`)
	s.update(func(tx *state.Tx) error {
		host, err := hostRow(tx, "acme", "Dev", "web1")
		if err != nil {
			return err
		}
		for _, c := range state.List[model.Change](tx, model.ChangesOf(host.ID)) {
			ended, _ := state.Edit[model.Change](tx, c.ID)
			for i := range ended.Tasks {
				ended.Tasks[i].Status, ended.Tasks[i].Error = model.TaskError, "it failed"
			}
			ended.Done = true
			if err := state.Put(tx, ended); err != nil {
				return err
			}
		}
		return nil
	})
	do("PUT", web1+"/changes/0/_retry", "")
	if rec := s.lastOf("acme"); rec.Queued != 1 || rec.Message != "retry environments/Dev/hosts/web1/changes/0" {
		t.Errorf("%+v", rec)
	}
}

func hostRow(r state.Reader, org, env, host string) (*model.HostRow, error) {
	o, err := orchestrate.OrganizationByName(r, org)
	if err != nil {
		return nil, err
	}
	e, err := orchestrate.EnvironmentByName(r, o.ID, env)
	if err != nil {
		return nil, err
	}
	return orchestrate.HostByName(r, o.ID, e.ID, host)
}

// TestDeliveriesAreListed: what was sent and how the webhook does, to who may read the organization.
func TestDeliveriesAreListed(t *testing.T) {
	s := newSite(t).furnish()
	const hooks = inAcme + "/webhooks/"
	for body, says := range map[string]string{
		`{"name": "bad", "serverName": "x", "events": ["Host"]}`:                         "events",
		`{"name": "bad", "serverName": "x", "events": ["*"], "method": "GET"}`:           "method",
		`{"name": "bad", "serverName": "x", "events": ["*"], "signingSecret": "whsec_"}`: "signingSecret",
	} {
		if a := s.raw("POST", hooks, body); a.status != 400 || !strings.Contains(a.errors(t), says) {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	a := s.raw("POST", hooks, `{"name": "h", "serverName": "hooks.example.org", "events": ["host.*"]}`)
	var doc struct{ SigningSecret, UUID string }
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil || !strings.HasPrefix(doc.SigningSecret, model.SigningPrefix) {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := s.raw("GET", hooks+"h?obfuscate=true", ""); strings.Contains(a.body, doc.SigningSecret) {
		t.Errorf("shown: %s", a.body)
	}
	if a := s.raw("PUT", hooks+"h", `{"signingSecret": "********", "description": "d"}`); !strings.Contains(a.body, doc.SigningSecret) {
		t.Errorf("the mask that was sent back changed it: %s", a.body)
	}
	s.update(func(tx *state.Tx) error {
		o, err := orchestrate.OrganizationByName(tx, "acme")
		if err != nil {
			return err
		}
		if err := state.Put(tx, &model.Delivery{ID: "msg_1", OrgID: o.ID, HookID: doc.UUID, Kind: "host.created", Object: "X"}); err != nil {
			return err
		}
		return orchestrate.Delivered(tx, "msg_1", model.DeliveryRecord{URL: "https://hooks.example.org", Status: 503, Error: "it answered 503"}, 0)
	})
	var list spec.DeliveryList
	if err := json.Unmarshal([]byte(s.raw("GET", hooks+"h/deliveries/", "").body), &list); err != nil {
		t.Fatal(err)
	}
	if list.Count != 1 || list.Items[0].ID != "msg_1" || list.Items[0].Status != 503 || list.Items[0].Next == "" || list.Waiting != 1 || list.Failing == "" || list.Error != "it answered 503" {
		t.Errorf("%+v", list)
	}
	if rec := s.logOf("acme"); strings.Contains(fmt.Sprint(rec), doc.SigningSecret) {
		t.Error("the signing secret is in the audit log")
	}
}
