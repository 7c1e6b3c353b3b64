package agent

import (
	"sync"
	"time"
)

// clock is the organization's time as this agent can know it: the highest time that came with a valid
// signature, plus what has passed since. The machine's own wall clock may be wrong by years.
type clock struct {
	mu   sync.Mutex
	seen time.Time
	at   time.Time // when it was seen; used for its monotonic reading only
}

func newClock(seen time.Time) *clock { return &clock{seen: seen, at: time.Now()} }

// see moves the clock forward to t, never back.
func (c *clock) see(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.After(c.seen.Add(time.Since(c.at))) {
		c.seen, c.at = t, time.Now()
	}
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen.Add(time.Since(c.at))
}
