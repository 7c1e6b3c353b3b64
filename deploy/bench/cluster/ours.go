package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/internal/heap"
)

// oursArgs say how a node of ours starts.
type oursArgs struct {
	Name      string `json:"name"`
	Dir       string `json:"dir"`
	Store     string `json:"store"`
	Token     string `json:"token,omitempty"`
	PackBytes int    `json:"packBytes,omitempty"` // 1: one commit an entry; 0: as shipped
	Shipped   bool   `json:"shipped,omitempty"`   // time-outs as shipped, not patient
	Timeless  bool   `json:"timeless,omitempty"`  // no snapshot but those that are asked for
	Profile   string `json:"profile,omitempty"`   // file for a CPU profile of the start
}

// patient are time-outs for both sides, so that what is measured is commits, and not elections among nodes of which
// several systems share the machine. They cost a commit nothing.
func patient() cluster.Timing {
	return cluster.Timing{Heartbeat: 2 * time.Second, LeaderLease: time.Second}
}

func timing(shipped bool) cluster.Timing {
	if shipped {
		return cluster.Timing{}
	}
	return patient()
}

// ours is a node, with clients in its process.
type ours struct {
	node    *cluster.Node
	clients *clients
	sampler *sampler
	stop    context.CancelFunc
	wg      sync.WaitGroup

	mu    sync.Mutex
	terms []termSeen
}

// termSeen is when a node learnt that a term was opened. At is of clock.
type termSeen struct {
	Term uint64 `json:"term"`
	At   int64  `json:"at"`
}

func newOurs(ctx context.Context, raw json.RawMessage) (part, error) {
	a, err := read[oursArgs](raw)
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("opening a port: %w", err)
	}
	cfg := cluster.Config{Name: a.Name, DataDir: a.Dir, Listener: ln, Timing: timing(a.Shipped), Tables: tables()}
	cfg.Bootstrap.Token = a.Token
	cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})).With("node", a.Name)
	if a.Timeless {
		cfg.Timing.SnapshotEntries, cfg.Timing.SnapshotCheck = 1<<40, 24*time.Hour
	}
	cfg.RaftStore, cfg.Timing.PackBytes = a.Store, a.PackBytes
	cfg.Tables = tables()
	loaded := heap.Loading() // as muster server does
	n, err := profiled(a.Profile, func() (*cluster.Node, error) { return cluster.Open(ctx, cfg) })
	loaded()
	if err != nil {
		return nil, fmt.Errorf("starting a node: %w", err)
	}
	o := &ours{node: n, clients: newClients(n), sampler: newSampler(n)}
	var bg context.Context
	bg, o.stop = context.WithCancel(context.Background())
	o.wg.Go(func() { o.watchTerms(bg) })
	return o, nil
}

// watchTerms notes each term that is opened.
func (o *ours) watchTerms(ctx context.Context) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for last := uint64(0); ; {
		if t := o.node.Store().Term(); t != last {
			last = t
			o.mu.Lock()
			o.terms = append(o.terms, termSeen{t, clock()})
			o.mu.Unlock()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// nodeState is what a node says of itself.
type nodeState struct {
	Leader bool       `json:"leader"`
	Voters int        `json:"voters"`
	Term   uint64     `json:"term"` // raft's
	Terms  []termSeen `json:"terms"`
}

func (o *ours) do(ctx context.Context, what string, raw json.RawMessage) (any, error) {
	switch what {
	case "token":
		return o.node.CreateJoinToken(ctx, time.Hour)
	case "state":
		s, err := o.node.Status(ctx)
		if err != nil {
			return nil, err
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		return nodeState{Leader: o.node.IsLeader(), Voters: s.Voters, Term: s.Term, Terms: o.terms}, nil
	case "load":
		a, err := read[loadArgs](raw)
		if err != nil {
			return nil, err
		}
		return profiled(a.Profile, func() (loadResult, error) { return o.clients.run(ctx, a) })
	case "look":
		n, err := read[int](raw)
		if err != nil {
			return nil, err
		}
		return o.clients.look(ctx, n)
	case "sample":
		a, err := read[sampleArgs](raw)
		if err != nil {
			return nil, err
		}
		return nil, o.sampler.begin(a)
	case "samples":
		return o.sampler.end()
	case "load while a snapshot is written":
		a, err := read[loadArgs](raw)
		if err != nil {
			return nil, err
		}
		return profiled(a.Profile, func() (loadResult, error) { return o.clients.runBeside(ctx, a, o.node.Snapshot) })
	case "ready":
		return nil, o.node.WaitReady(ctx)
	case "fill":
		n, err := read[int](raw)
		if err != nil {
			return nil, err
		}
		return nil, o.fill(ctx, n)
	case "rows": // of those that fill put, how many there are
		n, err := read[int](raw)
		if err != nil {
			return nil, err
		}
		return o.rows(ctx, n)
	case "snapshot": // answers seconds; something new is put first, else there would be none
		if err := o.fill(ctx, 1); err != nil {
			return nil, err
		}
		path, err := read[string](raw)
		if err != nil {
			return nil, err
		}
		began := time.Now()
		return profiled(path, func() (float64, error) {
			err := o.node.Snapshot()
			return time.Since(began).Seconds(), err
		})
	}
	return nil, fmt.Errorf("a node cannot %s", what)
}

// filled begins the numbers of the rows that fill puts, beyond all clients.
const filled = 1000 * chain

// fill puts rows, many in a commit.
func (o *ours) fill(ctx context.Context, n int) error {
	const perCommit = 192 // stays below the limit of a commit
	t := newTexts(2)
	for from := 0; from < n; from += perCommit {
		var rows []*benchRow
		for i := from; i < min(from+perCommit, n); i++ {
			rows = append(rows, rowAt(filled+i, t))
		}
		err := o.node.Update(ctx, func(tx *state.Tx) error {
			for _, r := range rows {
				if err := state.Put(tx, r); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (o *ours) rows(ctx context.Context, n int) (found int, err error) {
	v, err := o.node.View(ctx)
	if err != nil {
		return 0, err
	}
	for i := range n {
		if _, ok := state.VersionOf[benchRow](v, rowKey((filled+i)/chain, (filled+i)%chain)); ok {
			found++
		}
	}
	return found, nil
}

func (o *ours) close() error {
	o.stop()
	o.wg.Wait()
	if _, err := o.sampler.end(); err != nil {
		return errors.Join(err, o.node.Abort())
	}
	return o.node.Abort()
}

// clients commit on one node.
type clients struct {
	node  *cluster.Node
	pool  []string
	count []int64 // of each client: its commits so far
}

func newClients(n *cluster.Node) *clients {
	c, t := &clients{node: n}, newTexts(1)
	for range 509 {
		c.pool = append(c.pool, t.next())
	}
	return c
}

// look gives the counts of the first n clients, as a linearizable read finds them.
func (c *clients) look(ctx context.Context, n int) ([]int64, error) {
	v, err := c.node.View(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]int64, n)
	for i := range out {
		out[i] = countOf(v, i)
	}
	return out, nil
}

func countOf(v state.Reader, client int) (most int64) {
	for place := range chain {
		if r, ok := state.Get[benchRow](v, rowKey(client, place)); ok {
			most = max(most, int64(r.Version))
		}
	}
	return most
}

func (c *clients) run(ctx context.Context, a loadArgs) (loadResult, error) {
	var err error
	if c.count, err = c.look(ctx, a.Clients); err != nil {
		return loadResult{}, err
	}
	return drive(ctx, a, nil, c.commit)
}

// runBeside commits for as long as something else takes.
func (c *clients) runBeside(ctx context.Context, a loadArgs, other func() error) (loadResult, error) {
	var err error
	if c.count, err = c.look(ctx, a.Clients); err != nil {
		return loadResult{}, err
	}
	over := make(chan struct{})
	var otherErr error
	go func() {
		defer close(over)
		otherErr = other()
	}()
	res, err := drive(ctx, a, over, c.commit)
	<-over
	return res, errors.Join(err, otherErr)
}

// commit is one Update that reads one row and puts one. What it reads must be what this client put last.
func (c *clients) commit(ctx context.Context, client int) (outcome, error) {
	n := c.count[client]
	next := newRow(client, int((n+1)%chain), 1, c.pool[(int(n)+client)%len(c.pool)])
	err := c.node.Update(ctx, func(tx *state.Tx) error {
		next.Version = 1
		if before, ok := state.Get[benchRow](tx, rowKey(client, int(n%chain))); ok {
			next.Version = before.Version + 1
		}
		if int64(next.Version) != n+1 {
			return fmt.Errorf("client %d has %d acknowledged commits, and a row that says %d", client, n, next.Version-1)
		}
		return state.Put(tx, next)
	})
	switch model.CodeOf(err) {
	case "":
		c.count[client]++
		return done, nil
	case model.Unavailable:
		return failed, nil
	case model.Unknown:
		v, err := c.node.View(ctx)
		if err != nil {
			return unsure, err
		}
		if now := countOf(v, client); now == n || now == n+1 {
			c.count[client] = now
			return unsure, nil
		}
		return unsure, fmt.Errorf("client %d had %d commits before one of unknown outcome, and %d after it", client, n, countOf(v, client))
	}
	return failed, err
}
