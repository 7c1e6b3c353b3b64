package api_test

import (
	"strings"
	"testing"
)

// Wrong input gets a text that says what to change, and changes nothing.
func TestBadInput(t *testing.T) {
	s := newSite(t).furnish()
	h := "/organizations/acme/environments/Dev/hosts/web1"
	before := s.db.Local().Index()
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"not JSON", "POST", "/organizations/", `{"name": x}`, 400, "the body is not JSON: at byte 10: invalid character 'x'"},
		{"not JSON, expected", "POST", "/organizations/", `hello`, 400, "a JSON object was expected"},
		{"cut off", "POST", "/organizations/", `{"name": "x"`, 400, "it ends too early"},
		{"empty", "POST", "/organizations/", ``, 400, "the body is empty: a JSON object was expected"},
		{"a list", "POST", "/organizations/", `[]`, 400, "the body is a JSON list, but a JSON object was expected"},
		{"null", "POST", "/organizations/", `null`, 400, "the body is JSON null"},
		{"trailing data", "POST", "/organizations/", `{"name": "x"} {}`, 400, "the body goes on after its end: remove what follows byte 13"},
		{"duplicate key", "POST", "/organizations/", `{"name": "x", "name": "y"}`, 400, `the key "name" twice: keep one`},
		{"duplicate key inside", "POST", h + "/settings/", `{"key": "k", "value": {"a": [{"b": 1, "b": 2}]}}`, 400, `the key "b" twice in value.a[0]`},
		{"not UTF-8", "POST", "/organizations/", "{\"name\": \"a\xff\"}", 400, "not UTF-8: byte 11"},
		{"half a character", "POST", "/organizations/", `{"name": "\\ud800\ud83d\ude00\ud83db"}`, 400, `at byte 29: \ud83d`},
		{"half a character in a value", "POST", h + "/settings/", `{"key": "k", "value": ["x\ude00"]}`, 400, "half of an escaped character"},
		{"too deep", "POST", h + "/settings/", `{"key": "k", "value": ` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, 400, "deeper than 64"},
		{"wrong kind", "POST", "/organizations/", `{"name": 7}`, 400, "name"},
		{"no name", "POST", "/organizations/", `{}`, 400, "name is missing"},
		{"name with slash", "POST", "/organizations/", `{"name": "a/b"}`, 400, "contains /"},
		{"name taken", "POST", "/organizations/", `{"name": "acme"}`, 409, "acme"},
		{"environment taken", "POST", "/organizations/acme/environments/", `{"name": "Dev"}`, 409, "Dev"},
		{"unknown organization", "GET", "/organizations/nope", ``, 404, `no organization "nope"`},
		{"unknown application", "POST", h + "/applications/", `{"application": "nope"}`, 400, "nope"},
		{"unknown handler", "PUT", h + "/applications/web/handler/nope/_run", ``, 404, ""},
		{"handler on an absent file", "POST", "/organizations/acme/applications/",
			`{"name": "bad", "handlers": [{"on": ["k"], "do": [{"action": "update", "resource": "file://nope"}]}]}`, 400, "nope"},
		{"file in a directory's place", "POST", "/organizations/acme/applications/", `{"name": "bad", "files": [{"name": "f", "path": "/etc/"}]}`, 400, `path is "/etc/", which is a directory`},
		{"file at the root", "PUT", "/organizations/acme/applications/web/files/site.conf", `{"path": "/"}`, 400, "which is a directory"},
		{"id no machine has", "POST", "/organizations/acme/applications/", `{"name": "bad", "groups": [{"name": "g", "gid": 4294967295}]}`, 400, "from 0 to 4294967294"},
		{"wrong kind in a file", "POST", "/organizations/acme/applications/", `{"name": "bad", "files": [{"name": "f", "path": "/f"}, {"name": "g", "mode": 644}]}`, 400, `file "g": mode must be a text`},
		{"wrong kind of file", "POST", "/organizations/acme/applications/", `{"name": "bad", "files": [3]}`, 400, "file: the document must be an object"},
		{"wrong delimiter", "POST", "/organizations/acme/applications/", `{"name": "bad", "files": [{"name": "f", "template": {"name": "t", "delimiter": 3}}]}`, 400, `file "f": template "t": delimiter: `},
		{"no administrator", "PUT", "/organizations/acme/groups/admin", `{"users": []}`, 409, "nobody could manage it"},
		{"group renamed", "PUT", "/organizations/acme/groups/users/", `{"name": "x", "users": []}`, 400, "the groups are fixed"},
		{"member without name", "PUT", "/organizations/acme/groups/users", `{"users": [{}]}`, 400, "has no username"},
		{"move to nowhere", "PUT", h, `{"environment": "Nope"}`, 400, `environment "Nope" does not exist`},
		{"relative path", "POST", "/organizations/acme/applications/web/files/", `{"name": "f", "path": "etc/f"}`, 400, "must be absolute"},
		{"path that climbs", "POST", "/organizations/acme/applications/web/files/", `{"name": "f", "path": "/etc/../f"}`, 400, "as /f"},
		{"mode", "POST", "/organizations/acme/applications/web/files/", `{"name": "f", "path": "/f", "mode": "999"}`, 400, "octal digits"},
		{"reserved key", "POST", h + "/settings/", `{"key": "_host", "value": 1}`, 400, "reserved"},
		{"bulk with one bad key", "PUT", h + "/settings/", `{"newOrUpdatedSettings": [{"key": "a", "value": 1}, {"key": "_a"}]}`, 400, "reserved"},
		{"long name", "POST", "/organizations/", `{"name": "` + strings.Repeat("n", 300) + `"}`, 400, "shorten it"},
		{"name of dots", "POST", "/organizations/", `{"name": ".."}`, 400, "cannot stand in an address"},
		{"name with %", "POST", "/organizations/", `{"name": "a%20b"}`, 400, "contains / or %"},
		{"line end in a name", "POST", "/organizations/", `{"name": "a\nb"}`, 400, "control character"},
		{"bulk without list", "PUT", h + "/settings/", `{}`, 400, "newOrUpdatedSettings is missing"},
		{"clone without name", "PUT", "/organizations/acme/environments/Dev/_clone", ``, 400, "name of the clone"},
		{"unknown path", "GET", "/organisations/", ``, 404, "nothing at"},
		{"query", "GET", "/organizations/?a=%zz", ``, 400, "query"},
		{"short password", "POST", "/users/", `{"username": "u", "password": "short"}`, 400, "at least 8"},
		{"colon", "POST", "/users/", `{"username": "a:b", "password": "long enough"}`, 400, "colon"},
		{"token without life", "POST", "/organizations/acme/environments/Dev/enroltokens/", `{"expires": "soon"}`, 400, `not "soon"`},
		{"token with too many uses", "POST", "/organizations/acme/environments/Dev/enroltokens/", `{"uses": -1}`, 400, "uses: give a number"},
		{"upload as JSON", "POST", "/organizations/acme/applications/web/files/site.conf/content", `{}`, 400, "multipart/form-data"},
		{"cluster", "GET", "/cluster", ``, 501, "cluster.show"},
	} {
		a := s.raw(c.method, c.path, c.body)
		if a.status != c.status || !strings.Contains(a.errors(t), c.want) {
			t.Errorf("%s: %d %s, want %d with %q", c.name, a.status, a.body, c.status, c.want)
		}
	}
	if now := s.db.Local().Index(); now != before {
		t.Errorf("refused requests moved the state from %d to %d", before, now)
	}
}

func form(name, content string) (body, contentType string) {
	return "--B\r\nContent-Disposition: form-data; name=\"" + name + "\"; filename=\"x\"\r\n\r\n" + content + "\r\n--B--\r\n",
		"multipart/form-data; boundary=B"
}

func TestBadUploads(t *testing.T) {
	s := newSite(t).furnish()
	path := "/organizations/acme/applications/web/files/site.conf/content"
	whole, contentType := form("file", "new")
	other, _ := form("other", "new")
	large, _ := form("file", strings.Repeat("x", 9<<20))
	for _, c := range []struct {
		name, body string
		status     int
		want       string
	}{
		{"no part", other, 400, "no part named file"},
		{"cut off", whole[:len(whole)-12], 400, "broken"},
		{"not a form", "xxx", 400, "no part named file"},
		{"too large", large, 413, "larger than"},
	} {
		a := s.raw("POST", path, c.body, "Content-Type", contentType)
		if a.status != c.status || !strings.Contains(a.errors(t), c.want) {
			t.Errorf("%s: %d %s", c.name, a.status, a.body)
		}
	}
	if a := s.raw("GET", path, ""); a.body != "listen ${port};\n" {
		t.Errorf("a refused upload changed the content to %q", a.body)
	}
	if a := s.raw("POST", path, whole, "Content-Type", contentType); a.status != 200 {
		t.Errorf("a good upload: %d %s", a.status, a.body)
	}
	if a := s.raw("GET", path, ""); a.body != "new" {
		t.Errorf("the content is %q", a.body)
	}
}

func TestTooLargeBody(t *testing.T) {
	s := newSite(t)
	a := s.raw("POST", "/organizations/", `{"name": "`+strings.Repeat("x", 2<<20)+`"}`)
	if a.status != 413 || !strings.Contains(a.errors(t), "larger than 1048576 bytes") {
		t.Errorf("%d %s", a.status, a.body)
	}
}
