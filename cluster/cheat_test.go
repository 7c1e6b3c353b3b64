package cluster_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
	"github.com/muster-hq/muster/fsm/state"
)

// cheat is the switch by which a test lets a fault in, between the clients and the cluster. The zero value is honest.
type cheat struct {
	fault string // "stale read", "lost write", "doubled write"
	kind  opKind // of the writes that are lost or doubled; of a stale read, what of it is stale: register or list
	every int64  // each so many operations that could be hurt is

	mu  sync.Mutex
	old map[string]seen // by object: what the first read saw
	n   atomic.Int64    // operations that could be hurt
	did atomic.Int64    // that were
}

// now says whether this operation is to be hurt.
func (c *cheat) now(fault string, kind opKind) bool {
	return c.fault == fault && c.kind == kind && c.n.Add(1)%c.every == 0
}

// read reads an object, or tells again what the first read of it saw.
func (c *cheat) read(r state.Reader, object string) seen {
	s := observe(r, object)
	if c.fault == "" {
		return s
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old, ok := c.old[object]
	if !ok {
		c.old[object] = s
		return s
	}
	if !c.now("stale read", c.kind) {
		return s
	}
	c.did.Add(1)
	if c.kind == opWrite {
		s.register = old.register
	} else {
		s.list, s.length = old.list, old.length
	}
	return s
}

// write does an operation, or says so without doing it, or does it twice.
func (c *cheat) write(ctx context.Context, n *cluster.Node, object string, in opIn, key string, out *seen) error {
	if c.now("lost write", in.kind) {
		v, err := n.View(ctx)
		if err == nil {
			c.did.Add(1)
			*out = observe(v, object)
		}
		return err
	}
	err := n.Update(ctx, perform(object, in, key, out))
	if err == nil && c.now("doubled write", in.kind) && c.repeat(ctx, n, object, in) == nil {
		c.did.Add(1)
	}
	return err
}

// repeat does an operation again once somebody has written over it: before that nothing could be seen of it.
func (c *cheat) repeat(ctx context.Context, n *cluster.Node, object string, in opIn) error {
	last := fmt.Sprintf("%d,", in.value)
	for tick := time.NewTicker(5 * time.Millisecond); ; {
		v, err := n.View(ctx)
		if err != nil {
			return err
		}
		s := observe(v, object)
		if in.kind == opAppend || in.kind == opWrite && s.register != in.value || in.kind == opEdit && !strings.HasSuffix(s.list, last) {
			var again seen
			return n.Update(ctx, perform(object, in, "", &again))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// TestHistoriesFindWhatIsLetIn switches each fault on, for the register and for the list, and expects that the histories
// tell. Switched off, the same clients are found in order.
func TestHistoriesFindWhatIsLetIn(t *testing.T) {
	c := clustertest.New(t, 3)
	r := seedOf(t)
	run := func(t *testing.T, l *load) int {
		stop := l.run(r)
		clustertest.WaitFor(t, "histories", func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return len(l.all) > 2*liveObjects && (l.cheat.fault == "" || l.cheat.did.Load() >= 5)
		})
		stop()
		l.finalReads()
		wrong, report := l.judge()
		if l.cheat.fault == "" && wrong > 0 {
			t.Error(report)
		}
		return wrong
	}
	names := 0
	for _, fault := range []string{"", "stale read", "lost write", "doubled write"} {
		for _, kind := range []opKind{opWrite, opAppend, opEdit} {
			if fault == "" && kind != opWrite || fault == "stale read" && kind == opEdit {
				continue
			}
			t.Run(fmt.Sprintf("%s %s", fault, kind), func(t *testing.T) {
				l := newLoad(t, c)
				names++
				l.name = fmt.Sprint("cheat-", names, "-")
				l.cheat.fault, l.cheat.kind, l.cheat.every, l.cheat.old = fault, kind, 10, map[string]seen{}
				wrong := run(t, l)
				if wrong == 0 && fault != "" {
					t.Errorf("%d operations were hurt, and no history of %d tells", l.cheat.did.Load(), len(l.all))
				}
				t.Logf("%d operations hurt, %d histories of %d are wrong", l.cheat.did.Load(), wrong, len(l.all))
			})
		}
	}
}
