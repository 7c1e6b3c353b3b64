package orchestrate

import (
	"encoding/json"
	"slices"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// InstallApplication puts an application on a host; on a host with an instance it queues the change that
// installs it (contract section 4.2). Errors: NotFound (the host), Invalid, Conflict (it is installed already).
func InstallApplication(tx *state.Tx, orgID, hostID string, doc model.ApplicationContext) (*model.ContextRow, error) {
	host, err := HostByID(tx, orgID, hostID)
	if err != nil {
		return nil, err
	}
	if doc.Application == "" {
		return nil, model.Errorf(model.Invalid, "application is missing: name the application to install")
	}
	app, err := ApplicationByName(tx, orgID, doc.Application)
	if err != nil {
		return nil, model.Errorf(model.Invalid, "application %q does not exist: create it first", doc.Application)
	}
	if _, ok := state.Find[model.ContextRow](tx, model.ContextOf(hostID, app.ID)); ok {
		return nil, model.Errorf(model.Conflict, "application %q is installed on host %q already", app.Name, host.Name)
	}
	if err := checkContext(app, doc); err != nil {
		return nil, err
	}
	if err := catchUp(tx, hostID); err != nil { // what was written before does not concern what comes now
		return nil, err
	}
	ctx := &model.ContextRow{
		ID: newID(), OrgID: orgID, HostID: hostID, AppID: app.ID, Version: 1, Enabled: doc.Enabled, Services: doc.Services,
	}
	for _, other := range state.List[model.ContextRow](tx, model.ContextsOf(hostID)) {
		ctx.Position = max(ctx.Position, other.Position+1)
	}
	if err := state.Put(tx, ctx); err != nil {
		return nil, err
	}
	if err := createSettings(tx, OwnerOfContext(ctx), doc.Settings); err != nil {
		return nil, err
	}
	if _, ok := state.Get[model.InstanceRow](tx, hostID); !ok {
		return ctx, nil
	}
	_, err = QueueChange(tx, hostID, PlanInstall(tx, ctx))
	return ctx, err
}

// checkContext refuses overrides that cannot hold.
func checkContext(app *model.ApplicationRow, doc model.ApplicationContext) error {
	for i, s := range doc.Services {
		if app.Document.Service(s.Name) == nil {
			return model.Errorf(model.Invalid, "services names %q, which application %q does not have: correct the name", s.Name, app.Name)
		}
		for _, other := range doc.Services[:i] {
			if other.Name == s.Name {
				return model.Errorf(model.Invalid, "service %q is there twice: keep one", s.Name)
			}
		}
	}
	if len(doc.Enabled) == 0 {
		return nil
	}
	var v any
	if err := json.Unmarshal(doc.Enabled, &v); err == nil {
		switch v.(type) {
		case nil, bool, string:
			return nil
		}
	}
	return model.Errorf(model.Invalid, "enabled must be true or false, or such a text")
}

// UpdateContext changes the overrides of an application on a host, and queues a change when services are
// switched. Errors: NotFound, Invalid.
func UpdateContext(tx *state.Tx, orgID, hostID, appName string, patch []byte, t Trigger) (*model.ContextRow, error) {
	found, app, err := ContextByName(tx, orgID, hostID, appName)
	if err != nil {
		return nil, err
	}
	type changeable struct {
		Application string                `json:"application"`
		Enabled     json.RawMessage       `json:"enabled,omitempty"`
		Services    []model.ServiceSwitch `json:"services"`
	}
	doc, err := model.Merge(changeable{app.Name, found.Enabled, found.Services}, patch)
	if err != nil {
		return nil, err
	}
	if doc.Application != app.Name {
		return nil, model.Errorf(model.Invalid, "the application of a context cannot change: uninstall %q and install %q", app.Name, doc.Application)
	}
	if err := checkContext(app, model.ApplicationContext{Enabled: doc.Enabled, Services: doc.Services}); err != nil {
		return nil, err
	}
	ctx, _ := state.Edit[model.ContextRow](tx, found.ID)
	ctx.Enabled, ctx.Services = doc.Enabled, doc.Services
	ctx.Version++
	if err := state.Put(tx, ctx); err != nil {
		return nil, err
	}
	if t.Force {
		_, err = QueueChange(tx, hostID, PlanApply(tx, ctx))
		return ctx, err
	}
	_, err = QueueChange(tx, hostID, planSwitch(tx, found, ctx))
	return ctx, err
}

// UninstallApplication takes an application off a host; on a host with an instance it queues the change
// that undoes it, _uninstall handlers first. Error: NotFound.
func UninstallApplication(tx *state.Tx, orgID, hostID, appName string, t Trigger) error {
	ctx, _, err := ContextByName(tx, orgID, hostID, appName)
	if err != nil {
		return err
	}
	draft := PlanUninstall(tx, ctx, t.Handlers)
	watch := affected(tx, OwnerOfContext(ctx), settingKeys(tx, ctx.ID))
	for _, c := range state.List[model.ComplianceRow](tx, model.ComplianceOf(hostID)) {
		if c.AppID == ctx.AppID {
			state.Delete[model.ComplianceRow](tx, c.Key())
		}
	}
	dropOwned(tx, ctx.ID)
	state.Delete[model.ContextRow](tx, ctx.ID)
	if _, err := QueueChange(tx, hostID, draft); err != nil {
		return err
	}
	return watch.queue(tx, false)
}

func settingKeys(r state.Reader, ownerID string) []string {
	var keys []string
	for _, s := range settingRows(r, ownerID) {
		keys = append(keys, s.Name)
	}
	return keys
}

// ContextDoc is the document of an application on a host.
func ContextDoc(r state.Reader, c *model.ContextRow, show Show) model.ApplicationContext {
	doc := model.ApplicationContext{
		UUID: c.ID, Version: c.Version, Application: applicationName(r, c.AppID), Enabled: c.Enabled,
		Services: slices.Clone(c.Services), Settings: Settings(r, OwnerOfContext(c), show), Organization: organizationName(r, c.OrgID),
	}
	if doc.Services == nil {
		doc.Services = []model.ServiceSwitch{}
	}
	if h, ok := state.Get[model.HostRow](r, c.HostID); ok {
		doc.Host = h.Name
		if e, ok := state.Get[model.EnvironmentRow](r, h.EnvID); ok {
			doc.Environment = e.Name
		}
	}
	return doc
}

// HostDoc is the document of a host; its state is derived.
func HostDoc(r state.Reader, h *model.HostRow, show Show) model.Host {
	doc := model.Host{
		UUID: h.ID, Version: h.Version, Name: h.Name, Description: h.Description, Organization: organizationName(r, h.OrgID),
		Applications: []string{}, Settings: Settings(r, OwnerOfHost(h), show), State: HostState(r, h.ID),
	}
	if e, ok := state.Get[model.EnvironmentRow](r, h.EnvID); ok {
		doc.Environment = e.Name
	}
	if _, p, err := PlatformOf(r, h.OrgID, h.ID); err == nil {
		doc.Platform = &p.Name
	}
	if _, d, err := DistributionOf(r, h.OrgID, h.ID); err == nil {
		doc.Distribution = &d.Name
	}
	for _, c := range Contexts(r, h.OrgID, h.ID) {
		doc.Applications = append(doc.Applications, applicationName(r, c.AppID))
	}
	return doc
}

// EnvironmentDoc is the document of an environment.
func EnvironmentDoc(r state.Reader, e *model.EnvironmentRow, show Show) model.Environment {
	doc := model.Environment{
		UUID: e.ID, Version: e.Version, Name: e.Name, Description: e.Description, Organization: organizationName(r, e.OrgID),
		Hosts: []string{}, Settings: Settings(r, OwnerOfEnvironment(e), show),
	}
	for _, h := range Hosts(r, e.OrgID, e.ID) {
		doc.Hosts = append(doc.Hosts, h.Name)
	}
	return doc
}

// OrganizationDoc is the document of an organization, with its access keys: the caller drops them for those
// without the right.
func OrganizationDoc(r state.Reader, o *model.OrganizationRow, show Show) model.Organization {
	doc := model.Organization{
		UUID: o.ID, Version: o.Version, Name: o.Name, Description: o.Description,
		Access:       &model.Access{AccessKey: o.AccessKey, SecretKey: o.SecretKey},
		Environments: []string{}, Groups: model.GroupNames(), Settings: Settings(r, OwnerOfOrganization(o), show),
	}
	for _, e := range Environments(r, o.ID) {
		doc.Environments = append(doc.Environments, e.Name)
	}
	return doc
}
