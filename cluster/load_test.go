package cluster_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
	"github.com/muster-hq/muster/fsm/model"
)

// load is clients that work on objects, a few at a time, and keep the histories.
type load struct {
	t      *testing.T
	c      *clustertest.Cluster
	begin  time.Time
	cheat  cheat
	name   string // begins the objects' names
	values atomic.Int64
	done   [opKinds]atomic.Int64 // acknowledged, by kind
	unsure atomic.Int64
	again  atomic.Int64 // operations that were repeated under their key and then known
	clock  atomic.Int64 // the latest of the leader's time that anybody was told

	mu   sync.Mutex
	live [liveObjects]*history
	all  []*history
}

const (
	liveObjects   = 4                       // worked on at the same time
	historyLength = 60                      // operations begun on an object before the next one takes its place
	opLimit       = 1500 * time.Millisecond // of one attempt
	clockLimit    = 10 * time.Second        // the leader's time never goes back more; clocks are minutes apart
)

func newLoad(t *testing.T, c *clustertest.Cluster) *load {
	return &load{t: t, c: c, begin: time.Now()}
}

// run has clients work, a few on each of three nodes; what it gives ends and awaits them.
func (l *load) run(r *rand.Rand) (stop func()) {
	ended := make(chan struct{})
	var wg sync.WaitGroup
	for id := range 9 {
		cr := rand.New(rand.NewPCG(r.Uint64(), 0))
		wg.Go(func() { l.client(id, id%3, cr, ended) })
	}
	return func() { close(ended); wg.Wait() }
}

// pick is one of the present objects.
func (l *load) pick(r *rand.Rand) *history {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := r.IntN(liveObjects)
	if h := l.live[i]; h == nil || h.started >= historyLength {
		l.live[i] = &history{object: fmt.Sprint(l.name, "object-", len(l.all)), begin: l.begin}
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
		if l.c.Node(node) == nil {
			continue
		}
		h, kind := l.pick(r), opKind(r.IntN(int(opKinds)))
		switch {
		case kind == opRead:
			l.read(id, node, h)
		case r.IntN(2) == 0:
			l.write(id, node, h, kind, "", stop)
		default:
			l.write(id, node, h, kind, fmt.Sprintf("%d-%d", id, r.Uint64()), stop)
		}
	}
}

// read reads an object. What fails is not noted.
func (l *load) read(id, node int, h *history) {
	n := l.c.Node(node)
	ctx, cancel := context.WithTimeout(l.t.Context(), opLimit)
	defer cancel()
	call, before := h.now(), l.clock.Load()
	v, err := n.View(ctx)
	if err != nil {
		if model.CodeOf(err) != model.Unavailable {
			l.t.Errorf("a read on %s: %v", n.Name(), err)
		}
		return
	}
	l.tick(before, v.Now())
	l.done[opRead].Add(1)
	h.add(id, opIn{kind: opRead}, l.cheat.read(v, h.object), call)
}

// tick notes the leader's time of an answer, and compares it with what was told before the question.
func (l *load) tick(before int64, now time.Time) {
	if back := before - now.UnixNano(); time.Duration(back) > clockLimit {
		l.t.Errorf("the leader's time went back by %s: a clock that is not the leader's was asked, or not from where it stood", time.Duration(back))
	}
	for {
		last := l.clock.Load()
		if now.UnixNano() <= last || l.clock.CompareAndSwap(last, now.UnixNano()) {
			return
		}
	}
}

// write does an operation that writes, and notes it. What was told not to have happened is not noted: had it
// happened all the same, others would see a value that nobody wrote. With a key, an operation of unknown outcome is
// repeated under it until the outcome is known, or stop.
func (l *load) write(id, node int, h *history, kind opKind, key string, stop <-chan struct{}) {
	in := opIn{kind: kind, value: int(l.values.Add(1))}
	call, unknown, tries := h.now(), false, 0
	for {
		var out seen
		err := l.attempt(l.c.Node(node), h, in, key, &out)
		tries++
		switch model.CodeOf(err) {
		case "":
			if unknown {
				l.again.Add(1)
			}
			l.done[kind].Add(1)
			h.add(id, in, out, call)
			return
		case model.Unavailable:
			if !unknown {
				return
			}
		case model.Unknown:
			unknown = true
		default:
			l.t.Errorf("%s on node %d: %v", kind, node, err)
			return
		}
		select {
		case <-stop:
			key = ""
		default:
		}
		if key == "" || tries > 20 {
			l.unsure.Add(1)
			h.add(id, in, seen{unknown: true}, call)
			return
		}
	}
}

// attempt is one try. A node that is gone is waited for a moment.
func (l *load) attempt(n *cluster.Node, h *history, in opIn, key string, out *seen) error {
	ctx, cancel := context.WithTimeout(l.t.Context(), opLimit)
	defer cancel()
	if n == nil {
		wait(l.t, 100*time.Millisecond)
		return model.Errorf(model.Unavailable, "the node is gone")
	}
	return l.cheat.write(ctx, n, h.object, in, key, out)
}

// finalReads reads each object on each node: what was acknowledged is there to the end.
func (l *load) finalReads() {
	for i := range 3 {
		for _, h := range l.all {
			call := h.now()
			v, err := l.c.Node(i).View(l.t.Context())
			if err != nil {
				l.t.Fatalf("the last read on node %d: %v", i, err)
			}
			h.add(100+i, opIn{kind: opRead}, observe(v, h.object), call)
		}
	}
}

// judge has each history checked, and counts those that are wrong.
func (l *load) judge() (wrong int, report string) {
	for _, h := range l.all {
		if res, text := h.check(); res != porcupine.Ok {
			wrong++
			report = fmt.Sprintf("the history of %s is not linearizable (%s):\n%s", h.object, res, text)
		}
	}
	return wrong, report
}

// sameState waits until all nodes have applied the same, and compares what they hold.
func sameState(t *testing.T, c *clustertest.Cluster) {
	t.Helper()
	var prints []string
	clustertest.WaitFor(t, "the same index on all nodes", func() bool {
		indexes := map[uint64]bool{}
		prints = nil
		for range 2 { // nothing was applied while the fingerprints were taken
			for _, n := range c.Nodes() {
				indexes[n.Store().AppliedIndex()] = true
				if len(prints) < len(c.Nodes()) {
					prints = append(prints, n.Store().Fingerprint())
				}
			}
		}
		return len(indexes) == 1
	})
	for _, p := range prints {
		if p != prints[0] {
			t.Errorf("the nodes' states differ: %q", prints)
		}
	}
}

// writes is how many operations that write were acknowledged.
func (l *load) writes() int64 {
	return l.done[opWrite].Load() + l.done[opAppend].Load() + l.done[opEdit].Load()
}
