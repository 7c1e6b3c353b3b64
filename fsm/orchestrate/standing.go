package orchestrate

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// Standing is what an agent tells at the beginning of an epoch, after its signature was verified: how far it has come,
// and what it has accepted above the sequence that it was asked for (design section 5).
type Standing struct {
	Epoch   uint64 // of the question
	Above   uint64 // of the question
	Journal string // id of its journal
	Floor   uint64 // orders up to this sequence may be forgotten
	Highest uint64 // sequence of the highest order that it ever accepted
	Digest  string // of all that it has done
	Whole   bool   // the digest is that of the orders that it names
	Orders  []HeldOrder
	Retold  uint64 // what it told of resources up to this count is told again if it still holds; 0: it cannot
}

// HeldOrder is an order that an agent has accepted.
type HeldOrder struct {
	ID       string
	ChangeID string // "": not told
	Num      int    // orderNum of the change
	Epoch    uint64
	Term     uint64
	Sequence uint64
	Issued   time.Time
	Expires  time.Time
	Over     bool
	Steps    []StepOutcome // one without an OrderID: no outcome yet
}

// InStep says whether an agent may be given orders: it enrolled in this epoch, or has told its standing in it. Before,
// it may have done what the state calls open.
func InStep(r state.Reader, a *model.Agent, l *model.Lanes) bool {
	if l.Epoch != 0 {
		return l.Epoch == r.Epoch()
	}
	// A row of an older version. An epoch is the time of its beginning, in milliseconds, or later.
	return a.Enrolled.UnixMilli() >= 0 && uint64(a.Enrolled.UnixMilli()) >= r.Epoch()
}

// AgentInStep is InStep of an agent by its id; one that is not known is in step.
func AgentInStep(r state.Reader, agentID string) bool {
	a, ok := state.Get[model.Agent](r, agentID)
	if !ok {
		return true
	}
	l, ok := state.Get[model.Lanes](r, agentID)
	return !ok || InStep(r, a, l)
}

// OutOfStep are the ids of the agents that have not told their standing in this epoch.
func OutOfStep(r state.Reader) []string {
	return slices.DeleteFunc(state.Keys[model.Agent](r, model.AllAgents), func(id string) bool { return AgentInStep(r, id) })
}

// KnownUpTo is the sequence up to which the state knows the end of every order to an agent: what its standing is asked
// above.
func KnownUpTo(r state.Reader, a *model.Agent) uint64 {
	l, ok := state.Get[model.Lanes](r, a.ID)
	if !ok {
		return 0
	}
	known := l.Changes
	for _, o := range state.List[model.Order](r, model.OpenOrderOf(a.HostID)) {
		if o.AgentID == a.ID {
			known = min(known, max(o.Sequence, 1)-1)
		}
	}
	return known
}

// WaitsFor says why a host gets no orders, though its agent may be there; "" when it does get them.
func WaitsFor(r state.Reader, hostID string) string {
	a, ok := state.Find[model.Agent](r, model.AgentOfHost(hostID))
	if !ok || AgentInStep(r, a.ID) {
		return ""
	}
	const since = "the cluster was restored, and the agent has not told yet what it did since the snapshot was made"
	p, ok := state.Get[model.Presence](r, a.ID)
	switch {
	case ok && p.Up && p.Version != "" && !p.Resyncs:
		return since + ": version " + p.Version + " of the agent cannot tell; update it"
	case ok && p.Up:
		return since + ": it is asked"
	}
	return since + ": it is not connected; start it, or forget the instance if it never comes back"
}

// RecordStanding takes up what an agent told, one change in a call: more says that it is to be called again. What it has
// done is recorded, what it still works on is taken over with its order, what it never accepted will be ordered anew;
// and where its journal does not reach back to what the state knows, what was open is interrupted. At the end the agent
// is in step, and its sequence goes on above its highest. A standing that answers another question, or of an agent
// that is in step already, writes nothing.
func RecordStanding(tx *state.Tx, agentID string, s Standing) (more bool, err error) {
	a, ok := state.Get[model.Agent](tx, agentID)
	if !ok {
		return false, nil
	}
	lanes, ok := state.Edit[model.Lanes](tx, agentID)
	if !ok || InStep(tx, a, lanes) || s.Epoch != tx.Epoch() || s.Above > KnownUpTo(tx, a) {
		return false, nil
	}
	whole := s.Whole && s.Floor <= s.Above && remembers(tx, a, lanes, s)
	if did, err := releaseOrders(tx, a, s, whole); did || err != nil {
		return did, err
	}
	for _, h := range s.Orders {
		if did, err := takeHeld(tx, a, lanes, h); did || err != nil {
			return did, err
		}
	}
	if !whole {
		if did, err := endUnknown(tx, a); did || err != nil {
			return did, err
		}
	}
	forgetTold(tx, a.HostID, s.Retold)
	lanes.Changes, lanes.Epoch = max(lanes.Changes, s.Highest), tx.Epoch()
	lanes.Journal, lanes.Digest = s.Journal, s.Digest
	return false, state.Put(tx, lanes)
}

// forgetTold removes the compliance errors of a host that its agent will tell again if there is still one: the snapshot
// may have been taken before they ended. What it has told since it was asked stays.
func forgetTold(tx *state.Tx, hostID string, retold uint64) {
	if retold == 0 {
		return
	}
	for _, c := range state.List[model.ComplianceRow](tx, model.ComplianceOf(hostID)) {
		if c.Told <= retold {
			state.Delete[model.ComplianceRow](tx, c.Key())
		}
	}
}

// remembers says whether the agent's journal is the one that the state knows, and not an older copy of it.
func remembers(r state.Reader, a *model.Agent, l *model.Lanes, s Standing) bool {
	if l.Journal == "" || l.Journal != s.Journal {
		return false
	}
	for _, h := range s.Orders {
		if _, known := state.Get[model.Order](r, h.ID); !known && h.ChangeID == "" {
			return false
		}
	}
	for _, o := range state.List[model.Order](r, model.OrdersOf(a.HostID)) {
		if o.Heard && o.AgentID == a.ID && o.Sequence > s.Highest {
			return false
		}
	}
	return true
}

// cannotTell ends what an agent may have done, and nobody can know.
const cannotTell = "interrupted: the cluster was restored, and what the agent remembers does not reach back to the snapshot: whether this was done nobody can tell; look, then retry"

// releaseOrders ends what is out and the agent has not: it never will, since it takes no order of an earlier epoch any
// more. Its change is open again, unless the agent may have done it and forgotten.
func releaseOrders(tx *state.Tx, a *model.Agent, s Standing, whole bool) (did bool, err error) {
	for _, id := range state.Keys[model.Order](tx, model.OpenOrderOf(a.HostID)) {
		if slices.ContainsFunc(s.Orders, func(h HeldOrder) bool { return h.ID == id }) {
			continue
		}
		o, _ := state.Edit[model.Order](tx, id)
		again := slices.ContainsFunc(s.Orders, func(h HeldOrder) bool { return h.ChangeID != "" && h.ChangeID == o.ChangeID })
		if !whole && !again {
			return true, closeOrder(tx, o, cannotTell, true)
		}
		state.Delete[model.Order](tx, id)
		if c, ok := state.Edit[model.Change](tx, o.ChangeID); ok && c.Order == id {
			c.Order = ""
			return true, state.Put(tx, c)
		}
		return true, nil
	}
	return false, nil
}

// takeHeld records what the agent says of one order, and says whether that was news.
func takeHeld(tx *state.Tx, a *model.Agent, l *model.Lanes, h HeldOrder) (did bool, err error) {
	if o, known := state.Edit[model.Order](tx, h.ID); known {
		if o.AgentID != a.ID {
			return false, nil
		}
		c, ok := state.Edit[model.Change](tx, o.ChangeID)
		if !ok {
			return false, nil
		}
		return recordHeld(tx, o, c, h, false)
	}
	if !changeIDs().MatchString(h.ChangeID) {
		return false, nil
	}
	c, known := state.Edit[model.Change](tx, h.ChangeID)
	switch {
	case known && (c.HostID != a.HostID || c.Done || c.Order != ""):
		return false, nil
	case !known && h.Sequence <= l.Changes: // deleted since it was done
		return false, nil
	case !known:
		c = untold(tx, a, h)
	}
	c.Order = h.ID
	return recordHeld(tx, &model.Order{
		ID: h.ID, AgentID: a.ID, HostID: a.HostID, OrgID: a.OrgID, ChangeID: c.ID, Lane: LaneChanges,
		Epoch: h.Epoch, Term: h.Term, Sequence: h.Sequence, Issued: h.Issued, Expires: h.Expires, Heard: true,
	}, c, h, true)
}

// changeIDs are the forms that the id of a change may have which comes from an agent.
func changeIDs() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`) }

// recordHeld gives the tasks of a change the outcomes that its agent tells, and puts it with its order when that is
// news.
func recordHeld(tx *state.Tx, o *model.Order, c *model.Change, h HeldOrder, news bool) (bool, error) {
	open := false
	for i := range c.Tasks {
		t := &c.Tasks[i]
		switch {
		case i < len(h.Steps) && h.Steps[i].OrderID != "":
			if !recordTask(t, h.Steps[i]) {
				continue
			}
		case t.Status != model.TaskPending:
			continue
		case h.Over:
			t.Status, t.Error, t.Interrupted = model.TaskError, cannotTell, true
		default:
			open = true
			continue
		}
		fit(c, t)
		news = true
	}
	if o.Done == open || !o.Heard {
		news = true
	}
	if !news {
		return false, nil
	}
	o.Heard, o.Done, c.Done = true, !open, !open
	if err := state.Put(tx, c); err != nil {
		return false, err
	}
	return true, state.Put(tx, o)
}

// maxUntold bounds the tasks of a change that only its agent knows of.
const maxUntold = 800

// untold is a change that was made after the snapshot, as far as its agent can tell of it. It has its number again,
// unless that was given anew.
func untold(tx *state.Tx, a *model.Agent, h HeldOrder) *model.Change {
	counter, ok := state.Edit[model.ChangeCounter](tx, a.HostID)
	if !ok {
		counter = &model.ChangeCounter{HostID: a.HostID}
	}
	num := h.Num
	if _, taken := state.Find[model.Change](tx, model.ChangeNumbered(a.HostID, num)); taken {
		num = counter.Next
	}
	if num >= counter.Next {
		counter.Next = num + 1
		_ = state.Put(tx, counter) // without rules: cannot fail
	}
	c := &model.Change{
		ID: h.ChangeID, HostID: a.HostID, OrderNum: num, Created: cmp.Or(h.Issued, tx.Now()), Epoch: tx.Epoch(), Actor: "system",
		Description: "Change of before the restore, as the agent tells of it",
	}
	for i := range min(len(h.Steps), maxUntold) {
		c.Tasks = append(c.Tasks, model.Task{
			OrderNum: i, Description: fmt.Sprintf("Step %d", i), Status: model.TaskPending, Fail: "what this was is not known any more: rebuild the host",
		})
	}
	return c
}

// endUnknown ends one change of before the restore that has no order: the agent may have done it and forgotten.
func endUnknown(tx *state.Tx, a *model.Agent) (did bool, err error) {
	for _, open := range byNumber(state.List[model.Change](tx, model.OpenChangesOf(a.HostID))) {
		if open.Order != "" || open.Epoch == tx.Epoch() {
			continue
		}
		c, _ := state.Edit[model.Change](tx, open.ID)
		for i := range c.Tasks {
			if t := &c.Tasks[i]; t.Status == model.TaskPending {
				t.Status, t.Error, t.Interrupted = model.TaskError, cannotTell, true
				fit(c, t)
			}
		}
		c.Done = true
		return true, state.Put(tx, c)
	}
	return false, nil
}
