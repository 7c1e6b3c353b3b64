package state

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// undoForm is the leading byte of what Undo gives.
const undoForm byte = 1

// Undo tells how to look at what was there before the transaction: the rows that it has written so far, as they were.
// The store's own tables are not in it. It is for Past, later and on other nodes.
func Undo(tx *Tx) []byte {
	b := []byte{undoForm}
	n, body := uint64(0), []byte(nil)
	for _, p := range tx.writes.sorted() {
		if strings.HasPrefix(p.table, "_") {
			continue
		}
		n++
		body = appendText(appendText(body, p.table), p.key)
		old := p.old
		if old == nil {
			body = append(body, 0)
			continue
		}
		body = binary.AppendUvarint(append(body, 1), uint64(len(old.ranges)))
		for _, rng := range old.ranges {
			body = appendText(body, rng)
		}
		body = appendText(body, string(mustOpen(tx, old))) // the key may be another by then: who keeps it seals it
	}
	return append(binary.AppendUvarint(b, n), body...)
}

// Past is a view with the rows of an undo put back: what would be there without the writes that it was made of, and with
// all others. What is read through it is not noted. Error: ErrDecode.
func Past(v *View, undo []byte) (Reader, error) {
	tx := Rehearse(v, "")
	d := decoder{s: string(undo)}
	if d.byte() != undoForm {
		d.fail("unknown form of an undo")
	}
	for n := d.uvarint(); n > 0 && d.err == nil; n-- {
		table, key := d.text(), d.text()
		var rec *record
		if d.byte() == 1 {
			rec = &record{table: table, key: key}
			for m := d.uvarint(); m > 0 && d.err == nil; m-- {
				rec.ranges = append(rec.ranges, d.text())
			}
			rec.value = []byte(d.text())
		}
		if d.err == nil {
			tx.pending(table, key).rec = rec
		}
	}
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("undo: %w", err)
	}
	return quiet{tx}, nil
}
