package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/raft"

	"github.com/muster-hq/muster/cluster/pki"
	"github.com/muster-hq/muster/cluster/transport"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// answer serves the questions of other nodes.
func (n *Node) answer(ctx context.Context, peer transport.Peer, op byte, body []byte) ([]byte, error) {
	if err := n.judge(peer); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Timing.Deadline)
	defer cancel()
	switch op {
	case opCurrent:
		term, err := decodeTerm(body)
		if err != nil {
			return nil, err
		}
		cur, err := n.answerCurrent(ctx, peer.Name, term)
		if err != nil {
			return nil, err
		}
		return cur.encode(), nil
	case opTerm:
		return encodeTerm(n.raft.CurrentTerm()), nil
	case opInfo:
		return json.Marshal(n.details(n.info()))
	case opKeys:
		return n.giveKeys(body)
	case opHello:
		n.learn(body, peer.Name)
		n.nudge()
		return json.Marshal(n.peers.list())
	case opAsk:
		if n.leading.Load() == nil || n.cfg.Answer == nil {
			return nil, errNotLeading
		}
		return n.cfg.Answer(ctx, body)
	case opRemove, opMove, opRenew:
		if n.leading.Load() == nil {
			return nil, errNotLeading
		}
		if op == opRenew {
			return n.renew(peer, body)
		}
		if op == opMove {
			return nil, n.handOver(ctx, string(body))
		}
		return nil, n.removeHere(ctx, string(body))
	}
	return nil, fmt.Errorf("%w: no such question: %q", errNotDone, string(rune(op)))
}

// reconcile is the first duty: every voter has a row, every row a place in raft's configuration. It looks again
// on each event of gossip, on each kick, and by a timer, which is short while something is unfinished.
func (n *Node) reconcile(ctx context.Context, lead *Lead) error {
	for {
		pause := n.cfg.Timing.Reconcile
		finished, err := n.reconcileOnce(ctx, lead)
		if errors.Is(err, state.ErrFenced) {
			return err
		}
		if err != nil {
			n.log.Warn("bringing the members in order", "error", err)
		}
		if !finished || err != nil {
			pause = min(pause, 200*time.Millisecond)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-n.kick:
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// keepSecrets is a duty: it puts into the state what any leader needs to take in members, if this node has it on disk.
func (n *Node) keepSecrets(ctx context.Context, lead *Lead) error {
	ca, err := pki.LoadAuthority(n.pkiDir())
	if errors.Is(err, pki.ErrNone) {
		return nil
	}
	if err != nil {
		return err
	}
	key, err := ca.KeyPEM()
	if err != nil {
		return err
	}
	gossipKey, err := n.gossipKey()
	if err != nil {
		return err
	}
	return lead.Update(ctx, func(tx *state.Tx) error {
		for _, s := range []secret{{secretCA, ca.CertPEM()}, {secretCAKey, key}, {secretGossip, gossipKey}} {
			if _, ok := state.Get[secret](tx, s.Name); ok {
				continue
			}
			if err := state.Put(tx, &s); err != nil {
				return err
			}
		}
		return nil
	})
}

func (n *Node) reconcileOnce(ctx context.Context, lead *Lead) (finished bool, err error) {
	n.voters.Lock()
	defer n.voters.Unlock()
	servers := map[string]raft.Server{}
	for _, s := range n.raft.GetConfiguration().Configuration().Servers {
		servers[string(s.ID)] = s
	}
	rows := map[string]*Member{}
	for _, m := range n.Members() {
		rows[m.Name] = &m
	}
	finished = true
	for name, s := range servers {
		if rows[name] != nil {
			continue
		}
		if n.standing.Load().gone[name] { // a removal that was cut off
			if err := n.await(n.raft.RemoveServer(s.ID, 0, n.cfg.Timing.Deadline)); err != nil {
				return false, fmt.Errorf("removing %s: %w", name, err)
			}
			continue
		}
		in, err := n.askInfo(ctx, string(s.Address))
		if err != nil || in.Name != name {
			finished = false
			continue
		}
		if err := lead.Update(ctx, func(tx *state.Tx) error { return state.Put(tx, in.member(tx.Now())) }); err != nil {
			return false, err
		}
	}
	for name, m := range rows {
		if m, err = n.moved(ctx, lead, m); err != nil {
			return false, err
		}
		s, in := servers[name]
		if in && string(s.Address) == m.ClusterAddr {
			continue // the autopilot gives it its vote
		}
		ok, err := n.place(ctx, m, s, in)
		if err != nil {
			return false, fmt.Errorf("%s: %w", name, err)
		}
		finished = finished && ok
	}
	return finished, nil
}

// moved follows a member to another address: the one where it says it is, by gossip or by its hello. It cannot
// write its row itself, as no leader reaches it there.
func (n *Node) moved(ctx context.Context, lead *Lead, m *Member) (*Member, error) {
	addrs := []string{n.peers.addr(m.Name)}
	if n.gossip != nil {
		for _, g := range n.gossip.Members() {
			if g.Name == m.Name {
				addrs = append(addrs, g.ClusterAddr)
			}
		}
	}
	for _, addr := range addrs {
		if addr == "" || addr == m.ClusterAddr || m.Name == n.cfg.Name {
			continue
		}
		in, err := n.askInfo(ctx, addr)
		if err != nil || !in.is(m) {
			continue // an old address, or someone else's now
		}
		next := in.member(m.Joined)
		return next, lead.Update(ctx, func(tx *state.Tx) error { return putStill(tx, next) })
	}
	return m, nil
}

// putStill puts a member's row if it is still the row of that very member: it may have been removed meanwhile, and
// another one have its name.
func putStill(tx *state.Tx, m *Member) error {
	if old, ok := state.Get[Member](tx, m.Name); !ok || old.Instance != "" && old.Instance != m.Instance {
		return nil
	}
	return state.Put(tx, m)
}

// place makes a member known to raft, without a vote, or follows it to another address with what it has.
func (n *Node) place(ctx context.Context, m *Member, s raft.Server, known bool) (bool, error) {
	in, err := n.askInfo(ctx, m.ClusterAddr)
	if err != nil || !in.is(m) {
		return false, nil // not there yet, or someone else
	}
	id, addr := raft.ServerID(m.Name), raft.ServerAddress(m.ClusterAddr)
	switch {
	case !known:
		n.log.Info("a node is taken in", "member", m.Name, "addr", m.ClusterAddr)
	case s.Suffrage == raft.Voter:
		n.log.Info("a node has moved", "member", m.Name, "addr", m.ClusterAddr)
		return true, n.await(n.raft.AddVoter(id, addr, 0, n.cfg.Timing.Deadline))
	}
	return true, n.await(n.raft.AddNonvoter(id, addr, 0, n.cfg.Timing.Deadline))
}

// nudge makes the leader's look at the members come now, if this node leads.
func (n *Node) nudge() {
	select {
	case n.kick <- struct{}{}:
	default:
	}
}

// Members are the rows of the members as this node has them, by name.
func (n *Node) Members() []Member {
	rows := state.List[Member](n.Local(), everyMember)
	out := make([]Member, len(rows))
	for i, m := range rows {
		out[i] = *m
	}
	return out
}

// HubListener gives the connections of other nodes' dispatch to this node's hub.
func (n *Node) HubListener() net.Listener { return n.mux.Listener(transport.Hub) }

// DialHub connects to the hub of a member, this node included, by its name.
func (n *Node) DialHub(ctx context.Context, member string) (net.Conn, error) {
	m, ok := state.Get[Member](n.Local(), member)
	if !ok {
		return nil, model.Errorf(model.NotFound, "%s is no member of this cluster", member)
	}
	return n.mux.Dial(ctx, m.ClusterAddr, transport.Hub)
}
