package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/muster-hq/muster/agent/journal"
	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/dispatch/wire"
)

// applyNote is what is journaled before an apply, since it cannot be seen any more after it.
type applyNote struct {
	Changes    bool `json:"changes,omitempty"`    // the resource was not as wanted
	Running    bool `json:"running,omitempty"`    // the service ran already
	Restarting bool `json:"restarting,omitempty"` // the restart has begun
}

// apply makes a resource true and, for a service, restarts it when what it depends on changed. After a
// crash it is simply done again; the note tells what the first attempt may have changed.
func (ex *execution) apply(ctx context.Context, call caller, s wire.Step, begun *journal.Begun, r *wire.Reply) error {
	var note applyNote
	if begun != nil {
		if err := json.Unmarshal(begun.Note, &note); err != nil {
			note = applyNote{Changes: true}
		}
	} else {
		d, err := call.check(ctx, s.Resource, s.Want)
		note.Changes = err != nil || !d.Empty()
		if len(s.Restart) > 0 {
			st, err := call.read(ctx, s.Resource)
			note.Running = err == nil && st["running"] == true
		}
		if err := ex.begin(ctx, s, note); err != nil {
			return err
		}
	}
	d, err := call.apply(ctx, s.Resource, s.Want)
	r.Changed = !d.Empty() || begun != nil && note.Changes
	if err != nil {
		fail(r, err)
		return nil
	}
	due := ex.causes(s) || len(s.Restart) > 0 && ex.a.journal.Owed(journal.Key(s.Collection, s.Resource))
	if !due || !note.Running || !wantsRunning(s.Want) {
		return nil
	}
	return ex.restart(ctx, call, s, begun, note, r)
}

// wantsRunning is false only for a service that is wanted stopped.
func wantsRunning(want json.RawMessage) bool {
	var w struct {
		Running *bool `json:"running"`
	}
	return json.Unmarshal(want, &w) != nil || w.Running == nil || *w.Running
}

// restart restarts a service once. When the agent died during the restart and nobody can see whether it
// took effect, it is done once more: that does no harm, while old settings do.
func (ex *execution) restart(ctx context.Context, call caller, s wire.Step, begun *journal.Begun, note applyNote, r *wire.Reply) error {
	action := resource.Action{Verb: "restart"}
	if begun != nil && note.Restarting {
		if done, err := call.done(ctx, s.Resource, action, begun.At); err == nil && done {
			r.Changed = true
			return nil
		}
	}
	note.Restarting = true
	if err := ex.begin(ctx, s, note); err != nil {
		return err
	}
	out, err := call.act(ctx, s.Resource, action)
	if err != nil {
		r.Output = asJSON(out, r)
		fail(r, fmt.Errorf("restart: %w", err))
		return nil
	}
	r.Changed = true
	return nil
}

// act does an action once. When the agent died during the action, its collection is asked whether it
// took effect; when nobody can tell, the step is interrupted.
func (ex *execution) act(ctx context.Context, call caller, s wire.Step, begun *journal.Begun, r *wire.Reply) error {
	action := resource.Action{Verb: s.Action, Args: s.Args}
	if begun != nil {
		done, err := call.done(ctx, s.Resource, action, begun.At)
		switch {
		case err == nil && done:
			r.Changed = true
			return nil
		case err != nil:
			r.Status = wire.StatusInterrupted
			r.Error = "interrupted: the agent stopped while this was running, and whether it took effect cannot be seen; run it again if it is safe"
			if !errors.Is(err, resource.ErrCannotTell) {
				r.Error += " (" + err.Error() + ")"
			}
			return nil
		}
	}
	if _, ok := call.c.(resource.Actor); !ok {
		fail(r, fmt.Errorf("%s have no actions", s.Collection))
		return nil
	}
	if err := ex.begin(ctx, s, nil); err != nil {
		return err
	}
	out, err := call.act(ctx, s.Resource, action)
	r.Output = asJSON(out, r)
	if err != nil {
		fail(r, err)
		return nil
	}
	r.Changed = true
	return nil
}

// begin journals that the step is about to be done.
func (ex *execution) begin(ctx context.Context, s wire.Step, note any) error {
	var raw json.RawMessage
	if note != nil {
		data, err := json.Marshal(note)
		if err != nil {
			return fmt.Errorf("note the beginning of a step: %w", err)
		}
		raw = data
	}
	return ex.a.keep(ctx, func() error { return ex.a.journal.Begin(ex.order.ID, s.Num, time.Now(), raw) })
}

// caller calls a collection: with a limit of time, and such that its panic is its error.
type caller struct {
	log   *slog.Logger
	c     resource.Collection
	limit time.Duration
}

// guard runs one call. The agent's own end does not cut the call off: a step that began is finished.
func (k caller) guard(ctx context.Context, what string, f func(ctx context.Context) error) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), k.limit)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			k.log.Error("a collection panicked", "collection", k.c.Name(), "call", what, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("a mistake in the agent's collection %s: %v", k.c.Name(), p)
		}
	}()
	err = f(ctx)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("not done within %s: %w", k.limit, err)
	}
	return err
}

func (k caller) read(ctx context.Context, id string) (st resource.State, err error) {
	err = k.guard(ctx, "read", func(ctx context.Context) error {
		st, err = k.c.Read(ctx, id)
		return err
	})
	return st, err
}

func (k caller) check(ctx context.Context, id string, want json.RawMessage) (d resource.Diff, err error) {
	err = k.guard(ctx, "check", func(ctx context.Context) error {
		d, err = k.c.Check(ctx, id, want)
		return err
	})
	return d, err
}

func (k caller) apply(ctx context.Context, id string, want json.RawMessage) (d resource.Diff, err error) {
	err = k.guard(ctx, "apply", func(ctx context.Context) error {
		d, err = k.c.Apply(ctx, id, want)
		return err
	})
	return d, err
}

func (k caller) act(ctx context.Context, id string, action resource.Action) (out resource.Output, err error) {
	actor, ok := k.c.(resource.Actor)
	if !ok {
		return out, fmt.Errorf("%s have no actions", k.c.Name())
	}
	err = k.guard(ctx, action.Verb, func(ctx context.Context) error {
		out, err = actor.Act(ctx, id, action)
		return err
	})
	return out, err
}

func (k caller) done(ctx context.Context, id string, action resource.Action, started int64) (done bool, err error) {
	actor, ok := k.c.(resource.Actor)
	if !ok {
		return false, resource.ErrCannotTell
	}
	err = k.guard(ctx, "done", func(ctx context.Context) error {
		done, err = actor.Done(ctx, id, action, started)
		return err
	})
	return done, err
}
