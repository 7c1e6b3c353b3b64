package dispatch

import (
	"context"
	"sync"
	"time"

	"github.com/muster-hq/muster/dispatch/wire"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// presence remembers when and where each agent was last heard. It is memory only: the state keeps the
// transitions.
type presence struct {
	heartbeat time.Duration
	began     time.Time // nobody is called down before the agents had time to find the new leader

	mu    sync.Mutex
	seen  map[string]sighting
	news  map[string]orchestrate.Transition // to be committed
	byes  []func()                          // called once what they told is committed
	fresh chan struct{}
}

type sighting struct {
	at      time.Time
	hub     string
	started time.Time
	told    bool // a heartbeat came
	asks    bool // it answers questions
}

// misses is how many heartbeats an agent may miss before it is called down.
const misses = 3

func newPresence(heartbeat time.Duration, now time.Time) *presence {
	return &presence{
		heartbeat: heartbeat, began: now,
		seen: map[string]sighting{}, news: map[string]orchestrate.Transition{}, fresh: make(chan struct{}, 1),
	}
}

// where names the hub at which the agent was last heard, or "".
func (p *presence) where(agentID string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[agentID].hub
}

// known says whether the agent is there, as far as this leader knows.
func (p *presence) known(agentID string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.seen[agentID]
	return ok
}

// answers says whether the agent answers questions; true as long as it has not told.
func (p *presence) answers(agentID string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.seen[agentID]
	return !s.told || s.asks
}

// enrolled gives a new agent, which the state calls up already, the time to log in as itself.
func (p *presence) enrolled(agentID string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.seen[agentID]; !ok {
		p.seen[agentID] = sighting{at: now}
	}
}

// forget drops an agent that is no more.
func (p *presence) forget(agentID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.seen, agentID)
	delete(p.news, agentID)
}

// heard notes a sign of life, and answers true when the agent was not known to be there: it is new to this
// leader, came back, was started anew, or moved to another hub.
// said is empty but for a heartbeat.
func (p *presence) heard(agentID, hub string, said wire.Presence, now time.Time) bool {
	started := said.Started
	p.mu.Lock()
	defer p.mu.Unlock()
	last, known := p.seen[agentID]
	if started.IsZero() {
		started = last.started
	}
	told, asks := last.told, last.asks
	if said.Version != "" {
		told, asks = true, said.Asks
	}
	p.seen[agentID] = sighting{at: now, hub: hub, started: started, told: told, asks: asks}
	came := !known || last.hub != hub || !last.started.Equal(started) || now.Sub(last.at) > misses*p.heartbeat
	if came || said.Version != "" {
		p.tell(orchestrate.Transition{AgentID: agentID, Up: true, Version: said.Version, Journal: said.Journal})
	}
	return came
}

// gone notes that an agent said good-bye, and answers true when that is to be recorded: done is called then, once it is. That
// of a process which another one has followed is late, and no news.
func (p *presence) gone(agentID string, started time.Time, done func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s, ok := p.seen[agentID]; ok && !s.started.IsZero() && !s.started.Equal(started) {
		return false
	}
	delete(p.seen, agentID)
	p.byes = append(p.byes, done)
	p.tell(orchestrate.Transition{AgentID: agentID})
	return true
}

// tell queues a transition; the caller holds the lock.
func (p *presence) tell(t orchestrate.Transition) {
	p.news[t.AgentID] = t
	select {
	case p.fresh <- struct{}{}:
	default:
	}
}

// sweep calls down who has been silent: of all that the state says are up, those not heard in time.
func (p *presence) sweep(up []string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	limit := misses * p.heartbeat
	if now.Sub(p.began) < limit {
		return
	}
	for _, id := range up {
		if s, ok := p.seen[id]; !ok || now.Sub(s.at) > limit {
			delete(p.seen, id)
			p.tell(orchestrate.Transition{AgentID: id})
		}
	}
}

// take gives what is to be committed, and what is to be called once it is.
func (p *presence) take() (ts []orchestrate.Transition, byes []func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ts = make([]orchestrate.Transition, 0, len(p.news))
	for _, t := range p.news {
		ts = append(ts, t)
	}
	clear(p.news)
	byes, p.byes = p.byes, nil
	return ts, byes
}

func (p *presence) putBack(ts []orchestrate.Transition, byes []func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byes = append(p.byes, byes...)
	for _, t := range ts {
		if _, newer := p.news[t.AgentID]; !newer {
			p.news[t.AgentID] = t
		}
	}
}

// runPresence commits transitions in batches, and sweeps.
func (d *Dispatcher) runPresence(ctx context.Context) error {
	ticker := time.NewTicker(d.cfg.Heartbeat / 2)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.presence.fresh:
		case now := <-ticker.C:
			d.presence.sweep(upAgents(d.cfg.Store.Local()), now)
		}
		ts, byes := d.presence.take()
		if ts = changed(d.cfg.Store.Local(), ts); len(ts) > 0 {
			if err := d.cfg.Store.Update(ctx, func(tx *state.Tx) error { return orchestrate.RecordPresence(tx, ts) }); err != nil {
				d.log.Debug("presence not recorded yet", "agents", len(ts), "error", err)
				d.presence.putBack(ts, byes)
				continue
			}
		}
		for _, done := range byes {
			done()
		}
	}
}

// changed drops the transitions that the state knows, so that heartbeats cost no commit.
func changed(r state.Reader, ts []orchestrate.Transition) []orchestrate.Transition {
	var out []orchestrate.Transition
	for _, t := range ts {
		p, ok := state.Get[model.Presence](r, t.AgentID)
		if ok && (t.News(p) || orchestrate.JournalIsNews(r, t.AgentID, t.Journal)) {
			out = append(out, t)
		}
	}
	return out
}

func upAgents(r state.Reader) []string {
	var up []string
	for _, id := range state.Keys[model.Agent](r, model.AllAgents) {
		if p, ok := state.Get[model.Presence](r, id); ok && p.Up {
			up = append(up, id)
		}
	}
	return up
}
