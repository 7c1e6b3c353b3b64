package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// finish ends all open changes once there are n, as agents would.
func (s *site) finish(n int, status model.TaskStatus) (over chan struct{}) {
	over = make(chan struct{})
	go func() {
		defer close(over)
		for {
			ws := state.NewWatchSet()
			open := state.List[model.Change](s.db.Local().Watched(ws), model.OpenChanges)
			if len(open) < n {
				if ws.Wait(s.t.Context()) != nil {
					return
				}
				continue
			}
			err := s.db.Update(s.t.Context(), func(tx *state.Tx) error {
				for _, o := range open {
					c, ok := state.Edit[model.Change](tx, o.ID)
					if !ok {
						continue
					}
					for i := range c.Tasks {
						c.Tasks[i].Status = status
						if status == model.TaskError {
							c.Tasks[i].Error = "no"
						}
					}
					c.Done = true
					if err := state.Put(tx, c); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				s.t.Error(err)
			}
			return
		}
	}()
	return over
}

func (s *site) changes(method, path, body string, status int, want string) {
	s.t.Helper()
	a := s.raw(method, path, body)
	if got := a.header.Get("X-Muster-Changes"); a.status != status || got != want {
		s.t.Errorf("%s %s: %d %q %s; want %d %q", method, path, a.status, got, a.body, status, want)
	}
}

// What a write causes can be followed behind its answer, and a write that is sent again waits as the first would have.
func TestFollowingWhatAWriteCauses(t *testing.T) {
	s := newSite(t).furnish()
	a := s.raw("POST", web1+"/applications/", `{"application": "web"}`)
	plans := inAcme + "/plans/"
	at := plans + a.header.Get(spec.HeaderPlan)
	s.play([]exchange{{"GET", at, "", 200, `{"processed":0,"failed":0,"pending":1,"failures":[]}`}})
	<-s.finish(1, model.TaskError)
	s.play([]exchange{
		{"GET", at, "", 200, `{"processed":1,"failed":1,"pending":0,"failures":[{"environment":"Dev","host":"web1","orderNum":0,`},
		{"GET", plans + "x", "", 404, "X-Muster-Plan"}, {"GET", plans + "c", "", 404, ""}, {"GET", plans + "i-1", "", 404, ""},
		{"GET", plans + strings.Repeat("c1.", 256) + "c1", "", 404, ""},
	})
	if got := s.raw("PUT", inAcme+"/environments/Dev", `{"description": "d"}`).header.Get(spec.HeaderPlan); got != "" {
		t.Errorf("a write that causes nothing tells %q", got)
	}
	// Sent again under its key, with the connection lost before: the plan is told, and it waits.
	restart, key := web1+"/applications/web/services/nginx/_restart?wait=60s", "0123456789abcdef"
	over := s.finish(1, model.TaskOK)
	first := s.raw("PUT", restart, "", "Idempotency-Key", key)
	<-over
	again := s.raw("PUT", restart, "", "Idempotency-Key", key)
	for name, want := range map[string]string{spec.HeaderChanges: "processed=1, failed=0, pending=0", spec.HeaderPlan: first.header.Get(spec.HeaderPlan)} {
		if got := again.header.Get(name); want == "" || got != want {
			t.Errorf("sent again: %s: %q, want %q", name, got, want)
		}
	}
	// Who may not read the host is told nothing of it; nor is another organization, which sees what it sees of what is not there.
	s.user("ann", "users", "acme")
	s.join("ann", model.GroupNoAccess, "acme/Dev/web1")
	if got := s.raw("GET", at, "", "Authorization", basicAuth("ann", "ann-password")); got.status != 404 {
		t.Errorf("a hidden host: %d %s", got.status, got.body)
	}
	s.play([]exchange{{"POST", "/organizations/", `{"name": "rival"}`, 201, ""}})
	foreign, absent := s.raw("GET", strings.Replace(at, "acme", "rival", 1), ""), s.raw("GET", "/organizations/rival/plans/c0", "")
	if foreign.status != absent.status || foreign.errors(t) != absent.errors(t) {
		t.Errorf("of another organization: %d %s; absent: %d %s", foreign.status, foreign.body, absent.status, absent.body)
	}
}

// The plan of a write that concerns many hosts is short, is waited for like any other, and is told again under its key.
func TestThePlanOfManyChanges(t *testing.T) {
	const n = 40
	s := newSite(t).furnish()
	s.play([]exchange{{"POST", web1 + "/applications/", `{"application": "web"}`, 201, ""}})
	s.update(func(tx *state.Tx) error {
		o, err := orchestrate.OrganizationByName(tx, "acme")
		if err != nil {
			return err
		}
		e, err := orchestrate.EnvironmentByName(tx, o.ID, "Dev")
		if err != nil {
			return err
		}
		for k := range n - 1 {
			h, err := orchestrate.AdoptHost(tx, o.ID, e.ID, fmt.Sprintf("many%d", k))
			if err != nil {
				return err
			}
			if _, err := orchestrate.InstallApplication(tx, o.ID, h.ID, model.ApplicationContext{Application: "web"}); err != nil {
				return err
			}
		}
		return nil
	})
	<-s.finish(n, model.TaskOK)
	over := s.finish(n, model.TaskOK)
	set := inAcme + "/environments/Dev/settings/?wait=60s&no_delete=true"
	a := s.raw("PUT", set, `{"newOrUpdatedSettings": [{"key": "port", "value": "81"}]}`, "Idempotency-Key", "0123456789abcdef")
	<-over
	plan := a.header.Get(spec.HeaderPlan)
	if got, want := a.header.Get(spec.HeaderChanges), fmt.Sprintf("processed=%d, failed=0, pending=0", n); got != want || plan == "" || len(plan) > 64 {
		t.Errorf("%d %q, want %q; plan %q", a.status, got, want, plan)
	}
	again := s.raw("PUT", set, `{"newOrUpdatedSettings": [{"key": "port", "value": "81"}]}`, "Idempotency-Key", "0123456789abcdef")
	if again.header.Get(spec.HeaderPlan) != plan || again.header.Get(spec.HeaderChanges) != a.header.Get(spec.HeaderChanges) {
		t.Errorf("sent again: %v", again.header)
	}
	s.play([]exchange{
		{"GET", inAcme + "/plans/" + plan, "", 200, fmt.Sprintf(`{"processed":%d,"failed":0,"pending":0,"failures":[]}`, n)},
		{"POST", "/organizations/", `{"name": "rival"}`, 201, ""},
		{"GET", "/organizations/rival/plans/" + plan, "", 404, "X-Muster-Plan"},
	})
}

// A write that waits is answered once what it causes is processed, and says how that ended; or when the wait is over.
func TestWritesThatWait(t *testing.T) {
	s := newSite(t).furnish()
	app := web1 + "/applications/web"
	s.play([]exchange{{"POST", web1 + "/applications/", `{"application": "web"}`, 201, ""}})
	<-s.finish(1, model.TaskOK)
	restart := app + "/services/nginx/_restart"
	s.changes("PUT", restart, "", 200, "")
	<-s.finish(1, model.TaskOK)
	s.changes("PUT", restart+"?wait=20ms", "", 200, "processed=0, failed=0, pending=1")
	<-s.finish(1, model.TaskOK)
	for _, wait := range []string{"60s", "", "True"} {
		over := s.finish(1, model.TaskOK)
		s.changes("PUT", restart+"?wait="+wait, "", 200, "processed=1, failed=0, pending=0")
		<-over
	}
	over := s.finish(1, model.TaskError)
	s.changes("PUT", inAcme+"/environments/Dev/settings/?wait=60s&no_delete=true", `{"newOrUpdatedSettings": [{"key": "port", "value": "81"}]}`, 200, "processed=1, failed=1, pending=0")
	<-over
	// Nothing to wait for.
	s.changes("POST", inAcme+"/environments/?wait=60s", `{"name": "Quiet"}`, 201, "processed=0, failed=0, pending=0")
	s.changes("DELETE", inAcme+"/environments/Quiet?wait=false", "", 204, "")
	before := s.db.Local().Index()
	for _, bad := range []string{"x", "-1s", "6m", "5"} {
		if a := s.raw("PUT", restart+"?wait="+bad, ""); a.status != http.StatusBadRequest || !strings.Contains(a.errors(t), "wait:") {
			t.Errorf("wait=%s: %d %s", bad, a.status, a.body)
		}
	}
	if after := s.db.Local().Index(); after != before {
		t.Error("a write with a wait that cannot be read was done")
	}
	// Hosts that the caller may not read are neither waited for nor counted.
	s.user("ann", "users", "acme")
	s.join("ann", model.GroupNoAccess, "acme/Dev/web1")
	a := s.raw("PUT", inAcme+"/environments/Dev/settings/?wait=60s&no_delete=true", `{"newOrUpdatedSettings": [{"key": "port", "value": "82"}]}`, "Authorization", basicAuth("ann", "ann-password"))
	if got := a.header.Get("X-Muster-Changes"); a.status != 200 || got != "processed=0, failed=0, pending=0" {
		t.Errorf("hidden hosts: %d %q", a.status, got)
	}
}
