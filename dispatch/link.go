package dispatch

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/muster-hq/muster/dispatch/bus"
	"github.com/muster-hq/muster/dispatch/wire"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// link is one connection to one hub, while it lasts.
type link struct {
	name string
	s    *bus.Session
	slow atomic.Int64 // until when the broker is taken for one that hangs; Unix nanoseconds
}

// publishTimeout bounds one publish with its confirm. A broker that let one time out is given slowTimeout for as
// long, since many wait for it.
const (
	publishTimeout = 5 * time.Second
	slowTimeout    = publishTimeout / 20
)

// errLinkEnded is returned when a hub closed a consumer; the connection is made anew.
var errLinkEnded = errors.New("the broker ended the consumer")

// publish sends a message to an agent's queue at this hub, making the queue if the hub has lost it.
func (l *link) publish(ctx context.Context, agentID string, body []byte) error {
	return l.try(ctx, func(ctx context.Context) error {
		err := l.s.Publish(ctx, bus.ExchangeOrders, agentID, true, body)
		if errors.Is(err, bus.ErrReturned) {
			if err = bus.DeclareAgent(ctx, l.s, agentID); err == nil {
				err = l.s.Publish(ctx, bus.ExchangeOrders, agentID, true, body)
			}
		}
		return err
	})
}

// try does something at the hub, with the patience that the hub has earned.
func (l *link) try(ctx context.Context, do func(ctx context.Context) error) error {
	limit := publishTimeout
	if time.Now().UnixNano() < l.slow.Load() {
		limit = slowTimeout
	}
	tctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := do(tctx)
	switch {
	case err == nil:
		l.slow.Store(0)
	case tctx.Err() != nil && ctx.Err() == nil:
		l.slow.Store(time.Now().Add(publishTimeout).UnixNano())
	}
	return err
}

// runLink keeps the connection to a hub until ctx ends.
func (d *Dispatcher) runLink(ctx context.Context, h Hub) {
	log := d.log.With("hub", h.Name)
	cfg := h.Config
	cfg.Log = log
	conn, err := bus.New(cfg)
	if err != nil {
		log.Error("the broker cannot be used", "error", err)
		return
	}
	err = conn.Run(ctx, func(ctx context.Context, s *bus.Session) error {
		l := &link{name: h.Name, s: s}
		remove, err := d.openLink(ctx, l)
		if err != nil {
			return err
		}
		defer remove()
		log.Info("dispatching")
		d.lookAgain("")
		return d.receive(ctx, log, l)
	})
	if err != nil && ctx.Err() == nil {
		log.Error("the link to the broker ended", "error", err)
	}
}

// openLink declares what the hub needs, the topology and the queue of each agent, and makes the link one of ours.
// It is ours before the agents are listed, so that one who enrols meanwhile gets its queue here by the one way or
// the other.
func (d *Dispatcher) openLink(ctx context.Context, l *link) (remove func(), err error) {
	if err := bus.Declare(ctx, l.s); err != nil {
		return nil, fmt.Errorf("declare topology: %w", err)
	}
	remove = d.addLink(l)
	if err := bus.DeclareAgents(ctx, l.s, state.Keys[model.Agent](d.cfg.Store.Local(), model.AllAgents)); err != nil {
		remove()
		return nil, fmt.Errorf("declare the queues of agents: %w", err)
	}
	return remove, nil
}

// receive takes up what agents say at one hub. Each message is acknowledged after its effect is committed. The
// queues do not wait for each other: an agent with much to tell must not make others seem silent.
func (d *Dispatcher) receive(ctx context.Context, log *slog.Logger, l *link) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, q := range []struct {
		name     string
		prefetch int
		take     func(ctx context.Context, m bus.Delivery)
	}{
		{bus.QueueReplies, 256, func(ctx context.Context, m bus.Delivery) {
			id, _ := wire.PeekKeyID(m.Body)
			d.lanes.do(ctx, id, func() { d.settle(ctx, log, m, d.onReply(ctx, l, m.Body)) })
		}},
		{bus.QueuePresence, 256, func(ctx context.Context, m bus.Delivery) {
			// A good-bye is settled when it is recorded: one that this leader cannot record any more is the next one's.
			later, err := d.onPresence(l, m.Body, func() { d.settle(ctx, log, m, nil) })
			if !later {
				d.settle(ctx, log, m, err)
			}
		}},
		{bus.QueueEnrolments, 16, func(ctx context.Context, m bus.Delivery) {
			// Not by token: many machines bring the same one, and need not wait for each other.
			d.lanes.do(ctx, string(m.Body), func() { d.settle(ctx, log, m, d.onEnrol(ctx, l, m.Body)) })
		}},
	} {
		group.Go(func() error {
			deliveries, err := l.s.Consume(ctx, q.name, q.prefetch)
			if err != nil {
				return fmt.Errorf("consume %s: %w", q.name, err)
			}
			for m := range deliveries {
				q.take(ctx, m)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return errLinkEnded
		})
	}
	return group.Wait()
}

// giveBackAfter is the pause before a message goes back to its queue. Without it, a message that cannot be
// recorded now would come again as fast as the broker can.
const giveBackAfter = time.Second

// settle acknowledges a delivery, or gives it back when another try may go better. What failed for a fault of ours
// is tried once more here; after that it is left to its agent, who tells it again, ever more slowly.
func (d *Dispatcher) settle(ctx context.Context, log *slog.Logger, m bus.Delivery, err error) {
	switch {
	case err == nil:
		err = m.Ack()
	case ctx.Err() != nil || errors.Is(err, state.ErrFenced): // the next leader's
		err = m.Nack(true)
	case transient(err) && !(m.Redelivered && model.CodeOf(err) == model.Internal):
		log.Debug("a message goes back to its queue", "error", err)
		time.AfterFunc(giveBackAfter, func() {
			if err := m.Nack(true); err != nil {
				log.Debug("a delivery could not be given back; it comes again", "error", err)
			}
		})
		return
	default:
		log.Warn("a message from the bus is refused", "key", m.Key, "error", err)
		err = m.Ack()
	}
	if err != nil {
		log.Debug("a delivery could not be settled; it comes again", "error", err)
	}
}

// agentOf finds the agent whose key signed data, and checks the signature. The sender is who can sign, not
// who logged in: the bus is not trusted.
func (d *Dispatcher) agentOf(data []byte, kind wire.Kind, into any) (*model.Agent, error) {
	id, err := wire.PeekKeyID(data)
	if err != nil {
		return nil, err
	}
	a, ok := state.Get[model.Agent](d.cfg.Store.Local(), id)
	if !ok {
		return nil, fmt.Errorf("%s from an unknown agent %s", kind, id)
	}
	if err := wire.Open(data, kind, ed25519.PublicKey(a.PublicKey), into); err != nil {
		return nil, fmt.Errorf("%s of agent %s: %w", kind, id, err)
	}
	return a, nil
}

// onPresence notes a heartbeat, or a good-bye. later: done is called once that is recorded.
func (d *Dispatcher) onPresence(l *link, data []byte, done func()) (later bool, err error) {
	var p wire.Presence
	a, err := d.agentOf(data, wire.KindPresence, &p)
	if err != nil {
		return false, err
	}
	if p.Bye {
		return d.presence.gone(a.ID, p.Started, done), nil
	}
	if d.presence.heard(a.ID, l.name, p, time.Now()) {
		d.lookAgain(a.ID)
	}
	return false, nil
}

// onReply commits a reply or an alert, then confirms it with a signed receipt. Without the receipt the
// agent tells it again, which changes nothing. What can never be recorded is confirmed too.
func (d *Dispatcher) onReply(ctx context.Context, l *link, data []byte) error {
	kind, err := wire.PeekKind(data)
	if err != nil {
		return err
	}
	var a *model.Agent
	var seq uint64
	var order string
	var effect, plain func(tx *state.Tx) error // plain: when nothing but the bare outcome can be recorded
	switch kind {
	case wire.KindReply:
		var r wire.Reply
		if a, err = d.agentOf(data, kind, &r); err == nil {
			seq, order = r.Sequence, r.Order
			effect = func(tx *state.Tx) error { return orchestrate.RecordReply(tx, a.ID, outcome(r)) }
			plain = func(tx *state.Tx) error { return orchestrate.RecordReply(tx, a.ID, bare(r)) }
		}
	case wire.KindAnswer:
		return d.onAnswer(l, data)
	case wire.KindStanding:
		a, err := d.onStanding(ctx, data)
		if err == nil && d.presence.heard(a.ID, l.name, wire.Presence{}, time.Now()) {
			d.lookAgain(a.ID)
		}
		return err
	case wire.KindAlert:
		var al wire.Alert
		if a, err = d.agentOf(data, kind, &al); err == nil {
			seq = al.Sequence
			effect = func(tx *state.Tx) error { return orchestrate.RecordAlert(tx, a.ID, observation(al)) }
		}
	default:
		err = fmt.Errorf("a %q in the queue of replies", kind)
	}
	if err != nil {
		return err
	}
	if d.presence.heard(a.ID, l.name, wire.Presence{}, time.Now()) {
		d.lookAgain(a.ID) // it moved, and its heartbeat is behind
	}
	if err := d.cfg.Store.Update(ctx, effect); err != nil {
		err = fmt.Errorf("record %s of agent %s: %w", kind, a.ID, err)
		if transient(err) {
			return err
		}
		// No later try can go better. The receipt makes an end of it.
		d.log.Warn("what an agent told cannot be recorded as it is", "error", err)
		if plain != nil {
			if err := d.cfg.Store.Update(ctx, plain); err != nil {
				return fmt.Errorf("record the bare %s of agent %s: %w", kind, a.ID, err)
			}
		}
	}
	if order != "" && d.unconfirmed(a.ID, order) {
		return nil // the agent tells it again
	}
	key, err := orchestrate.SigningKey(d.cfg.Store.Local(), a.OrgID)
	if err != nil {
		return err
	}
	receipt, err := wire.Sign(wire.KindReceipt, key, wire.Receipt{Agent: a.ID, Sequences: []uint64{seq}})
	if err != nil {
		return err
	}
	if err := l.publish(ctx, a.ID, receipt); err != nil {
		d.log.Debug("receipt not published; the agent will ask again", "agent", a.ID, "error", err)
	}
	return nil
}
