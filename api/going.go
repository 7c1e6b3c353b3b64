package api

import (
	"time"

	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// goneWithin is how long the answer to a deletion that the leader carries out waits for its end, if nothing else was asked.
const goneWithin = 10 * time.Second

// writeOrLeave runs the write of an endpoint, or leaves to the leader what is too much for one transaction.
func (c *call) writeOrLeave(tx *state.Tx, end endpoint, at scope) (any, error) {
	c.target = ""
	if end.leave == nil {
		return end.write(c, tx, at)
	}
	envID := ""
	if at.env != nil {
		envID = at.env.ID
	}
	if !end.large && !orchestrate.ManyHosts(tx.Before(), at.org.ID, envID) {
		return end.write(c, tx, at)
	}
	if c.target = envID; c.target == "" {
		c.target = at.org.ID
	}
	return nil, end.leave(c, tx, at)
}

func leaveOrganization(_ *call, tx *state.Tx, at scope) error {
	return orchestrate.LeaveOrganization(tx, at.org.ID)
}

func leaveEnvironment(_ *call, tx *state.Tx, at scope) error {
	return orchestrate.LeaveEnvironment(tx, at.org.ID, at.env.ID)
}

// untilGone waits until what was left to the leader is deleted, for a while: it cannot be found from the beginning, so the answer is the
// same if it takes longer, but for a header.
func (c *call) untilGone() {
	if c.target == "" {
		return
	}
	ctx, cancel := c.patience(c.srv.cfg.Store.Local(), min(goneWithin, c.srv.cfg.Timeout/2))
	defer cancel()
	for {
		ws := state.NewWatchSet()
		// A node that has not even heard of the deletion still has it as something that is there.
		if orchestrate.Gone(c.srv.cfg.Store.Local().Watched(ws), c.target) {
			return
		}
		if ws.Wait(ctx) != nil {
			c.header.Set(spec.HeaderDeleting, "under way")
			return
		}
	}
}
