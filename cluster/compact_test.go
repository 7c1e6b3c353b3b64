package cluster_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
)

// snapshotIndex is the index of the newest snapshot in a node's folder; 0 for none.
func snapshotIndex(t *testing.T, dir string) (newest uint64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "raft", "snapshots", "*", "meta.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		var meta raft.SnapshotMeta
		if b, err := os.ReadFile(f); err == nil && json.Unmarshal(b, &meta) == nil {
			newest = max(newest, meta.Index)
		}
	}
	return newest
}

// TestSnapshotsByBytes writes few large commits: snapshots come by the size of the log, also by what it held when
// the node was started again.
func TestSnapshotsByBytes(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 1, clustertest.WithConfig(func(_ int, cfg *cluster.Config) { cfg.Timing.SnapshotBytes = 256 << 10 }))
	large := strings.Repeat("x", 40<<10)
	for i := range 4 { // each counts twice: its name is its key
		if err := c.Node(0).Update(t.Context(), put(fmt.Sprint(large, i), i)); err != nil {
			t.Fatal(err)
		}
	}
	clustertest.WaitFor(t, "a snapshot", func() bool { return snapshotIndex(t, c.DataDir(0)) > 0 })
	clustertest.WaitFor(t, "no growth to be left", func() bool { return cluster.Grown(c.Node(0)) < 256<<10 })
	first := snapshotIndex(t, c.DataDir(0))
	if err := c.Node(0).Update(t.Context(), put(fmt.Sprint(large, "last"), 1)); err != nil {
		t.Fatal(err)
	}
	left := cluster.Grown(c.Node(0))
	c.Kill(0)
	c.Restart(0)
	clustertest.WaitFor(t, "the growth of before", func() bool { return cluster.Grown(c.Node(0)) >= left/2 })
	for i := range 4 {
		if err := c.Node(0).Update(t.Context(), put(fmt.Sprint(large, "again", i), i)); err != nil {
			t.Fatal(err)
		}
	}
	clustertest.WaitFor(t, "another snapshot", func() bool { return snapshotIndex(t, c.DataDir(0)) > first })
}
