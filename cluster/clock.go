package cluster

import (
	"sync/atomic"
	"time"
)

// clock is the leader's time as this node knows it: while it leads, its own clock, but never before what was stamped or
// told already; else what it last heard, and what has passed since. What has passed is counted by the monotonic clock,
// so a wall clock that is set meanwhile moves nothing. While the leader's own clock is behind, time passes slower by a tenth
// (slewed, as NTP does it with what must not go back), until its clock has caught up.
type clock struct {
	wall  func() time.Time
	heard atomic.Pointer[heard] // nil: nothing yet
	last  atomic.Int64          // the latest that was given out while leading, nanoseconds
}

// heard is the leader's time at a moment of ours.
type heard struct {
	leader time.Time
	at     time.Time // by the process's clock, with its monotonic reading
}

// hear notes the leader's time of just now.
func (c *clock) hear(nanos int64) {
	c.heard.Store(&heard{leader: time.Unix(0, nanos), at: time.Now()})
}

// known says whether the leader's time was ever heard.
func (c *clock) known() bool { return c.heard.Load() != nil }

// guess is the leader's time, the zero time when nothing was heard.
func (c *clock) guess() time.Time {
	h := c.heard.Load()
	if h == nil {
		return time.Time{}
	}
	return h.leader.Add(time.Since(h.at))
}

// now is the leader's time: see clock. Applied is the time of the applied state, and a lower bound.
func (c *clock) now(leads bool, applied time.Time) time.Time {
	t := c.guess()
	if leads {
		t = c.slewed(t)
	}
	if applied.After(t) {
		t = applied
	}
	if !leads {
		return t.UTC()
	}
	for nanos := t.UnixNano(); ; {
		last := c.last.Load()
		if nanos <= last {
			return time.Unix(0, last).UTC()
		}
		if c.last.CompareAndSwap(last, nanos) {
			return t.UTC()
		}
	}
}

// slewed is what the leader makes of a guess that was made just now: its own clock's time, or where that is behind, the
// guess without a tenth of what has passed since it last heard or told a time.
func (c *clock) slewed(guess time.Time) time.Time {
	wall := c.wall()
	if h := c.heard.Load(); h != nil && wall.Before(guess) {
		guess = guess.Add(-max(0, time.Since(h.at)) / slewPart)
	}
	if wall.After(guess) {
		return wall
	}
	return guess
}

// slewPart is the part of the time that does not pass while the leader's own clock is behind: an hour is caught up with in ten.
const slewPart = 10

func (n *Node) now() time.Time { return n.clock.now(n.leading.Load() != nil, n.store.Now()) }
