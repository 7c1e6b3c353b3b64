// Package provision is the leader's duty that drives work on machines through drivers, step by step. Each step is a row: it is
// taken, the driver is called with the instance's id as the idempotency key, and the outcome is committed, fenced by the term.
// It holds nothing that the state does not hold; DESIGN.md says what happens when the leader dies in the middle.
package provision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/muster-hq/muster/drivers"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// Store is what the duty needs of the cluster: a local view to read and watch, and updates that are refused once a later term
// is open.
type Store interface {
	Update(ctx context.Context, fn func(tx *state.Tx) error) error
	Local() *state.View
}

// Config says how to provision. A zero duration means the default.
type Config struct {
	Epoch, Term uint64 // the leader's, for the fence
	Store       Store
	Drivers     drivers.Set
	// Token gives the text of the enrolment token of an instance.
	Token func(r state.Reader, i *model.InstanceRow) (string, error)
	Log   *slog.Logger

	CallTimeout time.Duration // of one call of a driver; default 2 min
	Poll        time.Duration // a machine that is on its way is looked at again after this; default 2 s
	RetryFirst  time.Duration // a failed call is made again after this, then with doubling; default 2 s
	RetryMost   time.Duration // up to this; default 1 min
}

// workers bounds how many drivers are called at once.
const workers = 16

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.CallTimeout, 2*time.Minute)
	set(&c.Poll, 2*time.Second)
	set(&c.RetryFirst, 2*time.Second)
	set(&c.RetryMost, time.Minute)
	return c
}

// Duty is one term's provisioning. Make one with New, run it once.
type Duty struct {
	cfg   Config
	slots chan struct{}
	ended chan struct{} // a worker has ended: look again
	wg    sync.WaitGroup

	mu   sync.Mutex
	busy map[string]bool // instances whose driver is being called
}

// New makes the duty of one term.
func New(cfg Config) *Duty {
	return &Duty{cfg: cfg.withDefaults(), slots: make(chan struct{}, workers), ended: make(chan struct{}, 1), busy: map[string]bool{}}
}

// Run works until ctx ends, and returns when all calls that it made have returned. Only a lost term is an error.
func (d *Duty) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer d.wg.Wait()
	for {
		ws := state.NewWatchSet()
		view := d.cfg.Store.Local().Watched(ws)
		due, next := orchestrate.DueMachines(view, time.Now())
		for _, w := range due {
			if !d.take(ctx, w.InstanceID) {
				continue
			}
			d.wg.Go(func() {
				defer d.give(w.InstanceID)
				if err := d.step(ctx, w); err != nil && ctx.Err() == nil {
					cancel(err)
				}
			})
		}
		if err := d.wait(ctx, ws, next); err != nil {
			break
		}
	}
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// take makes an instance this worker's; false when it has one, or ctx ends.
func (d *Duty) take(ctx context.Context, id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy[id] {
		return false
	}
	select {
	case d.slots <- struct{}{}:
		d.busy[id] = true
		return ctx.Err() == nil
	default:
		return false // somebody gives a slot free, and looks again
	}
}

func (d *Duty) give(id string) {
	d.mu.Lock()
	delete(d.busy, id)
	d.mu.Unlock()
	<-d.slots
	select {
	case d.ended <- struct{}{}:
	default:
	}
}

// wait waits until the work changed, a worker ended, or it is next. Its error is ctx's.
func (d *Duty) wait(ctx context.Context, ws *state.WatchSet, next time.Time) error {
	wctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !next.IsZero() {
		var stop context.CancelFunc
		wctx, stop = context.WithDeadline(wctx, next)
		defer stop()
	}
	changed := make(chan struct{})
	go func() { _ = ws.Wait(wctx); close(changed) }()
	select {
	case <-changed:
	case <-d.ended:
	}
	cancel()
	<-changed
	return ctx.Err()
}

// step does the step that work is at, and records the answer. Its error is one of the store: the term is over, or the outcome
// could not be written, and then the step is done again.
func (d *Duty) step(ctx context.Context, w *model.MachineWork) error {
	view := d.cfg.Store.Local()
	if now, ok := state.Get[model.MachineWork](view, w.InstanceID); !ok || now.Mark != w.Mark || now.Step != w.Step || now.Attempts != w.Attempts {
		return nil // it was done meanwhile
	}
	log := d.cfg.Log.With("instance", w.InstanceID, "host", w.Name, "do", w.Do, "step", w.Step)
	answer := d.ask(ctx, view, w, log)
	if ctx.Err() != nil && answer.Error != "" {
		return nil // nobody knows what came of it; the next leader asks again, with the same key
	}
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, d.cfg.RetryFirst) {
		err := d.cfg.Store.Update(ctx, func(tx *state.Tx) error {
			tx.SetActor("system")
			return orchestrate.RecordMachine(tx, w.InstanceID, w.Mark, answer)
		})
		if err == nil || ctx.Err() != nil || errors.Is(err, state.ErrFenced) {
			return err
		}
		log.Warn("the outcome of a step is not recorded yet", "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// ask calls the driver and puts its answer into the words of the state.
func (d *Duty) ask(ctx context.Context, view *state.View, w *model.MachineWork, log *slog.Logger) orchestrate.MachineAnswer {
	driver, ok := d.cfg.Drivers.For(w.Class)
	if !ok {
		return orchestrate.MachineAnswer{Error: "this server has no driver " + w.Class, Again: d.cfg.RetryMost}
	}
	about := driver.Describe()
	if w.Step == model.StepEnrol {
		return orchestrate.MachineAnswer{Final: true, Error: fmt.Sprintf(
			"the machine runs, but its agent has not enrolled within %s: look at its console; the host is ready once the agent enrols", about.EnrolWithin)}
	}
	call, err := callOf(view, w)
	if err != nil {
		return d.failed(w, err)
	}
	call.Epoch, call.Term = d.cfg.Epoch, d.cfg.Term
	tctx, cancel := context.WithTimeout(ctx, d.cfg.CallTimeout)
	defer cancel()
	m, err := d.do(tctx, view, driver, w, call)
	if err != nil {
		log.Warn("a driver failed", "attempt", w.Attempts+1, "final", drivers.IsFinal(err), "error", err)
		answer := d.failed(w, err)
		answer.Handle = m.Handle
		if drivers.IsFinal(err) {
			if now, serr := driver.Status(tctx, call); serr == nil {
				answer.State = stateOf(now.State)
			}
		}
		return answer
	}
	log.Info("a driver answered", "state", m.State)
	if m.State == drivers.Failed {
		return orchestrate.MachineAnswer{Handle: m.Handle, Error: "the platform says that the machine failed", Final: true}
	}
	return orchestrate.MachineAnswer{
		Handle: m.Handle, State: stateOf(m.State), Gone: m.State == drivers.Gone, Properties: m.Properties,
		Again: d.cfg.Poll, Within: about.EnrolWithin, PowerWithin: about.StopWithin,
	}
}

// failed is the answer that an error makes, with the pause before the next attempt.
func (d *Duty) failed(w *model.MachineWork, err error) orchestrate.MachineAnswer {
	again := d.cfg.RetryFirst << min(w.Attempts, 16)
	if again > d.cfg.RetryMost || again <= 0 {
		again = d.cfg.RetryMost
	}
	return orchestrate.MachineAnswer{Error: err.Error(), Final: drivers.IsFinal(err), Again: again}
}

// do makes the one call of a step, and looks at the machine where the call does not tell of it.
func (d *Duty) do(ctx context.Context, view *state.View, driver drivers.Driver, w *model.MachineWork, call drivers.Call) (drivers.Machine, error) {
	if w.Step == model.StepBoot {
		return driver.Status(ctx, call)
	}
	switch w.Do {
	case model.DoDestroy:
		return drivers.Machine{}, driver.Destroy(ctx, call)
	case model.DoCreate, model.DoAttach:
		spec, err := d.spec(view, w)
		if err != nil {
			return drivers.Machine{}, err
		}
		if w.Do == model.DoCreate {
			return driver.Create(ctx, call, spec)
		}
		if a, ok := driver.(drivers.Attacher); ok {
			return a.Attach(ctx, call, spec)
		}
		return drivers.Machine{State: drivers.Running}, nil // who re-attaches a machine says that it is there
	case model.DoImage:
		im, ok := driver.(drivers.Imager)
		if !ok {
			return drivers.Machine{}, drivers.Final(errors.New("the driver makes no images"))
		}
		return drivers.Machine{}, im.CreateImage(ctx, call, *w.Image)
	}
	p, ok := driver.(drivers.Power)
	if !ok {
		return drivers.Machine{}, drivers.Final(errors.New("the driver has no power over its machines"))
	}
	if err := p.Power(ctx, call, drivers.Action(w.Do)); err != nil {
		return drivers.Machine{}, err
	}
	return driver.Status(ctx, call)
}

// callOf gathers what every call carries: the settings of the host's platform context, or of the platform alone once the host
// or its machine is gone.
func callOf(r state.Reader, w *model.MachineWork) (drivers.Call, error) {
	c := drivers.Call{Key: w.InstanceID, Handle: w.Handle, Properties: asMap(w.Properties)}
	p, ok := state.Get[model.PlatformRow](r, w.PlatformID)
	if !ok {
		return c, drivers.Final(errors.New("the platform is gone"))
	}
	owner := orchestrate.OwnerOfKit(p)
	if i, ok := state.Get[model.InstanceRow](r, w.HostID); ok && i.ID == w.InstanceID {
		c.Handle, c.Properties = i.Handle, asMap(i.Properties)
		if ctx, _, err := orchestrate.PlatformOf(r, w.OrgID, w.HostID); err == nil {
			owner = orchestrate.OwnerOfPlatformContext(ctx)
		}
	}
	var err error
	c.Settings, err = settings(r, owner)
	return c, err
}

func asMap(ps []model.Property) map[string]string {
	out := make(map[string]string, len(ps))
	for _, p := range ps {
		out[p.Key] = p.Value
	}
	return out
}

// settings are those that hold at an owner, by key.
func settings(r state.Reader, o model.Owner) (map[string]json.RawMessage, error) {
	all, err := orchestrate.ResolveAt(r, o)
	if err != nil {
		return nil, fmt.Errorf("resolve the settings: %w", err)
	}
	out := make(map[string]json.RawMessage, len(all))
	for _, e := range all {
		out[e.Key] = e.Value
	}
	return out, nil
}

// spec gathers what a machine is to become.
func (d *Duty) spec(r state.Reader, w *model.MachineWork) (drivers.Spec, error) {
	i, ok := state.Get[model.InstanceRow](r, w.HostID)
	if !ok || i.ID != w.InstanceID {
		return drivers.Spec{}, errors.New("the host has given its machine up")
	}
	doc, err := orchestrate.GetInstance(r, w.OrgID, w.HostID)
	if err != nil {
		return drivers.Spec{}, err
	}
	token, err := d.cfg.Token(r, i)
	if err != nil {
		return drivers.Spec{}, fmt.Errorf("make the token of the machine: %w", err)
	}
	s := drivers.Spec{
		Organization: doc.Organization, Environment: doc.Environment, Host: doc.Host, Token: token,
		Render: func(of drivers.FileOf, name string) ([]byte, error) {
			if of == drivers.OfDistribution {
				return orchestrate.RenderDistributionFile(r, w.OrgID, w.HostID, name)
			}
			return orchestrate.RenderPlatformFile(r, w.OrgID, w.HostID, name)
		},
	}
	ctx, dist, err := orchestrate.DistributionOf(r, w.OrgID, w.HostID)
	if err != nil {
		return s, nil //nolint:nilerr // a host may have none
	}
	s.Distribution = &drivers.Distribution{Name: dist.Name}
	for _, f := range *dist.FileList() {
		s.Distribution.Files = append(s.Distribution.Files, f.Name)
	}
	s.Distribution.Settings, err = settings(r, orchestrate.OwnerOfDistributionContext(ctx))
	return s, err
}

// stateOf is a machine's state in the words of the contract.
func stateOf(s drivers.State) model.InstanceState {
	switch s {
	case drivers.Running:
		return model.InstanceRunning
	case drivers.Paused:
		return model.InstancePaused
	case drivers.Stopped:
		return model.InstanceStopped
	case drivers.Starting:
		return model.InstanceStarting
	case drivers.Failed, drivers.Gone:
		return model.InstanceError
	}
	return ""
}
