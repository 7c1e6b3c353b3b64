package dispatch

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/muster-hq/muster/dispatch/wire"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// attempt is when an order that is out goes out again. It is memory: a new leader publishes at once.
type attempt struct {
	next   time.Time
	wait   time.Duration
	cancel bool // its cancellation went out
}

// outbox is the sending half: what the state says is open becomes orders, and orders go out until they
// are answered.
type outbox struct {
	d      *Dispatcher
	out    map[string]*attempt  // by order id
	astray map[string]*attempt  // by id of an agent that has to tell its standing before it gets orders
	bad    map[string]time.Time // hosts whose order could not be written, and when to try again
	slots  chan struct{}        // bounds how many messages are being published
	wg     sync.WaitGroup

	mu     sync.Mutex
	flying map[string]bool // what is being published: orders, and questions
}

func newOutbox(d *Dispatcher) *outbox {
	return &outbox{
		d: d, out: map[string]*attempt{}, astray: map[string]*attempt{}, bad: map[string]time.Time{},
		slots: make(chan struct{}, publishers), flying: map[string]bool{},
	}
}

// hostsPerCommit bounds how many hosts' orders are written in one commit.
const hostsPerCommit = 32

// runOutbox wakes on every change of what is open, on the nearest retry, and when an agent comes.
func (d *Dispatcher) runOutbox(ctx context.Context) error {
	o := newOutbox(d)
	defer o.wg.Wait()
	o.findAstray()
	for {
		ws, start := state.NewWatchSet(), time.Now()
		view := d.cfg.Store.Local().Watched(ws)
		hosts := slices.DeleteFunc(waitingHosts(view), func(h string) bool { return time.Now().Before(o.bad[h]) })
		looked := time.Since(start)
		wrote, err := o.write(ctx, hosts)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			d.log.Warn("orders are not written yet", "error", err)
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
		rest(ctx, min(restFactor*looked, restMost))
	}
}

// All that is open is looked through on each change of it, which takes long when there are thousands: then the outbox
// rests for a multiple of that before it looks again.
const (
	restFactor = 10
	restMost   = time.Second
)

func rest(ctx context.Context, d time.Duration) {
	if d < 2*time.Millisecond {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
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

// waitingHosts are the hosts that have an open change, an agent that is in step, and no order out.
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
		if a, ok := state.Find[model.Agent](r, model.AgentOfHost(c.HostID)); ok && orchestrate.AgentInStep(r, a.ID) {
			hosts = append(hosts, c.HostID)
		}
	}
	return hosts
}

// write makes the orders of hosts, and says whether there were any. One host's trouble is no other's: what does
// not go together goes one by one, and who fails alone is left alone for a while. The error tells of those.
func (o *outbox) write(ctx context.Context, hosts []string) (wrote bool, failed error) {
	for batch := range slices.Chunk(hosts, hostsPerCommit) {
		made, err := o.writeBatch(ctx, batch)
		wrote = wrote || made > 0
		if err == nil {
			continue
		}
		if everybodys(ctx, err) {
			return wrote, err
		}
		for i := range batch {
			made, err := o.writeBatch(ctx, batch[i:i+1])
			wrote = wrote || made > 0
			delete(o.bad, batch[i])
			if err != nil && everybodys(ctx, err) {
				return wrote, err
			}
			if err != nil {
				failed = errors.Join(failed, err)
				o.bad[batch[i]] = time.Now().Add(o.d.cfg.RetryMost)
			}
		}
	}
	return wrote, failed
}

// everybodys says that a failure is not one host's own: no leader, no answer, a term that is over.
func everybodys(ctx context.Context, err error) bool {
	code := model.CodeOf(err)
	return ctx.Err() != nil || code == model.Unavailable || code == model.Unknown || errors.Is(err, state.ErrFenced)
}

// writeBatch makes the orders of some hosts in one commit.
func (o *outbox) writeBatch(ctx context.Context, hosts []string) (made int, err error) {
	err = o.d.cfg.Store.Update(ctx, func(tx *state.Tx) error {
		made = 0
		for _, h := range hosts {
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
		made = 0
	}
	return made, err
}

// send lets go out what is due, forgets what was answered, and says when it wants to be called next. It waits for
// no broker: one that hangs must not hold up what goes to others.
func (o *outbox) send(ctx context.Context, view *state.View) time.Time {
	now := time.Now()
	view = view.At(now) // the last commit may be long ago, and orders expire all the same
	next := now.Add(o.d.cfg.RetryMost)
	due := o.d.takeDue()
	next = o.ask(ctx, view, due, now, next)
	open := map[string]bool{}
	for _, order := range state.List[model.Order](view, model.OpenOrders) {
		open[order.ID] = true
		if o.astray[order.AgentID] != nil {
			continue // it is not known whether the agent has it, or has forgotten it
		}
		a := o.out[order.ID]
		switch {
		case a == nil:
			a = &attempt{wait: o.d.cfg.RetryFirst}
			o.out[order.ID] = a
		case due[order.AgentID], order.Cancel && !a.cancel:
			a.wait = o.d.cfg.RetryFirst
		case now.Before(a.next):
			if a.next.Before(next) {
				next = a.next
			}
			continue
		}
		again := a.wait > o.d.cfg.RetryFirst
		o.fly(ctx, order.ID, func() { o.publish(ctx, view, order, again) })
		a.cancel = order.Cancel
		a.next = now.Add(a.wait)
		a.wait = min(a.wait*2, o.d.retryMost(order.AgentID))
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

// fly publishes something once there is a slot, unless it is on its way.
func (o *outbox) fly(ctx context.Context, id string, publish func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.flying[id] {
		return
	}
	o.flying[id] = true
	o.wg.Go(func() {
		defer func() {
			o.mu.Lock()
			delete(o.flying, id)
			o.mu.Unlock()
		}()
		select {
		case o.slots <- struct{}{}:
			publish()
			<-o.slots
		case <-ctx.Done():
		}
	})
}

// publishers bounds how many orders go out at once.
const publishers = 64

// absentFactor stretches the longest pause between two tries for an agent that nobody hears: its coming sends
// the order at once, and its queues need no more copies.
const absentFactor = 20

// retryMost is the longest pause between two tries for an agent.
func (d *Dispatcher) retryMost(agentID string) time.Duration {
	if d.presence.known(agentID) {
		return d.cfg.RetryMost
	}
	return absentFactor * d.cfg.RetryMost
}

// publish sends one order, or closes it when nobody can start it any more.
func (o *outbox) publish(ctx context.Context, view *state.View, order *model.Order, again bool) {
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
		o.refuse(ctx, log, order, err)
		return
	}
	if err := o.d.toAgent(ctx, order.AgentID, body, again); err != nil {
		log.Debug("order not published yet", "error", err)
	}
}

// refuse closes an order that can never go out; its change tells why.
func (o *outbox) refuse(ctx context.Context, log *slog.Logger, order *model.Order, cause error) {
	text := "the order could not be made; the orchestrator's log says why"
	if errors.Is(cause, errTooLarge) {
		text = errTooLarge.Error()
	}
	err := o.d.cfg.Store.Update(ctx, func(tx *state.Tx) error {
		_, err := orchestrate.RefuseOrder(tx, order.ID, text)
		return err
	})
	if err != nil {
		log.Debug("an order that cannot go out is not closed yet", "error", err)
	}
}

// maxOrder bounds the signed bytes of an order: brokers take messages of at most 16 MiB.
const maxOrder = wire.MaxSize - 64<<10

// errTooLarge is what the tasks of a change end with that does not fit a message.
var errTooLarge = errors.New("the files of this change are too large to be sent together; at most about 8 MiB are possible: make them smaller, or put some into another application")

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
		Issued: o.Issued, Expires: o.Expires, Change: c.OrderNum, ChangeID: c.ID, Cancel: o.Cancel, Steps: make([]wire.Step, len(c.Tasks)),
	}
	for i, t := range c.Tasks {
		if o.Cancel { // nothing of it is begun by who does not have it yet; who has it, has its contents
			w.Steps[i] = wire.Step{Num: t.OrderNum, Description: t.Description, Collection: t.Collection, Resource: t.Resource, Verb: wire.Verb(t.Verb)}
			continue
		}
		s := wire.Step{
			Num: t.OrderNum, Description: t.Description, Collection: t.Collection, Resource: t.Resource, Verb: wire.Verb(t.Verb),
			Want: t.Want, Action: t.Action, Args: t.Args, Restart: t.Restart, Monitor: t.Monitor, Origin: wire.Origin(t.Origin), Fail: t.Fail,
		}
		if t.Content != "" {
			if s.Want, err = withContent(r, o.OrgID, t.Want, t.Content); err != nil {
				return nil, fmt.Errorf("task %d: %w", i, err)
			}
		}
		w.Steps[i] = s
	}
	return signOrder(key, w)
}

// signOrder signs an order that fits a message.
func signOrder(key ed25519.PrivateKey, w wire.Order) ([]byte, error) {
	size := 0
	for i := range w.Steps {
		size += len(w.Steps[i].Want) + len(w.Steps[i].Args)
	}
	if size/3*4 > maxOrder { // the envelope writes its body as base64
		return nil, errTooLarge
	}
	body, err := wire.Sign(wire.KindOrder, key, w)
	if err == nil && len(body) > maxOrder {
		err = errTooLarge
	}
	return body, err
}

// withContent adds the content of an organization that a digest names to a want.
func withContent(r state.Reader, orgID string, want json.RawMessage, digest string) (json.RawMessage, error) {
	content, ok := state.Content(r, orgID, digest)
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
