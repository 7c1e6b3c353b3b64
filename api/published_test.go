package api_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

const web1 = "/organizations/acme/environments/Dev/hosts/web1"

// exchange is one request as the published client sends it, and what it needs of the answer.
type exchange struct {
	method, path, body string
	status             int
	want               string // what the answer holds; "" for nothing in particular
}

func (s *site) play(exchanges []exchange) {
	s.t.Helper()
	for _, e := range exchanges {
		a := s.raw(e.method, e.path, e.body)
		if a.status != e.status || !strings.Contains(a.body, e.want) {
			s.t.Errorf("%s %s %s:\n%d %s\nwant %d with %s", e.method, e.path, e.body, a.status, a.body, e.status, e.want)
		}
	}
}

// hosts compliance list, show, delete, delete-all, rebuild: the client makes each identifier from the type, and
// breaks off at a seventh type; of a file it prints owner, group and mode only when "present" is true.
func TestPublishedCompliance(t *testing.T) {
	s := newSite(t).furnish()
	s.play([]exchange{
		{"PUT", "/organizations/acme/applications/web", `{"directories": [{"name": "site dir", "path": "/srv/site", "mode": "755"}]}`, 200, "site dir"},
		{"POST", web1 + "/applications/", `{"application": "web"}`, 201, ""},
	})
	s.update(func(tx *state.Tx) error {
		o, err := orchestrate.OrganizationByName(tx, "acme")
		if err != nil {
			return err
		}
		e, err := orchestrate.EnvironmentByName(tx, o.ID, "Dev")
		if err != nil {
			return err
		}
		host, err := orchestrate.HostByName(tx, o.ID, e.ID, "web1")
		if err != nil {
			return err
		}
		for typ, name := range map[string]string{"files": "site.conf", "directories": "site dir", "services": "nginx", "packages": "nginx"} {
			diff := map[string]string{"services": `{"running":%}`, "packages": `{"installed":%}`}[typ]
			if diff == "" {
				diff = `{"present":%}`
			}
			expected, observed := strings.Replace(diff, "%", "true", 1), strings.Replace(diff, "%", "false", 1)
			origin := model.Origin{Application: "web", Type: typ, Name: name}
			if err := orchestrate.PutCompliance(tx, host.ID, origin, json.RawMessage(expected), json.RawMessage(observed)); err != nil {
				return err
			}
		}
		return nil
	})
	var list struct {
		Count int
		Items []model.ComplianceError
	}
	if err := json.Unmarshal([]byte(s.raw("GET", web1+"/compliance/", "").body), &list); err != nil || list.Count != 4 {
		t.Fatalf("list: %+v %v", list, err)
	}
	collections := map[string]string{"serviceResource": "services", "fileResource": "files", "packageResource": "packages"}
	for _, e := range list.Items {
		if collections[e.Type] == "" {
			t.Errorf("the client does not know the type %s", e.Type)
		}
		id := web1 + "/compliance/applications/web/" + collections[e.Type] + "/" + strings.ReplaceAll(e.Name, " ", "%20")
		s.play([]exchange{
			{"GET", id + "?secret_only=False&no_secret=False&obfuscate=False", "", 200, `"name":"` + e.Name + `"`},
			{"DELETE", id, "", 204, ""},
			{"GET", id, "", 404, "no compliance error"},
			{"DELETE", id, "", 404, "no compliance error"},
		})
	}
	s.play([]exchange{
		{"GET", web1 + "/compliance/", "", 200, `{"count":0,"items":[]}`},
		{"DELETE", web1 + "/compliance/", "", 204, ""},
		{"PUT", web1 + "/compliance/_rebuild", "", 200, ""},
	})
}

// applications and organizations import: the documents are those of an export from another server, and carry what
// belongs to it; embedded lists make the parts, as nothing sends them again.
func TestPublishedImport(t *testing.T) {
	s := newSite(t).furnish()
	theirs := `"uuid": "0123456789ABCDEF0123456789ABCDEF", "version": 9, "organization": "elsewhere"`
	s.play([]exchange{
		{"GET", "/organizations/new", "", 404, `{"error":["`},
		{"POST", "/organizations/?populate=false", `{"name": "new", ` + theirs + `, "access": {"accessKey": "A", "secretKey": "S"}, "environments": ["Prod"],
			"groups": ["admin"], "settings": [{` + theirs + `, "key": "k", "value": null, "schema": {"secret": true}}]}`, 201, `"environments":[]`},
		{"GET", "/organizations/new/settings/k?secret_only=False&no_secret=False&obfuscate=False", "", 200, `"version":1,"key":"k","value":null`},
		{"GET", "/organizations/new/applications/web", "", 404, ""},
		{"POST", "/organizations/new/applications/", `{` + theirs + `, "locked": true, "canPull": true, ` + webApplication[1:], 201, `"locked":false`},
		{"GET", "/organizations/new/applications/web/files/site.conf", "", 200, `"name":"site.conf"`},
		{"GET", "/organizations/new/applications/web/files/site.conf/content", "", 200, ""},
		{"GET", "/organizations/new/applications/web/parameters/Listen%20port", "", 200, `"key":"port"`},
		{"POST", "/organizations/new/environments/", `{"name": "Prod", ` + theirs + `, "hosts": ["h 1"], "settings": [{"key": "port", "value": 81}]}`, 201, `"hosts":[]`},
		{"POST", "/organizations/new/environments/Prod/hosts/", `{"name": "h 1", ` + theirs + `, "environment": "Else", "state": "READY", "settings": [{"key": "c", "value": [1]}]}`,
			201, `"environment":"Prod"`},
		{"GET", "/organizations/new/environments/Prod/hosts/h%201", "", 200, `"state":"DEFINED"`},
		{"POST", "/organizations/new/environments/Prod/hosts/h%201/applications/", `{"application": "web", ` + theirs + `, "environment": "Else", "host": "x",
			"enabled": "true", "services": [{"name": "nginx", "enabled": false}], "settings": [{"key": "port", "value": "82"}]}`, 201, `"host":"h 1"`},
		{"GET", "/organizations/new/environments/Prod/hosts/h%201/applications/web/settings/port", "", 200, `"value":"82"`},
		{"GET", "/organizations/new/environments/Prod/hosts/", "", 200, `"applications":["web"]`},
	})
	if a := s.raw("GET", "/organizations/new", ""); strings.Contains(a.body, "0123456789ABCDEF") || strings.Contains(a.body, `"accessKey":"A"`) {
		t.Errorf("the new organization has what belongs to the other: %s", a.body)
	}
}

// update with another name: the client first puts the new name to the address with a final slash, then the document
// to the new address; everything below follows.
func TestPublishedRename(t *testing.T) {
	s := newSite(t).furnish()
	app := "/organizations/acme/applications/"
	s.play([]exchange{
		{"POST", web1 + "/applications/", `{"application": "web", "settings": [{"key": "port", "value": "81"}]}`, 201, ""},
		{"PUT", app + "web/", `{"name": "Web (2)", "description": "old"}`, 200, `"name":"Web (2)"`},
		{"PUT", app + "Web%20%282%29?force=False", `{"name": "Web (2)", "description": "new"}`, 200, `"description":"new"`},
		{"GET", app + "web", "", 404, ""},
		{"GET", app + "Web%20%282%29/files/site.conf/content", "", 200, "listen ${port};\n"},
		{"PUT", app + "Web%20%282%29/files/site.conf/", `{"name": "[site].conf", "path": "/etc/nginx/site.conf"}`, 200, "[site].conf"},
		{"GET", app + "Web%20%282%29", "", 200, `"resource":"file://[site].conf"`},
		{"GET", web1, "", 200, `"applications":["Web (2)"]`},
		{"PUT", web1 + "/", `{"name": "web.2"}`, 200, `"name":"web.2"`},
		{"PUT", "/organizations/acme/environments/Dev/", `{"name": "Dev 2"}`, 200, `"hosts":["web.2"]`},
		{"PUT", "/organizations/acme/", `{"name": "acme 2"}`, 200, `"environments":["Dev 2"]`},
		{"GET", "/organizations/acme%202/environments/Dev%202/hosts/web.2/applications/Web%20%282%29/files/%5Bsite%5D.conf", "", 200, "listen 81;\n"},
		{"GET", "/organizations/acme%202/environments/Dev%202/hosts/web.2/instance/", "", 200, `"host":"web.2"`},
		{"GET", "/organizations/acme", "", 404, ""},
	})
}

// Uploads of the client wait for "100 Continue": one that is too large gets its error and not the go-ahead.
func TestPublishedLargeUpload(t *testing.T) {
	s := newSite(t).furnish()
	address := strings.TrimSuffix(strings.TrimPrefix(s.url, "http://"), "/api")
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // a test's
	if err := conn.SetDeadline(time.Now().Add(60 * time.Second)); err != nil {
		t.Fatal(err)
	}
	head := "POST /api/organizations/acme/applications/web/files/site.conf/content HTTP/1.1\r\nHost: " + address +
		"\r\nAuthorization: Basic " + base64.StdEncoding.EncodeToString([]byte("admin:"+adminPassword)) + "\r\nAccept: */*\r\nContent-Length: 20000000\r\n" +
		"Content-Type: multipart/form-data; boundary=B\r\nExpect: 100-continue\r\n\r\n"
	if _, err := conn.Write([]byte(head)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(string(b), `larger than 8388608 bytes: it has 20000000`) {
		t.Errorf("%d %s %v", resp.StatusCode, b, err)
	}
	s.play([]exchange{{"GET", "/organizations/acme/applications/web/files/site.conf/content", "", 200, "listen ${port};\n"}})
}
