package state

import (
	"errors"
	"fmt"
	"slices"
)

// Rehearse starts a transaction on a view that is only tried: it reads and writes as any other, and can never be
// committed. What it would do is told by Fresh and Deeds. Large contents need not be staged for it.
func Rehearse(v *View, actor string) *Tx {
	return &Tx{base: v, opts: TxOptions{Actor: actor}, rehearsal: true}
}

// errRehearsal says that a transaction which was only tried was to be committed, or one to be committed was to be tried.
var errRehearsal = errors.New("a rehearsal is not committed, and nothing else is rehearsed")

// Rehearsal says whether the transaction is only tried.
func (tx *Tx) Rehearsal() bool { return tx.rehearsal }

// Try runs fn over a rehearsal, as Store.Attempt does over a transaction: a stored row that does not read as its type
// becomes an error.
func (tx *Tx) Try(fn func(*Tx) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			bad, ok := Unreadable(p)
			if !ok {
				panic(p)
			}
			err = bad
		}
	}()
	if !tx.rehearsal {
		return fmt.Errorf("try: %w", errRehearsal)
	}
	return fn(tx)
}

// Before is the view that the transaction began with: what is there without its writes.
func (tx *Tx) Before() *View { return tx.base }

// Deed is a kind of what a transaction writes, and how many times.
type Deed struct {
	Kind  string // as of an event: "host.created", "setting.updated"
	Count int
}

// Deeds are what the transaction would tell events of, by kind. Before the schema that knows events there are none.
func (tx *Tx) Deeds() []Deed {
	counts := map[string]int{}
	for _, p := range tx.writes.sorted() {
		if w, ok := p.write(); ok && p.event != nil {
			counts[w.Table+deed(&w)]++
		}
	}
	var out []Deed
	for kind, n := range counts {
		out = append(out, Deed{Kind: kind, Count: n})
	}
	slices.SortFunc(out, func(a, b Deed) int {
		if a.Kind < b.Kind {
			return -1
		}
		return 1
	})
	return out
}

// deed is the end of a write's kind.
func deed(w *Write) string {
	switch {
	case w.Fresh:
		return ".created"
	case w.Delete:
		return ".deleted"
	}
	return ".updated"
}

// HoldContent puts a content of any size up to MaxContent into a rehearsal, as StageContent does into a store.
func HoldContent(tx *Tx, domain string, content []byte) error {
	if !tx.rehearsal {
		return fmt.Errorf("hold a content: %w", errRehearsal)
	}
	packed, err := pack(tx.store(), content)
	if err != nil {
		return err
	}
	at, err := tx.placeOf(domain, Digest(content))
	if err != nil {
		return err
	}
	tx.held = true
	return putPacked(tx, at, len(content), packed)
}

// Fits refuses a rehearsal that could not be committed, with model.TooLarge. Contents that are held do not count, and
// nothing beside them.
func (tx *Tx) Fits() error {
	if tx.held {
		return nil
	}
	_, err := tx.assemble()
	return err
}

// Fresh are the rows of T's table that the transaction has put and that were not there before, by key. They are shared.
func Fresh[T any, P rowPtr[T]](tx *Tx) []*T {
	var out []*T
	for _, p := range tx.writes.sorted() {
		if p.old == nil && p.rec != nil && p.rec.table == P(nil).Table() {
			out = append(out, shared[T](tx, p.rec))
		}
	}
	return out
}

// Edited is a row as a transaction found it and as it leaves it; nil where there is none. Both are shared: never change them.
type Edited[T any] struct{ Old, New *T }

// Edits are the rows of T's table that the transaction puts or deletes, by key.
func Edits[T any, P rowPtr[T]](tx *Tx) []Edited[T] {
	var out []Edited[T]
	for _, p := range tx.writes.sorted() {
		if p.old == p.rec || p.table != P(nil).Table() {
			continue
		}
		var e Edited[T]
		if p.old != nil {
			e.Old = shared[T](tx, p.old)
		}
		if p.rec != nil {
			e.New = shared[T](tx, p.rec)
		}
		out = append(out, e)
	}
	return out
}
