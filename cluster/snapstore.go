package cluster

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/muster-hq/muster/fsm/state"
)

const (
	snapshotsKept = 2
	snapshotTmp   = ".tmp"    // ends the name of a folder that is not finished
	flushEvery    = 512 << 10 // bytes, after which the disk is told to begin: the log waits behind what was told at once
)

// snapshotStore keeps raft's snapshots in DATA/raft/snapshots, in the folders and files of raft's own
// FileSnapshotStore, so that a node of an older version reads them. It differs in what is summed up: meta.json carries a
// checksum of itself, too, and the state's is a CRC-32C, which takes hardly any time, and which is checked as the state
// is read and not by reading all of it once more before. What nodes of the first schema can read has their checksum, too.
// It is safe for use by several goroutines, as raft wants it.
type snapshotStore struct {
	dir string
	log hclog.Logger
}

// openSnapshots opens the snapshots in a node's raft folder, makes room of those that were never finished, and refuses
// them when what one says of itself is damaged.
func openSnapshots(raftDir string, log hclog.Logger) (*snapshotStore, error) {
	s := &snapshotStore{dir: filepath.Join(raftDir, "snapshots"), log: log.Named("snapshots")}
	if err := makeFolder(s.dir); err != nil {
		return nil, err
	}
	unfinished, err := filepath.Glob(filepath.Join(s.dir, "*"+snapshotTmp))
	if err != nil {
		return nil, fmt.Errorf("opening the snapshots: %w", err)
	}
	for _, path := range unfinished {
		if err := os.RemoveAll(path); err != nil {
			return nil, fmt.Errorf("removing a snapshot that was not finished: %w", err)
		}
	}
	return s, checkSnapshots(raftDir)
}

// notes are those of all finished snapshots, the newest first. One that cannot be read is passed over.
func (s *snapshotStore) notes() ([]*snapshotNote, error) {
	folders, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("reading the snapshots: %w", err)
	}
	var out []*snapshotNote
	for _, f := range folders {
		if !f.IsDir() || strings.HasSuffix(f.Name(), snapshotTmp) {
			continue
		}
		note, err := readSnapshotNote(filepath.Join(s.dir, f.Name()))
		if err != nil {
			s.log.Warn("a snapshot cannot be read", "name", f.Name(), "error", err)
			continue
		}
		out = append(out, note)
	}
	slices.SortFunc(out, func(a, b *snapshotNote) int {
		return cmp.Or(cmp.Compare(b.Term, a.Term), cmp.Compare(b.Index, a.Index), strings.Compare(b.ID, a.ID))
	})
	return out, nil
}

// List gives the newest snapshots, the newest first.
func (s *snapshotStore) List() ([]*raft.SnapshotMeta, error) {
	notes, err := s.notes()
	if err != nil {
		return nil, err
	}
	var out []*raft.SnapshotMeta
	for _, n := range notes[:min(len(notes), snapshotsKept)] {
		out = append(out, &n.SnapshotMeta)
	}
	return out, nil
}

// Create begins a snapshot.
func (s *snapshotStore) Create(version raft.SnapshotVersion, index, term uint64, conf raft.Configuration, confIndex uint64,
	_ raft.Transport) (raft.SnapshotSink, error) {
	if version != 1 {
		return nil, fmt.Errorf("a snapshot of raft's version %d cannot be written", version)
	}
	id := fmt.Sprintf("%d-%d-%d", term, index, time.Now().UnixMilli())
	k := &snapshotSink{store: s, dir: filepath.Join(s.dir, id+snapshotTmp), sum: newStateSum(), old: newOldStateSum()}
	k.note.SnapshotMeta = raft.SnapshotMeta{Version: version, ID: id, Index: index, Term: term, Configuration: conf, ConfigurationIndex: confIndex}
	if err := makeFolder(k.dir); err != nil {
		return nil, err
	}
	var err error
	if k.file, err = os.OpenFile(filepath.Join(k.dir, stateFile), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("writing a snapshot: %w", err), os.RemoveAll(k.dir))
	}
	k.out = bufio.NewWriterSize(k.file, 64<<10)
	return k, nil
}

// Open opens a snapshot. Reading it fails before its end when it is not what was written.
func (s *snapshotStore) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	dir := filepath.Join(s.dir, id)
	note, err := readSnapshotNote(dir)
	if err != nil {
		return nil, nil, err
	}
	r, err := openState(dir, note)
	if err != nil {
		return nil, nil, err
	}
	return &note.SnapshotMeta, r, nil
}

// reap removes all but the newest snapshots.
func (s *snapshotStore) reap() error {
	notes, err := s.notes()
	if err != nil {
		return err
	}
	for _, n := range notes[min(len(notes), snapshotsKept):] {
		if err := os.RemoveAll(filepath.Join(s.dir, n.ID)); err != nil {
			return fmt.Errorf("removing an old snapshot: %w", err)
		}
	}
	return nil
}

// reapBefore removes the snapshots of before an index, if there is a later one. It says whether one of these is left.
func (s *snapshotStore) reapBefore(index uint64) (left bool, err error) {
	notes, err := s.notes()
	if err != nil || len(notes) == 0 {
		return false, err
	}
	if notes[0].Index < index {
		return true, nil
	}
	for _, n := range notes {
		if n.Index >= index {
			continue
		}
		if err := os.RemoveAll(filepath.Join(s.dir, n.ID)); err != nil {
			return true, fmt.Errorf("removing an old snapshot: %w", err)
		}
	}
	return false, nil
}

// snapshotSink takes a snapshot. Use it from one goroutine.
type snapshotSink struct {
	store *snapshotStore
	dir   string
	note  snapshotNote
	file  *os.File
	out   *bufio.Writer
	sum   hash.Hash32
	head  []byte      // the first bytes, which tell the form
	old   hash.Hash64 // nil once it is known that nobody wants it

	flushed int64 // so many bytes the disk was told to take
	closed  bool
}

// ID is the snapshot's name.
func (k *snapshotSink) ID() string { return k.note.ID }

// Write takes a part of the state.
func (k *snapshotSink) Write(p []byte) (int, error) {
	if k.old != nil {
		if n := state.HeadSize - len(k.head); n > 0 {
			k.head = append(k.head, p[:min(n, len(p))]...)
		}
		_, _ = k.old.Write(p) // a hash never fails
		if len(k.head) == state.HeadSize && !state.OldForm(k.head) {
			k.old = nil
		}
	}
	_, _ = k.sum.Write(p)
	n, err := k.out.Write(p)
	if k.note.Size += int64(n); err != nil {
		return n, fmt.Errorf("writing a snapshot: %w", err)
	}
	if now := k.note.Size - int64(k.out.Buffered()); now-k.flushed >= flushEvery {
		beginFlush(k.file, k.flushed, now-k.flushed)
		k.flushed = now
	}
	return n, nil
}

// Close finishes the snapshot: from here on it is one, also after a power cut. A failure leaves nothing of it.
func (k *snapshotSink) Close() error {
	if k.closed {
		return nil
	}
	k.closed = true
	if err := k.finish(); err != nil {
		return errors.Join(fmt.Errorf("writing a snapshot: %w", err), os.RemoveAll(k.dir))
	}
	return k.store.reap()
}

func (k *snapshotSink) finish() error {
	err := k.out.Flush()
	if err == nil {
		err = k.file.Sync()
	}
	if err = errors.Join(err, k.file.Close()); err != nil {
		return err
	}
	if k.note.Sum = hexSum(k.sum); k.old != nil {
		k.note.CRC = k.old.Sum(nil)
	}
	text, err := k.note.encode()
	if err == nil {
		err = writeSynced(filepath.Join(k.dir, noteFile), text)
	}
	if err == nil {
		err = syncFolder(k.dir)
	}
	if err == nil {
		err = os.Rename(k.dir, strings.TrimSuffix(k.dir, snapshotTmp))
	}
	if err == nil {
		err = syncFolder(k.store.dir)
	}
	return err
}

// Cancel gives the snapshot up.
func (k *snapshotSink) Cancel() error {
	if k.closed {
		return nil
	}
	k.closed = true
	if err := errors.Join(k.file.Close(), os.RemoveAll(k.dir)); err != nil {
		return fmt.Errorf("removing a snapshot that was given up: %w", err)
	}
	return nil
}

// syncFolder makes the names in a folder outlast a power cut. Windows neither can nor needs it.
func syncFolder(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("writing the folder: %w", err)
	}
	return errors.Join(f.Sync(), f.Close())
}

func newStateSum() hash.Hash32    { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) }
func newOldStateSum() hash.Hash64 { return crc64.New(crc64.MakeTable(crc64.ECMA)) }
func hexSum(h hash.Hash32) string { return fmt.Sprintf("%08x", h.Sum32()) }
