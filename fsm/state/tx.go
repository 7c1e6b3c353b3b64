package state

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/seal"
)

// TxOptions say on whose behalf a transaction runs.
type TxOptions struct {
	Actor string    // for the audit; SetActor may change it
	Term  uint64    // of a leader duty, 0 for everybody else
	Now   time.Time // the leader's time as the node knows it; an earlier one than the state's is ignored
}

// Tx is an optimistic transaction: it reads a view, notes what it read, and keeps its writes to itself,
// where it sees them. It is for one goroutine.
type Tx struct {
	base   *View
	opts   TxOptions
	reads  readSet
	writes writeSet
	notes  []LogNote
	memo   memo
	// rehearsal says that it is only tried, and never committed.
	rehearsal bool
	held      bool // it holds contents that would be staged
}

// pending is a row as the transaction will leave it.
type pending struct {
	table, key string
	old        *record // as committed; nil when absent
	rec        *record // as written; nil when deleted
	event      *noted  // to be told of the write; nil when there is nothing to tell
	domain     string  // whose key seals it; "" for a row in clear
}

// Begin starts a transaction on the present view of the store.
func (s *Store) Begin(o TxOptions) *Tx {
	v := s.View()
	if o.Now.After(v.now) {
		v.now = o.Now
	}
	return &Tx{base: v, opts: o}
}

// Index is the raft index of the snapshot that the transaction reads.
func (tx *Tx) Index() uint64 { return tx.base.Index() }

// Epoch is the epoch of that snapshot.
func (tx *Tx) Epoch() uint64 { return tx.base.Epoch() }

// Size is about how many bytes the rows take that the transaction has written so far.
func (tx *Tx) Size() int {
	n := 0
	for _, p := range tx.writes.list {
		if p.rec != nil {
			n += len(p.rec.value) + len(p.rec.key) + 64
		}
	}
	return n
}

// Schema is the schema that the cluster has raised.
func (tx *Tx) Schema() uint32 { return tx.base.pub.schema }

// Now is the leader's time, the only clock that a transaction may use.
func (tx *Tx) Now() time.Time { return tx.base.Now() }

// SetActor says who does this, for the audit.
func (tx *Tx) SetActor(name string) { tx.opts.Actor = name }

// Actor is who does this.
func (tx *Tx) Actor() string { return tx.opts.Actor }

func (tx *Tx) store() *Store { return tx.base.st }

func (tx *Tx) peek(table, key string) *record {
	if p := tx.writes.of(table, key); p != nil {
		return p.rec
	}
	return tx.base.peek(table, key)
}

func (tx *Tx) read(kind ReadKind, table, name string) {
	tx.reads.add(Read{Kind: kind, Table: table, Name: name})
}

func (tx *Tx) row(table, key string) *record {
	if p := tx.writes.of(table, key); p != nil {
		return p.rec
	}
	tx.read(ReadRow, table, key)
	return tx.memo.row(tx.base, table, key)
}

func (tx *Tx) exists(table, key string) bool {
	if p := tx.writes.of(table, key); p != nil {
		return p.rec != nil
	}
	tx.read(ReadExists, table, key)
	return tx.memo.row(tx.base, table, key) != nil
}

func (tx *Tx) unique(table, rng string) *record {
	tx.read(ReadMembers, table, rng)
	keys := tx.keysNow(table, rng)
	if len(keys) == 0 {
		return nil
	}
	return tx.row(table, keys[0])
}

func (tx *Tx) keys(table, rng string) []string {
	tx.read(ReadMembers, table, rng)
	return slices.Clone(tx.keysNow(table, rng))
}

// keysNow is keys without a note. The list is shared: nobody may change it.
func (tx *Tx) keysNow(table, rng string) []string {
	keys := tx.memo.keysOf(tx.base, table, rng)
	written := tx.written(table, rng)
	if written == nil {
		return keys
	}
	keys = slices.DeleteFunc(slices.Clone(keys), func(key string) bool { _, ok := written[key]; return ok })
	for key, rec := range written {
		if rec != nil {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

func (tx *Tx) members(table, rng string) []*record {
	tx.read(ReadContent, table, rng)
	return tx.membersNow(table, rng)
}

// membersNow is members without a note. The list is shared: nobody may change it.
func (tx *Tx) membersNow(table, rng string) []*record {
	recs := tx.memo.membersOf(tx.base, table, rng)
	written := tx.written(table, rng)
	if written == nil {
		return recs
	}
	recs = slices.DeleteFunc(slices.Clone(recs), func(r *record) bool { _, ok := written[r.key]; return ok })
	for _, rec := range written {
		if rec != nil {
			recs = append(recs, rec)
		}
	}
	slices.SortFunc(recs, func(a, b *record) int { return strings.Compare(a.key, b.key) })
	return recs
}

// written gives the rows of a range that the transaction has put (or put back), and nil for those that it
// has taken out of it. It is nil when the transaction has not touched the range.
func (tx *Tx) written(table, rng string) map[string]*record {
	var out map[string]*record
	for _, p := range tx.writes.list {
		now := p.rec != nil && p.rec.in(table, rng)
		if !now && (p.old == nil || !p.old.in(table, rng)) {
			continue
		}
		if out == nil {
			out = map[string]*record{}
		}
		if now {
			out[p.rec.key] = p.rec
		} else {
			out[p.old.key] = nil
		}
	}
	return out
}

func (r *record) in(table, rng string) bool {
	if r.table != table {
		return false
	}
	_, ok := slices.BinarySearch(r.ranges, rng)
	return ok
}

func (tx *Tx) put(rec *record, parentTable, parentKey string, known *knownFields) error {
	if err := checkNames(rec.table, rec.key, rec.ranges); err != nil {
		return err
	}
	if parentTable != "" && !tx.exists(parentTable, parentKey) {
		return model.Errorf(model.NotFound, "%s %q, to which %s %q belongs, does not exist",
			parentTable, parentKey, rec.table, rec.key)
	}
	p := tx.pending(rec.table, rec.key)
	was := p.rec
	if was != nil && known != nil {
		old, err := opened(tx, was)
		if err != nil {
			return unreadable(err)
		}
		value, err := carry(old, rec.value, known)
		if err != nil {
			return fmt.Errorf("put %s %q: %w", rec.table, rec.key, err)
		}
		rec.value = value
	}
	if p.old != nil {
		rec.version = p.old.version
	}
	p.rec = rec
	return nil
}

// pending gives the entry of a row in the write buffer and makes it with what is stored. The write of a
// row is verified as a read of it, so a read before is no longer noted.
func (tx *Tx) pending(table, key string) *pending {
	p := tx.writes.of(table, key)
	if p == nil {
		old := tx.memo.row(tx.base, table, key)
		p = &pending{table: table, key: key, old: old, rec: old}
		tx.writes.add(p)
		tx.reads.drop(Read{Kind: ReadRow, Table: table, Name: key})
		tx.reads.drop(Read{Kind: ReadExists, Table: table, Name: key})
	}
	return p
}

// Commit makes the commit with an ID of its own, of the schema that the cluster has raised; nil when there is
// nothing to write. It fails with model.TooLarge beyond MaxCommit.
func (tx *Tx) Commit() (*Commit, error) {
	if tx.rehearsal {
		return nil, errRehearsal
	}
	return tx.assemble()
}

func (tx *Tx) assemble() (*Commit, error) {
	c := &Commit{Base: tx.base.Index(), Epoch: tx.base.Epoch(), Term: tx.opts.Term, Schema: tx.base.pub.schema, Actor: tx.opts.Actor}
	size := 64 + len(c.Actor)
	keys, err := tx.sealers()
	if err != nil {
		return nil, err
	}
	if n := len(tx.writes.list); n > 0 {
		c.Writes = make([]Write, 0, n)
	}
	for _, p := range tx.writes.sorted() {
		w, ok := p.write()
		if !ok {
			continue
		}
		if k := keys[p.domain]; k != nil && !w.Delete {
			w.Value = k.Seal(w.Value, seal.Place{Table: w.Table, Key: w.Key})
		}
		size += len(w.Table) + len(w.Key) + len(w.Value) + 16 + textsSize(w.Old) + textsSize(w.New)
		if p.event != nil {
			size += len(p.event.org) + len(p.event.object) + 5
			c.Events = append(c.Events, EventNote{Write: len(c.Writes), Org: p.event.org, Object: p.event.object})
		}
		c.Writes = append(c.Writes, w)
	}
	if len(c.Writes) == 0 && len(tx.notes) == 0 {
		return nil, nil
	}
	for i := range tx.notes {
		size += tx.notes[i].size()
	}
	c.Notes = tx.notes
	c.Reads = tx.reads.all()
	for _, r := range c.Reads {
		size += len(r.Table) + len(r.Name) + 5
	}
	// A row put and deleted again within the transaction leaves no write, but was read.
	for _, p := range tx.writes.list {
		if p.old == nil && p.rec == nil {
			c.Reads = append(c.Reads, Read{Kind: ReadRow, Table: p.table, Name: p.key})
		}
	}
	slices.SortFunc(c.Reads, compareReads)
	if size > MaxCommit {
		return nil, model.Errorf(model.TooLarge, "this changes %d bytes at once; at most %d are possible: do it in parts", size, MaxCommit)
	}
	if _, err := rand.Read(c.ID[:]); err != nil {
		return nil, fmt.Errorf("make an id of the commit: %w", err)
	}
	return c, nil
}

func (p *pending) write() (Write, bool) {
	switch {
	case p.rec == nil && p.old == nil:
		return Write{}, false
	case p.rec == nil:
		return Write{Table: p.old.table, Key: p.old.key, Delete: true, Old: p.old.ranges}, true
	}
	w := Write{Table: p.rec.table, Key: p.rec.key, New: p.rec.ranges, Value: p.rec.value, Fresh: p.old == nil}
	if p.old != nil {
		w.Old = p.old.ranges
	}
	return w, true
}

// textsSize is what texts add to the size of a commit.
func textsSize(list []string) (n int) {
	for _, s := range list {
		n += len(s) + 3
	}
	return n
}

func compareReads(a, b Read) int {
	if c := strings.Compare(a.Table, b.Table); c != 0 {
		return c
	}
	if c := strings.Compare(a.Name, b.Name); c != 0 {
		return c
	}
	return int(a.Kind) - int(b.Kind)
}

// Change is a row as a transaction found it and as it leaves it. The values are shared: never change them.
type Change struct {
	Table, Key string
	Old, New   []byte // in clear; nil when there is no such row
}

// Changes lists what the transaction writes so far, by table and key.
func (tx *Tx) Changes() []Change {
	var out []Change
	for _, p := range tx.writes.sorted() {
		if p.old == p.rec {
			continue
		}
		c := Change{Table: p.table, Key: p.key}
		if p.old != nil {
			c.Old = mustOpen(tx, p.old)
		}
		if p.rec != nil {
			c.New = mustOpen(tx, p.rec)
		}
		out = append(out, c)
	}
	return out
}

// Quiet reads what the transaction sees and notes nothing, so it conflicts with nothing: for what is told of a
// transaction, not for what it decides.
func (tx *Tx) Quiet() Reader { return quiet{tx} }
