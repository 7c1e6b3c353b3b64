package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"
)

// Autopilot says when the leader gives a member its vote, and when it removes one that is dead. Zero values mean the
// defaults.
type Autopilot struct {
	KeepDead      bool          // dead members stay until somebody removes them
	DeadAfter     time.Duration // unseen by gossip and by questions for so long; 10 min
	LastContact   time.Duration // without a word from the leader a member is not healthy; 1 s
	Stabilisation time.Duration // healthy for so long before it votes; 3 s, not waited for while the leadership is younger
	MinQuorum     int           // voters below which none is removed for being dead; 3
}

func (a Autopilot) withDefaults() Autopilot {
	def(&a.DeadAfter, 10*time.Minute)
	def(&a.LastContact, time.Second)
	def(&a.Stabilisation, 3*time.Second)
	def(&a.MinQuorum, 3)
	return a
}

// maxTrailing is how many entries a member may lack and still be healthy.
const maxTrailing = 1024

// pilotTick is how often the members' health is looked at, and twice the time that they have to answer.
const pilotTick = time.Second

// pilot is a duty: raft-autopilot with this node's knowledge.
func (n *Node) pilot(ctx context.Context, lead *Lead) error {
	p := &pilot{n: n, ctx: ctx, removing: map[raft.ServerID]bool{}, seen: map[raft.ServerID]time.Time{}}
	a := autopilot.New(pilotRaft{n.raft, n}, p, autopilot.WithLogger(raftLogger(n.log)),
		autopilot.WithUpdateInterval(pilotTick), autopilot.WithReconcileInterval(pilotTick/2))
	a.Start(ctx)
	<-ctx.Done()
	select {
	case <-a.Stop():
	case <-n.down:
	}
	p.removals.Wait()
	return ctx.Err()
}

// pilot tells raft-autopilot what this node knows.
type pilot struct {
	n        *Node
	ctx      context.Context // of the leadership
	removals sync.WaitGroup

	mu       sync.Mutex
	removing map[raft.ServerID]bool      // removals under way
	seen     map[raft.ServerID]time.Time // when a member was last seen, at first when this leadership began to look
}

var _ autopilot.ApplicationIntegration = (*pilot)(nil)

// AutopilotConfig is the rules.
func (p *pilot) AutopilotConfig() *autopilot.Config {
	c := p.n.cfg.Autopilot
	return &autopilot.Config{
		CleanupDeadServers: !c.KeepDead, LastContactThreshold: c.LastContact, MaxTrailingLogs: maxTrailing,
		MinQuorum: uint(max(0, c.MinQuorum)), ServerStabilizationTime: c.Stabilisation,
	}
}

// NotifyState needs nothing: Status asks the members itself.
func (p *pilot) NotifyState(*autopilot.State) {}

// KnownServers are raft's, all of them: those that are not told here raft-autopilot would remove at once. One that
// is unseen fails only after a long time; until then what it does not answer keeps it from a vote.
func (p *pilot) KnownServers() map[raft.ServerID]*autopilot.Server {
	out := map[raft.ServerID]*autopilot.Server{}
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.n.raft.GetConfiguration().Configuration().Servers {
		srv := &autopilot.Server{ID: s.ID, Name: string(s.ID), Address: s.Address, NodeStatus: autopilot.NodeAlive, IsLeader: string(s.ID) == p.n.cfg.Name}
		if s.Suffrage == raft.Voter { // others do not count for the quorum that must be left
			srv.NodeType = autopilot.NodeVoter
		}
		if _, ok := p.seen[s.ID]; !ok || srv.IsLeader {
			p.seen[s.ID] = now
		}
		if now.Sub(p.seen[s.ID]) > p.n.cfg.Autopilot.DeadAfter {
			srv.NodeStatus = autopilot.NodeFailed
		}
		out[s.ID] = srv
	}
	return out
}

// FetchServerStats asks the members. One that does not answer, or is not the one of its row, is told as without
// contact.
func (p *pilot) FetchServerStats(ctx context.Context, servers map[raft.ServerID]*autopilot.Server) map[raft.ServerID]*autopilot.ServerStats {
	rows := map[string]*Member{}
	for _, m := range p.n.Members() {
		rows[m.Name] = &m
	}
	out := map[raft.ServerID]*autopilot.ServerStats{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for id, srv := range servers {
		wg.Go(func() {
			stats := &autopilot.ServerStats{LastContact: -1}
			in, err := p.n.askInfo(ctx, string(srv.Address))
			if row := rows[string(id)]; err == nil && row != nil && in.is(row) {
				p.see(id)
				stats = &autopilot.ServerStats{LastContact: time.Duration(in.ContactMs) * time.Millisecond, LastTerm: in.LastTerm, LastIndex: in.LastIndex}
			}
			mu.Lock()
			defer mu.Unlock()
			out[id] = stats
		})
	}
	if p.n.gossip != nil {
		for _, g := range p.n.gossip.Members() {
			p.see(raft.ServerID(g.Name))
		}
	}
	wg.Wait()
	return out
}

func (p *pilot) see(id raft.ServerID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[id] = time.Now()
}

// begin notes that a member is being removed; false when it is already. End takes the note back.
func (p *pilot) begin(id raft.ServerID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.removing[id] {
		return false
	}
	p.removing[id] = true
	return true
}

func (p *pilot) end(id raft.ServerID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.removing, id)
}

// RemoveFailedServer removes a dead member as somebody would by hand. It is called again and again until the member is
// gone.
func (p *pilot) RemoveFailedServer(s *autopilot.Server) {
	if !p.begin(s.ID) {
		return
	}
	p.removals.Go(func() {
		defer p.end(s.ID)
		ctx, cancel := context.WithTimeout(p.ctx, p.n.cfg.Timing.Deadline)
		defer cancel()
		p.n.log.Warn("a member is dead, and removed", "member", s.Name, "unseen", p.n.cfg.Autopilot.DeadAfter)
		if err := p.n.removeHere(ctx, s.Name); err != nil && ctx.Err() == nil {
			p.n.log.Warn("a dead member could not be removed yet", "member", s.Name, "error", err)
		}
	})
}

// pilotRaft is raft with changes of the voters one at a time, and with waits that end when raft does.
type pilotRaft struct {
	*raft.Raft
	n *Node
}

// AddVoter gives a member its vote.
func (r pilotRaft) AddVoter(id raft.ServerID, addr raft.ServerAddress, prev uint64, timeout time.Duration) raft.IndexFuture {
	r.n.voters.Lock()
	f := &awaited{n: r.n, IndexFuture: r.Raft.AddVoter(id, addr, prev, timeout)}
	f.then = func(err error) {
		r.n.voters.Unlock()
		if err == nil {
			r.n.log.Info("a node votes", "member", string(id))
		}
	}
	return f
}

// awaited is a future whose wait ends when raft does.
type awaited struct {
	raft.IndexFuture
	n    *Node
	once sync.Once
	then func(error)
	err  error
}

// Error waits for the outcome.
func (f *awaited) Error() error {
	f.once.Do(func() {
		f.err = f.n.await(f.IndexFuture)
		f.then(f.err)
	})
	return f.err
}
