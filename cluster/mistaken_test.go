package cluster_test

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
	"github.com/muster-hq/muster/cluster/gossip"
)

// lines keeps what is logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), what)
}

// TestTwoClustersThatGossipByMistake: nodes of one cluster are told the gossip address of another's again and again.
// Nobody joins, nobody votes elsewhere, and the log tells of it once.
func TestTwoClustersThatGossipByMistake(t *testing.T) {
	t.Parallel()
	var logs [2]lines
	var c [2]*clustertest.Cluster
	for k := range c {
		c[k] = clustertest.New(t, 2, clustertest.WithConfig(func(_ int, cfg *cluster.Config) {
			cfg.GossipAddr = "127.0.0.1:0"
			cfg.Log = slog.New(slog.NewTextHandler(&logs[k], nil))
		}))
		if err := c[k].Leader().Update(t.Context(), put("mine", k+1)); err != nil {
			t.Fatal(err)
		}
	}
	target := c[0].Leader()
	for _, n := range c[1].Nodes() { // as one whose configuration names the wrong seeds
		g, err := gossip.Start(gossip.Config{
			Name: n.Name(), Bind: "127.0.0.1:0", Key: make([]byte, 32), Meta: gossip.Meta{Cluster: n.ClusterID(), ClusterAddr: n.ClusterAddr()},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = g.Close(0) })
		for range 20 {
			if err := g.Join([]string{target.GossipAddr()}); err == nil {
				t.Error("a node of another cluster was let into the gossip")
			}
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			logs[0].mu.Lock()
			defer logs[0].mu.Unlock()
			t.Log(logs[0].text.String())
		}
	})
	clustertest.WaitFor(t, "a word of it in the log", func() bool { return logs[0].count("another cluster") > 0 })
	wait(t, time.Second)
	if told := logs[0].count("another cluster"); told != 1 {
		t.Errorf("it was told %d times, expected once", told)
	}
	for k := range c {
		c[k].WaitVoters(2)
		for _, n := range c[k].Nodes() {
			if sees := n.GossipSees(); len(sees) != 2 {
				t.Errorf("cluster %d: %s sees %q", k, n.Name(), sees)
			}
			v, err := n.View(t.Context())
			if err != nil || count(v, "mine") != k+1 {
				t.Errorf("cluster %d: %s reads %d, %v", k, n.Name(), count(v, "mine"), err)
			}
		}
	}
}
