package state

import "slices"

// How much a transaction remembers of what it has read of its view. Verbs ask for the same rows and ranges several times,
// and a look is cheaper than memdb's way to them; a transaction that reads much reads each thing once.
const (
	rememberedRows   = 24
	rememberedRanges = 12
)

// memo remembers rows and ranges of a view, which never changes. The zero value is empty.
type memo struct {
	rows   []*record
	absent []Read // of kind ReadRow
	lists  []memberList
	keys   []keyList
}

type memberList struct {
	table, rng string
	recs       []*record
}

type keyList struct {
	table, rng string
	keys       []string
}

func (m *memo) row(v *View, table, key string) *record {
	for _, rec := range m.rows {
		if rec.key == key && rec.table == table {
			return rec
		}
	}
	none := Read{Kind: ReadRow, Table: table, Name: key}
	if slices.Contains(m.absent, none) {
		return nil
	}
	rec := v.row(table, key)
	switch {
	case rec == nil && len(m.absent) < rememberedRows:
		m.absent = append(m.absent, none)
	case rec != nil && len(m.rows) < rememberedRows:
		m.rows = append(m.rows, rec)
	}
	return rec
}

// membersOf gives the members of a range. They are shared: nobody may change the list.
func (m *memo) membersOf(v *View, table, rng string) []*record {
	for i := range m.lists {
		if l := &m.lists[i]; l.rng == rng && l.table == table {
			return l.recs
		}
	}
	recs := v.members(table, rng)
	if len(m.lists) < rememberedRanges {
		m.lists = append(m.lists, memberList{table, rng, slices.Clip(recs)})
	}
	return recs
}

// keysOf is membersOf for keys.
func (m *memo) keysOf(v *View, table, rng string) []string {
	for i := range m.keys {
		if l := &m.keys[i]; l.rng == rng && l.table == table {
			return l.keys
		}
	}
	keys := v.keys(table, rng)
	if len(m.keys) < rememberedRanges {
		m.keys = append(m.keys, keyList{table, rng, slices.Clip(keys)})
	}
	return keys
}
