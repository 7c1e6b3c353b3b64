package state

import (
	"context"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/hashicorp/go-memdb"
)

// View is one consistent state: everything read through it is as of one raft index. It is safe for
// concurrent use and needs no closing.
type View struct {
	st  *Store
	pub *published
	now time.Time
	ws  *WatchSet
}

// Index is the raft index of the view.
func (v *View) Index() uint64 { return v.pub.index }

// Epoch is the epoch of the view.
func (v *View) Epoch() uint64 { return v.pub.epoch }

// Term is the term that is open in the view.
func (v *View) Term() uint64 { return v.pub.term }

// Now is the time of the last entry, or the later one given to At.
func (v *View) Now() time.Time {
	if v.ws != nil {
		v.ws.clock()
	}
	return v.now
}

// At is the same view that knows a later time of the leader's; an earlier one is ignored.
func (v *View) At(now time.Time) *View {
	c := *v
	if now.After(c.now) {
		c.now = now
	}
	return &c
}

// Watched is the same view, with everything that is read through it noted in ws.
func (v *View) Watched(ws *WatchSet) *View {
	c := *v
	c.ws = ws
	return &c
}

// Await is a view of the same store that holds entry index: this one if it does, else the present one once it does.
// The error is the context's.
func (v *View) Await(ctx context.Context, index uint64) (*View, error) {
	if v.pub.index >= index {
		return v, nil
	}
	if err := v.st.WaitIndex(ctx, index); err != nil {
		return nil, err
	}
	later := v.st.View().At(v.now)
	later.ws = v.ws
	return later, nil
}

func (v *View) store() *Store { return v.st }

func (v *View) peek(table, key string) *record { return v.pub.row(table, key) }

func (v *View) row(table, key string) *record {
	if v.ws != nil {
		v.ws.add(v, markRow, table, key)
		v.ws.add(v, markExists, table, key)
	}
	return v.pub.row(table, key)
}

func (v *View) unique(table, rng string) *record {
	if v.ws != nil {
		v.ws.add(v, markMembers, table, rng)
	}
	key, ok := v.pub.first(table, rng)
	if !ok {
		return nil
	}
	return v.row(table, key)
}

func (v *View) members(table, rng string) []*record {
	if v.ws != nil {
		v.ws.add(v, markMembers, table, rng)
		v.ws.add(v, markContent, table, rng)
	}
	return v.pub.members(table, rng)
}

func (v *View) keys(table, rng string) []string {
	if v.ws != nil {
		v.ws.add(v, markMembers, table, rng)
	}
	return v.pub.keys(table, rng)
}

// published is what readers see: made by the machine, never changed, swapped as one.
type published struct {
	index uint64
	term  uint64
	epoch uint64
	time  int64  // unix nanoseconds, the leader's
	life  uint64 // grows by one with each restore, on this node only
	// schema is what the row of the schema says, ring the events: both change with commits only.
	schema uint32
	ring   ring
	db     *memdb.MemDB
	next   chan struct{} // closed when there is a newer one
	txn    *memdb.Txn    // reads of; shared by all readers, as nothing in it changes
	of     *memdb.MemDB
	names  *sync.Pool // of *rowName; nil is none
}

// reader reads the tables. A transaction of memdb that only reads may be used by many at once.
func (p *published) reader() *memdb.Txn {
	if p.of != p.db { // it was not published
		return p.db.Txn(false)
	}
	return p.txn
}

func (p *published) row(table, key string) *record {
	var n *rowName
	if p.names != nil {
		n, _ = p.names.Get().(*rowName)
	}
	if n == nil {
		n = &rowName{}
	}
	n.table, n.key = table, key
	obj, err := p.reader().First(tableRows, "id", n)
	if n.table, n.key = "", ""; p.names != nil {
		p.names.Put(n)
	}
	if err != nil || obj == nil {
		return nil
	}
	return obj.(*record)
}

// rowName is a row's key for textIndex, to be looked up once. Its memory is used again, as memdb does not keep it.
type rowName struct {
	table, key string
	text       []byte
}

func (p *published) first(table, rng string) (string, bool) {
	it, err := p.reader().Get(tableMembers, "id_prefix", memberID(table, rng, ""))
	if err != nil {
		return "", false
	}
	obj := it.Next()
	if obj == nil {
		return "", false
	}
	return obj.(*member).key(), true
}

// keys gives who is in a range, in order.
func (p *published) keys(table, rng string) []string {
	it, err := p.reader().Get(tableMembers, "id_prefix", memberID(table, rng, ""))
	if err != nil {
		return nil
	}
	var out []string
	for obj := it.Next(); obj != nil; obj = it.Next() {
		out = append(out, obj.(*member).key())
	}
	return out
}

// members gives the records of a range by key order.
func (p *published) members(table, rng string) []*record {
	keys := p.keys(table, rng)
	out := make([]*record, 0, len(keys))
	for _, key := range keys {
		if rec := p.row(table, key); rec != nil {
			out = append(out, rec)
		}
	}
	return out
}

// member says that a row is in a range. It names the row and does not hold it, so that an edit which
// leaves the ranges alone leaves this index alone, too.
type member struct{ id string }

func (m *member) key() string { return m.id[strings.LastIndex(m.id, sep)+1:] }

const (
	tableRows    = "rows"
	tableMembers = "members"
)

// alias gives the bytes of a text without a copy. The trees below keep keys, and never write into them.
func alias(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// textIndex makes composed keys of records and members, for memdb.
type textIndex struct{}

// FromObject is memdb's: the key of a stored object.
func (textIndex) FromObject(obj any) (bool, []byte, error) {
	switch o := obj.(type) {
	case *record:
		if o.id != "" {
			return true, alias(o.id), nil
		}
		b := make([]byte, 0, len(o.table)+1+len(o.key))
		b = append(b, o.table...)
		b = append(b, sep...)
		return true, append(b, o.key...), nil
	case *member:
		return true, alias(o.id), nil
	}
	return false, nil, errWrongObject
}

// FromArgs is memdb's: the key that is looked up.
func (textIndex) FromArgs(args ...any) ([]byte, error) {
	if len(args) == 1 {
		switch a := args[0].(type) {
		case string:
			return alias(a), nil
		case *rowName:
			a.text = append(append(append(a.text[:0], a.table...), sep...), a.key...)
			return a.text, nil
		}
	}
	return nil, errWrongObject
}

// PrefixFromArgs is memdb's: the beginning of the keys that are looked up.
func (t textIndex) PrefixFromArgs(args ...any) ([]byte, error) { return t.FromArgs(args...) }

func newDB() (*memdb.MemDB, error) {
	one := func(name string) *memdb.TableSchema {
		return &memdb.TableSchema{Name: name, Indexes: map[string]*memdb.IndexSchema{
			"id": {Name: "id", Unique: true, Indexer: textIndex{}},
		}}
	}
	db, err := memdb.NewMemDB(&memdb.DBSchema{Tables: map[string]*memdb.TableSchema{
		tableRows: one(tableRows), tableMembers: one(tableMembers),
	}})
	if err != nil {
		return nil, err
	}
	// A snapshot of a memdb does not track mutations for memdb's own watches, which nobody uses here.
	return db.Snapshot(), nil
}
