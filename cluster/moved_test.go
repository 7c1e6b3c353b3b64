package cluster_test

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
)

// TestRestoreLosesNoRowOfTheCluster lets commits that were under way get into the log after a restore has read the present
// state: what they wrote of the cluster's own rows stays, and the restore is rendered again for it.
func TestRestoreLosesNoRowOfTheCluster(t *testing.T) {
	t.Parallel()
	var armed atomic.Pointer[cluster.Node]
	var added atomic.Int64
	c := clustertest.New(t, 3, clustertest.Steady(), clustertest.WithConfig(func(_ int, cfg *cluster.Config) {
		cfg.Now = func() time.Time { // the restore asks for the time before it has read the state, and after
			if n := armed.Load(); n != nil && calledFrom("restoreOnce") {
				if k := added.Add(1); k <= 4 {
					if err := cluster.AppendToken(n, fmt.Sprint("late-", k)); err != nil {
						t.Errorf("appending: %v", err)
					}
				}
			}
			return time.Now()
		}
	}))
	n := c.Leader()
	if err := n.Update(t.Context(), put("x", 1)); err != nil {
		t.Fatal(err)
	}
	backup := save(t, n)
	if err := n.Update(t.Context(), put("x", 2)); err != nil {
		t.Fatal(err)
	}
	armed.Store(n)
	err := n.RestoreSnapshot(t.Context(), bytes.NewReader(backup))
	armed.Store(nil)
	if err != nil {
		t.Fatal(err)
	}
	if added.Load() < 4 {
		t.Fatalf("%d looks at the clock in a restore: this test must be brought in order", added.Load())
	}
	tokens, err := n.JoinTokens(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	late := 0
	for _, tok := range tokens {
		if strings.HasPrefix(tok.ID, "late-") {
			late++
		}
	}
	if late != 4 {
		t.Errorf("%d of 4 rows are there that were written while the restore was made", late)
	}
	if v, err := n.View(t.Context()); err != nil || count(v, "x") != 1 {
		t.Errorf("x is %d, %v", count(v, "x"), err)
	}
	same(t, c)
	// A restore leaves a hole in the log, which is no damage.
	l := c.LeaderIndex()
	c.Kill(l)
	f, err := cluster.OpenFolder(c.DataDir(l), clustertest.Tables())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	holes := 0
	err = f.Log(0, 0, func(line cluster.LogLine) error {
		if line.Damage != "" {
			t.Errorf("%+v", line)
		}
		if line.Kind == "absent" {
			holes++
		}
		return nil
	})
	if err != nil || holes != 1 {
		t.Errorf("%d holes, %v", holes, err)
	}
}

// calledFrom says whether a function of that name is on the stack.
func calledFrom(name string) bool {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, "."+name) {
			return true
		}
		if !more {
			return false
		}
	}
}
