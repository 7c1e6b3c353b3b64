// Package schedule is the leader's duty that runs jobs when they are due, by the leader's time. What a job does and the
// time of its next run are one transaction: a job runs once, whichever node leads, and also when the leader dies in the middle.
package schedule

import (
	"context"
	"errors"
	"log/slog"
	"time"

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

// Config says how to run jobs.
type Config struct {
	Store Store
	World orchestrate.JobWorld
	Log   *slog.Logger
	Now   func() time.Time // the leader's; nil: the machine's. The transaction's own time decides
	Retry time.Duration    // what the store did not take is tried again after this; default 1 s
}

// Run runs jobs until ctx ends. Only a lost term is an error.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Retry == 0 {
		cfg.Retry = time.Second
	}
	for {
		ws := state.NewWatchSet()
		due, next := orchestrate.DueJobs(cfg.Store.Local().Watched(ws), cfg.Now())
		for _, id := range due {
			err := runOne(ctx, cfg, id)
			switch {
			case ctx.Err() != nil:
				return nil
			case errors.Is(err, state.ErrFenced):
				return err
			case err != nil:
				cfg.Log.Warn("a job is tried again", "job", id, "error", err)
				next = cfg.Now().Add(cfg.Retry)
			}
		}
		if wait(ctx, ws, next, len(due) > 0, cfg.Now) != nil {
			return nil
		}
	}
}

// wait waits until jobs changed, or it is next: soon, when some ran, as the view is behind them. Its error is ctx's.
func wait(ctx context.Context, ws *state.WatchSet, next time.Time, ran bool, now func() time.Time) error {
	const soon = 20 * time.Millisecond
	wctx, cancel := context.WithCancel(ctx)
	switch {
	case ran && (next.IsZero() || next.Sub(now()) > soon):
		wctx, cancel = context.WithTimeout(ctx, soon)
	case !next.IsZero():
		wctx, cancel = context.WithTimeout(ctx, max(next.Sub(now()), time.Millisecond))
	}
	defer cancel()
	_ = ws.Wait(wctx)
	return ctx.Err()
}

// runOne runs a job, or writes down why it could not. Its error is the store's.
func runOne(ctx context.Context, cfg Config, id string) error {
	err := cfg.Store.Update(ctx, func(tx *state.Tx) error {
		j, ok := state.Get[model.JobRow](tx, id)
		if !ok {
			return nil
		}
		tx.SetActor("job " + j.Name)
		return orchestrate.RunDueJob(tx, id, cfg.World)
	})
	switch model.CodeOf(err) {
	case "":
		return nil
	case model.Unavailable, model.Unknown:
		return err
	}
	if ctx.Err() != nil || errors.Is(err, state.ErrFenced) {
		return err
	}
	failed := err
	cfg.Log.Warn("a job failed", "job", id, "error", failed)
	return cfg.Store.Update(ctx, func(tx *state.Tx) error {
		tx.SetActor("system")
		return orchestrate.FailDueJob(tx, id, failed)
	})
}
