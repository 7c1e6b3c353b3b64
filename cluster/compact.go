package cluster

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// Raft takes its snapshots by entries, but what they cost and save is bytes: an entry may hold one small commit or
// 64 KiB of them. So this node counts what its log grows by.

// growth is how many bytes and entries the log has grown by since the last snapshot.
type growth struct{ bytes, entries atomic.Int64 }

func (g *growth) add(es []*raft.Log) {
	n := 0
	for _, e := range es {
		n += len(e.Data) + entryOverhead
	}
	g.bytes.Add(int64(n))
	g.entries.Add(int64(len(es)))
}

const (
	entryOverhead = 64                     // of an entry on disk, about
	compactCheck  = 500 * time.Millisecond // between looks at the growth
	trailingLeast = 256                    // entries that stay in the log for followers that are a little behind
)

// compact takes a snapshot whenever the log has grown by Timing.SnapshotBytes, until ctx ends.
func (n *Node) compact(ctx context.Context) {
	tick := time.NewTicker(compactCheck)
	defer tick.Stop()
	n.countLog(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		bytes, entries := n.disk.grown.bytes.Load(), n.disk.grown.entries.Load()
		if uint64(bytes) < n.cfg.Timing.SnapshotBytes {
			continue
		}
		n.keepTrailing(bytes, entries)
		start := time.Now()
		if err := n.await(n.raft.Snapshot()); err != nil {
			if !errors.Is(err, raft.ErrNothingNewToSnapshot) && ctx.Err() == nil {
				n.log.Warn("the log could not be cut short by a snapshot", "error", err)
			}
			continue
		}
		n.disk.grown.bytes.Add(-bytes)
		n.disk.grown.entries.Add(-entries)
		n.log.Info("took a snapshot", "log_bytes", bytes, "log_entries", entries, "took", time.Since(start))
	}
}

// keepTrailing keeps as many entries after the snapshot as make half of what one is taken for: large entries would
// otherwise keep the log large.
func (n *Node) keepTrailing(bytes, entries int64) {
	half := n.cfg.Timing.SnapshotBytes / 2
	keep := max(half/uint64(max(bytes/max(entries, 1), 1)), trailingLeast)
	rc := n.raft.ReloadableConfig()
	if rc.TrailingLogs = min(keep, n.cfg.Timing.TrailingLogs); n.raft.ReloadConfig(rc) != nil {
		n.log.Debug("how much of the log stays could not be changed", "entries", rc.TrailingLogs)
	}
}

// countLog counts what the log holds beyond the snapshot that the node started from.
func (n *Node) countLog(ctx context.Context) {
	metas, err := n.disk.snaps.List()
	if err != nil {
		return
	}
	from := uint64(1)
	if len(metas) > 0 {
		from = metas[0].Index + 1
	}
	first, err := n.disk.kept.FirstIndex()
	if err != nil {
		return
	}
	last, err := n.disk.kept.LastIndex()
	if err != nil {
		return
	}
	for i := max(from, first); i <= last && i > 0 && ctx.Err() == nil; i++ {
		var e raft.Log
		if n.disk.kept.GetLog(i, &e) != nil {
			return // compacted meanwhile, or damaged: who needs it will say so
		}
		n.disk.grown.add([]*raft.Log{&e})
	}
}
