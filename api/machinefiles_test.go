package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/muster-hq/muster/api"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// fakeAgents are machines with the same few files, which tell them in parts of ten bytes.
type fakeAgents struct {
	mu    sync.Mutex
	files map[string]string
	tag   func(offset int64) string
	err   error
	asked int
	while func() // runs within each question
}

func (f *fakeAgents) ReadFile(ctx context.Context, _, path string, offset int64) (api.FilePart, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if _, ok := ctx.Deadline(); !ok {
		return api.FilePart{}, fmt.Errorf("a question without a deadline")
	}
	if f.while != nil {
		f.while()
	}
	text, ok := f.files[path]
	switch {
	case f.err != nil:
		return api.FilePart{}, f.err
	case !ok:
		return api.FilePart{}, model.Errorf(model.NotFound, "the agent says: there is no %s", path)
	}
	rest := text[min(int(offset), len(text)):]
	part := api.FilePart{Data: []byte(rest[:min(10, len(rest))]), Size: int64(len(text)), End: len(rest) <= 10, Tag: "t"}
	if f.tag != nil {
		part.Tag = f.tag(offset)
	}
	return part, nil
}

func (f *fakeAgents) Sensor(_ context.Context, _, collection, name string) (json.RawMessage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	switch {
	case f.err != nil:
		return nil, f.err
	case collection == "files":
		return json.RawMessage(`{"present":true,"digest":"abc"}`), nil
	case collection != "hosts":
		return nil, model.Errorf(model.NotFound, "the agent says: this agent has no collection %q", collection)
	}
	return json.RawMessage(`12.5`), nil
}

func withAgents(f *fakeAgents) func(*api.Config) { return func(c *api.Config) { c.Agents = f } }

// readings are the audit records of files that were read.
func (s *site) readings() (out []string) {
	s.t.Helper()
	a := s.raw("GET", inAcme+"/audit/?action=host.instance.files.show&read=true", "")
	var list struct {
		Items []struct{ Object, Username, Message string }
	}
	if err := json.Unmarshal([]byte(a.body), &list); err != nil {
		s.t.Fatal(err)
	}
	for _, i := range list.Items {
		out = append(out, i.Username+" "+i.Object)
	}
	return out
}

func TestFilesOfMachines(t *testing.T) {
	agents := &fakeAgents{files: map[string]string{"/etc/motd": "hello", "/etc/long": strings.Repeat("0123456789", 7) + "end", "/etc/a b%": "x", "/etc/empty": ""}}
	s := newSite(t, withAgents(agents)).furnish()
	at := web1 + "/instance/files?path="
	s.play([]exchange{
		{"GET", at + "/etc/motd", "", 200, "hello"},
		{"GET", at + "/etc/long", "", 200, agents.files["/etc/long"]},
		{"GET", at + url.QueryEscape("/etc/a b%"), "", 200, "x"},
		{"GET", at + "/etc/empty", "", 200, ""},
		{"GET", at + "/etc/none", "", 404, "there is no /etc/none"},
		{"GET", at + "etc/motd", "", 400, "does not begin with /"},
		{"GET", at + "/etc/../etc/motd", "", 400, "without . and .."},
		{"GET", at + "/etc/motd%00", "", 400, "NUL"},
		{"GET", at + "/%ff", "", 400, "UTF-8"},
		{"GET", at + "/" + strings.Repeat("x", 4095), "", 400, "no path has more than 4095"},
		{"GET", web1 + "/instance/files", "", 400, "give the absolute path"},
		{"GET", at + "/etc/motd&wait=1s&index=1", "", 400, "leave them out"},
	})
	a := s.raw("GET", at+"/etc/motd", "")
	if a.header.Get("Content-Type") != "application/octet-stream" || a.header.Get("Content-Disposition") != "attachment" || a.header.Get("ETag") != "" {
		t.Errorf("a file of a machine is shown as %v", a.header)
	}
	got := strings.Join(s.readings(), "\n")
	for _, path := range []string{"/etc/motd", "/etc/long", "/etc/empty"} {
		if want := "admin organizations/acme/environments/Dev/hosts/web1/instance/files" + path; strings.Count(got+"\n", want+"\n") != 1 {
			t.Errorf("the record of %s: %s", path, got)
		}
	}
	if strings.Contains(got, "none") {
		t.Errorf("what was not read is recorded: %s", got)
	}
}

func TestCancelChanges(t *testing.T) {
	s := newSite(t).furnish()
	w := web1 + "/applications/web/"
	s.play([]exchange{
		{"POST", web1 + "/applications/", `{"application": "web"}`, 201, ""},
		{"PUT", w + "services/nginx/_restart", "", 200, ""},
		{"PUT", web1 + "/changes/1/_cancel?dry_run=true", "", 200, `"dryRun":true`},
		{"GET", web1 + "/changes/1", "", 200, `"done":false`},
		{"PUT", web1 + "/changes/1/_cancel", "", 200, `"cancelled: it was not begun"`},
		{"GET", web1 + "/changes/1", "", 200, `"done":true`},
		{"PUT", web1 + "/changes/1/_cancel", "", 409, "processed already"},
		{"PUT", web1 + "/changes/9/_cancel", "", 404, "no change 9"},
		{"PUT", web1 + "/changes/x/_cancel", "", 404, "changes have numbers"},
		{"PUT", web1 + "/changes/1/_retry", "", 200, `"orderNum":2`},
		{"DELETE", web1 + "/changes/1", "", 204, ""},
	})
}

// Who sees no secrets reads no files; who reads, sees sensors, but no digest of what it may not read.
func TestWhoReadsFilesOfMachines(t *testing.T) {
	agents := &fakeAgents{files: map[string]string{"/f": "content"}}
	s := newSite(t, withAgents(agents)).furnish()
	for group, may := range map[string]bool{"admin": true, "users": true, "auditors": false, "architects": false, "readonly": false} {
		user := "u-" + group
		s.user(user, group, "acme")
		a := s.raw("GET", web1+"/instance/files?path=/f", "", "Authorization", basicAuth(user, user+"-password"))
		if want := map[bool]int{true: 200, false: 403}[may]; a.status != want {
			t.Errorf("%s: %d %s, want %d", group, a.status, a.body, want)
		}
		a = s.raw("GET", web1+"/instance/status/files/%2Ff", "", "Authorization", basicAuth(user, user+"-password"))
		if a.status != 200 || strings.Contains(a.body, "digest") != may || !strings.Contains(a.body, `{"status":{"/f":{`) {
			t.Errorf("%s: sensor %d %s", group, a.status, a.body)
		}
	}
}

func TestSensorsOfMachines(t *testing.T) {
	agents := &fakeAgents{}
	s := newSite(t, withAgents(agents)).furnish()
	s.play([]exchange{
		{"GET", web1 + "/instance/status/hosts/cpu", "", 200, `{"status":{"cpu":12.5}}`},
		{"GET", web1 + "/instance/status/nothing/x", "", 404, `no collection`},
		{"POST", inAcme + "/environments/Dev/hosts/", `{"name": "bare"}`, 201, ""},
		{"GET", inAcme + "/environments/Dev/hosts/bare/instance/status/hosts/cpu", "", 404, "has no instance"},
		{"GET", inAcme + "/environments/Dev/hosts/bare/instance/files?path=/f", "", 404, "has no instance"},
	})
	agents.err = model.Errorf(model.Conflict, "the agent of the host is down")
	s.play([]exchange{
		{"GET", web1 + "/instance/status/hosts/cpu", "", 409, `is down`},
		{"GET", web1 + "/instance/files?path=/f", "", 409, `is down`},
	})
	plain := newSite(t).furnish()
	plain.play([]exchange{{"GET", web1 + "/instance/status/hosts/cpu", "", 501, "not built"}})
}

// What changes while the machine is asked counts: a file that is replaced, one that is too large, rights that end.
func TestFilesThatChangeWhileTheyAreRead(t *testing.T) {
	agents := &fakeAgents{files: map[string]string{"/f": strings.Repeat("x", 25), "/large": strings.Repeat("x", 101)}}
	s := newSite(t, withAgents(agents), func(c *api.Config) { c.MaxContent = 100 }).furnish()
	s.user("ann", "users", "acme")
	s.play([]exchange{{"GET", web1 + "/instance/files?path=/large", "", 413, "more than 100 bytes"}})
	if agents.asked != 1 {
		t.Errorf("a file that is too large was asked for %d times", agents.asked)
	}
	agents.tag = func(offset int64) string { return fmt.Sprint(offset / 20) }
	s.play([]exchange{{"GET", web1 + "/instance/files?path=/f", "", 409, "was replaced while it was read"}})
	agents.tag = nil
	agents.while = func() {
		agents.while = nil
		s.update(func(tx *state.Tx) error {
			org, err := orchestrate.OrganizationByName(tx, "acme")
			if err != nil {
				return err
			}
			_, err = orchestrate.UpdateGroup(tx, orchestrate.OwnerOfOrganization(org), "users", json.RawMessage(`{"users": []}`))
			return err
		})
	}
	if a := s.raw("GET", web1+"/instance/files?path=/f", "", "Authorization", basicAuth("ann", "ann-password")); a.status != http.StatusNotFound {
		t.Errorf("somebody who left meanwhile: %d %s", a.status, a.body)
	}
	if got := s.readings(); len(got) != 0 {
		t.Errorf("what nobody was shown is recorded: %v", got)
	}
}
