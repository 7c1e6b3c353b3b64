package api_test

import (
	"strings"
	"testing"
)

func TestExplainOverTheWire(t *testing.T) {
	s := newSite(t).furnish()
	ctx := web1 + "/applications/web/settings/"
	s.play([]exchange{
		{"POST", web1 + "/applications/", `{"application": "web"}`, 201, ""},
		{"GET", ctx + "port/explain", "", 200, `"value":"80","from":"organizations/acme/applications/web/parameters/Listen port"`},
		{"POST", inAcme + "/settings/", `{"key": "port", "value": "81"}`, 201, ""},
		{"GET", ctx + "port/explain", "", 200, `"from":"organizations/acme/settings/port","kind":"simple","value":"81","final":false,"counts":true`},
		{"GET", web1 + "/settings/port/explain", "", 200, `"value":"81"`},
		{"GET", ctx + "nothing/explain", "", 404, `setting \"nothing\" is neither set nor declared here`},
		{"POST", inAcme + "/settings/", `{"key": "big", "value": 9007199254740993}`, 201, `"value":9007199254740993`},
		{"GET", inAcme + "/settings/big/explain", "", 200, `"value":9007199254740993`},
		{"POST", inAcme + "/settings/", `{"key": "a", "link": "organizations/acme/settings/b"}`, 201, ""},
		{"POST", inAcme + "/settings/", `{"key": "b", "link": "organizations/acme/settings/a"}`, 400, `organizations/acme/settings/b -\u003e organizations/acme/settings/a -\u003e organizations/acme/settings/b`},
		{"POST", inAcme + "/settings/", `{"key": "port2", "value": [1], "schema": {"type": "string"}}`, 400, "it is a list, and a text is wanted"},
	})
	s.user("eve", "readonly", "acme")
	a := s.raw("GET", ctx+"tls_key/explain", "", "Authorization", basicAuth("eve", "eve-password"))
	if a.status != 200 || strings.Contains(a.body, "s3cret") || !strings.Contains(a.body, "********") {
		t.Errorf("who may see no secret: %d %s", a.status, a.body)
	}
	if a := s.raw("GET", ctx+"tls_key/explain", ""); !strings.Contains(a.body, "s3cret-default") {
		t.Errorf("who may: %d %s", a.status, a.body)
	}
}
