package orchestrate

import (
	"cmp"
	"slices"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// HostState derives the state of a host (contract section 4.1).
func HostState(r state.Reader, hostID string) model.HostState {
	instance, ok := state.Get[model.InstanceRow](r, hostID)
	if !ok {
		return model.HostDefined
	}
	if instance.Provisioning {
		if instance.State == model.InstanceError {
			return model.HostError
		}
		return model.HostProvisioning
	}
	open := len(state.Keys[model.Change](r, model.OpenChangesOf(hostID))) > 0
	switch {
	case open && installs(r, instance):
		return model.HostProvisioning
	case open, len(ToCome(r, instance.OrgID, hostID)) > 0:
		return model.HostUpdating
	case len(failures(r, instance)) > 0, len(state.Keys[model.ComplianceRow](r, model.ComplianceOf(hostID))) > 0:
		return model.HostError
	}
	return model.HostReady
}

// installs says whether the applications of a machine that was provisioned are being installed still.
func installs(r state.Reader, i *model.InstanceRow) bool {
	first := firstOpen(r, i.HostID)
	return first != nil && first.OrderNum < i.Installs
}

// createInstance gives a host its machine and queues the installation of the applications that it has.
func createInstance(tx *state.Tx, h *model.HostRow, props []model.Property) error {
	if err := skipIntents(tx, h); err != nil {
		return err
	}
	i := &model.InstanceRow{
		ID: newID(), OrgID: h.OrgID, HostID: h.ID, Version: 1, State: model.InstanceRunning, Properties: sortedProperties(nil, props), Created: tx.Now(),
	}
	if err := state.Put(tx, i); err != nil {
		return err
	}
	return installAll(tx, h.ID)
}

// installAll queues the installation of the applications that a host has.
func installAll(tx *state.Tx, hostID string) error {
	for _, ctx := range contextsByPosition(tx, hostID) {
		if _, err := QueueChange(tx, hostID, PlanInstall(tx, ctx)); err != nil {
			return err
		}
	}
	return nil
}

// sortedProperties lays more over props.
func sortedProperties(props, more []model.Property) []model.Property {
	out := slices.Clone(props)
	for _, p := range more {
		if i := slices.IndexFunc(out, func(o model.Property) bool { return o.Key == p.Key }); i >= 0 {
			out[i] = p
		} else {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b model.Property) int { return cmp.Compare(a.Key, b.Key) })
	return out
}

// GetInstance is the document of a host's machine. Error: NotFound.
func GetInstance(r state.Reader, orgID, hostID string) (model.Instance, error) {
	h, err := HostByID(r, orgID, hostID)
	if err != nil {
		return model.Instance{}, err
	}
	i, ok := state.Get[model.InstanceRow](r, hostID)
	if !ok {
		return model.Instance{}, noInstance(model.NotFound, h)
	}
	doc := model.Instance{
		UUID: i.ID, Version: i.Version, Organization: organizationName(r, orgID), Host: h.Name, State: i.State,
		SynapseState: model.SynapseDown, Hostname: h.Name, Locked: i.Locked, Properties: slices.Clone(i.Properties),
	}
	if e, ok := state.Get[model.EnvironmentRow](r, h.EnvID); ok {
		doc.Environment = e.Name
	}
	if name, ok := i.Property("hostname"); ok {
		doc.Hostname = name
	}
	if a, ok := state.Find[model.Agent](r, model.AgentOfHost(hostID)); ok {
		if p, ok := state.Get[model.Presence](r, a.ID); ok && p.Up {
			doc.SynapseState = model.SynapseUp
		}
	}
	doc.Waiting, doc.Error = WaitsFor(r, hostID), i.Error
	if doc.Waiting == "" {
		doc.Waiting = machineWaits(r, i)
	}
	if doc.Properties == nil {
		doc.Properties = []model.Property{}
	}
	return doc, nil
}

func noInstance(code model.Code, h *model.HostRow) error {
	return model.Errorf(code, "host %q has no instance", h.Name)
}

// instanceFor finds the instance to be changed. Errors: NotFound (the host, the instance).
func instanceFor(tx *state.Tx, orgID, hostID string) (*model.InstanceRow, error) {
	h, err := HostByID(tx, orgID, hostID)
	if err != nil {
		return nil, err
	}
	i, ok := state.Edit[model.InstanceRow](tx, hostID)
	if !ok {
		return nil, noInstance(model.NotFound, h)
	}
	return i, nil
}

// LockInstance protects an instance from being deleted, or ends that. Error: NotFound.
func LockInstance(tx *state.Tx, orgID, hostID string, locked bool) error {
	i, err := instanceFor(tx, orgID, hostID)
	if err != nil {
		return err
	}
	i.Locked = locked
	i.Version++
	return state.Put(tx, i)
}

// DeleteInstance forgets the machine of a host, with its agent, the changes not yet begun and the compliance errors;
// the host is DEFINED again. Changes that are done stay readable, and so does the one that the agent had: its tasks
// without an outcome end as interrupted, since nobody will hear of them. Errors: NotFound, Conflict (it is locked).
func DeleteInstance(tx *state.Tx, orgID, hostID string) error {
	i, err := instanceFor(tx, orgID, hostID)
	if err != nil {
		return err
	}
	if i.Locked {
		return model.Errorf(model.Conflict, "the instance is locked: unlock it first")
	}
	for _, id := range state.Keys[model.Order](tx, model.OpenOrderOf(hostID)) {
		o, _ := state.Edit[model.Order](tx, id)
		if err := closeOrder(tx, o, "interrupted: the instance was forgotten while the agent had this; whether it took effect is not known", true); err != nil {
			return err
		}
	}
	for _, id := range state.Keys[model.Change](tx, model.OpenChangesOf(hostID)) {
		state.Delete[model.Change](tx, id)
	}
	dropInstance(tx, hostID)
	return nil
}

// dropInstance deletes the machine of a host and what came from it.
func dropInstance(tx *state.Tx, hostID string) {
	RemoveAgent(tx, hostID)
	dropMachine(tx, hostID)
	for _, k := range state.Keys[model.ComplianceRow](tx, model.ComplianceOf(hostID)) {
		state.Delete[model.ComplianceRow](tx, k)
	}
	state.Delete[model.InstanceRow](tx, hostID)
}

// SetProperties lays facts of the machine over those known; handlers run for property settings whose value
// changes. Nothing is written when all are known already. Error: NotFound (the instance).
func SetProperties(tx *state.Tx, hostID string, props []model.Property) error {
	i, ok := state.Edit[model.InstanceRow](tx, hostID)
	if !ok {
		return model.Errorf(model.NotFound, "the host has no instance")
	}
	props = slices.DeleteFunc(slices.Clone(props), func(p model.Property) bool {
		v, known := i.Property(p.Key)
		return known && v == p.Value
	})
	if len(props) == 0 {
		return nil
	}
	h, err := HostByID(tx, i.OrgID, hostID)
	if err != nil {
		return err
	}
	var keys []string
	for _, s := range state.List[model.SettingRow](tx, model.PropertiesOf(i.OrgID)) {
		if slices.ContainsFunc(props, func(p model.Property) bool { return p.Key == s.Property }) {
			keys = append(keys, s.Name)
		}
	}
	w := affected(tx, OwnerOfHost(h), keys)
	i.Properties = sortedProperties(i.Properties, props)
	i.Version++
	if err := state.Put(tx, i); err != nil {
		return err
	}
	return w.queue(tx, false)
}
