package cluster_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
	"github.com/muster-hq/muster/fsm/model"
)

// space is what the disks of a cluster have free, by node.
type space [3]atomic.Int64

func (s *space) option(edit func(*cluster.Timing)) clustertest.Option {
	for i := range s {
		s[i].Store(10 << 30)
	}
	return clustertest.WithConfig(func(i int, cfg *cluster.Config) {
		cfg.Disk.Space = func(string) (int64, int64, error) { return s[i].Load(), 20 << 30, nil }
		cfg.Timing.DiskCheck = 20 * time.Millisecond
		if edit != nil {
			edit(&cfg.Timing)
		}
	})
}

// keepWriting writes on every node until stop and gives how often each did.
func keepWriting(t *testing.T, c *clustertest.Cluster) (acked func() int64, stop func()) {
	t.Helper()
	var counts [3]atomic.Int64
	var wg sync.WaitGroup
	end := make(chan struct{})
	for i := range counts {
		wg.Go(func() { writer(t, c, i, &counts[i], end) })
	}
	acked = func() int64 { return counts[0].Load() + counts[1].Load() + counts[2].Load() }
	clustertest.WaitFor(t, "writes", func() bool { return acked() > 30 })
	return acked, sync.OnceFunc(func() {
		close(end)
		wg.Wait()
		for node := range 3 {
			v, err := c.Node(node).View(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for i := range counts {
				for k := range int(counts[i].Load()) {
					if got := count(v, fmt.Sprintf("w%d-%d", i, k)); got != k {
						t.Fatalf("acknowledged write %d of node %d reads %d on node %d", k, i, got, node)
					}
				}
			}
		}
	})
}

// TestNearlyFullDiskHandsOver lets the leader's disk run out of room, but not quite.
func TestNearlyFullDiskHandsOver(t *testing.T) {
	t.Parallel()
	var free space
	c := clustertest.New(t, 3, free.option(nil))
	acked, stop := keepWriting(t, c)
	l := c.LeaderIndex()
	free[l].Store(60 << 20)
	clustertest.WaitFor(t, "another leader", func() bool { return c.LeaderIndex() != l && !c.Node(l).IsLeader() })
	err := c.Node(l).Ready()
	if model.CodeOf(err) != model.Unavailable || !strings.Contains(err.Error(), "nearly full: 61440 KiB of 20480 MiB are free") {
		t.Errorf("the node with the full disk says of itself: %v", err)
	}
	s, err := c.Leader().Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range s.Members {
		if sick := strings.Contains(m.Error, "nearly full"); sick != (i == l) {
			t.Errorf("status of %s: %q", m.Name, m.Error)
		}
	}
	before := acked()
	clustertest.WaitFor(t, "writes on all nodes afterwards", func() bool { return acked() > before+30 })
	free[l].Store(1 << 30)
	clustertest.WaitFor(t, "the node to be ready again", func() bool { return c.Node(l).Ready() == nil })
	stop()
}

// TestNearlyFullEverywhere leaves no better leader: the present one stays, and goes on.
func TestNearlyFullEverywhere(t *testing.T) {
	t.Parallel()
	var free space
	c := clustertest.New(t, 3, clustertest.Steady(), free.option(nil))
	l := c.LeaderIndex()
	for i := range free { // the leader last: it finds nobody
		at := (l + 1 + i) % 3
		free[at].Store(1 << 20)
		clustertest.WaitFor(t, "a full disk", func() bool { return c.Node(at).Ready() != nil })
	}
	for range 20 {
		if err := c.Node((l+1)%3).Update(t.Context(), increment("x")); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.LeaderIndex(); got != l {
		t.Errorf("leadership went from node %d to node %d, whose disk is no better", l, got)
	}
}

// TestStuckDiskOfTheLeader lets no write to the leader's log end. The others elect one of themselves, and once the disk
// works again the node follows.
func TestStuckDiskOfTheLeader(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, store string) {
		var free space
		c := clustertest.New(t, 3, clustertest.WithStore(store), free.option(func(tm *cluster.Timing) { tm.SlowWrite = 400 * time.Millisecond }))
		acked, stop := keepWriting(t, c)
		l := c.LeaderIndex()
		release := c.HoldDisk(l)
		other := -1
		clustertest.WaitFor(t, "a leader with a disk", func() bool {
			for i, n := range c.Nodes() {
				if i != l && n.IsLeader() {
					other = i
				}
			}
			return other >= 0
		})
		if err := c.Node(l).Ready(); err == nil || !strings.Contains(err.Error(), "has not ended") {
			t.Errorf("the node whose disk is stuck says of itself: %v", err)
		}
		before := acked()
		clustertest.WaitFor(t, "writes on the others", func() bool { return acked() > before+30 })
		release()
		clustertest.WaitFor(t, "the node to follow", func() bool { return !c.Node(l).IsLeader() && c.Node(l).Ready() == nil })
		stop()
	})
}

// TestSlowDiskOfTheLeader makes each write take long, but end.
func TestSlowDiskOfTheLeader(t *testing.T) {
	t.Parallel()
	var free space
	c := clustertest.New(t, 3, free.option(func(tm *cluster.Timing) { tm.SlowWrite = 250 * time.Millisecond }))
	acked, stop := keepWriting(t, c)
	l := c.LeaderIndex()
	c.SlowDisk(l, 300*time.Millisecond)
	clustertest.WaitFor(t, "another leader", func() bool {
		for i, n := range c.Nodes() {
			if i != l && n.IsLeader() {
				return true
			}
		}
		return false
	})
	before := acked()
	clustertest.WaitFor(t, "writes afterwards", func() bool { return acked() > before+30 })
	c.SlowDisk(l, 0)
	stop()
}
