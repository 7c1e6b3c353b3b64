package cluster_test

import (
	"context"
	"errors"
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

func putWide(name string, size int) func(*state.Tx) error {
	return func(tx *state.Tx) error {
		return state.Put(tx, &clustertest.Wide{Name: name, Text: strings.Repeat("w", size)})
	}
}

func has(v *state.View, name string) bool { _, ok := state.Get[clustertest.Wide](v, name); return ok }

// TestCommitBeyondTheLimit asks for more at once than a commit may have, of every node.
func TestCommitBeyondTheLimit(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3)
	for i, n := range c.Nodes() {
		if err := n.Update(t.Context(), putWide(fmt.Sprint("fits", i), state.MaxCommit-1024)); err != nil {
			t.Errorf("the largest commit on %s: %v", n.Name(), err)
		}
		err := n.Update(t.Context(), func(tx *state.Tx) error {
			if err := state.Put(tx, &counter{Name: "beside it", Count: 1}); err != nil {
				return err
			}
			return putWide("beyond", state.MaxCommit)(tx)
		})
		if model.CodeOf(err) != model.TooLarge || !strings.Contains(err.Error(), fmt.Sprint(state.MaxCommit)) || !strings.Contains(err.Error(), "in parts") {
			t.Errorf("on %s: %v", n.Name(), err)
		}
	}
	for _, n := range c.Nodes() {
		v, err := n.View(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if has(v, "beyond") || count(v, "beside it") != 0 {
			t.Errorf("%s holds a part of what was refused", n.Name())
		}
		for i := range 3 {
			if !has(v, fmt.Sprint("fits", i)) {
				t.Errorf("%s lacks the largest commit of node %d", n.Name(), i)
			}
		}
	}
}

// blocked gives a cluster whose leader's log stands still, a follower, and what lets it go on. The leader stays one.
func blocked(t *testing.T, timing func(*cluster.Timing)) (c *clustertest.Cluster, leader, follower int, release func()) {
	t.Helper()
	c = clustertest.New(t, 3, clustertest.WithConfig(func(_ int, cfg *cluster.Config) {
		cfg.Timing.SlowWrite = time.Hour
		timing(&cfg.Timing)
	}))
	leader, follower = c.LeaderIndex(), c.FollowerIndex()
	return c, leader, follower, c.HoldDisk(leader)
}

// TestFullQueueTellsToComeBack fills the leader's queue from a follower and at the leader, while its log is blocked.
func TestFullQueueTellsToComeBack(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"leader", "follower"} {
		t.Run(at, func(t *testing.T) {
			c, l, f, release := blocked(t, func(tm *cluster.Timing) { tm.QueueBytes = 256 << 10 })
			n := c.Node(l)
			if at == "follower" {
				n = c.Node(f)
			}
			var wg sync.WaitGroup
			var done sync.Map
			var refused atomic.Int64
			var pause atomic.Int64
			for i := range 200 {
				wg.Go(func() {
					name := fmt.Sprint("w", i)
					err := n.Update(t.Context(), putWide(name, 8<<10))
					var me *model.Error
					switch {
					case err == nil:
						done.Store(name, true)
					case errors.As(err, &me) && me.Code == model.Unavailable:
						refused.Add(1)
						pause.Store(int64(me.RetryAfter))
						done.Store(name, false)
					default:
						t.Errorf("%s: %v", name, err)
					}
				})
			}
			clustertest.WaitFor(t, "refusals", func() bool { return refused.Load() > 50 })
			if time.Duration(pause.Load()) <= 0 {
				t.Error("a refusal does not say when to come back")
			}
			release()
			wg.Wait()
			v, err := n.View(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			taken := 0
			done.Range(func(name, ok any) bool {
				if has(v, name.(string)) != ok.(bool) {
					t.Errorf("%s: acknowledged %v, in the state %v", name, ok, !ok.(bool))
				}
				if ok.(bool) {
					taken++
				}
				return true
			})
			if taken < 10 {
				t.Errorf("%d were taken: the queue holds nothing", taken)
			}
			if err := n.Update(t.Context(), putWide("afterwards", 8<<10)); err != nil {
				t.Errorf("once the log moves again: %v", err)
			}
		})
	}
}

// TestDeadlinesTravel lets deadlines of a follower's clients pass while the leader's log is blocked. What was not
// proposed by then is told as not done, and is not done later either.
func TestDeadlinesTravel(t *testing.T) {
	t.Parallel()
	c, _, f, release := blocked(t, func(*cluster.Timing) {})
	n := c.Node(f)
	var wg sync.WaitGroup
	var mu sync.Mutex
	told := map[string]model.Code{}
	sum := map[model.Code]int{}
	// More than the entries in flight take. On a busy machine the leader's word may come too late for a short deadline.
	for round := 0; sum[model.Unavailable] < 10 && round < 5; round++ {
		for i := range 64 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second<<round)
				defer cancel()
				name := fmt.Sprint("w", round, "-", i)
				err := n.Update(ctx, putWide(name, 12<<10))
				mu.Lock()
				defer mu.Unlock()
				told[name] = model.CodeOf(err)
				sum[told[name]]++
			})
		}
		wg.Wait()
	}
	release()
	clustertest.WaitFor(t, "the log to move", func() bool { return n.Update(t.Context(), increment("x")) == nil })
	v, err := n.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, code := range told {
		if code == model.Unavailable && has(v, name) {
			t.Errorf("%s was told not to be done, and is", name)
		}
	}
	if sum[model.Unavailable] < 10 || sum[model.Unavailable]+sum[model.Unknown] != len(told) {
		t.Errorf("told: %v", sum)
	}
}

// TestSmallCommitsPassAFloodOfBigOnes keeps both lanes of every node full of big commits.
func TestSmallCommitsPassAFloodOfBigOnes(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3)
	var bigs, smalls atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	work := func(n *cluster.Node, name string, size int, count *atomic.Int64) {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := n.Update(t.Context(), putWide(name, size)); err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				count.Add(1)
			}
		})
	}
	for i, n := range c.Nodes() {
		for k := range 8 {
			work(n, fmt.Sprint("big", i, k), 200<<10, &bigs)
		}
	}
	clustertest.WaitFor(t, "the flood", func() bool { return bigs.Load() > 24 })
	b := bigs.Load()
	for i, n := range c.Nodes() {
		work(n, fmt.Sprint("small", i), 100, &smalls)
	}
	clustertest.WaitFor(t, "small commits", func() bool { return smalls.Load() > 60 })
	waves := float64(bigs.Load()-b) / 24 // a commit in one queue with the big ones would wait for all 24
	close(stop)
	wg.Wait()
	t.Logf("%d big ones while 60 small ones of three clients went by", bigs.Load()-b)
	if waves > 12 {
		t.Errorf("the flood moved by %.0f queues while each small client did 20 commits: these wait behind it", waves)
	}
}

// TestSameBytesAgain loses the answer to a commit that was applied: sent again, it takes effect no second time.
func TestSameBytesAgain(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3)
	for i, n := range c.Nodes() {
		name, tries := fmt.Sprint("x", i), 0
		err := n.UpdateThrough(t.Context(), nil, func(try int) bool { tries++; return try < 3 }, increment(name))
		if err != nil {
			t.Fatal(err)
		}
		v, err := n.View(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := count(v, name); got != 1 || tries != 4 {
			t.Errorf("after %d tries, each of which was applied, it reads %d", tries, got)
		}
	}
}

// TestSameBytesToTheNextLeader kills the leader between the commit and its answer.
func TestSameBytesToTheNextLeader(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3)
	l, f := c.LeaderIndex(), c.FollowerIndex()
	tries := 0
	err := c.Node(f).UpdateThrough(t.Context(), nil, func(try int) bool {
		if tries++; try > 0 {
			return false
		}
		c.Kill(l)
		return true
	}, increment("x"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := c.Node(f).View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := count(v, "x"); got != 1 || tries < 2 {
		t.Errorf("after %d tries at two leaders it reads %d", tries, got)
	}
}

// TestTooOldAtFirstRunsAgain makes a commit too old before its first try.
func TestTooOldAtFirstRunsAgain(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3)
	for i, n := range c.Nodes() {
		name, runs := fmt.Sprint("x", i), 0
		err := n.Update(t.Context(), func(tx *state.Tx) error {
			if runs++; runs == 1 {
				if err := c.Leader().NewEpoch(); err != nil {
					return err
				}
			}
			return increment(name)(tx)
		})
		if err != nil {
			t.Fatal(err)
		}
		v, err := n.View(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := count(v, name); got != 1 || runs < 2 {
			t.Errorf("after %d runs it reads %d", runs, got)
		}
	}
}

// TestTooOldOnARepeatIsUnknown makes a commit too old after a try whose outcome is not known: it is never run again.
func TestTooOldOnARepeatIsUnknown(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3)
	for i, n := range c.Nodes() {
		name, runs := fmt.Sprint("x", i), 0
		err := n.UpdateThrough(t.Context(), func(try int) bool {
			if try > 0 {
				return false
			}
			if err := c.Leader().NewEpoch(); err != nil {
				t.Error(err)
			}
			return true
		}, nil, func(tx *state.Tx) error { runs++; return increment(name)(tx) })
		if model.CodeOf(err) != model.Unknown || !strings.Contains(err.Error(), "look before trying again") {
			t.Errorf("on %s: %v", n.Name(), err)
		}
		v, err := n.View(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := count(v, name); got != 0 || runs != 1 {
			t.Errorf("after %d runs it reads %d", runs, got)
		}
	}
}
