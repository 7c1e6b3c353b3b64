package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"

	"github.com/hashicorp/raft"
)

// ErrDamaged says that a log entry on this node's disk is not what was written.
var ErrDamaged = errors.New("the raft log on disk is damaged: " + adviceDamaged)

const adviceDamaged = "on another member run `muster cluster remove` for this node, empty its data folder and let it join again; " +
	"a node that was alone needs a copy of its folder"

// sumStore adds a CRC-32C to each entry's data and checks it on reading, which boltdb does not, and raft-wal only of the
// last entries when it starts.
type sumStore struct {
	raft.LogStore
	table *crc32.Table
	rooms sync.Pool // of *sumRoom
}

// sumRoom is memory for the copies that a store is given. Neither store keeps what it has stored.
type sumRoom struct {
	logs []raft.Log
	list []*raft.Log
	data []byte
}

// sumRoomMost bounds what is kept of it: a rush may need more once.
const sumRoomMost = 1 << 20

func newSumStore(s raft.LogStore) *sumStore {
	return &sumStore{LogStore: s, table: crc32.MakeTable(crc32.Castagnoli)}
}

// sum covers what decides: place, kind, data.
func (s *sumStore) sum(l *raft.Log, data []byte) uint32 {
	var head [17]byte
	binary.BigEndian.PutUint64(head[:], l.Index)
	binary.BigEndian.PutUint64(head[8:], l.Term)
	head[16] = byte(l.Type)
	c := crc32.Update(0, s.table, head[:])
	c = crc32.Update(c, s.table, l.Extensions)
	return crc32.Update(c, s.table, data)
}

// GetLog reads an entry; ErrDamaged when its checksum does not hold.
func (s *sumStore) GetLog(index uint64, l *raft.Log) error {
	if err := s.LogStore.GetLog(index, l); err != nil {
		return err
	}
	cut := len(l.Data) - 4
	if cut < 0 || l.Index != index || binary.BigEndian.Uint32(l.Data[cut:]) != s.sum(l, l.Data[:cut]) {
		return fmt.Errorf("log entry %d: %w", index, ErrDamaged)
	}
	l.Data = l.Data[:cut:cut]
	return nil
}

// lastTerm is the term of the last entry; 0 when there is none.
func (s *sumStore) lastTerm() (uint64, error) {
	last, err := s.LastIndex()
	if err != nil || last == 0 {
		return 0, err
	}
	var l raft.Log
	err = s.GetLog(last, &l)
	return l.Term, err
}

// StoreLog writes one entry.
func (s *sumStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs writes entries. Those of the caller stay as they are: raft shares them with its replication.
func (s *sumStore) StoreLogs(logs []*raft.Log) error {
	r, ok := s.rooms.Get().(*sumRoom)
	if !ok {
		r = &sumRoom{}
	}
	size := 0
	for _, l := range logs {
		size += len(l.Data) + 4
	}
	r.data, r.logs, r.list = slices.Grow(r.data[:0], size), slices.Grow(r.logs[:0], len(logs)), slices.Grow(r.list[:0], len(logs))
	for _, l := range logs {
		begin := len(r.data)
		r.data = binary.BigEndian.AppendUint32(append(r.data, l.Data...), s.sum(l, l.Data))
		r.logs = append(r.logs, *l)
		r.logs[len(r.logs)-1].Data = r.data[begin:len(r.data):len(r.data)]
		r.list = append(r.list, &r.logs[len(r.logs)-1])
	}
	err := s.LogStore.StoreLogs(r.list)
	clear(r.logs) // what it names is not to live on here
	if cap(r.data) <= sumRoomMost {
		s.rooms.Put(r)
	}
	return err
}

// IsMonotonic says whether the store below takes no gaps; raft then empties it before it goes on from a snapshot.
func (s *sumStore) IsMonotonic() bool {
	m, ok := s.LogStore.(raft.MonotonicLogStore)
	return ok && m.IsMonotonic()
}
