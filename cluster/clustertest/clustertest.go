// Package clustertest runs a cluster in the test's process, over real ports and disks, with a network that can
// be cut and nodes that can be killed.
package clustertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/internal/freeport"
)

// Patience is how long a wait may take before the test fails.
const Patience = 60 * time.Second

// Cluster is a running cluster. Its methods fail the test on errors; call them from the test's goroutine.
type Cluster struct {
	t     testing.TB
	net   *network
	edits []func(i int, c *cluster.Config)
	mu    sync.Mutex
	nodes []*member
	out   *output
}

type member struct {
	node *cluster.Node // nil while killed
	cfg  cluster.Config
	addr string
	hold atomic.Pointer[chan struct{}]
	slow atomic.Int64 // nanoseconds that a write to its disk takes
	late atomic.Int64 // writes that were slow
}

// output is the test's, until the test is over: goroutines of the libraries may speak for a moment after their
// node has stopped, and a test that is over must not be written to.
type output struct {
	mu      sync.Mutex
	w       io.Writer
	stopped bool
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stopped {
		return len(p), nil
	}
	return o.w.Write(p)
}

func (o *output) stop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stopped = true
}

// Option changes how a cluster is made.
type Option func(*Cluster)

// WithConfig lets a test edit each node's configuration before it starts, and starts again. Nodes count from 0.
func WithConfig(edit func(i int, c *cluster.Config)) Option {
	return func(c *Cluster) { c.edits = append(c.edits, edit) }
}

// Steady lets nodes hold an election only after more than a second of silence, for tests that tell who leads: a machine that
// is busy may stand still for a moment.
func Steady() Option {
	return WithConfig(func(_ int, c *cluster.Config) {
		c.Timing.Heartbeat, c.Timing.LeaderLease = 1500*time.Millisecond, time.Second
	})
}

// WithStore says what keeps the raft logs; see cluster.Config. Files of cluster.StoreWAL are small, so that there are many.
func WithStore(store string) Option {
	return WithConfig(func(_ int, c *cluster.Config) { c.RaftStore, c.Timing.SegmentBytes = store, 16<<10 })
}

// New starts n nodes, called node-0 and so on, and waits until all vote. They are stopped with the test.
func New(t testing.TB, n int, opts ...Option) *Cluster {
	t.Helper()
	c := &Cluster{t: t, net: &network{owner: map[string]int{}, cut: map[[2]int]bool{}, conns: map[*conn]struct{}{}}, out: &output{w: t.Output()}}
	t.TempDir()           // the folders go when the nodes have ended
	t.Cleanup(c.out.stop) // after the nodes: cleanups run last to first
	for _, o := range opts {
		o(c)
	}
	t.Cleanup(c.close)
	for range n {
		c.Add()
	}
	return c
}

// Add starts one more node and waits until it votes.
func (c *Cluster) Add() int {
	c.t.Helper()
	i := len(c.nodes)
	m := &member{cfg: cluster.Config{Name: fmt.Sprintf("node-%d", i), DataDir: filepath.Join(c.t.TempDir(), "data"), Tables: Tables()}}
	if i > 0 {
		token, err := c.Leader().CreateJoinToken(c.t.Context(), time.Hour)
		if err != nil {
			c.t.Fatalf("making a join token: %v", err)
		}
		m.cfg.Bootstrap.Token = token
	}
	c.mu.Lock()
	c.nodes = append(c.nodes, m)
	c.mu.Unlock()
	c.start(i)
	c.WaitVoters(i + 1)
	return i
}

func (c *Cluster) start(i int) {
	c.t.Helper()
	m := c.nodes[i]
	addr := m.addr
	if addr == "" {
		ports, err := freeport.Take("127.0.0.1", 1) // it is bound again when the node is back
		if err != nil {
			c.t.Fatalf("node %d: %v", i, err)
		}
		addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0]))
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		c.t.Fatalf("node %d: %v", i, err)
	}
	m.addr = ln.Addr().String()
	c.net.own(m.addr, i)
	cfg := m.cfg
	cfg.Listener = ln
	cfg.Transport.Dial = c.net.dialer(i)
	cfg.BeforeWrite = m.write
	cfg.Timing.Heartbeat, cfg.Timing.LeaderLease = 400*time.Millisecond, 300*time.Millisecond // tests share their machine
	cfg.Timing.Reconcile = 500 * time.Millisecond
	cfg.Autopilot.Stabilisation = 100 * time.Millisecond
	if testing.Verbose() {
		cfg.Log = slog.New(slog.NewTextHandler(c.out, nil)).With("node", cfg.Name)
	}
	for _, edit := range c.edits {
		edit(i, &cfg)
	}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	n, err := cluster.Open(ctx, cfg)
	if err != nil {
		c.t.Fatalf("node %d: %v", i, err)
	}
	c.mu.Lock()
	m.node = n
	c.mu.Unlock()
}

// write is what the node waits for before each write to its disk.
func (m *member) write() {
	if h := m.hold.Load(); h != nil {
		<-*h
	}
	d := time.Duration(m.slow.Load())
	if d == 0 {
		return
	}
	m.late.Add(1)
	<-time.After(d)
}

// HoldDisk lets no write to a node's disk begin until release is called, which may be called more than once.
func (c *Cluster) HoldDisk(i int) (release func()) {
	h := make(chan struct{})
	m := c.nodes[i]
	m.hold.Store(&h)
	release = sync.OnceFunc(func() { m.hold.Store(nil); close(h) })
	c.t.Cleanup(release) // before the nodes are stopped
	return release
}

// SlowDisk makes each write to a node's disk take d longer; 0 is its own speed again.
func (c *Cluster) SlowDisk(i int, d time.Duration) { c.nodes[i].slow.Store(int64(d)) }

// LateWrites is how many writes to disks have been slow so far.
func (c *Cluster) LateWrites() (sum int64) {
	for _, m := range c.nodes {
		sum += m.late.Load()
	}
	return sum
}

func (c *Cluster) close() {
	for i := range c.nodes {
		if n := c.Node(i); n != nil {
			if err := n.Abort(); err != nil && !errors.Is(err, net.ErrClosed) {
				c.t.Logf("stopping node %d: %v", i, err)
			}
		}
	}
}

// Node is the i-th node, nil while it is killed. It may be called from any goroutine.
func (c *Cluster) Node(i int) *cluster.Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[i].node
}

// Nodes are those that run, in order.
func (c *Cluster) Nodes() []*cluster.Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*cluster.Node
	for _, m := range c.nodes {
		if m.node != nil {
			out = append(out, m.node)
		}
	}
	return out
}

// LeaderIndex waits for a leader with an open term; of several, as in a partition, the one of the latest term.
func (c *Cluster) LeaderIndex() int {
	c.t.Helper()
	leader := -1
	WaitFor(c.t, "a leader", func() bool {
		leader = -1
		var term uint64
		for i := range c.nodes {
			if n := c.Node(i); n != nil && n.IsLeader() && n.Store().Term() > term {
				leader, term = i, n.Store().Term()
			}
		}
		return leader >= 0
	})
	return leader
}

// Leader is the leader's node; see LeaderIndex.
func (c *Cluster) Leader() *cluster.Node { c.t.Helper(); return c.Node(c.LeaderIndex()) }

// FollowerIndex is a running node that does not lead.
func (c *Cluster) FollowerIndex() int {
	c.t.Helper()
	l := c.LeaderIndex()
	for i := range c.nodes {
		if i != l && c.Node(i) != nil {
			return i
		}
	}
	c.t.Fatal("no follower runs")
	return -1
}

// WaitVoters waits until every running node counts n voters and n members, and knows the leader.
func (c *Cluster) WaitVoters(n int) {
	c.t.Helper()
	WaitFor(c.t, fmt.Sprintf("%d voters", n), func() bool {
		leader := c.Leader().Name()
		for _, node := range c.Nodes() {
			s, err := node.Status(c.t.Context())
			if err != nil || s.Leader != leader || s.Voters != n || len(s.Members) != n || s.Epoch == 0 {
				return false
			}
		}
		return true
	})
}

// Cut cuts the path between two nodes, in both directions.
func (c *Cluster) Cut(a, b int) { c.net.set(a, b); c.net.set(b, a) }

// CutOneWay loses what a node sends to another, in connections that exist; new ones fail in both directions.
func (c *Cluster) CutOneWay(from, to int) { c.net.set(from, to) }

// Isolate cuts a node off from all others.
func (c *Cluster) Isolate(i int) {
	for j := range c.nodes {
		if j != i {
			c.Cut(i, j)
		}
	}
}

// Lost is how many sends, receipts and dials the cut paths have taken so far: 0 means that no cut was ever felt.
func (c *Cluster) Lost() int64 { return c.net.lost.Load() }

// Heal mends all paths.
func (c *Cluster) Heal() { c.net.heal() }

// Kill stops a node with nothing handed over.
func (c *Cluster) Kill(i int) {
	c.t.Helper()
	n := c.Node(i)
	c.mu.Lock()
	c.nodes[i].node = nil
	c.mu.Unlock()
	if err := n.Abort(); err != nil && !errors.Is(err, net.ErrClosed) {
		c.t.Errorf("killing node %d: %v", i, err)
	}
}

// Restart starts a killed node on its folder and address.
func (c *Cluster) Restart(i int) { c.t.Helper(); c.start(i) }

// DataDir is a node's data folder.
func (c *Cluster) DataDir(i int) string { return c.nodes[i].cfg.DataDir }

// WaitFor polls a condition and fails the test when it does not hold in time.
func WaitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(Patience); ; {
		if cond() {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited %s in vain for %s", Patience, what)
		}
	}
}
