package orchestrate

import (
	"cmp"
	"slices"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// OrchestrationByName finds an orchestration of an organization. Error: NotFound.
func OrchestrationByName(r state.Reader, orgID, name string) (*model.OrchestrationRow, error) {
	o, ok := state.Find[model.OrchestrationRow](r, model.OrchestrationNamed(orgID, name))
	if !ok {
		return nil, model.Errorf(model.NotFound, "orchestration %q not found", name)
	}
	return o, nil
}

// Orchestrations lists the orchestrations of an organization by name.
func Orchestrations(r state.Reader, orgID string) []*model.OrchestrationRow {
	return byName(state.List[model.OrchestrationRow](r, model.OrchestrationsOf(orgID)), func(o *model.OrchestrationRow) string { return o.Name })
}

// OrchestrationsOfHost lists by name those with a group that the host is in.
func OrchestrationsOfHost(r state.Reader, orgID, hostID string) []*model.OrchestrationRow {
	var out []*model.OrchestrationRow
	for _, g := range hostgroupsOf(r, hostID) {
		for _, o := range state.List[model.OrchestrationRow](r, model.OrchestrationsNaming(g.ID)) {
			if o.OrgID == orgID && !slices.ContainsFunc(out, func(have *model.OrchestrationRow) bool { return have.ID == o.ID }) {
				out = append(out, o)
			}
		}
	}
	return byName(out, func(o *model.OrchestrationRow) string { return o.Name })
}

// OrchestrationDoc is the document of an orchestration, with its host groups in full: show and may as of HostgroupDoc.
func OrchestrationDoc(r state.Reader, o *model.OrchestrationRow, show Show, may func(*model.HostRow) bool) model.Orchestration {
	doc := model.Orchestration{
		UUID: o.ID, Version: o.Version, Name: o.Name, Description: o.Description, Organization: organizationName(r, o.OrgID),
		Operations: []model.Operation{}, Hostgroups: []model.OrderedHostgroup{},
	}
	for i, op := range o.Operations {
		doc.Operations = append(doc.Operations, model.Operation{
			Position: i, Application: applicationName(r, op.AppID), Handler: op.Handler, ServiceAction: op.ServiceAction,
		})
	}
	for i, id := range o.Hostgroups {
		if g, ok := state.Get[model.HostgroupRow](r, id); ok {
			doc.Hostgroups = append(doc.Hostgroups, model.OrderedHostgroup{Position: i, Hostgroup: HostgroupDoc(r, g, show, may)})
		}
	}
	return doc
}

// CreateOrchestration stores an orchestration. What it names must be there. Errors: NotFound (the organization),
// Invalid, Conflict (the name is taken).
func CreateOrchestration(tx *state.Tx, orgID string, doc model.Orchestration) (*model.OrchestrationRow, error) {
	if _, err := OrganizationByID(tx, orgID); err != nil {
		return nil, err
	}
	o := &model.OrchestrationRow{ID: newID(), OrgID: orgID, Version: 1}
	return o, putOrchestration(tx, o, doc)
}

// putOrchestration lays a document over a row and writes it.
func putOrchestration(tx *state.Tx, o *model.OrchestrationRow, doc model.Orchestration) error {
	if err := model.CheckName("orchestration", doc.Name); err != nil {
		return err
	}
	if doc.Name != o.Name {
		if _, taken := state.Find[model.OrchestrationRow](tx, model.OrchestrationNamed(o.OrgID, doc.Name)); taken {
			return taken409("orchestration", doc.Name)
		}
	}
	ops := slices.Clone(doc.Operations)
	slices.SortStableFunc(ops, func(a, b model.Operation) int { return cmp.Compare(a.Position, b.Position) })
	o.Operations, o.Hostgroups = nil, nil
	for i, op := range ops {
		row, err := operationRow(tx, o.OrgID, i, op)
		if err != nil {
			return err
		}
		o.Operations = append(o.Operations, row)
	}
	groups := slices.Clone(doc.Hostgroups)
	slices.SortStableFunc(groups, func(a, b model.OrderedHostgroup) int { return cmp.Compare(a.Position, b.Position) })
	for _, g := range groups {
		row, err := HostgroupByName(tx, o.OrgID, g.Hostgroup.Name)
		if err != nil {
			return model.Errorf(model.Invalid, "orderedHostGroup names %q, which does not exist: create the host group first", g.Hostgroup.Name)
		}
		if slices.Contains(o.Hostgroups, row.ID) {
			return model.Errorf(model.Invalid, "host group %q is there twice: keep one", row.Name)
		}
		o.Hostgroups = append(o.Hostgroups, row.ID)
	}
	o.Name, o.Description = doc.Name, doc.Description
	return state.Put(tx, o)
}

// operationRow finds what an operation names. Errors: Invalid.
func operationRow(r state.Reader, orgID string, i int, op model.Operation) (model.OperationRow, error) {
	none := model.OperationRow{}
	a, err := ApplicationByName(r, orgID, op.Application)
	if err != nil {
		return none, model.Errorf(model.Invalid, "operation %d names the application %q, which does not exist: create it first", i+1, op.Application)
	}
	handler := given(op.Handler)
	switch {
	case handler == (op.ServiceAction != nil):
		return none, model.Errorf(model.Invalid, "operation %d: give either handler or serviceAction", i+1)
	case handler && a.Document.Handler(*op.Handler) == nil:
		return none, model.Errorf(model.Invalid, "operation %d: application %q has no handler %q: correct the name", i+1, a.Name, *op.Handler)
	case !handler && a.Document.Service(op.ServiceAction.Name) == nil:
		return none, model.Errorf(model.Invalid, "operation %d: application %q has no service %q: correct the name", i+1, a.Name, op.ServiceAction.Name)
	case !handler && op.ServiceAction.Action == "":
		return none, model.Errorf(model.Invalid, "operation %d: serviceAction has no action: give one, such as STOP", i+1)
	}
	if !handler {
		op.Handler = nil
	}
	return model.OperationRow{AppID: a.ID, Handler: op.Handler, ServiceAction: op.ServiceAction}, nil
}

// UpdateOrchestration changes an orchestration. Its handlers have a collection of their own. Errors: NotFound,
// Invalid, Conflict (the name is taken).
func UpdateOrchestration(tx *state.Tx, orgID, id string, patch []byte) (*model.OrchestrationRow, error) {
	o, err := editOrchestration(tx, orgID, id)
	if err != nil {
		return nil, err
	}
	doc, err := model.Merge(OrchestrationDoc(tx, o, Show{}, nil), patch)
	if err != nil {
		return nil, err
	}
	o.Version++
	return o, putOrchestration(tx, o, doc)
}

func editOrchestration(tx *state.Tx, orgID, id string) (*model.OrchestrationRow, error) {
	o, ok := state.Edit[model.OrchestrationRow](tx, id)
	if !ok || o.OrgID != orgID {
		return nil, model.Errorf(model.NotFound, "orchestration not found")
	}
	return o, nil
}

// DeleteOrchestration deletes an orchestration with its handlers. Error: NotFound.
func DeleteOrchestration(tx *state.Tx, orgID, id string) error {
	if _, err := editOrchestration(tx, orgID, id); err != nil {
		return err
	}
	state.Delete[model.OrchestrationRow](tx, id)
	return nil
}

// CloneOrchestration copies an orchestration with its handlers. Errors: NotFound, Invalid, Conflict.
func CloneOrchestration(tx *state.Tx, orgID, id, name string) (*model.OrchestrationRow, error) {
	o, err := editOrchestration(tx, orgID, id)
	if err != nil {
		return nil, err
	}
	if err := model.CheckName("orchestration", name); err != nil {
		return nil, err
	}
	if _, taken := state.Find[model.OrchestrationRow](tx, model.OrchestrationNamed(orgID, name)); taken {
		return nil, taken409("orchestration", name)
	}
	o.ID, o.Version, o.Name = newID(), 1, name
	for i := range o.Handlers {
		o.Handlers[i].UUID, o.Handlers[i].Version = newID(), 1
	}
	return o, state.Put(tx, o)
}

// notOrchestrated refuses to delete what an orchestration names. Error: Conflict, with the list.
func notOrchestrated(r state.Reader, id, kind, name string) error {
	using := byName(state.List[model.OrchestrationRow](r, model.OrchestrationsNaming(id)), func(o *model.OrchestrationRow) string { return o.Name })
	if len(using) == 0 {
		return nil
	}
	e := model.Errorf(model.Conflict, "%s %q is named by %d orchestration(s): change them first", kind, name, len(using))
	for _, o := range using {
		e.Messages = append(e.Messages, o.Name)
	}
	return e
}

// orchestrationHandler finds a handler by name.
func orchestrationHandler(o *model.OrchestrationRow, name string) (int, error) {
	i := slices.IndexFunc(o.Handlers, func(h model.OrchestrationHandler) bool { return h.Name == name })
	if i < 0 {
		return 0, model.Errorf(model.NotFound, "orchestration %q has no handler %q", o.Name, name)
	}
	return i, nil
}

// GetOrchestrationHandler is one handler of an orchestration. Error: NotFound.
func GetOrchestrationHandler(o *model.OrchestrationRow, name string) (model.OrchestrationHandler, error) {
	i, err := orchestrationHandler(o, name)
	if err != nil {
		return model.OrchestrationHandler{}, err
	}
	return o.Handlers[i], nil
}

// PutOrchestrationHandler creates a handler, when name is "", or changes the one of that name. Errors: NotFound,
// Invalid, Conflict (the name is taken).
func PutOrchestrationHandler(tx *state.Tx, orgID, id, name string, patch []byte) (model.OrchestrationHandler, error) {
	none := model.OrchestrationHandler{}
	o, err := editOrchestration(tx, orgID, id)
	if err != nil {
		return none, err
	}
	at, was := len(o.Handlers), model.OrchestrationHandler{UUID: newID()}
	if name != "" {
		if at, err = orchestrationHandler(o, name); err != nil {
			return none, err
		}
		was = o.Handlers[at]
	}
	doc, err := model.Merge(was, patch)
	if err != nil {
		return none, err
	}
	doc.UUID, doc.Version = was.UUID, was.Version+1
	if doc.Triggers == nil {
		doc.Triggers = []string{}
	}
	if err := model.CheckName("handler", doc.Name); err != nil {
		return none, err
	}
	if slices.Contains(doc.Triggers, "") {
		return none, model.Errorf(model.Invalid, "triggers holds an empty text: name a setting key")
	}
	if _, err := orchestrationHandler(o, doc.Name); err == nil && doc.Name != name {
		return none, taken409("handler", doc.Name)
	}
	if at == len(o.Handlers) {
		o.Handlers = append(o.Handlers, doc)
	} else {
		o.Handlers[at] = doc
	}
	o.Version++
	return doc, state.Put(tx, o)
}

// DeleteOrchestrationHandler removes a handler. Error: NotFound.
func DeleteOrchestrationHandler(tx *state.Tx, orgID, id, name string) error {
	o, err := editOrchestration(tx, orgID, id)
	if err != nil {
		return err
	}
	i, err := orchestrationHandler(o, name)
	if err != nil {
		return err
	}
	o.Handlers = slices.Delete(o.Handlers, i, i+1)
	o.Version++
	return state.Put(tx, o)
}
