package cluster_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
	"github.com/muster-hq/muster/fsm/model"
)

// seedOf is MUSTER_SEED, or a new one; it is logged, to repeat a run with.
func seedOf(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("MUSTER_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("MUSTER_SEED: %v", err)
		}
	}
	t.Logf("MUSTER_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// load is clients that work on objects, a few at a time, and keep the histories.
type load struct {
	t      *testing.T
	c      *clustertest.Cluster
	begin  time.Time
	values atomic.Int64
	done   [3]atomic.Int64 // acknowledged, by kind
	unsure atomic.Int64

	mu   sync.Mutex
	live [liveObjects]*history
	all  []*history
}

const (
	liveObjects   = 4  // worked on at the same time
	historyLength = 60 // operations begun on an object before the next one takes its place
)

// pick is one of the present objects.
func (l *load) pick(r *rand.Rand) *history {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := r.IntN(liveObjects)
	if h := l.live[i]; h == nil || h.started >= historyLength {
		l.live[i] = &history{object: fmt.Sprint("object-", len(l.all)), begin: l.begin}
		l.all = append(l.all, l.live[i])
	}
	l.live[i].started++
	return l.live[i]
}

// client works through one node until stop.
func (l *load) client(id, node int, r *rand.Rand, stop <-chan struct{}) {
	pace := time.NewTicker(8 * time.Millisecond)
	defer pace.Stop()
	for {
		select {
		case <-stop:
			return
		case <-pace.C:
		}
		if n := l.c.Node(node); n != nil {
			l.one(id, n, l.pick(r), opKind(r.IntN(3)))
		}
	}
}

// one does one operation and notes it. What was told not to have happened is not noted: had it happened all the
// same, others would see a value that nobody wrote.
func (l *load) one(id int, n *cluster.Node, h *history, kind opKind) {
	ctx, cancel := context.WithTimeout(l.t.Context(), 1500*time.Millisecond)
	defer cancel()
	in := opIn{kind: kind}
	var out seen
	call := h.now()
	var err error
	if kind == opRead {
		v, e := n.View(ctx)
		if err = e; err == nil {
			out = observe(v, h.object)
		}
	} else {
		in.value = int(l.values.Add(1))
		err = n.Update(ctx, perform(h.object, in, &out))
	}
	switch model.CodeOf(err) {
	case "":
		l.done[kind].Add(1)
	case model.Unavailable:
		return
	case model.Unknown:
		l.unsure.Add(1)
		out = seen{unknown: true}
	default:
		l.t.Errorf("%s on %s: %v", kind, n.Name(), err)
		return
	}
	h.add(id, in, out, call)
}

// fault does something to the cluster and gives what ends it.
type fault struct {
	name string
	do   func(c *clustertest.Cluster) (end func())
}

func kill(c *clustertest.Cluster, i int) func() {
	c.Kill(i)
	return func() { c.Restart(i) }
}

// others are the two that do not lead.
func others(c *clustertest.Cluster) (leader, a, b int) {
	l := c.LeaderIndex()
	return l, (l + 1) % 3, (l + 2) % 3
}

func faults() []fault {
	return []fault{
		{"leader killed", func(c *clustertest.Cluster) func() { return kill(c, c.LeaderIndex()) }},
		{"follower killed", func(c *clustertest.Cluster) func() { return kill(c, c.FollowerIndex()) }},
		{"leader alone", func(c *clustertest.Cluster) func() { c.Isolate(c.LeaderIndex()); return c.Heal }},
		{"follower alone", func(c *clustertest.Cluster) func() { c.Isolate(c.FollowerIndex()); return c.Heal }},
		{"a bridge beside the leader", func(c *clustertest.Cluster) func() {
			l, a, _ := others(c)
			c.Cut(l, a)
			return c.Heal
		}},
		{"the leader is the bridge", func(c *clustertest.Cluster) func() {
			_, a, b := others(c)
			c.Cut(a, b)
			return c.Heal
		}},
		{"the leader is not heard", func(c *clustertest.Cluster) func() {
			l, a, b := others(c)
			c.CutOneWay(l, a)
			c.CutOneWay(l, b)
			return c.Heal
		}},
		{"the leader does not hear", func(c *clustertest.Cluster) func() {
			l, a, b := others(c)
			c.CutOneWay(a, l)
			c.CutOneWay(b, l)
			return c.Heal
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

// TestLinearizableUnderFaults works on all nodes while the cluster is hurt in every way that a network and a power
// cut can, and has each history checked: registers and lists, with what each write saw before it.
func TestLinearizableUnderFaults(t *testing.T) {
	r := seedOf(t)
	c := clustertest.New(t, 3, clustertest.WithConfig(func(_ int, cfg *cluster.Config) {
		cfg.Timing.SnapshotEntries, cfg.Timing.TrailingLogs, cfg.Timing.SnapshotCheck = 256, 64, 300*time.Millisecond
	}))
	l := &load{t: t, c: c, begin: time.Now()}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for id := range 9 {
		cr := rand.New(rand.NewPCG(r.Uint64(), 0))
		wg.Go(func() { l.client(id, id%3, cr, stop) })
	}
	terms := map[uint64]bool{}
	list := faults()
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	for _, f := range list {
		wait(t, time.Duration(300+r.IntN(400))*time.Millisecond)
		terms[c.Leader().Store().Term()] = true
		lost, before := c.Lost(), l.done[opWrite].Load()
		end := f.do(c)
		wait(t, time.Duration(500+r.IntN(1300))*time.Millisecond)
		end()
		t.Logf("%s: %d sends lost, %d writes meanwhile", f.name, c.Lost()-lost, l.done[opWrite].Load()-before)
	}
	clustertest.WaitFor(t, "a write on each node after the last fault", func() bool {
		for i := range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err := c.Node(i).Update(ctx, increment("end"))
			cancel()
			if err != nil {
				return false
			}
		}
		return true
	})
	close(stop)
	wg.Wait()
	terms[c.Leader().Store().Term()] = true
	for i := range 3 { // what was acknowledged is there to the end, on each
		for _, h := range l.all {
			l.one(100+i, c.Node(i), h, opRead)
		}
	}
	l.judge(c.Lost(), len(terms))
}

// judge has the histories checked, and the run itself: one in which little happened proves nothing.
func (l *load) judge(lost int64, terms int) {
	t := l.t
	reads, writes, appends := l.done[opRead].Load(), l.done[opWrite].Load(), l.done[opAppend].Load()
	t.Logf("%d histories, %d reads, %d writes, %d appends, %d of unknown outcome, %d terms, %d sends lost", len(l.all), reads, writes, appends, l.unsure.Load(), terms, lost)
	if lost < 20 || terms < 3 || min(reads, writes, appends) < 200 || len(l.all) < 10 {
		t.Error("hardly anything was hurt or done: this run proves nothing")
	}
	planted := map[string]bool{"stale read": false, "lost write": false, "doubled write": false}
	for _, h := range l.all {
		if res, text := h.check(); res != porcupine.Ok {
			t.Errorf("the history of %s is not linearizable (%s):\n%s", h.object, res, text)
			continue
		}
		for f, found := range planted {
			if !found && plant(h, f) {
				if res, text := h.check(); res != porcupine.Illegal {
					t.Errorf("a %s planted into the history of %s was not found (%s):\n%s", f, h.object, res, text)
				}
				planted[f] = true
				break // the history is spoilt
			}
		}
	}
	for f, found := range planted {
		if !found {
			t.Errorf("no history could take a %s", f)
		}
	}
}
