package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/api"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// deletes does the leader's duty until the test ends.
func (s *site) deletes() {
	s.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	over := make(chan struct{})
	s.t.Cleanup(func() { stop(); <-over })
	go func() {
		defer close(over)
		err := orchestrate.NewDeleter(s.db).Work(ctx, func(ctx context.Context) error {
			ws := state.NewWatchSet()
			if orchestrate.GoingPending(s.db.Local().Watched(ws)) {
				return ctx.Err()
			}
			return ws.Wait(ctx)
		})
		if err != nil && ctx.Err() == nil {
			s.t.Error(err)
		}
	}()
}

// until waits until something is so.
func (s *site) until(what string, so func(r state.Reader) bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	for {
		ws := state.NewWatchSet()
		if so(s.db.Local().Watched(ws)) {
			return
		}
		if err := ws.Wait(ctx); err != nil {
			s.t.Fatalf("waiting for %s: %v", what, err)
		}
	}
}

// going waits until something is marked as being deleted, over until nothing is any more.
func (s *site) going() { s.t.Helper(); s.until("the mark of a deletion", orchestrate.GoingPending) }

func (s *site) over() {
	s.t.Helper()
	s.until("the end of deletions", func(r state.Reader) bool { return !orchestrate.GoingPending(r) })
}

func (s *site) orgID(name string) string {
	s.t.Helper()
	o, err := orchestrate.OrganizationByName(s.db.Local(), name)
	if err != nil {
		s.t.Fatal(err)
	}
	return o.ID
}

// crowd makes an environment of so many DEFINED hosts.
func (s *site) crowd(org, env string, hosts int) {
	s.t.Helper()
	s.play([]exchange{{"POST", "/organizations/" + org + "/environments/", `{"name": "` + env + `"}`, 201, ""}})
	for from := 0; from < hosts; from += 100 {
		s.update(func(tx *state.Tx) error {
			o, err := orchestrate.OrganizationByName(tx, org)
			if err != nil {
				return err
			}
			e, err := orchestrate.EnvironmentByName(tx, o.ID, env)
			for i := from; i < min(from+100, hosts) && err == nil; i++ {
				_, err = orchestrate.CreateHost(tx, o.ID, e.ID, model.Host{Name: fmt.Sprintf("h%05d", i)})
			}
			return err
		})
	}
}

// TestDeletingManyHosts: an environment, and then an organization, goes with 5,000 DEFINED hosts; not while one has an instance; a dry
// run tells so and deletes nothing; and a tag that does not match anything keeps all.
func TestDeletingManyHosts(t *testing.T) {
	s := newSite(t).furnish()
	s.deletes()
	const many = 5000
	s.crowd("acme", "Big", many)
	big := inAcme + "/environments/Big"
	hosts := func() int {
		r := s.db.Local()
		o, err := orchestrate.OrganizationByName(r, "acme")
		if err != nil {
			return 0
		}
		return len(state.Keys[model.HostRow](r, model.HostsOfOrganization(o.ID)))
	}
	all := hosts()
	var hostID string
	s.update(func(tx *state.Tx) error {
		o, err := orchestrate.OrganizationByName(tx, "acme")
		if err != nil {
			return err
		}
		e, err := orchestrate.EnvironmentByName(tx, o.ID, "Big")
		if err != nil {
			return err
		}
		h, err := orchestrate.HostByName(tx, o.ID, e.ID, "h04999")
		if err != nil {
			return err
		}
		hostID = h.ID
		return state.Put(tx, &model.InstanceRow{ID: "I", OrgID: o.ID, HostID: h.ID, State: model.InstanceRunning})
	})
	s.play([]exchange{
		{"DELETE", big, "", 409, "Big/h04999"},
		{"DELETE", big + "?dry_run=true", "", 409, "with an instance"},
	})
	if n := hosts(); n != all {
		t.Fatalf("a refused deletion took %d hosts", all-n)
	}
	s.update(func(tx *state.Tx) error { state.Delete[model.InstanceRow](tx, hostID); return nil })
	if a := s.raw("DELETE", big, "", "If-Match", `"1-00"`); a.status != http.StatusPreconditionFailed {
		t.Errorf("with a tag of something else: %d", a.status)
	}
	s.play([]exchange{{"DELETE", big + "?dry_run=true", "", 200, `"kind":"host.deleted","count":5000`}})
	if n := hosts(); n != all {
		t.Fatalf("a dry run took %d hosts", all-n)
	}
	s.play([]exchange{{"DELETE", big, "", 204, ""}, {"GET", big, "", 404, ""}, {"DELETE", big, "", 404, ""}})
	if n := hosts(); n != all-many {
		t.Errorf("%d hosts are left of %d", n, all-many)
	}
	s.play([]exchange{{"POST", "/organizations/", `{"name": "crowd"}`, 201, ""}})
	s.crowd("crowd", "Big", 600)
	s.play([]exchange{{"DELETE", "/organizations/crowd", "", 204, ""}, {"GET", "/organizations/crowd", "", 404, ""}})
}

// TestAnEnvironmentThatGoes is not there from the beginning: nothing leads to it or into it, and another one may have its name, which is left
// alone.
func TestAnEnvironmentThatGoes(t *testing.T) {
	s := newSite(t).furnish()
	s.crowd("acme", "Big", 300)
	big := inAcme + "/environments/Big"
	var token struct{ ID string }
	if err := json.Unmarshal([]byte(s.raw("POST", big+"/enroltokens/", `{}`).body), &token); err != nil || token.ID == "" {
		t.Fatalf("a token %q: %v", token.ID, err)
	}
	s.play([]exchange{{"POST", inAcme + "/hostgroups/", `{"name": "some", "hosts": [{"environment": "Big", "host": "h00001"}, {"environment": "Dev", "host": "web1"}]}`, 201, ""}})
	got := s.later("DELETE", big, "")
	s.going()
	if rec := s.lastOf("acme"); rec.Action != "environments.delete" || len(rec.Changes) != 1 || rec.Changes[0].Action != "deleted" || len(rec.Changes[0].Fields) == 0 {
		t.Errorf("it is recorded as %+v", rec)
	}
	s.play([]exchange{
		{"GET", big, "", 404, ""},
		{"DELETE", big, "", 404, ""},
		{"GET", big + "/hosts/h00001", "", 404, ""},
		{"POST", big + "/hosts/", `{"name": "late"}`, 404, ""},
		{"PUT", web1, `{"environment": "Big"}`, 400, ""},
		{"GET", inAcme + "/hostgroups/some", "", 200, `"hosts":[{"position":1,`},
	})
	for _, path := range []string{inAcme, inAcme + "/environments/", inAcme + "/groups/tree"} {
		if a := s.raw("GET", path, ""); a.status != 200 || strings.Contains(a.body, "Big") {
			t.Errorf("%s tells of what goes: %d %s", path, a.status, a.body)
		}
	}
	err := s.db.Update(t.Context(), func(tx *state.Tx) error {
		_, err := orchestrate.Enrol(tx, orchestrate.Enrolment{TokenID: token.ID, AgentID: "A", Name: "h00002"})
		return err
	})
	if model.CodeOf(err) != model.NotFound {
		t.Errorf("a machine enrols in what goes: %v", err)
	}
	s.crowd("acme", "Big", 3) // another one
	s.deletes()
	if a := s.soon(got); a.status != http.StatusNoContent {
		t.Errorf("%d %s", a.status, a.body)
	}
	s.over()
	if left := s.rowsLeft(); left["host"] != 4 || left["environment"] != 2 || left["enroltoken"] != 0 {
		t.Errorf("left are %v", left)
	}
	s.play([]exchange{{"GET", big, "", 200, `"hosts":["h00000","h00001","h00002"]`}, {"GET", inAcme + "/hostgroups/some", "", 200, `"host":"web1"`}})
}

// TestAnOrganizationThatGoes has something in every table, and is not there from the beginning. At the end nothing is left of it, and all of
// another one of the same name.
func TestAnOrganizationThatGoes(t *testing.T) {
	s := newSite(t).furnish().furnishMore()
	s.furnishMost("acme", "Dev", "web1", "web")
	s.crowd("acme", "Big", 300)
	s.user("olga", "admin", "acme")
	var key struct{ Token string }
	if err := json.Unmarshal([]byte(s.raw("POST", inAcme+"/applicationkeys/", `{"name": "own", "method": "TOKEN", "group": "admin"}`).body), &key); err != nil || key.Token == "" {
		t.Fatalf("a key: %v", err)
	}
	s.play([]exchange{
		{"POST", inAcme + "/jobs/", `{"name": "nightly", "action": "STOP_HOST", "input": "organizations/acme/environments/Dev/hosts/web1"}`, 201, ""},
		{"PUT", "/quotas/acme", `{"hosts": 400}`, 200, ""},
		{"DELETE", inAcme, "", 409, "Dev/web1"},
		{"DELETE", web1 + "/instance", "", 204, ""},
	})
	if a := s.raw("GET", "/organizations/", "", "Authorization", "", spec.HeaderAppKey, key.Token); a.status != http.StatusOK {
		t.Fatalf("the key: %d %s", a.status, a.body)
	}
	org := s.orgID("acme")
	had := s.rowsLeft()
	for _, table := range []string{"organization", "environment", "host", "application", "context", "setting", "group", "applicationkey", "platform", "distribution",
		"platformcontext", "distributioncontext", "hostgroup", "orchestration", "webhook", "notification", "rpmmodule", "git", "job", "quota", "changecounter", "orgkey"} {
		if had[table] == 0 {
			t.Errorf("the organization has nothing in %s, of %v", table, had)
		}
	}
	got := s.later("DELETE", inAcme, "")
	s.going()
	for _, path := range []string{"", "/environments/", "/environments/Big", "/environments/Dev/hosts/web1", "/settings/", "/applications/web", "/events", "/audit", "/export", "/jobs/"} {
		s.play([]exchange{{"GET", inAcme + path, "", 404, ""}})
	}
	s.play([]exchange{
		{"DELETE", inAcme, "", 404, ""},
		{"POST", inAcme + "/environments/", `{"name": "late"}`, 404, ""},
		{"PUT", "/quotas/acme", `{"hosts": 4}`, 404, ""},
		{"GET", "/organizations/", "", 200, `"count":0`},
	})
	if a := s.raw("GET", "/organizations/", "", "Authorization", "", spec.HeaderAppKey, key.Token); a.status != http.StatusUnauthorized {
		t.Errorf("a key of what goes: %d %s", a.status, a.body)
	}
	due, next := orchestrate.DueJobs(s.db.Local(), s.db.Local().Now())
	if len(due) > 0 || !next.IsZero() {
		t.Errorf("jobs %v are due of what goes", due)
	}
	s.play([]exchange{{"POST", "/organizations/", `{"name": "acme"}`, 201, ""}}) // another one
	s.crowd("acme", "Big", 3)
	s.deletes()
	if a := s.soon(got); a.status != http.StatusNoContent {
		t.Errorf("%d %s", a.status, a.body)
	}
	s.over()
	if err := state.Rows(s.db.Local(), func(r state.RawRow) error {
		if !strings.HasPrefix(r.Table, "_") && strings.Contains(fmt.Sprint(r.Key, r.Ranges, string(r.Value)), org) || r.Table == "_datakey" && r.Key == org {
			t.Errorf("a row of %s is left: %s %v %s", r.Table, r.Key, r.Ranges, r.Value)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"organization": 1, "environment": 1, "host": 3, "orgkey": 1, "group": 1}
	if left := s.rowsLeft(); !maps.Equal(left, want) {
		t.Errorf("left are %v, want %v", left, want)
	}
	s.play([]exchange{{"GET", inAcme + "/environments/Big", "", 200, `"hosts":["h00000","h00001","h00002"]`}})
}

// TestADeletionTooLargeForACommit has few hosts, but so much on them that a commit does not hold it: it is left to the leader, too.
func TestADeletionTooLargeForACommit(t *testing.T) {
	s := newSite(t).furnish()
	s.crowd("acme", "Full", 100)
	s.play([]exchange{{"DELETE", web1 + "/instance", "", 204, ""}})
	org := s.orgID("acme")
	hosts := state.List[model.HostRow](s.db.Local(), model.HostsOfOrganization(org))
	for from := 0; from < len(hosts); from += 10 {
		s.update(func(tx *state.Tx) error {
			for _, h := range hosts[from:min(from+10, len(hosts))] {
				for i := range 40 {
					k := model.Setting{Key: fmt.Sprintf("key%d", i), Value: json.RawMessage("1")}
					if _, err := orchestrate.CreateSetting(tx, orchestrate.OwnerOfHost(h), k, orchestrate.Trigger{}); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	err := s.db.Update(t.Context(), func(tx *state.Tx) error { return orchestrate.DeleteOrganization(tx, org) })
	if model.CodeOf(err) != model.TooLarge {
		t.Fatalf("all in one commit: %v", err)
	}
	s.deletes()
	s.play([]exchange{
		{"DELETE", inAcme + "?dry_run=true", "", 200, `"kind":"setting.deleted","count":4`},
		{"DELETE", inAcme, "", 204, ""},
		{"GET", inAcme, "", 404, ""},
	})
	if left := s.rowsLeft(); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
}

// TestADeletionThatGoesOn is answered before its end, as it would be then, and says so.
func TestADeletionThatGoesOn(t *testing.T) {
	s := newSite(t, func(c *api.Config) { c.Timeout = 4 * time.Second }).furnish()
	s.crowd("acme", "Big", 300)
	a := s.raw("DELETE", inAcme+"/environments/Big", "") // nobody does the leader's duty
	if a.status != http.StatusNoContent || a.header.Get(spec.HeaderDeleting) != "under way" {
		t.Errorf("%d %s, %v", a.status, a.body, a.header)
	}
	if !orchestrate.GoingPending(s.db.Local()) {
		t.Error("it is over, although nobody deleted")
	}
	s.deletes()
	s.over()
	if a := s.raw("DELETE", inAcme+"/environments/Dev/hosts/web1/applications/web", ""); a.header.Get(spec.HeaderDeleting) != "" {
		t.Errorf("another deletion has the header: %v", a.header)
	}
}
