package orchestrate

import (
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// LaneChanges is the lane of changes, as dispatch/wire names it.
const LaneChanges = "changes"

// NextOrder writes the order for the first open change of a host, unless one is out already, the host
// has no agent or one that is not in step, or nothing is open: then it answers false. id is random and made by the caller; term is
// the leader's. One change at a time per host, in orderNum order (contract section 4.2).
func NextOrder(tx *state.Tx, hostID, id string, term uint64, ttl time.Duration) (*model.Order, bool, error) {
	if _, out := state.Find[model.Order](tx, model.OpenOrderOf(hostID)); out {
		return nil, false, nil
	}
	agent, ok := state.Find[model.Agent](tx, model.AgentOfHost(hostID))
	if !ok {
		return nil, false, nil
	}
	first := firstOpen(tx, hostID)
	if first == nil {
		return nil, false, nil
	}
	lanes, ok := state.Edit[model.Lanes](tx, agent.ID)
	if !ok {
		return nil, false, model.Errorf(model.Internal, "agent %s has no lanes", agent.ID)
	}
	if !InStep(tx, agent, lanes) {
		return nil, false, nil
	}
	lanes.Changes++
	if err := state.Put(tx, lanes); err != nil {
		return nil, false, err
	}
	change, _ := state.Edit[model.Change](tx, first.ID)
	change.Order = id
	if err := state.Put(tx, change); err != nil {
		return nil, false, err
	}
	o := &model.Order{
		ID: id, AgentID: agent.ID, HostID: hostID, OrgID: agent.OrgID, ChangeID: change.ID, Lane: LaneChanges,
		Epoch: tx.Epoch(), Term: term, Sequence: lanes.Changes, Issued: tx.Now(), Expires: tx.Now().Add(ttl),
	}
	return o, true, state.Put(tx, o)
}

// firstOpen is the open change of a host with the lowest number.
func firstOpen(r state.Reader, hostID string) *model.Change {
	var first *model.Change
	for _, c := range state.List[model.Change](r, model.OpenChangesOf(hostID)) {
		if first == nil || c.OrderNum < first.OrderNum {
			first = c
		}
	}
	return first
}

// ExpireOrder closes an order that its agent never answered, once nobody can start it any more: its tasks
// end as errors. It answers false when the order was answered meanwhile.
func ExpireOrder(tx *state.Tx, id string) (bool, error) {
	o, ok := state.Edit[model.Order](tx, id)
	if !ok || o.Done || o.Heard || tx.Now().Before(o.Expires) {
		return false, nil
	}
	return true, closeOrder(tx, o, expired+"the agent did not answer before "+o.Expires.UTC().Format(time.RFC3339)+"; retry the change once the machine is reachable", false)
}

// RefuseOrder closes an order that can never be sent, as too large a message: its tasks end with the reason. It
// answers false when the agent has answered it, or it is over.
func RefuseOrder(tx *state.Tx, id, reason string) (bool, error) {
	o, ok := state.Edit[model.Order](tx, id)
	if !ok || o.Done || o.Heard {
		return false, nil
	}
	return true, closeOrder(tx, o, reason, false)
}

// closeOrder ends an order and the tasks of its change that have no outcome.
func closeOrder(tx *state.Tx, o *model.Order, text string, interrupted bool) error {
	o.Done = true
	if err := state.Put(tx, o); err != nil {
		return err
	}
	c, ok := state.Edit[model.Change](tx, o.ChangeID)
	if !ok {
		return nil
	}
	for i := range c.Tasks {
		if t := &c.Tasks[i]; t.Status == model.TaskPending {
			t.Status, t.Error, t.Interrupted = model.TaskError, text, interrupted
			fit(c, t)
		}
	}
	c.Done = true
	if err := tellEnd(tx, c); err != nil {
		return err
	}
	return state.Put(tx, c)
}
