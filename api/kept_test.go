package api_test

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
)

func as(user string) []string {
	return []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+user+"-password"))}
}

// Whatever is written, what a reader of any role gets is what is made anew for it: answers that were kept are given only
// while they are the same. A reading that names an index is always made anew.
func TestKeptAnswersAreThoseMadeAnew(t *testing.T) {
	s := newSite(t).furnish()
	org := map[string]string{"org": "acme"}
	for _, c := range []client.Op{
		{Name: "hosts.create", Params: map[string]string{"org": "acme", "env": "Dev"}, Body: map[string]any{"name": "web2"}},
		{Name: "hostgroups.create", Params: org, Body: map[string]any{"name": "all", "hosts": []any{map[string]any{"organization": "acme", "environment": "Dev", "host": "web2"}}}},
		{Name: "host.applications.create", Params: host(), Body: map[string]any{"application": "web"}},
		{Name: "platforms.create", Params: org, Body: map[string]any{"name": "metal", "driver": map[string]any{"className": "x.Y"}}},
		{Name: "distributions.create", Params: org, Body: map[string]any{"name": "debian"}},
	} {
		s.call(s.admin, c, nil)
	}
	for name, at := range map[string][2]string{"boss": {"admin", "acme"}, "uma": {"users", "acme"}, "rob": {"readonly", "acme"}, "eve": {"users", "acme/Dev"}, "hal": {"users", "acme/Dev/web2"}, "out": {"", ""}} {
		s.user(name, at[0], at[1])
	}
	var key model.ApplicationKey
	s.call(s.admin, client.Op{Name: "applicationkeys.create", Params: org, Body: map[string]any{"name": "k", "method": model.KeyToken, "group": "readonly"}}, &key)
	readers := [][]string{{}, as("boss"), as("uma"), as("rob"), as("eve"), as("hal"), as("out"), {"Authorization", "", spec.HeaderAppKey, key.Token}}
	paths := []string{"/organizations", "/organizations/acme", "/organizations/acme/environments", "/organizations/acme/environments/Dev", "/organizations/acme/environments/Dev/hosts",
		"/organizations/acme/environments/Dev/hosts?limit=1", "/organizations/acme/environments/Dev/hosts/web1", "/organizations/acme/environments/Dev/hosts/web2?obfuscate=true",
		"/organizations/acme/environments/Dev/hosts/web1/applications", "/organizations/acme/environments/Dev/hosts/web1/applications/web/settings?no_secret=true",
		"/organizations/acme/applications", "/organizations/acme/applications/web?obfuscate=true", "/organizations/acme/settings", "/organizations/acme/settings?obfuscate=true",
		"/organizations/acme/environments/Dev/settings/a", "/organizations/acme/environments/Dev/hosts/web2/settings", "/organizations/acme/hostgroups", "/organizations/acme/hostgroups/all",
		"/organizations/acme/platforms/metal", "/organizations/acme/distributions"}
	rng := rand.New(rand.NewPCG(5, 6))
	for round := range 120 {
		what := writeSomething(s, rng)
		for _, r := range readers {
			for range 4 {
				path := paths[rng.IntN(len(paths))]
				var got answer
				for range 1 + rng.IntN(2) {
					got = s.raw("GET", path, "", r...)
				}
				mark := "?"
				if strings.Contains(path, "?") {
					mark = "&"
				}
				index := "1"
				if got.status == http.StatusOK {
					index = got.at()
				}
				anew := s.raw("GET", path+mark+"index="+url.QueryEscape(index), "", r...)
				same := got.status == anew.status && (got.status != http.StatusOK || got.body == anew.body && got.header.Get("ETag") == anew.header.Get("ETag") && got.header.Get("Vary") == anew.header.Get("Vary"))
				if strings.Contains(path, "limit=") { // a cursor is of the whole question
					same = got.status == anew.status
				}
				if !same {
					t.Fatalf("round %d, after %s: %v asks %s and gets %d %s\nmade anew: %d %s", round, what, r, path, got.status, got.body, anew.status, anew.body)
				}
			}
		}
	}
}

// writeSomething changes something that readers see, or who sees it.
func writeSomething(s *site, rng *rand.Rand) string {
	s.t.Helper()
	at := []string{"/organizations/acme", "/organizations/acme/environments/Dev", "/organizations/acme/environments/Dev/hosts/web1", "/organizations/acme/environments/Dev/hosts/web2",
		"/organizations/acme/environments/Dev/hosts/web1/applications/web", "/organizations/acme/hostgroups/all"}[rng.IntN(6)]
	n := rng.IntN(1000)
	schema := []string{"", `, "schema": {"type": "integer", "secret": true}`, `, "schema": {"type": "integer"}`}[rng.IntN(3)]
	user := []string{"uma", "rob", "eve", "hal", "out"}[rng.IntN(5)]
	writes := []struct{ method, path, body string }{
		{"PUT", at + "/settings?no_delete=true", fmt.Sprintf(`{"newOrUpdatedSettings": [{"key": "%c", "value": %d%s}]}`, "abp"[rng.IntN(3)], n, schema)},
		{"PUT", at + "/settings?no_delete=true", fmt.Sprintf(`{"newOrUpdatedSettings": [{"key": "port", "value": "%d"}]}`, n)},
		{"DELETE", at + "/settings/a", ""},
		{"PUT", "/organizations/acme/environments/Dev/hosts/web1", fmt.Sprintf(`{"description": "number %d"}`, n)},
		{"PUT", "/organizations/acme/environments/Dev/hosts/web2", fmt.Sprintf(`{"name": "web%d"}`, 2+rng.IntN(2))},
		{"PUT", "/organizations/acme/environments/Dev/hosts/web3", `{"name": "web2"}`},
		{"PUT", "/organizations/acme/applications/web", fmt.Sprintf(`{"parameters": [{"name": "a", "key": "a", "value": %d%s}]}`, n, schema)},
		{"PUT", "/organizations/acme", fmt.Sprintf(`{"description": "number %d"}`, n)},
		{"PUT", "/organizations/acme/platforms/metal", fmt.Sprintf(`{"description": "number %d"}`, n)},
		{"DELETE", "/organizations/acme/environments/Dev/hosts/web1/applications/web", ""},
		{"POST", "/organizations/acme/environments/Dev/hosts/web1/applications", `{"application": "web"}`},
		{"PUT", "/organizations/acme/groups/" + []string{"users", "readonly", "admin"}[rng.IntN(3)], fmt.Sprintf(`{"users": [{"username": %q}, {"username": "boss"}]}`, user)},
		{"PUT", "/organizations/acme/environments/Dev/groups/users", fmt.Sprintf(`{"users": [{"username": %q}]}`, user)},
		{"PUT", "/organizations/acme/environments/Dev/hosts/web2/groups/readonly", fmt.Sprintf(`{"users": [{"username": %q}]}`, user)},
		{"PUT", "/organizations/acme/groups/no access", fmt.Sprintf(`{"users": [{"username": %q}]}`, user)},
		{"PUT", "/organizations/acme/groups/no access", `{"users": []}`},
		{"PUT", "/organizations/acme/applicationkeys/k", fmt.Sprintf(`{"group": %q}`, []string{"users", "readonly"}[rng.IntN(2)])},
		{"PUT", "/users/" + user, fmt.Sprintf(`{"fullname": "number %d"}`, n)},
	}
	w := writes[rng.IntN(len(writes))]
	a := s.raw(w.method, strings.ReplaceAll(w.path, " ", "%20"), w.body)
	if a.status/100 == 5 {
		s.t.Fatalf("%s %s: %d %s", w.method, w.path, a.status, a.body)
	}
	return fmt.Sprintf("%s %s %s: %d", w.method, w.path, w.body, a.status)
}
