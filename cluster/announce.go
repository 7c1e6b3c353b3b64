package cluster

import (
	"context"
	"time"

	"github.com/muster-hq/muster/cluster/gossip"
	"github.com/muster-hq/muster/fsm/state"
)

// announce keeps this node's row true to its addresses and version, once it has a row.
func (n *Node) announce(ctx context.Context) {
	for tick := time.NewTicker(n.cfg.Timing.Reconcile); ; {
		if m, ok := state.Get[Member](n.Local(), n.cfg.Name); ok && n.HasLeader() {
			if want := n.info().member(m.Joined); *want != *m {
				err := n.Update(ctx, func(tx *state.Tx) error { return putStill(tx, want) })
				if err != nil && ctx.Err() == nil {
					n.log.Info("this node's addresses could not be told yet", "error", err)
				}
			}
		}
		if !n.HasLeader() {
			n.callOut(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-n.store.Updated():
			select { // a row of ours comes early in life; later changes can wait
			case <-ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
}

// callOut tells the members that this node knows of where it is.
func (n *Node) callOut(ctx context.Context) {
	addrs := map[string]bool{}
	for _, p := range n.peers.list() {
		addrs[p.Cluster] = true
	}
	for _, s := range n.raft.GetConfiguration().Configuration().Servers {
		addrs[string(s.Address)] = true
	}
	delete(addrs, n.self.Cluster)
	for addr := range addrs {
		n.hello(ctx, addr)
	}
}

// mingle keeps gossip joined to all members that it does not see, and turns its events into looks.
func (n *Node) mingle(ctx context.Context) {
	tick := time.NewTicker(n.cfg.Timing.Reconcile)
	defer tick.Stop()
	n.seek()
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-n.gossip.Events():
			if !ok {
				return
			}
			n.note(e)
		case <-tick.C:
			n.seek()
		}
	}
}

func (n *Node) note(e gossip.Event) {
	if e.Member.Name != n.cfg.Name {
		n.log.Info("gossip", "member", e.Member.Name, "gone", e.Gone)
	}
	n.nudge()
}

func (n *Node) seek() {
	seen := map[string]bool{n.self.Gossip: true}
	for _, m := range n.gossip.Members() {
		seen[m.GossipAddr] = true
	}
	var missing []string
	want := func(addr string) {
		if addr != "" && !seen[addr] {
			seen[addr] = true
			missing = append(missing, addr)
		}
	}
	for _, m := range n.Members() {
		want(m.GossipAddr)
	}
	for _, p := range n.peers.list() {
		want(p.Gossip)
	}
	if len(missing) > 0 {
		if err := n.gossip.Join(missing); err != nil {
			n.log.Debug("gossip", "error", err)
		}
	}
}
