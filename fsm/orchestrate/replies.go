package orchestrate

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// StepOutcome is what an agent tells of one step, after its signature was verified.
type StepOutcome struct {
	OrderID     string
	Step        int // orderNum of the task, or WholeOrder
	OK          bool
	Interrupted bool
	Skipped     bool
	Error       string
	Changed     bool
	Output      string
}

// WholeOrder is the Step of an outcome that is that of all steps of an order.
const WholeOrder = -1

// RecordReply writes the outcome of a step; the change is done when each task has one, in whatever order they
// come. It is safe to repeat: an outcome that is known already, and one
// of an order that is unknown or another agent's, writes nothing. Long texts are cut to head and tail, so that
// the change always fits a commit.
func RecordReply(tx *state.Tx, agentID string, out StepOutcome) error {
	o, ok := state.Edit[model.Order](tx, out.OrderID)
	if !ok || o.AgentID != agentID {
		return nil
	}
	c, ok := state.Edit[model.Change](tx, o.ChangeID)
	if !ok {
		return finishOrder(tx, o, true)
	}
	news := false
	for i := range c.Tasks {
		if (i == out.Step || out.Step == WholeOrder) && recordTask(&c.Tasks[i], out) {
			fit(c, &c.Tasks[i])
			news = true
			unwatched(tx, c.HostID, &c.Tasks[i])
		}
	}
	c.Done = !slices.ContainsFunc(c.Tasks, func(t model.Task) bool { return t.Status == model.TaskPending })
	if news {
		if err := state.Put(tx, c); err != nil {
			return err
		}
	}
	if news && c.Done {
		if err := tellEnd(tx, c); err != nil {
			return err
		}
	}
	return finishOrder(tx, o, c.Done)
}

// expired begins the text of a task whose order ran out unanswered.
const expired = "expired: "

// recordTask gives a task its outcome, once, and says whether that was news. An order that was closed as expired
// and ran after all is told as it went.
func recordTask(t *model.Task, out StepOutcome) bool {
	closed := t.Status == model.TaskError && strings.HasPrefix(t.Error, expired)
	if t.Status != model.TaskPending && !closed {
		return false
	}
	t.Changed, t.Output, t.Interrupted, t.Error = out.Changed, out.Output, out.Interrupted, out.Error
	if out.OK {
		t.Status, t.Error = model.TaskOK, ""
		return true
	}
	t.Status = model.TaskError
	switch {
	case out.Interrupted && t.Error == "":
		t.Error = "interrupted: the agent was cut off while this ran, and nobody can tell whether it took effect; look, then retry"
	case out.Skipped && t.Error == "":
		t.Error = "skipped: an earlier task failed"
	case t.Error == "":
		t.Error = "failed without a text from the agent"
	}
	return true
}

// unwatched drops the compliance error of a resource that the agent no longer watches: nobody would ever tell that it ended.
func unwatched(tx *state.Tx, hostID string, t *model.Task) {
	h, ok := state.Get[model.HostRow](tx, hostID)
	if !ok || t.Status != model.TaskOK || t.Monitor == nil || *t.Monitor {
		return
	}
	state.Delete[model.ComplianceRow](tx, complianceRow(tx, h, t.Origin).Key())
}

func finishOrder(tx *state.Tx, o *model.Order, final bool) error {
	if o.Heard && (o.Done || !final) {
		return nil
	}
	o.Heard = true
	o.Done = o.Done || final
	return state.Put(tx, o)
}

// Observation is what an agent tells of a watched resource, after its signature was verified.
type Observation struct {
	Origin     model.Origin
	Collection string
	Resource   string
	Sequence   uint64 // counts what the agent tells
	Compliant  bool
	Expected   json.RawMessage
	Observed   json.RawMessage
	At         time.Time
}

// RecordAlert writes or clears a compliance error of the agent's host. One that is older than what was recorded
// of the same resource changes nothing, nor does one of an agent that is no more known.
// Error: Invalid (names that no resource has).
func RecordAlert(tx *state.Tx, agentID string, o Observation) error {
	a, ok := state.Get[model.Agent](tx, agentID)
	if !ok {
		return nil
	}
	for _, name := range []string{o.Collection, o.Resource, o.Origin.Application, o.Origin.Type, o.Origin.Name} {
		if len(name) > maxAlertName || strings.ContainsRune(name, 0) {
			return model.Errorf(model.Invalid, "an alert names a resource that cannot be: %.80q", name)
		}
	}
	mark := &model.AlertMark{
		AgentID: agentID, Resource: state.Digest([]byte(o.Collection + "\x00" + o.Resource))[:32], Sequence: o.Sequence, At: o.At,
	}
	// A lower number at a later time comes from an agent that lost its journal and counts anew.
	if last, ok := state.Get[model.AlertMark](tx, mark.Key()); ok && o.Sequence <= last.Sequence && !o.At.After(last.At) {
		return nil
	}
	if err := state.Put(tx, mark); err != nil {
		return err
	}
	if o.Compliant {
		return ClearCompliance(tx, a.HostID, o.Origin)
	}
	return putCompliance(tx, a.HostID, o.Origin, shorten(o.Expected), shorten(o.Observed), o.Sequence)
}
