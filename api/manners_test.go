package api_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api/spec"
)

// A request is named as its sender named it, if that is a name; answer, problem document and log agree on it.
func TestRequestID(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct {
		name, id string
		kept     bool
	}{
		{"a UUID", "01890a5d-ac96-774b-bcce-b302099a8057", true},
		{"of a balancer", "1-67891233-abcdef012345678912345678", true},
		{"Base64", "aGVsbG8/d29ybGQ+Cg==", true},
		{"the longest", strings.Repeat("x", 128), true},
		{"none", "", false},
		{"too long", strings.Repeat("x", 129), false},
		{"with a blank", "a b", false},
		{"with a quote", `a"b`, false},
		{"not ASCII", "caf\u00e9", false},
	} {
		a := s.raw("GET", "/organizations/nope", "", spec.HeaderRequestID, c.id)
		got := a.header.Get(spec.HeaderRequestID)
		if (got == c.id) != c.kept || got == "" {
			t.Errorf("%s: %q became %q", c.name, c.id, got)
		}
		var p spec.Problem
		if err := json.Unmarshal([]byte(a.body), &p); err != nil || p.RequestID != got {
			t.Errorf("%s: the problem document tells %q, the answer %q: %v", c.name, p.RequestID, got, err)
		}
		if !strings.Contains(s.log.String(), `"id":"`+got+`"`) {
			t.Errorf("%s: the log does not tell %q", c.name, got)
		}
	}
}

// Every error is a problem document with the contract's array, whatever the sender accepts.
func TestProblemDocuments(t *testing.T) {
	s := newSite(t).furnish()
	for _, c := range []struct {
		method, path, body string
		header             []string
		status             int
		code               string
	}{
		{"GET", "/organizations/nope", "", []string{"Accept", "application/problem+json"}, 404, "not_found"},
		{"GET", "/organizations/nope", "", []string{"Accept", "*/*"}, 404, "not_found"},
		{"GET", "/organizations/", "", []string{"Authorization", ""}, 401, "unauthenticated"},
		{"POST", "/organizations/", "{", nil, 400, "invalid"},
		{"POST", "/organizations/", `{"name": "acme"}`, nil, 409, "conflict"},
		{"PATCH", "/organizations/", "", nil, 405, "invalid"},
		{"GET", "/cluster", "", nil, 501, "unimplemented"},
	} {
		a := s.raw(c.method, c.path, c.body, c.header...)
		var p spec.Problem
		err := json.Unmarshal([]byte(a.body), &p)
		if err != nil || a.status != c.status || p.Status != c.status || a.header.Get("Content-Type") != spec.ContentTypeProblem || len(p.Error) == 0 ||
			p.Title == "" || p.Type != "about:blank" || string(p.Code) != c.code {
			t.Errorf("%s %s: %d %v %s: %v", c.method, c.path, a.status, a.header, a.body, err)
		}
	}
}
