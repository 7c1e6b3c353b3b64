package state

import (
	"context"
	"fmt"
	"math"
	"sync"
)

// WatchSet gathers what was read through watched views of one store, and waits until some of it changes.
// It serves one round: read, Wait, then begin again with a new set and a new view. What is read once Wait has been
// called is not watched, and does not wait for Wait to end.
type WatchSet struct {
	mu   sync.Mutex
	full bool // Wait was called: the rest changes no more
	from uint64
	st   *Store
	life uint64 // which life of the store was read; a restore begins another
	late bool   // views of two lives were read: something has changed for sure
	// index and epoch are of the first view that was read; several says that there were others, timed that one told its time.
	index, epoch   uint64
	several, timed bool
	keys           map[mark]uint64 // what was read, and the lowest index that it was read at
}

// NewWatchSet makes an empty set.
func NewWatchSet() *WatchSet { return NewWatchSetSince(math.MaxUint64) }

// NewWatchSetSince makes an empty set that also takes changes after index for changes since the read, though the read
// may have seen them: for a reader that saw the state at index, elsewhere or earlier.
func NewWatchSetSince(index uint64) *WatchSet {
	return &WatchSet{from: index, keys: map[mark]uint64{}}
}

func (ws *WatchSet) add(v *View, kind byte, table, name string) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.full {
		return
	}
	if ws.st == nil {
		ws.st, ws.life, ws.index, ws.epoch = v.st, v.pub.life, v.pub.index, v.pub.epoch
	}
	ws.several = ws.several || v.pub.index != ws.index || v.pub.epoch != ws.epoch
	if v.st != ws.st || v.pub.life != ws.life {
		ws.late = true
	}
	k, seen := markOf(kind, table, name), min(v.pub.index, ws.from)
	if at, ok := ws.keys[k]; !ok || seen < at {
		ws.keys[k] = seen
	}
}

// clock notes that the time was asked for: what is made of it changes without a row.
func (ws *WatchSet) clock() {
	ws.mu.Lock()
	ws.timed = true
	ws.mu.Unlock()
}

// Changed tells, without waiting, whether something that was read has changed since it was read. Like Wait it ends
// the gathering, and may say so without a change, never the other way round.
func (ws *WatchSet) Changed() bool {
	ws.mu.Lock()
	ws.full = true
	ws.mu.Unlock()
	return ws.st != nil && (ws.late || ws.st.changed(ws.life, ws.keys))
}

// Events makes Wait return also once there are events newer than the view: of the organizations, of any when none is
// named. Events that belong to no organization wake only those who wait for any.
func (ws *WatchSet) Events(v *View, orgs ...string) {
	if len(orgs) == 0 {
		ws.add(v, markEvent, tableEvents, "")
	}
	for _, org := range orgs {
		ws.add(v, markEvent, tableEvents, org)
	}
}

// Wait returns nil once something that was read has changed since it was read, at once if it already
// has. It may wake without a change, never sleep through one. A set through which nothing was read waits
// for the context. Otherwise the error is the context's.
func (ws *WatchSet) Wait(ctx context.Context) error {
	ws.mu.Lock()
	ws.full = true
	ws.mu.Unlock()
	if ws.st == nil {
		<-ctx.Done()
		return fmt.Errorf("wait for a change of nothing: %w", ctx.Err())
	}
	// First in the queue, then the look at what has passed: a change is seen by one or the other.
	woken := ws.st.hub.join(ws.keys)
	defer ws.st.hub.leave(ws.keys, woken)
	if ws.late || ws.st.changed(ws.life, ws.keys) {
		return nil
	}
	select {
	case <-woken:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for a change: %w", ctx.Err())
	}
}

// changed says whether one of keys has changed since its index, as far as is remembered.
func (s *Store) changed(life uint64, keys map[mark]uint64) bool {
	s.memMu.RLock()
	defer s.memMu.RUnlock()
	if s.pub.Load().life != life {
		return true
	}
	for k, at := range keys {
		if at < s.mem.floor || s.mem.last(k) > at {
			return true
		}
	}
	return false
}

// hub knows who waits for what. A waiter has a channel with room for one, so waking never blocks.
type hub struct {
	mu      sync.Mutex
	waiters map[mark]map[chan struct{}]struct{}
}

func (h *hub) join(keys map[mark]uint64) chan struct{} {
	ch := make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiters == nil {
		h.waiters = map[mark]map[chan struct{}]struct{}{}
	}
	for k := range keys {
		set := h.waiters[k]
		if set == nil {
			set = map[chan struct{}]struct{}{}
			h.waiters[k] = set
		}
		set[ch] = struct{}{}
	}
	return ch
}

func (h *hub) leave(keys map[mark]uint64, ch chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for k := range keys {
		delete(h.waiters[k], ch)
		if len(h.waiters[k]) == 0 {
			delete(h.waiters, k)
		}
	}
}

// wake wakes those who wait for one of the changed marks.
func (h *hub) wake(changed []mark) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.waiters) == 0 {
		return
	}
	for _, k := range changed {
		for ch := range h.waiters[k] {
			signal(ch)
		}
	}
}

func (h *hub) wakeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, set := range h.waiters {
		for ch := range set {
			signal(ch)
		}
	}
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
