package fsm_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/muster-hq/muster/fsm"
	"github.com/muster-hq/muster/fsm/state"
)

// member is a raft node over in-memory logs and links.
type member struct {
	id    raft.ServerID
	st    *state.Store
	raft  *raft.Raft
	trans *raft.InmemTransport
	logs  *raft.InmemStore
	snaps *raft.FileSnapshotStore
}

func newMember(t *testing.T, n int) *member {
	t.Helper()
	snaps, err := raft.NewFileSnapshotStore(t.TempDir(), 2, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return &member{id: raft.ServerID(fmt.Sprint("n", n)), logs: raft.NewInmemStore(), snaps: snaps}
}

// run starts the node, anew after a stop: only logs and snapshots stay.
func (m *member) run(t *testing.T) {
	t.Helper()
	st, err := state.NewStore(state.Options{Window: 100, Tables: tables(t)})
	if err != nil {
		t.Fatal(err)
	}
	f, err := fsm.New(fsm.Options{Store: st, Log: slog.New(slog.DiscardHandler), Fatal: func(err error) { t.Errorf("%s: %v", m.id, err) }})
	if err != nil {
		t.Fatal(err)
	}
	_, m.trans = raft.NewInmemTransport(raft.ServerAddress(m.id))
	c := raft.DefaultConfig()
	c.LocalID = m.id
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = time.Second, time.Second, time.Second
	c.CommitTimeout = 2 * time.Millisecond
	c.BatchApplyCh, c.TrailingLogs, c.SnapshotThreshold = true, 1, 1<<30
	c.Logger = hclog.NewNullLogger()
	m.st = st
	if m.raft, err = raft.NewRaft(c, f, m.logs, m.logs, m.snaps, m.trans); err != nil {
		t.Fatal(err)
	}
}

func (m *member) stop(t *testing.T) {
	t.Helper()
	if err := m.raft.Shutdown().Error(); err != nil {
		t.Errorf("stop %s: %v", m.id, err)
	}
}

// eventually polls until what holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not in time: %s", what)
		}
	}
}

// proposer proposes each commit as an entry of its own, at the leader.
type proposer struct{ m *member }

func (p proposer) Propose(_ context.Context, c *state.Commit) (state.Result, error) {
	e := fsm.Entry{Kind: fsm.KindCommits, Time: time.Now(), Commits: [][]byte{c.Encode(nil)}}
	f := p.m.raft.Apply(e.Encode(nil), time.Second)
	if err := f.Error(); err != nil {
		return state.Result{}, err
	}
	res, ok := f.Response().([]state.Result)
	if !ok {
		return state.Result{}, fmt.Errorf("response %v", f.Response())
	}
	return res[0], nil
}

func (p proposer) Current(ctx context.Context, index uint64) (time.Time, error) {
	return time.Now(), p.m.st.WaitIndex(ctx, index)
}

func (p proposer) Now() time.Time { return time.Now() }

// count lets workers count up a thing each n times, and each take a number of a group.
func count(t *testing.T, leader *member, round, n int) {
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range n {
				err := state.Run(t.Context(), leader.st, proposer{leader}, state.TxOptions{}, func(tx *state.Tx) error {
					x, ok := state.Edit[thing](tx, "counter")
					if !ok {
						x = &thing{ID: "counter"}
					}
					x.N++
					if err := state.Put(tx, x); err != nil {
						return err
					}
					return state.Put(tx, &thing{ID: fmt.Sprintf("%d-%d-%d", round, w, i), Group: "g", N: x.N})
				})
				if err != nil {
					t.Errorf("count: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

// checkSame checks that all have the leader's state, and that it holds each number once.
func checkSame(t *testing.T, members []*member, leader *member) {
	t.Helper()
	for _, m := range members {
		if got, want := m.st.Fingerprint(), leader.st.Fingerprint(); got != want {
			t.Errorf("%s has %s, the leader %s", m.id, got, want)
		}
		if x, _ := state.Get[thing](m.st.View(), "counter"); x == nil || x.N != 8*20 {
			t.Errorf("%s counted %+v", m.id, x)
		}
		seen := map[int]bool{}
		for _, x := range state.List[thing](m.st.View(), "group/g") {
			seen[x.N] = true
		}
		if len(seen) != 8*20 {
			t.Errorf("%s has %d different numbers", m.id, len(seen))
		}
	}
}

// TestThreeNodesAgree writes to three real raft nodes while one is cut off, takes a snapshot so that the
// lost one must be sent it, and starts one anew from its own snapshot and log. All must end the same.
func TestThreeNodesAgree(t *testing.T) {
	members := []*member{newMember(t, 1), newMember(t, 2), newMember(t, 3)}
	var servers raft.Configuration
	for _, m := range members {
		m.run(t)
		servers.Servers = append(servers.Servers, raft.Server{ID: m.id, Address: raft.ServerAddress(m.id)})
	}
	connect := func(from *member) {
		for _, to := range members {
			if from != to {
				from.trans.Connect(to.trans.LocalAddr(), to.trans)
				to.trans.Connect(from.trans.LocalAddr(), from.trans)
			}
		}
	}
	for _, m := range members {
		connect(m)
	}
	if err := members[0].raft.BootstrapCluster(servers).Error(); err != nil {
		t.Fatal(err)
	}
	var leader, lost *member
	eventually(t, "a leader", func() bool {
		for _, m := range members {
			if m.raft.State() == raft.Leader {
				leader = m
			}
		}
		return leader != nil
	})
	for _, m := range members {
		if m != leader {
			lost = m
		}
	}
	count(t, leader, 1, 5)
	lost.stop(t)
	for _, m := range members {
		m.trans.Disconnect(lost.trans.LocalAddr())
	}
	count(t, leader, 2, 10)
	if err := leader.raft.Snapshot().Error(); err != nil {
		t.Fatalf("snapshot: %v", err)
	}
	count(t, leader, 3, 5)
	lost.run(t)
	connect(lost)
	same := func() bool {
		for _, m := range members {
			if m.st.AppliedIndex() != leader.st.AppliedIndex() {
				return false
			}
		}
		return true
	}
	eventually(t, "the lost node caught up", same)
	checkSame(t, members, leader)
	restartAll(t, members, leader, connect)
}

// restartAll stops all and starts them from what is on their disks: first the one that has a snapshot, which must
// be there at once, while the log is replayed only once there is a leader.
func restartAll(t *testing.T, members []*member, leader *member, connect func(*member)) {
	t.Helper()
	want, at := leader.st.Fingerprint(), leader.st.AppliedIndex()
	for _, m := range members {
		m.stop(t)
	}
	leader.run(t)
	if got := leader.st.AppliedIndex(); got == 0 || got >= at {
		t.Errorf("the snapshot brought index %d, the log goes to %d", got, at)
	}
	for _, m := range members {
		if m != leader {
			m.run(t)
		}
	}
	for _, m := range members {
		connect(m)
	}
	eventually(t, "the log is replayed", func() bool { return leader.st.AppliedIndex() >= at })
	if got := leader.st.Fingerprint(); got != want {
		t.Errorf("after the restart %s, before %s", got, want)
	}
	for _, m := range members {
		m.stop(t)
	}
}
