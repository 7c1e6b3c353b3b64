package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"

	"github.com/muster-hq/muster/fsm/state"
)

// Rows that were written in clear, by a version that did not seal them, are sealed by a duty. What is left of them is
// then in entries and snapshots of before. So once the state says that all is sealed, each node takes a snapshot, and
// removes the ones and cuts off the log of before. boltdb keeps what was deleted in free pages of its file: the file is
// written anew at the next start. raft-wal removes whole files, so the last of these goes when the next is begun.

// forgetPause is between two tries.
const forgetPause = 2 * time.Second

// forgetClear does so for this node, until ctx ends.
func (n *Node) forgetClear(ctx context.Context) {
	for ctx.Err() == nil {
		ws := state.NewWatchSet()
		v := n.Local().Watched(ws)
		wait, cancel := ctx, context.CancelFunc(func() {})
		if k := state.ClusterKeysOf(v); k.Clear > 0 {
			left, err := n.cutBefore(ctx, k.Clear)
			if err != nil && ctx.Err() == nil {
				n.log.Warn("what was stored in clear before is still in this node's log or snapshots: it is tried again", "error", err)
			}
			if left || err != nil {
				wait, cancel = context.WithTimeout(ctx, forgetPause)
			}
		}
		_ = ws.Wait(wait)
		cancel()
	}
}

// cutBefore removes entries up to an index and snapshots of before it; left says that some are there still.
func (n *Node) cutBefore(ctx context.Context, index uint64) (left bool, err error) {
	first, err := n.disk.kept.FirstIndex()
	if err != nil {
		return true, fmt.Errorf("reading the log: %w", err)
	}
	old, err := n.disk.files.reapBefore(index)
	if err != nil {
		return true, err
	}
	if !old && (first == 0 || first > index) {
		return false, nil
	}
	if n.cfg.RaftStore == StoreBolt {
		if err := writeSynced(residuePath(filepath.Join(n.cfg.DataDir, "raft")), nil); err != nil {
			return true, err
		}
	}
	rc := n.raft.ReloadableConfig()
	if rc.TrailingLogs = 0; n.raft.LastIndex() > index {
		rc.TrailingLogs = n.raft.LastIndex() - index
	}
	if err := n.raft.ReloadConfig(rc); err != nil {
		return true, fmt.Errorf("cutting the log: %w", err)
	}
	bytes, entries := n.disk.grown.bytes.Load(), n.disk.grown.entries.Load()
	err = n.await(n.raft.Snapshot())
	n.keepTrailing(bytes, entries)
	if errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return true, nil // with the next entry
	}
	if err != nil {
		return true, fmt.Errorf("taking a snapshot: %w", err)
	}
	n.disk.grown.bytes.Add(-bytes)
	n.disk.grown.entries.Add(-entries)
	n.log.Info("took a snapshot, and cut off the log of before all was sealed", "index", index)
	_, err = n.disk.files.reapBefore(index)
	return true, err // one more look
}

// residuePath marks that boltdb's file may hold in free pages what was deleted.
func residuePath(dir string) string { return filepath.Join(dir, "rewrite-log") }

// forgetPages writes boltdb's file anew without its free pages, when it is marked. Without room for that the file stays.
func forgetPages(dir string, hlog hclog.Logger) error {
	path := storePaths(dir)[StoreBolt]
	if _, err := os.Stat(residuePath(dir)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := os.Stat(path); err != nil {
		return removeIfThere(residuePath(dir))
	}
	next := path + ".new"
	if err := copyPages(path, next); err != nil {
		hlog.Warn("the raft log could not be written anew: what was deleted from it may be in its file still", "error", err)
		return removeIfThere(next)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("writing the raft log anew: %w", err)
	}
	if err := syncFolder(dir); err != nil {
		return err
	}
	return removeIfThere(residuePath(dir))
}

// copyPages copies what a file of boltdb holds to another.
func copyPages(from, to string) (err error) {
	if err := removeIfThere(to); err != nil {
		return err
	}
	src, err := bbolt.Open(from, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return fmt.Errorf("opening the raft log: %w", err)
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	o := *BoltOptions()
	o.NoSync = true // once, at the end
	dst, err := bbolt.Open(to, 0o600, &o)
	if err != nil {
		return fmt.Errorf("writing the raft log anew: %w", err)
	}
	if err = bbolt.Compact(dst, src, 4<<20); err == nil {
		err = dst.Sync()
	}
	return errors.Join(err, dst.Close())
}
