// Package orchestrate holds the verbs: what a request means, as functions over a transaction or a view.
// They are run by the node that got the request, before the log, and may run many times for one request;
// so they have no effect but the rows they put. Every verb that serves a tenant takes the id of its
// organization and answers NotFound for anything of another one.
package orchestrate

import (
	"cmp"
	"crypto/rand"
	"slices"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// newID makes the id of a new row. A closure that runs again makes another, which is harmless: only one
// run is committed.
func newID() string { return model.NewUUID(rand.Reader) }

// Show says which settings a document shows (contract section 1.3).
type Show struct {
	SecretOnly bool   // only settings whose schema is secret
	NoSecret   bool   // only settings whose schema is not secret
	Obfuscate  bool   // replace the value of secret settings by a mask
	Key        string // only this key; "" is all
	Clear      *bool  // set to true once the value of a secret is shown in clear; nil: nobody asks
}

// clear notes that a secret was shown in clear.
func (s Show) clear() {
	if s.Clear != nil {
		*s.Clear = true
	}
}

// Trigger says what a change of the description sets off (contract section 1.3).
type Trigger struct {
	Handlers bool // run application handlers
	Force    bool // apply again even if nothing differs
}

// OrganizationByName finds an organization; one that is still being imported is not there. Error: NotFound.
func OrganizationByName(r state.Reader, name string) (*model.OrganizationRow, error) {
	o, ok := state.Find[model.OrganizationRow](r, model.OrganizationNamed(name))
	if !ok || o.Importing != nil {
		return nil, model.Errorf(model.NotFound, "organization %q not found", name)
	}
	return o, nil
}

// OrganizationByID finds an organization; one that is being deleted is not there. Error: NotFound.
func OrganizationByID(r state.Reader, orgID string) (*model.OrganizationRow, error) {
	o, ok := state.Get[model.OrganizationRow](r, orgID)
	if !ok || o.Going != nil {
		return nil, model.Errorf(model.NotFound, "organization not found")
	}
	return o, nil
}

// orgKept says whether an organization is not being deleted.
func orgKept(r state.Reader, orgID string) bool {
	_, err := OrganizationByID(r, orgID)
	return err == nil
}

// OrganizationThere says whether there is an organization of an id, and it is being neither imported nor deleted.
func OrganizationThere(r state.Reader, orgID string) bool {
	o, ok := state.Get[model.OrganizationRow](r, orgID)
	return ok && o.Importing == nil && o.Going == nil
}

// OrganizationByAccessKey finds the organization that an access key identifies. Error: NotFound.
func OrganizationByAccessKey(r state.Reader, accessKey string) (*model.OrganizationRow, error) {
	o, ok := state.Find[model.OrganizationRow](r, model.OrganizationOfAccess(accessKey))
	if !ok || accessKey == "" {
		return nil, model.Errorf(model.NotFound, "unknown access key")
	}
	return o, nil
}

// Organizations lists all organizations by name, but for those that are still being imported. Who may see which is for
// the caller to say.
func Organizations(r state.Reader) []*model.OrganizationRow {
	all := slices.DeleteFunc(state.List[model.OrganizationRow](r, model.AllOrganizations), func(o *model.OrganizationRow) bool { return o.Importing != nil })
	return byName(all, func(o *model.OrganizationRow) string { return o.Name })
}

// EnvironmentByName finds an environment of an organization. Error: NotFound.
func EnvironmentByName(r state.Reader, orgID, name string) (*model.EnvironmentRow, error) {
	e, ok := state.Find[model.EnvironmentRow](r, model.EnvironmentNamed(orgID, name))
	if !ok {
		return nil, model.Errorf(model.NotFound, "environment %q not found", name)
	}
	return e, nil
}

// environmentByID finds an environment; one that is being deleted, or whose organization is, is not there.
func environmentByID(r state.Reader, orgID, envID string) (*model.EnvironmentRow, error) {
	e, ok := state.Get[model.EnvironmentRow](r, envID)
	if !ok || e.OrgID != orgID || e.Going != nil {
		return nil, model.Errorf(model.NotFound, "environment not found")
	}
	if _, err := OrganizationByID(r, orgID); err != nil {
		return nil, err
	}
	return e, nil
}

// Environments lists the environments of an organization by name.
func Environments(r state.Reader, orgID string) []*model.EnvironmentRow {
	return byName(state.List[model.EnvironmentRow](r, model.EnvironmentsOf(orgID)), func(e *model.EnvironmentRow) string { return e.Name })
}

// HostByName finds a host of an environment. Error: NotFound.
func HostByName(r state.Reader, orgID, envID, name string) (*model.HostRow, error) {
	h, ok := state.Find[model.HostRow](r, model.HostNamed(envID, name))
	if !ok || h.OrgID != orgID {
		return nil, model.Errorf(model.NotFound, "host %q not found", name)
	}
	return h, nil
}

// HostByID finds a host of an organization. Error: NotFound.
func HostByID(r state.Reader, orgID, hostID string) (*model.HostRow, error) {
	h, ok := state.Get[model.HostRow](r, hostID)
	if !ok || h.OrgID != orgID {
		return nil, model.Errorf(model.NotFound, "host not found")
	}
	return h, nil
}

// Hosts lists the hosts of an environment by name.
func Hosts(r state.Reader, orgID, envID string) []*model.HostRow {
	hosts := state.List[model.HostRow](r, model.HostsOf(envID))
	hosts = slices.DeleteFunc(slices.Clone(hosts), func(h *model.HostRow) bool { return h.OrgID != orgID })
	return byName(hosts, func(h *model.HostRow) string { return h.Name })
}

// ApplicationByName finds an application of an organization. Error: NotFound.
func ApplicationByName(r state.Reader, orgID, name string) (*model.ApplicationRow, error) {
	a, ok := state.Find[model.ApplicationRow](r, model.ApplicationNamed(orgID, name))
	if !ok {
		return nil, model.Errorf(model.NotFound, "application %q not found", name)
	}
	return a, nil
}

func applicationByID(r state.Reader, orgID, appID string) (*model.ApplicationRow, error) {
	a, ok := state.Get[model.ApplicationRow](r, appID)
	if !ok || a.OrgID != orgID {
		return nil, model.Errorf(model.NotFound, "application not found")
	}
	return a, nil
}

// Applications lists the applications of an organization by name.
func Applications(r state.Reader, orgID string) []*model.ApplicationRow {
	return byName(state.List[model.ApplicationRow](r, model.ApplicationsOf(orgID)), func(a *model.ApplicationRow) string { return a.Name })
}

// ContextByName finds an application on a host. Error: NotFound.
func ContextByName(r state.Reader, orgID, hostID, appName string) (*model.ContextRow, *model.ApplicationRow, error) {
	if _, err := HostByID(r, orgID, hostID); err != nil {
		return nil, nil, err
	}
	a, err := ApplicationByName(r, orgID, appName)
	if err != nil {
		return nil, nil, err
	}
	c, ok := state.Find[model.ContextRow](r, model.ContextOf(hostID, a.ID))
	if !ok {
		return nil, nil, model.Errorf(model.NotFound, "application %q is not installed on this host", appName)
	}
	return c, a, nil
}

// Contexts lists the applications of a host by their names.
func Contexts(r state.Reader, orgID, hostID string) []*model.ContextRow {
	cs := state.List[model.ContextRow](r, model.ContextsOf(hostID))
	cs = slices.DeleteFunc(slices.Clone(cs), func(c *model.ContextRow) bool { return c.OrgID != orgID })
	return byName(cs, func(c *model.ContextRow) string { return applicationName(r, c.AppID) })
}

func applicationName(r state.Reader, appID string) string {
	if a, ok := state.Get[model.ApplicationRow](r, appID); ok {
		return a.Name
	}
	return ""
}

// byName gives a sorted copy.
func byName[T any](rows []*T, name func(*T) string) []*T {
	rows = slices.Clone(rows)
	slices.SortFunc(rows, func(a, b *T) int { return cmp.Compare(name(a), name(b)) })
	return rows
}

// OwnerOfOrganization names an organization as the owner of settings and groups.
func OwnerOfOrganization(o *model.OrganizationRow) model.Owner {
	return model.Owner{Level: model.LevelOrganization, OrgID: o.ID, ID: o.ID}
}

// OwnerOfEnvironment names an environment as the owner of settings and groups.
func OwnerOfEnvironment(e *model.EnvironmentRow) model.Owner {
	return model.Owner{Level: model.LevelEnvironment, OrgID: e.OrgID, ID: e.ID}
}

// OwnerOfHost names a host as the owner of settings and groups.
func OwnerOfHost(h *model.HostRow) model.Owner {
	return model.Owner{Level: model.LevelHost, OrgID: h.OrgID, ID: h.ID}
}

// OwnerOfContext names an application on a host as the owner of settings.
func OwnerOfContext(c *model.ContextRow) model.Owner {
	return model.Owner{Level: model.LevelContext, OrgID: c.OrgID, ID: c.ID}
}
