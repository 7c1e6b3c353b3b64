package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/raft"

	"github.com/muster-hq/muster/cluster/gossip"
	"github.com/muster-hq/muster/cluster/pki"
	"github.com/muster-hq/muster/cluster/transport"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// info is what a node tells of itself when asked.
type info struct {
	Name        string `json:"name"`
	Instance    string `json:"instance,omitempty"` // see Member
	ClusterAddr string `json:"clusterAddr"`
	APIAddr     string `json:"apiAddr,omitempty"`
	GossipAddr  string `json:"gossipAddr,omitempty"`
	Version     string `json:"version,omitempty"`
	Schema      int    `json:"schema"`
	Applied     uint64 `json:"applied"`
	Term        uint64 `json:"term"`
	Leader      string `json:"leader,omitempty"`
	ContactMs   int64  `json:"contactMs"` // since a leader was last heard; -1 never
}

func (n *Node) info() info {
	_, leader := n.raft.LeaderWithID()
	in := info{
		Name: n.cfg.Name, Instance: n.instance, ClusterAddr: n.self.Cluster, APIAddr: n.cfg.APIAddr, GossipAddr: n.self.Gossip, Version: n.cfg.Version,
		Schema: int(state.Schema), Applied: n.store.AppliedIndex(), Term: n.raft.CurrentTerm(), Leader: string(leader), ContactMs: -1,
	}
	if n.raft.State() == raft.Leader {
		in.ContactMs = 0
	} else if t := n.raft.LastContact(); !t.IsZero() {
		in.ContactMs = time.Since(t).Milliseconds()
	}
	return in
}

func (i info) member(joined time.Time) *Member {
	return &Member{
		Name: i.Name, Instance: i.Instance, ClusterAddr: i.ClusterAddr, APIAddr: i.APIAddr, GossipAddr: i.GossipAddr,
		Version: i.Version, Schema: i.Schema, Joined: joined,
	}
}

// is says whether who answered is that member, and not one that had its name before it was removed: the log of that
// one lacks what its successor has told the leader that it has.
func (i info) is(m *Member) bool { return i.Name == m.Name && i.Instance == m.Instance }

// answer serves the questions of other nodes.
func (n *Node) answer(ctx context.Context, peer string, op byte, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Timing.Deadline)
	defer cancel()
	switch op {
	case opCurrent:
		term, err := decodeTerm(body)
		if err != nil {
			return nil, err
		}
		cur, err := n.answerCurrent(ctx, peer, term)
		if err != nil {
			return nil, err
		}
		return cur.encode(), nil
	case opTerm:
		return encodeTerm(n.raft.CurrentTerm()), nil
	case opInfo:
		return json.Marshal(n.info())
	case opHello:
		n.learn(body, peer)
		n.nudge()
		return json.Marshal(n.peers.list())
	case opRemove, opMove:
		if n.leading.Load() == nil {
			return nil, errNotLeading
		}
		if op == opMove {
			return nil, n.handOver(ctx, string(body))
		}
		return nil, n.removeHere(ctx, string(body))
	}
	return nil, fmt.Errorf("%w: no such question: %q", errNotDone, string(rune(op)))
}

func (n *Node) askInfo(ctx context.Context, addr string) (info, error) {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Timing.Attempt)
	defer cancel()
	if addr == n.self.Cluster {
		return n.info(), nil
	}
	b, err := n.rpc.ask(ctx, addr, opInfo, nil)
	if err != nil {
		return info{}, err
	}
	var in info
	if err := json.Unmarshal(b, &in); err != nil {
		return info{}, fmt.Errorf("reading what %s tells of itself: %w", addr, err)
	}
	return in, nil
}

// reconcile is the first duty: every voter has a row, every row a place in raft's configuration. It looks again
// on each event of gossip, on each kick, and by a timer, which is short while something is unfinished.
func (n *Node) reconcile(ctx context.Context, lead *Lead) error {
	if err := n.keepSecrets(ctx, lead); err != nil {
		return err
	}
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

// keepSecrets puts into the state what any leader needs to take in members, if this node has it on disk.
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

// maxLag is how many entries a newcomer may lack when it is given its vote.
const maxLag = 64

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
		if in && s.Suffrage == raft.Voter && string(s.Address) == m.ClusterAddr {
			continue
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
		return next, lead.Update(ctx, func(tx *state.Tx) error {
			if _, ok := state.Get[Member](tx, next.Name); !ok {
				return nil // removed meanwhile
			}
			return state.Put(tx, next)
		})
	}
	return m, nil
}

// place takes a member one step further: known, listening, caught up, voting. A node that does not answer is not
// given a vote: it could cost the quorum.
func (n *Node) place(ctx context.Context, m *Member, s raft.Server, known bool) (bool, error) {
	in, err := n.askInfo(ctx, m.ClusterAddr)
	if err != nil || !in.is(m) {
		return false, nil // not there yet, or someone else
	}
	id, addr := raft.ServerID(m.Name), raft.ServerAddress(m.ClusterAddr)
	switch {
	case !known:
		n.log.Info("a node is taken in", "member", m.Name, "addr", m.ClusterAddr)
		return false, n.await(n.raft.AddNonvoter(id, addr, 0, n.cfg.Timing.Deadline))
	case string(s.Address) != m.ClusterAddr && s.Suffrage == raft.Voter:
		n.log.Info("a node has moved", "member", m.Name, "addr", m.ClusterAddr)
		return true, n.await(n.raft.AddVoter(id, addr, 0, n.cfg.Timing.Deadline))
	case in.Leader != n.cfg.Name || in.Applied == 0 || in.Applied+maxLag < n.store.AppliedIndex():
		return false, nil
	}
	n.log.Info("a node votes", "member", m.Name)
	return true, n.await(n.raft.AddVoter(id, addr, 0, n.cfg.Timing.Deadline))
}

// nudge makes the leader's look at the members come now, if this node leads.
func (n *Node) nudge() {
	select {
	case n.kick <- struct{}{}:
	default:
	}
}

// announce keeps this node's row true to its addresses and version, once it has a row.
func (n *Node) announce(ctx context.Context) {
	for tick := time.NewTicker(n.cfg.Timing.Reconcile); ; {
		if m, ok := state.Get[Member](n.Local(), n.cfg.Name); ok && n.HasLeader() {
			if want := n.info().member(m.Joined); *want != *m {
				err := n.Update(ctx, func(tx *state.Tx) error {
					if _, ok := state.Get[Member](tx, want.Name); !ok {
						return nil // removed meanwhile
					}
					return state.Put(tx, want)
				})
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

// Members are the rows of the members as this node has them, by name.
func (n *Node) Members() []Member {
	rows := state.List[Member](n.Local(), everyMember)
	out := make([]Member, len(rows))
	for i, m := range rows {
		out[i] = *m
	}
	return out
}

// Remove takes a member out of the cluster: it loses its vote and its row. It works on any node, also for a
// member that is dead. The last one cannot be removed.
func (n *Node) Remove(ctx context.Context, name string) error {
	ctx, cancel := n.deadline(ctx)
	defer cancel()
	_, err := n.atLeader(ctx, opRemove, []byte(name))
	return err
}

// Leave takes this node out of its cluster. Shut it down afterwards; its data folder is of no more use.
func (n *Node) Leave(ctx context.Context) error { return n.Remove(ctx, n.cfg.Name) }

var errLeaves = fmt.Errorf("%w: the leader hands over before it leaves", errNotDone)

func (n *Node) removeHere(ctx context.Context, name string) error {
	lead := n.leading.Load()
	if lead == nil {
		return errNotLeading
	}
	n.voters.Lock()
	defer n.voters.Unlock()
	servers := n.raft.GetConfiguration().Configuration().Servers
	var found *raft.Server
	for _, s := range servers {
		if string(s.ID) == name {
			found = &s
		}
	}
	_, row := state.Get[Member](n.Local(), name)
	switch {
	case found == nil && !row:
		return model.Errorf(model.NotFound, "%s is no member of this cluster", name)
	case found != nil && len(servers) == 1:
		return model.Errorf(model.Conflict, "%s is the only member of this cluster and cannot leave it", name)
	case name == n.cfg.Name:
		if err := n.handOver(ctx, ""); err != nil {
			return err
		}
		return errLeaves
	}
	if err := lead.Update(ctx, func(tx *state.Tx) error { state.Delete[Member](tx, name); return nil }); err != nil {
		return fmt.Errorf("%w: %w", errUnknown, err)
	}
	if found == nil {
		return nil
	}
	if err := n.await(n.raft.RemoveServer(found.ID, 0, n.cfg.Timing.Deadline)); err != nil {
		return fate(err)
	}
	n.log.Info("a node was removed", "member", name)
	return nil
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
