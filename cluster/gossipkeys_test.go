package cluster_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
)

// TestGossipKeysRotate rotates under running gossip, twice, with a node that is away both times.
func TestGossipKeysRotate(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, clustertest.WithConfig(func(_ int, cfg *cluster.Config) { cfg.GossipAddr = "127.0.0.1:0" }))
	seen := func(want int) {
		t.Helper()
		for _, n := range c.Nodes() {
			clustertest.WaitFor(t, n.Name()+" to hear the others", func() bool { return len(n.GossipSees()) == want })
		}
	}
	key := func(i int) []byte {
		b, err := os.ReadFile(filepath.Join(c.DataDir(i), "pki", "gossip-key"))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	seen(3)
	first := key(0)
	clustertest.WaitFor(t, "the first rotation", func() bool { // refused until all are known to know of it
		return c.Node(1).RotateGossipKey(t.Context()) == nil
	})
	for i := range 3 {
		if bytes.Equal(key(i), first) || !bytes.Equal(key(i), key(0)) {
			t.Errorf("node %d keeps another key", i)
		}
	}
	seen(3)

	away := c.FollowerIndex()
	c.Kill(away)
	old := key(away)
	for range 2 {
		if err := c.Leader().RotateGossipKey(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	others := c.Nodes()
	for _, n := range others {
		clustertest.WaitFor(t, "the others to miss it", func() bool { return !slices.Contains(n.GossipSees(), "node-"+string(rune('0'+away))) })
	}
	if now := key(away); !bytes.Equal(now, old) {
		t.Fatal("the node that was away has the new key: this proves nothing")
	}
	c.Restart(away)
	c.WaitVoters(3)
	seen(3)
	if !bytes.Equal(key(away), key(c.LeaderIndex())) || bytes.Equal(key(away), old) {
		t.Error("the node that was away keeps an old key")
	}
	third := c.Add() // gets the key of now
	seen(4)
	if !bytes.Equal(key(third), key(0)) {
		t.Error("a joiner got an old key")
	}
}

// TestGossipKeysRotateByThemselves: the key's age is counted by the leader's clock.
func TestGossipKeysRotateByThemselves(t *testing.T) {
	t.Parallel()
	ahead := fakeClock{}
	c := clustertest.New(t, 1, clustertest.WithConfig(func(_ int, cfg *cluster.Config) { cfg.Now = ahead.now }))
	path := filepath.Join(c.DataDir(0), "pki", "gossip-key")
	clustertest.WaitFor(t, "the key in the rows", func() bool { return c.Node(0).RotateGossipKey(t.Context()) == nil })
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ahead.pass(29 * day)
	if err := c.Node(0).Update(t.Context(), put("x", 1)); err != nil {
		t.Fatal(err)
	}
	wait(t, patienceOfADuty)
	if now, _ := os.ReadFile(path); !bytes.Equal(now, first) {
		t.Error("rotated before its time")
	}
	ahead.pass(2 * day)
	clustertest.WaitFor(t, "a key of its own accord", func() bool {
		now, err := os.ReadFile(path)
		return err == nil && !bytes.Equal(now, first)
	})
}
