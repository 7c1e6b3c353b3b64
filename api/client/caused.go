package client

import (
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/muster-hq/muster/api/spec"
)

// Caused says how far the changes are that writes of a waiting client have caused, on hosts that the caller may read.
type Caused struct {
	Processed, Failed, Pending int // Failed are among Processed
}

// MaxWait is the longest that an answer of the server waits.
const MaxWait = 5 * time.Minute

// waiter gathers what the answers to writes tell.
type waiter struct {
	limit time.Duration

	mu    sync.Mutex
	total Caused
}

// Waiting gives a client like c whose writes are answered once the changes that they cause are processed, at the latest after
// limit, MaxWait at most. caused sums up what the answers told. Writes that can cause none are sent as ever.
func (c *Client) Waiting(limit time.Duration) (waiting *Client, caused func() Caused) {
	w := &waiter{limit: min(limit, MaxWait)}
	out := *c
	slow := *c.cfg.HTTP
	if slow.Timeout > 0 {
		slow.Timeout += w.limit
	}
	out.cfg.HTTP, out.waiter = &slow, w
	return &out, func() Caused {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.total
	}
}

// waitQuery adds to the query of a write that it waits.
func (c *Client) waitQuery(r spec.Route, q url.Values) url.Values {
	if c.waiter == nil || !takesKey(r) || r.Name == "jobs.run" || c.cfg.DryRun {
		return q
	}
	out := url.Values{"wait": {c.waiter.limit.String()}}
	for name, values := range q {
		out[name] = values
	}
	return out
}

// noteCaused takes up what an answer tells.
func (c *Client) noteCaused(header string) {
	var s Caused
	if c.waiter == nil || header == "" {
		return
	}
	if n, err := fmt.Sscanf(header, "processed=%d, failed=%d, pending=%d", &s.Processed, &s.Failed, &s.Pending); n != 3 || err != nil {
		return
	}
	c.waiter.mu.Lock()
	defer c.waiter.mu.Unlock()
	t := &c.waiter.total
	t.Processed, t.Failed, t.Pending = t.Processed+s.Processed, t.Failed+s.Failed, t.Pending+s.Pending
}
