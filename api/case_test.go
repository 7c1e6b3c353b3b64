package api_test

import (
	"strings"
	"testing"
)

// Names of fields in bodies are exact: one that differs by case only is refused wherever it stands, and nothing is done. Values of
// people's own may have what names they like.
func TestNamesOfFieldsAreExact(t *testing.T) {
	s := newSite(t).furnish()
	at := inAcme + "/environments/Dev"
	before := s.db.Local().Index()
	for _, c := range []struct{ method, path, body, want string }{
		{"POST", "/organizations/", `{"name": "a", "Name": "b"}`, `the body has the key \"Name\", which is \"name\" but for its case`},
		{"POST", "/organizations/", `{"Name": "b"}`, `write \"name\"`},
		{"PUT", inAcme, `{"Name": "b"}`, `\"Name\"`},
		{"PUT", inAcme, `{"Description": "b"}`, `\"Description\"`},
		{"POST", at + "/hosts/", `{"name": "h", "settings": [{"key": "a", "Value": 1}]}`, `settings[0] has the key \"Value\"`},
		{"PUT", web1, `{"Environment": "None"}`, `\"environment\"`},
		{"POST", at + "/settings/", `{"key": "a", "Value": 1}`, `\"Value\"`},
		{"POST", at + "/settings/", `{"key": "a", "value": 1, "schema": {"Secret": true}}`, `schema has \"Secret\"`},
		{"PUT", at + "/settings/?no_delete=true", `{"NewOrUpdatedSettings": []}`, `\"newOrUpdatedSettings\"`},
		{"PUT", at + "/settings/?no_delete=true", `{"newOrUpdatedSettings": [{"Key": "a", "value": 1}]}`, `newOrUpdatedSettings[0] has the key \"Key\"`},
		{"PUT", inAcme + "/applications/web", `{"Files": []}`, `\"Files\"`},
		{"POST", inAcme + "/applications/", `{"name": "x", "handlers": [{"name": "h", "do": [{"Action": "update"}]}]}`, `handlers[0].do[0] has the key \"Action\"`},
		{"PUT", inAcme + "/groups/admin", `{"Users": []}`, `\"Users\"`},
		{"POST", "/users/", `{"username": "u", "password": "a long password", "Password": "another password"}`, `\"Password\"`},
		{"POST", inAcme + "/applicationkeys/", `{"name": "k", "Group": "admin", "method": "TOKEN", "group": "readonly"}`, `\"Group\"`},
	} {
		if a := s.raw(c.method, c.path, c.body); a.status != 400 || !strings.Contains(a.body, c.want) {
			t.Errorf("%s %s %s: %d %s, want %s", c.method, c.path, c.body, a.status, a.body, c.want)
		}
	}
	if now := s.db.Local().Index(); now != before {
		t.Errorf("something was written: index %d became %d", before, now)
	}
	s.play([]exchange{
		{"POST", at + "/settings/", `{"key": "Name", "value": {"Name": 1, "name": 2}, "Unknown": 1}`, 201, `"value":{"Name":1,"name":2}`},
		{"PUT", at + "/settings/?no_delete=true", `{"newOrUpdatedSettings": [{"key": "own", "value": {"Key": 1, "key": 2}}]}`, 200, ""},
	})
}
