package cluster_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// save takes a snapshot of a cluster through one of its nodes.
func save(t *testing.T, n *cluster.Node) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := n.SaveSnapshot(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// same waits until all nodes have the same state.
func same(t *testing.T, c *clustertest.Cluster) {
	t.Helper()
	clustertest.WaitFor(t, "the same state on all nodes", func() bool {
		want := ""
		for _, n := range c.Nodes() {
			if want == "" {
				want = n.Store().Fingerprint()
			} else if n.Store().Fingerprint() != want {
				return false
			}
		}
		return true
	})
}

// TestRestoreAnotherSize restores a snapshot into clusters of other sizes, through followers.
func TestRestoreAnotherSize(t *testing.T) {
	t.Parallel()
	backups := map[int][]byte{}
	for _, size := range []int{1, 3} {
		c := clustertest.New(t, size)
		for i := range 50 * size { // the one of three is further in its log than the new one, that of one is not
			if err := c.Node(i%size).Update(t.Context(), put(fmt.Sprint("row", i%40), i)); err != nil {
				t.Fatal(err)
			}
		}
		backups[size] = save(t, c.Node(size-1))
		for i := range size {
			c.Kill(i)
		}
	}
	for _, s := range []struct{ from, to int }{{1, 3}, {3, 1}, {3, 5}} {
		t.Run(fmt.Sprintf("%d to %d", s.from, s.to), func(t *testing.T) {
			c := clustertest.New(t, s.to, clustertest.Steady()) // a leader that steps down in a restore ends
			via := c.Node(0)
			if s.to > 1 {
				via = c.Node(c.FollowerIndex())
			}
			if err := via.Update(t.Context(), put("of the present", 1)); err != nil {
				t.Fatal(err)
			}
			token, err := via.CreateJoinToken(t.Context(), time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			before := via.Store().Epoch()
			if err := via.RestoreSnapshot(t.Context(), bytes.NewReader(backups[s.from])); err != nil {
				t.Fatal(err)
			}
			for i := range s.to {
				v, err := c.Node(i).View(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				last := 50*s.from - 1
				if got := count(v, fmt.Sprint("row", last%40)); got != last {
					t.Errorf("node %d reads %d, not %d", i, got, last)
				}
				if got := count(v, "of the present"); got != 0 {
					t.Errorf("node %d has what was there before: %d", i, got)
				}
				if v.Epoch() <= before {
					t.Errorf("node %d is in epoch %d, not one after %d", i, v.Epoch(), before)
				}
				if err := c.Node(i).Update(t.Context(), increment("after")); err != nil {
					t.Errorf("writing on node %d: %v", i, err)
				}
			}
			c.WaitVoters(s.to)
			same(t, c)
			// The cluster is the one that it was: a token from before lets a node join, a node that starts finds its state.
			next, err := open(t, cluster.Config{Name: "next", DataDir: t.TempDir(), Bootstrap: cluster.Bootstrap{Token: token}})
			if err != nil {
				t.Fatal(err)
			}
			c.WaitVoters(s.to + 1)
			if v, err := next.View(t.Context()); err != nil || count(v, "after") != s.to {
				t.Errorf("the node that joined reads %d, %v", count(v, "after"), err)
			}
			c.Kill(0)
			c.Restart(0)
			if v, err := c.Node(0).View(t.Context()); err != nil || count(v, "after") != s.to {
				t.Errorf("the node that was started again reads %d, %v", count(v, "after"), err)
			}
		})
	}
}

// TestRestoreUnderLoad goes back to an earlier state while clients of all nodes increment counters. Each increment
// that was acknowledged after the restore is there, and none that was acknowledged before it, but for what the
// snapshot holds; a follower that was away gets the restored state, too.
func TestRestoreUnderLoad(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3)
	for range 10 {
		if err := c.Node(0).Update(t.Context(), increment("n")); err != nil {
			t.Fatal(err)
		}
	}
	backup := save(t, c.Node(0))
	var during, unknown atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				switch err := c.Node(i%3).Update(t.Context(), increment("n")); model.CodeOf(err) {
				case "":
					during.Add(1)
				case model.Unknown:
					unknown.Add(1)
				default:
					t.Errorf("node %d: %v", i%3, err)
					return
				}
			}
		})
	}
	clustertest.WaitFor(t, "writes before the restore", func() bool { return during.Load() > 100 })
	ws := state.NewWatchSet()
	watched := c.Node(1).Local()
	count(watched.Watched(ws), "nothing ever writes this")
	var atCut int64 // acknowledged for sure after the restore: those since it was acknowledged itself
	if err := c.Node(c.FollowerIndex()).RestoreSnapshot(t.Context(), bytes.NewReader(backup)); err != nil {
		t.Fatal(err)
	}
	atCut = during.Load()
	if err := ws.Wait(t.Context()); err != nil {
		t.Errorf("who watched did not wake: %v", err)
	}
	clustertest.WaitFor(t, "writes after the restore", func() bool { return during.Load() > atCut+100 })
	close(stop)
	wg.Wait()
	v, err := c.Leader().View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, least, most := int64(count(v, "n")), 10+during.Load()-atCut, 10+during.Load()+unknown.Load()
	if got < least || got > most {
		t.Errorf("the counter is %d after a restore to 10 with %d to %d increments since", got, least-10, most-10)
	}
	if v.Epoch() <= watched.Epoch() {
		t.Errorf("epoch %d after %d", v.Epoch(), watched.Epoch())
	}
	same(t, c)
}

// TestRestoreRefusesDamage gives what is no whole snapshot: nothing may change.
func TestRestoreRefusesDamage(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 1)
	n := c.Node(0)
	if err := n.Update(t.Context(), put("x", 1)); err != nil {
		t.Fatal(err)
	}
	good := save(t, n)
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 1
	for name, bad := range map[string][]byte{"empty": nil, "cut": good[:len(good)-1], "half": good[:len(good)/2], "flipped": flipped, "other": []byte("PK\x03\x04 something else")} {
		if err := n.RestoreSnapshot(t.Context(), bytes.NewReader(bad)); model.CodeOf(err) != model.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.RestoreSnapshot(ended, bytes.NewReader(good)); model.CodeOf(err) != model.Unavailable {
		t.Errorf("with a context that has ended: %v", err)
	}
	v, err := n.View(t.Context())
	if err != nil || count(v, "x") != 1 || v.Epoch() != n.Store().Epoch() {
		t.Errorf("x is %d, %v", count(v, "x"), err)
	}
}

// TestRestoreCutOff cuts the leader off in the middle of a restore, so that the others go on without it. They have
// nothing of it; the one that was cut off ends, and says so again when it is started: it never serves the state that
// only it has.
func TestRestoreCutOff(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3)
	for i := range 150 { // large, so that it takes a moment to render
		raw := make([]byte, 45<<10)
		_, _ = rand.Read(raw)
		if err := c.Node(0).Update(t.Context(), put(hex.EncodeToString(raw), i)); err != nil {
			t.Fatal(err)
		}
	}
	backup := save(t, c.Node(0))
	var lone *cluster.Node
	var i int
	var epoch uint64
	for try := 0; ; try++ {
		if err := c.Leader().Update(t.Context(), put("x", 100)); err != nil {
			t.Fatal(err)
		}
		i = c.LeaderIndex()
		lone, epoch = c.Node(i), c.Node(i).Store().Epoch()
		done := make(chan error, 1)
		go func() { done <- lone.RestoreSnapshot(t.Context(), bytes.NewReader(backup)) }()
		// The leader has it, the others must be sent all of it first.
		clustertest.WaitFor(t, "the restored state at the leader", func() bool { return lone.Store().Epoch() > epoch || len(done) > 0 })
		c.Isolate(i)
		clustertest.WaitFor(t, "the restore's end", func() bool { return len(done) > 0 || lone.Err() != nil })
		if lone.Err() != nil {
			break
		}
		c.Heal() // too late
		if err := <-done; err != nil || try > 10 {
			t.Fatalf("try %d to cut the restore off: %v", try, err)
		}
		c.WaitVoters(3)
	}
	clustertest.WaitFor(t, "the one that was cut off to end", func() bool { return lone.Err() != nil })
	t.Logf("it ended with: %v", lone.Err())
	other := (i + 1) % 3
	clustertest.WaitFor(t, "another leader", func() bool { return c.Node(other).IsLeader() || c.Node((i+2)%3).IsLeader() })
	if err := c.Node(other).Update(t.Context(), increment("x")); err != nil {
		t.Fatal(err)
	}
	v, err := c.Node(other).View(t.Context())
	if err != nil || count(v, "x") != 101 || v.Epoch() != epoch {
		t.Errorf("the others read %d in epoch %d, %v", count(v, "x"), v.Epoch(), err)
	}
	c.Kill(i)
	c.Heal()
	c.Restart(i)
	clustertest.WaitFor(t, "the one that was cut off to say why it cannot go on", func() bool {
		if v, err := viewSoon(t, c.Node(i)); err == nil {
			t.Fatalf("it serves %d in epoch %d, while the others are in %d", count(v, "x"), v.Epoch(), epoch)
		}
		err := c.Node(i).Err()
		return err != nil && strings.Contains(err.Error(), "did not take") && strings.Contains(err.Error(), "let it join again")
	})
}

func viewSoon(t *testing.T, n *cluster.Node) (*state.View, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	return n.View(ctx)
}
