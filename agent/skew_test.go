package agent

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-hq/muster/agent/agenttest"
	"github.com/muster-hq/muster/dispatch/bus"
	"github.com/muster-hq/muster/dispatch/hub"
	"github.com/muster-hq/muster/dispatch/wire"
)

// lateKeys are the keys of an orchestrator that is made after its hub's policy.
type lateKeys struct{ o **agenttest.Orchestrator }

func (k lateKeys) AgentKey(ctx context.Context, id string) (ed25519.PublicKey, error) {
	return (*k.o).AgentKey(ctx, id)
}

func (k lateKeys) TokenKey(ctx context.Context, id string) (ed25519.PublicKey, error) {
	return (*k.o).TokenKey(ctx, id)
}

// skewed is an orchestrator whose clock is ahead of this machine's, which is the same as a machine that is behind.
func skewed(t *testing.T, ahead time.Duration) *agenttest.Orchestrator {
	t.Helper()
	var o *agenttest.Orchestrator
	o = agenttest.Start(t, func(c *hub.Config) {
		c.Auth = bus.NewPolicy(lateKeys{&o}, bus.PolicyOptions{Now: func() time.Time { return time.Now().Add(ahead) }})
	})
	return o
}

// A machine whose clock is hours wrong, either way, enrols, logs in and does what it is told. Orders are good or expired
// by the organization's time, not by the machine's.
func TestAClockThatIsHoursWrong(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"behind": 5 * time.Hour, "ahead": -5 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := skewed(t, ahead)
			files := newFake("files")
			a := member(t, o, files)
			order := func(n int, issued, expires time.Duration) wire.Order {
				w := o.Order(a.identity.Agent, n, apply("files", "/a", "1"), act("files", "/x", "run"))
				now := time.Now().Add(ahead)
				w.Issued, w.Expires = now.Add(issued), now.Add(expires)
				return w
			}
			first := order(1, 0, time.Hour)
			sender(t, o, first, "the first order's end", func() bool { return o.Over(first) })
			// Expired by an hour, but in the future by the clock of a machine that is behind.
			expired := order(2, -2*time.Hour, -time.Hour)
			o.Send(expired)
			if o.Disconnect(a.identity.Agent) == 0 {
				t.Error("there was no connection to cut")
			}
			last := order(3, 0, time.Hour) // past already by the clock of a machine that is ahead
			sender(t, o, last, "the last order's end, over another login", func() bool { return o.Over(last) })
			for range 3 {
				o.Send(expired) // also below the fence now
			}
			end := order(4, 0, time.Hour)
			sender(t, o, end, "the end", func() bool { return o.Over(end) })
			if n := len(o.Replies(expired.ID)); n != 0 {
				t.Errorf("an order that had expired got %d replies", n)
			}
			if n := files.actCount("run /x"); n != 3 {
				t.Errorf("%d runs of 3 orders", n)
			}
		})
	}
}

// logText is a log that a test reads.
type logText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Beyond the window a login is refused, and the agent says why it cannot enrol.
func TestAClockThatIsADayWrong(t *testing.T) {
	o := skewed(t, 24*time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	log, s := &logText{}, openState(t, t.TempDir())
	done := make(chan error, 1)
	go func() {
		done <- Enrol(ctx, s, EnrolOptions{Log: slog.New(slog.NewTextHandler(log, nil)), URLs: []string{o.URL}, Token: o.Token, Name: "web1"})
	}()
	waitFor(t, "a word on the clock", func() bool { return strings.Contains(log.String(), "clock") })
	cancel()
	if err := <-done; err == nil {
		t.Error("it enrolled by a clock that is a day wrong")
	}
}
