// Package statetest gives tests a real store without raft: transactions are encoded, verified and applied
// as a cluster of one would do.
package statetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/muster-hq/muster/fsm/seal"
	"github.com/muster-hq/muster/fsm/state"
)

// DB is a store with a log of its own. It has the methods of a cluster's node that read and write.
type DB struct {
	st *state.Store

	mu     sync.Mutex
	index  uint64
	clock  func() time.Time
	before func(*state.Commit)
}

// New makes an empty store with tables, in epoch 1, term 1, with the newest schema raised. Its time is the
// machine's. If rows of some table are sealed, it has a key of the cluster, in use.
func New(t testing.TB, tables ...state.TableDef) *DB {
	t.Helper()
	return NewOptions(t, state.Options{Tables: Tables(t, tables...)})
}

// Tables gathers tables.
func Tables(t testing.TB, defs ...state.TableDef) *state.Tables {
	t.Helper()
	tables, err := state.NewTables(defs...)
	if err != nil {
		t.Fatalf("tables: %v", err)
	}
	return tables
}

// NewOptions is New with settings.
func NewOptions(t testing.TB, o state.Options) *DB {
	t.Helper()
	active := ""
	if o.Keys == nil && o.Tables != nil && o.Tables.Seals() {
		key := seal.NewKey()
		active, o.Keys = key.ID(), &seal.Keyring{}
		o.Keys.Add(key)
	}
	st, err := state.NewStore(o)
	if err != nil {
		t.Fatalf("make a store: %v", err)
	}
	db := &DB{st: st, clock: time.Now}
	b := st.Batch()
	db.index = 1
	b.Entry(db.index, db.clock().UnixNano())
	b.SetEpoch(1)
	b.OpenTerm(1)
	b.Publish()
	if err := db.Inject(func(tx *state.Tx) error { return state.RaiseSchema(tx, st.Known()) }); err != nil {
		t.Fatalf("raise the schema: %v", err)
	}
	if active == "" || st.Known() < state.SchemaSeals {
		return db
	}
	if err := db.Inject(func(tx *state.Tx) error { return state.PutClusterKeys(tx, state.ClusterKeys{Active: active}) }); err != nil {
		t.Fatalf("use a key: %v", err)
	}
	return db
}

// SetClock sets where the leader's time comes from. The store's time never goes back, whatever it says.
func (db *DB) SetClock(now func() time.Time) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.clock = now
}

// BeforeCommit sets what is called with each commit before it is verified, so that a test can put another
// change in between, by Inject. Update would wait there for the transaction that has the turn.
func (db *DB) BeforeCommit(f func(*state.Commit)) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.before = f
}

// Store is the store itself.
func (db *DB) Store() *state.Store { return db.st }

// Update runs fn as an optimistic transaction and retries it on conflicts.
func (db *DB) Update(ctx context.Context, fn func(tx *state.Tx) error) error {
	_, err := db.UpdateIndex(ctx, fn)
	return err
}

// UpdateIndex is Update that also tells the index at which fn took effect, or that of the view if it wrote nothing.
func (db *DB) UpdateIndex(ctx context.Context, fn func(tx *state.Tx) error) (uint64, error) {
	return state.RunIndex(ctx, db.st, db, state.TxOptions{}, fn)
}

// View is the present state.
func (db *DB) View(ctx context.Context) (*state.View, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("view: %w", err)
	}
	return db.Local(), nil
}

// Local is the present state.
func (db *DB) Local() *state.View { return db.st.View().At(db.Now()) }

// Inject runs fn as a transaction once, past BeforeCommit and past those who wait for a turn. It fails when
// the transaction is refused.
func (db *DB) Inject(fn func(tx *state.Tx) error) error {
	c, err := db.st.Attempt(state.TxOptions{Now: db.Now()}, fn)
	if err != nil || c == nil {
		return err
	}
	res, err := db.apply(c)
	if err == nil && res.Outcome != state.Applied {
		err = fmt.Errorf("the injected change was refused: %s", res.Outcome)
	}
	return err
}

// Propose encodes, decodes, verifies and applies one commit as an entry of its own.
func (db *DB) Propose(ctx context.Context, c *state.Commit) (state.Result, error) {
	if err := ctx.Err(); err != nil {
		return state.Result{}, fmt.Errorf("propose: %w", err)
	}
	db.mu.Lock()
	before := db.before
	db.mu.Unlock()
	if before != nil {
		before(c)
	}
	return db.apply(c)
}

func (db *DB) apply(c *state.Commit) (state.Result, error) {
	c, err := state.DecodeCommit(c.Encode(make([]byte, 0, c.EncodedSize())))
	if err != nil {
		return state.Result{}, err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.index++
	b := db.st.Batch()
	b.Entry(db.index, db.clock().UnixNano())
	res, err := b.Commit(c)
	if err != nil {
		b.Abort()
		return state.Result{}, errors.Join(errors.New("the store is broken"), err)
	}
	b.Publish()
	return res, nil
}

// OpenTerm opens a later term, so that commits of earlier ones are refused.
func (db *DB) OpenTerm(term uint64) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.index++
	b := db.st.Batch()
	b.Entry(db.index, db.clock().UnixNano())
	b.OpenTerm(term)
	b.Publish()
}

// Current is the time; the store is always current.
func (db *DB) Current(context.Context, uint64) (time.Time, error) { return db.Now(), nil }

// Now is the time of the clock.
func (db *DB) Now() time.Time {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.clock()
}

// Save writes a snapshot of the present state.
func (db *DB) Save(t testing.TB) []byte {
	t.Helper()
	sn := db.st.Snapshot()
	defer sn.Release()
	var b bytes.Buffer
	if err := sn.Write(&b); err != nil {
		t.Fatalf("save a snapshot: %v", err)
	}
	return b.Bytes()
}

// Restore puts the state of a snapshot in the place of the present one, in a new epoch, as a cluster does.
func (db *DB) Restore(t testing.TB, snapshot []byte) {
	t.Helper()
	backup, err := state.NewStore(state.Options{})
	if err == nil {
		err = backup.Restore(bytes.NewReader(snapshot))
	}
	if err != nil {
		t.Fatalf("read a snapshot: %v", err)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	present := db.st.View()
	sn, err := backup.Reborn(state.Rebirth{Term: present.Term(), Keep: present})
	if err != nil {
		t.Fatalf("prepare the state to come: %v", err)
	}
	defer sn.Release()
	var b bytes.Buffer
	if err = sn.Write(&b); err == nil {
		err = db.st.Restore(&b)
	}
	if err != nil {
		t.Fatalf("restore: %v", err)
	}
	db.index = sn.Info().Index
}
