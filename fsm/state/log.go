package state

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/muster-hq/muster/fsm/model"
)

// A log is a list of records under a name, to which commits append and which nobody else changes: the audit of an
// organization, for one. The machine appends, in the order of the log of the cluster, so writers of one log never
// conflict on it. The records lie in rows of the store's own: an open one, which grows, and behind it chunks that are
// full. A duty compresses chunks and drops old ones (TidyLogs).
const (
	tableLog = "_log"
	// logChunk is where a chunk is full. It decides how rows are cut: never change it.
	logChunk = 32 << 10
	// MaxLogRecord is the longest record in bytes.
	MaxLogRecord = 16 << 10

	logPart  = "#"     // between the name of a log and the number of a chunk's first record, in its key
	openLogs = "open"  // range of the open rows
	rawLogs  = "plain" // range of the chunks that are not compressed yet
	logOf    = "log/"  // with the log's name, the range of its chunks
)

// The first byte of a row of a log.
const (
	logOpen  byte = 1 // number of its first record (8 bytes), records
	logPlain byte = 2 // number of the first record, how many, times of the first and the last; records
	logZstd  byte = 3 // the same, the records as a zstd frame behind their size
)

// LogNote is a record for a log, as it travels in a commit. The machine adds the index and the time of the entry.
type LogNote struct {
	Log  string
	Data []byte
}

// AppendLog appends a record to a log within the transaction. It conflicts with nothing. While the cluster's schema is
// older than logs, nothing is kept. Errors: Invalid for a name or a record that cannot be.
func AppendLog(tx *Tx, log string, data []byte) error {
	n := LogNote{Log: log, Data: data}
	if !n.wellFormed() {
		return model.Errorf(model.Invalid, "a record of %d bytes for the log %q: at most %d, and the name is not empty and holds neither NUL nor %s",
			len(data), log, MaxLogRecord, logPart)
	}
	if tx.base.pub.schema >= SchemaLogs {
		tx.notes = append(tx.notes, n)
	}
	return nil
}

func (n *LogNote) wellFormed() bool {
	return n.Log != "" && !strings.Contains(n.Log, sep) && !strings.Contains(n.Log, logPart) && len(n.Data) <= MaxLogRecord
}

func (n *LogNote) size() int { return len(n.Log) + len(n.Data) + 6 }

// chunkName is the key of the chunk whose first record has a number. Keys are in order of numbers.
func chunkName(log string, first uint64) string { return fmt.Sprintf("%s%s%016x", log, logPart, first) }

// tail is the open row of a log while a batch appends to it.
type tail struct {
	fresh bool    // no such row is stored
	fast  bool    // the row before filled up within fastChunk
	rec   *record // this batch's, in its transaction: nobody else sees it, so it may change
	value []byte  // nil before the first record
	first uint64  // number of the first record in value
	n     uint64  // records in value
}

// tailOf finds the end of a log as this batch has left it. It reads what was published before the batch: see Batch.
func (b *Batch) tailOf(log string) (*tail, error) {
	if t := b.tails[log]; t != nil {
		return t, nil
	}
	t := &tail{}
	if rec := b.st.pub.Load().row(tableLog, log); rec == nil {
		t.fresh = true
	} else if end, ok := b.st.ends[log]; ok && end.rec == rec {
		t.value, t.first, t.n = rec.value, end.first, end.n
	} else {
		c, err := decodeChunk(rec.value, nil)
		if err != nil {
			return nil, fmt.Errorf("the open row of log %q: %w", log, err)
		}
		t.value, t.first, t.n = rec.value, c.first, c.n
	}
	if b.tails == nil {
		b.tails = map[string]*tail{}
	}
	b.tails[strings.Clone(log)] = t
	return t, nil
}

// keepEnds remembers what this batch knows of the open rows, so that the next need not count their records.
func (b *Batch) keepEnds() {
	for log, t := range b.tails {
		if t.rec == nil {
			delete(b.st.ends, log)
			continue
		}
		if b.st.ends == nil {
			b.st.ends = map[string]tail{}
		}
		b.st.ends[log] = *t
	}
}

// append puts the records of an applied commit at the ends of their logs.
func (b *Batch) append(c *Commit) error {
	for i := range c.Notes {
		n := &c.Notes[i]
		t, err := b.tailOf(n.Log)
		if err != nil {
			return err
		}
		var head [2 * binary.MaxVarintLen64]byte
		stamp := binary.AppendVarint(binary.AppendUvarint(head[:0], b.next.index), b.next.time)
		size := len(stamp) + len(n.Data)
		if t.n > 0 && len(t.value)+size > logChunk {
			if err := b.closeChunk(n.Log, t); err != nil {
				return err
			}
		}
		t.reserve(size + binary.MaxVarintLen32)
		if len(t.value) == 0 {
			t.value = binary.BigEndian.AppendUint64(append(t.value, logOpen), t.first)
		}
		// What readers see of the row ends before this: the bytes behind may be those of the same array.
		t.value = binary.AppendUvarint(t.value, uint64(size))
		t.value = append(append(t.value, stamp...), n.Data...)
		t.n++
		if err := b.grow(n.Log, t); err != nil {
			return fmt.Errorf("append to log %q: %w", n.Log, err)
		}
	}
	return nil
}

// openHead is the size of what an open row begins with.
const openHead = 9

// fastChunk is within how many nanoseconds a row fills up of which the next is likely to fill up soon.
const fastChunk = 10e9

// reserve makes room for so many bytes more. A log that is written to often fills its row within seconds: growing by halves
// would copy it several times.
func (t *tail) reserve(n int) {
	have := max(len(t.value), openHead) + n
	if have <= cap(t.value) {
		return
	}
	size := min(2*have, logChunk)
	if t.fast {
		size = logChunk
	}
	room := make([]byte, len(t.value), max(have, size))
	copy(room, t.value)
	t.value = room
}

// grow makes the open row what its tail is.
func (b *Batch) grow(log string, t *tail) error {
	if t.fresh {
		b.touch(markExists, tableLog, log)
		b.touch(markMembers, tableLog, openLogs)
		if err := b.txn.Insert(tableMembers, &member{id: memberID(tableLog, openLogs, log)}); err != nil {
			return err
		}
	} else {
		b.touch(markRow, tableLog, log)
	}
	t.fresh = false
	put := t.rec == nil
	if put {
		t.rec = newRecord(tableLog, log, []string{openLogs})
	}
	t.rec.value, t.rec.version = t.value, Version{Index: b.next.index}
	if put {
		return b.txn.Insert(tableRows, t.rec)
	}
	return nil
}

// closeChunk makes a chunk of the open row, which goes on empty.
func (b *Batch) closeChunk(log string, t *tail) error {
	c, err := decodeChunk(t.value, nil)
	if err != nil {
		return fmt.Errorf("close a chunk of log %q: %w", log, err)
	}
	key := chunkName(log, c.first)
	err = b.put(&Write{Table: tableLog, Key: key, Fresh: true, New: []string{logOf + log, rawLogs}}, c.encode(logPlain, c.body))
	b.pos-- // positions are those of a commit's writes
	t.first, t.n, t.value, t.fast = c.first+c.n, 0, nil, b.next.time-c.from.UnixNano() < fastChunk
	return err
}

// logWritten takes note of a commit that writes rows of logs itself: only a deletion of an open row matters, which has
// read the row, so nothing was appended since.
func (b *Batch) logWritten(w *Write) {
	if w.Delete && !strings.Contains(w.Key, logPart) {
		if b.tails == nil {
			b.tails = map[string]*tail{}
		}
		b.tails[strings.Clone(w.Key)] = &tail{fresh: true}
	}
}
