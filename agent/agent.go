// Package agent makes a machine be as the orchestrator described it, and watches that it stays so. It
// takes signed orders off the bus, journals them, does their steps through its collections, tells the
// outcomes until they are confirmed, and raises alerts when a watched resource drifts. DESIGN.md tells
// what holds when it dies in the middle.
package agent

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/muster-hq/muster/agent/journal"
	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/dispatch/wire"
)

// Defaults of Options.
const (
	DefaultCheckInterval = 10 * time.Minute
	DefaultStepTimeout   = 30 * time.Minute
)

// Options are what an Agent is made of.
type Options struct {
	Log           *slog.Logger
	State         string // the state directory; it must exist and belong to this process alone
	Identity      Identity
	Key           ed25519.PrivateKey // the agent's own
	Collections   []resource.Collection
	Version       string        // told with every heartbeat
	CheckInterval time.Duration // of the timer behind the events; 0: DefaultCheckInterval
	StepTimeout   time.Duration // of one step; 0: DefaultStepTimeout
	Disk          journal.Disk  // nil: the real one
	// Told are values of the machine's sensors (collection hosts) that are told in place of what is measured.
	Told map[string]any
}

// Agent is one member machine. Open makes one, Run works, Deliver hands it what came from the bus and
// Talk tells the bus what it has to say. Run, Deliver and Talk may be called at the same time.
type Agent struct {
	log         *slog.Logger
	identity    Identity
	key         ed25519.PrivateKey
	version     string
	started     time.Time
	interval    time.Duration
	stepTimeout time.Duration
	collections map[string]resource.Collection
	journal     *journal.Journal
	store       *store
	clock       *clock
	locks       *locks
	outbox      *outbox
	asks        *asks
	told        map[string]any // values of sensors
	watches     map[string]*watch
	wake        map[wire.Lane]chan struct{}

	fatal  chan error // a broken journal, found by anyone
	taking sync.Mutex // what is above the fence is judged and journaled at once

	loginMu   sync.Mutex
	lastLogin uint64
}

// Open reads the state directory. It starts nothing.
func Open(o Options) (*Agent, error) {
	if o.Identity.Agent == "" || len(o.Identity.Key) != ed25519.PublicKeySize || len(o.Key) != ed25519.PrivateKeySize {
		return nil, errors.New("the agent has no whole identity: enrol it first")
	}
	a := &Agent{
		log: o.Log, identity: o.Identity, key: o.Key, version: o.Version, started: time.Now(),
		interval: o.CheckInterval, stepTimeout: o.StepTimeout,
		collections: map[string]resource.Collection{}, watches: map[string]*watch{}, locks: newLocks(),
		fatal: make(chan error, 1),
		wake:  map[wire.Lane]chan struct{}{wire.LaneChanges: make(chan struct{}, 1), wire.LaneAsks: make(chan struct{}, 1)},
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if a.interval <= 0 {
		a.interval = DefaultCheckInterval
	}
	if a.stepTimeout <= 0 {
		a.stepTimeout = DefaultStepTimeout
	}
	var err error
	if a.store, err = openStore(filepath.Join(o.State, expectedDir), a.log); err != nil {
		return nil, err
	}
	if a.journal, err = journal.Open(o.State, journal.Options{Log: a.log, Disk: o.Disk}); err != nil {
		return nil, err
	}
	a.clock = newClock(a.journal.Seen(), bootTime)
	a.outbox, a.asks, a.told = newOutbox(a), newAsks(a), o.Told
	for _, c := range o.Collections {
		a.collections[c.Name()] = c
		a.watches[c.Name()] = newWatch(a, c)
	}
	return a, nil
}

// Run does the orders that are in the journal and those that come, and watches, until ctx ends. A step
// that is being done then is finished first. The error is a journal that can no longer be trusted; the
// process has to end.
func (a *Agent) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg, held sync.WaitGroup
	for lane := range a.wake {
		held.Add(1)
		wg.Go(func() {
			if err := a.runLane(ctx, lane, sync.OnceFunc(held.Done)); err != nil {
				cancel(err)
			}
		})
	}
	wg.Go(func() { a.asks.run(ctx) })
	wg.Go(func() {
		select {
		case <-ctx.Done():
		case err := <-a.fatal:
			cancel(err)
		}
	})
	held.Wait() // what an order was doing when the agent died is not drift
	for _, w := range a.watches {
		wg.Go(func() { w.run(ctx) })
	}
	<-ctx.Done()
	wg.Wait()
	if err := context.Cause(ctx); errors.Is(err, journal.ErrBroken) {
		return err
	}
	return nil
}

// Close closes the journal; Run and every Talk must have returned.
func (a *Agent) Close() error { return a.journal.Close() }

// Outstanding tells how much is not over or not confirmed yet.
func (a *Agent) Outstanding() journal.Counts { return a.journal.Counts() }

// NextLogin counts the logins of this agent; each number is above all before it. It starts at the
// machine's time, so that an agent whose journal was lost is not behind itself.
// A disk that is full does not keep the agent off the bus: the machine's time stands in for the count.
func (a *Agent) NextLogin() (uint64, error) {
	a.loginMu.Lock()
	defer a.loginMu.Unlock()
	floor := max(a.lastLogin+1, uint64(max(0, time.Now().UnixNano())))
	n, err := a.journal.NextLogin(floor)
	if errors.Is(err, journal.ErrBroken) || errors.Is(err, journal.ErrClosed) {
		return 0, a.noteBroken(err)
	}
	if err != nil {
		a.log.Warn("the login counter could not be kept; going by the clock", "error", err)
		n = floor
	}
	a.lastLogin = n
	return n, nil
}

// Deliver takes one message from the agent's queue. nil: the message may be acknowledged, it was taken,
// or dropped for a reason that is in the log. An error: it could not be kept (the disk is full); give it
// back and deliver it again later.
func (a *Agent) Deliver(envelope []byte) error {
	return a.noteBroken(a.deliver(envelope))
}

// noteBroken makes Run end when err is a broken journal, and returns err.
func (a *Agent) noteBroken(err error) error {
	if errors.Is(err, journal.ErrBroken) {
		select {
		case a.fatal <- err:
		default:
		}
	}
	return err
}

func (a *Agent) deliver(envelope []byte) error {
	kind, err := wire.PeekKind(envelope)
	if err != nil {
		a.log.Warn("dropped a message that cannot be read", "error", err)
		return nil
	}
	switch kind {
	case wire.KindOrder:
		var o wire.Order
		if err := wire.Open(envelope, kind, a.identity.Key, &o); err != nil {
			a.log.Warn("dropped an order", "error", err)
			return nil
		}
		return a.takeOrder(o)
	case wire.KindReceipt:
		var r wire.Receipt
		if err := wire.Open(envelope, kind, a.identity.Key, &r); err != nil {
			a.log.Warn("dropped a receipt", "error", err)
			return nil
		}
		if r.Agent != a.identity.Agent {
			a.log.Warn("dropped a receipt for another agent", "for", r.Agent)
			return nil
		}
		return a.outbox.confirm(r.Sequences)
	case wire.KindAsk:
		var q wire.Ask
		if err := wire.Open(envelope, kind, a.identity.Key, &q); err != nil {
			a.log.Warn("dropped a question", "error", err)
			return nil
		}
		a.takeAsk(q)
		return nil
	case wire.KindResync:
		var r wire.Resync
		if err := wire.Open(envelope, kind, a.identity.Key, &r); err != nil {
			a.log.Warn("dropped a question for the standing", "error", err)
			return nil
		}
		return a.takeResync(r)
	default:
		a.log.Warn("dropped a message of a kind that is not for agents", "kind", kind)
		return nil
	}
}

// takeResync answers the question for the standing, at the beginning of an epoch. From then on no order of an earlier
// epoch is taken, else the answer would be wrong once it is read.
func (a *Agent) takeResync(r wire.Resync) error {
	log := a.log.With("epoch", r.Epoch, "above", r.Above)
	if r.Agent != a.identity.Agent {
		log.Warn("dropped a question for another agent's standing", "for", r.Agent)
		return nil
	}
	a.taking.Lock()
	defer a.taking.Unlock()
	if fence := a.journal.Fence(wire.LaneChanges); r.Epoch < fence.Epoch {
		log.Warn("dropped a question of an epoch that is over", "fence", fence.Epoch)
		return nil
	}
	a.clock.see(r.Issued)
	if err := a.journal.Resync(r.Epoch, a.clock.mark()); err != nil {
		log.Error("could not journal the beginning of an epoch; the question will be taken again", "error", err)
		return fmt.Errorf("begin epoch %d: %w", r.Epoch, err)
	}
	log.Info("telling what was done")
	a.outbox.stand(r)
	for name, w := range a.watches { // what is not as it should be is told again
		for _, id := range a.store.list(name) {
			w.touch(id, rand.N(min(a.interval, retellWithin)+1))
		}
	}
	return nil
}

// takeOrder judges an order whose signature holds, and journals it when it is to be done.
func (a *Agent) takeOrder(o wire.Order) error {
	a.taking.Lock()
	defer a.taking.Unlock()
	log := a.log.With("order", o.ID, "change", o.Change, "lane", o.Lane)
	if o.Agent != a.identity.Agent {
		log.Warn("dropped an order for another agent", "for", o.Agent)
		return nil
	}
	a.clock.see(o.Issued)
	if a.journal.Known(o.ID) {
		if o.Cancel && !a.journal.Cancelled(o.ID) {
			log.Info("the order is cancelled; no further step of it is begun")
			if err := a.journal.Cancel(o.ID); err != nil {
				log.Error("could not journal a cancellation; it will be taken again", "error", err)
				return fmt.Errorf("cancel order %s: %w", o.ID, err)
			}
		}
		log.Debug("the order came again; telling its replies again")
		a.outbox.repeat(o.ID)
		return nil
	}
	if fence := a.journal.Fence(o.Lane); !fence.Below(journal.Fence{Epoch: o.Epoch, Term: o.Term, Sequence: o.Sequence}) {
		log.Warn("dropped an order that is not above its lane's fence", "epoch", o.Epoch, "term", o.Term, "sequence", o.Sequence)
		return nil
	}
	if err := wellFormed(o); err != nil {
		log.Error("dropped an order that makes no sense", "error", err)
		return nil
	}
	if now := a.clock.now(); !now.Before(o.Expires) {
		log.Warn("dropped an order that has expired", "expired", o.Expires, "now", now)
		return nil
	}
	if err := a.journal.Accept(o, a.clock.mark()); err != nil {
		log.Error("could not journal an order; it is not acted on and will be taken again", "error", err)
		return fmt.Errorf("accept order %s: %w", o.ID, err)
	}
	log.Info("accepted an order", "steps", len(o.Steps))
	signal(a.wake[o.Lane])
	return nil
}

// wellFormed checks what the rest of the agent relies on.
func wellFormed(o wire.Order) error {
	if o.ID == "" || len(o.Steps) == 0 || o.Expires.IsZero() {
		return errors.New("it lacks its id, its steps or its expiry")
	}
	if o.Lane != wire.LaneChanges && o.Lane != wire.LaneAsks {
		return fmt.Errorf("this agent does not know its lane %q", o.Lane)
	}
	seen := map[int]bool{}
	for _, s := range o.Steps {
		if seen[s.Num] {
			return fmt.Errorf("two of its steps have the number %d", s.Num)
		}
		seen[s.Num] = true
	}
	return nil
}

// collection finds a collection by name.
func (a *Agent) collection(name string) (resource.Collection, error) {
	if c, ok := a.collections[name]; ok {
		return c, nil
	}
	names := make([]string, 0, len(a.collections))
	for n := range a.collections {
		names = append(names, n)
	}
	slices.Sort(names)
	return nil, fmt.Errorf("%w %q; it has: %s", errUnknownCollection, name, strings.Join(names, ", "))
}

// signal wakes a goroutine that waits on ch, which has room for one.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
