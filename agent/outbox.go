package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/muster-hq/muster/agent/journal"
	"github.com/muster-hq/muster/dispatch/wire"
)

// link carries signed messages to the orchestrator. Publish returns nil once the broker has the message.
type link interface {
	Publish(ctx context.Context, kind wire.Kind, envelope []byte) error
}

// Times of telling.
const (
	repeatFirst   = 5 * time.Second // until the first repeat of a message that has no receipt
	repeatMost    = 2 * time.Minute
	presenceEvery = 10 * time.Second
	publishLimit  = 30 * time.Second
)

// outbox tells what is outstanding in the journal, again and again until the receipts come.
type outbox struct {
	agent *Agent
	wake  chan struct{}

	mu       sync.Mutex
	attempts map[uint64]attempt
	again    []wire.Reply // confirmed ones that were asked for again
	asked    *wire.Resync // the newest question for the standing that has no answer yet
}

type attempt struct {
	count int
	next  time.Time
}

func newOutbox(a *Agent) *outbox {
	return &outbox{agent: a, wake: make(chan struct{}, 1), attempts: map[uint64]attempt{}}
}

// confirm takes a receipt.
func (o *outbox) confirm(sequences []uint64) error {
	if err := o.agent.journal.Receipt(sequences); err != nil {
		return fmt.Errorf("keep a receipt: %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range sequences {
		delete(o.attempts, s)
	}
	return nil
}

// repeat tells every reply of an order again, at once.
func (o *outbox) repeat(order string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.agent.journal.Replies(order) {
		if _, open := o.attempts[r.Sequence]; open {
			o.attempts[r.Sequence] = attempt{}
		} else {
			o.again = append(o.again, r)
		}
	}
	signal(o.wake)
}

// stand makes the agent tell its standing, once: the question is repeated until the answer is heard.
func (o *outbox) stand(r wire.Resync) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = &r
	signal(o.wake)
}

// takeAsked returns the question that waits for its answer, if there is one.
func (o *outbox) takeAsked() *wire.Resync {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.asked
	o.asked = nil
	return r
}

// take returns what is due now, in sequence, and when the next will be.
func (o *outbox) take(now time.Time) (due []journal.Message, next time.Time) {
	open := o.agent.journal.Outstanding()
	o.mu.Lock()
	defer o.mu.Unlock()
	still := make(map[uint64]attempt, len(open))
	for _, m := range open {
		at := o.attempts[m.Sequence()]
		if !at.next.After(now) {
			due = append(due, m)
			wait := min(repeatFirst<<min(at.count, 6), repeatMost)
			at = attempt{count: at.count + 1, next: now.Add(jitter(wait))}
		}
		still[m.Sequence()] = at
		if next.IsZero() || at.next.Before(next) {
			next = at.next
		}
	}
	o.attempts = still
	for _, r := range o.again {
		if _, open := still[r.Sequence]; !open {
			due = append(due, journal.Message{Reply: &r})
		}
	}
	o.again = nil
	return due, next
}

// fresh makes everything due: a new connection has told nothing yet.
func (o *outbox) fresh() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.attempts = map[uint64]attempt{}
}

// Talk tells what there is to tell over one connection, with heartbeats, until ctx ends or the
// connection fails. When ctx ends, it says goodbye.
func (a *Agent) Talk(ctx context.Context, l link) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() { cancel(a.beat(ctx, l)) })
	wg.Go(func() { cancel(a.tell(ctx, l)) })
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// tell is the outbox's half of Talk.
func (a *Agent) tell(ctx context.Context, l link) error {
	a.outbox.fresh()
	for {
		if r := a.outbox.takeAsked(); r != nil {
			if err := a.tellStanding(ctx, l, *r); err != nil {
				return err
			}
		}
		if err := a.asks.tell(ctx, l); err != nil {
			return err
		}
		due, next := a.outbox.take(time.Now())
		for _, m := range due {
			if err := a.publish(ctx, l, m); err != nil {
				a.outbox.fresh()
				return err
			}
		}
		if len(due) > 0 {
			continue // the journal may hold new ones by now
		}
		if next.IsZero() {
			next = time.Now().Add(repeatMost)
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-a.outbox.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// tellStanding signs and sends how far this agent is, as of now.
func (a *Agent) tellStanding(ctx context.Context, l link, r wire.Resync) error {
	s := a.journal.Standing(r.Above)
	s.Agent, s.Epoch = a.identity.Agent, r.Epoch
	envelope, err := wire.Sign(wire.KindStanding, a.key, s)
	if err != nil {
		a.log.Error("the standing cannot be signed", "error", err)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, publishLimit)
	defer cancel()
	if err := l.Publish(ctx, wire.KindStanding, envelope); err != nil {
		return fmt.Errorf("publish the standing: %w", err)
	}
	return nil
}

// publish signs and sends one message. A message that cannot be signed is told in the log and left.
func (a *Agent) publish(ctx context.Context, l link, m journal.Message) error {
	kind, body := wire.KindReply, any(m.Reply)
	if m.Alert != nil {
		kind, body = wire.KindAlert, m.Alert
	}
	envelope, err := wire.Sign(kind, a.key, body)
	if err != nil {
		a.log.Error("a message cannot be signed", "kind", kind, "sequence", m.Sequence(), "error", err)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, publishLimit)
	defer cancel()
	if err := l.Publish(ctx, kind, envelope); err != nil {
		return fmt.Errorf("publish a %s: %w", kind, err)
	}
	return nil
}

// beat is the heartbeat's half of Talk.
func (a *Agent) beat(ctx context.Context, l link) error {
	timer := time.NewTimer(rand.N(presenceEvery))
	defer timer.Stop()
	if err := a.presence(ctx, l, false); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), context.Canceled) {
				_ = a.presence(context.WithoutCancel(ctx), l, true)
			}
			return ctx.Err()
		case <-timer.C:
			timer.Reset(presenceEvery)
			if err := a.presence(ctx, l, false); err != nil {
				return err
			}
		}
	}
}

func (a *Agent) presence(ctx context.Context, l link, bye bool) error {
	p := wire.Presence{Agent: a.identity.Agent, Version: a.version, Started: a.started, Bye: bye, Journal: a.journal.ID(), Asks: true}
	envelope, err := wire.Sign(wire.KindPresence, a.key, p)
	if err != nil {
		return fmt.Errorf("sign a heartbeat: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, publishLimit/10)
	defer cancel()
	if err := l.Publish(ctx, wire.KindPresence, envelope); err != nil {
		return fmt.Errorf("publish a heartbeat: %w", err)
	}
	return nil
}

// jitter spreads a duration over its upper half.
func jitter(d time.Duration) time.Duration {
	if d <= 1 {
		return d
	}
	return d/2 + rand.N(d/2)
}
