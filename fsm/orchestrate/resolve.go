package orchestrate

import (
	"encoding/json"
	"slices"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// Effective is a setting as it holds for an application on a host, and why.
type Effective struct {
	Key    string
	Value  json.RawMessage
	From   string // address of the owner, or of the parameter for a default
	Secret bool
	Schema json.RawMessage
}

// chain is where settings are looked up, nearest first (contract section 4.3).
type chain struct {
	owners []model.Owner
	host   string          // id; "" above hosts
	of     model.Furnished // whose parameters count; nil without one
}

// chainOf is the chain that begins at an owner.
func chainOf(r state.Reader, o model.Owner) chain {
	c := chain{of: kitOfOwner(r, o)}
	at, grouped := o, true
	switch o.Level {
	case model.LevelPlatform, model.LevelDistribution:
		c.owners = append(c.owners, o)
		return c
	case model.LevelContext:
		row, ok := state.Get[model.ContextRow](r, at.ID)
		if !ok {
			return c
		}
		c.owners = append(c.owners, at)
		at = model.Owner{Level: model.LevelHost, OrgID: o.OrgID, ID: row.HostID}
	case model.LevelPlatformContext, model.LevelDistributionContext:
		hostID, ok := attachedHost(r, o)
		if !ok {
			return c
		}
		c.owners, grouped = append(c.owners, at), false
		at = model.Owner{Level: model.LevelHost, OrgID: o.OrgID, ID: hostID}
	case model.LevelHostgroup:
		c.owners = append(c.owners, at)
	}
	if at.Level == model.LevelHost {
		row, ok := state.Get[model.HostRow](r, at.ID)
		if !ok {
			return c
		}
		c.owners = append(c.owners, at)
		c.host = at.ID
		if grouped {
			c.owners = append(c.owners, groupOwners(r, row)...)
		}
		at = model.Owner{Level: model.LevelEnvironment, OrgID: o.OrgID, ID: row.EnvID}
	}
	if at.Level == model.LevelEnvironment {
		c.owners = append(c.owners, at)
	}
	c.owners = append(c.owners, ownerOfOrganizationID(o.OrgID))
	if !grouped && c.of != nil {
		c.owners = append(c.owners, OwnerOfKit(c.of))
	}
	return c
}

// groupOwners are the host groups of a host, the nearest first: by name, since nothing else orders them.
func groupOwners(r state.Reader, h *model.HostRow) []model.Owner {
	var out []model.Owner
	for _, g := range hostgroupsOf(r, h.ID) {
		out = append(out, OwnerOfHostgroup(g))
	}
	return out
}

// Resolve gives the settings that hold for an application on a host, by key: those without a value, such as
// an unknown property, are left out. Error: NotFound.
func Resolve(r state.Reader, orgID, hostID, appID string) ([]Effective, error) {
	if _, err := HostByID(r, orgID, hostID); err != nil {
		return nil, err
	}
	ctx, ok := state.Find[model.ContextRow](r, model.ContextOf(hostID, appID))
	if !ok || ctx.OrgID != orgID {
		return nil, model.Errorf(model.NotFound, "the application is not installed on this host")
	}
	return resolveOwner(r, OwnerOfContext(ctx)), nil
}

// ResolveAt gives the settings that hold at an owner, by key, as Resolve does: for a platform or distribution context
// what its driver goes by, for a platform its own settings and the defaults of its parameters. Error: NotFound.
func ResolveAt(r state.Reader, o model.Owner) ([]Effective, error) {
	if err := ownerExists(r, o); err != nil {
		return nil, err
	}
	return resolveOwner(r, o), nil
}

func resolveOwner(r state.Reader, o model.Owner) []Effective {
	c := chainOf(r, o)
	var out []Effective
	for _, key := range c.keys(r) {
		if e, ok := resolveKey(r, c, key, nil); ok {
			out = append(out, e)
		}
	}
	return out
}

// keys are all keys that the chain knows, sorted.
func (c chain) keys(r state.Reader) []string {
	var keys []string
	for _, o := range c.owners {
		for _, s := range settingRows(r, o.ID) {
			keys = append(keys, s.Name)
		}
	}
	if c.of != nil {
		for _, p := range *c.of.ParameterList() {
			keys = append(keys, p.Key)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// maxLinks is how many links a value is looked for over. Without a bound a tenant's chain of some thousand would hold up every
// rendering on every node, as each of its links leads over all behind it.
const maxLinks = 32

// resolveKey finds the value of a key. seen holds the links being followed: a circle ends in the default of
// the link that closes it, and a way that is too long in that of the last link that may be reached.
func resolveKey(r state.Reader, c chain, key string, seen []string) (Effective, bool) {
	var param *model.Parameter
	if c.of != nil {
		param = model.ParameterFor(c.of, key)
	}
	row := nearest(r, c, key)
	e := Effective{Key: key}
	if param != nil {
		e.Schema, e.Secret = param.Schema, isSecret(param.Schema)
	}
	if row == nil {
		if param == nil || len(param.Value) == 0 {
			return e, false
		}
		e.Value = param.Value
		e.From = "organizations/" + organizationName(r, c.of.Base().OrgID) + "/" + c.of.Table() + "s/" + c.of.Base().Name + "/parameters/" + param.Name
		return e, true
	}
	if len(row.Schema) > 0 {
		e.Schema = row.Schema
		e.Secret = e.Secret || isSecret(row.Schema)
	}
	e.From = ownerPath(r, row.Owner)
	e.Value = row.Value
	switch row.Kind() {
	case model.SettingLink:
		if at, ok := followLink(r, row, seen); ok {
			e.Value, e.Secret = at.Value, e.Secret || at.Secret
		}
	case model.SettingProperty:
		e.Value = nil
		if inst, ok := state.Get[model.InstanceRow](r, c.host); ok {
			if v, ok := inst.Property(row.Property); ok {
				e.Value, _ = json.Marshal(v)
			}
		}
	}
	return e, len(e.Value) > 0
}

// nearest is the setting that counts: the nearest one, unless one farther away is final.
func nearest(r state.Reader, c chain, key string) *model.SettingRow {
	var found *model.SettingRow
	for _, o := range slices.Backward(c.owners) {
		row, ok := state.Get[model.SettingRow](r, model.SettingKey(o.ID, key))
		if !ok {
			continue
		}
		found = row
		if finalOf(row, c.of) {
			break
		}
	}
	return found
}

// followLink resolves the target of a link, within the organization only.
func followLink(r state.Reader, row *model.SettingRow, seen []string) (Effective, bool) {
	if len(seen) >= maxLinks || slices.Contains(seen, row.Key()) {
		return Effective{}, false
	}
	t, err := model.ParseLink(row.Link)
	if err != nil {
		return Effective{}, false
	}
	o, ok := ownerAt(r, t)
	if !ok || o.OrgID != row.Owner.OrgID {
		return Effective{}, false
	}
	return resolveKey(r, chainOf(r, o), t.Key, append(slices.Clone(seen), row.Key()))
}

// ownerAt finds what a link's path names.
func ownerAt(r state.Reader, t model.LinkTarget) (model.Owner, bool) {
	none := model.Owner{}
	org, err := OrganizationByName(r, t.Organization)
	if err != nil {
		return none, false
	}
	if t.Environment == "" {
		return ownerInOrganization(r, org, t)
	}
	env, err := EnvironmentByName(r, org.ID, t.Environment)
	if err != nil {
		return none, false
	}
	if t.Host == "" {
		return OwnerOfEnvironment(env), t.Application == ""
	}
	host, err := HostByName(r, org.ID, env.ID, t.Host)
	if err != nil {
		return none, false
	}
	switch {
	case t.Context == model.LinkPlatform:
		c, _, err := PlatformOf(r, org.ID, host.ID)
		if err != nil {
			return none, false
		}
		return OwnerOfPlatformContext(c), true
	case t.Context == model.LinkDistribution:
		c, _, err := DistributionOf(r, org.ID, host.ID)
		if err != nil {
			return none, false
		}
		return OwnerOfDistributionContext(c), true
	case t.Application == "":
		return OwnerOfHost(host), true
	}
	ctx, _, err := ContextByName(r, org.ID, host.ID, t.Application)
	if err != nil {
		return none, false
	}
	return OwnerOfContext(ctx), true
}

// ownerInOrganization finds what a link names that is in no environment.
func ownerInOrganization(r state.Reader, org *model.OrganizationRow, t model.LinkTarget) (model.Owner, bool) {
	none := model.Owner{}
	switch {
	case t.Platform != "":
		p, err := PlatformByName(r, org.ID, t.Platform)
		if err != nil {
			return none, false
		}
		return OwnerOfKit(p), true
	case t.Distribution != "":
		d, err := DistributionByName(r, org.ID, t.Distribution)
		if err != nil {
			return none, false
		}
		return OwnerOfKit(d), true
	case t.Hostgroup != "":
		g, err := HostgroupByName(r, org.ID, t.Hostgroup)
		if err != nil {
			return none, false
		}
		return OwnerOfHostgroup(g), true
	}
	return OwnerOfOrganization(org), t.Host == "" && t.Application == ""
}

// Origin tells the effective value of a key for an application on a host, and where it comes from.
// Error: NotFound.
func Origin(r state.Reader, orgID, hostID, appName, key string) (model.OriginSetting, error) {
	ctx, _, err := ContextByName(r, orgID, hostID, appName)
	if err != nil {
		return model.OriginSetting{}, err
	}
	c := chainOf(r, OwnerOfContext(ctx))
	e, ok := resolveKey(r, c, key, nil)
	if !ok {
		return model.OriginSetting{}, model.Errorf(model.NotFound, "setting %q has no value for application %q on this host", key, appName)
	}
	out := model.OriginSetting{Key: key, Value: e.Value, Schema: e.Schema, From: e.From, Secret: e.Secret || leadsToSecret(r, c, key, nil)}
	if row := nearest(r, c, key); row != nil {
		out.Owner = row.Owner
	}
	return out, nil
}

// leadsToSecret says whether a key is a link, over any number of others, to one that is shown as secret where it
// stands: by its own schema, or by that of a parameter which it may stand for.
func leadsToSecret(r state.Reader, c chain, key string, seen []string) bool {
	row := nearest(r, c, key)
	if row == nil || row.Kind() != model.SettingLink || len(seen) >= maxLinks || slices.Contains(seen, row.Key()) {
		return false
	}
	t, err := model.ParseLink(row.Link)
	if err != nil {
		return false
	}
	o, ok := ownerAt(r, t)
	if !ok || o.OrgID != row.Owner.OrgID {
		return false
	}
	to := chainOf(r, o)
	if s := nearest(r, to, t.Key); s != nil && isSecret(s.Schema) {
		return true
	}
	return isSecret(parameterSchema(r, o, t.Key)) || leadsToSecret(r, to, t.Key, append(slices.Clone(seen), row.Key()))
}
