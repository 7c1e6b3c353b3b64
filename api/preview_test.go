package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
)

func TestPreview(t *testing.T) {
	s := newSite(t).furnish()
	secret := map[string]any{"key": "password", "value": "hunter2", "schema": map[string]any{"type": "string", "secret": true}}
	env := map[string]string{"org": "acme", "env": "Dev"}
	s.call(s.admin, client.Op{Name: "settings.create", Level: "environment", Params: env, Body: secret}, nil)
	s.call(s.admin, client.Op{Name: "host.applications.create", Params: host(), Body: map[string]any{"application": "web"}}, nil)
	reader := s.user("in-readonly", "readonly", "acme")
	stranger := s.user("stranger", "", "")
	before := s.db.Local().Index()
	hash := &model.Delimiter{Start: "##", End: "##"}
	for name, c := range map[string]struct {
		as   *client.Client
		doc  spec.Preview
		want string
		code model.Code
		says string
	}{
		"host":             {s.admin, spec.Preview{Template: "${_host.name} ${password}"}, "web1 hunter2", "", ""},
		"application":      {s.admin, spec.Preview{Template: "listen ${port}", Application: "web"}, "listen 80", "", ""},
		"marks":            {s.admin, spec.Preview{Template: "##_host.name## ${x}", Delimiter: hash}, "web1 ${x}", "", ""},
		"empty":            {s.admin, spec.Preview{}, "", "", ""},
		"masked":           {reader, spec.Preview{Template: "${password} ${tls_key} ${(password == 'hunter2')?c}", Application: "web"}, "******** ******** false", "", ""},
		"error":            {s.admin, spec.Preview{Template: "a\n${password?number}"}, "", model.Invalid, "line 2"},
		"loop":             {s.admin, spec.Preview{Template: "\n<#list 1..2000000000 as x></#list>"}, "", model.Invalid, "line"},
		"recursion":        {s.admin, spec.Preview{Template: "<#macro m><@m/></#macro>\n<@m/>"}, "", model.Invalid, "line 1"},
		"not there":        {s.admin, spec.Preview{Template: "x", Application: "db"}, "", model.NotFound, ""},
		"of another":       {stranger, spec.Preview{Template: "x"}, "", model.NotFound, ""},
		"does not parse":   {s.admin, spec.Preview{Template: "${"}, "", model.Invalid, "line 1"},
		"one of the marks": {s.admin, spec.Preview{Template: "x", Delimiter: &model.Delimiter{Start: "##"}}, "", model.Invalid, "delimiters"},
	} {
		var got []byte
		err := c.as.Call(t.Context(), client.Op{Name: "host.preview", Params: host(), Body: c.doc}, &got)
		if model.CodeOf(err) != c.code || err == nil && string(got) != c.want {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: the error says %v", name, err)
		}
	}
	if now := s.db.Local().Index(); now != before+1 { // that the administrator saw secrets

		t.Errorf("previews moved the state from %d to %d", before, now)
	}
	path := "/organizations/acme/environments/Dev/hosts/web1/_preview"
	if a := s.raw(http.MethodPost, path, `[]`); a.status != http.StatusBadRequest {
		t.Errorf("a list as the body: %d %s", a.status, a.body)
	}
	if a := s.raw(http.MethodGet, path, ""); a.status != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d %s", a.status, a.body)
	}
}
