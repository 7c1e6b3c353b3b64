package cluster

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// diskState is what of a node is on disk. It is closed last.
type diskState struct {
	lock    io.Closer
	kept    raftStore // nil until opened
	logs    raft.LogStore
	stable  raft.StableStore
	snaps   raft.SnapshotStore
	watch   *diskWatch
	grown   growth
	newest  atomic.Pointer[place] // snapshot; nil without
	running atomic.Bool           // raft's goroutines call, no longer the one that starts it
	files   *snapshotStore        // below snaps
}

func (d *diskState) close() error {
	var err error
	if d.kept != nil {
		err = d.kept.Close()
	}
	return errors.Join(err, d.lock.Close())
}

// open opens the stores. Failed is told what ends the node: a write that failed, an entry that is damaged.
func (d *diskState) open(dir string, cfg Config, hlog hclog.Logger, failed func(error)) error {
	if err := makeFolder(dir); err != nil {
		return err
	}
	d.watch = newDiskWatch(cfg.Timing, cfg.Disk.Reserve)
	var err error
	if cfg.RaftStore == StoreBolt {
		if err = forgetPages(dir, hlog); err != nil {
			return err
		}
	}
	if d.kept, err = openRaftStore(dir, cfg.RaftStore, cfg.Timing.SegmentBytes, hlog); err != nil {
		return err
	}
	stop := &stopper{running: &d.running, before: cfg.BeforeWrite, watch: d.watch, failed: failed}
	sums := newSumStore(d.kept)
	lastTerm, err := sums.lastTerm()
	if err != nil {
		return err
	}
	stable, err := openStable(d.kept, lastTerm, func() bool { return cfg.RaftStore == StoreWAL && !raised(cfg.DataDir) })
	if err != nil {
		return err
	}
	d.stable = &stableStore{stable, stop}
	if d.logs, err = raft.NewLogCache(512, &logStore{sums, stop, &d.grown, &d.newest}); err != nil {
		return fmt.Errorf("opening the raft log: %w", err)
	}
	if d.files, err = openSnapshots(dir, hlog); err != nil {
		return err
	}
	d.snaps, err = placed(d.files, &d.newest)
	return err
}

// stopper ends a node whose disk fails. Raft would go on as a follower that takes no entries, or would panic.
type stopper struct {
	running *atomic.Bool
	before  func() // nil, or called before each write
	watch   *diskWatch
	failed  func(error)
}

// write does a write, and tells when it failed.
func (s *stopper) write(f func() error) error {
	if s.before != nil {
		s.before()
	}
	return s.written(f())
}

// written tells of a write that failed.
func (s *stopper) written(err error) error {
	if err != nil {
		err = fmt.Errorf("the raft log cannot be written (is the disk full?): make room and start this node again: %w", err)
		s.failed(err)
	}
	return err
}

// read tells of what was read and is damaged. It does not return then, if raft runs.
func (s *stopper) read(err error) error {
	if errors.Is(err, ErrDamaged) {
		s.failed(err)
		s.leave()
	}
	return err
}

// leave ends the calling goroutine of raft, where the error would make raft panic, which would end the process before
// the node could say why. What waits for the goroutine is freed, since raft counts it down as it ends.
func (s *stopper) leave() {
	if s.running.Load() {
		runtime.Goexit()
	}
}

// logStore is a log whose failures end the node.
type logStore struct {
	*sumStore
	stop   *stopper
	grown  *growth
	newest *atomic.Pointer[place]
}

// GetLog reads an entry. It does not return when the entry is damaged and raft runs.
func (l *logStore) GetLog(index uint64, out *raft.Log) error {
	return l.stop.read(l.sumStore.GetLog(index, out))
}

// StoreLog writes one entry.
func (l *logStore) StoreLog(e *raft.Log) error {
	return l.StoreLogs([]*raft.Log{e})
}

// StoreLogs writes entries. After a failure a leader steps down and a follower answers no: nobody counts on them. Those
// that contradict the snapshot of this node end it.
func (l *logStore) StoreLogs(es []*raft.Log) error {
	if p := l.newest.Load(); p.contradicts(es) {
		err := fmt.Errorf("entry %d of the leader is of term %d, beside a snapshot of entry %d and term %d: %w", es[0].Index, es[len(es)-1].Term, p.index, p.term, errNotTaken)
		l.stop.failed(err)
		return err
	}
	l.grown.add(es)
	return l.stop.watch.wrote(func() error { return l.stop.write(func() error { return l.sumStore.StoreLogs(es) }) })
}

// DeleteRange deletes entries.
func (l *logStore) DeleteRange(first, last uint64) error {
	return l.stop.write(func() error { return l.sumStore.DeleteRange(first, last) })
}

// stableStore is where raft keeps term and vote; its failures end the node.
type stableStore struct {
	raft.StableStore
	stop *stopper
}

// Get reads a value. It does not return when that is damaged and raft runs.
func (s *stableStore) Get(key []byte) ([]byte, error) {
	v, err := s.StableStore.Get(key)
	return v, s.stop.read(err)
}

// GetUint64 reads a number. It does not return when that is damaged and raft runs.
func (s *stableStore) GetUint64(key []byte) (uint64, error) {
	v, err := s.StableStore.GetUint64(key)
	return v, s.stop.read(err)
}

// Set keeps a value.
func (s *stableStore) Set(key, value []byte) error {
	return s.stop.write(func() error { return s.StableStore.Set(key, value) })
}

// SetUint64 keeps a number. It does not return when it fails and raft runs, since raft panics when it cannot keep its
// term.
func (s *stableStore) SetUint64(key []byte, value uint64) error {
	err := s.stop.write(func() error { return s.StableStore.SetUint64(key, value) })
	if err != nil {
		s.stop.leave()
	}
	return err
}

// unbroken runs what reads the node's files for the first time: the stores and raft panic over files that are damaged.
func unbroken(dir string, f func() error) (err error) {
	old := debug.SetPanicOnFault(true) // bbolt maps the file, and reads past the end of one that was cut short
	defer func() {
		debug.SetPanicOnFault(old)
		if p := recover(); p != nil {
			cause, ok := p.(error)
			if !ok {
				cause = fmt.Errorf("%v", p)
			}
			err = fmt.Errorf("the files in %s cannot be read: %w", dir, cause)
			if !errors.Is(cause, ErrDamaged) {
				err = fmt.Errorf("%w (%s)", err, adviceDamaged)
			}
		}
	}()
	return f()
}
