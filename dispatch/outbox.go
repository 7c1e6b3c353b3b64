package dispatch

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/muster-hq/muster/dispatch/wire"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// attempt is when an order that is out goes out again. It is memory: a new leader publishes at once.
type attempt struct {
	next time.Time
	wait time.Duration
}

// outbox is the sending half: what the state says is open becomes orders, and orders go out until they
// are answered.
type outbox struct {
	d   *Dispatcher
	out map[string]*attempt // by order id
}

// hostsPerCommit bounds how many hosts' orders are written in one commit.
const hostsPerCommit = 32

// runOutbox wakes on every change of what is open, on the nearest retry, and when an agent comes.
func (d *Dispatcher) runOutbox(ctx context.Context) error {
	o := &outbox{d: d, out: map[string]*attempt{}}
	for {
		ws := state.NewWatchSet()
		view := d.cfg.Store.Local().Watched(ws)
		hosts := waitingHosts(view)
		wrote, err := o.write(ctx, hosts)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if !transient(err) && model.CodeOf(err) != model.Conflict {
				return fmt.Errorf("write orders: %w", err)
			}
			d.log.Debug("orders not written yet", "error", err)
		}
		next := time.Now().Add(d.cfg.RetryMost)
		if err != nil {
			next = time.Now().Add(d.cfg.RetryFirst)
		}
		if wrote {
			continue // the view is behind what was written
		}
		if at := o.send(ctx, view); at.Before(next) {
			next = at
		}
		if err := d.waitFor(ctx, ws, next); err != nil {
			return nil
		}
	}
}

// waitFor waits until something in ws changed, somebody nudged, or it is next. Its error is ctx's.
func (d *Dispatcher) waitFor(ctx context.Context, ws *state.WatchSet, next time.Time) error {
	wctx, cancel := context.WithDeadline(ctx, next)
	defer cancel()
	changed := make(chan struct{})
	go func() { _ = ws.Wait(wctx); close(changed) }()
	select {
	case <-changed:
	case <-d.nudge:
	}
	cancel()
	<-changed
	return ctx.Err()
}

// waitingHosts are the hosts that have an open change, an agent, and no order out.
func waitingHosts(r state.Reader) []string {
	var hosts []string
	had := map[string]bool{}
	for _, c := range state.List[model.Change](r, model.OpenChanges) {
		if had[c.HostID] {
			continue
		}
		had[c.HostID] = true
		if _, out := state.Find[model.Order](r, model.OpenOrderOf(c.HostID)); out {
			continue
		}
		if _, ok := state.Find[model.Agent](r, model.AgentOfHost(c.HostID)); ok {
			hosts = append(hosts, c.HostID)
		}
	}
	return hosts
}

// write makes the orders of hosts, and says whether there were any.
func (o *outbox) write(ctx context.Context, hosts []string) (bool, error) {
	wrote := false
	for len(hosts) > 0 {
		n := min(hostsPerCommit, len(hosts))
		batch := hosts[:n]
		hosts = hosts[n:]
		made := 0
		err := o.d.cfg.Store.Update(ctx, func(tx *state.Tx) error {
			made = 0
			for _, h := range batch {
				_, ok, err := orchestrate.NextOrder(tx, h, rand.Text(), o.d.cfg.Term, o.d.cfg.OrderTTL)
				if err != nil {
					return fmt.Errorf("order for host %s: %w", h, err)
				}
				if ok {
					made++
				}
			}
			return nil
		})
		if err != nil {
			return wrote, err
		}
		wrote = wrote || made > 0
	}
	return wrote, nil
}

// send publishes what is due, forgets what was answered, and says when it wants to be called next.
func (o *outbox) send(ctx context.Context, view *state.View) time.Time {
	now := time.Now()
	next := now.Add(o.d.cfg.RetryMost)
	due := o.d.takeDue()
	open := map[string]bool{}
	for _, order := range state.List[model.Order](view, model.OpenOrders) {
		open[order.ID] = true
		a := o.out[order.ID]
		if a == nil {
			a = &attempt{wait: o.d.cfg.RetryFirst}
			o.out[order.ID] = a
		} else if due[order.AgentID] {
			a.wait = o.d.cfg.RetryFirst
		} else if now.Before(a.next) {
			if a.next.Before(next) {
				next = a.next
			}
			continue
		}
		o.publish(ctx, view, order, a)
		a.next = now.Add(a.wait)
		a.wait = min(a.wait*2, o.d.cfg.RetryMost)
		if a.next.Before(next) {
			next = a.next
		}
	}
	for id := range o.out {
		if !open[id] {
			delete(o.out, id)
		}
	}
	return next
}

// publish sends one order, or closes it when nobody can start it any more.
func (o *outbox) publish(ctx context.Context, view *state.View, order *model.Order, a *attempt) {
	log := o.d.log.With("order", order.ID, "agent", order.AgentID, "change", order.ChangeID)
	if !order.Heard && view.Now().After(order.Expires) {
		err := o.d.cfg.Store.Update(ctx, func(tx *state.Tx) error {
			_, err := orchestrate.ExpireOrder(tx, order.ID)
			return err
		})
		if err != nil {
			log.Debug("expired order not closed yet", "error", err)
		}
		return
	}
	body, err := seal(view, order)
	if err != nil {
		log.Error("an order cannot be made from the state", "error", err)
		return
	}
	again := a.wait > o.d.cfg.RetryFirst
	if err := o.d.toAgent(ctx, order.AgentID, body, again); err != nil {
		log.Debug("order not published yet", "error", err)
	}
}

// seal makes the signed bytes of an order: the same ones each time, whoever leads.
func seal(r state.Reader, o *model.Order) ([]byte, error) {
	c, ok := state.Get[model.Change](r, o.ChangeID)
	if !ok {
		return nil, fmt.Errorf("change %s is gone", o.ChangeID)
	}
	key, err := orchestrate.SigningKey(r, o.OrgID)
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	w := wire.Order{
		ID: o.ID, Agent: o.AgentID, Lane: wire.Lane(o.Lane), Epoch: o.Epoch, Term: o.Term, Sequence: o.Sequence,
		Issued: o.Issued, Expires: o.Expires, Change: c.OrderNum, Steps: make([]wire.Step, len(c.Tasks)),
	}
	for i, t := range c.Tasks {
		s := wire.Step{
			Num: t.OrderNum, Description: t.Description, Collection: t.Collection, Resource: t.Resource, Verb: wire.Verb(t.Verb),
			Want: t.Want, Action: t.Action, Args: t.Args, Restart: t.Restart, Monitor: t.Monitor, Origin: wire.Origin(t.Origin), Fail: t.Fail,
		}
		if t.Content != "" {
			if s.Want, err = withContent(r, t.Want, t.Content); err != nil {
				return nil, fmt.Errorf("task %d: %w", i, err)
			}
		}
		w.Steps[i] = s
	}
	return wire.Sign(wire.KindOrder, key, w)
}

// withContent adds the content that a digest names to a want.
func withContent(r state.Reader, want json.RawMessage, digest string) (json.RawMessage, error) {
	content, ok := state.Content(r, digest)
	if !ok {
		return nil, fmt.Errorf("content %s is not in the state", digest)
	}
	attrs := map[string]json.RawMessage{}
	if len(want) > 0 {
		if err := json.Unmarshal(want, &attrs); err != nil {
			return nil, fmt.Errorf("want: %w", err)
		}
	}
	text, err := json.Marshal(base64.StdEncoding.EncodeToString(content))
	if err != nil {
		return nil, err
	}
	attrs["contentBase64"] = text
	return json.Marshal(attrs) // keys in order, so the bytes repeat
}
