package state

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"
)

// LogRecord is one record of a log.
type LogRecord struct {
	Seq   uint64    // counts the records of the log from 0; what was dropped keeps its number
	Index uint64    // of the entry that appended it
	Time  time.Time // the leader's, of that entry; never goes back within a log
	Data  []byte    // shared: never change it
}

// LogRange says which records to read. Zero fields say nothing.
type LogRange struct {
	From, Before uint64    // numbers: from the one, up to the other without it; 0 is no end
	Since, Until time.Time // times: not before the one, before the other
}

func (g *LogRange) before() uint64 {
	if g.Before == 0 {
		return math.MaxUint64
	}
	return g.Before
}

// holds says whether anything between the numbers and times can be in the range.
func (g *LogRange) holds(first, end uint64, from, to time.Time) bool {
	return end > g.From && first < g.before() && (g.Since.IsZero() || !to.Before(g.Since)) && (g.Until.IsZero() || from.Before(g.Until))
}

// LogEnd is the number that the next record of a log gets; 0 before the first.
func LogEnd(r Reader, log string) uint64 {
	rec := r.row(tableLog, log)
	if rec == nil {
		return 0
	}
	c := mustChunk(r, rec)
	return c.first + c.n
}

// ReadLog gives the records of a range, the oldest first, until each says false.
func ReadLog(r Reader, log string, g LogRange, each func(LogRecord) bool) {
	open := r.row(tableLog, log)
	for _, key := range r.keys(tableLog, logOf+log) {
		if rec := r.row(tableLog, key); rec != nil && !readChunk(r, rec, g, each) {
			return
		}
	}
	if open != nil {
		readChunk(r, open, g, each)
	}
}

// ReadLogBack gives the records of a range, the newest first, until each says false.
func ReadLogBack(r Reader, log string, g LogRange, each func(LogRecord) bool) {
	keys := append(r.keys(tableLog, logOf+log), log)
	for _, key := range slices.Backward(keys) {
		rec := r.row(tableLog, key)
		if rec == nil {
			continue
		}
		var some []LogRecord
		readChunk(r, rec, g, func(l LogRecord) bool { some = append(some, l); return true })
		for _, l := range slices.Backward(some) {
			if !each(l) {
				return
			}
		}
	}
}

// readChunk gives the records of one row; false when each did not want more.
func readChunk(r Reader, rec *record, g LogRange, each func(LogRecord) bool) bool {
	head, err := decodeHeadOfChunk(rec.value)
	if err == nil && !head.open && !g.holds(head.first, head.first+head.n, head.from, head.to) {
		return true
	}
	c := mustChunk(r, rec)
	more := true
	err = c.each(func(l LogRecord) bool {
		if g.holds(l.Seq, l.Seq+1, l.Time, l.Time) {
			more = each(l)
		}
		return more && l.Seq < g.before()
	})
	if err != nil {
		panic(corrupt{fmt.Errorf("row %q of a log: %w", rec.key, err)})
	}
	return more
}

func mustChunk(r Reader, rec *record) *chunk {
	c, err := decodeChunk(rec.value, r.store().dec)
	if err != nil {
		panic(corrupt{fmt.Errorf("row %q of a log: %w", rec.key, err)})
	}
	return c
}

// chunk is a row of a log, decoded.
type chunk struct {
	first, n uint64
	from, to time.Time // of the first and the last record
	body     []byte    // records: length, index, time, data
	open     bool
	packed   bool // the body is a zstd frame of so many bytes:
	size     uint64
}

// decodeHeadOfChunk reads all but the records. Of an open row it knows only the first number.
func decodeHeadOfChunk(value []byte) (*chunk, error) {
	d := decoder{s: string(value[:min(len(value), 64)])}
	c := &chunk{}
	switch d.byte() {
	case logOpen:
		c.open = true
		if first := d.bytes(8); d.err == nil {
			c.first = binary.BigEndian.Uint64([]byte(first))
		}
	case logZstd:
		c.packed = true
		fallthrough
	case logPlain:
		c.first, c.n = d.uvarint(), d.uvarint()
		c.from, c.to = time.Unix(0, d.varint()).UTC(), time.Unix(0, d.varint()).UTC()
		if c.packed {
			c.size = d.uvarint()
		}
	default:
		d.fail("unknown form of a log's row")
	}
	if c.size > 2*logChunk || c.n > 2*logChunk || c.first > math.MaxUint64/2 {
		d.fail("impossible size of a log's row")
	}
	if d.err != nil {
		return nil, d.err
	}
	c.body = value[d.off:]
	return c, nil
}

// decodeChunk reads a row of a log. dec is needed for compressed ones only.
func decodeChunk(value []byte, dec *zstd.Decoder) (*chunk, error) {
	c, err := decodeHeadOfChunk(value)
	if err != nil {
		return nil, err
	}
	if c.packed {
		if dec == nil {
			return nil, fmt.Errorf("%w: an open row of a log is compressed", ErrDecode)
		}
		body, err := dec.DecodeAll(c.body, make([]byte, 0, c.size))
		if err != nil {
			return nil, fmt.Errorf("%w: decompress the records of a log: %w", ErrDecode, err)
		}
		if uint64(len(body)) != c.size {
			return nil, fmt.Errorf("%w: %d bytes of a log's records, not %d", ErrDecode, len(body), c.size)
		}
		c.body, c.packed = body, false
	}
	n := uint64(0)
	err = c.each(func(l LogRecord) bool {
		if n++; c.open {
			if n == 1 {
				c.from = l.Time
			}
			c.to = l.Time
		}
		return true
	})
	switch {
	case err != nil:
		return nil, err
	case c.open:
		c.n = n
	case c.n != n:
		return nil, fmt.Errorf("%w: %d records of a log, not %d", ErrDecode, n, c.n)
	}
	return c, nil
}

// each gives the records of a chunk that is not compressed.
func (c *chunk) each(f func(LogRecord) bool) error {
	body := c.body
	for seq := c.first; len(body) > 0; seq++ {
		size, k := binary.Uvarint(body)
		if k <= 0 || size > uint64(len(body)-k) {
			return fmt.Errorf("%w: a record of a log is cut", ErrDecode)
		}
		payload := body[k : k+int(size)]
		body = body[k+int(size):]
		index, i := binary.Uvarint(payload)
		nanos, j := binary.Varint(payload[max(i, 0):])
		if i <= 0 || j <= 0 {
			return fmt.Errorf("%w: a record of a log has no index or time", ErrDecode)
		}
		if !f(LogRecord{Seq: seq, Index: index, Time: time.Unix(0, nanos).UTC(), Data: payload[i+j:]}) {
			return nil
		}
	}
	return nil
}

// encode makes the row of a full chunk.
func (c *chunk) encode(form byte, body []byte) []byte {
	b := append(make([]byte, 0, 1+5*binary.MaxVarintLen64+len(body)), form)
	b = binary.AppendUvarint(b, c.first)
	b = binary.AppendUvarint(b, c.n)
	b = binary.AppendVarint(b, c.from.UnixNano())
	b = binary.AppendVarint(b, c.to.UnixNano())
	if form == logZstd {
		b = binary.AppendUvarint(b, uint64(len(c.body)))
	}
	return append(b, body...)
}
