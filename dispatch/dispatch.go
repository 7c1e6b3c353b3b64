// Package dispatch is the leader's duty that carries orders to agents and brings back what they say. It
// holds nothing that the state does not hold: a new leader starts from the state, publishes again what is
// out, and takes up replies where the last one left them.
package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-hq/muster/dispatch/bus"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// Store is what the dispatcher needs of the cluster: a local view to read and watch, and updates that are
// refused once a later term is open.
type Store interface {
	Update(ctx context.Context, fn func(tx *state.Tx) error) error
	Local() *state.View
}

// Hub is one broker to be a client of: a node's embedded hub, or the site's RabbitMQ.
type Hub struct {
	Name   string
	Config bus.Config
}

// Config says how to dispatch. A zero duration means the default.
type Config struct {
	Term  uint64 // the leader's, for the fence
	Store Store
	Hubs  func() []Hub // the brokers to be connected to now; asked again every HubsEvery
	Log   *slog.Logger

	HubsEvery  time.Duration // default 1 s
	Heartbeat  time.Duration // the agents' presence interval; default 10 s
	OrderTTL   time.Duration // how long an order may be started; default 24 h
	RetryFirst time.Duration // an order is published again after this, then with doubling; default 2 s
	RetryMost  time.Duration // up to this; default 30 s
}

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.HubsEvery, time.Second)
	set(&c.Heartbeat, 10*time.Second)
	set(&c.OrderTTL, 24*time.Hour)
	set(&c.RetryFirst, 2*time.Second)
	set(&c.RetryMost, 30*time.Second)
	return c
}

// Dispatcher is one term's dispatch. Make one with New, run it once.
type Dispatcher struct {
	cfg      Config
	log      *slog.Logger
	presence *presence
	lanes    *lanes // work by agent, in order

	mu    sync.Mutex
	links map[string]*link // by hub name
	nudge chan struct{}    // the outbox looks again: an agent came, or a link
	due   map[string]bool  // agents whose order should go out again at once

	asks *asks
}

// New makes a dispatcher for one term.
func New(cfg Config) *Dispatcher {
	cfg = cfg.withDefaults()
	return &Dispatcher{
		cfg:      cfg,
		log:      cfg.Log,
		presence: newPresence(cfg.Heartbeat, time.Now()),
		lanes:    newLanes(laneWorkers),
		links:    map[string]*link{},
		nudge:    make(chan struct{}, 1),
		due:      map[string]bool{},
		asks:     newAsks(),
	}
}

// laneWorkers bounds how many agents' messages are handled at once.
const laneWorkers = 64

// Run dispatches until ctx ends, and returns when all that it started has stopped. Only a lost term is an
// error; brokers that cannot be reached are tried again.
func (d *Dispatcher) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer d.asks.stop()
	var wg sync.WaitGroup
	start := func(name string, fn func(ctx context.Context) error) {
		wg.Go(func() {
			if err := fn(ctx); err != nil && ctx.Err() == nil {
				d.log.Error("dispatch stopped", "part", name, "error", err)
				cancel(err)
			}
		})
	}
	start("lanes", d.lanes.run)
	start("hubs", d.keepLinks)
	start("outbox", d.runOutbox)
	start("presence", d.runPresence)
	start("forgotten", d.runForgotten)
	wg.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// keepLinks holds a supervised connection to each hub that Hubs names.
func (d *Dispatcher) keepLinks(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	stops := map[string]context.CancelFunc{}
	defer func() {
		for _, stop := range stops {
			stop()
		}
	}()
	ticker := time.NewTicker(d.cfg.HubsEvery)
	defer ticker.Stop()
	for {
		wanted := map[string]bool{}
		for _, h := range d.cfg.Hubs() {
			wanted[h.Name] = true
			if stops[h.Name] != nil {
				continue
			}
			lctx, stop := context.WithCancel(ctx)
			stops[h.Name] = stop
			wg.Go(func() { d.runLink(lctx, h) })
		}
		for name, stop := range stops {
			if !wanted[name] {
				stop()
				delete(stops, name)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// runForgotten takes the queues of agents that are no more away from the brokers, which ends what such an agent
// still consumes. One that went while no leader looked leaves an empty queue, which on a hub ends with the hub.
func (d *Dispatcher) runForgotten(ctx context.Context) error {
	var known map[string]bool
	for {
		ws := state.NewWatchSet()
		is := map[string]bool{}
		for _, id := range state.Keys[model.Agent](d.cfg.Store.Local().Watched(ws), model.AllAgents) {
			is[id] = true
		}
		for id := range known {
			if !is[id] {
				d.presence.forget(id)
				d.everywhere(ctx, "delete the queue of an agent", func(ctx context.Context, s *bus.Session) error {
					return bus.DeleteAgent(ctx, s, id)
				})
			}
		}
		known = is
		if ws.Wait(ctx) != nil {
			return nil
		}
	}
}

// lookAgain makes the outbox look at once; with an agent, that agent's order goes out again now.
func (d *Dispatcher) lookAgain(agentID string) {
	d.mu.Lock()
	if agentID != "" {
		d.due[agentID] = true
	}
	d.mu.Unlock()
	select {
	case d.nudge <- struct{}{}:
	default:
	}
}

func (d *Dispatcher) takeDue() map[string]bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	due := d.due
	d.due = map[string]bool{}
	return due
}

func (d *Dispatcher) allLinks() []*link {
	d.mu.Lock()
	defer d.mu.Unlock()
	ls := make([]*link, 0, len(d.links))
	for _, l := range d.links {
		ls = append(ls, l)
	}
	return ls
}

// addLink makes a link one to publish through; the answer takes it back.
func (d *Dispatcher) addLink(l *link) (remove func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.links[l.name] = l
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.links[l.name] == l { // not the one that followed it
			delete(d.links, l.name)
		}
	}
}

// errNoHub is returned when no broker could take a message; it is tried again.
var errNoHub = errors.New("no broker took the message")

// toAgent publishes one message for an agent: at the hub where the agent was last seen, or everywhere when
// that is unknown, fails, or spread is set. Agents know an order that they have had, so more is harmless.
func (d *Dispatcher) toAgent(ctx context.Context, agentID string, body []byte, spread bool) error {
	links := d.allLinks()
	seen := d.presence.where(agentID)
	if i := slices.IndexFunc(links, func(l *link) bool { return l.name == seen }); i >= 0 && !spread {
		if links[i].publish(ctx, agentID, body) == nil {
			return nil
		}
		links = slices.Delete(links, i, i+1)
	}
	var took atomic.Bool
	var wg sync.WaitGroup
	for _, l := range links {
		wg.Go(func() {
			if l.publish(ctx, agentID, body) == nil {
				took.Store(true)
			}
		})
	}
	wg.Wait()
	if !took.Load() {
		return errNoHub
	}
	return nil
}

// transient says that an update may succeed on another try or another leader, so that the message that
// caused it must not be acknowledged.
func transient(err error) bool {
	switch model.CodeOf(err) {
	case model.Unavailable, model.Unknown, model.Internal:
		return true
	}
	return false
}
