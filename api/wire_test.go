package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
)

// What the published client looks at: statuses, envelopes, texts (contract sections 1.4 and 1.5).
func TestAnswersAsTheClientNeedsThem(t *testing.T) {
	s := newSite(t).furnish()
	h := "/organizations/acme/environments/Dev/hosts/web1"
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string // the whole body, or with ... what it holds
	}{
		{"GET", "/account/_verify", "", 200, `{"username":"admin"}` + "\n"},
		{"GET", "/organizations", "", 200, `...{"count":1,"items":[{`},
		{"GET", "/flavors/", "", 200, `...{"count":5,"items":[{`},
		{"GET", "/organizations/acme/platforms/", "", 200, `{"count":0,"items":[]}` + "\n"},
		{"GET", "/organizations/acme/applications/web/rpmmodules/", "", 200, `{"count":0,"items":[]}` + "\n"},
		{"GET", "/organizations/acme/application_properties/?secret_only=True", "", 200, `{"count":0,"items":[]}` + "\n"},
		{"GET", h + "/instance/alerts/", "", 200, `{"count":0,"items":[]}` + "\n"},
		{"GET", h + "/instance/vnc", "", 200, `{"hostname":"","port":""}` + "\n"},
		{"GET", "/organizations/acme/applications/web/thumb", "", 404, `...{"error":["`},
		{"POST", "/organizations/acme/environments/", `{"name": "Web (1)"}`, 201, `..."name":"Web (1)"`},
		{"GET", "/organizations/acme/environments/Web%20%281%29?secret_only=False&foo=bar", "", 200, `..."organization":"acme"`},
		{"PUT", "/organizations/acme/environments/Web%20(1)/", `{"name": "Web [2]", "uuid": "X", "version": 9}`, 200, `..."name":"Web [2]"`},
		{"PUT", "//organizations//acme/environments/Web%20%5B2%5D///?force=True", `{"description": "d"}`, 200, `..."description":"d"`},
		{"DELETE", "/organizations/acme/environments/Web%20%5B2%5D", "", 204, ""},
		{"DELETE", "/organizations/acme/environments/Web%20%5B2%5D", "", 404, `...no environment \"Web [2]\"`},
		{"POST", h + "/settings/", `{"key": "ec2.instanceType", "value": [1, {"a": null}]}`, 201, `..."value":[1,{"a":null}]`},
		{"GET", h + "/settings/ec2.instanceType", "", 200, `..."key":"ec2.instanceType"`},
		{"PUT", h + "/settings/?no_delete=True", `{"newOrUpdatedSettings": [{"key": "k", "value": 1}]}`, 200, `..."count":2`},
		{"PUT", h + "/settings/", `{"newOrUpdatedSettings": [{"key": "k", "value": 2}]}`, 200, `..."count":1`},
		{"POST", h + "/applications/", `{"application": "web"}`, 201, `..."application":"web"`},
		{"GET", h + "/applications/web/files/site.conf", "", 200, "listen 80;\n"},
		{"GET", h + "/applications/web/origin-settings/port", "", 200, `..."value":"80"`},
		{"POST", "/organizations/acme/applications/web/lock", "", 200, ""},
		{"PUT", "/organizations/acme/applications/web", `{"description": "x"}`, 409, `...{"error":["`},
		{"POST", "/organizations/acme/applications/web/unlock", "", 200, ""},
		{"POST", h + "/instance/lock", "", 200, ""},
		{"PUT", h + "/instance/_forget", "", 409, `...{"error":["`},
		{"POST", h + "/instance/unlock", "", 200, ""},
		{"POST", "/organizations/acme/access", "", 200, `..."secretKey":"`},
		{"PUT", h + "/instance/_forget", "", 202, ""},
		{"GET", h + "/instance/", "", 404, `...{"error":["`},
		{"GET", h, "", 200, `..."state":"DEFINED"`},
	} {
		a := s.raw(c.method, c.path, c.body)
		part, partly := strings.CutPrefix(c.want, "...")
		if a.status != c.status || !partly && a.body != c.want || !strings.Contains(a.body, part) {
			t.Errorf("%s %s: %d %q, want %d %q", c.method, c.path, a.status, a.body, c.status, c.want)
		}
		if a.status/100 == 3 {
			t.Errorf("%s %s redirects", c.method, c.path)
		}
	}
}

// Running a handler answers the key of the queued change and nothing else.
func TestHandlerRunAnswersTheKey(t *testing.T) {
	s := newSite(t).furnish()
	h := "/organizations/acme/environments/Dev/hosts/web1"
	if a := s.raw("POST", h+"/applications/", `{"application": "web"}`); a.status != 201 {
		t.Fatalf("install: %d %s", a.status, a.body)
	}
	a := s.raw("PUT", h+"/applications/web/handler/reload/_run", "")
	if a.status != 200 || !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") || strings.ContainsAny(a.body, "\" \n") {
		t.Errorf("run: %d %q %q", a.status, a.header.Get("Content-Type"), a.body)
	}
	changes, err := s.admin.Changes(t.Context(), host(), false)
	if err != nil || len(changes) != 2 || changes[1].Key != a.body || changes[0].OrderNum >= changes[1].OrderNum {
		t.Errorf("changes: %+v, %v; want the last to have key %q", changes, err, a.body)
	}
	for i, task := range changes[1].Tasks {
		if task.OrderNum != i || task.Status != model.TaskPending {
			t.Errorf("task %d is %+v", i, task)
		}
	}
	num := jsonNumber(changes[1].OrderNum)
	if a := s.raw("GET", h+"/changes/"+num, ""); a.status != 200 || !strings.Contains(a.body, `"orderNum":`+num) {
		t.Errorf("show: %d %s", a.status, a.body)
	}
	if a := s.raw("DELETE", h+"/changes/?processed_only=False", ""); a.status != 204 {
		t.Errorf("delete all: %d %s", a.status, a.body)
	}
	for _, wrong := range []string{"99", "x", "-1", "1e3"} {
		if a := s.raw("GET", h+"/changes/"+wrong, ""); a.status != 404 {
			t.Errorf("change %s: %d %s", wrong, a.status, a.body)
		}
	}
}

func jsonNumber(n int) string {
	b, _ := json.Marshal(n) //nolint:errchkjson // a number
	return string(b)
}

func TestContentsAreBytes(t *testing.T) {
	s := newSite(t).furnish()
	content := make([]byte, 700<<10) // more than one commit holds, and not text
	for i := range content {
		content[i] = byte(i * i >> 3)
	}
	op := client.Op{Name: "files.content.set", Level: "application", Params: map[string]string{"org": "acme", "app": "web", "file": "site.conf"}}
	if err := s.admin.Upload(t.Context(), op, "x", content); err != nil {
		t.Fatalf("upload: %v", err)
	}
	a := s.raw("GET", "/organizations/acme/applications/web/files/site.conf/content", "")
	if a.status != 200 || a.body != string(content) || a.header.Get("X-Content-Type-Options") != "nosniff" ||
		a.header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("download: %d, %d bytes, %v", a.status, len(a.body), a.header)
	}
}

func TestThumb(t *testing.T) {
	s := newSite(t).furnish()
	op := client.Op{Name: "thumb.set", Level: "application", Params: map[string]string{"org": "acme", "app": "web"}}
	if err := s.admin.Upload(t.Context(), op, "x.png", []byte("\x89PNG")); err != nil {
		t.Fatalf("upload: %v", err)
	}
	if a := s.raw("GET", "/organizations/acme/applications/web/thumb", ""); a.status != 200 || a.body != "\x89PNG" {
		t.Errorf("thumb: %d %q", a.status, a.body)
	}
}

func TestWhatIsNotBuiltNamesItself(t *testing.T) {
	s := newSite(t)
	seen := 0
	for _, r := range spec.Routes() {
		if r.State != spec.Planned {
			continue
		}
		seen++
		a := s.raw(r.Method, strings.NewReplacer("{", "", "}", "").Replace(r.Pattern), `{}`)
		if a.status != http.StatusNotImplemented || !strings.Contains(a.errors(t), strings.Replace(r.Name, ".rename", ".update", 1)+" is not built yet: "+r.Method) {
			t.Errorf("%s %s: %d %s", r.Method, r.Pattern, a.status, a.body)
		}
	}
	if seen < 50 {
		t.Errorf("only %d rows are not built: this test has lost its meaning", seen)
	}
}

func TestProblemDocument(t *testing.T) {
	s := newSite(t)
	a := s.raw("GET", "/organizations/x", "")
	var p map[string]any
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatalf("the error is not JSON: %v", err)
	}
	if a.header.Get("Content-Type") != spec.ContentTypeProblem || p["status"] != 404.0 || p["code"] != "not_found" ||
		p["title"] != "Not Found" || p["type"] != "about:blank" || p["requestId"] != a.header.Get(spec.HeaderRequestID) || p["requestId"] == "" {
		t.Errorf("problem: %v, header %v", p, a.header)
	}
	a = s.raw("POST", "/organizations/x", "{}")
	if a.status != 405 || a.header.Get("Allow") != "DELETE, GET, PUT" {
		t.Errorf("a wrong method: %d, Allow %q", a.status, a.header.Get("Allow"))
	}
	if a := s.raw("HEAD", "/organizations/", ""); a.status != 200 || a.body != "" {
		t.Errorf("HEAD: %d %q", a.status, a.body)
	}
	if a := s.raw("GET", "/../apix/organizations", ""); a.status != 404 {
		t.Errorf("outside the root: %d %s", a.status, a.body)
	}
}
