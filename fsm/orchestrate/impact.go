package orchestrate

import (
	"slices"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/template"
)

// Sight is what somebody may see at an organization, environment, host, host group, platform or distribution: whether it can
// be read, and how its settings are shown.
type Sight func(model.Owner) (Show, bool)

// Impact tells what a change of a setting would touch: where its value holds, or leads through links. Handlers count on
// hosts that have a machine; so do files of applications, which no handler writes again. Files of platforms and distributions
// are made when they are asked for, so they count on any host. What a template may read is told from its text. What see does
// not let be seen is left out, and that something was is told. Error: NotFound (the setting).
func Impact(r state.Reader, o model.Owner, key string, see Sight) (model.SettingImpact, error) {
	if _, err := GetSetting(r, o, key, Show{}); err != nil {
		return model.SettingImpact{}, err
	}
	x := &impact{r: r, org: ownerOfOrganizationID(o.OrgID), target: model.SettingKey(o.ID, key), see: see, uses: map[string]template.Uses{}, at: map[string]int{}, run: map[string][]bool{}, hidden: map[string]bool{}}
	x.out = model.SettingImpact{
		SettingHandlerContexts: []model.SettingHandlerContext{}, OtherResources: []string{},
		OrchestrationHandlerExecutions: []struct{}{}, PackageResources: []string{}, RpmModuleResources: []string{},
	}
	places := placesOf(o.OrgID, o, []string{key}, r)
	for _, p := range places {
		if !slices.Contains(x.keys, p.key) {
			x.keys = append(x.keys, p.key)
		}
	}
	x.links(places[1:])
	for _, h := range hostsFor(r, o, len(places) > 1) {
		x.host(h)
	}
	for app, i := range x.at {
		x.out.SettingHandlerContexts[i].NoAccessToAllResources = x.hidden[app]
	}
	return x.out, nil
}

// impact gathers what a change of one setting would touch.
type impact struct {
	r      state.Reader
	org    model.Owner
	target string   // key of the row that would change
	keys   []string // under which its value may be found
	see    Sight
	uses   map[string]template.Uses // by kit and file
	at     map[string]int           // contexts of out, by application
	run    map[string][]bool        // handlers of an application that run somewhere
	hidden map[string]bool          // applications with handlers on hosts that cannot be seen
	out    model.SettingImpact
}

// hostsFor are the hosts that a setting of an owner may reach, by environment and name; all, where others link to it.
func hostsFor(r state.Reader, o model.Owner, linked bool) []*model.HostRow {
	var out []*model.HostRow
	for _, e := range Environments(r, o.OrgID) {
		if linked || o.Level != model.LevelEnvironment || o.ID == e.ID {
			out = append(out, Hosts(r, o.OrgID, e.ID)...)
		}
	}
	if !linked && o.Level == model.LevelHost {
		out = slices.DeleteFunc(out, func(h *model.HostRow) bool { return h.ID != o.ID })
	}
	return out
}

// leads says whether the value of a setting is that of the target: itself, or over links.
func (x *impact) leads(row *model.SettingRow) bool {
	for seen := map[string]bool{}; row != nil && !seen[row.Key()] && len(seen) <= maxLinks; {
		if row.Key() == x.target {
			return true
		}
		if row.Kind() != model.SettingLink {
			return false
		}
		seen[row.Key()] = true
		t, err := model.ParseLink(row.Link)
		if err != nil {
			return false
		}
		o, ok := ownerAt(x.r, t)
		if !ok || o.OrgID != row.Owner.OrgID {
			return false
		}
		row = nearest(x.r, chainOf(x.r, o), t.Key)
	}
	return false
}

// touched are the keys that have the target's value at an owner.
func (x *impact) touched(o model.Owner) []string {
	c := chainOf(x.r, o)
	var out []string
	for _, key := range x.keys {
		if x.leads(nearest(x.r, c, key)) {
			out = append(out, key)
		}
	}
	return out
}

// links adds the settings that link to the target. A secret one does not exist for who may not see it.
func (x *impact) links(places []place) {
	for _, p := range places {
		row, ok := state.Get[model.SettingRow](x.r, model.SettingKey(p.owner.ID, p.key))
		if !ok || !x.leads(row) {
			continue
		}
		show, ok := x.see(x.around(p.owner))
		if !ok {
			x.out.NoAccessToAllResources = true
			continue
		}
		if _, err := GetSetting(x.r, p.owner, p.key, show); err == nil {
			x.out.OtherResources = append(x.out.OtherResources, ownerPath(x.r, p.owner)+"/settings/"+p.key)
		}
	}
}

// around is the host of a context, else the owner itself.
func (x *impact) around(o model.Owner) model.Owner {
	hostID, ok := "", false
	switch o.Level {
	case model.LevelContext:
		var ctx *model.ContextRow
		if ctx, ok = state.Get[model.ContextRow](x.r, o.ID); ok {
			hostID = ctx.HostID
		}
	case model.LevelPlatformContext, model.LevelDistributionContext:
		hostID, ok = attachedHost(x.r, o)
	}
	if !ok {
		return o
	}
	return model.Owner{Level: model.LevelHost, OrgID: o.OrgID, ID: hostID}
}

func (x *impact) host(h *model.HostRow) {
	if _, ok := state.Get[model.InstanceRow](x.r, h.ID); ok {
		for _, ctx := range contextsByPosition(x.r, h.ID) {
			x.context(h, ctx)
		}
	}
	if c, p, err := PlatformOf(x.r, h.OrgID, h.ID); err == nil {
		o := OwnerOfPlatformContext(c)
		x.files(h, o, p, x.touched(o), nil)
	}
	if c, d, err := DistributionOf(x.r, h.OrgID, h.ID); err == nil {
		o := OwnerOfDistributionContext(c)
		x.files(h, o, d, x.touched(o), nil)
	}
}

// context adds the handlers of an application on a host that would run, and the files that none of them writes.
func (x *impact) context(h *model.HostRow, ctx *model.ContextRow) {
	app, ok := state.Get[model.ApplicationRow](x.r, ctx.AppID)
	o := OwnerOfContext(ctx)
	keys := x.touched(o)
	if !ok || len(keys) == 0 {
		return
	}
	run, written := make([]bool, len(app.Document.Handlers)), map[string]bool{}
	for i, hd := range app.Document.Handlers {
		run[i] = slices.ContainsFunc(keys, hd.Triggers)
		for _, do := range hd.Do {
			if kind, name, _ := do.Target(); run[i] && kind == "file" && do.Action == "update" {
				written[name] = true
			}
		}
	}
	if slices.Contains(run, true) {
		x.handlers(h, app, run)
	}
	x.files(h, o, app, keys, written)
}

func (x *impact) handlers(h *model.HostRow, app *model.ApplicationRow, run []bool) {
	_, seen := x.see(OwnerOfHost(h))
	if !seen {
		x.out.NoAccessToAllResources, x.hidden[app.ID] = true, true
		if _, ok := x.see(x.org); !ok {
			return // nor the application
		}
	}
	i, known := x.at[app.ID]
	if !known {
		i = len(x.out.SettingHandlerContexts)
		x.at[app.ID] = i
		x.out.SettingHandlerContexts = append(x.out.SettingHandlerContexts,
			model.SettingHandlerContext{Application: app.Name, Hosts: []model.ImpactedHost{}})
		x.run[app.ID] = make([]bool, len(run))
	}
	c := &x.out.SettingHandlerContexts[i]
	c.Handlers = []model.ImpactedHandler{}
	for j, hd := range app.Document.Handlers {
		if x.run[app.ID][j] = x.run[app.ID][j] || run[j]; x.run[app.ID][j] {
			c.Handlers = append(c.Handlers, model.ImpactedHandler{Do: hd.Do})
		}
	}
	if !seen {
		return
	}
	host := model.ImpactedHost{Name: h.Name}
	if e, ok := state.Get[model.EnvironmentRow](x.r, h.EnvID); ok {
		host.Environment = e.Name
	}
	c.Hosts = append(c.Hosts, host)
}

// files adds the files of a context that may read one of the keys, but those that are written again.
func (x *impact) files(h *model.HostRow, o model.Owner, k model.Furnished, keys []string, written map[string]bool) {
	if len(keys) == 0 {
		return
	}
	for i := range *k.FileList() {
		f := &(*k.FileList())[i]
		if written[f.Name] || !slices.ContainsFunc(keys, x.usesOf(k, f).Reads) {
			continue
		}
		if _, ok := x.see(OwnerOfHost(h)); !ok {
			x.out.NoAccessToAllResources = true
			continue
		}
		x.out.OtherResources = append(x.out.OtherResources, ownerPath(x.r, o)+"/files/"+f.Name)
	}
}

// usesOf is what a file may read of the keys looked for.
func (x *impact) usesOf(k model.Furnished, f *model.File) template.Uses {
	at := k.Base().ID + "/" + f.Name
	if u, ok := x.uses[at]; ok {
		return u
	}
	var u template.Uses
	if content := storedContent(x.r, k, f.Name); isText(content) && template.MayUse(string(content), x.keys...) {
		if t, err := parseTemplate(f, content); err == nil {
			u = t.Uses()
		}
	}
	x.uses[at] = u
	return u
}
