package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	wal "github.com/hashicorp/raft-wal"

	"github.com/muster-hq/muster/cluster"
)

// bareArgs say how a node of the bare loop starts.
type bareArgs struct {
	Name  string `json:"name"`
	Dir   string `json:"dir"`
	Store string `json:"store"`
}

// bare is a node of the bare loop: raft with the same log store and settings as ours, and a state machine that only
// puts the rows into go-memdb.
type bare struct {
	raft  *raft.Raft
	addr  raft.ServerAddress
	store io.Closer
	value []byte
	count []int64 // of each client
}

func newBare(_ context.Context, raw json.RawMessage) (part, error) {
	a, err := read[bareArgs](raw)
	if err != nil {
		return nil, err
	}
	quiet := hclog.NewNullLogger()
	store, err := openStore(a.Store, a.Dir)
	if err != nil {
		return nil, err
	}
	cache, err := raft.NewLogCache(512, store) // as ours
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	snaps, err := raft.NewFileSnapshotStoreWithLogger(a.Dir, 2, quiet)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	trans, err := raft.NewTCPTransportWithLogger("127.0.0.1:0", nil, 3, 5*time.Second, quiet)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	machine, err := newPlainMachine()
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	rc := timing(false).RaftConfig(a.Name)
	rc.Logger = quiet
	value, err := rowAt(0, newTexts(1)).value()
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	b := &bare{addr: trans.LocalAddr(), store: store, value: value}
	if b.raft, err = raft.NewRaft(rc, machine, cache, store, snaps, trans); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return b, nil
}

// bareStore is a log with what else raft must not forget.
type bareStore interface {
	raft.LogStore
	raft.StableStore
	io.Closer
}

// openStore opens a log store with the settings of cluster, but without its checksums and marks.
func openStore(kind, dir string) (s bareStore, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making a folder: %w", err)
	}
	switch kind {
	case storeBolt:
		s, err = raftboltdb.New(raftboltdb.Options{
			Path: filepath.Join(dir, "log.db"), BoltOptions: cluster.BoltOptions(), MsgpackUseNewTimeFormat: true,
		})
	case storeWAL:
		const segment = 16 << 20 // as cluster.Timing has it
		s, err = wal.Open(dir, wal.WithSegmentSize(segment), wal.WithLogger(hclog.NewNullLogger()))
	default:
		err = fmt.Errorf("the bare loop has no log store %q", kind)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the log: %w", err)
	}
	return s, nil
}

func (b *bare) do(ctx context.Context, what string, raw json.RawMessage) (any, error) {
	switch what {
	case "addr":
		return b.addr, nil
	case "bootstrap":
		c, err := read[raft.Configuration](raw)
		if err != nil {
			return nil, err
		}
		return nil, b.raft.BootstrapCluster(c).Error()
	case "state":
		return nodeState{Leader: b.raft.State() == raft.Leader, Voters: len(b.raft.GetConfiguration().Configuration().Servers), Term: b.raft.CurrentTerm()}, nil
	case "load":
		a, err := read[loadArgs](raw)
		if err != nil {
			return nil, err
		}
		a.PerEntry = max(a.PerEntry, 1)
		b.count = append(b.count, make([]int64, max(0, a.Clients-len(b.count)))...)
		r, err := profiled(a.Profile, func() (loadResult, error) { return drive(ctx, a, nil, b.commit(a.PerEntry)) })
		r.Commits *= int64(a.PerEntry)
		r.Rate *= float64(a.PerEntry)
		return r, err
	}
	return nil, fmt.Errorf("a node of the bare loop cannot %s", what)
}

// commit applies an entry with some commands and checks what the machine answers.
func (b *bare) commit(perEntry int) func(context.Context, int) (outcome, error) {
	return func(_ context.Context, client int) (outcome, error) {
		entry := make([]byte, 0, perEntry*(rowSize+128))
		for range perEntry {
			n := b.count[client]
			b.count[client]++
			x := namesOf(client, int(n%chain))
			r := plainRow{Count: n, Key: x.owner + "/" + x.kind, Owner: "owner/" + x.owner, Place: "place/" + x.place, Type: "type/" + x.kind, Value: b.value}
			entry = r.encode(entry)
		}
		f := b.raft.Apply(entry, 0)
		if err := f.Error(); err != nil {
			return failed, err
		}
		if got := f.Response(); got != b.count[client]-1 {
			return failed, fmt.Errorf("the bare loop put row %d and was answered %v", b.count[client]-1, got)
		}
		return done, nil
	}
}

func (b *bare) close() error { return errors.Join(b.raft.Shutdown().Error(), b.store.Close()) }

// profiled does something, with a CPU profile when a file is given.
func profiled[T any](path string, do func() (T, error)) (v T, err error) {
	if path == "" {
		return do()
	}
	f, err := os.Create(path)
	if err != nil {
		return v, fmt.Errorf("profiling: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := pprof.StartCPUProfile(f); err != nil {
		return v, fmt.Errorf("profiling: %w", err)
	}
	defer pprof.StopCPUProfile()
	return do()
}

// plainRow is a row as the bare loop keeps it: the same value and the same three indexes.
type plainRow struct {
	Count              int64
	Key                string
	Owner, Place, Type string
	Value              []byte
}

func (r *plainRow) encode(buf []byte) []byte {
	buf = binary.AppendUvarint(buf, uint64(r.Count))
	for _, s := range []string{r.Key, r.Owner, r.Place, r.Type} {
		buf = binary.AppendUvarint(buf, uint64(len(s)))
		buf = append(buf, s...)
	}
	buf = binary.AppendUvarint(buf, uint64(len(r.Value)))
	return append(buf, r.Value...)
}

var errPlainRow = errors.New("a row of the bare loop that is cut")

// decodePlain reads the first row of b; the row's texts are its own.
func decodePlain(b []byte) (r *plainRow, rest []byte, err error) {
	count, n := binary.Uvarint(b)
	if n <= 0 {
		return nil, nil, errPlainRow
	}
	b = b[n:]
	var parts [5][]byte
	for i := range parts {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return nil, nil, errPlainRow
		}
		parts[i], b = b[n:n+int(size)], b[n+int(size):]
	}
	return &plainRow{Count: int64(count), Key: string(parts[0]), Owner: string(parts[1]), Place: string(parts[2]),
		Type: string(parts[3]), Value: append([]byte(nil), parts[4]...)}, b, nil
}
