package cluster

import (
	"context"
	"sync/atomic"
	"time"
)

// proven is when the local state was last known to hold all that was acknowledged. The zero value knows of no time.
type proven struct {
	base   time.Time    // of the node's start, with a monotonic reading
	at     atomic.Int64 // since base; 0 is never
	asking atomic.Bool
}

// note says that all that was acknowledged at a time is held now.
func (p *proven) note(t time.Time) {
	d := int64(t.Sub(p.base))
	for {
		old := p.at.Load()
		if d <= old || p.at.CompareAndSwap(old, d) {
			return
		}
	}
}

func (p *proven) age() (time.Duration, bool) {
	at := p.at.Load()
	return time.Since(p.base) - time.Duration(at), at > 0
}

// ageGoal is the age beyond which Age has the leader asked, in the background.
const ageGoal = time.Second

// Age bounds how old the local state may be: whatever was acknowledged longer ago, by any node, is in it. It is
// false while nothing is known. It asks nobody and trusts no clock but this node's running time; should the bound be
// more than a second, it has the leader asked meanwhile, so that the next one is better.
func (n *Node) Age() (time.Duration, bool) {
	age, ok := n.proven.age()
	if (!ok || age > ageGoal) && n.proven.asking.CompareAndSwap(false, true) {
		go func() {
			defer n.proven.asking.Store(false)
			ctx, cancel := context.WithTimeout(context.Background(), n.cfg.Timing.Attempt)
			defer cancel()
			if _, err := n.makeCurrent(ctx, 0); err != nil {
				n.log.Debug("the age of the local state is not known", "error", err)
			}
		}()
	}
	return age, ok
}
