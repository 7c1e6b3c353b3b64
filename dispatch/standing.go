package dispatch

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"time"

	"github.com/muster-hq/muster/dispatch/wire"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// findAstray finds the agents that have to tell their standing before they get orders. The epoch does not change while a
// dispatcher lives, so that nobody is added later.
func (o *outbox) findAstray() {
	for _, id := range orchestrate.OutOfStep(o.d.cfg.Store.Local()) {
		o.astray[id] = &attempt{wait: o.d.cfg.RetryFirst}
	}
	if n := len(o.astray); n > 0 {
		o.d.log.Info("agents are asked what they did before this epoch; until they tell, their hosts get no orders", "agents", n)
	}
}

// ask asks the agents that are astray for their standing when it is due, and says when it wants to be called next. One
// that nobody hears is asked again when it comes.
func (o *outbox) ask(ctx context.Context, view *state.View, due map[string]bool, now, next time.Time) time.Time {
	for id, a := range o.astray {
		if orchestrate.AgentInStep(view, id) {
			delete(o.astray, id)
			continue
		}
		switch {
		case due[id]:
			a.wait = o.d.cfg.RetryFirst
		case now.Before(a.next):
			if a.next.Before(next) {
				next = a.next
			}
			continue
		}
		again := a.wait > o.d.cfg.RetryFirst
		o.fly(ctx, "standing of "+id, func() { o.publishQuestion(ctx, view, id, again) })
		a.next = now.Add(a.wait)
		a.wait = min(a.wait*2, o.d.retryMost(id))
		if a.next.Before(next) {
			next = a.next
		}
	}
	return next
}

// publishQuestion asks one agent for its standing.
func (o *outbox) publishQuestion(ctx context.Context, view *state.View, agentID string, again bool) {
	a, ok := state.Get[model.Agent](view, agentID)
	if !ok {
		return
	}
	log := o.d.log.With("agent", agentID)
	key, err := orchestrate.SigningKey(view, a.OrgID)
	if err != nil {
		log.Error("an agent cannot be asked for its standing", "error", err)
		return
	}
	q := wire.Resync{Agent: agentID, Epoch: view.Epoch(), Issued: view.Now(), Above: orchestrate.KnownUpTo(view, a)}
	body, err := wire.Sign(wire.KindResync, key, q)
	if err != nil {
		log.Error("an agent cannot be asked for its standing", "error", err)
		return
	}
	if err := o.d.toAgent(ctx, agentID, body, again); err != nil {
		log.Debug("question for the standing not published yet", "error", err)
	}
}

// onStanding records what an agent tells of its standing, one change in a commit. It gets no receipt: the question is
// repeated until the state knows the answer.
func (d *Dispatcher) onStanding(ctx context.Context, data []byte) (*model.Agent, error) {
	var s wire.Standing
	a, err := d.agentOf(data, wire.KindStanding, &s)
	if err != nil {
		return nil, err
	}
	if s, err = wire.OpenStanding(data, ed25519.PublicKey(a.PublicKey)); err != nil {
		return nil, err
	}
	told := standing(s)
	for more := true; more; {
		err := d.cfg.Store.Update(ctx, func(tx *state.Tx) error {
			var err error
			more, err = orchestrate.RecordStanding(tx, a.ID, told)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("record the standing of agent %s: %w", a.ID, err)
		}
	}
	d.log.Info("an agent told its standing", "agent", a.ID, "journal", s.Journal, "highest", s.Highest, "orders", len(s.Orders), "whole", told.Whole)
	return a, nil
}

// standing puts a standing into the words of the state.
func standing(s wire.Standing) orchestrate.Standing {
	out := orchestrate.Standing{
		Epoch: s.Epoch, Above: s.Above, Journal: s.Journal, Floor: s.Floor, Highest: s.Highest, Digest: s.Digest, Whole: s.Whole(), Retold: s.Retold,
	}
	for _, h := range s.Orders {
		o := orchestrate.HeldOrder{
			ID: h.Order, ChangeID: h.Change, Num: h.Num, Epoch: h.Epoch, Term: h.Term, Sequence: h.Sequence,
			Issued: h.Issued, Expires: h.Expires, Over: h.Over, Steps: make([]orchestrate.StepOutcome, len(h.Steps)),
		}
		text := h.Error
		for i, letter := range []byte(h.Steps) {
			r := wire.Reply{Order: h.Order, Step: i}
			switch wire.Outcome(letter) {
			case wire.OutcomeOpen:
				continue
			case wire.OutcomeOK:
				r.Status = wire.StatusOK
			case wire.OutcomeChanged:
				r.Status, r.Changed = wire.StatusOK, true
			case wire.OutcomeInterrupted:
				r.Status = wire.StatusInterrupted
			case wire.OutcomeSkipped:
				r.Status = wire.StatusSkipped
			default:
				r.Status = wire.StatusError
			}
			if r.Status == wire.StatusError || r.Status == wire.StatusInterrupted {
				r.Error, text = text, "" // it is told of the first that was not done
			}
			o.Steps[i] = outcome(r)
		}
		out.Orders = append(out.Orders, o)
	}
	return out
}

// unconfirmed says whether a reply must not be confirmed yet: its order is unknown, and may become known when its agent
// tells its standing.
func (d *Dispatcher) unconfirmed(agentID, orderID string) bool {
	view := d.cfg.Store.Local()
	_, known := state.Get[model.Order](view, orderID)
	return !known && !orchestrate.AgentInStep(view, agentID)
}
