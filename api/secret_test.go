package api_test

import (
	"strings"
	"testing"
)

// A secret setting stays one behind a link that does not say so.
func TestLinkToASecretIsSecret(t *testing.T) {
	s := newSite(t).furnish()
	s.user("rita", "readonly", "acme")
	s.user("uwe", "users", "acme")
	for path, body := range map[string]string{
		"/organizations/acme/environments/Dev/hosts/web1/applications/": `{"application": "web"}`,
		"/organizations/acme/settings/":                                 `{"key": "pw", "value": "s3cret", "schema": {"secret": true}}`,
		"/organizations/acme/environments/Dev/hosts/web1/settings/":     `{"key": "innocent", "link": "organizations/acme/settings/pw"}`,
		"/organizations/acme/environments/Dev/hosts/web1/settings/?x=1": `{"key": "open", "value": "public"}`,
	} {
		if a := s.raw("POST", path, body); a.status/100 != 2 {
			t.Fatalf("%s: %d %s", path, a.status, a.body)
		}
	}
	const origin = "/organizations/acme/environments/Dev/hosts/web1/applications/web/origin-settings/"
	get := func(who, key string) answer {
		return s.raw("GET", origin+key, "", "Authorization", basicAuth(who, who+"-password"))
	}
	if a := get("rita", "innocent"); a.status != 403 || strings.Contains(a.body, "s3cret") {
		t.Errorf("a reader got %d %s", a.status, a.body)
	}
	if a := get("rita", "open"); a.status != 200 || !strings.Contains(a.body, "public") {
		t.Errorf("what is not secret: %d %s", a.status, a.body)
	}
	if a := get("uwe", "innocent"); a.status != 200 || !strings.Contains(a.body, "s3cret") {
		t.Errorf("who may see secrets: %d %s", a.status, a.body)
	}
}
