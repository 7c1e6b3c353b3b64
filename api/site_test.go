package api_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-hq/muster/api"
	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

const adminPassword = "correct horse"

// site is an API over a real store, reached by real HTTP.
type site struct {
	t     testing.TB
	db    *statetest.DB
	url   string // of the API root
	log   *logBuffer
	admin *client.Client

	server   *httptest.Server
	browsers int // that were made
}

// logBuffer is a log that a test reads while the server writes it.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func enrolToken(tx *state.Tx, _, envID string, uses int, expires time.Time) (string, string, error) {
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", "", err
	}
	id := rand.Text()
	_, err = orchestrate.CreateEnrolToken(tx, envID, id, pub, uses, expires, tx.Actor())
	return id, "muster-enrol-1.text-of-" + id, err
}

// newSite starts an API whose first administrator is admin. change may change its configuration.
func newSite(t testing.TB, change ...func(*api.Config)) *site {
	t.Helper()
	s := &site{t: t, db: statetest.New(t, orchestrate.Tables()...), log: &logBuffer{}}
	log := slog.New(slog.NewJSONHandler(s.log, nil))
	cfg := api.Config{Store: s.db, Log: log, EnrolToken: enrolToken}
	for _, f := range change {
		f(&cfg)
	}
	a, err := api.New(cfg)
	if err != nil {
		t.Fatalf("make the API: %v", err)
	}
	server := httptest.NewUnstartedServer(nil)
	handler := a.Handler()
	if _, fuzzed := t.(*testing.F); !fuzzed { // what it tells of may not be called within a fuzz target
		handler = watch.around(t, s.db, handler)
	}
	server.Config = api.NewHTTPServer(handler, log)
	server.Start()
	t.Cleanup(server.Close)
	s.url, s.server = server.URL+"/api", server
	hash := auth.HashPassword(adminPassword)
	s.update(func(tx *state.Tx) error {
		_, err := orchestrate.FirstStart(tx, "admin", hash)
		return err
	})
	s.admin = s.as("admin", adminPassword)
	return s
}

// another starts a second API over the same store, as another node has it, and gives its address.
func (s *site) another() string {
	s.t.Helper()
	a, err := api.New(api.Config{Store: s.db, Log: newLog(), EnrolToken: enrolToken})
	if err != nil {
		s.t.Fatalf("make the API: %v", err)
	}
	server := httptest.NewServer(checked(s.t, a.Handler()))
	s.t.Cleanup(server.Close)
	return server.URL + "/api"
}

func (s *site) update(f func(tx *state.Tx) error) {
	s.t.Helper()
	if err := s.db.Update(context.Background(), f); err != nil {
		s.t.Fatalf("update: %v", err)
	}
}

// remembered has the administrator's password checked until that was done within the time of a request: it is remembered
// from then on, and costs no more time.
func (s *site) remembered() *site {
	s.t.Helper()
	for tries := 0; s.raw("GET", "/organizations/", "").status != http.StatusOK; tries++ {
		if tries > 60 {
			s.t.Fatal("the password is not checked in the time that a request has")
		}
	}
	return s
}

func (s *site) as(user, password string) *client.Client {
	s.t.Helper()
	c, err := client.New(client.Config{URL: s.url, User: user, Password: password})
	if err != nil {
		s.t.Fatalf("make a client: %v", err)
	}
	return c
}

// call does an operation that must succeed.
func (s *site) call(c *client.Client, op client.Op, out any) {
	s.t.Helper()
	if err := c.Call(s.t.Context(), op, out); err != nil {
		s.t.Fatalf("%s %v: %v", op.Name, op.Params, err)
	}
}

// answer is what came back over the wire.
type answer struct {
	status int
	header http.Header
	body   string
}

// errors are the texts of an error's body.
func (a answer) errors(t testing.TB) string {
	t.Helper()
	var p struct {
		Error []string `json:"error"`
	}
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || len(p.Error) == 0 {
		t.Fatalf("the answer %d %q is no error body: %v", a.status, a.body, err)
	}
	return strings.Join(p.Error, ", ")
}

// raw sends a request by hand, as admin unless the headers say otherwise.
func (s *site) raw(method, path, body string, headers ...string) answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatalf("make a request: %v", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.SetBasicAuth("admin", adminPassword)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Del(headers[i])
		if headers[i+1] != "" {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	noRedirect := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := noRedirect.Do(req)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// webApplication is an application as a demo would post it.
const webApplication = `{"name": "web", "description": "a web server",
	"packages": [{"name": "nginx"}],
	"services": [{"name": "nginx", "enabled": true}],
	"files": [{"name": "site.conf", "path": "/etc/nginx/site.conf", "owner": "root", "group": "root", "mode": "644",
		"template": {"name": "site.conf", "delimiter": {"start": "${", "end": "}"}}}],
	"parameters": [{"name": "Listen port", "key": "port", "value": "80", "schema": {"type": "string"}},
		{"name": "Key", "key": "tls_key", "value": "s3cret-default", "schema": {"type": "string", "secret": true}}],
	"handlers": [{"name": "reload", "on": ["port"], "do": [{"action": "update", "resource": "file://site.conf"},
		{"action": "restart", "resource": "service://nginx"}]}]}`

// host is where the fixture's host is.
func host() map[string]string {
	return map[string]string{"org": "acme", "env": "Dev", "host": "web1"}
}

// furnish makes organization acme with environment Dev, application web and host web1, whose machine has enrolled.
func (s *site) furnish() *site {
	s.t.Helper()
	org := map[string]string{"org": "acme"}
	s.call(s.admin, client.Op{Name: "organizations.create", Body: map[string]any{"name": "acme"}}, nil)
	s.call(s.admin, client.Op{Name: "environments.create", Params: org, Body: map[string]any{"name": "Dev"}}, nil)
	s.call(s.admin, client.Op{Name: "applications.create", Params: org, Body: json.RawMessage(webApplication)}, nil)
	upload := client.Op{Name: "files.content.set", Level: "application", Params: map[string]string{"org": "acme", "app": "web", "file": "site.conf"}}
	if err := s.admin.Upload(s.t.Context(), upload, "site.conf", []byte("listen ${port};\n")); err != nil {
		s.t.Fatalf("upload: %v", err)
	}
	s.adopt("acme", "Dev", "web1")
	return s
}

// adopt makes a host whose machine has enrolled.
func (s *site) adopt(org, env, host string) {
	s.t.Helper()
	s.update(func(tx *state.Tx) error {
		o, err := orchestrate.OrganizationByName(tx, org)
		if err != nil {
			return err
		}
		e, err := orchestrate.EnvironmentByName(tx, o.ID, env)
		if err != nil {
			return err
		}
		_, err = orchestrate.AdoptHost(tx, o.ID, e.ID, host)
		return err
	})
}

// user makes a user and puts it into a group of an owner: "acme", "acme/Dev" or "acme/Dev/web1".
func (s *site) user(name, group, where string) *client.Client {
	s.t.Helper()
	s.call(s.admin, client.Op{Name: "users.create", Body: map[string]any{"username": name, "password": name + "-password"}}, nil)
	if group != "" {
		s.join(name, group, where)
	}
	return s.as(name, name+"-password")
}

func (s *site) join(name, group, where string) {
	s.t.Helper()
	p := map[string]string{"group": group}
	rows := ""
	for i, part := range strings.Split(where, "/") {
		p[[]string{"org", "env", "host"}[i]] = part
		rows = []string{"", "environment.", "host."}[i]
	}
	var g struct {
		Users []map[string]any `json:"users"`
	}
	s.call(s.admin, client.Op{Name: rows + "groups.show", Params: p}, &g)
	users := append(g.Users, map[string]any{"username": name})
	s.call(s.admin, client.Op{Name: rows + "groups.update", Params: p, Body: map[string]any{"users": users}}, nil)
}

func newLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

// rowsLeft counts the rows of each table of nouns that is not empty, but for those of the site itself.
func (s *site) rowsLeft() map[string]int {
	s.t.Helper()
	out := map[string]int{}
	site := map[string]bool{"user": true}
	if err := state.Rows(s.db.Local(), func(r state.RawRow) error {
		if !strings.HasPrefix(r.Table, "_") && !site[r.Table] {
			out[r.Table]++
		}
		return nil
	}); err != nil {
		s.t.Fatalf("read the rows: %v", err)
	}
	return out
}
