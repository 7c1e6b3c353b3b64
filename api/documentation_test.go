package api_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

// The documentation is there without a login, is all of this server's, and takes nothing from elsewhere.
func TestDocumentation(t *testing.T) {
	s := newSite(t)
	a := s.raw("GET", "/openapi.json", "", "Authorization", "")
	var doc struct {
		OpenAPI string
		Paths   map[string]any
	}
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil || a.status != 200 || doc.OpenAPI != "3.1.0" || len(doc.Paths) < 150 {
		t.Fatalf("%d %v %d paths", a.status, err, len(doc.Paths))
	}
	small := s.raw("GET", "/openapi.json", "", "Accept-Encoding", "gzip")
	if small.header.Get("Content-Encoding") != "gzip" || len(small.body) > len(a.body)/5 {
		t.Errorf("compressed it has %d bytes of %d", len(small.body), len(a.body))
	}
	if b := s.raw("GET", "/openapi.json", "", "If-None-Match", small.header.Get("ETag")); b.status != 304 {
		t.Errorf("unchanged: %d", b.status)
	}
	page := s.raw("GET", "/docs", "", "Authorization", "")
	if page.status != 200 || page.header.Get("Content-Type") != "text/html; charset=utf-8" || !strings.HasPrefix(page.header.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self'") {
		t.Errorf("%d %v", page.status, page.header)
	}
	links := regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(page.body, -1)
	if len(links) != 3 {
		t.Errorf("the page has the links %q", links)
	}
	for _, l := range links {
		path, ok := strings.CutPrefix(l[1], "/api")
		if !ok || s.raw("GET", path, "", "Authorization", "").status != 200 {
			t.Errorf("the page needs %s", l[1])
		}
	}
	for _, path := range []string{"/docs", "/docs/page.js", "/docs/page.css"} {
		if body := s.raw("GET", path, "").body; strings.Contains(body, "//") && regexp.MustCompile(`https?://|src="//`).MatchString(body) {
			t.Errorf("%s takes something from elsewhere", path)
		}
	}
	if a := s.raw("DELETE", "/docs", ""); a.status != 405 {
		t.Errorf("DELETE: %d", a.status)
	}
}
