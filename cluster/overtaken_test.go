package cluster_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
)

// TestRestoreThatOneFollowerTook kills the leader of a restore of five when one follower has the restored state, and lets
// the others go on without it. That follower never serves it, ends, and says what to do; made anew it serves what the
// others have.
func TestRestoreThatOneFollowerTook(t *testing.T) {
	for _, further := range []bool{false, true} {
		name := "of this log"
		if further { // then nothing that the others write is beyond the restored state's index
			name = "of a longer log"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they wait most of the time, and three seconds pass before anybody holds an election
			restoreThatOneTook(t, further)
		})
	}
}

// backupOf makes a backup that takes a moment to send.
func backupOf(t *testing.T, n *cluster.Node, entries int) []byte {
	t.Helper()
	for i := range entries {
		raw := make([]byte, 45<<10)
		_, _ = rand.Read(raw)
		if err := n.Update(t.Context(), put(hex.EncodeToString(raw), i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 * entries {
		if err := n.Update(t.Context(), put("x", i)); err != nil {
			t.Fatal(err)
		}
	}
	return save(t, n)
}

// oneTakesIt makes a cluster of five, and cuts its leader off in a restore that has reached one follower. The leader is
// dead then, and the follower cut off. False when the restore went another way.
func oneTakesIt(t *testing.T, further bool) (c *clustertest.Cluster, lone int, epoch uint64, ok bool) {
	// A leader that hears nobody goes on for as long as it takes to send the state to one.
	c = clustertest.New(t, 5, clustertest.WithConfig(func(_ int, cfg *cluster.Config) {
		cfg.Timing.Heartbeat, cfg.Timing.LeaderLease = 3*time.Second, 3*time.Second
	}))
	var backup []byte
	if further {
		other := clustertest.New(t, 1)
		backup = backupOf(t, other.Node(0), 100)
		other.Kill(0)
	} else {
		backup = backupOf(t, c.Leader(), 100)
	}
	if err := c.Leader().Update(t.Context(), put("x", 100)); err != nil {
		t.Fatal(err)
	}
	same(t, c)
	leader := c.LeaderIndex()
	n := c.Node(leader)
	lone, epoch = (leader+1)%5, n.Store().Epoch()
	done := make(chan error, 1)
	go func() { done <- n.RestoreSnapshot(t.Context(), bytes.NewReader(backup)) }()
	clustertest.WaitFor(t, "the restored state at the leader", func() bool { return n.Store().Epoch() > epoch || len(done) > 0 })
	for i := range 5 {
		if i != leader && i != lone {
			c.Cut(leader, i)
			c.Cut(lone, i)
		}
	}
	clustertest.WaitFor(t, "the restored state at one follower", func() bool {
		return c.Node(lone).Store().Epoch() > epoch || len(done) > 0 || n.Err() != nil
	})
	c.Kill(leader)
	took := 0
	for _, n := range c.Nodes() {
		if n.Store().Epoch() > epoch {
			took++
		}
	}
	return c, lone, epoch, took == 1 && c.Node(lone).Store().Epoch() > epoch
}

func restoreThatOneTook(t *testing.T, further bool) {
	var c *clustertest.Cluster
	var lone int
	var epoch uint64
	for try, ok := 0, false; !ok; try++ {
		if try == 4 {
			t.Fatal("no restore reached exactly one follower")
		}
		if c, lone, epoch, ok = oneTakesIt(t, further); !ok {
			t.Logf("try %d: the restore went another way", try)
			for i := range 5 {
				if c.Node(i) != nil {
					c.Kill(i)
				}
			}
		}
	}
	theirs := -1
	clustertest.WaitFor(t, "another leader", func() bool {
		for i := range 5 {
			if n := c.Node(i); n != nil && i != lone && n.IsLeader() {
				theirs = i
			}
		}
		return theirs >= 0
	})
	for range 5 {
		if err := c.Node(theirs).Update(t.Context(), increment("x")); err != nil {
			t.Fatal(err)
		}
	}
	served := func(n *cluster.Node) {
		if v, err := viewSoon(t, n); err == nil && (v.Epoch() != epoch || count(v, "x") != 105) {
			t.Fatalf("it serves %d in epoch %d, while the others have 105 in %d", count(v, "x"), v.Epoch(), epoch)
		}
	}
	c.Heal()
	ended := func() bool {
		served(c.Node(lone))
		err := c.Node(lone).Err()
		return err != nil && strings.Contains(err.Error(), "did not take") && strings.Contains(err.Error(), "let it join again")
	}
	clustertest.WaitFor(t, "the one that has the restored state to say why it cannot go on", ended)
	c.Kill(lone)
	c.Restart(lone)
	clustertest.WaitFor(t, "it to say so again when it is started", ended)
	c.Kill(lone)

	name := fmt.Sprintf("node-%d", lone)
	if err := c.Node(theirs).Remove(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Forget(c.DataDir(lone)); err != nil {
		t.Fatal(err)
	}
	token, err := c.Node(theirs).CreateJoinToken(t.Context(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	again, err := open(t, cluster.Config{Name: name, DataDir: c.DataDir(lone), Bootstrap: cluster.Bootstrap{Token: token}})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := again.View(t.Context()); err != nil || v.Epoch() != epoch || count(v, "x") != 105 {
		t.Errorf("made anew: %v", err)
	}
}
