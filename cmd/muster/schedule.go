package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// backups writes snapshots of the cluster to this node's disk, at intervals. Each node keeps its own, so the loss of a
// node, or of its disk, costs none of the others', and no change of leader leaves a gap.
type backups struct {
	dir   string
	every time.Duration // 0 writes none
	keep  int
	age   time.Duration // older ones are removed, but for the newest; 0 keeps them
	name  string        // of the node
	node  snapshotSaver
	space func(dir string) (free, total int64, err error)
	log   *slog.Logger
	last  atomic.Pointer[spec.Backup]
}

// snapshotSaver gives snapshots of the cluster.
type snapshotSaver interface {
	SaveSnapshot(ctx context.Context, w io.Writer) (state.SnapshotInfo, error)
}

func newBackups(cfg serverConfig, n *cluster.Node, log *slog.Logger) *backups {
	b := &backups{dir: cfg.Snapshot.Dir, every: cfg.Snapshot.Every, keep: cfg.Snapshot.Keep, age: cfg.Snapshot.Age, name: n.Name(), node: n, space: cluster.DiskSpace, log: log}
	if b.dir == "" {
		b.dir = filepath.Join(cfg.Data, "snapshots")
	}
	return b
}

const (
	backupEnd  = ".snapshot"
	backupTime = "20060102T150405.000Z"
)

// run writes until ctx ends. The nodes of a cluster do it at different times, and a node that starts waits only for what
// is left of the interval.
func (b *backups) run(ctx context.Context) {
	if b.every <= 0 {
		return
	}
	b.tidy()
	h := fnv.New64a()
	_, _ = h.Write([]byte(b.name)) // a hash never fails
	wait := time.Duration(h.Sum64() % uint64(b.every/4+1))
	if old := b.list(); len(old) > 0 {
		wait = max(wait/4, b.every-time.Since(old[len(old)-1].at))
	}
	timer := time.NewTimer(min(wait, b.every))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		timer.Reset(b.turn(ctx))
	}
}

// turn writes one, and gives the time until the next. What it came to is told in the status; that there is no room, in the
// log once.
func (b *backups) turn(ctx context.Context) (next time.Duration) {
	was := b.last.Load()
	if was == nil {
		was = &spec.Backup{}
	}
	told := *was
	if err := b.room(); err != nil {
		if told.Error = err.Error(); !strings.HasPrefix(was.Error, noRoom) {
			b.log.Error("scheduled snapshots are paused", "folder", b.dir, "error", err)
		}
		b.last.Store(&told)
		return min(b.every, time.Minute)
	}
	done, err := b.write(ctx)
	if ctx.Err() != nil && err != nil {
		return b.every
	}
	if err != nil {
		told.Error = err.Error()
		b.log.Error("a scheduled snapshot was not written; it is tried again", "folder", b.dir, "error", err)
		b.last.Store(&told)
		return min(b.every, time.Minute)
	}
	if err := b.prune(time.Now()); err != nil {
		done.Error = err.Error()
		b.log.Error("old snapshots could not be removed", "folder", b.dir, "error", err)
	}
	b.last.Store(done)
	return b.every
}

// noRoom begins what the status says while snapshots are paused.
const noRoom = "paused: "

// room is nil when the disk will not be nearly full with one more snapshot as large as the newest.
func (b *backups) room() error {
	dir := b.dir
	if _, err := os.Stat(dir); err != nil {
		dir = filepath.Dir(dir) // it is made by the first one
	}
	free, total, err := b.space(dir)
	if err != nil {
		return nil //nolint:nilerr // what is not known is no reason to go without
	}
	need := int64(0)
	if old := b.list(); len(old) > 0 {
		if st, err := os.Stat(old[len(old)-1].path); err == nil {
			need = st.Size()
		}
	}
	if !cluster.NearlyFull(free-need, total) {
		return nil
	}
	return fmt.Errorf("%sthe disk under %s has %d MiB free, and a snapshot takes %d MiB: make room, or keep fewer (--snapshot-keep)", noRoom, dir, free>>20, need>>20)
}

// write writes one and checks it.
func (b *backups) write(ctx context.Context) (*spec.Backup, error) {
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(b.dir, b.unfinished()+"*") // mode 0600
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	_, err = b.node.SaveSnapshot(ctx, f)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, err
	}
	l, err := lookAt(f.Name(), nil)
	if err != nil {
		return nil, fmt.Errorf("what was written does not read back: %w", err)
	}
	now := time.Now().UTC()
	path := b.file(now)
	for exists(path) { // of the same millisecond: it is not written over
		now = now.Add(time.Millisecond)
		path = b.file(now)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return nil, err
	}
	b.log.Info("wrote a snapshot", "file", path, "bytes", l.Bytes, "index", l.Index)
	return &spec.Backup{File: path, Time: model.FormatTime(now), Bytes: l.Bytes}, nil
}

func (b *backups) file(at time.Time) string {
	return filepath.Join(b.dir, "muster-"+b.name+"-"+at.Format(backupTime)+backupEnd)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// unfinished begins the name of a snapshot of this node that is not whole yet; a number follows.
func (b *backups) unfinished() string { return ".muster-" + b.name + "-new-" }

// tidy removes what a node that was killed left unfinished: nobody else ever would.
func (b *backups) tidy() {
	files, err := os.ReadDir(b.dir)
	if err != nil {
		return // nothing was written there yet, or writing will say what is wrong
	}
	for _, f := range files {
		number, ok := strings.CutPrefix(f.Name(), b.unfinished())
		if _, err := strconv.ParseUint(number, 10, 64); !ok || err != nil {
			continue
		}
		if err := os.Remove(filepath.Join(b.dir, f.Name())); err != nil {
			b.log.Warn("an unfinished snapshot is still there", "file", f.Name(), "error", err)
		}
	}
}

// backup is a snapshot on disk.
type backup struct {
	path string
	at   time.Time
}

// list are this node's snapshots, the oldest first. Files with other names are not ours to touch.
func (b *backups) list() []backup {
	files, err := os.ReadDir(b.dir)
	if err != nil {
		return nil
	}
	var out []backup
	for _, f := range files {
		rest, ok := strings.CutPrefix(f.Name(), "muster-"+b.name+"-")
		if !ok {
			continue
		}
		if at, err := time.Parse(backupTime+backupEnd, rest); err == nil {
			out = append(out, backup{filepath.Join(b.dir, f.Name()), at})
		}
	}
	slices.SortFunc(out, func(x, y backup) int { return x.at.Compare(y.at) })
	return out
}

// prune removes what is more than keep, or older than age. The newest always stays.
func (b *backups) prune(now time.Time) error {
	all := b.list()
	var errs []error
	for i, old := range all[:max(len(all)-1, 0)] {
		if len(all)-i > max(b.keep, 1) || b.age > 0 && now.Sub(old.at) > b.age {
			errs = append(errs, os.Remove(old.path))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("removing old snapshots: %w", err)
	}
	return nil
}

// backup is the last scheduled snapshot; nil before the first.
func (m *server) backup() *spec.Backup {
	if b := m.backups.Load(); b != nil {
		return b.last.Load()
	}
	return nil
}
