package cluster_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/seal"
)

// TestRecover loses two of three nodes for good. The third goes on alone with all that it had, in a new epoch, and
// others join it.
func TestRecover(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3)
	const last = 1
	for i := range 50 {
		if err := c.Node(i%3).Update(t.Context(), put(fmt.Sprint("x", i), i)); err != nil {
			t.Fatal(err)
		}
	}
	same(t, c)
	if err := c.Node(last).Snapshot(); err != nil {
		t.Fatal(err)
	}
	for i := 50; i < 60; i++ {
		if err := c.Node(last).Update(t.Context(), put(fmt.Sprint("x", i), i)); err != nil {
			t.Fatal(err)
		}
	}
	same(t, c)
	epoch := c.Node(last).Store().Epoch()
	cfg := cluster.Config{Name: "node-1", DataDir: c.DataDir(last), Tables: clustertest.Tables()}
	if _, err := cluster.Recover(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("of a running node: %v", err)
	}
	for i := range 3 {
		c.Kill(i)
	}
	other := cfg
	other.Name = "node-2"
	if _, err := cluster.Recover(t.Context(), other); err == nil || !strings.Contains(err.Error(), `belongs to the node "node-1"`) {
		t.Errorf("under another name: %v", err)
	}
	other.DataDir = t.TempDir()
	if _, err := cluster.Recover(t.Context(), other); err == nil || !strings.Contains(err.Error(), "not the folder of a member") {
		t.Errorf("of an empty folder: %v", err)
	}
	got, err := cluster.Recover(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got.Epoch <= epoch || strings.Join(got.Dropped, " ") != "node-0 node-2" || got.Index == 0 {
		t.Errorf("recovered %+v", got)
	}
	c.Restart(last)
	n := c.Node(last)
	v, err := n.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		if count(v, fmt.Sprint("x", i)) != i {
			t.Fatalf("write %d reads %d", i, count(v, fmt.Sprint("x", i)))
		}
	}
	if v.Epoch() != got.Epoch {
		t.Errorf("epoch %d, not %d", v.Epoch(), got.Epoch)
	}
	if m := n.Members(); len(m) != 1 || m[0].Name != "node-1" {
		t.Errorf("members %+v", m)
	}
	token, err := n.CreateJoinToken(t.Context(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"node-0", "node-2"} {
		fresh, err := open(t, cluster.Config{Name: name, DataDir: filepath.Join(t.TempDir(), "data"), Bootstrap: cluster.Bootstrap{Token: token}})
		if err != nil {
			t.Fatal(err)
		}
		if err := fresh.Update(t.Context(), increment("joined")); err != nil {
			t.Errorf("writing on %s: %v", name, err)
		}
	}
	c.WaitVoters(3)
	if v, err := n.View(t.Context()); err != nil || count(v, "joined") != 2 {
		t.Errorf("%d have joined, %v", count(v, "joined"), err)
	}
}

// TestRecoverKeepsTheStore recovers folders of both stores without being told which it is.
func TestRecoverKeepsTheStore(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, store string) {
		c := clustertest.New(t, 1, clustertest.WithStore(store))
		if err := c.Node(0).Update(t.Context(), put("x", 1)); err != nil {
			t.Fatal(err)
		}
		c.Kill(0)
		if _, err := cluster.Recover(t.Context(), cluster.Config{Name: "node-0", DataDir: c.DataDir(0), Tables: clustertest.Tables()}); err != nil {
			t.Fatal(err)
		}
		c.Restart(0)
		if v, err := c.Node(0).View(t.Context()); err != nil || count(v, "x") != 1 {
			t.Errorf("after the recovery: %v", err)
		}
	})
}

// TestRecoverTellsDamage changes a bit of the log: nothing is recovered, and nothing is changed.
func TestRecoverTellsDamage(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 1)
	for i := range 5 {
		if err := c.Node(0).Update(t.Context(), put("x", i)); err != nil {
			t.Fatal(err)
		}
	}
	c.Kill(0)
	damageLog(t, filepath.Join(c.DataDir(0), "raft", "log.db"))
	for range 2 {
		_, err := cluster.Recover(t.Context(), cluster.Config{Name: "node-0", DataDir: c.DataDir(0), ClusterAdvertise: "127.0.0.1:1"})
		if err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("over a damaged log: %v", err)
		}
	}
}

// TestRecoverNeedsTheKey: a node whose keys are gone is refused, and nothing of it is changed; with a copy of the keys it goes on.
func TestRecoverNeedsTheKey(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, withNotes())
	key := waitKey(t, c)
	update(t, c.Leader(), putNote("a", "acme"))
	same(t, c)
	clustertest.WaitFor(t, "the key on all nodes", func() bool { return c.Node(0).Ready() == nil && c.Node(1).Ready() == nil && c.Node(2).Ready() == nil })
	for i := range 3 {
		c.Kill(i)
	}
	dir := c.DataDir(1)
	path := cluster.ClusterKeyPath(dir)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	before := snapshotNames(t, dir)
	cfg := cluster.Config{Name: "node-1", DataDir: dir, Tables: clustertest.Tables()}
	_, err = cluster.Recover(t.Context(), cfg)
	if model.CodeOf(err) != model.Conflict || !strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), "muster cluster key import") || strings.Contains(err.Error(), "empty its data folder") {
		t.Fatalf("without the key: %v", err)
	}
	other := &seal.Keyring{}
	other.Add(seal.NewKey())
	if _, err := cluster.ImportKeys(dir, other); err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.Recover(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), key) {
		t.Fatalf("with another key: %v", err)
	}
	if after := snapshotNames(t, dir); after != before {
		t.Errorf("a refusal changed the folder: %s, before %s", after, before)
	}
	if err := os.WriteFile(path, text[:len(text)-5], 0o600); err != nil { // damaged: moved aside
		t.Fatal(err)
	}
	copied, err := seal.ParseKeyring(text)
	if err != nil {
		t.Fatal(err)
	}
	if added, err := cluster.ImportKeys(dir, copied); err != nil || strings.Join(added, " ") != key {
		t.Fatal(added, err)
	}
	if _, err := os.Stat(path + ".damaged"); err != nil {
		t.Error(err)
	}
	if got, err := cluster.Recover(t.Context(), cfg); err != nil || len(got.Dropped) != 2 {
		t.Fatal(got, err)
	}
	c.Restart(1)
	clustertest.WaitFor(t, "the note after the recovery", func() bool { return hasNote(c.Node(1), "a") })
	if _, err := cluster.ImportKeys(dir, copied); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("of a running node: %v", err)
	}
	update(t, c.Node(1), putNote("b", "acme"))
}

// snapshotNames are those of a node's raft folder.
func snapshotNames(t *testing.T, dir string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "raft", "snapshots", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(names)
}
