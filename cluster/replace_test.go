package cluster_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
	"github.com/muster-hq/muster/fsm/model"
)

// writer writes rows through a node until stop and counts what was acknowledged.
func writer(t *testing.T, c *clustertest.Cluster, node int, acked *atomic.Int64, stop <-chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		switch err := c.Node(node).Update(t.Context(), put(fmt.Sprintf("w%d-%d", node, i), i)); model.CodeOf(err) {
		case "":
			acked.Add(1)
		default:
			t.Errorf("node %d: %v", node, err)
			return
		}
	}
}

// TestLaggingFollowerGetsASnapshotUnderLoad leaves a node so far behind that the log no longer reaches back to it,
// dead or only cut off, while writes go on before, during and after.
func TestLaggingFollowerGetsASnapshotUnderLoad(t *testing.T) {
	t.Parallel()
	stores(t, testLaggingFollowerGetsASnapshotUnderLoad)
}

func testLaggingFollowerGetsASnapshotUnderLoad(t *testing.T, store string) {
	const late = 2
	c := clustertest.New(t, 3, clustertest.WithStore(store), clustertest.WithConfig(func(i int, cfg *cluster.Config) {
		cfg.Timing.TrailingLogs, cfg.Timing.SnapshotEntries, cfg.Timing.SnapshotCheck = 8, 64, 50*time.Millisecond
		if i == late { // whatever snapshot it has was sent to it
			cfg.Timing.SnapshotEntries, cfg.Timing.SnapshotCheck = 1<<40, time.Hour
		}
	}))
	received := func() int {
		files, err := filepath.Glob(filepath.Join(c.DataDir(late), "raft", "snapshots", "*", "state.bin"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if err := os.RemoveAll(filepath.Dir(f)); err != nil { // raft keeps two: count anew each time
				t.Fatal(err)
			}
		}
		return len(files)
	}
	if c.LeaderIndex() == late {
		if err := c.Leader().TransferLeadership(t.Context(), c.Node(0).Name()); err != nil {
			t.Fatal(err)
		}
		clustertest.WaitFor(t, "another leader", func() bool { return c.LeaderIndex() != late })
	}
	var acked [2]atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() { writer(t, c, i, &acked[i], stop) })
	}
	total := func() int64 { return acked[0].Load() + acked[1].Load() }
	for _, cut := range []bool{false, true} {
		before, has := total(), c.Node(late).Store().AppliedIndex()
		if cut {
			c.Isolate(late)
		} else {
			c.Kill(late)
		}
		clustertest.WaitFor(t, "writes without it, and a log that no longer has what it lacks", func() bool {
			return total() > before+500 && newestSnapshot(t, c.DataDir(c.LeaderIndex())) > has+8
		})
		if cut {
			c.Heal()
		} else {
			c.Restart(late)
		}
		v, err := c.Node(late).View(t.Context()) // holds all that was acknowledged before
		if err != nil {
			t.Fatal(err)
		}
		if got := count(v, "w0-100"); got != 100 {
			t.Errorf("a write from before reads %d", got)
		}
		if !cut && received() == 0 {
			t.Fatal("it was not sent a snapshot: this proves nothing")
		}
	}
	close(stop)
	wg.Wait()
	v, err := c.Node(late).View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for node := range acked {
		for i := range int(acked[node].Load()) {
			if got := count(v, fmt.Sprintf("w%d-%d", node, i)); got != i {
				t.Fatalf("write %d of node %d reads %d", i, node, got)
			}
		}
	}
	clustertest.WaitFor(t, "the same state on all", func() bool {
		return c.Node(late).Store().AppliedIndex() == c.Node(0).Store().AppliedIndex()
	})
	if a, b := c.Node(0).Store().Fingerprint(), c.Node(late).Store().Fingerprint(); a != b {
		t.Errorf("fingerprints %s and %s", a, b)
	}
}

// newestSnapshot is the index of a node's latest snapshot; 0 without one.
func newestSnapshot(t *testing.T, data string) (index uint64) {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(data, "raft", "snapshots", "*-*-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		var term, i, ms uint64
		if _, err := fmt.Sscanf(filepath.Base(d), "%d-%d-%d", &term, &i, &ms); err == nil && filepath.Ext(d) == "" {
			index = max(index, i)
		}
	}
	return index
}

// TestReplacedUnderTheSameName removes a dead member and lets another node join by its name. Then the old one comes
// back from its folder: it must neither take the place of its successor nor disturb the others.
func TestReplacedUnderTheSameName(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, clustertest.Steady(), clustertest.WithConfig(func(_ int, cfg *cluster.Config) { cfg.GossipAddr = "127.0.0.1:0" }))
	const gone = 1
	name := c.Node(gone).Name()
	if c.LeaderIndex() == gone {
		if err := c.Leader().TransferLeadership(t.Context(), c.Node(0).Name()); err != nil {
			t.Fatal(err)
		}
		clustertest.WaitFor(t, "another leader", func() bool { return c.LeaderIndex() != gone })
	}
	c.Kill(gone)
	leader := c.Leader()
	if err := leader.Update(t.Context(), put("x", 1)); err != nil {
		t.Fatal(err)
	}
	token, err := leader.CreateJoinToken(t.Context(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "data")
	cfg := cluster.Config{
		Name: name, DataDir: dir, GossipAddr: "127.0.0.1:0", Bootstrap: cluster.Bootstrap{Token: token},
		Timing: cluster.Timing{Reconcile: 500 * time.Millisecond},
	}
	if _, err := open(t, cfg); model.CodeOf(err) != model.Conflict {
		t.Fatalf("joining by the name of a member that was not removed: %v", err)
	}
	if err := leader.Remove(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	c.WaitVoters(2)
	next, err := open(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.WaitVoters(3)
	v, err := next.View(t.Context())
	if err != nil || count(v, "x") != 1 {
		t.Fatalf("the successor reads %v", err)
	}
	term := leader.Store().Term()
	c.Restart(gone)     // the old one, unasked
	for i := range 60 { // it would have called for elections by now, more than once
		if err := leader.Update(t.Context(), put("x", i)); err != nil {
			t.Fatal(err)
		}
		wait(t, 100*time.Millisecond)
	}
	for i, n := range []*cluster.Node{c.Node(0), c.Node(2), next} { // what they say of the old one they must not take for their own
		if n.Err() != nil {
			t.Errorf("one that belongs has ended (%d): %v", i, n.Err())
		}
	}
	for _, m := range leader.Members() {
		if m.Name == name && m.ClusterAddr != next.ClusterAddr() {
			t.Errorf("the one that was removed has taken its successor's place: %+v", m)
		}
	}
	if v, err = next.View(t.Context()); err != nil || count(v, "x") != 59 {
		t.Errorf("the successor reads %d, %v", count(v, "x"), err)
	}
	if got := count(c.Node(gone).Local(), "x"); got != 0 {
		t.Errorf("the removed one is sent what is new: %d", got)
	}
	if now := leader.Store().Term(); now != term || !leader.IsLeader() {
		t.Errorf("the removed one has cost the leader its place: term %d, was %d", now, term)
	}
}
