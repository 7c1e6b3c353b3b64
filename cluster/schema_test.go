package cluster_test

import (
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// TestTheSchemaIsRaisedWhenAllKnowIt goes through an upgrade of three nodes, one at a time, and then back, which is
// refused.
func TestTheSchemaIsRaisedWhenAllKnowIt(t *testing.T) {
	t.Parallel()
	var known [3]atomic.Int64
	for i := range known {
		known[i].Store(int64(state.SchemaFirst))
	}
	c := clustertest.New(t, 3, clustertest.WithConfig(func(i int, cfg *cluster.Config) {
		cfg.Schema = int(known[i].Load())
		if cfg.Version = "1.0.0"; cfg.Schema > int(state.SchemaFirst) {
			cfg.Version = "2.0.0"
		}
	}))
	const next = int(state.SchemaFirst) + 1
	for i := range 3 {
		if s, err := c.Leader().Status(t.Context()); err != nil || s.Schema != int(state.SchemaFirst) {
			t.Fatalf("the schema with %d of 3 upgraded: %+v, %v", i, s, err)
		}
		c.Kill(i)
		known[i].Store(int64(next))
		c.Restart(i)
		clustertest.WaitFor(t, "its row to say so", func() bool {
			m := c.Leader().Members()[i]
			return m.Schema == next && m.Version == "2.0.0"
		})
		if err := c.Node(i).Update(t.Context(), put("x", i)); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range c.Nodes() {
		clustertest.WaitFor(t, "the raised schema on "+n.Name(), func() bool { return state.SchemaOf(n.Local()) == uint32(next) })
	}
	if err := c.Node(1).Update(t.Context(), put("x", 9)); err != nil {
		t.Fatal(err)
	}

	// An older one may neither come back nor join.
	clustertest.WaitFor(t, "the folder to tell", func() bool {
		b, err := filepath.Glob(filepath.Join(c.DataDir(2), "schema"))
		return err == nil && len(b) == 1
	})
	c.Kill(2)
	_, err := open(t, cluster.Config{Name: "node-2", DataDir: c.DataDir(2), Schema: int(state.SchemaFirst), Version: "1.0.0"})
	if err == nil || !strings.Contains(err.Error(), "version 2.0.0 or later") || !strings.Contains(err.Error(), "schema 2") {
		t.Errorf("an older node on a folder of the raised schema: %v", err)
	}
	token, err := c.Leader().CreateJoinToken(t.Context(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	_, err = open(t, cluster.Config{
		Name: "old", DataDir: filepath.Join(t.TempDir(), "data"), Schema: int(state.SchemaFirst), Version: "1.0.0", Bootstrap: cluster.Bootstrap{Token: token},
	})
	if model.CodeOf(err) != model.Conflict || !strings.Contains(err.Error(), "version 2.0.0 or later") {
		t.Errorf("an older joiner: %v", err)
	}
	if m := c.Leader().Members(); len(m) != 3 {
		t.Errorf("members %+v", m)
	}
	c.Restart(2)
	c.WaitVoters(3)
}
