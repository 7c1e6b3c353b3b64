package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api/spec"
)

// FuzzRoutes sends a body, of any coding, and a query to every route, as the administrator, with names of things that are
// there or with any other. Writes are rehearsed only, so that each request meets the same state. Whatever comes is
// answered, and what is refused is told why.
func FuzzRoutes(f *testing.F) {
	w := newHostileSite(f)
	routes := []spec.Route{}
	for _, r := range spec.Routes() {
		switch r.Name {
		case "events.list", "organizations.events.list", "cluster.snapshot.save", "cluster.snapshot.restore":
			continue // these go on for as long as the client listens
		case "host.preview", "account.sessions.create", "account.register", "organizations.export", "webhooks.run":
			continue // these are not rehearsed: templates have targets of their own, and the others make rows, or call somebody
		}
		if r.State == spec.Built {
			routes = append(routes, r)
		}
	}
	for i, r := range routes {
		switch takes(r) {
		case "form":
			f.Add(uint16(i), "", "site.conf", anyUpload, "multipart/form-data; boundary=B", "10.0.0.1")
		case "object", "list":
			f.Add(uint16(i), "no_delete=true&dry_run=true", "web", anyBody, "application/json", "::1, unknown")
		case "":
			if i%4 != 0 {
				continue
			}
			f.Add(uint16(i), "limit=1&cursor=x&index=1-1&wait=1ms", "a%2Fb", "", "", "")
		}
	}
	f.Add(uint16(1), "secret_only=True", "x", `{"name":"x","settings":[{"key":"k","value":{"a":[1e400]},"link":"organizations/acme/settings/k"}]}`, "gzip", "")
	f.Fuzz(func(t *testing.T, n uint16, query, name, body, kind, from string) {
		r := routes[int(n)%len(routes)]
		s, two := *w.site, *w.twoOrganizations
		s.t, two.site = t, &s
		w := &hostileSite{&two, w.admin}
		path := w.path(r, func(key, v string) string {
			if name != "" && strings.HasSuffix(r.Pattern, "{"+key+"}") {
				return name
			}
			return v
		})
		query = strings.Map(func(c rune) rune { // the rest does not get through a reader of HTTP
			if c <= ' ' || c > '~' || c == '#' {
				return -1
			}
			return c
		}, query)
		switch {
		case strings.Contains(query, "wait"):
			query = "wait=1ms&index=0"
		case r.Name == "organizations.import", r.Method == spec.GET && !strings.Contains(r.Name, ".link."):
		default:
			query = "dry_run=true&" + query
		}
		path += "?" + query
		if len(path) > 8<<10 {
			return
		}
		headers := []string{"X-Forwarded-For", from, "If-Match", from, "Accept-Encoding", kind}
		if strings.HasPrefix(kind, "multipart") {
			headers = append(headers, "Content-Type", "multipart/form-data; boundary=B")
		} else if kind == "gzip" || kind == "zstd" {
			headers = append(headers, "Content-Encoding", kind)
		}
		a := w.send(r.Method, path, body, headers...)
		if a.Code >= 500 && a.Code != http.StatusNotImplemented || a.Code >= 400 && len(problem(a)) < 10 {
			t.Fatalf("%s %s: %d %.500s", r.Method, path, a.Code, a.Body)
		}
	})
}
