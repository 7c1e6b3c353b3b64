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

// counter is a row for tests.
type counter = clustertest.Counter

func put(name string, v int) func(*state.Tx) error {
	return func(tx *state.Tx) error { return state.Put(tx, &counter{Name: name, Count: v}) }
}

func increment(name string) func(*state.Tx) error {
	return func(tx *state.Tx) error {
		c, ok := state.Edit[counter](tx, name)
		if !ok {
			c = &counter{Name: name}
		}
		c.Count++
		return state.Put(tx, c)
	}
}

func count(r state.Reader, name string) int {
	c, ok := state.Get[counter](r, name)
	if !ok {
		return 0
	}
	return c.Count
}

func TestAnyNodeWritesAndReads(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3)
	ctx := t.Context()
	for i := range 30 {
		w, r := c.Node(i%3), c.Node((i+1)%3)
		if err := w.Update(ctx, put("x", i)); err != nil {
			t.Fatalf("writing on %s: %v", w.Name(), err)
		}
		v, err := r.View(ctx)
		if err != nil {
			t.Fatalf("reading on %s: %v", r.Name(), err)
		}
		if got := count(v, "x"); got != i {
			t.Fatalf("%s read %d after %s had written %d", r.Name(), got, w.Name(), i)
		}
	}
}

func TestErrorsOfTheClosurePassThrough(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 1)
	mine := errors.New("mine")
	if err := c.Node(0).Update(t.Context(), func(*state.Tx) error { return mine }); err != mine {
		t.Errorf("got %v", err)
	}
	if err := c.Node(0).Update(t.Context(), func(*state.Tx) error { return nil }); err != nil {
		t.Errorf("nothing written: %v", err)
	}
}

func TestConflictsAreRetriedOnEveryNode(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3)
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			for range 10 {
				if err := c.Node(i%3).Update(t.Context(), increment("n")); err != nil {
					t.Errorf("node %d: %v", i%3, err)
				}
			}
		})
	}
	wg.Wait()
	for i := range 3 {
		v, err := c.Node(i).View(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := count(v, "n"); got != 120 {
			t.Errorf("node %d counts %d of 120", i, got)
		}
	}
}

func TestLeaderKilledUnderLoad(t *testing.T) {
	t.Parallel()
	stores(t, testLeaderKilledUnderLoad)
}

func testLeaderKilledUnderLoad(t *testing.T, store string) {
	c := clustertest.New(t, 3, clustertest.WithStore(store))
	l := c.LeaderIndex()
	var acked, unknown [6]atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 6 { // two writers a node, each with a row of its own and one that all share
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				n := c.Node(w % 3)
				if n == nil {
					return
				}
				switch err := n.Update(t.Context(), increment(fmt.Sprint(w))); model.CodeOf(err) {
				case "":
					acked[w].Add(1)
				case model.Unknown:
					unknown[w].Add(1)
				case model.Unavailable:
				default:
					t.Errorf("writer %d: %v", w, err)
				}
			}
		})
	}
	total := func() (sum int64) {
		for i := range acked {
			sum += acked[i].Load()
		}
		return sum
	}
	clustertest.WaitFor(t, "load", func() bool { return total() > 100 })
	c.Kill(l)
	before := total()
	clustertest.WaitFor(t, "load after the kill", func() bool { return total() > before+100 })
	close(stop)
	wg.Wait()
	v, err := c.Node(c.FollowerIndex()).View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for w := range acked {
		got := int64(count(v, fmt.Sprint(w)))
		if a, u := acked[w].Load(), unknown[w].Load(); got < a || got > a+u {
			t.Errorf("writer %d: %d in the state, %d acknowledged, %d unknown", w, got, a, u)
		}
	}
}

func TestLeaderAloneServesNothing(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3)
	if err := c.Leader().Update(t.Context(), put("x", 1)); err != nil {
		t.Fatal(err)
	}
	l := c.LeaderIndex()
	old := c.Node(l)
	c.Isolate(l)
	// Reads and writes begin at once, while it still holds itself for the leader.
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := old.View(ctx); model.CodeOf(err) != model.Unavailable {
				t.Errorf("reading on the old leader: %v", err)
			}
		})
		wg.Go(func() {
			if err := old.Update(ctx, put("x", 2)); model.CodeOf(err) != model.Unknown && model.CodeOf(err) != model.Unavailable {
				t.Errorf("writing on the old leader: %v", err)
			}
		})
	}
	var next *cluster.Node
	clustertest.WaitFor(t, "another leader", func() bool { next = c.Leader(); return next != old })
	if err := next.Update(t.Context(), put("x", 3)); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if got := count(old.Local(), "x"); got == 3 {
		t.Error("the network was not cut")
	}
	c.Heal()
	v, err := old.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := count(v, "x"); got != 3 {
		t.Errorf("reads %d after healing", got)
	}
}

func TestDutiesAreFenced(t *testing.T) {
	t.Parallel()
	leads := make(chan *cluster.Lead, 16)
	var running atomic.Int32
	duty := func(ctx context.Context, lead *cluster.Lead) error {
		running.Add(1)
		defer running.Add(-1)
		leads <- lead
		<-ctx.Done()
		return nil
	}
	c := clustertest.New(t, 3, clustertest.Steady(), clustertest.WithConfig(func(_ int, cfg *cluster.Config) {
		cfg.Duties = []cluster.NamedDuty{{Name: "test", Run: duty}}
	}))
	first := <-leads
	if err := first.Update(t.Context(), increment("x")); err != nil {
		t.Fatal(err)
	}
	if v, err := first.View(t.Context()); err != nil || count(v, "x") != 1 {
		t.Fatalf("the duty's view: %v", err)
	}
	if err := c.Node(c.FollowerIndex()).TransferLeadership(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	second := <-leads
	if second.Term <= first.Term || second.Epoch != first.Epoch || first.Epoch == 0 {
		t.Errorf("first %+v, second %+v", first, second)
	}
	if err := first.Update(t.Context(), increment("x")); !errors.Is(err, state.ErrFenced) {
		t.Errorf("a duty of the past wrote: %v", err)
	}
	if _, err := first.View(t.Context()); !errors.Is(err, state.ErrFenced) {
		t.Errorf("a duty of the past read: %v", err)
	}
	clustertest.WaitFor(t, "the first duty's end", func() bool { return running.Load() == 1 })
	if err := second.Update(t.Context(), increment("x")); err != nil {
		t.Fatal(err)
	}
	// Should it have looked just before its term ended, and its commit get into the log when its node leads again, the machine
	// refuses it.
	was := cluster.LeaderOf(first)
	if err := c.Leader().TransferLeadership(t.Context(), was.Name()); err != nil {
		t.Fatal(err)
	}
	clustertest.WaitFor(t, "the first leader to lead again", func() bool { return c.Leader() == was })
	undo := cluster.Resume(first)
	err := first.Update(t.Context(), increment("x"))
	undo()
	if !errors.Is(err, state.ErrFenced) {
		t.Errorf("a duty of the past wrote in a later term of its node: %v", err)
	}
	if v, err := was.View(t.Context()); err != nil || count(v, "x") != 2 {
		t.Errorf("x is %d, %v", count(v, "x"), err)
	}
}

func TestRestartFromDisk(t *testing.T) {
	t.Parallel()
	stores(t, testRestartFromDisk)
}

func testRestartFromDisk(t *testing.T, store string) {
	c := clustertest.New(t, 1, clustertest.WithStore(store))
	for range 5 {
		if err := c.Node(0).Update(t.Context(), increment("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Node(0).Snapshot(); err != nil {
		t.Fatal(err)
	}
	if err := c.Node(0).Update(t.Context(), increment("x")); err != nil {
		t.Fatal(err)
	}
	epoch := c.Node(0).Store().Epoch()
	c.Kill(0)
	c.Restart(0)
	v, err := c.Node(0).View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := count(v, "x"); got != 6 {
		t.Errorf("%d of 6 after the restart", got)
	}
	if v.Epoch() != epoch || epoch == 0 {
		t.Errorf("epoch %d, was %d", v.Epoch(), epoch)
	}
}

func TestNewcomerGetsTheSnapshot(t *testing.T) {
	t.Parallel()
	stores(t, testNewcomerGetsTheSnapshot)
}

func testNewcomerGetsTheSnapshot(t *testing.T, store string) {
	c := clustertest.New(t, 1, clustertest.WithStore(store), clustertest.WithConfig(func(_ int, cfg *cluster.Config) { cfg.Timing.TrailingLogs = 1 }))
	for i := range 50 {
		if err := c.Node(0).Update(t.Context(), put(fmt.Sprint(i), i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Node(0).Snapshot(); err != nil {
		t.Fatal(err)
	}
	n := c.Node(c.Add())
	v, err := n.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if got := count(v, fmt.Sprint(i)); got != i {
			t.Errorf("row %d is %d", i, got)
		}
	}
}

func TestRemoveAndLeave(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3)
	f := c.FollowerIndex()
	name := c.Node(f).Name()
	c.Kill(f)
	if err := c.Node(c.FollowerIndex()).Remove(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	c.WaitVoters(2)
	if err := c.Leader().Remove(t.Context(), name); model.CodeOf(err) != model.NotFound {
		t.Errorf("removing it again: %v", err)
	}
	l := c.LeaderIndex()
	if err := c.Node(l).Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	clustertest.WaitFor(t, "the end of its lead", func() bool { return !c.Node(l).IsLeader() })
	c.Kill(l)
	c.WaitVoters(1)
	if err := c.Leader().Leave(t.Context()); model.CodeOf(err) != model.Conflict || !strings.Contains(err.Error(), "only member") {
		t.Errorf("the last one left: %v", err)
	}
}

func TestStatusTellsOfTheDead(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3)
	f := c.FollowerIndex()
	c.Kill(f)
	// The two that are left may hold an election meanwhile, on a machine that is busy.
	var s *cluster.Status
	clustertest.WaitFor(t, "a leader and two that answer", func() bool {
		var err error
		if s, err = c.Node(c.FollowerIndex()).Status(t.Context()); err != nil {
			t.Fatal(err)
		}
		alive := 0
		for _, m := range s.Members {
			if m.Alive {
				alive++
			}
		}
		return s.Leader != "" && alive == 2
	})
	if s.FailureTolerance != 0 || s.Voters != 3 || s.Term == 0 || s.Epoch == 0 {
		t.Errorf("status %+v", s)
	}
	for i, m := range s.Members {
		if m.Alive == (i == f) || m.Alive == (m.Error != "") || strings.Contains(m.Error, "not done") || m.Leader != (m.Name == s.Leader) {
			t.Errorf("member %+v", m)
		}
	}
}

// TestShutdownHandsOver: a leader that stops hands over. The others would not hold an election for an hour.
func TestShutdownHandsOver(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, clustertest.WithConfig(func(i int, cfg *cluster.Config) {
		if i > 0 {
			cfg.Timing.Heartbeat, cfg.Timing.LeaderLease = time.Hour, time.Hour
		}
	}))
	if l := c.LeaderIndex(); l != 0 {
		t.Fatalf("node %d leads: this test must be brought in order", l)
	}
	old := c.Node(0)
	if err := old.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	clustertest.WaitFor(t, "the next leader", func() bool { return c.Leader() != old })
	if err := c.Leader().Update(t.Context(), put("x", 1)); err != nil {
		t.Error(err)
	}
}

// TestHandingOverToASlowDisk: the next leader needs longer to write its vote down than an election takes. The hand-over is
// neither told as failed, nor given up.
func TestHandingOverToASlowDisk(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, clustertest.WithConfig(func(_ int, cfg *cluster.Config) { cfg.Timing.SlowWrite = time.Hour }))
	for range 3 {
		f := c.FollowerIndex()
		c.SlowDisk(f, 120*time.Millisecond) // three writes: the term, and the vote in two
		if err := c.Node((f+1)%3).TransferLeadership(t.Context(), c.Node(f).Name()); err != nil {
			t.Errorf("handing over to %s: %v", c.Node(f).Name(), err)
		}
		c.SlowDisk(f, 0) // who leads by now is another question: so slow a leader may have been followed by the next
		if err := c.Node(f).Update(t.Context(), increment("x")); err != nil {
			t.Error(err)
		}
	}
	if c.LateWrites() == 0 {
		t.Error("no disk was slow: this proves nothing")
	}
}

// TestWaitingForADeposedLeaderEnds has a follower ask and write at a leader that was cut off in silence. Both go on at the
// next leader once there is one, and do not wait until their question's time is over.
func TestWaitingForADeposedLeaderEnds(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, clustertest.WithConfig(func(_ int, cfg *cluster.Config) { cfg.Timing.Attempt = 5 * time.Minute }))
	l, f, _ := others(c)
	n := c.Node(f)
	if err := n.Update(t.Context(), put("x", 1)); err != nil { // it has connections to the leader
		t.Fatal(err)
	}
	c.Isolate(l)
	ctx, cancel := context.WithTimeout(t.Context(), 2*clustertest.Patience)
	defer cancel()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := n.Update(ctx, increment("x")); err != nil {
				t.Errorf("a write that went to the old leader: %v", err)
			}
		})
		wg.Go(func() {
			if _, err := n.View(ctx); err != nil {
				t.Errorf("a read that asked the old leader: %v", err)
			}
		})
	}
	wg.Wait()
	if n.Store().Term() == c.Node(l).Store().Term() {
		t.Fatal("there was no other leader: this proves nothing")
	}
	v, err := n.View(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got := count(v, "x"); got != 9 {
		t.Errorf("8 writes after the first make %d", got)
	}
	c.Heal()
}
