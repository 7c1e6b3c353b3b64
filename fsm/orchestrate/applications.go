package orchestrate

import (
	"bytes"
	"slices"
	"strings"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// ApplicationDoc is the document of an application: as it was given, with what the server sets, and secret defaults as
// show says.
func ApplicationDoc(r state.Reader, a *model.ApplicationRow, show Show) model.Application {
	doc := a.Document
	_, doc.Parameters = shownParts(a, show)
	doc.UUID, doc.Version, doc.Locked = a.ID, a.Version, a.Locked
	doc.Organization = organizationName(r, a.OrgID)
	return doc
}

// CreateApplication creates an application with its files and parameters. Errors: NotFound (the organization),
// Invalid (one text per fault), Conflict (the name is taken).
func CreateApplication(tx *state.Tx, orgID string, doc model.Application) (*model.ApplicationRow, error) {
	if _, err := OrganizationByID(tx, orgID); err != nil {
		return nil, err
	}
	a := &model.ApplicationRow{Kit: model.Kit{ID: newID(), OrgID: orgID, Version: 1, Name: doc.Name}, Document: cloneDocument(doc)}
	a.Document.ClearServerFields()
	if err := a.Document.Validate(); err != nil {
		return nil, err
	}
	if err := checkParameters(a.Document.Parameters); err != nil {
		return nil, err
	}
	for i := range a.Document.Parameters {
		a.Document.Parameters[i].Version = 1
	}
	if _, taken := state.Find[model.ApplicationRow](tx, model.ApplicationNamed(orgID, doc.Name)); taken {
		return nil, taken409("application", doc.Name)
	}
	completeParts(a)
	return a, state.Put(tx, a)
}

// cloneDocument copies so deeply that the copy can be changed: through its JSON, which loses nothing.
func cloneDocument(doc model.Application) model.Application {
	out, err := model.Reread[model.Application](toJSON(doc))
	if err != nil {
		return doc // a document that was decoded once can be again
	}
	return out
}

// editApplication finds an application that may be changed. Errors: NotFound, Conflict (it is locked).
func editApplication(tx *state.Tx, orgID, appID string) (*model.ApplicationRow, error) {
	if _, err := applicationByID(tx, orgID, appID); err != nil {
		return nil, err
	}
	a, _ := state.Edit[model.ApplicationRow](tx, appID)
	if a.Locked {
		return nil, model.Errorf(model.Conflict, "application %q is locked: unlock it first", a.Name)
	}
	return a, nil
}

// UpdateApplication changes an application, but not its files and parameters, which have collections of their own
// (contract section 1.6). On each provisioned host that has it, what differs is queued as one change; with
// t.Force all of it. Errors: NotFound, Invalid, Conflict (the name is taken, it is locked).
func UpdateApplication(tx *state.Tx, orgID, appID string, patch []byte, t Trigger) (*model.ApplicationRow, error) {
	a, err := editApplication(tx, orgID, appID)
	if err != nil {
		return nil, err
	}
	was := a.Document
	return a, applyEdit(tx, orgID, a.ID, t.Force, func() error {
		doc, err := model.Merge(was, patch)
		if err != nil {
			return err
		}
		doc.ClearServerFields()
		doc.Files, doc.Parameters = was.Files, was.Parameters
		if doc.Name != a.Name {
			if _, taken := state.Find[model.ApplicationRow](tx, model.ApplicationNamed(orgID, doc.Name)); taken {
				return taken409("application", doc.Name)
			}
			if err := moveApplicationLinks(tx, orgID, a.Name, doc.Name); err != nil {
				return err
			}
		}
		a.Name, a.Document = doc.Name, doc
		return putKit(tx, a)
	})
}

// applyEdit runs an edit of an application or of its files, and queues what it comes to on each provisioned host that has the
// application: what differs, with force all of it. On many hosts it leaves an intent.
func applyEdit(tx *state.Tx, orgID, appID string, force bool, edit func() error) error {
	many := mayIntend(tx) && len(state.Keys[model.ContextRow](tx, model.ContextsOfApplication(appID))) > maxDirect
	var before []planned
	if !many {
		before = planContexts(tx, appID)
	}
	if err := edit(); err != nil {
		return err
	}
	var drafts hostDrafts
	for _, b := range before {
		is := PlanApply(tx, b.ctx)
		if !force {
			is = onlyDiffering(tx, b, is)
		}
		drafts = append(drafts, hostDraft{b.ctx.HostID, is})
	}
	if many || mayIntend(tx) && drafts.bytes() > maxDirectBytes {
		return intend(tx, model.IntentRow{OrgID: orgID, Kind: model.IntentApplication, AppID: appID, Force: force})
	}
	return drafts.queue(tx)
}

// planned is what an application on a host came to before a change of the application.
type planned struct {
	ctx   *model.ContextRow
	draft Draft
}

func planContexts(r state.Reader, appID string) []planned {
	var out []planned
	for _, ctx := range state.List[model.ContextRow](r, model.ContextsOfApplication(appID)) {
		if _, ok := state.Get[model.InstanceRow](r, ctx.HostID); ok {
			out = append(out, planned{ctx, PlanApply(r, ctx)})
		}
	}
	return out
}

// onlyDiffering keeps the tasks of a draft that were not the same before, and those of services that restart when one of these
// files changes. It adds that what is gone from the application, and no other one declares, is taken away as when the application
// is uninstalled.
func onlyDiffering(r state.Reader, before planned, is Draft) Draft {
	was := map[string]*model.Task{}
	for i := range before.draft.Tasks {
		was[doneKey(&before.draft.Tasks[i])] = &before.draft.Tasks[i]
	}
	out := Draft{Description: is.Description, Contents: map[int][]byte{}}
	now := map[int]int{}
	for i, t := range is.Tasks {
		old, ok := was[doneKey(&t)]
		delete(was, doneKey(&t))
		same := ok && bytes.Equal(old.Want, t.Want) && old.Content == t.Content && old.Fail == t.Fail &&
			before.draft.blank[doneKey(&t)] == is.blank[doneKey(&t)]
		if same && !slices.ContainsFunc(t.Restart, func(from int) bool { _, differs := now[from]; return differs }) {
			continue
		}
		now[i] = len(out.Tasks)
		t.OrderNum = now[i]
		var restart []int
		for _, from := range t.Restart {
			if n, ok := now[from]; ok {
				restart = append(restart, n)
			}
		}
		t.Restart = restart
		out.Tasks = append(out.Tasks, t)
		if c, ok := is.Contents[i]; ok {
			out.Contents[t.OrderNum] = c
		}
	}
	p := newPlanner(r, before.ctx)
	kept := p.shared()
	eachResource(&p.app.Document, func(collection, resource, _ string) { kept[collection+" "+resource] = true })
	for _, old := range slices.Backward(before.draft.Tasks) { // services before the files and packages that they run from
		if _, gone := was[doneKey(&old)]; gone {
			p.takeAway(kept, old.Collection, old.Resource, old.Origin.Name)
		}
	}
	for _, t := range p.draft.Tasks {
		t.OrderNum = len(out.Tasks)
		out.Tasks = append(out.Tasks, t)
	}
	return out
}

// moveApplicationLinks rewrites links that name an application that is renamed.
func moveApplicationLinks(tx *state.Tx, orgID, was, is string) error {
	org := organizationName(tx, orgID)
	for _, key := range state.Keys[model.SettingRow](tx, model.LinksOf(orgID)) {
		row, ok := state.Edit[model.SettingRow](tx, key)
		if !ok {
			continue
		}
		t, err := model.ParseLink(row.Link)
		if err != nil || t.Application != was || t.Organization != org {
			continue
		}
		t.Application = is
		row.Link = t.String()
		row.Version++
		if err := state.Put(tx, row); err != nil {
			return err
		}
	}
	return nil
}

// DeleteApplication deletes an application that no host has. Errors: NotFound, Conflict (in use, locked).
func DeleteApplication(tx *state.Tx, orgID, appID string) error {
	a, err := editApplication(tx, orgID, appID)
	if err != nil {
		return err
	}
	var hosts []string
	for _, c := range state.List[model.ContextRow](tx, model.ContextsOfApplication(appID)) {
		hosts = append(hosts, c.HostID)
	}
	if err := inUse(tx, hosts, "application %q is installed on %d host(s): uninstall it there first", a.Name, len(hosts)); err != nil {
		return err
	}
	if err := notOrchestrated(tx, appID, "application", a.Name); err != nil {
		return err
	}
	dropAll(tx).definitions(appID)
	state.Delete[model.ApplicationRow](tx, appID)
	return nil
}

// CloneApplication copies an application with the contents of its files. Errors: NotFound, Invalid, Conflict.
func CloneApplication(tx *state.Tx, orgID, appID, name string) (*model.ApplicationRow, error) {
	from, err := applicationByID(tx, orgID, appID)
	if err != nil {
		return nil, err
	}
	doc := from.Document
	doc.Name = name
	to, err := CreateApplication(tx, orgID, doc)
	if err != nil {
		return nil, err
	}
	copyParts(&from.Kit, &to.Kit)
	if err := copyDefinitions(tx, from.ID, to.ID); err != nil {
		return nil, err
	}
	return to, state.Put(tx, to)
}

// LockApplication protects an application with its files and parameters from changes, or ends that. Error: NotFound.
func LockApplication(tx *state.Tx, orgID, appID string, locked bool) error {
	if _, err := applicationByID(tx, orgID, appID); err != nil {
		return err
	}
	a, _ := state.Edit[model.ApplicationRow](tx, appID)
	a.Locked = locked
	a.Version++
	return state.Put(tx, a)
}

// followFile rewrites the handlers of an application after a file got another name.
func followFile(doc *model.Application, was, is string) {
	for i := range doc.Handlers {
		for j := range doc.Handlers[i].Do {
			do := &doc.Handlers[i].Do[j]
			if kind, name, _ := strings.Cut(do.Resource, "://"); kind == "file" && name == was {
				do.Resource = "file://" + is
			}
		}
	}
}
