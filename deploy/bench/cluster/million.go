package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"time"

	"github.com/hashicorp/go-memdb"
	"github.com/hashicorp/raft"

	"github.com/muster-hq/muster/fsm"
	"github.com/muster-hq/muster/fsm/state"
)

// rowAt is the i-th of many rows: the same on both sides.
func rowAt(i int, t *texts) *benchRow {
	return newRow(i/chain, i%chain, 1, t.next())
}

// million is a state machine with many rows, without raft: ours or go-memdb's own.
type million struct {
	plain *plainMachine
	ours  *fsm.FSM
	store *state.Store
	rows  []*plainRow // prepared
}

// millionArgs say which.
type millionArgs struct {
	Ours bool `json:"ours"`
}

func newMillion(_ context.Context, raw json.RawMessage) (part, error) {
	a, err := read[millionArgs](raw)
	if err != nil {
		return nil, err
	}
	m := &million{}
	if !a.Ours {
		m.plain, err = newPlainMachine()
		return m, err
	}
	all, err := state.NewTables(tables()...)
	if err != nil {
		return nil, fmt.Errorf("the tables: %w", err)
	}
	if m.store, err = state.NewStore(state.Options{Tables: all}); err != nil {
		return nil, fmt.Errorf("making the state: %w", err)
	}
	m.ours, err = fsm.New(fsm.Options{Store: m.store, Log: slog.New(slog.DiscardHandler), Fatal: func(err error) { panic(err) }})
	return m, err
}

func (m *million) do(_ context.Context, what string, raw json.RawMessage) (any, error) {
	switch what {
	case "fill": // through the machine, as a log would; answers the bytes of heap that a row takes
		n, err := read[int](raw)
		if err != nil {
			return nil, err
		}
		return m.fill(n)
	case "prepare":
		n, err := read[int](raw)
		if err != nil {
			return nil, err
		}
		return nil, m.prepare(n)
	case "insert": // the prepared rows into a fresh go-memdb; answers seconds
		return m.insert()
	case "persist": // iterates, encodes, flushes to disk; answers seconds
		path, err := read[string](raw)
		if err != nil {
			return nil, err
		}
		return m.persist(path)
	}
	return nil, fmt.Errorf("a machine cannot %s", what)
}

func (m *million) close() error { return nil }

// fill applies one row an entry, and entries in batches as raft gives them.
func (m *million) fill(n int) (float64, error) {
	const batch = 64
	t := newTexts(2)
	before := heapUsed()
	var logs []*raft.Log
	for i := range n {
		data, err := m.entry(rowAt(i, t), uint64(i+1))
		if err != nil {
			return 0, err
		}
		logs = append(logs, &raft.Log{Index: uint64(i + 1), Term: 1, Type: raft.LogCommand, Data: data})
		if len(logs) < batch && i < n-1 {
			continue
		}
		for _, out := range m.apply(logs) {
			switch res := out.(type) {
			case int64:
			case []state.Result:
				if res[0].Outcome != state.Applied {
					return 0, fmt.Errorf("a row was refused: %s", res[0].Outcome)
				}
			default:
				return 0, fmt.Errorf("a row was answered with %v", out)
			}
		}
		logs = logs[:0]
	}
	clear(logs[:cap(logs)])
	used := float64(heapUsed()-before) / float64(n)
	runtime.KeepAlive(m)
	runtime.KeepAlive(t)
	return used, nil
}

// heapUsed is what is in use after garbage was collected.
func heapUsed() uint64 {
	runtime.GC()
	runtime.GC() // the first may have found some half done
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

func (m *million) apply(logs []*raft.Log) []any {
	if m.plain != nil {
		return m.plain.ApplyBatch(logs)
	}
	return m.ours.ApplyBatch(logs)
}

func (m *million) entry(row *benchRow, index uint64) ([]byte, error) {
	value, err := row.value()
	if err != nil {
		return nil, err
	}
	if m.plain != nil {
		return plainOf(row, value).encode(nil), nil
	}
	c := state.Commit{Base: index - 1, Schema: 1, Writes: []state.Write{{Table: row.Table(), Key: row.Key(), New: row.Ranges(), Value: value, Fresh: true}}}
	for i := range 8 {
		c.ID[i] = byte(index >> (8 * i))
	}
	e := fsm.Entry{Kind: fsm.KindCommits, Time: time.Now(), Commits: [][]byte{c.Encode(nil)}}
	return e.Encode(nil), nil
}

func plainOf(row *benchRow, value []byte) *plainRow {
	x := row.Ranges()
	return &plainRow{Count: int64(row.Version), Key: row.Key(), Owner: x[0], Place: x[1], Type: x[2], Value: value}
}

func (m *million) prepare(n int) error {
	if m.plain == nil {
		return errors.New("only go-memdb's own rows are prepared")
	}
	t := newTexts(2)
	m.rows = make([]*plainRow, n)
	for i := range m.rows {
		row := rowAt(i, t)
		value, err := row.value()
		if err != nil {
			return err
		}
		m.rows[i] = plainOf(row, value)
	}
	return nil
}

func (m *million) insert() (float64, error) {
	m.plain.db = nil
	runtime.GC()
	began := time.Now()
	var db *memdb.MemDB
	db, err := newPlainDB()
	if err != nil {
		return 0, err
	}
	txn := db.Txn(true)
	for _, r := range m.rows {
		if err := txn.Insert(plainTable, r); err != nil {
			return 0, fmt.Errorf("inserting a row: %w", err)
		}
	}
	txn.Commit()
	m.plain.db = db
	return time.Since(began).Seconds(), nil
}

func (m *million) persist(path string) (_ float64, err error) {
	began := time.Now()
	f, err := os.Create(path)
	if err != nil {
		return 0, fmt.Errorf("writing a snapshot: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(path)) }()
	if err := (&plainSnapshot{m.plain.db.Snapshot()}).write(io.Writer(f)); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, fmt.Errorf("writing a snapshot: %w", err)
	}
	return time.Since(began).Seconds(), nil
}
