package orchestrate

import (
	"math"
	"slices"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// drops deletes what is below something that goes, and that itself at last. It reads all that it empties as a part of the
// transaction, so nothing that comes in beside it is left behind. With a bound it stops in the middle, children always before
// their parent; another transaction begins at the top, finds the rest, and goes on.
type drops struct {
	tx   *state.Tx
	left int // rows and ranges that may still be looked at; below 0 it has stopped
}

// dropAll deletes without a bound.
func dropAll(tx *state.Tx) *drops { return &drops{tx: tx, left: math.MaxInt} }

// stopped says that the bound was reached, and something may be left.
func (d *drops) stopped() bool { return d.left < 0 }

// step counts a row or a range, and says whether it may be touched.
func (d *drops) step() bool {
	d.left--
	return d.left >= 0
}

// dropRow deletes a row, if it is there.
func dropRow[T any, P row[T]](d *drops, key string) {
	if d.step() {
		state.Delete[T, P](d.tx, key)
	}
}

// keysToDrop are the keys of a range, none once it has stopped.
func keysToDrop[T any, P row[T]](d *drops, rng string) []string {
	if !d.step() {
		return nil
	}
	return state.Keys[T, P](d.tx, rng)
}

// dropRange deletes the rows of a range.
func dropRange[T any, P row[T]](d *drops, rng string) {
	for _, key := range keysToDrop[T, P](d, rng) {
		if d.stopped() {
			return
		}
		dropRow[T, P](d, key)
	}
}

// dropOwners deletes the rows of a range, with the settings and groups that each has.
func dropOwners[T any, P row[T]](d *drops, rng string) {
	for _, key := range keysToDrop[T, P](d, rng) {
		if d.stopped() {
			return
		}
		d.owned(key)
		dropRow[T, P](d, key)
	}
}

// owned deletes the settings, groups and invitations of an owner.
func (d *drops) owned(ownerID string) {
	dropRange[model.InvitationRow](d, model.InvitationsBelow(ownerID))
	dropRange[model.SettingRow](d, model.SettingsOf(ownerID))
	dropRange[model.GroupRow](d, model.GroupsOf(ownerID))
}

// dropOwned deletes the settings, groups and invitations of an owner.
func dropOwned(tx *state.Tx, ownerID string) { dropAll(tx).owned(ownerID) }

// definitions deletes what is stored for an organization or an application.
func (d *drops) definitions(ownerID string) {
	for _, id := range keysToDrop[model.WebhookRow](d, model.DefinitionsOf(ownerID)) {
		dropRange[model.Delivery](d, model.DeliveriesOf(id))
		dropRow[model.WebhookHealth](d, id)
		dropRow[model.WebhookRow](d, id)
	}
	for _, id := range keysToDrop[model.NotificationRow](d, model.DefinitionsOf(ownerID)) {
		dropRange[model.Delivery](d, model.DeliveriesOf(id))
		dropRow[model.WebhookHealth](d, id)
		dropRow[model.NotificationRow](d, id)
	}
	dropRange[model.RpmModuleRow](d, model.DefinitionsOf(ownerID))
	dropRange[model.GitRow](d, model.DefinitionsOf(ownerID))
}

// host deletes a host and every row below it.
func (d *drops) host(h *model.HostRow) {
	if !d.step() {
		return
	}
	dropInstance(d.tx, h.ID)
	dropOwners[model.ContextRow](d, model.ContextsOf(h.ID))
	dropRange[model.Change](d, model.ChangesOf(h.ID))
	dropRow[model.ChangeCounter](d, h.ID)
	dropOwners[model.PlatformContextRow](d, model.AttachedTo(h.ID))
	dropOwners[model.DistributionContextRow](d, model.AttachedTo(h.ID))
	dropRange[model.FileLinkRow](d, model.FileLinksOf(h.ID))
	if d.step() {
		leaveHostgroups(d.tx, func(id string) bool { return id == h.ID }, state.Keys[model.HostgroupRow](d.tx, model.HostgroupsOfHost(h.ID)))
	}
	d.owned(h.ID)
	dropRow[model.HostRow](d, h.ID)
}

// environment deletes an environment with its hosts.
func (d *drops) environment(e *model.EnvironmentRow) {
	hosts := keysToDrop[model.HostRow](d, model.HostsOf(e.ID))
	if len(hosts) > 1 { // a group with many of them is written once
		slices.Sort(hosts)
		leaveHostgroups(d.tx, func(id string) bool { _, in := slices.BinarySearch(hosts, id); return in },
			state.Keys[model.HostgroupRow](d.tx, model.HostgroupsOf(e.OrgID)))
	}
	for _, id := range hosts {
		if d.stopped() {
			return
		}
		if h, ok := state.Get[model.HostRow](d.tx, id); ok {
			d.host(h)
		}
	}
	d.owned(e.ID)
	dropRange[model.EnrolToken](d, model.EnrolTokensOf(e.ID))
	dropRow[model.EnvironmentRow](d, e.ID)
}

// organization deletes an organization with all that it holds. First goes what acts by itself.
func (d *drops) organization(orgID string) {
	d.definitions(orgID)
	dropRange[model.JobRow](d, model.DefinitionsOf(orgID))
	for _, id := range keysToDrop[model.ApplicationKeyRow](d, model.ApplicationKeysOf(orgID)) {
		dropRow[model.LastUseRow](d, id)
		dropRow[model.ApplicationKeyRow](d, id)
	}
	dropRange[model.OrchestrationRow](d, model.OrchestrationsOf(orgID))
	dropOwners[model.HostgroupRow](d, model.HostgroupsOf(orgID))
	for _, key := range keysToDrop[model.IntentRow](d, model.IntentsOf(orgID)) {
		dropRow[model.IntentMark](d, key)
		dropRow[model.IntentRow](d, key)
	}
	for _, id := range slices.Concat(keysToDrop[model.EnvironmentRow](d, model.EnvironmentsOf(orgID)), keysToDrop[model.EnvironmentRow](d, model.GoingIn(orgID))) {
		if e, ok := state.Get[model.EnvironmentRow](d.tx, id); ok && !d.stopped() {
			d.environment(e)
		}
	}
	for _, id := range keysToDrop[model.ApplicationRow](d, model.ApplicationsOf(orgID)) {
		d.definitions(id)
		dropRow[model.ApplicationRow](d, id)
	}
	dropOwners[model.PlatformRow](d, model.KitsOf(orgID))
	dropOwners[model.DistributionRow](d, model.KitsOf(orgID))
	d.owned(orgID)
	dropRow[model.QuotaRow](d, orgID)
	dropRow[model.IntentCounter](d, orgID)
	dropRow[model.UsageRow](d, orgID)
	dropRow[model.OrgKey](d, orgID)
	if d.step() {
		state.DropDataKeys(d.tx, orgID)
	}
	dropRow[model.OrganizationRow](d, orgID)
}
