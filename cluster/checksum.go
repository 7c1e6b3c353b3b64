package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

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
}

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
	size := 0
	for _, l := range logs {
		size += len(l.Data) + 4
	}
	out, copies, buf := make([]*raft.Log, len(logs)), make([]raft.Log, len(logs)), make([]byte, 0, size)
	for i, l := range logs {
		begin := len(buf)
		buf = binary.BigEndian.AppendUint32(append(buf, l.Data...), s.sum(l, l.Data))
		copies[i] = *l
		copies[i].Data = buf[begin:len(buf):len(buf)]
		out[i] = &copies[i]
	}
	return s.LogStore.StoreLogs(out)
}

// IsMonotonic says whether the store below takes no gaps; raft then empties it before it goes on from a snapshot.
func (s *sumStore) IsMonotonic() bool {
	m, ok := s.LogStore.(raft.MonotonicLogStore)
	return ok && m.IsMonotonic()
}
