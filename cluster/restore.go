package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"

	"github.com/muster-hq/muster/fsm"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/seal"
	"github.com/muster-hq/muster/fsm/state"
)

// SaveSnapshot streams a snapshot to w: all that was acknowledged, by any node, before the call. It works on any
// node and holds up no commit. What tables say is secret is sealed in it, and opens with the cluster's keys only.
func (n *Node) SaveSnapshot(ctx context.Context, w io.Writer) (state.SnapshotInfo, error) {
	dctx, cancel := n.deadline(ctx)
	_, err := n.makeCurrent(dctx, 0)
	cancel()
	if err != nil {
		return state.SnapshotInfo{}, err
	}
	return n.localSnapshot(ctx, w)
}

// localSnapshot streams what this node has.
func (n *Node) localSnapshot(ctx context.Context, w io.Writer) (state.SnapshotInfo, error) {
	sn := n.store.Snapshot()
	defer sn.Release()
	if err := sn.Write(&boundWriter{ctx, w}); err != nil {
		return state.SnapshotInfo{}, err
	}
	return sn.Info(), nil
}

// boundWriter fails once its context has ended.
type boundWriter struct {
	ctx context.Context
	w   io.Writer
}

// Write writes to what is below.
func (b *boundWriter) Write(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.w.Write(p)
}

// own gives which rows belong to the cluster as such: its members, tokens, certificates, keys. A restore leaves them as
// they are.
func own() func(table, key string) bool {
	names := map[string]bool{}
	for _, d := range ownTables() {
		names[d.Name()] = true
	}
	return func(table, key string) bool { return names[table] || state.OwnKeys(table, key) }
}

// restoring is a restore on its way to the goroutine that leads.
type restoring struct {
	ctx    context.Context
	backup *state.Store
	keys   *seal.Keyring // of the backup; nil for those of this cluster
	done   chan error    // buffered
}

// RestoreSnapshot is RestoreSealed of a snapshot that needs no other keys than the cluster has.
func (n *Node) RestoreSnapshot(ctx context.Context, r io.Reader) error {
	return n.RestoreSealed(ctx, r, nil)
}

// RestoreSealed puts the state of a snapshot in the place of the cluster's, on all nodes, and begins an epoch.
// Members, join tokens, certificates and keys stay those of this cluster, so its size and the snapshot's are
// unrelated. The snapshot is read and verified whole before anything changes. This node becomes the leader, if it
// is not, and must be a voter for that. Writes under way are refused, run again on the new state, or end as
// Unknown. The error's code is Invalid for a snapshot that cannot be restored, Unavailable when nothing was done,
// and Unknown when it may have been, or may yet be: then this node may end itself, see Done. The snapshot of another
// cluster needs the keys of that, which are used here and not kept: what was wrapped with them is wrapped with this
// cluster's. Without them the code is Conflict.
func (n *Node) RestoreSealed(ctx context.Context, r io.Reader, keys *seal.Keyring) error {
	backup, err := state.NewStore(state.Options{})
	if err != nil {
		return fmt.Errorf("making room for the snapshot: %w", err)
	}
	if err := backup.Restore(&boundReader{ctx, r}); err != nil {
		if ctx.Err() != nil || !errors.Is(err, state.ErrDecode) {
			return &model.Error{Code: model.Unavailable, Err: err, Messages: []string{"the snapshot was not received whole; nothing was changed"}}
		}
		var newer *state.SchemaError
		if errors.As(err, &newer) {
			return model.Errorf(model.Invalid, "the snapshot cannot be read by this version, and nothing was changed: %v", err)
		}
		return model.Errorf(model.Invalid, "the snapshot is damaged, and nothing was changed: %v", err)
	}
	if backup.Epoch() == 0 {
		return model.Errorf(model.Invalid, "the snapshot is of a cluster that had not begun; nothing was changed")
	}
	if err := n.openable(backup.View(), keys); err != nil {
		return err
	}
	ctx, cancel := n.deadline(ctx)
	defer cancel()
	for {
		if err := n.takeLead(ctx); err != nil {
			return err
		}
		q := &restoring{ctx: ctx, backup: backup, keys: keys, done: make(chan error, 1)}
		select {
		case n.restores <- q:
		case <-ctx.Done():
			return n.giveUp(ctx.Err(), false)
		case <-n.done:
			return n.giveUp(errors.New("this node is shutting down"), false)
		}
		select {
		case err = <-q.done:
		case <-ctx.Done():
			return n.giveUp(ctx.Err(), true)
		case <-n.down:
			return n.giveUp(raft.ErrRaftShutdown, true)
		}
		var me *model.Error
		switch {
		case err == nil:
			_, err := n.makeCurrent(ctx, 0) // the term is open again, in the new epoch
			if err != nil {
				return n.giveUp(err, true)
			}
			return nil
		case errors.As(err, &me):
			return me
		case !errors.Is(err, errNotDone):
			return n.giveUp(err, true)
		}
		if e := n.pause(ctx, err); e != nil {
			return n.giveUp(e, false)
		}
	}
}

// boundReader fails once its context has ended.
type boundReader struct {
	ctx context.Context
	r   io.Reader
}

// Read reads from what is below.
func (b *boundReader) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.r.Read(p)
}

// takeLead makes this node the leader.
func (n *Node) takeLead(ctx context.Context) error {
	for !n.IsLeader() {
		if !n.votes(n.cfg.Name) {
			return model.Errorf(model.Conflict, "%s has no vote and so cannot lead the restore: ask another node; nothing was done", n.cfg.Name)
		}
		err := n.TransferLeadership(ctx, n.cfg.Name)
		if err == nil {
			err = errors.New("leadership has not come yet")
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return n.giveUp(err, false)
		case <-n.done:
			return n.giveUp(errors.New("this node is shutting down"), false)
		}
	}
	return nil
}

var errMoved = errors.New("the log has moved on")

// restoreFile is where the state to come is rendered, as raft wants to know its size.
func (n *Node) restoreFile() string { return filepath.Join(n.cfg.DataDir, "restore.tmp") }

// restoreHere does a restore in the goroutine that leads, between two leaderships: duties are over, nobody writes or
// reads through this node. An error that wraps errNotDone is to be tried again; any other but a *model.Error is of
// unknown outcome.
func (n *Node) restoreHere(q *restoring) error {
	n.voters.Lock()
	defer n.voters.Unlock()
	defer func() { _ = os.Remove(n.restoreFile()) }()
	for {
		if q.ctx.Err() != nil {
			return fmt.Errorf("%w: %w", errNotDone, q.ctx.Err())
		}
		if n.raft.State() != raft.Leader {
			return errNotLeading
		}
		err := n.restoreOnce(q)
		if errors.Is(err, errMoved) { // a commit was under way still
			continue
		}
		return err
	}
}

// restoreOnce renders the state to come from the backup and all that is in the log by now, and hands it to raft,
// unless something was appended to the log meanwhile.
func (n *Node) restoreOnce(q *restoring) error {
	backup := q.backup
	term := n.raft.CurrentTerm()
	barrier := fsm.Entry{Kind: fsm.KindOpenTerm, Term: term, Node: n.cfg.Name, Time: n.clock.now(true, n.store.Now())}
	f := n.raft.Apply(barrier.Encode(nil), 0)
	if err := n.await(f); err != nil {
		return fmt.Errorf("%w: %w", errNotDone, err)
	}
	present := n.store.View()
	if present.Index() != f.Index() || present.Term() != term {
		return errMoved
	}
	epoch := max(uint64(n.clock.now(true, n.store.Now()).UnixMilli()), present.Epoch()+1, backup.Epoch()+1)
	sn, err := backup.Reborn(state.Rebirth{Epoch: epoch, Term: term, Time: barrier.Time, Own: own(), Keep: present, Rewrap: n.rewrapper(present, q.keys)})
	if err != nil {
		return err
	}
	defer sn.Release()
	file, size, err := render(n.restoreFile(), sn)
	if err != nil {
		return &model.Error{Code: model.Unavailable, Err: err, Messages: []string{"the state to come could not be written to this node's disk; nothing was changed"}}
	}
	defer func() { _ = file.Close() }()
	// Raft takes nothing else while it reads: if the log still ends where the present state was read, nothing that
	// was acknowledged of the cluster's own rows is missing in what it is given.
	guard := &guardedReader{r: file, check: func() error {
		if n.raft.LastIndex() != f.Index() {
			return errMoved
		}
		return nil
	}}
	meta := &raft.SnapshotMeta{Version: raft.SnapshotVersionMax, Index: sn.Info().Index, Term: term, Size: size}
	n.log.Warn("the cluster's state is being replaced by that of a snapshot", "epoch", epoch, "backup_index", backup.AppliedIndex(), "backup_time", backup.Now())
	err = n.restoreRaft(meta, guard)
	switch {
	case err == nil:
		n.log.Warn("the cluster's state was replaced by that of a snapshot", "epoch", epoch)
		return nil
	case guard.moved:
		return errMoved
	case n.store.Epoch() != epoch:
		return fmt.Errorf("%w: %w", errNotDone, err)
	}
	n.log.Error("this node stops", "error", errInDoubt, "cause", err)
	n.fail(fmt.Errorf("%w (%w)", errInDoubt, err))
	return fmt.Errorf("%w: %w: %w", errUnknown, errInDoubt, err)
}

// restoreRaft is raft's Restore, but ends with raft: some of its questions stay open then.
func (n *Node) restoreRaft(meta *raft.SnapshotMeta, r io.Reader) error {
	answer := make(chan error, 1)
	go func() { answer <- n.raft.Restore(meta, r, 0) }()
	select {
	case err := <-answer:
		return err
	case <-n.down:
		return raft.ErrRaftShutdown
	}
}

// render writes a snapshot to a file and opens it at its beginning.
func render(path string, sn *state.Snapshot) (*os.File, int64, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, 0, fmt.Errorf("writing the state to come: %w", err)
	}
	size, err := int64(0), sn.Write(f)
	if err == nil {
		size, err = f.Seek(0, io.SeekCurrent)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		_ = f.Close()
		return nil, 0, fmt.Errorf("writing the state to come: %w", err)
	}
	return f, size, nil
}

// guardedReader checks something once, at the first read.
type guardedReader struct {
	r     io.Reader
	check func() error
	moved bool // the check failed
}

// Read reads, if the check holds.
func (g *guardedReader) Read(p []byte) (int, error) {
	if g.check != nil {
		err := g.check()
		if g.check = nil; err != nil {
			g.moved = true
			return 0, err
		}
	}
	return g.r.Read(p)
}
