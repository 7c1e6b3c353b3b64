package cluster_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
)

// seeds gives the seeds of a run: MUSTER_SEED alone, or new ones.
func seeds(t *testing.T) func() (seed uint64, more bool) {
	t.Helper()
	text := os.Getenv("MUSTER_SEED")
	if text == "" {
		turn := rand.Uint64()
		return func() (uint64, bool) { turn++; return rand.Uint64()&^1 | turn&1, true } // even and odd in turns
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("MUSTER_SEED: %v", err)
	}
	first := true
	return func() (uint64, bool) {
		defer func() { first = false }()
		return seed, first
	}
}

// seedOf is MUSTER_SEED, or a new one; it is logged, to repeat a run with.
func seedOf(t *testing.T) *rand.Rand {
	t.Helper()
	seed, _ := seeds(t)()
	t.Logf("MUSTER_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// fault does something to the cluster and gives what ends it.
type fault struct {
	name string
	do   func(c *clustertest.Cluster, r *rand.Rand) (end func())
}

func kill(c *clustertest.Cluster, nodes ...int) func() {
	for _, i := range nodes {
		c.Kill(i)
	}
	return func() {
		for _, i := range nodes {
			c.Restart(i)
		}
	}
}

// others are the two that do not lead.
func others(c *clustertest.Cluster) (leader, a, b int) {
	l := c.LeaderIndex()
	return l, (l + 1) % 3, (l + 2) % 3
}

// flap isolates a node and heals, again and again.
func flap(c *clustertest.Cluster, r *rand.Rand, node int) (end func()) {
	stop, ended := make(chan struct{}), make(chan struct{})
	up, down := time.Duration(50+r.IntN(300))*time.Millisecond, time.Duration(50+r.IntN(300))*time.Millisecond
	go func() {
		defer close(ended)
		for cut := false; ; cut = !cut {
			d := up
			if cut {
				c.Heal()
			} else {
				c.Isolate(node)
				d = down
			}
			select {
			case <-stop:
				return
			case <-time.After(d):
			}
		}
	}()
	return func() { close(stop); <-ended; c.Heal() }
}

// slow slows disks down.
func slow(c *clustertest.Cluster, d time.Duration, nodes ...int) func() {
	for _, i := range nodes {
		c.SlowDisk(i, d)
	}
	return func() {
		for _, i := range nodes {
			c.SlowDisk(i, 0)
		}
	}
}

func faults() []fault {
	ms := func(r *rand.Rand, low, high int) time.Duration {
		return time.Duration(low+r.IntN(high-low)) * time.Millisecond
	}
	return []fault{
		{"leader killed", func(c *clustertest.Cluster, _ *rand.Rand) func() { return kill(c, c.LeaderIndex()) }},
		{"follower killed", func(c *clustertest.Cluster, _ *rand.Rand) func() { return kill(c, c.FollowerIndex()) }},
		{"majority killed", func(c *clustertest.Cluster, _ *rand.Rand) func() { l, a, _ := others(c); return kill(c, a, l) }},
		{"all killed", func(c *clustertest.Cluster, _ *rand.Rand) func() { l, a, b := others(c); return kill(c, a, l, b) }},
		{"leader alone", func(c *clustertest.Cluster, _ *rand.Rand) func() { c.Isolate(c.LeaderIndex()); return c.Heal }},
		{"follower alone", func(c *clustertest.Cluster, _ *rand.Rand) func() { c.Isolate(c.FollowerIndex()); return c.Heal }},
		{"a bridge beside the leader", func(c *clustertest.Cluster, _ *rand.Rand) func() {
			l, a, _ := others(c)
			c.Cut(l, a)
			return c.Heal
		}},
		{"the leader is the bridge", func(c *clustertest.Cluster, _ *rand.Rand) func() {
			_, a, b := others(c)
			c.Cut(a, b)
			return c.Heal
		}},
		{"the leader is not heard", func(c *clustertest.Cluster, _ *rand.Rand) func() {
			l, a, b := others(c)
			c.CutOneWay(l, a)
			c.CutOneWay(l, b)
			return c.Heal
		}},
		{"the leader does not hear", func(c *clustertest.Cluster, _ *rand.Rand) func() {
			l, a, b := others(c)
			c.CutOneWay(a, l)
			c.CutOneWay(b, l)
			return c.Heal
		}},
		{"leader flaps", func(c *clustertest.Cluster, r *rand.Rand) func() { return flap(c, r, c.LeaderIndex()) }},
		{"follower flaps", func(c *clustertest.Cluster, r *rand.Rand) func() { return flap(c, r, c.FollowerIndex()) }},
		{"the leader's disk is slow", func(c *clustertest.Cluster, r *rand.Rand) func() {
			return slow(c, ms(r, 30, 400), c.LeaderIndex())
		}},
		{"a follower's disk is slow", func(c *clustertest.Cluster, r *rand.Rand) func() {
			return slow(c, ms(r, 30, 400), c.FollowerIndex())
		}},
		{"all disks are slow", func(c *clustertest.Cluster, r *rand.Rand) func() { return slow(c, ms(r, 10, 80), 0, 1, 2) }},
		{"a slow leader is cut off", func(c *clustertest.Cluster, r *rand.Rand) func() {
			l := c.LeaderIndex()
			fast := slow(c, ms(r, 30, 200), l)
			c.Isolate(l)
			return func() { c.Heal(); fast() }
		}},
		{"a follower is killed while the other flaps", func(c *clustertest.Cluster, r *rand.Rand) func() {
			_, a, b := others(c)
			restart := kill(c, a)
			still := flap(c, r, b)
			return func() { still(); restart() }
		}},
	}
}

// wait lets d pass for those who work meanwhile.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

// historiesFor is how long histories are made: MUSTER_HISTORIES, or a minute.
func historiesFor(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("MUSTER_HISTORIES")
	if text == "" && testing.Short() {
		return time.Second // one round
	}
	if text == "" {
		return time.Minute
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("MUSTER_HISTORIES: %v", err)
	}
	return d
}

// TestLinearizableUnderFaults works on all nodes while the cluster is hurt in every way that a network, disks and a
// power cut can, and has each history checked: registers and lists, with what each write saw before it. Each round is
// a cluster of its own, whose clocks are minutes apart; the log stores take turns. MUSTER_HISTORIES says for how long, MUSTER_SEED repeats a round.
func TestLinearizableUnderFaults(t *testing.T) {
	began, limit := time.Now(), historiesFor(t)
	for next := seeds(t); ; {
		seed, more := next()
		if !more || time.Since(began) > limit {
			return
		}
		if !t.Run(fmt.Sprint("MUSTER_SEED=", seed), func(t *testing.T) { round(t, rand.New(rand.NewPCG(seed, 0)), storeOf(seed)) }) {
			t.Fatalf("repeat it with MUSTER_SEED=%d", seed)
		}
	}
}

// storeOf is the log store of a round: each in turn.
func storeOf(seed uint64) string {
	if seed%2 == 0 {
		return cluster.StoreBolt
	}
	return cluster.StoreWAL
}

func round(t *testing.T, r *rand.Rand, store string) {
	t.Logf("log store %s", store)
	skews := [3]time.Duration{}
	for i := range skews {
		skews[i] = time.Duration(r.IntN(1200)-600) * time.Second
	}
	c := clustertest.New(t, 3, clustertest.WithStore(store), clustertest.WithConfig(func(i int, cfg *cluster.Config) {
		cfg.Timing.Heartbeat, cfg.Timing.LeaderLease = 0, 0 // those that are shipped
		cfg.Timing.SnapshotEntries, cfg.Timing.TrailingLogs, cfg.Timing.SnapshotCheck = 256, 64, 300*time.Millisecond
		cfg.Now = func() time.Time { return time.Now().Add(skews[i]) }
	}))
	l := newLoad(t, c)
	stop := l.run(r)
	terms := map[uint64]bool{}
	list := faults()
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	for _, f := range list {
		wait(t, time.Duration(300+r.IntN(400))*time.Millisecond)
		terms[c.Leader().Store().Term()] = true
		lost, late, before := c.Lost(), c.LateWrites(), l.writes()
		end := f.do(c, r)
		wait(t, time.Duration(400+r.IntN(1000))*time.Millisecond)
		end()
		t.Logf("%s: %d sends lost, %d writes to disk late, %d writes meanwhile", f.name, c.Lost()-lost, c.LateWrites()-late, l.writes()-before)
	}
	clustertest.WaitFor(t, "a write on each node after the last fault", func() bool {
		for i := range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), opLimit)
			err := c.Node(i).Update(ctx, increment("end"))
			cancel()
			if err != nil {
				return false
			}
		}
		return true
	})
	stop()
	terms[c.Leader().Store().Term()] = true
	l.finalReads()
	sameState(t, c)
	if wrong, report := l.judge(); wrong > 0 {
		t.Errorf("%d of %d histories are wrong. %s", wrong, len(l.all), report)
	}
	reads, least := l.done[opRead].Load(), min(l.done[opWrite].Load(), l.done[opAppend].Load(), l.done[opEdit].Load())
	t.Logf("%d histories, %d reads, %d writes, at least %d of a kind, %d of unknown outcome, %d known by their key, %d terms, %d sends lost, %d writes to disk late",
		len(l.all), reads, l.writes(), least, l.unsure.Load(), l.again.Load(), len(terms), c.Lost(), c.LateWrites())
	if c.Lost() < 20 || c.LateWrites() < 5 || len(terms) < 4 || reads < 200 || least < 100 || len(l.all) < 10 {
		t.Error("hardly anything was hurt or done: this run proves nothing")
	}
}
