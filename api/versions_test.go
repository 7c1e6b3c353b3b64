package api_test

import (
	"strings"
	"testing"
)

// Every kind of entity has a version: who has it is told so, and who saw another does not write.
func TestVersionsOfAllEntities(t *testing.T) {
	s := newSite(t).furnish()
	o := "/organizations/acme"
	for _, e := range []struct{ list, doc, at, change string }{
		{o + "/platforms/", `{"name": "v", "driver": {"className": "com.guardis.cortex.server.driver.FreeDriver"}}`, o + "/platforms/v", ""},
		{o + "/distributions/", `{"name": "v"}`, o + "/distributions/v", ""},
		{o + "/applications/", `{"name": "v"}`, o + "/applications/v", ""},
		{o + "/environments/", `{"name": "v"}`, o + "/environments/v", ""},
		{o + "/environments/Dev/hosts/", `{"name": "v"}`, o + "/environments/Dev/hosts/v", ""},
		{o + "/hostgroups/", `{"name": "v"}`, o + "/hostgroups/v", ""},
		{o + "/orchestrations/", `{"name": "v"}`, o + "/orchestrations/v", ""},
		{o + "/webhooks/", `{"name": "v", "serverName": "example.org"}`, o + "/webhooks/v", `{"serverName": "example.com"}`},
		{o + "/applications/web/gits/", `{"name": "v", "endpoint": "https://example.org/x.git"}`, o + "/applications/web/gits/v", `{"endpoint": "https://example.org/y.git"}`},
		{o + "/settings/", `{"key": "v", "value": 1}`, o + "/settings/v", `{"value": 2}`},
		{o + "/applications/web/parameters/", `{"name": "v", "key": "v"}`, o + "/applications/web/parameters/v", `{"description": "x"}`},
		{o + "/applications/web/files/", `{"name": "v", "path": "/v"}`, o + "/applications/web/files/v", `{"path": "/w"}`},
		{o + "/applicationkeys/", `{"name": "v", "group": "users", "method": "TOKEN"}`, o + "/applicationkeys/v", `{"description": "x"}`},
		{"/users/", `{"username": "v", "password": "long enough"}`, "/users/v", `{"fullname": "V"}`},
		{"", "", "/quotas/acme", `{"hosts": 77}`},
		{"", "", o + "/groups/users", `{"users": [{"username": "v"}]}`},
	} {
		if e.change == "" {
			e.change = `{"description": "changed"}`
		}
		if e.list != "" {
			if a := s.raw("POST", e.list, e.doc); a.status != 201 {
				t.Errorf("POST %s: %d %s", e.list, a.status, a.body)
				continue
			}
		}
		tag := s.raw("GET", e.at, "").header.Get("ETag")
		if a := s.raw("GET", e.at, "", "If-None-Match", tag); a.status != 304 || tag == "" || a.body != "" {
			t.Errorf("%s: what the caller has: %d %q", e.at, a.status, tag)
		}
		if a := s.raw("PUT", e.at, e.change, "If-Match", tag); a.status != 200 {
			t.Errorf("%s: a write of who saw it: %d %s", e.at, a.status, a.body)
		}
		if a := s.raw("PUT", e.at, e.change, "If-Match", tag); a.status != 412 || !strings.Contains(a.errors(t), "it has changed since you read it") {
			t.Errorf("%s: a write of who saw another: %d %s", e.at, a.status, a.body)
		}
		if a := s.raw("GET", e.at, "", "If-None-Match", tag); a.status != 200 {
			t.Errorf("%s: what the caller has no more: %d", e.at, a.status)
		}
	}
}
