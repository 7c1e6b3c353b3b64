package client

import (
	"context"
	"net/url"
	"slices"
	"time"

	"github.com/muster-hq/muster/api/spec"
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
	Waiting     string `json:"waiting"` // why it is not begun, when that is not for another change
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

// blockFor is how long the server may hold an answer back while there is nothing new.
const blockFor = 30 * time.Second

// changesAfter lists a host's changes once there is something newer than a place, and at once where that is "". Coming
// says that the host is still to get some. Next is the place of this answer.
func (c *Client) changesAfter(ctx context.Context, host map[string]string, at string) (list []Change, coming bool, next string, err error) {
	q := url.Values{"show_processed": {"true"}}
	if at != "" {
		wait := blockFor
		if limit := c.cfg.HTTP.Timeout; limit > 0 {
			wait = min(wait, limit/2)
		}
		q.Set("index", at)
		q.Set("wait", wait.String())
	}
	op := Op{Name: "host.changes.list", Params: host, Query: q}
	a := c.send(ctx, op, nil, "application/json")
	if a.err != nil {
		return nil, false, "", a.err
	}
	var l struct {
		spec.List[Change]
		ToCome []model.ToCome `json:"toCome"`
	}
	err = op.decode(a.body, &l)
	return l.Items, len(l.ToCome) > 0, a.at, err
}

// WaitChanges waits until every change of a host after number `after` is processed, and gives those
// changes. tell, when not nil, gets each reading, for showing progress. The server is asked to answer when there is
// something new; the interval passes between questions to one that answers without a place, or not at all. When ctx
// ends the error is ctx's cause, beside what was read last. An answer that does not come, or that
// says unavailable, is asked for again: waiting outlives the loss of a node.
func (c *Client) WaitChanges(ctx context.Context, host map[string]string, after int, interval time.Duration, tell func([]Change)) ([]Change, error) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	var last []Change
	at := ""
	for {
		all, coming, next, err := c.changesAfter(ctx, host, at)
		code := model.CodeOf(err)
		news := false
		switch {
		case ctx.Err() != nil:
			return last, context.Cause(ctx)
		case code == model.Gone && at != "": // of an epoch that is over
			at = ""
		case err != nil && !IsUnreachable(err) && code != model.Unavailable && code != model.Unknown:
			return last, err
		case err == nil:
			last = slices.DeleteFunc(all, func(ch Change) bool { return ch.OrderNum <= after })
			if tell != nil {
				tell(last)
			}
			if !coming && !slices.ContainsFunc(last, Change.Pending) {
				return last, nil
			}
			at, news = next, next != "" && next != at
		}
		if news {
			continue
		}
		select {
		case <-ctx.Done():
			return last, context.Cause(ctx)
		case <-tick.C:
		}
	}
}
