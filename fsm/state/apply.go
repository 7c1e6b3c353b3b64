package state

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/hashicorp/go-memdb"
)

// Batch applies entries of the log in one transaction of the tables. Readers see nothing of it before
// Publish. It belongs to the goroutine that applies the log; only one may be open.
type Batch struct {
	st      *Store
	txn     *memdb.Txn
	next    published
	pos     uint32 // of the next write in the present entry
	changed []mark
	tails   map[string]*tail // the ends of logs that this batch has appended to
	base    *published       // what was published before
	shares  shares
	writes  int // of the present commit
}

// Batch begins to apply entries. End it with Publish, or with Abort after an error.
func (s *Store) Batch() *Batch {
	p := s.pub.Load()
	s.memMu.Lock()
	s.mem.thaw()
	b := &Batch{st: s, txn: s.db.Txn(true), next: *p, base: p}
	b.next.db, b.next.next = nil, nil
	return b
}

// Entry begins the entry of an index. Time is the leader's in unix nanoseconds; it never goes back.
func (b *Batch) Entry(index uint64, time int64) {
	b.endEntry()
	b.next.index = max(b.next.index, index)
	b.next.time = max(b.next.time, time)
	b.pos = 0
}

// Skip passes an entry that holds nothing for the machine but has an index.
func (b *Batch) Skip(index uint64) { b.Entry(index, b.next.time) }

func (b *Batch) endEntry() { b.st.mem.turn(b.next.index) }

// OpenTerm opens a term; one that is not later than the open one changes nothing.
func (b *Batch) OpenTerm(term uint64) Result {
	b.next.term = max(b.next.term, term)
	return Result{Outcome: Applied, Index: b.next.index}
}

// SetEpoch begins an epoch: the value, or one more than the present if the value is not above it.
func (b *Batch) SetEpoch(value uint64) Result {
	b.next.epoch = max(value, b.next.epoch+1)
	return Result{Outcome: Applied, Index: b.next.index}
}

// Commit verifies one commit and applies it, and keeps nothing of it. An error means
// that the tables can no longer be trusted: the node must stop.
func (b *Batch) Commit(c *Commit) (Result, error) {
	m := b.st.mem
	res := Result{Index: b.next.index}
	if t, ok := m.outcome(c.ID); ok {
		return Result{Outcome: Applied, Index: t.index, Pos: t.pos}, nil
	}
	switch {
	case c.Epoch != b.next.epoch || c.Base < m.floor:
		res.Outcome = TooOld
		return res, nil
	case c.Base >= b.next.index || c.Schema > b.next.schema || !wellFormed(c):
		res.Outcome = Malformed
		return res, nil
	case c.Term != 0 && c.Term < b.next.term:
		res.Outcome = Fenced
		return res, nil
	}
	if key, ok := b.stale(c); ok {
		res.Outcome, res.ConflictKey = Conflict, key
		return res, nil
	}
	if ok, err := b.raise(c); !ok || err != nil {
		res.Outcome = Malformed
		return res, err
	}
	res.Outcome, res.Pos, b.writes = Applied, b.pos, len(c.Writes)
	for i := range c.Writes {
		if err := b.write(&c.Writes[i]); err != nil {
			return Result{}, fmt.Errorf("apply commit %s at index %d: %w", c.ID, b.next.index, err)
		}
	}
	b.tell(c, res.Pos)
	if err := b.append(c); err != nil {
		return Result{}, fmt.Errorf("apply commit %s at index %d: %w", c.ID, b.next.index, err)
	}
	m.remember(c.ID, took{index: res.Index, pos: res.Pos})
	return res, nil
}

// raise takes over the schema if the commit raises it; false when it does so in a way that nobody may. The error
// is a *SchemaError when this node does not know the schema.
func (b *Batch) raise(c *Commit) (bool, error) {
	for i := range c.Writes {
		to, version, ok, err := c.Writes[i].raises(b.next.schema)
		switch {
		case !ok:
			continue
		case err != nil:
			return false, nil // the sender's fault; nothing was changed
		case to > b.st.known:
			return false, &SchemaError{What: "the cluster", Schema: to, Known: b.st.known, Version: version}
		}
		if to >= SchemaEvents && b.next.schema < SchemaEvents {
			b.next.ring = ring{limit: b.next.ring.limit, floor: Version{Index: b.next.index, Pos: math.MaxUint32}}
		}
		b.next.schema = to
	}
	return true, nil
}

// wellFormed says whether a commit's names can be composed, and each row is written and told of once.
func wellFormed(c *Commit) bool {
	for i := range c.Writes {
		w := &c.Writes[i]
		if checkNames(w.Table, w.Key, w.Old) != nil || checkNames(w.Table, w.Key, w.New) != nil ||
			w.Delete && (w.Fresh || len(w.New) > 0) || w.Fresh && len(w.Old) > 0 ||
			!ascending(w.Old) || !ascending(w.New) {
			return false
		}
		if i == 0 {
			continue
		}
		prev := &c.Writes[i-1]
		if strings.Compare(prev.Table, w.Table) > 0 || prev.Table == w.Table && prev.Key >= w.Key {
			return false
		}
	}
	for i, n := range c.Events {
		if n.Write < 0 || n.Write >= len(c.Writes) || i > 0 && n.Write <= c.Events[i-1].Write {
			return false
		}
	}
	for i := range c.Notes {
		if !c.Notes[i].wellFormed() {
			return false
		}
	}
	return true
}

func ascending(list []string) bool {
	for i := 1; i < len(list); i++ {
		if list[i-1] >= list[i] {
			return false
		}
	}
	return true
}

// stale names the first thing that changed since the commit's base.
func (b *Batch) stale(c *Commit) (string, bool) {
	m := b.st.mem
	after := func(kind byte, table, name string) bool { return m.last(markOf(kind, table, name)) > c.Base }
	for i := range c.Reads {
		r := &c.Reads[i]
		var hit bool
		switch r.Kind {
		case ReadRow:
			hit = after(markRow, r.Table, r.Name) || after(markExists, r.Table, r.Name)
		case ReadExists:
			hit = after(markExists, r.Table, r.Name)
		case ReadMembers:
			hit = after(markMembers, r.Table, r.Name)
		case ReadContent:
			hit = after(markMembers, r.Table, r.Name) || after(markContent, r.Table, r.Name)
		}
		if hit {
			return conflictKey(r.Table, r.Name), true
		}
	}
	for i := range c.Writes {
		w := &c.Writes[i]
		if after(markRow, w.Table, w.Key) || after(markExists, w.Table, w.Key) {
			return conflictKey(w.Table, w.Key), true
		}
	}
	return "", false
}

func (b *Batch) touch(kind byte, table, name string) {
	k := markOf(kind, table, name)
	b.st.mem.touch(k, b.next.index)
	b.changed = append(b.changed, k)
}

// write changes one row. Names and value are copied: they are cut from an entry that is not ours to keep. Each has its
// own memory: the tree may keep the names of the first version of a row for as long as there is one.
func (b *Batch) write(w *Write) error { return b.put(w, bytes.Clone(w.Value)) }

// put is write with a value that is kept as it is, in place of the write's.
func (b *Batch) put(w *Write, value []byte) error {
	pos := b.pos
	b.pos++
	if w.Table == tableLog {
		b.logWritten(w)
	}
	if w.Delete || w.Fresh {
		b.touch(markExists, w.Table, w.Key)
	} else {
		b.touch(markRow, w.Table, w.Key)
	}
	if w.Delete {
		if err := b.txn.Delete(tableRows, &record{table: w.Table, key: w.Key}); err != nil {
			return fmt.Errorf("delete row %s %q: %w", w.Table, w.Key, err)
		}
		b.count(w, nil)
	} else {
		rec := newRecord(w.Table, w.Key, w.New)
		rec.value, rec.version = value, Version{Index: b.next.index, Pos: pos}
		if err := b.txn.Insert(tableRows, rec); err != nil {
			return fmt.Errorf("put row %s %q: %w", w.Table, w.Key, err)
		}
		b.count(w, rec)
	}
	for _, r := range w.Old {
		if _, stays := slices.BinarySearch(w.New, r); stays {
			b.touch(markContent, w.Table, r)
			continue
		}
		b.touch(markMembers, w.Table, r)
		if err := b.txn.Delete(tableMembers, &member{id: memberID(w.Table, r, w.Key)}); err != nil {
			return fmt.Errorf("take row %s %q from range %q: %w", w.Table, w.Key, r, err)
		}
	}
	for _, r := range w.New {
		if _, was := slices.BinarySearch(w.Old, r); was {
			continue
		}
		b.touch(markMembers, w.Table, r)
		if err := b.txn.Insert(tableMembers, &member{id: memberID(w.Table, r, w.Key)}); err != nil {
			return fmt.Errorf("put row %s %q into range %q: %w", w.Table, w.Key, r, err)
		}
	}
	return nil
}

// Publish ends the batch: readers see it, and those who watch what changed wake.
func (b *Batch) Publish() {
	b.endEntry()
	b.keepEnds()
	b.keepCounts()
	b.txn.Commit()
	b.next.db = b.st.db.Snapshot()
	next := b.next
	b.st.publish(&next)
	b.st.memMu.Unlock()
	b.st.hub.wake(b.changed)
}

// Abort ends the batch after an error. What it remembered of the entries is not undone, so the store may
// still be read but never be written again.
func (b *Batch) Abort() {
	b.txn.Abort()
	b.st.memMu.Unlock()
}
