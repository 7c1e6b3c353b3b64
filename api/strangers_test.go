package api_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
)

// anyBody is a body that suits every route well enough to get past its reading.
const anyBody = `{"name": "x", "key": "k", "application": "web", "users": [], "newOrUpdatedSettings": []}`

// anyUpload is one for the routes that take a form.
const anyUpload = "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\ncontent\r\n--B--\r\n"

// placeholder is one of a pattern of the route table.
var placeholder = regexp.MustCompile(`\{(\w+)(?:\.\.\.)?\}`)

// placeholders are those of a pattern, in their order.
func placeholders(pattern string) []string {
	var out []string
	for _, m := range placeholder.FindAllStringSubmatch(pattern, -1) {
		out = append(out, m[1])
	}
	return out
}

// absent is a name of the same length that nothing has.
func absent(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return 'a' + (r-'a'+13)%26
		case r >= 'A' && r <= 'Z':
			return 'A' + (r-'A'+13)%26
		case r >= '0' && r <= '9':
			return '9' - (r - '0')
		}
		return r
	}, name)
}

// pair is two requests that must look the same to the caller: for what exists and is hidden, and for what does not exist.
type pair struct {
	there, absent string // paths
	name          string // asked for in the first
}

// dry is the same without effect.
func (p pair) dry() pair {
	p.there, p.absent = p.there+"?dry_run=true", p.absent+"?dry_run=true"
	return p
}

// value is a placeholder's value on a route.
func (n names) value(r spec.Route, key string) (string, bool) {
	if v, ok := n[r.Name+":"+key]; ok {
		return v, true
	}
	if v, ok := commonNames()[key]; ok {
		return v, true
	}
	v, ok := n[key]
	return v, ok
}

// pairs are the requests of a caller on a route: with the other organization's name, and within what is the caller's own
// with a name of the other's at each place.
func (w *twoOrganizations) pairs(r spec.Route, p stranger) ([]pair, error) {
	keys := placeholders(r.Pattern)
	at := func(k int, foreign bool) (string, error) {
		values := map[string]string{}
		for i, key := range keys {
			from := w.acme
			if i < k && p.org == "rival" && keys[0] == "org" {
				from = w.ours
			}
			v, ok := from.value(r, key)
			if !ok {
				return "", fmt.Errorf("%s %s has {%s}: give it a name in newTwoOrganizations, and make what it names there", r.Method, r.Pattern, key)
			}
			if i == k && !foreign {
				v = absent(v)
			}
			values[key] = v
		}
		return spec.Path(r.Pattern, values), nil
	}
	var out []pair
	for k, key := range keys {
		if !w.varied(p, keys, k) {
			continue
		}
		there, err := at(k, true)
		if err != nil {
			return nil, err
		}
		gone, err := at(k, false)
		if err != nil {
			return nil, err
		}
		name, _ := w.acme.value(r, key)
		out = append(out, pair{there, gone, name})
	}
	return out, nil
}

// varied tells whether the caller asks with another organization's name, or what is beside its rights, in place k.
func (w *twoOrganizations) varied(p stranger, keys []string, k int) bool {
	if _, common := commonNames()[keys[k]]; common {
		return false
	}
	switch {
	case keys[0] != "org":
		return true
	case p.org == "acme": // beside its rights, or above them
		if i := slices.Index(keys, p.blind); i >= 0 {
			return k == i
		}
		return k > 0 && (p.blind != "host" || keys[k] != "env")
	case p.org == "rival":
		return true
	}
	return k == 0
}

// knows tells why a caller may see what a route tells, "" when it may not.
func knows(p stranger, r spec.Route) string {
	switch {
	case p.site && !strings.Contains(r.Pattern, "{org}") && !strings.HasPrefix(r.Pattern, "/account"):
		return "users, the cluster and the names of organizations are the site's"
	case p.org == "acme" && (r.Name == "applications.show" || r.Name == "environments.show" && p.blind == "host"):
		return "passers-by see applications, and the way to their host"
	case r.Name == "flavors.show":
		return "flavors are everybody's"
	}
	return ""
}

var requestID = regexp.MustCompile(`"requestId":"[0-9a-f]+"`)

// seen is what a caller can tell of an answer, with what differs by the question taken out.
func seen(a *httptest.ResponseRecorder, name string) string {
	h := a.Header().Clone()
	h.Del(spec.HeaderRequestID)
	h.Del("Date")
	var b strings.Builder
	fmt.Fprintf(&b, "%d\n", a.Code)
	for _, key := range slices.Sorted(maps.Keys(h)) {
		fmt.Fprintf(&b, "%s: %q\n", key, h[key])
	}
	body := requestID.ReplaceAllString(a.Body.String(), "")
	asked := regexp.MustCompile(`\b(` + regexp.QuoteMeta(name) + "|" + regexp.QuoteMeta(absent(name)) + `)\b`)
	b.WriteString(asked.ReplaceAllString(body, "NAME"))
	return b.String()
}

// hidden tells whether an answer may be given for what the caller must not know.
func hidden(p stranger, r spec.Route, status int) bool {
	switch status {
	case http.StatusNotFound:
		return true
	case http.StatusForbidden: // where the caller has some right above, or there is no organization
		return p.org != "" || !strings.Contains(r.Pattern, "{org}")
	case http.StatusUnauthorized:
		return p.role == "anonymous"
	case http.StatusNotImplemented:
		return r.State == spec.Planned || strings.HasPrefix(r.Name, "cluster.")
	}
	return false
}

// TestStrangers asks every route as every caller, for what exists in an organization that the caller does not see, and
// for what does not exist: the answers are the same in status, headers and body but for the name asked.
func TestStrangers(t *testing.T) {
	w := newTwoOrganizations(t)
	t.Run("what is asked for exists", w.exists)
	t.Run("every route as every caller", w.everyRoute)
	t.Run("references", w.references)
}

func (w *twoOrganizations) everyRoute(t *testing.T) {
	before := w.db.Local().Index()
	asked, tried, known := 0, 0, 0
	for i, r := range spec.Routes() {
		for j, p := range w.strangers {
			if knows(p, r) != "" {
				known++
				continue
			}
			if underRace && (i+j)%8 != 0 { // the run without it asks for all
				tried++
				continue
			}
			pairs, err := w.pairs(r, p)
			if err != nil {
				t.Error(err)
				break
			}
			tried++
			if len(pairs) == 0 && strings.HasPrefix(r.Pattern, "/account") && r.Method != spec.GET {
				continue // the caller's own account, and TestStrangersAlone
			}
			if len(pairs) == 0 {
				asked++
				w.alone(r, p)
			}
			for _, ask := range pairs {
				asked += 2
				w.compare(r, p, ask)
			}
			if r.Method != spec.GET && len(pairs) > 0 && (i+j)%4 == 0 {
				asked += 2
				w.compare(r, p, pairs[len(pairs)-1].dry())
			}
		}
	}
	if all := len(spec.Routes()) * len(w.strangers); tried+known != all {
		t.Errorf("%d routes times %d callers are %d, but %d were tried and %d are allowed", len(spec.Routes()), len(w.strangers), all, tried, known)
	}
	t.Logf("%d routes times %d callers: %d tried with %d requests, %d where the caller may know", len(spec.Routes()), len(w.strangers), tried, asked, known)
	if now := w.db.Local().Index(); now != before {
		t.Errorf("strangers moved the state from %d to %d", before, now)
	}
}

// askRoute sends what the route takes.
func (w *twoOrganizations) askRoute(p stranger, r spec.Route, path string) *httptest.ResponseRecorder {
	if strings.Contains(r.Row.Body, "multipart") {
		p.headers = append(slices.Clone(p.headers), "Content-Type", "multipart/form-data; boundary=B")
		return w.ask(p, r.Method, path, anyUpload)
	}
	return w.ask(p, r.Method, path, anyBody)
}

// compare asks for both of a pair.
func (w *twoOrganizations) compare(r spec.Route, p stranger, ask pair) {
	w.t.Helper()
	there, gone := w.askRoute(p, r, ask.there), w.askRoute(p, r, ask.absent)
	a, b := seen(there, ask.name), seen(gone, ask.name)
	if !hidden(p, r, there.Code) || a != b {
		w.t.Errorf("%s %s as %s:\n%s\nfor what is absent, %s:\n%s", r.Method, ask.there, p.role, a, ask.absent, b)
	}
}

// alone asks a route that names nothing of another organization: nothing of one is told.
func (w *twoOrganizations) alone(r spec.Route, p stranger) {
	w.t.Helper()
	values := map[string]string{}
	for _, key := range placeholders(r.Pattern) {
		values[key], _ = w.acme.value(r, key)
	}
	path := spec.Path(r.Pattern, values)
	if p.org == "acme" && strings.Contains(r.Pattern, "{org}") {
		if a := w.askRoute(p, r, path); r.Method != spec.GET && !hidden(p, r, a.Code) {
			w.t.Errorf("%s %s as %s: %d %s", r.Method, path, p.role, a.Code, a.Body)
		}
		return
	}
	a := w.askRoute(p, r, path)
	for _, name := range []string{"acme", "Dev", "web1", "cloud", "rene"} {
		if strings.Contains(a.Body.String(), name) && p.org != "acme" {
			w.t.Errorf("%s %s as %s tells of %s: %d %s", r.Method, path, p.role, name, a.Code, a.Body)
		}
	}
}

// exists looks that what every route is asked for does exist: else the comparison would tell nothing.
func (w *twoOrganizations) exists(t *testing.T) {
	admin := stranger{role: "admin", headers: []string{"Authorization", basicAuth("admin", adminPassword)}}
	for _, r := range spec.Routes() {
		if r.Method != spec.GET || !strings.Contains(r.Pattern, "{org}") || r.State == spec.Planned || r.Name == "thumb.show" {
			continue
		}
		values := map[string]string{}
		for _, key := range placeholders(r.Pattern) {
			values[key], _ = w.acme.value(r, key)
		}
		path := spec.Path(r.Pattern, values)
		if r.Name == "host.instance.files.show" {
			path += "?path=/etc/motd"
		}
		if a := w.ask(admin, r.Method, path, ""); a.Code != http.StatusOK {
			t.Errorf("%s %s (%s): %d %s: make it in newTwoOrganizations", r.Method, spec.Path(r.Pattern, values), r.Name, a.Code, a.Body)
		}
	}
}

// references looks that what a body names in another organization is refused as what does not exist.
func (w *twoOrganizations) references(t *testing.T) {
	eve := stranger{role: "admin of rival", headers: []string{"Authorization", basicAuth("r-organization-admin", strangersPassword)}, org: "rival"}
	before := w.db.Local().Index()
	lab := "/organizations/rival/environments/Lab"
	for _, c := range []struct{ method, path, body, name string }{
		{"POST", lab + "/hosts/", `{"name": "n", "platform": "%s"}`, "cloud"},
		{"POST", lab + "/hosts/", `{"name": "n", "distribution": "%s"}`, "os"},
		{"POST", lab + "/hosts/", `{"name": "n", "applications": ["%s"]}`, "web"},
		{"PUT", lab + "/hosts/box1", `{"environment": "%s"}`, "Dev"},
		{"POST", lab + "/hosts/box1/applications/", `{"application": "%s"}`, "web"},
		{"POST", lab + "/hosts/box1/platform/", `{"platform": "%s"}`, "cloud"},
		{"POST", lab + "/hosts/box1/distribution/", `{"distribution": "%s"}`, "os"},
		{"POST", "/organizations/rival/hostgroups/", `{"name": "n", "hosts": [{"position": 0, "organization": "acme", "environment": "%s", "host": "web1"}]}`, "Dev"},
		{"POST", "/organizations/rival/orchestrations/", `{"name": "n", "applicationsOperations": [{"application": "%s", "handler": "reload", "position": 0}]}`, "web"},
		{"POST", "/organizations/rival/orchestrations/", `{"name": "n", "orderedHostGroup": [{"position": 0, "hostGroup": {"name": "%s"}}]}`, "all"},
		{"PUT", "/organizations/rival", `{"name": "%s"}`, "acme"},
	} {
		there := w.ask(eve, c.method, c.path, fmt.Sprintf(c.body, c.name))
		gone := w.ask(eve, c.method, c.path, fmt.Sprintf(c.body, absent(c.name)))
		if a, b := seen(there, c.name), seen(gone, c.name); a != b {
			t.Errorf("%s %s with %s:\n%s\nfor what is absent:\n%s", c.method, c.path, c.body, a, b)
		} else if there.Code < 400 {
			t.Errorf("%s %s with %s: %d %s", c.method, c.path, c.body, there.Code, there.Body)
		}
	}
	if now := w.db.Local().Index(); now != before {
		t.Errorf("the index went from %d to %d", before, now)
	}
	// A link may lead nowhere: one to another organization's setting does.
	link := w.ask(eve, "POST", "/organizations/rival/settings/", `{"key": "linked", "link": "organizations/acme/settings/port", "value": null}`)
	if link.Code != http.StatusCreated || strings.Contains(link.Body.String(), "8080") {
		t.Errorf("a link: %d %s", link.Code, link.Body)
	}
	if a := w.ask(eve, "GET", lab+"/hosts/box1/applications/tool/origin-settings/linked", ""); strings.Contains(a.Body.String(), "8080") {
		t.Errorf("where the link leads: %d %s", a.Code, a.Body)
	}
}

// Names of organizations are given by administrators of the site: whoever names one finds out which are taken.
func TestOrganizationsAreNamedByTheSite(t *testing.T) {
	s := newSite(t).furnish()
	s.call(s.admin, client.Op{Name: "organizations.create", Body: map[string]any{"name": "rival"}}, nil)
	eve := s.user("eve", "admin", "rival")
	for _, name := range []string{"acme", "free"} {
		err := eve.Call(t.Context(), client.Op{Name: "organizations.update", Params: map[string]string{"org": "rival"}, Body: map[string]any{"name": name}}, nil)
		if model.CodeOf(err) != model.Forbidden {
			t.Errorf("rename to %s: %v", name, err)
		}
	}
	if err := eve.Call(t.Context(), client.Op{Name: "organizations.update", Params: map[string]string{"org": "rival"}, Body: map[string]any{"name": "rival", "description": "d"}}, nil); err != nil {
		t.Errorf("an update without another name: %v", err)
	}
}
