package api_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api/spec"
)

// hostileBody is one for every route that takes a body of a kind.
type hostileBody struct {
	name, body string
	headers    []string
	status     int
	want       string // in the error
}

// hostileBodies are what no route that takes JSON may get past; open is the bracket of its kind.
func hostileBodies(t *testing.T, open, other string) []hostileBody {
	bomb := strings.Repeat(" ", 20<<20)
	deep := "deeper than 64 levels"
	if open == "[" {
		deep = "was expected"
	}
	in := func(s string) string {
		if open == "[" {
			return "[{" + s + "}]"
		}
		return "{" + s + "}"
	}
	return []hostileBody{
		{"10 MB", in(`"name": "` + strings.Repeat("x", 10<<20) + `"`), nil, 413, "larger than "},
		{"10 MB that nobody told of", in(`"name": "` + strings.Repeat("x", 10<<20) + `"`), []string{"Content-Length", "-1"}, 413, "larger than "},
		{"deep", strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000), nil, 400, deep},
		{"deep lists", in(`"name": ` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)), nil, 400, "deeper than 64 levels"},
		{"a key twice", in(`"name": "x", "name": "y"`), nil, 400, `the key "name" twice`},
		{"a key twice by an escape", in(`"name": "x", "n\u0061me": "y"`), nil, 400, `the key "name" twice`},
		{"not UTF-8", in("\"name\": \"\xc0\xaf\""), nil, 400, "not UTF-8: byte "},
		{"half a character", in(`"name": "\ud800"`), nil, 400, "half of an escaped character"},
		{"NUL itself", in("\"name\": \"a\x00b\""), nil, 400, `invalid character '\x00'`},
		{"nothing", "", nil, 400, "the body is empty"},
		{"cut off", open + `{"name": "x"`, nil, 400, ""},
		{"goes on", in(`"name": "x"`) + in(`"name": "y"`), nil, 400, "goes on after its end"},
		{"of another kind", other, nil, 400, "was expected"},
		{"a bomb in gzip", gzipped(t, bomb), []string{"Content-Encoding", "gzip"}, 413, "larger than "},
		{"a bomb in zstd", zstandard(t, bomb), []string{"Content-Encoding", "zstd"}, 413, "larger than "},
		{"a bomb in a bomb", gzipped(t, gzipped(t, bomb)), []string{"Content-Encoding", "gzip, gzip"}, 415, "is not known here: send gzip, zstd"},
		{"not what it says", "{}", []string{"Content-Encoding", "zstd"}, 400, "the body is not zstd"},
	}
}

// hostileUploads are the same for the routes that take a form.
func hostileUploads(t *testing.T) []hostileBody {
	kind := []string{"Content-Type", "multipart/form-data; boundary=B"}
	whole, _ := form("file", "content")
	bomb, _ := form("file", strings.Repeat(" ", 20<<20))
	return []hostileBody{
		{"10 MB", bomb, kind, 413, "larger than "},
		{"10 MB that nobody told of", bomb, append([]string{"Content-Length", "-1"}, kind...), 413, "larger than "},
		{"a bomb in gzip", gzipped(t, bomb), append([]string{"Content-Encoding", "gzip"}, kind...), 413, "larger than "},
		{"cut off", whole[:len(whole)-10], kind, 400, "the form is broken"},
		{"no form", "{}", nil, 400, "multipart/form-data"},
		{"a form without an end", "--B\r\nContent-Disposition: form-data; name=\"file\"\r\n" + strings.Repeat("X-Y: z\r\n", 20_000), kind, 400, ""},
		{"another part", strings.Replace(whole, `"file"`, `"../../etc/passwd"`, 1), kind, 400, "no part named file"},
		{"a boundary of nothing", whole, []string{"Content-Type", "multipart/form-data"}, 400, ""},
	}
}

// hostileFiles are for the routes that take a file as it is.
func hostileFiles(t *testing.T) []hostileBody {
	return []hostileBody{
		{"no file", "PK\x03\x04 something else", nil, 400, "cannot be unpacked"},
		{"a bomb", zstandard(t, strings.Repeat(" ", 40<<20)), nil, 413, "longer than"},
		{"nothing", "", nil, 400, "before its last one"},
		{"a name that climbs", zstandard(t, `{"kind":"header","doc":{"format":"../../etc/passwd"}}`+"\n"), nil, 400, "no file of an organization"},
	}
}

// takes is what a route takes: "" for those that look at no body.
func takes(r spec.Route) string {
	switch {
	case r.Method == spec.GET, r.Row.Body == "", r.Row.Body == "empty", r.Row.Body == "{}":
		return ""
	case strings.Contains(r.Row.Body, "multipart"):
		return "form"
	case strings.HasPrefix(r.Row.Body, "list of"):
		return "list"
	case strings.Contains(r.Row.Body, "as bytes"), strings.Contains(r.Row.Body, "a snapshot"):
		return "file"
	}
	return "object"
}

// hostileSite is a site with one of everything, and an administrator who may do everything.
type hostileSite struct {
	*twoOrganizations
	admin stranger
}

func newHostileSite(t testing.TB) *hostileSite {
	w := newTwoOrganizations(t)
	w.remembered()
	return &hostileSite{w, stranger{role: "the administrator", headers: []string{"Authorization", basicAuth("admin", adminPassword)}}}
}

// path is one of a route for things that are there.
func (w *hostileSite) path(r spec.Route, change func(key, value string) string) string {
	w.t.Helper()
	values := map[string]string{}
	for _, key := range placeholders(r.Pattern) {
		v, ok := w.acme.value(r, key)
		if !ok {
			w.t.Fatalf("%s has {%s}: give it a name in newTwoOrganizations", r.Pattern, key)
		}
		values[key] = change(key, v)
	}
	return spec.Path(r.Pattern, values)
}

// send sends a body; a length of -1 is not told.
func (w *hostileSite) send(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/api"+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	headers = append(headers, w.admin.headers...)
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Content-Length" {
			r.ContentLength, r.Body = -1, io.NopCloser(strings.NewReader(body))
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	a := httptest.NewRecorder()
	w.handler.ServeHTTP(a, r)
	return a
}

// problem is the text of an error's body, "" when it is none.
func problem(a *httptest.ResponseRecorder) string {
	var p spec.Problem
	if json.Unmarshal(a.Body.Bytes(), &p) != nil {
		return ""
	}
	return strings.Join(p.Error, ", ")
}

// unchanged fails when anything was written since.
func (w *hostileSite) unchanged(what string) func() {
	index, rows := w.db.Local().Index(), w.rowsLeft()
	return func() {
		w.t.Helper()
		if now := w.db.Local().Index(); now != index {
			w.t.Errorf("%s moved the state from %d to %d; rows before %v, after %v", what, index, now, rows, w.rowsLeft())
		}
	}
}

// TestHostileInputOnEveryRoute sends to every route what is hostile rather than mistaken.
func TestHostileInputOnEveryRoute(t *testing.T) {
	w := newHostileSite(t)
	t.Run("bodies", w.bodies)
	t.Run("names", w.names)
	t.Run("queries", w.queries)
	t.Run("texts", w.texts)
}

// bodies sends what is hostile to every route that takes a body: each says what is wrong, and nothing changes.
func (w *hostileSite) bodies(t *testing.T) {
	kinds := map[string][]hostileBody{
		"object": hostileBodies(t, "{", "[]"), "list": hostileBodies(t, "[", "{}"), "form": hostileUploads(t), "file": hostileFiles(t),
	}
	sent := map[string]int{}
	for i, r := range spec.Routes() {
		if r.State != spec.Built || takes(r) == "" || r.Name == "account.identities.link" { // that is for sessions of browsers
			continue
		}
		path := w.path(r, func(_, v string) string { return v })
		check := w.unchanged(r.Name)
		for j, c := range kinds[takes(r)] {
			if underRace && (i+j)%8 != 0 || c.status == 413 && (i+j)%2 != 0 { // large ones cost time: half of them to each
				continue
			}
			a := w.send(r.Method, path, c.body, c.headers...)
			sent[takes(r)]++
			if a.Code == http.StatusNotImplemented && strings.HasPrefix(r.Name, "cluster.") {
				continue // this site is no cluster
			}
			if text := problem(a); a.Code != c.status || len(text) < 10 || !strings.Contains(text, c.want) {
				t.Errorf("%s %s, %s: %d %.300s, want %d with %q", r.Method, path, c.name, a.Code, a.Body, c.status, c.want)
			}
		}
		check()
	}
	for kind := range kinds {
		if sent[kind] == 0 && !underRace {
			t.Errorf("no route takes a %s: then there is something wrong here", kind)
		}
	}
	t.Logf("bodies sent: %v", sent)
}

// names gives every route a name, in its path, that nothing can have.
func (w *hostileSite) names(t *testing.T) {
	statuses := map[int]int{}
	for i, r := range spec.Routes() {
		keys := placeholders(r.Pattern)
		if r.State != spec.Built || len(keys) == 0 {
			continue
		}
		check := w.unchanged(r.Name)
		for j, name := range []string{"a\x00b", "\xc0\xaf", "../../etc/passwd", "..", ".", "%", "%2e%2e", strings.Repeat("/", 5000), strings.Repeat("/", 10_000), strings.Repeat("n", 300), "a\nb", " "} {
			for k, place := range keys {
				if (i+j+k)%3 != 0 || underRace && (i+j+k)%9 != 0 { // each route gets a third of them, each name goes to a third of the routes
					continue
				}
				if _, common := commonNames()[place]; common && place != "flavor" {
					continue // these are words of the table, and such a path is none of it
				}
				path := w.path(r, func(key, v string) string {
					if key == place {
						return name
					}
					return v
				})
				body, headers := anyBody, []string(nil)
				if takes(r) == "form" {
					body, headers = anyUpload, []string{"Content-Type", "multipart/form-data; boundary=B"}
				}
				a := w.send(r.Method, path, body, headers...)
				statuses[a.Code]++
				if text := problem(a); a.Code < 400 || a.Code >= 500 && a.Code != http.StatusNotImplemented || len(text) < 10 {
					t.Errorf("%s %.200s with %.20q for {%s}: %d %.300s", r.Method, path, name, place, a.Code, a.Body)
				}
			}
		}
		check()
	}
	t.Logf("answers by status: %v", statuses)
}

// queries gives every route parameters that are none: reads are answered or refused, and writes, which are
// given a name that is not there, stay undone.
func (w *hostileSite) queries(t *testing.T) {
	many := strings.Repeat("a=1&", 9_000)
	queries := []string{
		many, "limit=18446744073709551617", "limit=-1", "limit=1&limit=2", "limit=1e3", "cursor=%00", "cursor=" + strings.Repeat("A", 4000), "index=18446744073709551616",
		"index=1-2-3", "wait=-1s", "wait=%ff", "consistency=%00", "consistency=stale&consistency=default", "a=%zz", ";", "=", "&&&&", "%00=%00", "no_secret=maybe", "dry_run=maybe",
	}
	tried := 0
	for i, r := range spec.Routes() {
		if r.State != spec.Built {
			continue
		}
		path := w.path(r, func(_, v string) string { return v })
		if r.Method != spec.GET {
			path = w.path(r, func(_, v string) string { return absent(v) })
		}
		if r.Method != spec.GET && len(placeholders(r.Pattern)) == 0 || r.Name == "events.list" || r.Name == "organizations.events.list" || r.Name == "cluster.snapshot.save" {
			continue // these go on for as long as the client listens, or have no name that is not there
		}
		check := w.unchanged(r.Name)
		for j, q := range queries {
			if (underRace || j == 0) && (i+j)%8 != 0 {
				continue
			}
			tried++
			a := w.send(r.Method, path+"?"+q, "")
			if a.Code >= 500 && a.Code != http.StatusNotImplemented || a.Code >= 400 && len(problem(a)) < 10 {
				t.Errorf("%s %s?%.60s: %d %.300s", r.Method, path, q, a.Code, a.Body)
			}
			if _, err := url.ParseQuery(q); err != nil && a.Code < 400 {
				t.Errorf("%s %s?%.60s: %d, and the query is none", r.Method, path, q, a.Code)
			}
		}
		if r.Method != spec.GET { // reading a secret is written down
			check()
		}
	}
	if !underRace && tried < 2000 {
		t.Errorf("only %d requests were tried", tried)
	}
}

// naming are the fields of the bodies that name something.
func naming(value string) string {
	b, err := json.Marshal(value)
	if err != nil {
		panic(err) // a text has a form
	}
	fields := []string{}
	for _, key := range []string{"name", "username", "key", "application", "platform", "distribution", "environment", "channel", "to", "address", "method", "code", "password", "provider"} {
		fields = append(fields, fmt.Sprintf("%q: %s", key, b))
	}
	return strings.Join(fields, ", ")
}

// texts gives every route that takes an object names that nothing can have: NUL and other control characters,
// paths that climb, and numbers in their place.
func (w *hostileSite) texts(t *testing.T) {
	for i, r := range spec.Routes() {
		if r.State != spec.Built || takes(r) != "object" || strings.HasPrefix(r.Name, "cluster.") {
			continue
		}
		switch r.Name {
		case "account.sessions.create", "organizations.export", "host.preview", "quotas.update", "users.password", "users.update", "account.register", "account.identities.link", "enroltokens.create":
			continue // they take none of these fields, or look at the account first
		}
		path := w.path(r, func(_, v string) string { return v })
		check := w.unchanged(r.Name)
		for j, c := range []struct{ body, want string }{
			{"{" + naming("a\x00b") + "}", ""},
			{"{" + naming("../../etc/passwd") + "}", ""},
			{"{" + strings.ReplaceAll(naming("N"), `"N"`, "18446744073709551617") + "}", ""},
			{"{" + strings.ReplaceAll(naming("N"), `"N"`, `{"x": 1}`) + "}", ""},
		} {
			if underRace && (i+j)%8 != 0 {
				continue
			}
			a := w.send(r.Method, path, c.body)
			if text := problem(a); a.Code < 400 || a.Code >= 500 || len(text) < 10 || !strings.Contains(text, c.want) {
				t.Errorf("%s %s with %.40s: %d %.300s", r.Method, path, c.body, a.Code, a.Body)
			}
		}
		check()
	}
}
