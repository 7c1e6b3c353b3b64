package orchestrate

import (
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// Tables are the tables of the nouns, with what is told of each change. An event names the organization, and the
// object by the key of its row; that of a machine's presence names the host. Counters, marks, orders and keys are
// the cluster's own affair: nothing is told of them.
func Tables() []state.TableDef {
	return append([]state.TableDef{
		sealed(func(o *model.OrganizationRow) string { return o.ID }, func(o *model.OrganizationRow) error { return model.CheckStoredName("organization", o.Name) }, state.SchemaFirst, false),
		told(func(e *model.EnvironmentRow) string { return e.OrgID }, func(e *model.EnvironmentRow) error { return model.CheckStoredName("environment", e.Name) }),
		told(func(h *model.HostRow) string { return h.OrgID }, func(h *model.HostRow) error { return model.CheckStoredName("host", h.Name) }),
		sealed(func(a *model.ApplicationRow) string { return a.OrgID }, func(a *model.ApplicationRow) error { return model.CheckStoredName("application", a.Name) }, state.SchemaFirst, false),
		told(func(c *model.ContextRow) string { return c.OrgID }, nil),
		sealed(func(s *model.SettingRow) string { return s.Owner.OrgID }, nil, state.SchemaFirst, false),
		told(func(i *model.InstanceRow) string { return i.OrgID }, nil),
		sealed(func(c *model.ComplianceRow) string { return c.OrgID }, nil, state.SchemaFirst, false),
		told(func(a *model.Agent) string { return a.OrgID }, nil),
		told(func(t *model.EnrolToken) string { return t.OrgID }, nil),
		told(func(g *model.GroupRow) string { return g.Owner.OrgID }, nil),
		told(func(k *model.ApplicationKeyRow) string { return k.OrgID }, nil),
		state.Define[model.UserRow](state.TableOptions[model.UserRow]{Event: userEvent}),
		state.Define[model.Change](state.TableOptions[model.Change]{Event: changeEvent, Sealed: changeDomain}),
		state.Define[model.Presence](state.TableOptions[model.Presence]{Event: presenceEvent}),
		state.Define[model.Lanes](state.TableOptions[model.Lanes]{}),
		state.Define[model.AlertMark](state.TableOptions[model.AlertMark]{}),
		state.Define[model.ChangeCounter](state.TableOptions[model.ChangeCounter]{}),
		state.Define[model.Order](state.TableOptions[model.Order]{}),
		state.Define[model.RequestRow](state.TableOptions[model.RequestRow]{}),
		state.Define[model.RequestMark](state.TableOptions[model.RequestMark]{}),
		state.Define[model.OrgKey](state.TableOptions[model.OrgKey]{Secret: true, Sealed: func(_ state.Reader, k *model.OrgKey) string { return k.OrgID }}),
	}, append(tablesOfSchema2(), tablesOfPeople()...)...)
}

// tablesOfSchema2 came after the first schema: members that know no other have no rules for them.
func tablesOfSchema2() []state.TableDef {
	return []state.TableDef{
		furnished[model.PlatformRow](), furnished[model.DistributionRow](),
		since2(func(c *model.PlatformContextRow) string { return c.OrgID }, nil, false),
		since2(func(c *model.DistributionContextRow) string { return c.OrgID }, nil, false),
		since2(func(h *model.HostgroupRow) string { return h.OrgID }, func(h *model.HostgroupRow) error { return model.CheckStoredName("host group", h.Name) }, false),
		sealed(func(o *model.OrchestrationRow) string { return o.OrgID }, func(o *model.OrchestrationRow) error { return model.CheckStoredName("orchestration", o.Name) }, state.SchemaEvents, false),
		sealed(func(w *model.WebhookRow) string { return w.OrgID }, nil, state.SchemaEvents, true),
		sealed(func(n *model.NotificationRow) string { return n.OrgID }, nil, state.SchemaEvents, true),
		since2(func(m *model.RpmModuleRow) string { return m.OrgID }, nil, false),
		sealed(func(g *model.GitRow) string { return g.OrgID }, nil, state.SchemaEvents, true),
		sealed(func(j *model.JobRow) string { return j.OrgID }, nil, state.SchemaEvents, false),
		sealed(func(w *model.MachineWork) string { return w.OrgID }, nil, state.SchemaEvents, false),
		state.Define[model.IntentRow](state.TableOptions[model.IntentRow]{Since: state.SchemaEvents, Secret: true,
			Sealed: func(_ state.Reader, i *model.IntentRow) string { return i.OrgID }}),
		state.Define[model.IntentCounter](state.TableOptions[model.IntentCounter]{Since: state.SchemaEvents}),
		state.Define[model.IntentMark](state.TableOptions[model.IntentMark]{Since: state.SchemaEvents}),
		quotaTable(),
		state.Define[model.UsageRow](state.TableOptions[model.UsageRow]{Since: state.SchemaLogs}),
		state.Define[model.Delivery](state.TableOptions[model.Delivery]{Since: state.SchemaLogs}),
		state.Define[model.WebhookHealth](state.TableOptions[model.WebhookHealth]{Since: state.SchemaLogs}),
		state.Define[model.EventMark](state.TableOptions[model.EventMark]{Since: state.SchemaLogs}),
		state.Define[model.FileLinkRow](state.TableOptions[model.FileLinkRow]{Since: state.SchemaEvents, Secret: true}),
	}
}

// quotaTable came with schema 3.
func quotaTable() state.TableDef {
	o := toldOptions(func(q *model.QuotaRow) string { return q.OrgID }, func(q *model.QuotaRow) error { return q.Quota.Validate() })
	o.Since = state.SchemaLogs
	return state.Define[model.QuotaRow](o)
}

// tablesOfPeople came with schema 2, too. Of logins nothing is told but in their lists.
func tablesOfPeople() []state.TableDef {
	return []state.TableDef{
		since2(func(i *model.InvitationRow) string { return i.Owner.OrgID }, nil, false),
		state.Define[model.SessionRow](state.TableOptions[model.SessionRow]{Since: state.SchemaEvents, Secret: true}),
		state.Define[model.LoginKeys](state.TableOptions[model.LoginKeys]{Since: state.SchemaEvents, Secret: true, Sealed: ofSite[model.LoginKeys]}),
		state.Define[model.TOTPRow](state.TableOptions[model.TOTPRow]{Since: state.SchemaEvents, Secret: true, Sealed: ofSite[model.TOTPRow]}),
		state.Define[model.RegistrationRow](state.TableOptions[model.RegistrationRow]{Since: state.SchemaEvents, Secret: true}),
		state.Define[model.IdentityRow](state.TableOptions[model.IdentityRow]{Since: state.SchemaEvents}),
		state.Define[model.LastUseRow](state.TableOptions[model.LastUseRow]{Since: state.SchemaEvents}),
	}
}

// furnished defines the table of a thing with parameters and files.
func furnished[T any, P interface {
	row[T]
	model.Furnished
}]() state.TableDef {
	return sealed[T, P](func(r *T) string { return P(r).Base().OrgID }, func(r *T) error { return model.CheckStoredName(P(r).Table(), P(r).Base().Name) }, state.SchemaEvents, false)
}

// since2 is told for a table that came with schema 2.
func since2[T any, P row[T]](org func(*T) string, check func(*T) error, secret bool) state.TableDef {
	o := toldOptions[T, P](org, check)
	o.Since, o.Secret = state.SchemaEvents, secret
	return state.Define[T, P](o)
}

// sealed is told for a table whose rows hold secrets: they are encrypted with the organization's key. All values of
// settings are, and all of an application, not only what a schema calls secret: so none is left in clear when a parameter
// becomes secret later.
func sealed[T any, P row[T]](org func(*T) string, check func(*T) error, since uint32, secret bool) state.TableDef {
	o := toldOptions[T, P](org, check)
	o.Since, o.Secret = since, secret
	o.Sealed = func(_ state.Reader, r *T) string { return org(r) }
	return state.Define[T, P](o)
}

// ofSite seals rows of what belongs to no organization.
func ofSite[T any](state.Reader, *T) string { return state.DomainSite }

// changeDomain is the organization of the host: the tasks of a change hold rendered files.
func changeDomain(r state.Reader, c *model.Change) string { return domainOfHost(r, c.HostID) }

func domainOfHost(r state.Reader, hostID string) string {
	if h, ok := state.Get[model.HostRow](r, hostID); ok {
		return h.OrgID
	}
	return state.DomainSite
}

// row is a noun whose pointer is a row.
type row[T any] interface {
	*T
	state.Row
}

// told defines a table of an organization's rows, whose changes are told to it. A row without an organization would
// be outside all walls, and is refused.
func told[T any, P row[T]](org func(*T) string, check func(*T) error) state.TableDef {
	return state.Define[T, P](toldOptions[T, P](org, check))
}

func toldOptions[T any, P row[T]](org func(*T) string, check func(*T) error) state.TableOptions[T] {
	return state.TableOptions[T]{
		Validate: func(r *T) error {
			if org(r) == "" {
				return model.Errorf(model.Internal, "the row %q of table %s names no organization", P(r).Key(), P(r).Table())
			}
			if check == nil {
				return nil
			}
			return check(r)
		},
		Event: func(_ state.Reader, r *T) (string, string, bool) { return org(r), P(r).Key(), true },
	}
}

// userEvent: a user belongs to no organization.
func userEvent(_ state.Reader, u *model.UserRow) (org, object string, ok bool) { return "", u.ID, true }

// changeEvent finds the organization of a change by its host. When both are deleted at once, the host's event is enough.
func changeEvent(r state.Reader, c *model.Change) (org, object string, ok bool) {
	h, ok := state.Get[model.HostRow](r, c.HostID)
	if !ok {
		return "", "", false
	}
	return h.OrgID, c.ID, true
}

// presenceEvent finds the host of the agent that came or went.
func presenceEvent(r state.Reader, p *model.Presence) (org, object string, ok bool) {
	a, ok := state.Get[model.Agent](r, p.AgentID)
	if !ok {
		return "", "", false
	}
	return a.OrgID, a.HostID, true
}
