package orchestrate

import (
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// awaited are the hosts whose provisioning a rehearsal begins, or begins again. Their machines get changes when the agents
// have enrolled, so the write itself queues none.
func awaited(tx *state.Tx) map[string]*model.InstanceRow {
	out := map[string]*model.InstanceRow{}
	for _, e := range state.Edits[model.InstanceRow](tx) {
		if e.New == nil || !e.New.Provisioning {
			continue
		}
		if e.Old == nil || e.Old.State == model.InstanceError && e.New.State != model.InstanceError {
			out[e.New.HostID] = e.New
		}
	}
	return out
}

// arrival plans what an awaited machine is told once its agent has enrolled: the installation of what the host has, with what
// is known of the machine now.
func arrival(tx *state.Tx, h *model.HostRow, i *model.InstanceRow) ([]*model.Change, error) {
	i, _ = state.Edit[model.InstanceRow](tx, i.HostID)
	i.Properties = knownProperties(h, i, nil)
	if err := state.Put(tx, i); err != nil {
		return nil, err
	}
	first := 0
	if counter, ok := state.Get[model.ChangeCounter](tx, h.ID); ok {
		first = counter.Next
	}
	var out []*model.Change
	for _, ctx := range contextsByPosition(tx, h.ID) {
		if d := PlanInstall(tx, ctx); len(d.Tasks) > 0 {
			out = append(out, &model.Change{HostID: h.ID, OrderNum: first + len(out), Description: d.Description, Tasks: d.Tasks})
		}
	}
	return out, nil
}

// knownProperties are those of a machine with an agent: what was known before it came, under its host's name, and what it tells.
func knownProperties(h *model.HostRow, i *model.InstanceRow, told map[string]string) []model.Property {
	return sortedProperties(sortedProperties([]model.Property{{Key: "hostname", Value: h.Name}}, i.Properties), properties(told))
}

// machine tells of the files that are rendered for a machine which is to be made: those of its platform and distribution.
func (o *outlook) machine() []model.PlanTask {
	var out []model.PlanTask
	add := func(k model.Furnished, owner model.Owner) {
		re := newRendererFor(o.tx, o.host, owner, o.veil)
		for i := range *k.FileList() {
			f := &(*k.FileList())[i]
			t := model.PlanTask{
				OrderNum: len(out), Description: "Render file " + f.Name + " of " + k.Table() + " " + k.Base().Name,
				Collection: model.TypeFiles, Resource: f.Name, Action: "render",
			}
			if is, err := re.file(k, f); err != nil {
				t.Error = "file " + f.Name + ": " + err.Error()
				t.Note = o.unknown()
			} else {
				t.Diff, t.Note = o.differ(f.Name, nil, is, false, true)
			}
			out = append(out, t)
		}
	}
	if ctx, p, err := PlatformOf(o.tx, o.host.OrgID, o.host.ID); err == nil {
		add(p, OwnerOfPlatformContext(ctx))
	}
	if ctx, d, err := DistributionOf(o.tx, o.host.OrgID, o.host.ID); err == nil {
		add(d, OwnerOfDistributionContext(ctx))
	}
	return out
}

// unknown says what a file may have failed for that is rendered before its machine is there; "" when there is no such thing.
func (o *outlook) unknown() string {
	if len(state.Keys[model.SettingRow](o.tx, model.PropertiesOf(o.host.OrgID))) == 0 {
		return ""
	}
	return "what the machine will tell of itself is not known yet: settings that stand for it have no value"
}
