package cluster

import (
	"context"
	"time"

	"github.com/muster-hq/muster/fsm/state"
)

// collectContents is a duty: it removes contents that no row names any more. It waits while some member runs another
// version: one of before there were marks would name a content and leave the mark.
func (n *Node) collectContents(ctx context.Context, lead *Lead) error {
	for tick := time.NewTicker(n.cfg.Timing.Collect); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return ctx.Err()
		case <-tick.C:
		}
		view, err := lead.View(ctx)
		if err != nil {
			tick.Stop()
			return err
		}
		if !n.oneVersion(view) {
			continue
		}
		got, err := state.CollectContents(ctx, lead, view, n.cfg.Timing.ContentAge)
		if got.Deleted > 0 {
			n.log.Info("contents that no row names were removed", "removed", got.Deleted)
		}
		if err != nil {
			tick.Stop()
			return err
		}
	}
}

// oneVersion says whether all members run this node's version.
func (n *Node) oneVersion(r state.Reader) bool {
	for _, m := range state.List[Member](r, everyMember) {
		if m.Version != n.cfg.Version {
			return false
		}
	}
	return true
}
