package state

import "fmt"

// waiting are the members of one table's ranges that are not in the tree yet. The rows of a snapshot come by key, so
// their ranges take turns, and each member would change other nodes of the tree than the one before: more than memdb
// keeps at hand, so that it copies them again and again. Range by range, it does not.
type waiting struct {
	table  string
	ranges []waitingRange
	at     map[string]int // in ranges, by name
}

type waitingRange struct {
	name string
	keys []string // parts of the rows' names
}

// wait notes the members of a row, and enters those of the table before.
func (l *loaded) wait(rec *record) error {
	w := &l.waiting
	if w.table != rec.table {
		if err := l.enter(); err != nil {
			return err
		}
		*w = waiting{table: rec.table, at: map[string]int{}}
	}
	for _, name := range rec.ranges {
		i, ok := w.at[name]
		if !ok {
			i = len(w.ranges)
			w.at[name] = i
			w.ranges = append(w.ranges, waitingRange{name: name})
		}
		w.ranges[i].keys = append(w.ranges[i].keys, rec.key)
	}
	return nil
}

// enter puts all that wait into the tree.
func (l *loaded) enter() error {
	w := &l.waiting
	for _, r := range w.ranges {
		for _, key := range r.keys {
			if err := l.txn.Insert(tableMembers, &member{id: memberID(w.table, r.name, key)}); err != nil {
				return fmt.Errorf("restore row %s %q in range %q: %w", w.table, key, r.name, err)
			}
		}
	}
	*w = waiting{}
	return nil
}
