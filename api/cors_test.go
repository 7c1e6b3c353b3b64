package api_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

const console = "https://console.example.org"

func corsHeaders(a answer) (found []string) {
	for name := range a.header {
		if strings.HasPrefix(name, "Access-Control-") {
			found = append(found, name)
		}
	}
	return found
}

// Without a configuration no page of another host may do anything.
func TestNoCORSByDefault(t *testing.T) {
	s := newSite(t)
	for _, a := range []answer{
		s.raw("GET", "/organizations/", "", "Origin", console),
		s.raw("OPTIONS", "/organizations/", "", "Origin", console, "Access-Control-Request-Method", "POST"),
	} {
		if found := corsHeaders(a); len(found) > 0 {
			t.Errorf("headers %v", found)
		}
	}
	if a := s.raw("POST", "/organizations/", `{"name": "x"}`, "Origin", console); a.status != 403 {
		t.Errorf("a write by a page of another host: %d %s", a.status, a.body)
	}
}

// The pages that are named may read and write with credentials in headers; others, and cookies, may not.
func TestCORS(t *testing.T) {
	s := newSite(t, func(c *api.Config) { c.Origins = []string{console} })
	ask := s.raw("OPTIONS", "/organizations/", "", "Authorization", "", "Origin", console, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization")
	if ask.status != 204 || ask.header.Get("Access-Control-Allow-Origin") != console || !strings.Contains(ask.header.Get("Access-Control-Allow-Headers"), "Authorization") ||
		!strings.Contains(ask.header.Get("Access-Control-Allow-Methods"), "POST") || ask.header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("the browser's question: %d %v", ask.status, ask.header)
	}
	if a := s.raw("POST", "/organizations/", `{"name": "x"}`, "Origin", console, "Sec-Fetch-Site", "cross-site"); a.status != 201 || a.header.Get("Access-Control-Allow-Origin") != console ||
		!strings.Contains(a.header.Get("Access-Control-Expose-Headers"), "X-Muster-Index") {
		t.Errorf("a write: %d %v", a.status, a.header)
	}
	if a := s.raw("GET", "/organizations/nope", "", "Origin", console); a.status != 404 || a.header.Get("Access-Control-Allow-Origin") != console {
		t.Errorf("an error, which the page must see, too: %d %v", a.status, a.header)
	}
	for _, other := range []string{"https://evil.example.org", "http://console.example.org", console + ".evil.org", "null"} {
		a := s.raw("POST", "/organizations/", `{"name": "y"}`, "Origin", other, "Sec-Fetch-Site", "cross-site")
		if found := corsHeaders(a); a.status != 403 || len(found) > 0 || !strings.Contains(strings.Join(a.header.Values("Vary"), ","), "Origin") {
			t.Errorf("%s: %d %v", other, a.status, a.header)
		}
		if a := s.raw("OPTIONS", "/organizations/", "", "Origin", other, "Access-Control-Request-Method", "POST"); a.status == 204 {
			t.Errorf("%s may ask", other)
		}
	}
}

func TestOriginsThatAreRefused(t *testing.T) {
	for _, o := range []string{"*", "null", "console.example.org", "https://console.example.org/path", "https://a.org, https://b.org", "https://*.example.org", ""} {
		_, err := api.New(api.Config{Store: statetest.New(t, orchestrate.Tables()...), Log: slog.New(slog.DiscardHandler), Origins: []string{o}})
		if err == nil || !strings.Contains(err.Error(), "origin") {
			t.Errorf("%q: %v", o, err)
		}
	}
}
