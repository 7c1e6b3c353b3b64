package state

// memory is what the machine remembers of the past: the index of the last change of each key and range,
// and which commits took effect. It forgets by generations: when the younger of two is full, the older
// is dropped. How full depends on the log alone, so every node forgets the same at the same entry.
type memory struct {
	window   int
	floor    uint64 // a change at or below this may be forgotten
	boundary uint64 // the last entry of the older generation
	old      generation
	young    generation
}

// generation maps marks to indexes and ids to what became of them.
type generation struct {
	marks map[mark]uint64
	ids   map[ID]took
}

// took says where a commit took effect.
type took struct {
	index uint64
	pos   uint32
}

func newGeneration() generation {
	return generation{marks: map[mark]uint64{}, ids: map[ID]took{}}
}

func newMemory(window int) *memory {
	return &memory{window: window, old: newGeneration(), young: newGeneration()}
}

// last is the index of the last change that is remembered, 0 when none is.
func (m *memory) last(k mark) uint64 {
	if i, ok := m.young.marks[k]; ok {
		return i
	}
	return m.old.marks[k]
}

func (m *memory) touch(k mark, index uint64) { m.young.marks[k] = index }

func (m *memory) outcome(id ID) (took, bool) {
	if t, ok := m.young.ids[id]; ok {
		return t, true
	}
	t, ok := m.old.ids[id]
	return t, ok
}

func (m *memory) remember(id ID, t took) { m.young.ids[id] = t }

// turn ends an entry: it forgets the older generation when the younger is full. Only between entries,
// so that every change of an entry is remembered or forgotten as one.
func (m *memory) turn(index uint64) {
	half := max(m.window/2, 1)
	if len(m.young.marks) < half && len(m.young.ids) < half {
		return
	}
	m.floor, m.boundary = m.boundary, index
	m.old, m.young = m.young, newGeneration()
}
