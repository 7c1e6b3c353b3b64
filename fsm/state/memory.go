package state

import "sync/atomic"

// memory is what the machine remembers of the past: the index of the last change of each key and range,
// and which commits took effect. It forgets by generations: when the younger of two is full, the older
// is dropped. How full depends on the log alone, so every node forgets the same at the same entry.
type memory struct {
	window   int
	floor    uint64 // a change at or below this may be forgotten
	boundary uint64 // the last entry of the older generation
	old      generation
	young    generation
	snaps    *atomic.Int32 // snapshots that still read this memory
}

// generation maps marks to indexes and ids to what became of them.
type generation struct {
	marks layers[mark, uint64]
	ids   layers[ID, took]
}

// took says where a commit took effect.
type took struct {
	index uint64
	pos   uint32
}

func newMemory(window int) *memory { return &memory{window: window, snaps: new(atomic.Int32)} }

// last is the index of the last change that is remembered, 0 when none is.
func (m *memory) last(k mark) uint64 {
	if i, ok := m.young.marks.get(k); ok {
		return i
	}
	i, _ := m.old.marks.get(k)
	return i
}

func (m *memory) touch(k mark, index uint64) { m.young.marks.set(k, index) }

func (m *memory) outcome(id ID) (took, bool) {
	if t, ok := m.young.ids.get(id); ok {
		return t, true
	}
	return m.old.ids.get(id)
}

func (m *memory) remember(id ID, t took) { m.young.ids.set(id, t) }

// turn ends an entry: it forgets the older generation when the younger is full. Only between entries,
// so that every change of an entry is remembered or forgotten as one.
func (m *memory) turn(index uint64) {
	half := max(m.window/2, 1)
	if m.young.marks.n < half && m.young.ids.n < half {
		return
	}
	m.floor, m.boundary = m.boundary, index
	m.old, m.young = m.young, generation{}
}

// freeze gives a copy to read from another goroutine, without copying what is in the maps. From now on
// changes go to maps on top, which thaw folds in, little by little, once the copy has been released.
func (m *memory) freeze() *memory {
	m.snaps.Add(1)
	c := *m
	c.old.marks, c.old.ids = m.old.marks.freeze(), m.old.ids.freeze()
	c.young.marks, c.young.ids = m.young.marks.freeze(), m.young.ids.freeze()
	return &c
}

// release is called once by whoever froze, from any goroutine.
func (m *memory) release() { m.snaps.Add(-1) }

// foldAtOnce is how many keys a batch folds in: few, since the machine stands still for that.
const foldAtOnce = 1024

func (m *memory) thaw() {
	if m.snaps.Load() != 0 {
		return
	}
	left := m.old.marks.thaw(foldAtOnce)
	left = m.old.ids.thaw(left)
	left = m.young.marks.thaw(left)
	m.young.ids.thaw(left)
}

// layers is a map in one or more layers: what is in an upper one hides what is below.
type layers[K comparable, V any] struct {
	maps   []map[K]V
	fresh  [][]K // the keys of the layer above each, which are to be folded in
	n      int   // different keys
	frozen bool  // only the uppermost layer may change: somebody reads the others
}

func (l *layers[K, V]) get(k K) (V, bool) {
	for i := len(l.maps) - 1; i >= 0; i-- {
		if v, ok := l.maps[i][k]; ok {
			return v, true
		}
	}
	var zero V
	return zero, false
}

func (l *layers[K, V]) set(k K, v V) {
	switch top := len(l.maps) - 1; {
	case top < 0:
		l.maps = []map[K]V{{k: v}}
		l.n = 1
	case top == 0:
		l.maps[0][k] = v
		l.n = len(l.maps[0])
	case l.frozen:
		l.setAt(top, k, v)
	default:
		for top > 0 {
			if _, ok := l.maps[top][k]; ok {
				break
			}
			top--
		}
		l.setAt(top, k, v)
	}
}

// setAt changes one layer while there are several.
func (l *layers[K, V]) setAt(i int, k K, v V) {
	if _, ok := l.maps[i][k]; !ok {
		if _, ok := l.get(k); !ok {
			l.n++
		}
		if i > 0 {
			l.fresh[i-1] = append(l.fresh[i-1], k)
		}
	}
	l.maps[i][k] = v
}

// freeze gives the layers as they are and begins a new one for changes.
func (l *layers[K, V]) freeze() layers[K, V] {
	c := layers[K, V]{maps: l.maps[:len(l.maps):len(l.maps)], n: l.n}
	if len(l.maps) == 0 {
		return c // a map that is made now is in nobody's copy
	}
	l.maps = append(c.maps, map[K]V{})
	l.fresh = append(l.fresh, nil)
	l.frozen = true
	return c
}

// thaw folds up to budget keys of the uppermost layer into the one below, and tells what is left of the budget. Until
// all is folded in, both hold a part.
func (l *layers[K, V]) thaw(budget int) int {
	l.frozen = false
	for len(l.maps) > 1 {
		top := len(l.maps) - 1
		keys := l.fresh[top-1]
		for ; len(keys) > 0 && budget > 0; budget-- {
			k := keys[len(keys)-1]
			keys = keys[:len(keys)-1]
			v := l.maps[top][k]
			delete(l.maps[top], k)
			if top > 1 {
				if _, ok := l.maps[top-1][k]; !ok {
					l.fresh[top-2] = append(l.fresh[top-2], k)
				}
			}
			l.maps[top-1][k] = v
		}
		if l.fresh[top-1] = keys; len(keys) > 0 {
			return 0
		}
		l.maps, l.fresh = l.maps[:top:top], l.fresh[:top-1:top-1]
	}
	return budget
}

// each gives every key once, with its value as get would.
func (l *layers[K, V]) each(f func(K, V)) {
	for i, m := range l.maps {
		above := layers[K, V]{maps: l.maps[i+1:]}
		for k, v := range m {
			if _, ok := above.get(k); !ok {
				f(k, v)
			}
		}
	}
}
