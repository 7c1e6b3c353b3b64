package cluster_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
)

// stores runs a test over each store of the raft log.
func stores(t *testing.T, f func(t *testing.T, store string)) {
	for _, store := range []string{cluster.StoreBolt, cluster.StoreWAL} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			f(t, store)
		})
	}
}

// TestAFolderKeepsItsStore starts a node over a log that another store has written.
func TestAFolderKeepsItsStore(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, store string) {
		c := clustertest.New(t, 1, clustertest.WithStore(store))
		if err := c.Node(0).Update(t.Context(), put("x", 1)); err != nil {
			t.Fatal(err)
		}
		c.Kill(0)
		other := cluster.StoreBolt
		if store == other {
			other = cluster.StoreWAL
		}
		_, err := open(t, cluster.Config{Name: "node-0", DataDir: c.DataDir(0), RaftStore: other})
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("set raft-store to %q", store)) {
			t.Errorf("started with the other store: %v", err)
		}
		c.Restart(0)
		v, err := c.Node(0).View(t.Context())
		if err != nil || count(v, "x") != 1 {
			t.Errorf("after that refusal: %v", err)
		}
	})
	if _, err := open(t, cluster.Config{Name: "node-0", DataDir: t.TempDir(), RaftStore: "paper"}); err == nil || !strings.Contains(err.Error(), `"paper"`) {
		t.Errorf("an unknown store: %v", err)
	}
}

// TestALogThatIsTooShortIsTold takes the last entries off a log as a whole, which no checksum of an entry shows.
func TestALogThatIsTooShortIsTold(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, store string) {
		c := clustertest.New(t, 1, clustertest.WithStore(store))
		write := func(name string) {
			t.Helper()
			if err := c.Node(0).Update(t.Context(), put(name, 1)); err != nil {
				t.Fatal(err)
			}
		}
		write("before")
		c.Kill(0)
		dir := filepath.Join(c.DataDir(0), "raft")
		old := t.TempDir()
		if err := os.CopyFS(filepath.Join(old, "raft"), os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		c.Restart(0)
		write("after")
		c.Kill(0)
		mark, err := os.ReadFile(filepath.Join(dir, "last"))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(filepath.Join(old, "raft")))); err != nil {
			t.Fatal(err)
		}
		c.Restart(0) // as it was: no complaint
		c.Kill(0)
		if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(filepath.Join(old, "raft"))), os.WriteFile(filepath.Join(dir, "last"), mark, 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, err := open(t, cluster.Config{Name: "node-0", DataDir: c.DataDir(0), RaftStore: store}); !errors.Is(err, cluster.ErrDamaged) {
			t.Errorf("started without what it had acknowledged: %v", err)
		}
		if err := os.WriteFile(filepath.Join(dir, "last"), mark[:5], 0o600); err != nil { // a power cut tore it
			t.Fatal(err)
		}
		c.Restart(0)
	})
}

// TestLogWithAndWithoutFreePages opens one log in turns as we do and as nodes of before did: each reads what the other
// wrote.
func TestLogWithAndWithoutFreePages(t *testing.T) {
	path := t.TempDir() + "/log.db"
	for i := uint64(1); i <= 6; i++ {
		o := cluster.BoltOptions()
		if i%2 == 0 {
			o = &bbolt.Options{Timeout: time.Second}
		}
		s, err := raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: o, MsgpackUseNewTimeFormat: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.StoreLogs([]*raft.Log{{Index: i, Term: 1, Data: make([]byte, 64<<10)}}); err != nil {
			t.Fatal(err)
		}
		if i == 3 {
			if err := s.DeleteRange(1, 2); err != nil { // pages become free
				t.Fatal(err)
			}
		}
		for j := uint64(1); j <= i; j++ {
			var l raft.Log
			if err := s.GetLog(j, &l); (err != nil) != (i >= 3 && j < 3) {
				t.Errorf("opened for the %dth time, entry %d: %v", i, j, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
