package state

import (
	"errors"
	"fmt"

	"github.com/hashicorp/go-memdb"
)

// enterPart is how many rows of a snapshot are in the tree before their members follow.
const enterPart = 16 << 10

// entering puts the members of a snapshot's rows into the tree, in a goroutine of its own, beside the one that reads rows
// and puts them into theirs: the trees have nothing in common, and members are most of the work.
type entering struct {
	txn   *memdb.Txn
	rows  []*record // read, not handed over yet
	parts chan []*record
	done  chan error // once; nil after end
}

// newEntering begins. Nothing but rows may be put in through txn until end.
func newEntering(txn *memdb.Txn) (*entering, error) {
	// A transaction makes what it needs for a tree when it first writes to that, in a map: both must be there before two
	// goroutines look into it. To delete what is not there does just that.
	none := map[string]any{tableRows: &record{}, tableMembers: &member{}}
	for table, obj := range none {
		if err := txn.Delete(table, obj); !errors.Is(err, memdb.ErrNotFound) {
			return nil, fmt.Errorf("begin to write the table %s: %w", table, err)
		}
	}
	e := &entering{txn: txn, parts: make(chan []*record, 4), done: make(chan error, 1)}
	go e.run(e.parts)
	return e, nil
}

// add notes a row whose members are to be entered. Whether that went well, end tells.
func (e *entering) add(rec *record) {
	if e.rows = append(e.rows, rec); len(e.rows) == enterPart {
		e.parts <- e.rows
		e.rows = make([]*record, 0, enterPart)
	}
}

// end waits until all is entered. It may be called again, and does nothing then.
func (e *entering) end() error {
	if e.done == nil {
		return nil
	}
	e.parts <- e.rows
	close(e.parts)
	err := <-e.done
	e.done = nil
	return err
}

func (e *entering) run(parts <-chan []*record) {
	var err error
	for part := range parts {
		var w waiting
		for i := 0; i < len(part) && err == nil; i++ {
			if w.table != part[i].table {
				err = w.enter(e.txn)
				w = waiting{table: part[i].table, at: map[string]int{}}
			}
			w.add(part[i])
		}
		if err == nil {
			err = w.enter(e.txn)
		}
	}
	e.done <- err
}

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

// add notes the members of a row.
func (w *waiting) add(rec *record) {
	for _, name := range rec.ranges {
		i, ok := w.at[name]
		if !ok {
			i = len(w.ranges)
			w.at[name] = i
			w.ranges = append(w.ranges, waitingRange{name: name})
		}
		w.ranges[i].keys = append(w.ranges[i].keys, rec.key)
	}
}

// enter puts all that wait into the tree.
func (w *waiting) enter(txn *memdb.Txn) error {
	for _, r := range w.ranges {
		for _, key := range r.keys {
			if err := txn.Insert(tableMembers, &member{id: memberID(w.table, r.name, key)}); err != nil {
				return fmt.Errorf("restore row %s %q in range %q: %w", w.table, key, r.name, err)
			}
		}
	}
	return nil
}
