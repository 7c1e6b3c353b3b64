package state

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// Contents says what a snapshot holds, as far as it could be read.
type Contents struct {
	SnapshotInfo
	Bytes  uint64               // of the snapshot, compressed
	SHA256 string               // of the whole file, in hex
	Tables map[string]TableSize // by name
	Events int
	Marks  int // changed keys and ranges that are remembered
	IDs    int // commits that are remembered
}

// TableSize is how much of a snapshot is one table's.
type TableSize struct {
	Rows  uint64 `json:"rows"`
	Bytes uint64 `json:"bytes"` // of the values, before compression
}

// RawRow is a row as it is stored. Value belongs to the receiver.
type RawRow struct {
	Table, Key string
	Ranges     []string
	Version    Version
	Value      []byte // JSON, but in the store's own tables, whose names begin with an underscore
}

// Inspect reads a snapshot through and says what it holds. Each, unless it is nil, gets every row as it is read. Of a
// damaged snapshot it says what came before the damage, and the error, which wraps ErrDecode, says where that is.
// An error of each ends the reading and comes back as it is.
func Inspect(r io.Reader, each func(RawRow) error) (*Contents, error) {
	whole := &countingReader{r: r, sum: sha256.New()}
	c := &Contents{Tables: map[string]TableSize{}}
	i := &inspection{c: c, each: each, l: &loaded{known: Schema, ring: ring{limit: DefaultEventBytes}}}
	err := i.read(whole)
	c.SnapshotInfo = i.l.info
	c.Events = i.l.ring.n
	if m := i.l.mem; m != nil {
		c.Marks, c.IDs = m.old.marks.n+m.young.marks.n, m.old.ids.n+m.young.ids.n
	}
	if _, rest := io.Copy(io.Discard, whole); err == nil && rest != nil {
		err = rest
	}
	c.Bytes, c.SHA256 = whole.n, hex.EncodeToString(whole.sum.Sum(nil))
	if errors.Is(err, ErrDecode) {
		where := "at its beginning"
		if i.records > 0 {
			where = fmt.Sprintf("after %d whole records (%d rows, the last %s), near byte %d of %d", i.records, i.l.info.Rows, i.last, i.at, c.Bytes)
		}
		return c, fmt.Errorf("the snapshot is damaged %s: %w", where, err)
	}
	return c, err
}

// countingReader counts and sums up what is read.
type countingReader struct {
	r   io.Reader
	n   uint64
	sum interface {
		io.Writer
		Sum([]byte) []byte
	}
}

// Read reads.
func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += uint64(n)
	_, _ = c.sum.Write(p[:n]) // a hash never fails
	return n, err
}

// inspection is a snapshot that is being read, without making tables of it.
type inspection struct {
	c       *Contents
	l       *loaded
	each    func(RawRow) error
	records int
	last    string // row that was read whole
	at      uint64 // bytes of the file that were read at the last whole record
}

func (i *inspection) read(r io.Reader) error {
	z, err := openStream(r)
	if err != nil {
		return err
	}
	defer z.close()
	in := bufio.NewReaderSize(z, 64<<10)
	for {
		tag, payload, err := readRecord(in)
		if err != nil {
			return err
		}
		if tag == tagEnd {
			if !i.l.meta || !bytes.Equal(payload, binary.AppendUvarint(nil, i.l.info.Rows)) {
				return fmt.Errorf("%w: its end speaks of another number of rows", ErrDecode)
			}
			break
		}
		if err := i.record(tag, payload); err != nil {
			return err
		}
		i.records++
		i.at = z.at()
	}
	if n, err := io.Copy(io.Discard, in); n > 0 || err != nil {
		return fmt.Errorf("%w: %d bytes after its end (%v)", ErrDecode, n, err)
	}
	if !z.good() {
		return fmt.Errorf("%w: all can be read, but its checksum is another: some bit was changed", ErrDecode)
	}
	return i.l.checkSchema()
}

func (i *inspection) record(tag byte, payload []byte) error {
	if tag != tagRow || !i.l.meta {
		return i.l.record(tag, payload)
	}
	rec, err := decodeRecord(payload)
	if err != nil {
		return err
	}
	if rec.table == tableSchema && rec.key == schemaKey {
		i.l.schemaRow = rec
	}
	i.l.info.Rows++
	t := i.c.Tables[rec.table]
	t.Rows++
	t.Bytes += uint64(len(rec.value))
	i.c.Tables[rec.table] = t
	i.last = fmt.Sprintf("%s %q", rec.table, rec.key)
	if i.each == nil {
		return nil
	}
	return i.each(RawRow{Table: rec.table, Key: rec.key, Ranges: rec.ranges, Version: rec.version, Value: rec.value})
}

// Rows calls f with every row of the view, by table and key, until it fails. The values are shared: never change them.
func Rows(v *View, f func(RawRow) error) error {
	return v.pub.each(func(rec *record) error {
		return f(RawRow{Table: rec.table, Key: rec.key, Ranges: rec.ranges, Version: rec.version, Value: rec.value})
	})
}
