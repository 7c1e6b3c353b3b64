package orchestrate

import (
	"fmt"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// tellHost appends a line about a host to a log of its organization. It reads nothing that the transaction could conflict
// on. A host that is gone is told of no more.
func tellHost(tx *state.Tx, log func(orgID string) string, hostID, text string) error {
	r := tx.Quiet()
	h, ok := state.Get[model.HostRow](r, hostID)
	if !ok {
		return nil
	}
	env := h.EnvID
	if e, ok := state.Get[model.EnvironmentRow](r, h.EnvID); ok {
		env = e.Name
	}
	return Tell(tx, log(h.OrgID), h.EnvID, h.ID, env+"/"+h.Name+": "+text)
}

// tellPresence tells that the agent of a host came or went.
func tellPresence(tx *state.Tx, agentID string, up bool) error {
	a, ok := state.Get[model.Agent](tx.Quiet(), agentID)
	if !ok {
		return nil
	}
	text := "the agent does not answer any more"
	if up {
		text = "the agent is connected"
	}
	if err := tellHost(tx, model.AgentLogOf, a.HostID, text); err != nil {
		return err
	}
	return notify(tx, model.NoticeAgent, a.HostID, text)
}

// tellEnd tells of a change that ended and failed.
func tellEnd(tx *state.Tx, c *model.Change) error {
	failed := 0
	for i := range c.Tasks {
		if c.Tasks[i].Status == model.TaskError {
			failed++
		}
	}
	if failed == 0 {
		return nil
	}
	return tellFailure(tx, c.HostID, fmt.Sprintf("change %d (%s) failed: %d of %d tasks", c.OrderNum, c.Description, failed, len(c.Tasks)))
}

// tellDrift tells that a resource is no more, or again, as it should be.
func tellDrift(tx *state.Tx, hostID string, o model.Origin, compliant bool) error {
	action, text := model.NoticeDrift, "is not as it should be"
	if compliant {
		action, text = model.NoticeCompliant, "is as it should be again"
	}
	text = fmt.Sprintf("applications/%s/%s/%s %s", o.Application, o.Type, o.Name, text)
	if err := tellHost(tx, model.NotificationLogOf, hostID, text); err != nil {
		return err
	}
	return notify(tx, action, hostID, text)
}

// tellFailure tells of work on a host that failed.
func tellFailure(tx *state.Tx, hostID, text string) error {
	if err := tellHost(tx, model.NotificationLogOf, hostID, text); err != nil {
		return err
	}
	return notify(tx, model.NoticeError, hostID, text)
}

// tellWork tells in the log of all else what the server did, or was asked to do, about a host that is no change; and channels
// that want to hear of the action type, if there is one.
func tellWork(tx *state.Tx, hostID, action, text string) error {
	if err := tellHost(tx, model.OtherLogOf, hostID, text); err != nil || action == "" {
		return err
	}
	return notify(tx, action, hostID, text)
}
