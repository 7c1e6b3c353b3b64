package state

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// writeSchema writes the schema and the ring of events; nothing while the schema knows no such records, so that
// older nodes can read the snapshot.
func (sn *Snapshot) writeSchema(out *recordWriter) {
	r := &sn.pub.ring
	if sn.pub.schema < SchemaEvents {
		return
	}
	var version string
	if rec := sn.pub.row(tableSchema, schemaKey); rec != nil {
		_, version, _ = decodeSchema(rec.value) // it was read when it was applied
	}
	b := encodeSchema(sn.pub.schema, version)
	for _, v := range []uint64{uint64(r.limit), r.floor.Index, uint64(r.floor.Pos)} {
		b = binary.AppendUvarint(b, v)
	}
	out.record(tagSchema, b)
	b = b[:0]
	for i := range r.n {
		if b = r.at(i).encode(b); len(b) > 64<<10 || i == r.n-1 {
			out.record(tagEvents, b)
			b = b[:0]
		}
	}
}

func (e *Event) encode(b []byte) []byte {
	b = binary.AppendUvarint(b, e.Version.Index)
	b = binary.AppendUvarint(b, uint64(e.Version.Pos))
	b = binary.AppendVarint(b, e.Time.UnixNano())
	for _, s := range []string{e.Org, e.Kind, e.Object, e.Actor} {
		b = appendText(b, s)
	}
	return b
}

// readSchema reads what writeSchema wrote first. Its beginning is fixed for good, so that an older node can say
// which version it needs.
func (l *loaded) readSchema(payload []byte) error {
	d := decoder{s: string(payload)}
	schema, version, err := d.schema()
	if err != nil {
		return err
	}
	if schema > l.known {
		return &SchemaError{What: "the snapshot", Schema: schema, Known: l.known, Version: version}
	}
	l.info.Schema, l.info.SchemaVersion = schema, version
	limit := d.uvarint()
	if limit == 0 || limit > 1<<40 {
		d.fail("impossible size of the ring of events")
	}
	l.ring = ring{limit: int(limit), floor: Version{Index: d.uvarint(), Pos: d.uint32()}}
	return d.end()
}

func (l *loaded) readEvents(payload []byte) error {
	d := decoder{s: string(payload)}
	for d.err == nil && d.left() > 0 {
		e := Event{Version: Version{Index: d.uvarint(), Pos: d.uint32()}, Time: time.Unix(0, d.varint()).UTC(),
			Org: d.text(), Kind: d.text(), Object: d.text(), Actor: d.text()}
		if last := l.ring.last(); d.err == nil {
			if e.Version.compare(last.Version) <= 0 || e.Version.compare(l.ring.floor) <= 0 {
				return fmt.Errorf("%w a snapshot: its events are out of order", ErrDecode)
			}
			e.Org, e.Kind, e.Object, e.Actor = clone(e.Org, last.Org), clone(e.Kind, last.Kind), clone(e.Object, last.Object), clone(e.Actor, last.Actor)
			l.ring.add(e)
		}
	}
	return d.err
}

// checkSchema compares the record of the schema with the row of it.
func (l *loaded) checkSchema() error {
	row, _, err := SchemaFirst, "", error(nil)
	if l.schemaRow != nil {
		if row, _, err = decodeSchema(l.schemaRow.value); err != nil {
			return fmt.Errorf("%w a snapshot: the row of the schema: %w", ErrDecode, err)
		}
	}
	if l.info.Schema != row {
		return fmt.Errorf("%w a snapshot: of schema %d with the rows of schema %d", ErrDecode, l.info.Schema, row)
	}
	return nil
}

func (d *decoder) uint32() uint32 {
	v := d.uvarint()
	if v > math.MaxUint32 {
		d.fail("number too large")
	}
	return uint32(v)
}

func (d *decoder) varint() int64 {
	v := d.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}
