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
	waiting waiting
	rows    int // that wait
	parts   chan []*member
	done    chan error // once; nil after end
}

// newEntering begins. Nothing but rows may be put in through txn until end.
func newEntering(txn *memdb.Txn) (*entering, error) {
	// A transaction makes what it needs for a tree when it first writes to that, in a map: both must be there before two
	// goroutines look into it. To delete what is not there does just that.
	for table, obj := range map[string]any{tableRows: &record{}, tableMembers: &member{}} {
		if err := txn.Delete(table, obj); !errors.Is(err, memdb.ErrNotFound) {
			return nil, fmt.Errorf("begin to write the table %s: %w", table, err)
		}
	}
	e := &entering{parts: make(chan []*member, 4), done: make(chan error, 1)}
	go enter(txn, e.parts, e.done)
	return e, nil
}

// add notes a row whose members are to be entered. Whether that went well, end tells.
func (e *entering) add(rec *record) {
	if e.waiting.table != rec.table {
		e.send()
		e.waiting.table = rec.table
	}
	e.waiting.add(rec)
	if e.rows++; e.rows == enterPart {
		e.send()
	}
}

func (e *entering) send() {
	if e.rows > 0 {
		e.parts <- e.waiting.members()
	}
	e.waiting, e.rows = waiting{table: e.waiting.table, at: map[string]int{}}, 0
}

// end waits until all is entered. It may be called again, and does nothing then.
func (e *entering) end() error {
	if e.done == nil {
		return nil
	}
	e.send()
	close(e.parts)
	err := <-e.done
	e.done = nil
	return err
}

// enter puts members into their tree. After an error it only lets them go.
func enter(txn *memdb.Txn, parts <-chan []*member, done chan<- error) {
	var err error
	for part := range parts {
		for i := 0; i < len(part) && err == nil; i++ {
			if err = txn.Insert(tableMembers, part[i]); err != nil {
				err = fmt.Errorf("restore the member %q: %w", part[i].id, err)
			}
		}
	}
	done <- err
}

// waiting are the members of one table's ranges that are not in the tree yet. The rows of a snapshot come by key, so
// their ranges take turns, and each member would change other nodes of the tree than the one before: more than memdb
// keeps at hand, so that it copies them again and again. Range by range, it does not.
type waiting struct {
	table  string
	ranges []waitingRange
	at     map[string]int // in ranges, by name
	n      int            // members
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
		w.n++
	}
}

// members gives all that wait, range by range.
func (w *waiting) members() []*member {
	out := make([]*member, 0, w.n)
	for _, r := range w.ranges {
		for _, key := range r.keys {
			out = append(out, &member{id: memberID(w.table, r.name, key)})
		}
	}
	return out
}
