package orchestrate

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// QueueChange numbers a draft, stores its contents and makes it a change of the host, which is UPDATING from then
// on. A draft without tasks, or for a host without a machine whose agent has enrolled, is dropped: the change is nil. Numbers begin at 0
// and are never given twice. Error: TooLarge when a content or the change does not fit a commit.
func QueueChange(tx *state.Tx, hostID string, d Draft) (*model.Change, error) {
	if len(d.Tasks) == 0 {
		return nil, nil
	}
	if i, ok := state.Get[model.InstanceRow](tx, hostID); !ok || i.Provisioning { // then what is described gets installed
		return nil, nil
	}
	if err := catchUp(tx, hostID); err != nil {
		return nil, err
	}
	return queueNow(tx, hostID, d, tx.Actor())
}

// queueNow is QueueChange once the host has got all that earlier writes mean for it. actor is who asked for it.
func queueNow(tx *state.Tx, hostID string, d Draft, actor string) (*model.Change, error) {
	if len(d.Tasks) == 0 {
		return nil, nil
	}
	counter, ok := state.Edit[model.ChangeCounter](tx, hostID)
	if !ok {
		counter = &model.ChangeCounter{HostID: hostID}
	}
	for i := range d.Tasks {
		content, ok := d.Contents[i]
		if !ok {
			continue
		}
		digest, err := state.PutContent(tx, domainOfHost(tx.Quiet(), hostID), content)
		if model.CodeOf(err) == model.TooLarge {
			return nil, model.Errorf(model.TooLarge, "file %q of application %q comes to %d bytes once rendered, which is too large for a template: make it smaller, or split it",
				d.Tasks[i].Origin.Name, d.Tasks[i].Origin.Application, len(content))
		}
		if err != nil {
			return nil, err
		}
		d.Tasks[i].Content = digest
	}
	c := &model.Change{
		ID: newID(), HostID: hostID, OrderNum: counter.Next, Description: d.Description, Created: tx.Now(), Actor: actor,
		Tasks: d.Tasks, Epoch: tx.Epoch(), Intent: d.intent, Retries: d.retries,
	}
	if n := len(toJSON(c)); n > maxPlanned {
		return nil, model.Errorf(model.TooLarge, "the change %q has %d tasks and takes %d bytes; at most %d are possible: make it smaller, by splitting an application", c.Description, len(c.Tasks), n, maxPlanned)
	}
	counter.Next++
	if err := state.Put(tx, counter); err != nil {
		return nil, err
	}
	return c, state.Put(tx, c)
}

// Changes lists the changes of a host by orderNum: those still to be processed, or with processed all.
// Error: NotFound (the host).
func Changes(r state.Reader, orgID, hostID string, processed bool) ([]model.ChangeView, error) {
	h, err := HostByID(r, orgID, hostID)
	if err != nil {
		return nil, err
	}
	rng := model.OpenChangesOf(hostID)
	if processed {
		rng = model.ChangesOf(hostID)
	}
	out := []model.ChangeView{}
	for _, c := range byNumber(state.List[model.Change](r, rng)) {
		out = append(out, changeView(r, h, c))
	}
	return out, nil
}

func byNumber(cs []*model.Change) []*model.Change {
	cs = slices.Clone(cs)
	slices.SortFunc(cs, func(a, b *model.Change) int { return cmp.Compare(a.OrderNum, b.OrderNum) })
	return cs
}

func changeView(r state.Reader, h *model.HostRow, c *model.Change) model.ChangeView {
	v := model.ChangeView{
		UUID: c.ID, OrderNum: c.OrderNum, Key: c.ID, Description: c.Description, Organization: organizationName(r, h.OrgID),
		Host: h.Name, Created: model.FormatTime(c.Created), Actor: c.Actor, Done: c.Done, Cancelled: c.Cancelled, Tasks: []model.TaskView{},
	}
	if e, ok := state.Get[model.EnvironmentRow](r, h.EnvID); ok {
		v.Environment = e.Name
	}
	if !c.Done {
		v.Waiting = WaitsFor(r, h.ID)
	}
	for i := range c.Tasks {
		t := &c.Tasks[i]
		v.Tasks = append(v.Tasks, model.TaskView{
			OrderNum: t.OrderNum, Description: t.Description, Status: t.Status, Error: t.Error,
			Interrupted: t.Interrupted, Changed: t.Changed, Output: t.Output,
		})
	}
	return v
}

// changeNumbered finds a change of a host. Error: NotFound.
func changeNumbered(r state.Reader, orgID, hostID string, num int) (*model.HostRow, *model.Change, error) {
	h, err := HostByID(r, orgID, hostID)
	if err != nil {
		return nil, nil, err
	}
	c, ok := state.Find[model.Change](r, model.ChangeNumbered(hostID, num))
	if !ok {
		return nil, nil, model.Errorf(model.NotFound, "host %q has no change %d", h.Name, num)
	}
	return h, c, nil
}

// GetChange is one change of a host. Error: NotFound.
func GetChange(r state.Reader, orgID, hostID string, num int) (model.ChangeView, error) {
	h, c, err := changeNumbered(r, orgID, hostID, num)
	if err != nil {
		return model.ChangeView{}, err
	}
	return changeView(r, h, c), nil
}

// inFlight says whether an agent may be working on the change.
func inFlight(c *model.Change) bool { return !c.Done && c.Order != "" }

// DeleteChange deletes a change that is processed or not yet begun. Errors: NotFound, Conflict (the agent has it).
func DeleteChange(tx *state.Tx, orgID, hostID string, num int) error {
	_, c, err := changeNumbered(tx, orgID, hostID, num)
	if err != nil {
		return err
	}
	if inFlight(c) {
		return model.Errorf(model.Conflict, "change %d is on its way to the agent: cancel it, and delete it once it is processed", num)
	}
	if c.Done && !c.Failed() { // it may have made good what failed before
		if err := noteMended(tx, hostID, state.Keys[model.Change](tx, model.FailedChangesOf(hostID))...); err != nil {
			return err
		}
	}
	dropChange(tx, c)
	return nil
}

// dropChange deletes a change with the order that carried it.
func dropChange(tx *state.Tx, c *model.Change) {
	if c.Order != "" {
		state.Delete[model.Order](tx, c.Order)
	}
	state.Delete[model.Change](tx, c.ID)
}

// DeleteChanges deletes the processed changes of a host, and unless processedOnly those not yet begun; one that
// the agent has is left. Error: NotFound (the host).
func DeleteChanges(tx *state.Tx, orgID, hostID string, processedOnly bool) error {
	if _, err := HostByID(tx, orgID, hostID); err != nil {
		return err
	}
	for _, c := range state.List[model.Change](tx, model.ChangesOf(hostID)) {
		if c.Done || !processedOnly && !inFlight(c) {
			dropChange(tx, c)
		}
	}
	return nil
}

// cancelled begins the text of a task that was not done because its change was cancelled.
const cancelled = "cancelled: "

// CancelChange ends a change before its next task. One that no agent has ends at once. Of one that is out, the agent is
// told: what it has begun it finishes, and says so; until then, or until the order expires, the change stays open.
// Errors: NotFound, Conflict (it is processed).
func CancelChange(tx *state.Tx, orgID, hostID string, num int) (*model.Change, error) {
	_, found, err := changeNumbered(tx, orgID, hostID, num)
	if err != nil {
		return nil, err
	}
	if found.Done {
		return nil, model.Errorf(model.Conflict, "change %d is processed already: there is nothing to cancel", num)
	}
	c, _ := state.Edit[model.Change](tx, found.ID)
	if c.Cancelled {
		return c, nil
	}
	c.Cancelled = true
	if o, ok := state.Edit[model.Order](tx, c.Order); ok && !o.Done {
		o.Cancel = true
		if err := state.Put(tx, o); err != nil {
			return nil, err
		}
		return c, state.Put(tx, c)
	}
	for i := range c.Tasks {
		if t := &c.Tasks[i]; t.Status == model.TaskPending {
			t.Status, t.Error = model.TaskError, cancelled+"it was not begun"
			fit(c, t)
		}
	}
	c.Done = true
	if err := tellEnd(tx, c); err != nil {
		return nil, err
	}
	return c, state.Put(tx, c)
}

// RetryChange queues again the tasks of a done change that are not OK, in their order; skipInterrupted leaves out
// the one that was cut off, for when it is known to have taken effect. Files are rendered anew. A service whose
// files were written before the change failed is restarted, as it would have been.
// Errors: NotFound, Conflict (the change is not done, or nothing failed; the host has no instance).
func RetryChange(tx *state.Tx, orgID, hostID string, num int, skipInterrupted bool) (*model.Change, error) {
	h, old, err := changeNumbered(tx, orgID, hostID, num)
	if err != nil {
		return nil, err
	}
	if !old.Done {
		return nil, model.Errorf(model.Conflict, "change %d is not processed yet: wait for it to end", num)
	}
	d := Draft{Description: old.Description + " (retry of change " + strconv.Itoa(num) + ")", Contents: map[int][]byte{}, retries: old.ID}
	now := map[int]int{} // new orderNum by old
	for i := range old.Tasks {
		t := old.Tasks[i]
		if t.Status == model.TaskOK || skipInterrupted && t.Interrupted {
			continue
		}
		again := fresh(t, len(d.Tasks))
		now[i] = again.OrderNum
		content, hasContent := planAgain(tx, h, &again)
		written := false
		again.Restart = nil
		for _, from := range t.Restart {
			if n, ok := now[from]; ok {
				again.Restart = append(again.Restart, n)
			} else if from < len(old.Tasks) {
				written = written || old.Tasks[from].Changed
			}
		}
		d.Tasks = append(d.Tasks, again)
		if hasContent {
			d.Contents[again.OrderNum] = content
		}
		if written {
			d.Tasks = append(d.Tasks, restartOf(again, len(d.Tasks)))
		}
	}
	if len(d.Tasks) == 0 {
		return nil, model.Errorf(model.Conflict, "change %d has nothing to retry: all its tasks are done", num)
	}
	c, err := QueueChange(tx, hostID, d)
	if err == nil && c == nil {
		err = cmp.Or(hasMachine(tx, h), noInstance(model.Conflict, h))
	}
	return c, err
}

// fresh is a task as if it had never run.
func fresh(t model.Task, num int) model.Task {
	t.OrderNum, t.Status = num, model.TaskPending
	t.Error, t.Output, t.Interrupted, t.Changed = "", "", false, false
	return t
}

func restartOf(t model.Task, num int) model.Task {
	return model.Task{
		OrderNum: num, Description: "Restart service " + t.Origin.Name, Status: model.TaskPending,
		Collection: t.Collection, Resource: t.Resource, Verb: verbAct, Action: "restart", Origin: t.Origin,
	}
}

// planAgain brings a task up to what its application declares now: for files the rendered content, and for any task
// whose planning failed whether it still does. A task whose declaration is gone stays as it was.
func planAgain(r state.Reader, h *model.HostRow, t *model.Task) ([]byte, bool) {
	if t.Verb != verbApply || t.Monitor == nil || !*t.Monitor {
		return nil, false
	}
	ctx, app, err := ContextByName(r, h.OrgID, h.ID, t.Origin.Application)
	if err != nil {
		return nil, false
	}
	p := newPlanner(r, ctx)
	switch t.Origin.Type {
	case model.TypeFiles:
		f := app.Document.File(t.Origin.Name)
		if f == nil || f.Path != t.Resource {
			return nil, false
		}
		p.file(f)
	case model.TypeUsers:
		for i := range app.Document.Users {
			if app.Document.Users[i].Name == t.Origin.Name {
				p.user(&app.Document.Users[i])
			}
		}
	}
	if len(p.draft.Tasks) != 1 {
		return nil, false
	}
	is := p.draft.Tasks[0]
	t.Want, t.Content, t.Fail = is.Want, is.Content, is.Fail
	content, ok := p.draft.Contents[0]
	return content, ok
}
