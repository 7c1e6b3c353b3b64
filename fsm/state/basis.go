package state

import "sync/atomic"

// Basis is what a result was made from: the names of all rows and ranges that were read for it through one watched view. It
// tells whether the same reads through a later view would show the same, so that the result may be used again. It is safe
// for concurrent use.
type Basis struct {
	st    *Store
	life  uint64
	epoch uint64
	made  uint64        // index of the view
	upTo  atomic.Uint64 // up to this index nothing has changed
	marks []mark
}

// Basis ends the gathering and tells what was read. It is nil where a result must not be used again: nothing was read, or
// through views of several states, or more than limit names were read. timed says that the time was asked for, too: such a
// result may become another while all that was read stays as it is.
func (ws *WatchSet) Basis(limit int) (b *Basis, timed bool) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.full = true
	if ws.st == nil || ws.late || ws.several || len(ws.keys) > limit {
		return nil, ws.timed
	}
	b = &Basis{st: ws.st, life: ws.life, epoch: ws.epoch, made: ws.index, marks: make([]mark, 0, len(ws.keys))}
	for k := range ws.keys {
		b.marks = append(b.marks, k)
	}
	b.upTo.Store(ws.index)
	return b, ws.timed
}

// Size is about how many bytes of memory it takes.
func (b *Basis) Size() int { return 8*len(b.marks) + 64 }

// Holds tells whether nothing that was read is different in the view. It may say no without a change, never yes with
// one.
func (b *Basis) Holds(v *View) bool {
	p := v.pub
	if v.st != b.st || p.life != b.life || p.epoch != b.epoch || p.index < b.made {
		return false
	}
	seen := b.upTo.Load()
	if p.index <= seen {
		return true
	}
	if !b.st.unchanged(b.life, b.marks, seen) {
		return false
	}
	for p.index > seen && !b.upTo.CompareAndSwap(seen, p.index) {
		seen = b.upTo.Load()
	}
	return true
}

// unchanged says that none of the marks has changed after an index, up to the newest state there is.
func (s *Store) unchanged(life uint64, marks []mark, at uint64) bool {
	s.memMu.RLock()
	defer s.memMu.RUnlock()
	if s.pub.Load().life != life || at < s.mem.floor {
		return false
	}
	for _, k := range marks {
		if s.mem.last(k) > at {
			return false
		}
	}
	return true
}
