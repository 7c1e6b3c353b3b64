package api_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

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
	s.play([]exchange{{"DELETE", big, "", 204, ""}, {"GET", big, "", 404, ""}})
	if n := hosts(); n != all-many {
		t.Errorf("%d hosts are left of %d", n, all-many)
	}
	s.play([]exchange{{"POST", "/organizations/", `{"name": "crowd"}`, 201, ""}})
	s.crowd("crowd", "Big", 600)
	s.play([]exchange{{"DELETE", "/organizations/crowd", "", 204, ""}, {"GET", "/organizations/crowd", "", 404, ""}})
}
