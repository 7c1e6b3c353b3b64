package agent

import (
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-hq/muster/agent/journal"
)

// clock is the organization's time as this agent can know it: the highest time that came with a valid
// signature, plus what has passed since. The machine's own wall clock may be wrong by years, so what has
// passed is counted by the time since boot, which also counts the machine's sleep and goes on when the
// agent is started again. Over a boot nothing is known to have passed.
type clock struct {
	boot func() (id string, since time.Duration)
	mu   sync.Mutex
	last journal.Seen
}

func newClock(last journal.Seen, boot func() (string, time.Duration)) *clock {
	c := &clock{boot: boot, last: last}
	if id, since := boot(); id != last.Boot {
		c.last.Boot, c.last.Since = id, since
	}
	return c
}

// see moves the clock forward to t, never back.
func (c *clock) see(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.After(c.read()) {
		id, since := c.boot()
		c.last = journal.Seen{Time: t, Boot: id, Since: since}
	}
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read()
}

func (c *clock) read() time.Time {
	_, since := c.boot()
	return c.last.Time.Add(max(0, since-c.last.Since))
}

// mark is the clock for the journal.
func (c *clock) mark() journal.Seen {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// bootTime names this boot of the machine and tells how long ago it was.
func bootTime() (id string, since time.Duration) {
	if data, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		id = strings.TrimSpace(string(data))
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return "", 0
	}
	return id, time.Duration(ts.Nano())
}
