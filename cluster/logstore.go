package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	wal "github.com/hashicorp/raft-wal"
	"go.etcd.io/bbolt"
)

// The stores of raft's log and of its term and vote, as Config.RaftStore names them.
const (
	StoreBolt = "boltdb" // one file, DATA/raft/log.db
	StoreWAL  = "wal"    // files that are only appended to, in DATA/raft/wal
)

// raftStore keeps raft's log and what else raft must not forget.
type raftStore interface {
	raft.LogStore
	raft.StableStore
	io.Closer
}

// storePaths is where each store has its log, in a node's raft folder.
func storePaths(dir string) map[string]string {
	return map[string]string{StoreBolt: filepath.Join(dir, "log.db"), StoreWAL: filepath.Join(dir, "wal")}
}

// storeIn is the store whose log a node's raft folder holds; "" when it holds none.
func storeIn(dir string) string {
	for kind, path := range storePaths(dir) {
		if _, err := os.Stat(path); err == nil {
			return kind
		}
	}
	return ""
}

// BoltOptions are how boltdb is used for the log. The list of free pages is written with each commit: without it bbolt
// finds them at the start in a goroutine of its own, where a damaged page ends the process before anybody can say why.
func BoltOptions() *bbolt.Options {
	return &bbolt.Options{Timeout: time.Second, FreelistType: bbolt.FreelistMapType}
}

// openRaftStore opens the log in a node's raft folder. A folder that holds a log of the other kind is refused: its
// entries would be missing. So is a log that ends before the last entry that was stored in it (see lastMark).
func openRaftStore(dir, kind string, segment int, hlog hclog.Logger) (raftStore, error) {
	paths := storePaths(dir)
	for other, path := range paths {
		if _, err := os.Stat(path); other != kind && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("the raft log in %s is kept by the store %q, and this node is told to use %q: set raft-store to %q, "+
				"or remove the node from its cluster, empty its data folder and let it join again", dir, other, kind, other)
		}
	}
	var store raftStore
	var err error
	if path := paths[kind]; kind == StoreBolt {
		store, err = raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: BoltOptions(), MsgpackUseNewTimeFormat: true})
	} else if err = makeFolder(path); err == nil {
		store, err = wal.Open(path, wal.WithSegmentSize(segment), wal.WithLogger(hlog))
	}
	if err != nil {
		return nil, fmt.Errorf("opening the raft log %s: %w", paths[kind], err)
	}
	m, err := openMark(filepath.Join(dir, "last"))
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	last, err := store.LastIndex()
	if err == nil && last < m.index {
		err = fmt.Errorf("the raft log %s ends at entry %d, and entry %d had been stored: %w", paths[kind], last, m.index, ErrDamaged)
	}
	marked := &markedStore{raftStore: store, mark: m}
	if err != nil {
		return nil, errors.Join(err, marked.Close())
	}
	return marked, nil
}

// lastMark is DATA/raft/last: the index of the last entry that the log has taken. Both stores, when they open, pass
// over an end that they cannot read, since it may be the rest of a write that was cut off. Only an entry that was stored
// to the end is noted, so a log that ends before it has lost something. It is written after the log and not synced: it
// outlives the process, and after a power cut it may lag behind, never be ahead.
type lastMark struct {
	file *os.File

	mu    sync.Mutex
	index uint64
}

// markSize is the index and its checksum.
const markSize = 12

func openMark(path string) (*lastMark, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the mark of the log's end: %w", err)
	}
	m := &lastMark{file: f}
	b := make([]byte, markSize)
	n, err := f.ReadAt(b, 0)
	switch {
	case errors.Is(err, io.EOF) && n == 0: // new, or made by a version without marks
		return m, nil
	case err != nil && !errors.Is(err, io.EOF):
		return nil, errors.Join(fmt.Errorf("reading the mark of the log's end: %w", err), f.Close())
	}
	if index, ok := decodeMark(b[:n]); ok { // else a power cut tore it: it knows nothing
		m.index = index
	}
	return m, nil
}

func encodeMark(index uint64) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, markSize), index)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

func decodeMark(b []byte) (uint64, bool) {
	if len(b) != markSize || crc32.ChecksumIEEE(b[:8]) != binary.BigEndian.Uint32(b[8:]) {
		return 0, false
	}
	return binary.BigEndian.Uint64(b), true
}

func (m *lastMark) set(index uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.index = index
	if _, err := m.file.WriteAt(encodeMark(index), 0); err != nil {
		return fmt.Errorf("marking the log's end: %w", err)
	}
	return nil
}

func (m *lastMark) last() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.index
}

// markedStore is a store that marks the end of its log. Raft adds to it and cuts its end from one goroutine, and deletes
// what a snapshot holds from another.
type markedStore struct {
	raftStore
	mark *lastMark
}

// StoreLog writes one entry.
func (s *markedStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs writes entries, then the mark.
func (s *markedStore) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	if err := s.raftStore.StoreLogs(logs); err != nil {
		return err
	}
	return s.mark.set(logs[len(logs)-1].Index)
}

// DeleteRange deletes entries. Where these are the last ones, the mark goes back first.
func (s *markedStore) DeleteRange(first, last uint64) error {
	if end := s.mark.last(); first <= end && last >= end {
		begin, err := s.FirstIndex()
		if err != nil {
			return err
		}
		index := first - 1
		if first <= begin {
			index = 0 // nothing is left
		}
		if err := s.mark.set(index); err != nil {
			return err
		}
	}
	return s.raftStore.DeleteRange(first, last)
}

// IsMonotonic says whether the store takes no gaps.
func (s *markedStore) IsMonotonic() bool {
	m, ok := s.raftStore.(raft.MonotonicLogStore)
	return ok && m.IsMonotonic()
}

// Close closes store and mark.
func (s *markedStore) Close() error { return errors.Join(s.raftStore.Close(), s.mark.file.Close()) }
