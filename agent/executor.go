package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/muster-hq/muster/agent/journal"
	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/dispatch/wire"
)

// Pauses between attempts to write to a disk that is full.
const (
	keepFirst = time.Second
	keepMost  = 30 * time.Second
)

// errStopping ends a lane between two steps, or while it waits for a disk.
var errStopping = errors.New("the agent is stopping")

// runLane does the orders of one lane, one after the other, until ctx ends. It calls held once the
// watching of what the first order touches is put off, or there is none.
func (a *Agent) runLane(ctx context.Context, lane wire.Lane, held func()) error {
	defer held()
	for {
		p, ok := a.journal.Next(lane)
		if ok && ctx.Err() == nil {
			release := a.holdAll(p)
			held()
			err := a.execute(ctx, p, release)
			release(-1)
			if err != nil {
				if errors.Is(err, errStopping) {
					return nil
				}
				return err
			}
			continue
		}
		held()
		select {
		case <-ctx.Done():
			return nil
		case <-a.wake[lane]:
		}
	}
}

// execution is one order being done.
type execution struct {
	a       *Agent
	order   wire.Order
	begun   *journal.Begun // of the step that was cut off
	changed map[int]bool   // by step
	failed  bool
	expired bool
}

// execute does what is left of an order, and releases each step when it is over.
func (a *Agent) execute(ctx context.Context, p journal.Progress, release func(step int)) error {
	ex := &execution{a: a, order: p.Order, begun: p.Begun, changed: map[int]bool{}}
	ex.expired = len(p.Replies) == 0 && p.Begun == nil && !a.clock.now().Before(p.Order.Expires)
	log := a.log.With("order", p.Order.ID, "change", p.Order.Change)
	for i, s := range p.Order.Steps {
		if r, done := p.Replies[s.Num]; done {
			ex.note(r)
			continue
		}
		if ctx.Err() != nil {
			return errStopping
		}
		r, err := ex.do(ctx, s, i == len(p.Order.Steps)-1)
		if err != nil {
			return err
		}
		ex.note(r)
		release(i)
		signal(a.outbox.wake)
		log := log.With("step", s.Num, "collection", s.Collection, "resource", s.Resource, "verb", s.Verb)
		if r.Error != "" {
			log.Warn("a step was not done", "status", r.Status, "error", r.Error)
		} else {
			log.Info("did a step", "changed", r.Changed)
		}
	}
	return nil
}

// holdAll keeps the watching of the order's resources quiet, each until its last step is over: an order
// passes through states that are not drift. release(i) ends it for the i-th step, release(-1) for all.
func (a *Agent) holdAll(p journal.Progress) (release func(step int)) {
	held := map[int]*watch{}
	for i, s := range p.Order.Steps {
		w := a.watches[s.Collection]
		if _, done := p.Replies[s.Num]; done || w == nil || s.Verb == wire.VerbRead {
			continue
		}
		w.hold(s.Resource)
		held[i] = w
	}
	one := func(i int) {
		if w := held[i]; w != nil {
			w.release(p.Order.Steps[i].Resource)
			delete(held, i)
		}
	}
	return func(step int) {
		if step >= 0 {
			one(step)
			return
		}
		for i := range p.Order.Steps {
			one(i)
		}
	}
}

func (ex *execution) note(r wire.Reply) {
	ex.changed[r.Step] = r.Changed
	if r.Status != wire.StatusOK {
		ex.failed = true
	}
}

// do does one step and journals its outcome.
func (ex *execution) do(ctx context.Context, s wire.Step, last bool) (wire.Reply, error) {
	var begun *journal.Begun
	if ex.begun != nil && ex.begun.Step == s.Num {
		begun = ex.begun
	}
	reply := wire.Reply{Agent: ex.a.identity.Agent, Order: ex.order.ID, Step: s.Num, Final: last, Status: wire.StatusOK}
	unlock, err := ex.a.locks.lock(ctx, journal.Key(s.Collection, s.Resource))
	if err != nil {
		return reply, errStopping
	}
	defer unlock()
	if err := ex.outcome(ctx, s, begun, &reply); err != nil {
		return reply, err
	}
	return ex.finish(ctx, s, reply)
}

// outcome fills in the reply. Its error means that nothing may be said of the step: the agent stops.
func (ex *execution) outcome(ctx context.Context, s wire.Step, begun *journal.Begun, r *wire.Reply) error {
	switch {
	case ex.a.journal.Cancelled(ex.order.ID):
		ex.cancelled(ctx, s, begun, r)
		return nil
	case ex.failed:
		r.Status, r.Error = wire.StatusSkipped, "skipped: an earlier step failed"
		return nil
	case ex.expired:
		fail(r, errors.New("the order expired before this machine could begin it"))
		return nil
	case s.Fail != "":
		fail(r, errors.New(s.Fail))
		return nil
	}
	if s.Verb == wire.VerbForget {
		return nil
	}
	c, err := ex.a.collection(s.Collection)
	if err != nil {
		fail(r, err)
		return nil
	}
	call := caller{log: ex.a.log, c: c, limit: ex.a.stepTimeout}
	switch s.Verb {
	case wire.VerbApply:
		return ex.apply(ctx, call, s, begun, r)
	case wire.VerbAct:
		return ex.act(ctx, call, s, begun, r)
	case wire.VerbCheck:
		d, err := call.check(ctx, s.Resource, s.Want)
		if err != nil {
			fail(r, err)
			return nil
		}
		r.State = asJSON(d, r)
	case wire.VerbRead:
		st, err := call.read(ctx, s.Resource)
		if err != nil {
			fail(r, err)
			return nil
		}
		r.State = asJSON(st, r)
	default:
		fail(r, fmt.Errorf("this agent does not know the verb %q; update it", s.Verb))
	}
	return nil
}

// finish keeps what the step says of watching, then the outcome. Both must be on the disk before the
// next step; a disk that is full is waited for.
func (ex *execution) finish(ctx context.Context, s wire.Step, r wire.Reply) (wire.Reply, error) {
	if err := ex.a.keep(ctx, func() error { return ex.a.watchAs(s, r.Status) }); err != nil {
		return r, err
	}
	r.At = time.Now().UTC()
	err := ex.a.keep(ctx, func() error {
		done, err := ex.a.journal.Finish(r, ex.owe(s, r.Status))
		if err == nil {
			r = done
		}
		return err
	})
	return r, err
}

// owe tells what the step's outcome does to the debt of a service: a restart that is due for files
// that this order changed stays due when the service's step was not reached or failed.
func (ex *execution) owe(s wire.Step, status wire.Status) *journal.Owe {
	if len(s.Restart) == 0 {
		return nil
	}
	key := journal.Key(s.Collection, s.Resource)
	if status == wire.StatusOK {
		return &journal.Owe{Key: key, Yes: false}
	}
	if ex.causes(s) {
		return &journal.Owe{Key: key, Yes: true}
	}
	return nil
}

// causes says whether one of the steps that the service depends on changed something.
func (ex *execution) causes(s wire.Step) bool {
	return slices.ContainsFunc(s.Restart, func(n int) bool { return ex.changed[n] })
}

// watchAs keeps or forgets the expectation of a step. One that failed is kept as well: the machine is
// not as described, and that is told. One that was skipped or could not be made leaves things as they are.
func (a *Agent) watchAs(s wire.Step, status wire.Status) error {
	w := a.watches[s.Collection]
	if w == nil {
		return nil
	}
	forget := s.Verb == wire.VerbForget && status == wire.StatusOK
	switch {
	case status == wire.StatusSkipped || s.Fail != "":
		return nil
	case forget || s.Monitor != nil && !*s.Monitor:
		if err := a.store.remove(s.Collection, s.Resource); err != nil {
			return err
		}
		if err := a.journal.Forget(s.Collection, s.Resource); err != nil {
			return fmt.Errorf("forget the alerts of a resource: %w", err)
		}
	case s.Monitor != nil && *s.Monitor && s.Verb != wire.VerbAct && len(s.Want) > 0:
		x := expectation{Collection: s.Collection, Resource: s.Resource, Want: s.Want, Origin: s.Origin}
		if err := a.store.put(x); err != nil {
			return err
		}
	default:
		return nil
	}
	w.changedSet()
	return nil
}

// keep writes to the disk, and tries again while it cannot, until ctx ends: what is not on the disk
// must not be acted on. A broken journal is an error at once.
func (a *Agent) keep(ctx context.Context, write func() error) error {
	for wait := keepFirst; ; wait = min(2*wait, keepMost) {
		err := write()
		if err == nil || errors.Is(err, journal.ErrBroken) {
			return err
		}
		if errors.Is(err, journal.ErrClosed) {
			return errStopping
		}
		a.log.Error("cannot write to the state directory; waiting for it", "error", err, "again in", wait)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return errStopping
		case <-timer.C:
		}
	}
}

// fail makes the reply tell err.
func fail(r *wire.Reply, err error) {
	r.Status, r.Error = wire.StatusError, err.Error()
	var exit *resource.ExitError
	if errors.As(err, &exit) && exit.Stderr == "" {
		r.Error = fmt.Sprintf("ended with status %d", exit.Code)
	}
}

// asJSON writes a part of a reply; what cannot be written becomes the step's error.
func asJSON(v any, r *wire.Reply) json.RawMessage {
	data, err := json.Marshal(v)
	if err != nil {
		fail(r, fmt.Errorf("the answer cannot be written as JSON: %w", err))
		return nil
	}
	return data
}
