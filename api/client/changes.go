package client

import (
	"context"
	"net/url"
	"slices"
	"time"

	"github.com/muster-hq/muster/fsm/model"
)

// Task is a task as answered (contract section 3.3).
type Task struct {
	OrderNum    int              `json:"orderNum"`
	Description string           `json:"description"`
	Status      model.TaskStatus `json:"status"`
	Error       string           `json:"error"`
	Interrupted bool             `json:"interrupted,omitempty"`
	Output      string           `json:"output,omitempty"`
}

// Change is a change as answered.
type Change struct {
	OrderNum    int    `json:"orderNum"`
	Key         string `json:"key"`
	Description string `json:"description"`
	Tasks       []Task `json:"tasks"`
}

// Pending tells whether a task is still to be done.
func (c Change) Pending() bool {
	return slices.ContainsFunc(c.Tasks, func(t Task) bool { return t.Status == model.TaskPending })
}

// Failed tells whether a task ended with an error.
func (c Change) Failed() bool {
	return slices.ContainsFunc(c.Tasks, func(t Task) bool { return t.Status == model.TaskError })
}

// Changes lists a host's changes, in ascending order.
func (c *Client) Changes(ctx context.Context, host map[string]string, processed bool) ([]Change, error) {
	q := url.Values{"show_processed": {"false"}}
	if processed {
		q.Set("show_processed", "true")
	}
	return List[Change](ctx, c, Op{Name: "host.changes.list", Params: host, Query: q})
}

// LastChange is the number of the newest change of a host, -1 where there is none.
func (c *Client) LastChange(ctx context.Context, host map[string]string) (int, error) {
	all, err := c.Changes(ctx, host, true)
	last := -1
	for _, ch := range all {
		last = max(last, ch.OrderNum)
	}
	return last, err
}

// WaitChanges waits until every change of a host after number `after` is processed, and gives those
// changes. tell, when not nil, gets each reading, for showing progress. It reads every interval until
// ctx ends; then the error is ctx's, beside what was read last. An answer that does not come, or that
// says unavailable, is asked for again: waiting outlives the loss of a node.
func (c *Client) WaitChanges(ctx context.Context, host map[string]string, after int, interval time.Duration, tell func([]Change)) ([]Change, error) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	var last []Change
	for {
		all, err := c.Changes(ctx, host, true)
		code := model.CodeOf(err)
		switch {
		case ctx.Err() != nil:
			return last, context.Cause(ctx)
		case err != nil && !IsUnreachable(err) && code != model.Unavailable && code != model.Unknown:
			return last, err
		case err == nil:
			last = slices.DeleteFunc(all, func(ch Change) bool { return ch.OrderNum <= after })
			if tell != nil {
				tell(last)
			}
			if !slices.ContainsFunc(last, Change.Pending) {
				return last, nil
			}
		}
		select {
		case <-ctx.Done():
			return last, context.Cause(ctx)
		case <-tick.C:
		}
	}
}
