package state

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-memdb"
	"github.com/klauspost/compress/zstd"

	"github.com/muster-hq/muster/fsm/seal"
)

var errWrongObject = errors.New("not an object of this index")

// DefaultWindow is how many changes the machine remembers in two generations, if Options says nothing.
const DefaultWindow = 1 << 20

// Options are a store's settings.
type Options struct {
	// Window is how many changed keys and ranges, and how many commit ids, are remembered at most. It
	// decides which commits are too old, so every node of a cluster must have the same; a restored
	// snapshot brings its own. Zero means DefaultWindow.
	Window int
	// Tables are those that rows can be put into; nil means none.
	Tables *Tables
	// Version is that of the software; it is told to nodes that are too old for a schema that this one raises.
	Version string
	// Known is the newest schema that this node takes part in. Zero means Schema, and only a test gives less.
	Known uint32
	// EventBytes is how much memory the ring of events may take. As with Window, every node must have the same; a
	// snapshot brings its own once there are events. Zero means DefaultEventBytes.
	EventBytes int
	// Keys are the cluster's keys, which open and seal the rows of sealed tables. Nil: none is sealed, and none opens.
	Keys *seal.Keyring
}

// Store holds the rows and all else that verifying a commit consults. Views and transactions may be used
// from any goroutine; Begin, Restore and Snapshot belong to the one that applies the log.
type Store struct {
	pub   atomic.Pointer[published]
	hub   hub
	turns turns
	enc   *zstd.Encoder // of contents; safe for concurrent EncodeAll
	dec   *zstd.Decoder
	names sync.Pool // of *rowName

	stored     stored
	vault      vault
	tables     *Tables
	version    string
	known      uint32
	eventBytes int

	// The machine's own. memMu guards mem against waiters that look whether they are late.
	db    *memdb.MemDB
	memMu sync.RWMutex
	mem   *memory
	kinds map[string]*kinds
	ends  map[string]tail // of logs, as the last batch that appended left them
}

// NewStore makes an empty store.
func NewStore(o Options) (*Store, error) {
	if o.Window <= 0 {
		o.Window = DefaultWindow
	}
	if o.EventBytes <= 0 {
		o.EventBytes = DefaultEventBytes
	}
	if o.Known == 0 {
		o.Known = Schema
	}
	db, err := newDB()
	if err != nil {
		return nil, fmt.Errorf("make the row tables: %w", err)
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("make the encoder of contents: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxContent))
	if err != nil {
		return nil, fmt.Errorf("make the decoder of contents: %w", err)
	}
	s := &Store{db: db, mem: newMemory(o.Window), enc: enc, dec: dec, kinds: map[string]*kinds{},
		stored: stored{of: map[string]int64{}}, tables: o.Tables, version: o.Version, known: o.Known, eventBytes: o.EventBytes, vault: vault{ring: o.Keys}}
	if s.tables == nil {
		s.tables = &Tables{}
	}
	s.pub.Store(&published{schema: SchemaFirst, ring: ring{limit: o.EventBytes}, db: db.Snapshot(), next: make(chan struct{})})
	return s, nil
}

// Known is the newest schema that this node takes part in.
func (s *Store) Known() uint32 { return s.known }

// View is the present state as this node has it.
func (s *Store) View() *View {
	p := s.pub.Load()
	return &View{st: s, pub: p, now: time.Unix(0, p.time).UTC()}
}

// AppliedIndex is the index of the last entry whose effect readers see.
func (s *Store) AppliedIndex() uint64 { return s.pub.Load().index }

// Schema is the schema that the cluster has raised, as SchemaOf tells it.
func (s *Store) Schema() uint32 { return s.pub.Load().schema }

// Term is the highest term that was opened.
func (s *Store) Term() uint64 { return s.pub.Load().term }

// Epoch is the present epoch; 0 before the first was set.
func (s *Store) Epoch() uint64 { return s.pub.Load().epoch }

// Now is the leader's time of the last entry.
func (s *Store) Now() time.Time { return time.Unix(0, s.pub.Load().time).UTC() }

// Updated is closed once the state is newer than at the call. It closes at every entry: to wait for
// certain rows, use a WatchSet.
func (s *Store) Updated() <-chan struct{} { return s.pub.Load().next }

// WaitIndex waits until readers see the effect of entry index. The error is the context's.
func (s *Store) WaitIndex(ctx context.Context, index uint64) error {
	for {
		p := s.pub.Load()
		if p.index >= index {
			return nil
		}
		select {
		case <-p.next:
		case <-ctx.Done():
			return fmt.Errorf("wait for index %d at index %d: %w", index, p.index, ctx.Err())
		}
	}
}

// publish shows a new state to readers and ends the waits for it.
func (s *Store) publish(p *published) {
	p.next = make(chan struct{})
	p.txn, p.of, p.names = p.db.Txn(false), p.db, &s.names
	old := s.pub.Swap(p)
	close(old.next)
}
