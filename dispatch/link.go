package dispatch

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"time"

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
}

// publishTimeout bounds one publish with its confirm.
const publishTimeout = 5 * time.Second

// errLinkEnded is returned when a hub closed a consumer; the connection is made anew.
var errLinkEnded = errors.New("the broker ended the consumer")

// publish sends a message to an agent's queue at this hub, making the queue if the hub has lost it.
func (l *link) publish(ctx context.Context, agentID string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	err := l.s.Publish(ctx, bus.ExchangeOrders, agentID, true, body)
	if errors.Is(err, bus.ErrReturned) {
		if err = bus.DeclareAgent(ctx, l.s, agentID); err == nil {
			err = l.s.Publish(ctx, bus.ExchangeOrders, agentID, true, body)
		}
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
		if err := d.openLink(ctx, l); err != nil {
			return err
		}
		log.Info("dispatching")
		d.setLink(h.Name, l)
		defer d.setLink(h.Name, nil)
		d.lookAgain("")
		return d.receive(ctx, log, l)
	})
	if err != nil && ctx.Err() == nil {
		log.Error("the link to the broker ended", "error", err)
	}
}

// openLink declares what the hub needs: the topology, and the queue of each agent.
func (d *Dispatcher) openLink(ctx context.Context, l *link) error {
	if err := bus.Declare(ctx, l.s); err != nil {
		return fmt.Errorf("declare topology: %w", err)
	}
	for _, id := range state.Keys[model.Agent](d.cfg.Store.Local(), model.AllAgents) {
		if err := bus.DeclareAgent(ctx, l.s, id); err != nil {
			return fmt.Errorf("declare the queue of agent %s: %w", id, err)
		}
	}
	return nil
}

// receive takes up what agents say at one hub. Each message is acknowledged after its effect is committed.
func (d *Dispatcher) receive(ctx context.Context, log *slog.Logger, l *link) error {
	replies, err := l.s.Consume(ctx, bus.QueueReplies, 256)
	if err != nil {
		return fmt.Errorf("consume replies: %w", err)
	}
	presence, err := l.s.Consume(ctx, bus.QueuePresence, 256)
	if err != nil {
		return fmt.Errorf("consume presence: %w", err)
	}
	enrolments, err := l.s.Consume(ctx, bus.QueueEnrolments, 16)
	if err != nil {
		return fmt.Errorf("consume enrolments: %w", err)
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case m, ok := <-replies:
			if !ok {
				return errLinkEnded
			}
			id, _ := wire.PeekKeyID(m.Body)
			d.lanes.do(ctx, id, func() { d.settle(log, m, d.onReply(ctx, l, m.Body)) })
		case m, ok := <-presence:
			if !ok {
				return errLinkEnded
			}
			d.settle(log, m, d.onPresence(l, m.Body))
		case m, ok := <-enrolments:
			if !ok {
				return errLinkEnded
			}
			id, _ := wire.PeekEnrolToken(m.Body)
			d.lanes.do(ctx, id, func() { d.settle(log, m, d.onEnrol(ctx, l, m.Body)) })
		}
	}
}

// settle acknowledges a delivery, or gives it back when another try may go better.
func (d *Dispatcher) settle(log *slog.Logger, m bus.Delivery, err error) {
	switch {
	case err == nil:
		err = m.Ack()
	case transient(err):
		log.Debug("a message goes back to its queue", "error", err)
		err = m.Nack(true)
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

func (d *Dispatcher) onPresence(l *link, data []byte) error {
	var p wire.Presence
	a, err := d.agentOf(data, wire.KindPresence, &p)
	if err != nil {
		return err
	}
	if p.Bye {
		d.presence.gone(a.ID)
		return nil
	}
	if d.presence.heard(a.ID, l.name, p.Version, p.Started, time.Now()) {
		d.lookAgain(a.ID)
	}
	return nil
}

// onReply commits a reply or an alert, then confirms it with a signed receipt. Without the receipt the
// agent tells it again, which changes nothing.
func (d *Dispatcher) onReply(ctx context.Context, l *link, data []byte) error {
	kind, err := wire.PeekKind(data)
	if err != nil {
		return err
	}
	var a *model.Agent
	var seq uint64
	var effect func(tx *state.Tx) error
	switch kind {
	case wire.KindReply:
		var r wire.Reply
		if a, err = d.agentOf(data, kind, &r); err == nil {
			seq = r.Sequence
			effect = func(tx *state.Tx) error { return orchestrate.RecordReply(tx, a.ID, outcome(r)) }
		}
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
	d.presence.heard(a.ID, l.name, "", time.Time{}, time.Now())
	if err := d.cfg.Store.Update(ctx, effect); err != nil {
		return fmt.Errorf("record %s of agent %s: %w", kind, a.ID, err)
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
