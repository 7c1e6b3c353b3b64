package torture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/muster-hq/muster/deploy/site"
)

// fault hurts the lab and gives what ends it, which tells how much it was felt: packets lost, or 1.
type fault struct {
	name string
	do   func(l *lab, c *crowd) (end func() int)
}

// TestTorture hurts the cluster in one way after the other while clients write and read. After each, what was
// acknowledged is on every node. MUSTER_TORTURE says for how long (else once each), MUSTER_SEED repeats an order,
// MUSTER_FAULTS picks some by their names.
func TestTorture(t *testing.T) {
	if testing.Short() {
		t.Skip("not in the short run")
	}
	seed := rand.Uint64()
	if s := os.Getenv("MUSTER_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("MUSTER_SEED: %v", err)
		}
	}
	t.Logf("MUSTER_SEED=%d", seed)
	duration, hold := time.Duration(0), 1500*time.Millisecond
	if s := os.Getenv("MUSTER_TORTURE"); s != "" {
		var err error
		if duration, err = time.ParseDuration(s); err != nil {
			t.Fatalf("MUSTER_TORTURE: %v", err)
		}
		hold = 5 * time.Second
	}
	r := rand.New(rand.NewPCG(seed, 0))
	l := newLab(t, filepath.Dir(build(t, filepath.Join("..", ".."), "new")))
	for began, round := time.Now(), 1; round == 1 || time.Since(began) < duration; round++ {
		l.round(fmt.Sprint("round", round), r, hold)
	}
}

// round does each fault once, in any order.
func (l *lab) round(name string, r *rand.Rand, hold time.Duration) {
	l.t.Helper()
	c := newCrowd(l, name)
	stop := c.run(r)
	defer func() {
		if stop != nil {
			stop()
		}
	}()
	list := faults()
	if pick := os.Getenv("MUSTER_FAULTS"); pick != "" {
		list = slices.DeleteFunc(list, func(f fault) bool { return !regexp.MustCompile(pick).MatchString(f.name) })
	}
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	for _, f := range list {
		l.hurt(c, f, hold+time.Duration(r.IntN(1000))*time.Millisecond)
		if l.t.Failed() {
			l.t.FailNow()
		}
	}
	stop()
	stop = nil
	c.judge()
}

// hurt does one fault and waits until all is well again.
func (l *lab) hurt(c *crowd, f fault, hold time.Duration) {
	l.t.Helper()
	l.alive(c, time.Now())
	term := l.term()
	began := time.Now()
	end := f.do(l, c)
	l.t.Logf("%s: %s", began.UTC().Format("15:04:05.000"), f.name)
	pass(l.t, hold)
	felt := end()
	healed := time.Now()
	silent := c.silence(began, healed)
	write := l.alive(c, healed)
	l.ready()
	ready := time.Since(healed)
	l.leads()
	lost, acked := c.missing()
	terms := l.term() - term
	l.t.Logf("%-34s %4.1f s; longest without a write %5d ms, after its end %5d ms, all ready %5d ms; %d terms; felt %d; %d acknowledged, %d lost",
		f.name, healed.Sub(began).Seconds(), silent.Milliseconds(), write.Milliseconds(), ready.Milliseconds(), terms, felt, acked, lost)
	if felt == 0 {
		l.t.Errorf("%s was not felt: this proves nothing", f.name)
	}
	for _, n := range l.site.Nodes {
		if !n.Running() {
			l.t.Errorf("%s has ended:\n%s", n.Name, said(n))
		}
	}
}

// alive waits for a write that begins after a moment, and gives how long after.
func (l *lab) alive(c *crowd, after time.Time) (d time.Duration) {
	l.t.Helper()
	l.await("a write through the load balancer", func(context.Context) (ok bool, _ error) {
		d, ok = c.firstWrite(after)
		return ok, nil
	})
	return d
}

// pass lets d pass for those who work meanwhile.
func pass(t *testing.T, d time.Duration) {
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

func (l *lab) node(i int) *site.Node { return l.site.Nodes[i] }

// term is the term of the cluster.
func (l *lab) term() uint64 {
	l.t.Helper()
	var term uint64
	l.await("a node that knows the leader", func(ctx context.Context) (bool, error) {
		st, err := l.site.Status(ctx)
		term = st.Term
		return err == nil, err
	})
	return term
}
