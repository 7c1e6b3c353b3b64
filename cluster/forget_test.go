package cluster_test

import (
	"sync/atomic"
	"testing"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
	"github.com/muster-hq/muster/fsm/state"
)

// TestWhatWasInClearIsForgotten writes secrets while the cluster seals nothing, as one of an earlier version. Once it does,
// they are sealed, and the log and the snapshots of before are gone: from the files, too, after the next start.
func TestWhatWasInClearIsForgotten(t *testing.T) {
	t.Parallel()
	var schema atomic.Int64
	schema.Store(int64(state.SchemaLogs))
	c := clustertest.New(t, 1, withNotes(), clustertest.WithConfig(func(_ int, cfg *cluster.Config) { cfg.Schema = int(schema.Load()) }))
	for i := range 30 {
		update(t, c.Leader(), putNote(string(rune('a'+i%26)), "acme"))
		if i == 10 {
			if err := c.Leader().Snapshot(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(showPlanted(t, c.DataDir(0))) == 0 {
		t.Fatal("nothing is in clear before: the test proves nothing")
	}
	c.Kill(0)
	schema.Store(int64(state.Schema))
	c.Restart(0)
	clustertest.WaitFor(t, "all to be sealed", func() bool { return state.ClusterKeysOf(c.Leader().Local()).Form >= state.SealedForm })
	clear := state.ClusterKeysOf(c.Leader().Local()).Clear
	n := 0
	clustertest.WaitFor(t, "the log of before to be cut off", func() bool {
		n++
		update(t, c.Leader(), func(tx *state.Tx) error { return state.Put(tx, &clustertest.Counter{Name: "tick", Count: n}) })
		first, err := c.Leader().FirstLogIndex()
		return err == nil && first > clear
	})
	if rows, err := state.Stale(c.Leader().Local()); err != nil || len(rows) != 0 {
		t.Errorf("%v are in clear, %v", rows, err)
	}
	c.Kill(0)
	c.Restart(0)
	clustertest.WaitFor(t, "the notes after the restart", func() bool { return hasNote(c.Node(0), "a") && hasNote(c.Node(0), "d") })
	clustertest.WaitFor(t, "no secret in any file", func() bool { return len(showPlanted(t, c.DataDir(0))) == 0 })
	c.Kill(0)
	if shown := showPlanted(t, c.DataDir(0)); len(shown) > 0 {
		t.Errorf("secrets are still in %v", shown)
	}
}
