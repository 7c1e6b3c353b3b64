package agent

import (
	"context"

	"github.com/muster-hq/muster/agent/journal"
	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/dispatch/wire"
)

// cancelled fills in the reply of a step that is not done any more. One that had begun when the agent died is looked at,
// and nothing is done to it.
func (ex *execution) cancelled(ctx context.Context, s wire.Step, begun *journal.Begun, r *wire.Reply) {
	r.Status, r.Error = wire.StatusSkipped, "cancelled: it was not begun"
	if begun == nil {
		return
	}
	if c, err := ex.a.collection(s.Collection); err == nil {
		call := caller{log: ex.a.log, c: c, limit: ex.a.stepTimeout}
		switch s.Verb {
		case wire.VerbAct:
			done, err := call.done(ctx, s.Resource, resource.Action{Verb: s.Action, Args: s.Args}, begun.At)
			if err == nil && done {
				r.Status, r.Error, r.Changed = wire.StatusOK, "", true
			}
			if err == nil {
				return
			}
		case wire.VerbApply:
			if d, err := call.check(ctx, s.Resource, s.Want); err == nil && d.Empty() {
				r.Status, r.Error, r.Changed = wire.StatusOK, "", true
				return
			}
		case wire.VerbRead, wire.VerbCheck, wire.VerbForget:
			return
		}
	}
	r.Status = wire.StatusInterrupted
	r.Error = "interrupted: the agent stopped while this ran, and the change was cancelled since; look what is there before you retry it"
}
