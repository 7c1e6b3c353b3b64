package state

import (
	"slices"
	"strings"
)

// fewInSet is how many members of a set are looked through one by one. Most transactions have no more, and a map
// costs more than they do.
const fewInSet = 12

// readSet is what a transaction has read. The zero value is empty; it is not to be copied.
type readSet struct {
	list []Read
	many map[Read]struct{} // all of them, in place of list
	room [3]Read           // of the first ones
}

func (s *readSet) add(r Read) {
	if s.many != nil {
		s.many[r] = struct{}{}
		return
	}
	if slices.Contains(s.list, r) {
		return
	}
	if len(s.list) < fewInSet {
		if s.list == nil {
			s.list = s.room[:0]
		}
		s.list = append(s.list, r)
		return
	}
	s.many = make(map[Read]struct{}, 4*fewInSet)
	for _, old := range s.list {
		s.many[old] = struct{}{}
	}
	s.many[r], s.list = struct{}{}, nil
}

func (s *readSet) drop(r Read) {
	if s.many != nil {
		delete(s.many, r)
	} else if i := slices.Index(s.list, r); i >= 0 {
		s.list = slices.Delete(s.list, i, i+1)
	}
}

// all gives them in no order; nil when there are none. The caller may keep it.
func (s *readSet) all() []Read {
	if s.many == nil {
		return append([]Read(nil), s.list...)
	}
	out := make([]Read, 0, len(s.many))
	for r := range s.many {
		out = append(out, r)
	}
	return out
}

// writeSet holds the rows that a transaction writes. The zero value is empty; it is not to be copied.
type writeSet struct {
	list  []*pending
	many  map[rowAt]*pending // all of list, once there are many
	room  [2]*pending        // of the first ones
	order bool               // list is in order
}

// of gives the row's entry, nil when it has none.
func (s *writeSet) of(table, key string) *pending {
	if s.many != nil {
		return s.many[rowAt{table, key}]
	}
	for _, p := range s.list {
		if p.key == key && p.table == table {
			return p
		}
	}
	return nil
}

// add takes an entry of a row that has none.
func (s *writeSet) add(p *pending) {
	if s.list == nil {
		s.list = s.room[:0]
	}
	s.list, s.order = append(s.list, p), false
	switch {
	case s.many != nil:
		s.many[rowAt{p.table, p.key}] = p
	case len(s.list) > fewInSet:
		s.many = make(map[rowAt]*pending, 4*fewInSet)
		for _, old := range s.list {
			s.many[rowAt{old.table, old.key}] = old
		}
	}
}

// sorted gives the entries by table and key, as a commit has its writes.
func (s *writeSet) sorted() []*pending {
	if s.order {
		return s.list
	}
	s.order = true
	slices.SortFunc(s.list, func(a, b *pending) int {
		if c := strings.Compare(a.table, b.table); c != 0 {
			return c
		}
		return strings.Compare(a.key, b.key)
	})
	return s.list
}
