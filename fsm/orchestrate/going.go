package orchestrate

import (
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// hostsWithTheirs is how many hosts go in one transaction with what they belong to: a commit of that many fits.
const hostsWithTheirs = 200

// ManyHosts says whether an environment, or an organization where envID is "", has more hosts than go with it in one
// transaction.
func ManyHosts(r state.Reader, orgID, envID string) bool {
	return len(state.Keys[model.HostRow](r, hostsWithin(orgID, envID))) > hostsWithTheirs
}

func hostsWithin(orgID, envID string) string {
	if envID == "" {
		return model.HostsOfOrganization(orgID)
	}
	return model.HostsOf(envID)
}

// DropHosts deletes up to most hosts of an environment, or of an organization where envID is "", so that the rest can go with it in
// one transaction. That none of them all has an instance is looked at each time, as of the view; of those that go it is
// verified. It tells how many went. Errors: Conflict (InUse: hosts with an instance), NotFound.
func DropHosts(tx *state.Tx, orgID, envID string, most int) (int, error) {
	where, name := "organization", organizationName(tx, orgID)
	if envID != "" {
		e, err := environmentByID(tx, orgID, envID)
		if err != nil {
			return 0, err
		}
		where, name = "environment", e.Name
	}
	before := tx.Before()
	var with, go1 []string
	for _, id := range state.Keys[model.HostRow](before, hostsWithin(orgID, envID)) {
		if _, ok := state.Get[model.InstanceRow](before, id); ok {
			with = append(with, id)
		} else if len(go1) < most {
			go1 = append(go1, id)
		}
	}
	if err := inUse(before, with, "%s %q has %d host(s) with an instance: delete or forget the instances first", where, name, len(with)); err != nil {
		return 0, err
	}
	n := 0
	for _, id := range go1 {
		h, ok := state.Get[model.HostRow](tx, id)
		if !ok || envID != "" && h.EnvID != envID { // it went, or was moved
			continue
		}
		if with := withInstance(tx, []*model.HostRow{h}); len(with) > 0 {
			return 0, inUse(tx, with, "%s %q has %d host(s) with an instance: delete or forget the instances first", where, name, 1)
		}
		dropHost(tx, h)
		n++
	}
	return n, nil
}
