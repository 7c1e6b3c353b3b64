package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"unsafe"
)

// The leading byte of an encoded commit says its form. All forms agree up to the schema, so that a node can tell
// which schema it lacks.
const (
	commitFormat       = 1 // of SchemaFirst
	commitFormatEvents = 2 // from SchemaEvents on: events follow the writes
	commitFormatLogs   = 3 // from SchemaLogs on: records for logs follow the events
)

// ErrDecode is wrapped by every error of a decoder in this package.
var ErrDecode = errors.New("cannot decode")

const (
	flagDelete = 1 << 0
	flagFresh  = 1 << 1
)

// EncodedSize is what Encode appends at the most, and some bytes less.
func (c *Commit) EncodedSize() int {
	const number = 10 // of 64 bits
	size := 1 + len(c.ID) + 7*number + len(c.Actor)
	for i := range c.Reads {
		size += 1 + len(c.Reads[i].Table) + len(c.Reads[i].Name) + 4
	}
	for i := range c.Writes {
		w := &c.Writes[i]
		size += 1 + len(w.Table) + len(w.Key) + len(w.Value) + 16 + textsSize(w.Old) + textsSize(w.New)
	}
	for i := range c.Events {
		size += len(c.Events[i].Org) + len(c.Events[i].Object) + 9
	}
	for i := range c.Notes {
		size += c.Notes[i].size()
	}
	return size
}

// Encode appends the commit's encoding to buf. The form is: format byte, ID, then Base, Epoch, Term and
// Schema as uvarints, the actor, the reads (kind, table, name) and the writes (flags, table, key, old and
// new ranges, value), each list and text with its length in front as uvarint. From SchemaEvents on follow the
// events (index of the write, organization, object), and from SchemaLogs on the records for logs (log, data).
func (c *Commit) Encode(buf []byte) []byte {
	buf = append(buf, formatOf(c.Schema))
	buf = append(buf, c.ID[:]...)
	buf = binary.AppendUvarint(buf, c.Base)
	buf = binary.AppendUvarint(buf, c.Epoch)
	buf = binary.AppendUvarint(buf, c.Term)
	buf = binary.AppendUvarint(buf, uint64(c.Schema))
	buf = appendText(buf, c.Actor)
	buf = binary.AppendUvarint(buf, uint64(len(c.Reads)))
	for i := range c.Reads {
		r := &c.Reads[i]
		buf = append(buf, byte(r.Kind))
		buf = appendText(buf, r.Table)
		buf = appendText(buf, r.Name)
	}
	buf = binary.AppendUvarint(buf, uint64(len(c.Writes)))
	for i := range c.Writes {
		w := &c.Writes[i]
		var flags byte
		if w.Delete {
			flags |= flagDelete
		}
		if w.Fresh {
			flags |= flagFresh
		}
		buf = append(buf, flags)
		buf = appendText(buf, w.Table)
		buf = appendText(buf, w.Key)
		buf = appendTexts(buf, w.Old)
		buf = appendTexts(buf, w.New)
		buf = binary.AppendUvarint(buf, uint64(len(w.Value)))
		buf = append(buf, w.Value...)
	}
	if c.Schema < SchemaEvents {
		return buf
	}
	buf = binary.AppendUvarint(buf, uint64(len(c.Events)))
	for i := range c.Events {
		e := &c.Events[i]
		buf = binary.AppendUvarint(buf, uint64(e.Write))
		buf = appendText(buf, e.Org)
		buf = appendText(buf, e.Object)
	}
	if c.Schema < SchemaLogs {
		return buf
	}
	buf = binary.AppendUvarint(buf, uint64(len(c.Notes)))
	for i := range c.Notes {
		n := &c.Notes[i]
		buf = appendText(buf, n.Log)
		buf = binary.AppendUvarint(buf, uint64(len(n.Data)))
		buf = append(buf, n.Data...)
	}
	return buf
}

// formatOf is the form that commits of a schema have.
func formatOf(schema uint32) byte {
	switch {
	case schema >= SchemaLogs:
		return commitFormatLogs
	case schema >= SchemaEvents:
		return commitFormatEvents
	}
	return commitFormat
}

// DecodeCommit reads an encoded commit. The result does not refer to data.
// Errors wrap ErrDecode; that of a newer schema is a *SchemaError.
func DecodeCommit(data []byte) (*Commit, error) {
	return decodeCommit(decoder{s: string(data), room: &room{}})
}

// Borrower reads commits for who applies them while their data stays as it is: texts and values are parts of the data. The
// machine copies what it keeps. It is for one goroutine.
type Borrower struct{ room room }

// NewBorrower expects so many commits, which then need few pieces of memory in all.
func NewBorrower(commits int) *Borrower {
	return &Borrower{room{commits: make([]Commit, 0, commits), ahead: commits}}
}

// Commit is DecodeCommit, but for what it may refer to.
func (b *Borrower) Commit(data []byte) (*Commit, error) {
	return decodeCommit(decoder{s: unsafe.String(unsafe.SliceData(data), len(data)), room: &b.room})
}

// CheckCommit tells whether DecodeCommit can read data, with the same errors, and copies nothing of it.
func CheckCommit(data []byte) error { return (&Borrower{}).Check(data) }

// Check is CheckCommit in memory that is used again. It keeps nothing of data, and takes away what Commit gave before.
func (b *Borrower) Check(data []byte) error {
	_, err := b.Commit(data)
	r := &b.room
	empty(&r.commits)
	empty(&r.reads)
	empty(&r.writes)
	empty(&r.texts)
	empty(&r.events)
	empty(&r.notes)
	return err
}

// empty forgets what is in a list and keeps its room.
func empty[T any](list *[]T) {
	clear(*list)
	*list = (*list)[:0]
}

// room is where what is decoded is put: many parts of commits in one piece of memory.
type room struct {
	commits []Commit
	reads   []Read
	writes  []Write
	texts   []string
	events  []EventNote
	notes   []LogNote
	ahead   int // how many more are expected, about
}

// take cuts n items off a slice that has room for them, or else makes another.
func take[T any](list *[]T, n, ahead int) []T {
	if cap(*list)-len(*list) < n {
		*list = make([]T, 0, max(n, min(ahead, 1024)))
	}
	at := len(*list)
	*list = (*list)[:at+n]
	return (*list)[at : at+n : at+n]
}

func decodeCommit(d decoder) (*Commit, error) {
	size := len(d.s)
	format := d.byte()
	c := &take(&d.room.commits, 1, d.room.ahead)[0]
	copy(c.ID[:], d.bytes(len(c.ID)))
	c.Base, c.Epoch, c.Term = d.uvarint(), d.uvarint(), d.uvarint()
	schema := d.uvarint()
	switch {
	case schema > math.MaxUint32:
		d.fail("schema out of range")
	case d.err == nil && schema > uint64(Schema):
		return nil, &SchemaError{What: fmt.Sprintf("commit %s", c.ID), Schema: uint32(schema), Known: Schema}
	case size > 0 && (format < commitFormat || format > commitFormatLogs):
		return nil, fmt.Errorf("%w a commit of format %d: this node knows formats up to %d", ErrDecode, format, commitFormatLogs)
	case format != formatOf(uint32(schema)):
		d.fail(fmt.Sprintf("a commit of schema %d in format %d", schema, format))
	}
	c.Schema = uint32(schema)
	c.Actor = d.text()
	c.Reads, c.Writes = d.reads(), d.writes()
	if c.Schema >= SchemaEvents {
		c.Events = d.events()
	}
	if c.Schema >= SchemaLogs {
		c.Notes = d.notes()
	}
	return c, d.end()
}

func (d *decoder) reads() []Read {
	n := d.count(3)
	if n == 0 {
		return nil
	}
	out := take(&d.room.reads, n, d.room.ahead)
	for i := range out {
		out[i] = Read{Kind: ReadKind(d.byte()), Table: d.text(), Name: d.text()}
		if k := out[i].Kind; k < ReadRow || k > ReadContent {
			d.fail("unknown kind of read")
		}
	}
	return out
}

func (d *decoder) writes() []Write {
	n := d.count(6)
	if n == 0 {
		return nil
	}
	out := take(&d.room.writes, n, d.room.ahead)
	for i := range out {
		flags := d.byte()
		if flags&^(flagDelete|flagFresh) != 0 {
			d.fail("unknown flags of a write")
		}
		out[i] = Write{Table: d.text(), Key: d.text(), Old: d.texts(), New: d.texts(),
			Delete: flags&flagDelete != 0, Fresh: flags&flagFresh != 0}
		if v := d.bytes(d.count(1)); len(v) > 0 {
			out[i].Value = alias(v)
		}
	}
	return out
}

func (d *decoder) events() []EventNote {
	n := d.count(3)
	if n == 0 {
		return nil
	}
	out := take(&d.room.events, n, d.room.ahead)
	for i := range out {
		write := d.uvarint()
		if write > math.MaxInt32 {
			d.fail("an event of no write")
		}
		out[i] = EventNote{Write: int(write), Org: d.text(), Object: d.text()}
	}
	return out
}

func (d *decoder) notes() []LogNote {
	n := d.count(2)
	if n == 0 {
		return nil
	}
	out := take(&d.room.notes, n, d.room.ahead)
	for i := range out {
		out[i].Log = d.text()
		if data := d.bytes(d.count(1)); len(data) > 0 {
			out[i].Data = alias(data)
		}
	}
	return out
}

func appendText(buf []byte, s string) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(s)))
	return append(buf, s...)
}

func appendTexts(buf []byte, list []string) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(list)))
	for _, s := range list {
		buf = appendText(buf, s)
	}
	return buf
}

// decoder reads from a text and remembers the first error; after one, everything reads as zero.
type decoder struct {
	s    string
	off  int
	err  error
	room *room // for the parts of commits
}

func (d *decoder) fail(why string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s at byte %d of %d", ErrDecode, why, d.off, len(d.s))
	}
}

func (d *decoder) left() int { return len(d.s) - d.off }

func (d *decoder) byte() byte {
	if d.err != nil || d.left() < 1 {
		d.fail("it ends too early")
		return 0
	}
	d.off++
	return d.s[d.off-1]
}

func (d *decoder) uvarint() uint64 {
	var v uint64
	for shift := 0; ; shift += 7 {
		b := d.byte()
		if d.err != nil {
			return 0
		}
		if shift == 63 && b > 1 || shift > 63 {
			d.fail("number too large")
			return 0
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
}

// count reads how many items of at least size bytes follow, and refuses more than there is room for.
func (d *decoder) count(size int) int {
	n := d.uvarint()
	if d.err == nil && n > uint64(d.left()/size) {
		d.fail("length beyond the end")
	}
	if d.err != nil {
		return 0
	}
	return int(n)
}

func (d *decoder) bytes(n int) string {
	if d.err != nil || n > d.left() {
		d.fail("it ends too early")
		return ""
	}
	d.off += n
	return d.s[d.off-n : d.off]
}

func (d *decoder) text() string { return d.bytes(d.count(1)) }

func (d *decoder) texts() []string {
	n := d.count(1)
	if n == 0 {
		return nil
	}
	out := d.strings(n)
	for i := range out {
		out[i] = d.text()
	}
	return out
}

// strings makes room for n texts.
func (d *decoder) strings(n int) []string {
	if d.room == nil {
		return make([]string, n)
	}
	return take(&d.room.texts, n, 4*d.room.ahead)
}

func (d *decoder) end() error {
	if d.err == nil && d.left() > 0 {
		d.fail("bytes after the end")
	}
	return d.err
}

// newRecord makes a record with a copy of names, in one piece: they do not keep the entry that they were cut from.
func newRecord(table, key string, ranges []string) *record {
	end := len(table) + len(sep) + len(key)
	n := end
	for _, r := range ranges {
		n += len(r)
	}
	var all strings.Builder
	all.Grow(n)
	all.WriteString(table)
	all.WriteString(sep)
	all.WriteString(key)
	for _, r := range ranges {
		all.WriteString(r)
	}
	text := all.String()
	rec := &record{id: text[:end], table: text[:len(table)], key: text[len(table)+len(sep) : end]}
	if len(ranges) == 0 {
		return rec
	}
	rec.ranges = make([]string, len(ranges))
	for i, r := range ranges {
		rec.ranges[i] = text[end : end+len(r)]
		end += len(r)
	}
	return rec
}
