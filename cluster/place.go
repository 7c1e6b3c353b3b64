package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// Raft takes what a leader sends as a snapshot for committed. A restore breaks that: its snapshot stands beyond the end
// of the log, and a leader that dies before a majority has it leaves it with those that it reached. The others then
// elect one of themselves, whose log goes on below that place. Raft would put those entries beside the restored state,
// and pass over the ones up to its place. What is committed is in the log of every later leader; so a leader that sends
// an entry of a later term than the snapshot's for a place that the snapshot covers has not taken it. Where raft finds no
// entry to compare with, it refuses such a leader for ever: so each node also asks the leader for its epoch once it has
// another one itself. The leader of a restore that was cut off in it has such a state, too: it ends, and when it is started
// again it is one of those that a dead leader reached.

var (
	errInDoubt = errors.New("this node holds a restored state, and it is not known whether the cluster took it: " +
		"start it again, and look there whether the restore took effect")
	errNotTaken = errors.New("this node holds a restored state that the cluster did not take: " + adviceDamaged)
)

// place is where a snapshot stands in the log.
type place struct{ index, term uint64 }

// placedSnaps notes the place of the newest snapshot that was stored.
type placedSnaps struct {
	raft.SnapshotStore
	newest *atomic.Pointer[place]
}

// placed notes the newest snapshot of a store and follows the next ones.
func placed(s raft.SnapshotStore, newest *atomic.Pointer[place]) (raft.SnapshotStore, error) {
	metas, err := s.List()
	if err != nil {
		return nil, fmt.Errorf("reading the snapshots: %w", err)
	}
	if len(metas) > 0 {
		newest.Store(&place{metas[0].Index, metas[0].Term})
	}
	return placedSnaps{s, newest}, nil
}

// Create begins a snapshot.
func (s placedSnaps) Create(v raft.SnapshotVersion, index, term uint64, c raft.Configuration, at uint64, t raft.Transport) (raft.SnapshotSink, error) {
	sink, err := s.SnapshotStore.Create(v, index, term, c, at, t)
	if err != nil {
		return nil, err
	}
	return &placedSink{sink, place{index, term}, s.newest}, nil
}

type placedSink struct {
	raft.SnapshotSink
	at     place
	newest *atomic.Pointer[place]
}

// Close ends the snapshot. From here on raft may go on from it.
func (s *placedSink) Close() error {
	if err := s.SnapshotSink.Close(); err != nil {
		return err
	}
	s.newest.Store(&s.at)
	return nil
}

// contradicts says whether entries of a leader show that its log has not got what is stored at p.
func (p *place) contradicts(es []*raft.Log) bool {
	if p == nil {
		return false
	}
	for _, e := range es {
		if e.Index > p.index {
			return false
		}
		if e.Term > p.term || e.Index == p.index && e.Term != p.term {
			return true
		}
	}
	return false
}

// keepEpoch asks the leader whenever this node's state is of another epoch than before, and at the start, until ctx ends:
// a node that has an epoch which the leader has not ends.
func (n *Node) keepEpoch(ctx context.Context) {
	confirmed := uint64(0)
	for tick := time.NewTicker(min(n.cfg.Timing.Attempt, n.cfg.Timing.Reconcile)); ; {
		if epoch := n.store.Epoch(); epoch != confirmed && n.HasLeader() {
			actx, cancel := context.WithTimeout(ctx, n.cfg.Timing.Deadline)
			if _, err := n.makeCurrent(actx, 0); err == nil {
				confirmed = epoch
			}
			cancel()
		}
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
	}
}
