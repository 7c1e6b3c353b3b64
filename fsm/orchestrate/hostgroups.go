package orchestrate

import (
	"cmp"
	"slices"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// OwnerOfHostgroup names a host group as the owner of settings.
func OwnerOfHostgroup(g *model.HostgroupRow) model.Owner {
	return model.Owner{Level: model.LevelHostgroup, OrgID: g.OrgID, ID: g.ID}
}

// HostgroupByName finds a host group of an organization. Error: NotFound.
func HostgroupByName(r state.Reader, orgID, name string) (*model.HostgroupRow, error) {
	g, ok := state.Find[model.HostgroupRow](r, model.HostgroupNamed(orgID, name))
	if !ok {
		return nil, model.Errorf(model.NotFound, "host group %q not found", name)
	}
	return g, nil
}

func hostgroupByID(r state.Reader, orgID, id string) (*model.HostgroupRow, error) {
	g, ok := state.Get[model.HostgroupRow](r, id)
	if !ok || g.OrgID != orgID {
		return nil, model.Errorf(model.NotFound, "host group not found")
	}
	return g, nil
}

// Hostgroups lists the host groups of an organization by name.
func Hostgroups(r state.Reader, orgID string) []*model.HostgroupRow {
	return byName(state.List[model.HostgroupRow](r, model.HostgroupsOf(orgID)), func(g *model.HostgroupRow) string { return g.Name })
}

// hostgroupsOf lists the groups that a host is in by name.
func hostgroupsOf(r state.Reader, hostID string) []*model.HostgroupRow {
	return byName(state.List[model.HostgroupRow](r, model.HostgroupsOfHost(hostID)), func(g *model.HostgroupRow) string { return g.Name })
}

// HostgroupDoc is the document of a host group. Of its hosts, those that may answers false to are left out; nil is all.
func HostgroupDoc(r state.Reader, g *model.HostgroupRow, show Show, may func(*model.HostRow) bool) model.Hostgroup {
	doc := model.Hostgroup{
		UUID: g.ID, Version: g.Version, Name: g.Name, Description: g.Description, Organization: organizationName(r, g.OrgID),
		Hosts: []model.GroupedHost{}, Settings: Settings(r, OwnerOfHostgroup(g), show),
	}
	for i, id := range g.Hosts {
		h, ok := state.Get[model.HostRow](r, id)
		if !ok || may != nil && !may(h) || hostGoing(r, h) {
			continue
		}
		org, env, host := placeOf(r, id)
		doc.Hosts = append(doc.Hosts, model.GroupedHost{Position: i, Organization: org, Environment: env, Host: host, CanonicalName: env + "/" + host})
	}
	return doc
}

// CreateHostgroup creates a host group with its settings; handlers run on its hosts where a value changes. may says
// which hosts the caller may put into it; nil is all. Errors: NotFound (the organization), Invalid, Conflict.
func CreateHostgroup(tx *state.Tx, orgID string, doc model.Hostgroup, may func(*model.HostRow) bool) (*model.HostgroupRow, error) {
	if _, err := OrganizationByID(tx, orgID); err != nil {
		return nil, err
	}
	if err := model.CheckName("host group", doc.Name); err != nil {
		return nil, err
	}
	if _, taken := state.Find[model.HostgroupRow](tx, model.HostgroupNamed(orgID, doc.Name)); taken {
		return nil, taken409("host group", doc.Name)
	}
	hosts, err := groupedHosts(tx, orgID, doc.Hosts, may)
	if err != nil {
		return nil, err
	}
	g := &model.HostgroupRow{ID: newID(), OrgID: orgID, Version: 1, Name: doc.Name, Description: doc.Description, Hosts: hosts}
	return g, regroup(tx, OwnerOfHostgroup(g), hosts, settingKeysOf(doc.Settings), func() error {
		if err := state.Put(tx, g); err != nil {
			return err
		}
		return createSettings(tx, OwnerOfHostgroup(g), doc.Settings)
	})
}

// groupedHosts finds the hosts of a document, in the order of their positions. Errors: Invalid.
func groupedHosts(r state.Reader, orgID string, docs []model.GroupedHost, may func(*model.HostRow) bool) ([]string, error) {
	docs = slices.Clone(docs)
	slices.SortStableFunc(docs, func(a, b model.GroupedHost) int { return cmp.Compare(a.Position, b.Position) })
	var out []string
	for _, d := range docs {
		unknown := model.Errorf(model.Invalid, "hosts names %q in environment %q, which does not exist: correct the name", d.Host, d.Environment)
		env, err := EnvironmentByName(r, orgID, d.Environment)
		if err != nil {
			return nil, unknown
		}
		h, err := HostByName(r, orgID, env.ID, d.Host)
		if err != nil || may != nil && !may(h) {
			return nil, unknown
		}
		if slices.Contains(out, h.ID) {
			return nil, model.Errorf(model.Invalid, "host %q of environment %q is there twice: keep one", d.Host, d.Environment)
		}
		out = append(out, h.ID)
	}
	return out, nil
}

// regroup runs write, which changes what is in a group, and queues what the settings of the hosts set off. keys are those
// of the group's settings: with many hosts only these are looked at, afterwards.
func regroup(tx *state.Tx, o model.Owner, hostIDs, keys []string, write func() error) error {
	if mayIntend(tx) && len(hostIDs) > maxDirect {
		if err := write(); err != nil || len(keys) == 0 {
			return err
		}
		return intend(tx, model.IntentRow{OrgID: o.OrgID, Kind: model.IntentSettings, Owner: o, Keys: keys})
	}
	var w watch
	for _, id := range hostIDs {
		if h, ok := state.Get[model.HostRow](tx, id); ok && h.OrgID == o.OrgID {
			w = append(w, affected(tx, OwnerOfHost(h), handlerKeys(tx, id))...)
		}
	}
	if err := write(); err != nil {
		return err
	}
	return w.queue(tx, false)
}

func settingKeysOf(docs []model.Setting) []string {
	var keys []string
	for i := range docs {
		keys = append(keys, docs[i].Key)
	}
	return keys
}

// UpdateHostgroup changes name, description and hosts; settings have a collection of their own. Hosts that the caller
// may not see, by may, stay. Handlers run where a value changes. Errors: NotFound, Invalid, Conflict.
func UpdateHostgroup(tx *state.Tx, orgID, id string, patch []byte, may func(*model.HostRow) bool) (*model.HostgroupRow, error) {
	if _, err := hostgroupByID(tx, orgID, id); err != nil {
		return nil, err
	}
	g, _ := state.Edit[model.HostgroupRow](tx, id)
	type changeable struct {
		Name        string              `json:"name"`
		Description string              `json:"description"`
		Hosts       []model.GroupedHost `json:"hosts"`
	}
	was := changeable{g.Name, g.Description, HostgroupDoc(tx, g, Show{}, may).Hosts}
	doc, err := model.Merge(was, patch)
	if err != nil {
		return nil, err
	}
	if doc.Name != g.Name {
		if err := model.CheckName("host group", doc.Name); err != nil {
			return nil, err
		}
		if _, taken := state.Find[model.HostgroupRow](tx, model.HostgroupNamed(orgID, doc.Name)); taken {
			return nil, taken409("host group", doc.Name)
		}
		at := "organizations/" + organizationName(tx, orgID) + "/hostgroups/"
		if err := moveLinks(tx, orgID, at+g.Name, at+doc.Name); err != nil {
			return nil, err
		}
	}
	hosts, err := groupedHosts(tx, orgID, doc.Hosts, may)
	if err != nil {
		return nil, err
	}
	for _, id := range g.Hosts {
		if h, ok := state.Get[model.HostRow](tx, id); ok && may != nil && !may(h) {
			hosts = append(hosts, id)
		}
	}
	// A group that gets another name may come before or after others of a host: all its hosts are looked at.
	both := slices.Concat(g.Hosts, hosts)
	slices.Sort(both)
	g.Name, g.Description, g.Hosts = doc.Name, doc.Description, hosts
	g.Version++
	return g, regroup(tx, OwnerOfHostgroup(g), slices.Compact(both), settingKeys(tx, id), func() error { return state.Put(tx, g) })
}

// DeleteHostgroup deletes a host group with its settings; its hosts stay. Errors: NotFound, Conflict (an orchestration
// names it).
func DeleteHostgroup(tx *state.Tx, orgID, id string) error {
	g, err := hostgroupByID(tx, orgID, id)
	if err != nil {
		return err
	}
	if err := notOrchestrated(tx, id, "host group", g.Name); err != nil {
		return err
	}
	return regroup(tx, OwnerOfHostgroup(g), g.Hosts, settingKeys(tx, id), func() error {
		dropOwned(tx, id)
		state.Delete[model.HostgroupRow](tx, id)
		return nil
	})
}

// leaveHostgroups takes hosts that go out of groups.
func leaveHostgroups(tx *state.Tx, goes func(hostID string) bool, groups []string) {
	for _, id := range groups {
		if g, ok := state.Get[model.HostgroupRow](tx, id); !ok || !slices.ContainsFunc(g.Hosts, goes) {
			continue
		}
		g, _ := state.Edit[model.HostgroupRow](tx, id)
		g.Hosts = slices.DeleteFunc(g.Hosts, goes)
		g.Version++
		_ = state.Put(tx, g) // the row was there and valid
	}
}
