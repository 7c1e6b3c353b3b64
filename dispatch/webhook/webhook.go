package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// Store is where rows are: a term of leadership, whose writes are refused once it is over.
type Store interface {
	Update(ctx context.Context, fn func(tx *state.Tx) error) error
	// View is the state, no older than the call, with the leader's time.
	View(ctx context.Context) (*state.View, error)
}

// Mailer sends one letter to several addresses, to all or to none, under an id that is the same for what is sent again.
type Mailer interface {
	SendAll(ctx context.Context, id string, to []string, subject, text string) error
}

// Config is what a duty needs. All but Mail must be given.
type Config struct {
	Store  Store
	Sender *Sender
	Mail   Mailer // nil: channels that lead to mail fail, and say so
	Log    *slog.Logger
}

// The bounds of what is under way.
const (
	atOnce     = 32               // deliveries in all
	atOnceHook = 2                // to one webhook, so that a slow one keeps nobody else waiting
	idle       = 30 * time.Second // the longest pause
	breath     = 20 * time.Millisecond
)

// Duty sends what waits, for one term.
type Duty struct {
	cfg Config
	wg  sync.WaitGroup

	mu      sync.Mutex
	flying  map[string]bool // deliveries
	perHook map[string]int
	landed  chan struct{}        // one was done
	told    map[string]time.Time // when channels were sent something, of which more is sent later
}

// New makes a duty for one term.
func New(cfg Config) *Duty {
	return &Duty{cfg: cfg, flying: map[string]bool{}, perHook: map[string]int{}, told: map[string]time.Time{}, landed: make(chan struct{}, 1)}
}

// Run follows events and sends until ctx ends. An error is one of the store.
func (d *Duty) Run(ctx context.Context) error {
	defer d.wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for ctx.Err() == nil {
		pause, ws, err := d.round(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		d.rest(ctx, ws, pause)
	}
	return nil
}

// rest waits for an event, for a delivery that is done, for the next that is due.
func (d *Duty) rest(ctx context.Context, ws *state.WatchSet, pause time.Duration) {
	wait, cancel := context.WithTimeout(ctx, pause)
	defer cancel()
	go func() {
		select {
		case <-d.landed:
			cancel()
		case <-wait.Done():
		}
	}()
	_ = ws.Wait(wait) // whatever ended it, it is time to look
	select {          // what comes together is looked at together
	case <-time.After(breath):
	case <-ctx.Done():
	}
}

// round looks at new events and starts what is due.
func (d *Duty) round(ctx context.Context) (pause time.Duration, ws *state.WatchSet, err error) {
	ws = state.NewWatchSet()
	view, err := d.cfg.Store.View(ctx)
	if err != nil {
		return 0, nil, fmt.Errorf("read what webhooks are to be sent: %w", err)
	}
	if state.SchemaOf(view.Watched(ws)) < state.SchemaLogs {
		return idle, ws, nil // until all members know these rows
	}
	ws.Events(view)
	for more := true; more; {
		lost := false
		if err := d.cfg.Store.Update(ctx, func(tx *state.Tx) (err error) {
			tx.SetActor("webhooks")
			more, lost, err = orchestrate.FollowEvents(tx, view)
			return err
		}); err != nil {
			return 0, nil, fmt.Errorf("look for events that webhooks want: %w", err)
		}
		if lost {
			d.cfg.Log.Warn("events were forgotten before they could be sent to webhooks")
		}
	}
	if view, err = d.cfg.Store.View(ctx); err != nil {
		return 0, nil, fmt.Errorf("read what webhooks are to be sent: %w", err)
	}
	due, orphaned, next := orchestrate.DueDeliveries(view)
	if len(orphaned) > 0 {
		orphaned = orphaned[:min(len(orphaned), 500)]
		if err := d.cfg.Store.Update(ctx, func(tx *state.Tx) error { orchestrate.DropDeliveries(tx, orphaned); return nil }); err != nil {
			return 0, nil, fmt.Errorf("drop what no webhook wants any more: %w", err)
		}
		next = breath
	}
	for i := range due {
		d.start(ctx, &due[i])
	}
	pause = idle
	if next > 0 {
		pause = min(pause, next)
	}
	soonest, err := d.notices(ctx, view.Watched(ws))
	if soonest > 0 {
		pause = min(pause, soonest)
	}
	return pause, ws, err
}

// start sends a delivery in a goroutine, unless it is under way, or too much is.
func (d *Duty) start(ctx context.Context, due *orchestrate.DueDelivery) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.flying[due.ID] || len(d.flying) >= atOnce || d.perHook[due.HookID] >= atOnceHook {
		return
	}
	d.flying[due.ID] = true
	d.perHook[due.HookID]++
	d.wg.Go(func() {
		defer d.land(due)
		d.deliver(ctx, due)
	})
}

func (d *Duty) land(due *orchestrate.DueDelivery) {
	d.mu.Lock()
	delete(d.flying, due.ID)
	if d.perHook[due.HookID]--; d.perHook[due.HookID] == 0 {
		delete(d.perHook, due.HookID)
	}
	d.mu.Unlock()
	select {
	case d.landed <- struct{}{}:
	default:
	}
}

// deliver makes an attempt and writes down what came of it. One that was cut off because the term ended is none: the next
// leader sends the same under the same id.
func (d *Duty) deliver(ctx context.Context, due *orchestrate.DueDelivery) {
	rec := d.cfg.Sender.Send(ctx, due, time.Now())
	if ctx.Err() != nil && rec.Error != "" {
		return
	}
	jitter := rand.Float64()
	err := d.cfg.Store.Update(ctx, func(tx *state.Tx) error {
		tx.SetActor("webhooks")
		return orchestrate.Delivered(tx, due.ID, rec, jitter)
	})
	if err != nil && ctx.Err() == nil && !errors.Is(err, state.ErrFenced) && model.CodeOf(err) != model.Unavailable {
		d.cfg.Log.Error("what came of a webhook's delivery was not written down; it is sent again", "delivery", due.ID, "error", err)
	}
}
