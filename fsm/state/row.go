// Package state keeps Muster's rows: consistent views of them, optimistic transactions over a view, the
// verification that decides whether a transaction still holds, and watches that wake only those concerned.
//
// It knows rows and ranges, no rules: what a row means is in fsm/model and fsm/orchestrate. See DESIGN.md.
package state

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/muster-hq/muster/fsm/seal"
)

// Row is a noun that is kept. Its methods are on *T; Table must also work on a nil receiver.
//
// Key never changes in the life of a row. Ranges names the sets that the row is in, such as the children
// of an environment; a unique name is a range too, with at most one member. Parent names the row that
// must exist for this one to be put; an empty table means none. No name may hold a NUL byte.
type Row interface {
	Table() string
	Key() string
	Ranges() []string
	Parent() (table, key string)
}

// rowPtr ties a struct type to its pointer, which has the methods.
type rowPtr[T any] interface {
	*T
	Row
}

// Version says which write made a row: the raft index of its log entry and the position of the write in
// that entry. It is unique within an epoch and only ever grows, so it serves as an ETag and as a cursor.
type Version struct {
	Index uint64
	Pos   uint32
}

// String is "index-position".
func (v Version) String() string { return fmt.Sprintf("%d-%d", v.Index, v.Pos) }

// Reader is what rows are read through: a *View or a *Tx.
type Reader interface {
	// Index is the raft index of the snapshot that is read.
	Index() uint64
	// Epoch is the epoch of the snapshot; indexes are comparable within one epoch only.
	Epoch() uint64
	// Now is the leader's time as far as this reader knows it.
	Now() time.Time

	row(table, key string) *record
	unique(table, rng string) *record
	members(table, rng string) []*record
	keys(table, rng string) []string
	peek(table, key string) *record // row, noting nothing
	store() *Store
}

// Get reads one row. The result is shared with every other reader: never change it; use Edit for that.
func Get[T any, P rowPtr[T]](r Reader, key string) (*T, bool) {
	rec := r.row(P(nil).Table(), key)
	if rec == nil {
		return nil, false
	}
	return shared[T](r, rec), true
}

// Edit reads one row as a private copy, to be changed and then given to Put.
func Edit[T any, P rowPtr[T]](tx *Tx, key string) (*T, bool) {
	rec := tx.row(P(nil).Table(), key)
	if rec == nil {
		return nil, false
	}
	return decode[T](rec, slices.Clone(mustOpen(tx, rec))), true
}

// Find reads the member of a range that has at most one; of more it gives the first by key. The result is
// shared: never change it. A transaction that found nothing conflicts with one that creates a member.
func Find[T any, P rowPtr[T]](r Reader, rng string) (*T, bool) {
	rec := r.unique(P(nil).Table(), rng)
	if rec == nil {
		return nil, false
	}
	return shared[T](r, rec), true
}

// List reads the members of a range with their content, by key order. The results are shared: never
// change them. A transaction that listed conflicts with every edit of a member.
func List[T any, P rowPtr[T]](r Reader, rng string) []*T {
	recs := r.members(P(nil).Table(), rng)
	out := make([]*T, len(recs))
	for i, rec := range recs {
		out[i] = shared[T](r, rec)
	}
	return out
}

// Keys reads who is in a range, by key order. It conflicts with members coming and going, not with edits.
func Keys[T any, P rowPtr[T]](r Reader, rng string) []string {
	return r.keys(P(nil).Table(), rng)
}

// VersionOf is the version of a row as it was committed; false when there is no such row. In a
// transaction that has put the row, it is the version before that put (zero for a new row).
func VersionOf[T any, P rowPtr[T]](r Reader, key string) (Version, bool) {
	rec := r.row(P(nil).Table(), key)
	if rec == nil {
		return Version{}, false
	}
	return rec.version, true
}

// Put creates or replaces a row within the transaction. The row is read off at once: later changes of it
// have no effect. Fields of the stored row that T does not know are kept. It fails when the table's Validate
// refuses the row, with model.Unavailable while the cluster's schema is older than the table, when a name is malformed, when the parent does not exist, and with model.Internal when T is
// not what the store's tables say or cannot be written as JSON.
func Put[T any, P rowPtr[T]](tx *Tx, row *T) error {
	p := P(row)
	table, key := p.Table(), p.Key()
	def, err := tx.base.st.tables.of(table, row)
	if err != nil {
		return err
	}
	if err := def.mayPut(tx.base.pub.schema); err != nil {
		return err
	}
	if def.check != nil {
		if err := def.check(row); err != nil {
			return err
		}
	}
	value, err := encode(row)
	if err != nil {
		return fmt.Errorf("write row %s %s as JSON: %w", table, key, err)
	}
	pt, pk := p.Parent()
	rec := &record{table: table, key: key, ranges: cleanRanges(p.Ranges()), value: value}
	if err := tx.put(rec, pt, pk, def.known); err != nil {
		return err
	}
	if def.domain != nil {
		tx.pending(table, key).domain = def.domain(quiet{tx}, row)
	}
	tx.note(def, key, row)
	return nil
}

// Delete removes a row within the transaction; a row that is not there is no error.
func Delete[T any, P rowPtr[T]](tx *Tx, key string) {
	table := P(nil).Table()
	rec := tx.row(table, key)
	if rec == nil {
		return
	}
	row := any(nil)
	def, err := tx.base.st.tables.of(table, (*T)(nil))
	if err == nil && def.event != nil && tx.hasEvents() {
		row = shared[T](tx, rec)
	}
	tx.pending(table, key).rec = nil
	if row != nil {
		tx.note(def, key, row)
	}
}

// record is one stored row. Nothing in it changes once it is stored, save the cache.
type record struct {
	id      string // rowID of table and key, of which these are parts; "" until it is stored
	table   string
	key     string
	ranges  []string // sorted, no duplicates
	value   []byte   // JSON for rows, opaque bytes for chunks of contents
	version Version
	cache   atomic.Pointer[decodedRow] // made by the first reader
}

// decodedRow is what reading a record made.
type decodedRow struct {
	obj   any    // the decoded object
	clear []byte // of a sealed record whose object consists of parts of it: so it takes no room of its own
}

// corrupt is the panic value for a stored row that its type cannot be read from: a fault of ours that no
// caller can handle. Attempt turns it into an error.
type corrupt struct{ err error }

func (c corrupt) Error() string { return c.err.Error() }
func (c corrupt) Unwrap() error { return c.err }

// A row may read and write its JSON at once, without reflection: appender and reader. Both answer false for what they
// leave to encoding/json, and otherwise do just what that does. What ReadRow reads may be parts of data, which is the
// stored value of a row that is shared: nothing of either changes.
type (
	appender interface{ AppendRow(b []byte) ([]byte, bool) }
	reader   interface{ ReadRow(data []byte) bool }
)

// encode writes a row as JSON.
func encode(row any) ([]byte, error) {
	if a, ok := row.(appender); ok {
		if b, ok := a.AppendRow(nil); ok {
			return b, nil
		}
	}
	return json.Marshal(row)
}

// decode makes a fresh object of a record's value, of which the object may hold parts.
func decode[T any](r *record, value []byte) *T {
	t, _ := decodeQuick[T](r, value)
	return t
}

// decodeQuick is decode that tells whether the object consists of parts of the value.
func decodeQuick[T any](r *record, value []byte) (t *T, parts bool) {
	t = new(T)
	if quick, ok := any(t).(reader); ok {
		if quick.ReadRow(value) {
			return t, true
		}
		t = new(T)
	}
	if err := json.Unmarshal(value, t); err != nil {
		panic(corrupt{fmt.Errorf("row %s %q does not read as %T: %w", r.table, r.key, t, err)})
	}
	return t, false
}

// shared gives the one object of a record that all its readers share. A sealed one is opened by the first of them.
func shared[T any](by Reader, r *record) *T {
	if c := r.cache.Load(); c != nil {
		if t, ok := c.obj.(*T); ok {
			return t
		}
	}
	value := mustOpen(by, r)
	obj, parts := decodeQuick[T](r, value)
	c := &decodedRow{obj: obj}
	if parts && seal.Sealed(r.value) {
		c.clear = value
	}
	if !r.cache.CompareAndSwap(nil, c) {
		if t, ok := r.cache.Load().obj.(*T); ok {
			return t
		}
	}
	return obj
}
