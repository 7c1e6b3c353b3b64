package agent

import (
	"testing"
	"time"

	"github.com/muster-hq/muster/agent/journal"
)

func TestTheClockGoesOnOverARestart(t *testing.T) {
	boot, since := "one", time.Hour
	fake := func() (string, time.Duration) { return boot, since }
	c := newClock(journal.Seen{}, fake)
	if !c.now().Equal(time.Time{}) {
		t.Errorf("a new agent knows no time: %v", c.now())
	}
	at := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	c.see(at)
	since += time.Minute
	c.see(at.Add(30 * time.Second)) // late: not back
	if got := c.now().Sub(at); got != time.Minute {
		t.Errorf("after a minute: %v", got)
	}
	since += time.Hour // the agent is away
	c = newClock(c.mark(), fake)
	if got := c.now().Sub(at); got != time.Hour+time.Minute {
		t.Errorf("after a restart: %v", got)
	}
	boot, since = "two", time.Second
	c = newClock(c.mark(), fake)
	if got := c.now().Sub(at); got != 0 {
		t.Errorf("after a boot nothing is known to have passed: %v", got)
	}
	since += time.Minute
	if got := c.now().Sub(at); got != time.Minute {
		t.Errorf("a minute after the boot: %v", got)
	}
}

func TestBootTime(t *testing.T) {
	id, a := bootTime()
	_, b := bootTime()
	if id == "" || a <= 0 || b < a {
		t.Errorf("%q %v %v", id, a, b)
	}
}
