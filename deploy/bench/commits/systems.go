package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/fsm/state"
)

// timing is that of both: patient, so that what is measured is commits and not elections on a busy machine.
func timing() cluster.Timing {
	return cluster.Timing{Heartbeat: 2 * time.Second, LeaderLease: time.Second}
}

const (
	nodes   = 3
	rowSize = 1024 // bytes of value in one commit
	settle  = 20 * time.Second
)

// bareLoop is raft with a state machine that does nothing: what a commit costs at the least.
type bareLoop struct {
	rafts  []*raft.Raft
	stores []*raftboltdb.BoltStore
	leader *raft.Raft
	data   []byte
}

type nothing struct{}

func (nothing) Apply(*raft.Log) any                 { return nil }
func (nothing) ApplyBatch(l []*raft.Log) []any      { return make([]any, len(l)) }
func (nothing) Snapshot() (raft.FSMSnapshot, error) { return nothing{}, nil }
func (nothing) Restore(r io.ReadCloser) error       { return r.Close() }
func (nothing) Persist(s raft.SnapshotSink) error   { return s.Close() }
func (nothing) Release()                            {}

func newBare(dir string) (system, error) {
	b := &bareLoop{data: []byte(strings.Repeat("x", rowSize))}
	quiet := hclog.NewNullLogger()
	var servers raft.Configuration
	for i := range nodes {
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := os.MkdirAll(path, 0o700); err != nil {
			return nil, err
		}
		store, err := raftboltdb.New(raftboltdb.Options{Path: filepath.Join(path, "log.db"), MsgpackUseNewTimeFormat: true})
		if err != nil {
			return nil, err
		}
		b.stores = append(b.stores, store)
		cache, err := raft.NewLogCache(512, store)
		if err != nil {
			return nil, err
		}
		snaps, err := raft.NewFileSnapshotStoreWithLogger(path, 2, quiet)
		if err != nil {
			return nil, err
		}
		trans, err := raft.NewTCPTransportWithLogger("127.0.0.1:0", nil, 3, 5*time.Second, quiet)
		if err != nil {
			return nil, err
		}
		rc := timing().RaftConfig(fmt.Sprint(i))
		rc.Logger = quiet
		r, err := raft.NewRaft(rc, nothing{}, cache, store, snaps, trans)
		if err != nil {
			return nil, err
		}
		b.rafts = append(b.rafts, r)
		servers.Servers = append(servers.Servers, raft.Server{ID: rc.LocalID, Address: trans.LocalAddr()})
	}
	if err := b.rafts[0].BootstrapCluster(servers).Error(); err != nil {
		return nil, err
	}
	return b, b.ready()
}

// ready finds the leader.
func (b *bareLoop) ready() error {
	b.leader = nil
	return poll("a leader", func() bool {
		for _, r := range b.rafts {
			if r.State() == raft.Leader {
				b.leader = r
			}
		}
		return b.leader != nil
	})
}

func (b *bareLoop) commit(context.Context, int, int) error { return b.leader.Apply(b.data, 0).Error() }

func (b *bareLoop) close() error {
	var errs []error
	for _, r := range b.rafts {
		errs = append(errs, r.Shutdown().Error())
	}
	for _, s := range b.stores {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// oursThree is a cluster of three; clients write on the leader, each a row of its own.
type oursThree struct {
	nodes  []*cluster.Node
	leader *cluster.Node
	value  string
}

type benchRow struct {
	Name  string `json:"name"`
	Seq   int    `json:"seq"`
	Value string `json:"value"`
}

func (*benchRow) Table() string            { return "bench" }
func (r *benchRow) Key() string            { return r.Name }
func (*benchRow) Ranges() []string         { return nil }
func (*benchRow) Parent() (string, string) { return "", "" }

func newOurs(ctx context.Context, dir string) (system, error) {
	o := &oursThree{value: strings.Repeat("x", rowSize)}
	for i := range nodes {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		cfg := cluster.Config{Name: fmt.Sprintf("node-%d", i), DataDir: filepath.Join(dir, fmt.Sprint(i)), Listener: ln, Timing: timing(),
			Tables: []state.TableDef{state.Define[benchRow](state.TableOptions[benchRow]{})}}
		if i > 0 {
			if cfg.Bootstrap.Token, err = o.nodes[0].CreateJoinToken(ctx, time.Hour); err != nil {
				return nil, err
			}
		}
		n, err := cluster.Open(ctx, cfg)
		if err != nil {
			return nil, err
		}
		o.nodes = append(o.nodes, n)
		err = poll("a vote", func() bool {
			s, err := o.nodes[0].Status(ctx)
			return err == nil && s.Voters == i+1
		})
		if err != nil {
			return nil, err
		}
	}
	return o, nil
}

// ready finds the leader.
func (o *oursThree) ready() error {
	return poll("a leader", func() bool {
		for _, n := range o.nodes {
			if n.IsLeader() {
				o.leader = n
				return true
			}
		}
		return false
	})
}

func (o *oursThree) commit(ctx context.Context, client, seq int) error {
	name := fmt.Sprint(client)
	return o.leader.Update(ctx, func(tx *state.Tx) error {
		return state.Put(tx, &benchRow{Name: name, Seq: seq, Value: o.value})
	})
}

func (o *oursThree) close() error {
	var errs []error
	for _, n := range o.nodes {
		errs = append(errs, n.Abort())
	}
	return errors.Join(errs...)
}

// poll waits until a condition holds.
func poll(what string, cond func() bool) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(settle); !cond(); {
		select {
		case <-tick.C:
		case <-deadline:
			return fmt.Errorf("waited %s in vain for %s", settle, what)
		}
	}
	return nil
}
