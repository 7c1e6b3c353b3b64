package state

import (
	"slices"
	"strings"
)

// How much a transaction remembers of what it has read of its view. Verbs ask for the same rows and ranges several times,
// and a look is cheaper than memdb's way to them; a transaction that reads much reads each thing once.
const (
	rememberedRows   = 512
	rememberedRanges = 12
)

// memo remembers rows and ranges of a view, which never changes. The zero value is empty.
type memo struct {
	rows  []found
	many  map[rowAt]*record // all of rows, once there are many
	lists []memberList
	keys  []keyList
}

// found is what was at a place; nil for nothing.
type found struct {
	rowAt
	rec *record
}

type memberList struct {
	table, rng string
	recs       []*record // by key
}

type keyList struct {
	table, rng string
	keys       []string
}

func (m *memo) row(v *View, table, key string) *record {
	at := rowAt{table, key}
	if m.many != nil {
		if rec, ok := m.many[at]; ok {
			return rec
		}
	} else {
		for i := range m.rows {
			if m.rows[i].rowAt == at {
				return m.rows[i].rec
			}
		}
	}
	if rec := m.listed(table, key); rec != nil {
		return rec
	}
	rec := v.row(table, key)
	switch {
	case m.many != nil:
		if len(m.many) < rememberedRows {
			m.many[at] = rec
		}
	case len(m.rows) < fewInSet:
		m.rows = append(m.rows, found{at, rec})
	default:
		m.many = make(map[rowAt]*record, 4*fewInSet)
		for _, f := range m.rows {
			m.many[f.rowAt] = f.rec
		}
		m.many[at] = rec
	}
	return rec
}

// listed finds a row in a range that was read; nil when it is in none.
func (m *memo) listed(table, key string) *record {
	for i := range m.lists {
		if m.lists[i].table != table {
			continue
		}
		recs := m.lists[i].recs
		if at, ok := slices.BinarySearchFunc(recs, key, func(r *record, key string) int { return strings.Compare(r.key, key) }); ok {
			return recs[at]
		}
	}
	return nil
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
