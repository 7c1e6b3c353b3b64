package state

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/seal"
)

// Rebirth says how a state goes on in another epoch: after a restore, and after a recovery without quorum. What it
// leaves zero stays as it is.
type Rebirth struct {
	// Epoch begins with it: greater than that of the state and of Keep. Commits of any other are refused as too old,
	// cursors and versions of any other are void.
	Epoch uint64
	// Index and Time are raised to these, and to those of Keep; neither ever goes back.
	Index uint64
	Time  time.Time
	// Term is the open one, be it lower than the state's own, which may come from another cluster.
	Term uint64

	// Own says which rows belong to the cluster and not to what is restored: they are dropped, and those of Keep, nil
	// for none, take their place.
	Own  func(table, key string) bool
	Keep *View
	// Rewrap wraps a domain's key anew; nil leaves all as they are.
	Rewrap func(w seal.Wrapped, domain string) (seal.Wrapped, error)
	// Add are rows that it has then, which nothing of the above has. No event tells of them.
	Add []Row
}

// Reborn gives a snapshot of what the store holds, changed as r says. What was remembered of changes and commits is
// forgotten: nothing of another epoch is ever compared with it. The store itself stays as it is. Call Release.
func (s *Store) Reborn(r Rebirth) (*Snapshot, error) {
	pub := s.pub.Load()
	next := *pub
	next.next = nil
	if r.Term != 0 {
		next.term = r.Term
	}
	next.index = max(next.index, r.Index)
	if !r.Time.IsZero() {
		next.time = max(next.time, r.Time.UnixNano())
	}
	least := pub.epoch
	if r.Keep != nil {
		next.index, next.time = max(next.index, r.Keep.pub.index), max(next.time, r.Keep.pub.time)
		least = max(least, r.Keep.pub.epoch)
		if next.schema > r.Keep.pub.schema {
			return nil, model.Errorf(model.Conflict, "the state is of schema %d, and the cluster's members have agreed on %d only: "+
				"restore it once all run a version that knows it, and `muster cluster status` shows that schema", next.schema, r.Keep.pub.schema)
		}
		next.schema = r.Keep.pub.schema
		r.Own = orSchema(r.Own)
	}
	next.epoch = max(r.Epoch, least+1)
	next.ring = ring{limit: next.ring.limit, floor: Version{Index: next.index, Pos: math.MaxUint32}}
	db, err := exchange(pub, r)
	if err != nil {
		return nil, err
	}
	next.db = db.db
	s.memMu.RLock()
	window := s.mem.window
	s.memMu.RUnlock()
	if r.Keep != nil {
		window = r.Keep.st.windowNow()
	}
	mem := newMemory(window)
	mem.floor, mem.boundary = next.index, next.index
	return &Snapshot{st: s, pub: &next, mem: mem.freeze()}, nil
}

// orSchema is own, or of the row that tells the schema: that is never lowered.
func orSchema(own func(table, key string) bool) func(table, key string) bool {
	return func(table, key string) bool { return table == tableSchema || own != nil && own(table, key) }
}

func (s *Store) windowNow() int {
	s.memMu.RLock()
	defer s.memMu.RUnlock()
	return s.mem.window
}

// exchange gives the rows of pub with those that are the cluster's own exchanged.
func exchange(pub *published, r Rebirth) (*loaded, error) {
	db := pub.db.Snapshot()
	l := &loaded{db: db, txn: db.Txn(true)}
	defer l.txn.Abort()
	if r.Own != nil {
		err := pub.each(func(rec *record) error {
			if !r.Own(rec.table, rec.key) {
				return nil
			}
			if err := l.txn.Delete(tableRows, rec); err != nil {
				return fmt.Errorf("drop row %s %q: %w", rec.table, rec.key, err)
			}
			for _, rng := range rec.ranges {
				if err := l.txn.Delete(tableMembers, &member{id: memberID(rec.table, rng, rec.key)}); err != nil {
					return fmt.Errorf("drop row %s %q from range %q: %w", rec.table, rec.key, rng, err)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if r.Rewrap != nil {
		if err := l.rewrap(pub, r); err != nil {
			return nil, err
		}
	}
	if r.Own != nil && r.Keep != nil {
		err := r.Keep.pub.each(func(rec *record) error {
			if !r.Own(rec.table, rec.key) {
				return nil
			}
			return l.insert(rec)
		})
		if err != nil {
			return nil, err
		}
	}
	for i, row := range r.Add {
		value, err := encode(row)
		if err != nil {
			return nil, fmt.Errorf("write row %s %q as JSON: %w", row.Table(), row.Key(), err)
		}
		rec := newRecord(row.Table(), row.Key(), cleanRanges(row.Ranges()))
		rec.value, rec.version = value, Version{Index: pub.index, Pos: math.MaxUint32 - uint32(i)} // no entry has so many writes
		if err := l.insert(rec); err != nil {
			return nil, err
		}
	}
	l.txn.Commit()
	return l, nil
}

// rewrap exchanges the rows of the domains' keys that stay.
func (l *loaded) rewrap(pub *published, r Rebirth) error {
	for _, rec := range pub.members(tableDataKeys, everyDataKey) {
		if r.Own != nil && r.Own(rec.table, rec.key) {
			continue
		}
		was := plain[DataKeys](rec)
		d, err := was.rewrapped(r.Rewrap)
		if err != nil {
			return fmt.Errorf("wrap the keys of %q anew: %w", was.Domain, err)
		}
		value, err := json.Marshal(d)
		if err != nil {
			return fmt.Errorf("write the keys of %q as JSON: %w", d.Domain, err)
		}
		next := newRecord(rec.table, rec.key, rec.ranges)
		next.value, next.version = value, rec.version
		if err := l.insert(next); err != nil {
			return err
		}
	}
	return nil
}

// each calls f with every row, in order of table and key, until it fails.
func (p *published) each(f func(*record) error) error {
	it, err := p.db.Txn(false).Get(tableRows, "id_prefix", "")
	if err != nil {
		return fmt.Errorf("read the rows: %w", err)
	}
	for obj := it.Next(); obj != nil; obj = it.Next() {
		if err := f(obj.(*record)); err != nil {
			return err
		}
	}
	return nil
}
