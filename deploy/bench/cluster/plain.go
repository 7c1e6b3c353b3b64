package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/go-memdb"
	"github.com/hashicorp/raft"
)

const plainTable = "rows"

// newPlainDB makes a go-memdb with the rows' key and three indexes.
func newPlainDB() (*memdb.MemDB, error) {
	index := func(name string, unique bool, text textIndex) *memdb.IndexSchema {
		return &memdb.IndexSchema{Name: name, Unique: unique, Indexer: text}
	}
	db, err := memdb.NewMemDB(&memdb.DBSchema{Tables: map[string]*memdb.TableSchema{plainTable: {
		Name: plainTable,
		Indexes: map[string]*memdb.IndexSchema{
			"id":    index("id", true, func(r *plainRow) string { return r.Key }),
			"owner": index("owner", false, func(r *plainRow) string { return r.Owner }),
			"place": index("place", false, func(r *plainRow) string { return r.Place }),
			"type":  index("type", false, func(r *plainRow) string { return r.Type }),
		},
	}}})
	if err != nil {
		return nil, fmt.Errorf("making the tables: %w", err)
	}
	return db, nil
}

// textIndex is memdb's index of a text field, without the reflection of memdb's own.
type textIndex func(*plainRow) string

// FromObject implements memdb.SingleIndexer.
func (x textIndex) FromObject(obj any) (bool, []byte, error) {
	text := x(obj.(*plainRow))
	return true, append(append(make([]byte, 0, len(text)+1), text...), 0), nil
}

// FromArgs implements memdb.Indexer.
func (textIndex) FromArgs(args ...any) ([]byte, error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("an index of one text was given %d", len(args))
	}
	return []byte(fmt.Sprint(args[0]) + "\x00"), nil
}

// plainMachine puts rows into go-memdb, and does nothing else.
type plainMachine struct{ db *memdb.MemDB }

func newPlainMachine() (*plainMachine, error) {
	db, err := newPlainDB()
	return &plainMachine{db}, err
}

// Apply applies one entry.
func (m *plainMachine) Apply(l *raft.Log) any { return m.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch applies a raft batch in one transaction. The answer is the count of the entry's last row, or an error.
func (m *plainMachine) ApplyBatch(logs []*raft.Log) []any {
	out := make([]any, len(logs))
	txn := m.db.Txn(true)
	for i, l := range logs {
		if l.Type == raft.LogCommand {
			out[i] = putAll(txn, l.Data)
		}
	}
	txn.Commit()
	return out
}

func putAll(txn *memdb.Txn, data []byte) any {
	var last int64
	for len(data) > 0 {
		r, rest, err := decodePlain(data)
		if err == nil {
			err = txn.Insert(plainTable, r)
		}
		if err != nil {
			return err
		}
		last, data = r.Count, rest
	}
	return last
}

// Snapshot takes the present state.
func (m *plainMachine) Snapshot() (raft.FSMSnapshot, error) {
	return &plainSnapshot{m.db.Snapshot()}, nil
}

// Restore is never needed: the bare loop is not started again.
func (*plainMachine) Restore(r io.ReadCloser) error {
	return errors.Join(errors.New("the bare loop does not restore"), r.Close())
}

type plainSnapshot struct{ db *memdb.MemDB }

// Persist iterates and encodes.
func (s *plainSnapshot) Persist(sink raft.SnapshotSink) error {
	if err := s.write(sink); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

func (s *plainSnapshot) write(w io.Writer) error {
	out := bufio.NewWriterSize(w, 64<<10)
	it, err := s.db.Txn(false).Get(plainTable, "id")
	if err != nil {
		return fmt.Errorf("iterating: %w", err)
	}
	var buf []byte
	for obj := it.Next(); obj != nil; obj = it.Next() {
		buf = obj.(*plainRow).encode(buf[:0])
		if _, err := out.Write(buf); err != nil {
			return fmt.Errorf("writing a snapshot: %w", err)
		}
	}
	return out.Flush()
}

// Release has nothing to let go.
func (*plainSnapshot) Release() {}
