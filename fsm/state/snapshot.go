package state

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"math/bits"
	"time"
	"unsafe"

	"github.com/hashicorp/go-memdb"
)

// A snapshot is a magic, then one compressed stream of records (see segmentSize). The magic says how it is compressed and
// summed up: zstd and a SHA-256 at the end while the schema is the first; S2 and CRC-32C, each several times faster, from
// SchemaEvents on. A record is a tag byte, the length as uvarint, the payload. The first is the meta record, the last the end record
// with the number of rows. Unknown tags are refused: whatever decides must be understood. The schema and the events
// are there from SchemaEvents on.
const (
	snapMagic   = "musterS1" // zstd
	snapMagicS3 = "musterS3" // S2
	// snapMagicNext is for the next form: who does not know it yet stops, and says why, in place of taking it for damaged. It
	// is more than one flipped bit away from those before.
	snapMagicNext = "musterS4"

	tagMeta     byte = 1
	tagRow      byte = 2
	tagOldMarks byte = 3
	tagMarks    byte = 4
	tagOldIDs   byte = 5
	tagIDs      byte = 6
	tagSchema   byte = 7
	tagEvents   byte = 8
	tagEnd      byte = 255

	snapBatch  = 4096    // marks or ids a record
	snapRecord = 8 << 20 // the longest record that is believed
)

// HeadSize is how many bytes of a snapshot OldForm looks at.
const HeadSize = len(snapMagic)

// OldForm says of a snapshot that begins with head whether nodes that know the first schema only can read it.
func OldForm(head []byte) bool { return string(head) == snapMagic }

// SnapshotInfo says what a snapshot holds.
type SnapshotInfo struct {
	Index uint64
	Term  uint64
	Epoch uint64
	Time  time.Time
	Rows  uint64
	// Schema is the one that the cluster had raised, SchemaVersion that of the software that raised it.
	Schema        uint32
	SchemaVersion string
}

// Snapshot is the state at one index. Taking it copies nothing; writing it may go on beside the machine.
type Snapshot struct {
	st  *Store
	pub *published
	mem *memory
}

// Snapshot takes the present state. It belongs to the goroutine that applies the log. Call Release when done.
func (s *Store) Snapshot() *Snapshot {
	s.memMu.Lock()
	defer s.memMu.Unlock()
	return &Snapshot{st: s, pub: s.pub.Load(), mem: s.mem.freeze()}
}

// Release lets go of the snapshot; once, from any goroutine.
func (sn *Snapshot) Release() { sn.mem.release() }

// Info says what the snapshot holds; Rows is not counted.
func (sn *Snapshot) Info() SnapshotInfo {
	info := SnapshotInfo{Index: sn.pub.index, Term: sn.pub.term, Epoch: sn.pub.epoch, Time: time.Unix(0, sn.pub.time).UTC(), Schema: sn.pub.schema}
	if rec := sn.pub.row(tableSchema, schemaKey); rec != nil {
		_, info.SchemaVersion, _ = decodeSchema(rec.value) // it was read when it was applied
	}
	return info
}

// Write streams the snapshot. While the machine applies entries it keeps itself to a part of one processor.
func (sn *Snapshot) Write(w io.Writer) error {
	magic := snapMagicS3
	if sn.pub.schema < SchemaEvents {
		magic = snapMagic // what older nodes can read
	}
	z, err := newSegmentWriter(w, sn.st, magic)
	if err != nil {
		return err
	}
	out := &recordWriter{w: z}
	rows := sn.writeRecords(out)
	out.record(tagEnd, binary.AppendUvarint(nil, rows))
	if err := z.Close(); err != nil {
		return err
	}
	if out.err != nil {
		return fmt.Errorf("write snapshot: %w", out.err)
	}
	return nil
}

func (sn *Snapshot) writeRecords(out *recordWriter) (rows uint64) {
	m := sn.mem
	var b []byte
	for _, v := range []uint64{sn.pub.index, sn.pub.term, sn.pub.epoch, uint64(sn.pub.time), uint64(m.window), m.floor, m.boundary} {
		b = binary.AppendUvarint(b, v)
	}
	out.record(tagMeta, b)
	sn.writeSchema(out)
	it, err := sn.pub.db.Txn(false).Get(tableRows, "id_prefix", "")
	if err != nil {
		out.err = err
		return 0
	}
	for obj := it.Next(); obj != nil && out.err == nil; obj = it.Next() {
		out.row(obj.(*record))
		rows++
	}
	writeMarks(out, tagOldMarks, m.old.marks)
	writeMarks(out, tagMarks, m.young.marks)
	writeIDs(out, tagOldIDs, m.old.ids)
	writeIDs(out, tagIDs, m.young.ids)
	return rows
}

func (r *record) encode(b []byte) []byte {
	b = appendText(b, r.table)
	b = appendText(b, r.key)
	b = appendTexts(b, r.ranges)
	b = binary.AppendUvarint(b, r.version.Index)
	b = binary.AppendUvarint(b, uint64(r.version.Pos))
	return append(b, r.value...)
}

// encoded is how many bytes encode appends.
func (r *record) encoded() int {
	n := textLen(r.table) + textLen(r.key) + uvarintLen(uint64(len(r.ranges)))
	for _, s := range r.ranges {
		n += textLen(s)
	}
	return n + uvarintLen(r.version.Index) + uvarintLen(uint64(r.version.Pos)) + len(r.value)
}

func textLen(s string) int { return uvarintLen(uint64(len(s))) + len(s) }

func uvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

func decodeRecord(payload []byte) (*record, error) {
	d := decoder{s: unsafe.String(unsafe.SliceData(payload), len(payload))}
	r := &record{table: d.text(), key: d.text(), ranges: d.texts()}
	index, pos := d.uvarint(), d.uvarint()
	if pos > math.MaxUint32 {
		d.fail("position out of range")
	}
	r.version = Version{Index: index, Pos: uint32(pos)}
	if d.err != nil {
		return nil, d.err
	}
	if checkNames(r.table, r.key, r.ranges) != nil || !ascending(r.ranges) {
		return nil, fmt.Errorf("%w: malformed names of a row", ErrDecode)
	}
	own := newRecord(r.table, r.key, r.ranges)
	own.value, own.version = bytes.Clone(payload[d.off:]), r.version
	return own, nil
}

func writeMarks(out *recordWriter, tag byte, l layers[mark, uint64]) {
	var b []byte
	n := 0
	for _, m := range l.maps { // lower layers first: what is read later wins
		for k, v := range m {
			b = binary.BigEndian.AppendUint64(b, uint64(k))
			b = binary.BigEndian.AppendUint64(b, v)
			if n++; n%snapBatch == 0 {
				out.record(tag, b)
				b = b[:0]
			}
		}
	}
	if len(b) > 0 {
		out.record(tag, b)
	}
}

func writeIDs(out *recordWriter, tag byte, l layers[ID, took]) {
	var b []byte
	n := 0
	for _, m := range l.maps {
		for k, v := range m {
			b = append(b, k[:]...)
			b = binary.BigEndian.AppendUint64(b, v.index)
			b = binary.BigEndian.AppendUint32(b, v.pos)
			if n++; n%snapBatch == 0 {
				out.record(tag, b)
				b = b[:0]
			}
		}
	}
	if len(b) > 0 {
		out.record(tag, b)
	}
}

// recordWriter writes records and remembers the first error.
type recordWriter struct {
	w    *segmentWriter
	head []byte
	err  error
}

// row writes a row, straight into the segment.
func (o *recordWriter) row(r *record) {
	if o.w.failed.Load() {
		o.err = errStopped
		return
	}
	b := binary.AppendUvarint(append(o.w.buf, tagRow), uint64(r.encoded()))
	o.w.buf = r.encode(b)
	o.w.full()
}

func (o *recordWriter) record(tag byte, payload []byte) {
	o.head = binary.AppendUvarint(append(o.head[:0], tag), uint64(len(payload)))
	for _, part := range [][]byte{o.head, payload} {
		if o.err == nil {
			_, o.err = o.w.Write(part)
		}
	}
}

// loaded is a state that is being read from a snapshot.
type loaded struct {
	info  SnapshotInfo
	known uint32 // the newest schema that is taken
	meta  bool
	db    *memdb.MemDB
	txn   *memdb.Txn
	mem   *memory

	ring      ring
	schemaRow *record
	entering  *entering
	stored    map[string]int64 // bytes by organization
}

// Restore replaces the state by that of a snapshot, all or nothing, and wakes all who wait. It belongs to
// the goroutine that applies the log. Errors of a damaged or cut snapshot wrap ErrDecode; that of a schema that
// this node does not know is a *SchemaError.
func (s *Store) Restore(r io.Reader) error {
	l, err := readSnapshot(r, s.known, s.eventBytes)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	s.memMu.Lock()
	s.db, s.mem = l.db, l.mem
	s.stored.replace(l.stored)
	s.publish(&published{index: l.info.Index, term: l.info.Term, epoch: l.info.Epoch, time: l.info.Time.UnixNano(),
		life: s.pub.Load().life + 1, schema: l.info.Schema, ring: l.ring, db: l.db.Snapshot()})
	s.memMu.Unlock()
	s.hub.wakeAll()
	return nil
}

// Verify reads a snapshot through, as Restore does, and says what it holds.
func Verify(r io.Reader) (SnapshotInfo, error) {
	l, err := readSnapshot(r, Schema, DefaultEventBytes)
	if err != nil {
		return SnapshotInfo{}, fmt.Errorf("verify snapshot: %w", err)
	}
	return l.info, nil
}

func readSnapshot(r io.Reader, known uint32, eventBytes int) (*loaded, error) {
	z, err := openStream(r)
	if err != nil {
		return nil, err
	}
	defer z.close()
	db, err := newDB()
	if err != nil {
		return nil, err
	}
	l := &loaded{db: db, txn: db.Txn(true), known: known, ring: ring{limit: eventBytes}, stored: map[string]int64{}}
	if l.entering, err = newEntering(l.txn); err != nil {
		return nil, err
	}
	defer func() { _ = l.entering.end() }() // where something else went wrong before
	in := bufio.NewReaderSize(z, 64<<10)
	if err := l.records(in); err != nil {
		return nil, err
	}
	if n, err := io.Copy(io.Discard, in); n > 0 || err != nil {
		return nil, fmt.Errorf("%w a snapshot: %d bytes after its end (%v)", ErrDecode, n, err)
	}
	if !z.good() {
		return nil, fmt.Errorf("%w a snapshot: its checksum does not match", ErrDecode)
	}
	if err := l.checkSchema(); err != nil {
		return nil, err
	}
	l.txn.Commit()
	return l, nil
}

// bodyReader reads all but the checksum at the end, which it keeps, and sums up what it gives.
type bodyReader struct {
	r    io.Reader
	sum  hash.Hash
	tail []byte // read, not given yet: at its end may be the checksum
	buf  []byte
	eof  bool

	given uint64 // bytes
}

// Read is io.Reader's.
func (b *bodyReader) Read(p []byte) (int, error) {
	for !b.eof && len(b.tail) < sha256.Size+len(p) {
		if b.buf == nil {
			b.buf = make([]byte, 64<<10)
		}
		n, err := b.r.Read(b.buf)
		b.tail = append(b.tail, b.buf[:n]...)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, fmt.Errorf("read snapshot: %w", err)
		}
		b.eof = err != nil
	}
	n := min(len(p), max(len(b.tail)-sha256.Size, 0))
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	copy(p, b.tail[:n])
	_, _ = b.sum.Write(p[:n]) // a hash never fails
	b.given += uint64(n)
	b.tail = append(b.tail[:0], b.tail[n:]...)
	return n, nil
}

// good says, once everything was read, whether the checksum is that of what was given.
func (b *bodyReader) good() bool { return bytes.Equal(b.tail, b.sum.Sum(nil)) }

// records reads records up to the end record.
func (l *loaded) records(in *bufio.Reader) error {
	for {
		tag, payload, err := readRecord(in)
		if err != nil {
			return err
		}
		if tag == tagEnd {
			if !l.meta || !bytes.Equal(payload, binary.AppendUvarint(nil, l.info.Rows)) {
				return fmt.Errorf("%w a snapshot: rows are missing", ErrDecode)
			}
			return l.entering.end()
		}
		if err := l.record(tag, payload); err != nil {
			return err
		}
	}
}

// readRecord reads one record. The payload holds until the next read.
func readRecord(in *bufio.Reader) (tag byte, payload []byte, err error) {
	cut := func(err error) error { return fmt.Errorf("%w a snapshot: cut or damaged: %w", ErrDecode, err) }
	if tag, err = in.ReadByte(); err != nil {
		return 0, nil, cut(err)
	}
	n, err := binary.ReadUvarint(in)
	if err != nil {
		return 0, nil, cut(err)
	}
	if n > snapRecord {
		return 0, nil, fmt.Errorf("%w a snapshot: a record of %d bytes", ErrDecode, n)
	}
	if int(n) <= in.Size() {
		if payload, err = in.Peek(int(n)); err != nil {
			return 0, nil, cut(err)
		}
		_, _ = in.Discard(int(n)) // they are there
		return tag, payload, nil
	}
	payload = make([]byte, n)
	if _, err := io.ReadFull(in, payload); err != nil {
		return 0, nil, cut(err)
	}
	return tag, payload, nil
}

// record takes over one record.
func (l *loaded) record(tag byte, payload []byte) error {
	if l.meta == (tag == tagMeta) {
		return fmt.Errorf("%w a snapshot: its records are out of order", ErrDecode)
	}
	switch tag {
	case tagMeta:
		return l.readMeta(payload)
	case tagRow:
		return l.readRow(payload)
	case tagSchema:
		return l.readSchema(payload)
	case tagEvents:
		return l.readEvents(payload)
	case tagOldMarks, tagMarks:
		if len(payload)%16 != 0 {
			return fmt.Errorf("%w a snapshot: marks of %d bytes", ErrDecode, len(payload))
		}
		to := &l.mem.young.marks
		if tag == tagOldMarks {
			to = &l.mem.old.marks
		}
		for ; len(payload) > 0; payload = payload[16:] {
			to.set(mark(binary.BigEndian.Uint64(payload)), binary.BigEndian.Uint64(payload[8:]))
		}
	case tagOldIDs, tagIDs:
		if len(payload)%28 != 0 {
			return fmt.Errorf("%w a snapshot: ids of %d bytes", ErrDecode, len(payload))
		}
		to := &l.mem.young.ids
		if tag == tagOldIDs {
			to = &l.mem.old.ids
		}
		for ; len(payload) > 0; payload = payload[28:] {
			to.set(ID(payload[:16]), took{index: binary.BigEndian.Uint64(payload[16:]), pos: binary.BigEndian.Uint32(payload[24:])})
		}
	default:
		return fmt.Errorf("%w a snapshot: unknown record %d: it was written by a newer version; update this node", ErrDecode, tag)
	}
	return nil
}

func (l *loaded) readMeta(payload []byte) error {
	d := decoder{s: string(payload)}
	l.info = SnapshotInfo{Index: d.uvarint(), Term: d.uvarint(), Epoch: d.uvarint(), Time: time.Unix(0, int64(d.uvarint())).UTC(), Schema: SchemaFirst}
	window := d.uvarint()
	if window == 0 || window > 1<<40 {
		d.fail("impossible window")
	}
	l.mem = newMemory(int(window))
	l.mem.floor, l.mem.boundary = d.uvarint(), d.uvarint()
	l.meta = true
	return d.end()
}

func (l *loaded) readRow(payload []byte) error {
	rec, err := decodeRecord(payload)
	if err != nil {
		return err
	}
	if rec.table == tableSchema && rec.key == schemaKey {
		l.schemaRow = rec
	}
	if err := l.txn.Insert(tableRows, rec); err != nil {
		return fmt.Errorf("restore row %s %q: %w", rec.table, rec.key, err)
	}
	l.info.Rows++
	countInto(l.stored, rec)
	l.entering.add(rec)
	return nil
}

func (l *loaded) insert(rec *record) error {
	if err := l.txn.Insert(tableRows, rec); err != nil {
		return fmt.Errorf("restore row %s %q: %w", rec.table, rec.key, err)
	}
	for _, r := range rec.ranges {
		if err := l.txn.Insert(tableMembers, &member{id: memberID(rec.table, r, rec.key)}); err != nil {
			return fmt.Errorf("restore row %s %q in range %q: %w", rec.table, rec.key, r, err)
		}
	}
	return nil
}
