package orchestrate

import (
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// QuotaOf is what an organization may have and do.
func QuotaOf(r state.Reader, orgID string) model.Quota {
	if row, ok := state.Get[model.QuotaRow](r, orgID); ok {
		q := row.Quota
		if q.Bytes == 0 { // it is of before bytes were counted
			q.Bytes = model.DefaultQuota().Bytes
		}
		return q
	}
	return model.DefaultQuota()
}

// QuotaDoc is the quota of an organization beside what it has.
func QuotaDoc(r state.Reader, o *model.OrganizationRow) model.QuotaUse {
	_, own := state.Get[model.QuotaRow](r, o.ID)
	return model.QuotaUse{Organization: o.Name, Quota: QuotaOf(r, o.ID), Default: !own, Used: model.QuotaHas{
		Hosts:           len(state.Keys[model.HostRow](r, model.HostsOfOrganization(o.ID))),
		Applications:    len(state.Keys[model.ApplicationRow](r, model.ApplicationsOf(o.ID))),
		ChangesInFlight: changesInFlight(r, o.ID), Bytes: state.StoredBytes(r, o.ID),
	}}
}

// SetQuota changes the quota of an organization; what the patch does not name stays. What is there already may be more.
// Error: Invalid.
func SetQuota(tx *state.Tx, orgID string, patch []byte) error {
	q, err := model.Merge(QuotaOf(tx, orgID), patch)
	if err != nil {
		return err
	}
	if err := q.Validate(); err != nil {
		return err
	}
	return state.Put(tx, &model.QuotaRow{OrgID: orgID, Quota: q})
}

// ResetQuota gives an organization the default quota again.
func ResetQuota(tx *state.Tx, orgID string) {
	if _, own := state.Get[model.QuotaRow](tx, orgID); own {
		state.Delete[model.QuotaRow](tx, orgID)
	}
}

// changesInFlight counts the changes of an organization's hosts that are not done, and those that are to come.
func changesInFlight(r state.Reader, orgID string) int {
	n := toCome(r, orgID)
	for _, host := range state.Keys[model.HostRow](r, model.HostsOfOrganization(orgID)) {
		n += len(state.Keys[model.Change](r, model.OpenChangesOf(host)))
	}
	return n
}

// toCome is how many hosts of an organization are still to get changes of large writes. One that got them ahead of its turn counts
// until that comes.
func toCome(r state.Reader, orgID string) int {
	n := 0
	for _, i := range intents(r, orgID) {
		left := max(i.Hosts, 1)
		if m, ok := state.Get[model.IntentMark](r, i.Key()); ok {
			left -= m.Given
		}
		n += max(left, 0)
	}
	return n
}

// touched is how many hosts with a machine a large write may concern, as it leaves things. It does not look at each of them unless
// the quota is in question: then a bound from lengths of ranges is enough.
func touched(tx *state.Tx, i *model.IntentRow) int {
	r := tx.Quiet()
	past := tx.Before()
	machines := len(state.Keys[model.InstanceRow](r, model.InstancesOf(i.OrgID)))
	x := &reach{intent: i, past: past, now: r}
	bound := len(state.Keys[model.ContextRow](r, model.ContextsOfApplication(i.AppID)))
	if i.Kind == model.IntentSettings {
		x.places = placesOf(i.OrgID, i.Owner, i.Keys, past, r)
		bound = listening(r, x.places)
	}
	bound = min(bound, machines)
	if len(state.Keys[model.Change](past, model.OpenChanges))+toCome(past, i.OrgID)+bound <= QuotaOf(past, i.OrgID).ChangesInFlight {
		return bound
	}
	n := 0
	for _, id := range x.hosts() {
		if _, ok := state.Get[model.InstanceRow](r, id); ok {
			n++
		}
	}
	return n
}

// WithinQuota refuses a transaction that would give an organization more than its quota, by whichever way it was written.
// What was there before is counted as the transaction found it, and not noted as read: else all that is made in an
// organization would conflict. So transactions at the same time may go beyond by what they make. The error is Forbidden, and
// names the quota and its value.
func WithinQuota(tx *state.Tx) error {
	by := map[string]*made{}
	of := func(orgID string) *made {
		if by[orgID] == nil {
			by[orgID] = &made{}
		}
		return by[orgID]
	}
	for _, h := range state.Fresh[model.HostRow](tx) {
		of(h.OrgID).hosts++
	}
	for _, a := range state.Fresh[model.ApplicationRow](tx) {
		of(a.OrgID).apps++
	}
	for _, c := range state.Fresh[model.Change](tx) {
		if h, ok := state.Get[model.HostRow](tx.Before(), c.HostID); ok && !c.Done {
			of(h.OrgID).changes++
		}
	}
	for _, i := range state.Fresh[model.IntentRow](tx) {
		of(i.OrgID).changes += max(i.Hosts, 1)
	}
	for orgID, m := range by {
		if err := m.within(tx.Before(), orgID); err != nil {
			return err
		}
	}
	return withinBytes(tx)
}

// made is what a transaction makes in an organization.
type made struct{ hosts, apps, changes int }

// within compares it with the quota.
func (m *made) within(r state.Reader, orgID string) error {
	q := QuotaOf(r, orgID)
	if m.hosts > 0 {
		if err := quota403("hosts", q.Hosts, m.hosts, len(state.Keys[model.HostRow](r, model.HostsOfOrganization(orgID)))); err != nil {
			return err
		}
	}
	if m.apps > 0 {
		if err := quota403("applications", q.Applications, m.apps, len(state.Keys[model.ApplicationRow](r, model.ApplicationsOf(orgID)))); err != nil {
			return err
		}
	}
	// The changes of all organizations together are counted faster than those of one.
	if m.changes > 0 && len(state.Keys[model.Change](r, model.OpenChanges))+toCome(r, orgID)+m.changes > q.ChangesInFlight {
		return quota403("changesInFlight", q.ChangesInFlight, m.changes, changesInFlight(r, orgID))
	}
	return nil
}

func quota403(name string, quota, more, has int) error {
	if has+more <= quota {
		return nil
	}
	return model.Errorf(model.Forbidden, "the quota %s of the organization is %d, it has %d and this would make %d more: remove some, or ask an administrator of the site for more", name, quota, has, more)
}
