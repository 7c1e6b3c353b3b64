package cluster

import (
	"context"
	"errors"
	"sync"

	"github.com/hashicorp/raft"
)

var errDeposed = errors.New("another node leads by now")

// asking is the question to a leader that is under way. It is given up as soon as another leads: over a path that is
// cut in silence nothing else would end it but its time, and all writers of a key wait for the first.
type asking struct {
	mu     sync.Mutex
	addr   string
	cancel context.CancelCauseFunc
}

// begin notes a question to the leader at addr; end is called when it is over.
func (a *asking) begin(ctx context.Context, addr string) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	a.mu.Lock()
	a.addr, a.cancel = addr, cancel
	a.mu.Unlock()
	return ctx, func() {
		a.mu.Lock()
		a.cancel = nil
		a.mu.Unlock()
		cancel(nil)
	}
}

// heed ends the question that is under way to any node but the leader.
func (a *asking) heed(leader string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cancel != nil && a.addr != leader {
		a.cancel(errDeposed)
	}
}

// heed watches who leads until ctx ends. Questions and commits that wait for an answer of another node are taken back:
// the questions are asked again, the commits sent again as they are.
func (n *Node) heed(ctx context.Context) {
	changes := make(chan raft.Observation, 1) // one that waits is enough: what counts is who leads then
	watch := raft.NewObserver(changes, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	})
	n.raft.RegisterObserver(watch)
	defer n.raft.DeregisterObserver(watch)
	for {
		select {
		case <-ctx.Done():
			return
		case <-changes:
			if addr, _ := n.raft.LeaderWithID(); addr != "" {
				n.asking.heed(string(addr))
				n.rpc.heed(string(addr))
			}
		}
	}
}

// heed breaks the connections on which commits went to any node but the leader.
func (r *rpc) heed(leader string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leader = leader
	for key, l := range r.links {
		if r.deposed(key) {
			l.fail(errDeposed)
		}
	}
}

// deposed says that a connection would be for commits, and to a node that does not lead. R.mu is held.
func (r *rpc) deposed(key linkKey) bool {
	return key.lane != laneAsk && r.leader != "" && key.addr != r.leader
}
