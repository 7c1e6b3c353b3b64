package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
)

// counting counts the records of a log whose message begins with a text.
type counting struct {
	begin string
	seen  *atomic.Int64
}

func (c counting) Enabled(context.Context, slog.Level) bool { return true }
func (c counting) Handle(_ context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, c.begin) {
		c.seen.Add(1)
	}
	return nil
}
func (c counting) WithAttrs([]slog.Attr) slog.Handler { return c }
func (c counting) WithGroup(string) slog.Handler      { return c }

// TestATermThatCannotBeOpenedAtOnce makes a leader open its term anew while raft tries in vain to hand leadership to a
// node that does not hear it, and so takes no command. Raft leads on afterwards, and so must the node.
func TestATermThatCannotBeOpenedAtOnce(t *testing.T) {
	t.Parallel()
	var again atomic.Int64
	c := clustertest.New(t, 3, clustertest.WithConfig(func(_ int, cfg *cluster.Config) {
		// For so long raft tries; and a leader on a busy machine does not step down meanwhile.
		cfg.Timing.Heartbeat, cfg.Timing.LeaderLease = 1500*time.Millisecond, time.Second
		cfg.Log = slog.New(counting{"the term is not open yet", &again})
	}))
	if err := c.Leader().Update(t.Context(), put("x", 1)); err != nil {
		t.Fatal(err)
	}
	backup := save(t, c.Leader())
	for try := 0; again.Load() == 0; try++ {
		if try == 10 {
			t.Fatal("the term was open at once each time")
		}
		l := c.LeaderIndex()
		deaf := c.Node((l + 1) % 3)
		c.Cut(l, (l+1)%3)
		moved := make(chan error, 1)
		go func() { moved <- c.Node(l).TransferLeadership(t.Context(), deaf.Name()) }()
		if err := c.Node(l).RestoreSnapshot(t.Context(), bytes.NewReader(backup)); err != nil {
			t.Fatalf("the node that leads does nothing more: %v", err)
		}
		<-moved
		c.Heal()
		c.WaitVoters(3)
	}
	if err := c.Leader().Update(t.Context(), increment("x")); err != nil {
		t.Fatal(err)
	}
	same(t, c)
}

// TestTheFirstEpochIsOfTheNodesClock begins a cluster on a machine whose clock is behind.
func TestTheFirstEpochIsOfTheNodesClock(t *testing.T) {
	t.Parallel()
	const behind = 1000 * time.Hour
	before := time.Now().Add(-behind)
	c := clustertest.New(t, 1, clustertest.WithConfig(func(_ int, cfg *cluster.Config) {
		cfg.Now = func() time.Time { return time.Now().Add(-behind) }
	}))
	began := time.UnixMilli(int64(c.Node(0).Store().Epoch()))
	if began.Before(before.Truncate(time.Millisecond)) || began.After(time.Now().Add(-behind)) {
		t.Errorf("the epoch began at %s by a clock that says %s", began, before)
	}
}

// TestALeaderThatCannotOpenItsTermGivesItAway to one that can.
func TestALeaderThatCannotOpenItsTermGivesItAway(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, clustertest.Steady())
	was := c.LeaderIndex()
	tries := 0
	opened := cluster.OpenUntil(t.Context(), c.Node(was), func(try int) error {
		tries = try
		return errors.New("refused by the test")
	})
	if opened || tries < cluster.OpenTries {
		t.Errorf("after %d tries: opened %t", tries, opened)
	}
	clustertest.WaitFor(t, "another leader", func() bool { i := c.LeaderIndex(); return i >= 0 && i != was })
	if err := c.Node(was).Update(t.Context(), put("x", 1)); err != nil {
		t.Error(err)
	}
}

// TestALeaderWithoutOthersKeepsTrying: there is nobody to give the leadership to, so it stays until the term is open.
func TestALeaderWithoutOthersKeepsTrying(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 1)
	term := c.Leader().Store().Term()
	tries := 0
	opened := cluster.OpenUntil(t.Context(), c.Leader(), func(try int) error {
		if tries = try; try <= cluster.OpenTries {
			return errors.New("refused by the test")
		}
		return nil
	})
	if !opened || tries != cluster.OpenTries+1 || c.Leader().Store().Term() != term {
		t.Errorf("opened %t after %d tries, in term %d of before %d", opened, tries, c.Leader().Store().Term(), term)
	}
}
