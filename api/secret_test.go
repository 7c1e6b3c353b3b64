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

// The default of a secret parameter is as secret as a setting: readers see that there is one, architects change the
// application without seeing it, and cannot open it by changing what the parameter is.
func TestSecretDefaults(t *testing.T) {
	s := newSite(t).furnish()
	s.user("rita", "readonly", "acme")
	s.user("arne", "architects", "acme")
	s.user("uwe", "users", "acme")
	const app = "/organizations/acme/applications/vault"
	if a := s.raw("POST", "/organizations/acme/applications/", `{"name": "vault", "parameters": [
		{"name": "Password", "key": "pw", "value": "s3cret", "schema": {"secret": true}}, {"name": "Port", "key": "port", "value": 80}]}`); a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for _, path := range []string{app, "/organizations/acme/applications/", app + "/parameters/", app + "/parameters/Password"} {
		for _, who := range []string{"rita", "arne"} {
			a := s.raw("GET", path, "", "Authorization", basicAuth(who, who+"-password"))
			if a.status != 200 || strings.Contains(a.body, "s3cret") || !strings.Contains(a.body, `"Password"`) {
				t.Errorf("%s got %d %s of %s", who, a.status, a.body, path)
			}
		}
		if a := s.raw("GET", path, "", "Authorization", basicAuth("uwe", "uwe-password")); a.status != 200 || !strings.Contains(a.body, "s3cret") {
			t.Errorf("who may see secrets got %d %s of %s", a.status, a.body, path)
		}
	}
	arne := func(method, path, body string) answer {
		return s.raw(method, path, body, "Authorization", basicAuth("arne", "arne-password"))
	}
	shown := arne("GET", app+"/parameters/Password", "").body
	if a := arne("PUT", app+"/parameters/Password", strings.Replace(shown, `"name"`, `"description":"of the vault","name"`, 1)); a.status != 200 || strings.Contains(a.body, "s3cret") {
		t.Errorf("what was shown is sent back: %d %s", a.status, a.body)
	}
	if a := arne("PUT", app+"/parameters/Password", `{"schema": {"secret": false}}`); a.status != 400 {
		t.Errorf("opened by its schema: %d %s", a.status, a.body)
	}
	for _, a := range []answer{arne("PUT", app, `{"description": "x"}`), arne("PUT", app+"/_clone?name=copy", "")} {
		if a.status/100 != 2 || strings.Contains(a.body, "s3cret") {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if a := s.raw("GET", app+"/parameters/Password", "", "Authorization", basicAuth("uwe", "uwe-password")); !strings.Contains(a.body, "s3cret") || !strings.Contains(a.body, "of the vault") {
		t.Errorf("after all that: %s", a.body)
	}
	if a := arne("PUT", app+"/parameters/Password", `{"schema": {}, "value": "open"}`); a.status != 200 || !strings.Contains(a.body, "open") {
		t.Errorf("another value: %d %s", a.status, a.body)
	}
}
