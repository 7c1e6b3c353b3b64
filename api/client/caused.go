package client

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/muster-hq/muster/fsm/model"
)

// Caused follows the changes on hosts that writes have caused: on any node, and whatever becomes of the one that did the write.
type Caused struct {
	c *Client

	mu    sync.Mutex
	plans []plan
}

// plan is what one write caused.
type plan struct{ org, token string }

// Following gives a client like c, and what its writes cause. It is to be asked when they are done.
func (c *Client) Following() (*Client, *Caused) {
	out, caused := *c, &Caused{c: c}
	out.caused = caused
	return &out, caused
}

// note takes up what the answer to a write told.
func (f *Caused) note(org, token string) {
	if f == nil || token == "" || org == "" {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := (plan{org, token}); !slices.Contains(f.plans, p) {
		f.plans = append(f.plans, p)
	}
}

// Progress tells how far the changes are, on hosts that the caller may read. Errors: as of Call.
func (f *Caused) Progress(ctx context.Context) (model.PlanProgress, error) {
	f.mu.Lock()
	plans := slices.Clone(f.plans)
	f.mu.Unlock()
	all := model.PlanProgress{Failures: []model.PlanFailure{}}
	for _, p := range plans {
		var one model.PlanProgress
		err := f.c.Call(ctx, Op{Name: "plans.show", Params: map[string]string{"org": p.org, "plan": p.token}}, &one)
		if model.CodeOf(err) == model.NotFound {
			continue // the changes were deleted, or concern hosts that the caller may not read
		}
		if err != nil {
			return all, err
		}
		all.Processed, all.Failed, all.Pending = all.Processed+one.Processed, all.Failed+one.Failed, all.Pending+one.Pending
		all.Failures = append(all.Failures, one.Failures...)
	}
	return all, nil
}

// Wait asks each interval until no change is pending, and gives how they ended. tell, unless nil, is told each state. While no
// node answers, or none leads, it asks again. When ctx ends it gives the last state and the cause.
func (f *Caused) Wait(ctx context.Context, interval time.Duration, tell func(model.PlanProgress)) (last model.PlanProgress, err error) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		now, err := f.Progress(ctx)
		switch {
		case err == nil:
			if last = now; tell != nil {
				tell(now)
			}
			if now.Pending == 0 {
				return now, nil
			}
		case ctx.Err() == nil && !IsUnreachable(err) && model.CodeOf(err) != model.Unavailable && model.CodeOf(err) != model.Unknown:
			return last, err
		}
		select {
		case <-ctx.Done():
			return last, context.Cause(ctx)
		case <-tick.C:
		}
	}
}
