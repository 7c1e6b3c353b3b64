package cluster_test

import (
	"context"
	"testing"
	"time"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
)

// TestAReadShowsNoLessThanAnEarlierOne holds back the machine of the leader while a follower applies a write and shows it: a read
// that begins afterwards, at the leader, waits for that write.
func TestAReadShowsNoLessThanAnEarlierOne(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, clustertest.Steady())
	leader, follower := c.Leader(), c.Node(c.FollowerIndex())
	release := cluster.HoldMachine(leader)
	written := make(chan error, 1)
	go func() { written <- follower.Update(t.Context(), increment("x")) }()
	clustertest.WaitFor(t, "the write at the follower", func() bool { return count(follower.Local(), "x") == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if v, err := leader.View(ctx); err == nil && count(v, "x") != 1 {
		t.Error("a follower has shown the write, and a later read at the leader does not")
	}
	release()
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if v, err := leader.View(t.Context()); err != nil || count(v, "x") != 1 {
		t.Error("after the machine went on:", err)
	}
}
