package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
)

// BoltLog keeps raft's log and its few other values in one file of bbolt. The file is as raft-boltdb writes it, so that
// each reads the other's, but an entry is encoded without reflection into memory that is used again, and the pages of
// entries that were stored before are not written again: see gaps. It may be used by many goroutines.
type BoltLog struct {
	db    *bbolt.DB
	rooms sync.Pool // of *[]byte, for encoded entries

	mu     sync.Mutex
	gapsAt uint64 // the entry that was stored last, if gaps stand behind it
}

// The buckets of the file.
var (
	bucketLogs = []byte("logs")
	bucketConf = []byte("conf")
)

// errNoValue is what raft takes for a value that was never set: it compares the text.
var errNoValue = errors.New("not found")

const (
	// gaps are the keys without a value behind the newest entries. Bbolt parts a page only where more than four keys are in
	// it, and never leaves less than two in each part: a page of large entries would hold up to four, and all of them would be
	// written again with the next one. With so many short keys behind them, the newest entry is parted from the page that the
	// next one goes to.
	gaps = 4
	// maxLogRoom bounds what is kept of the memory for encoded entries: a rush may need more once.
	maxLogRoom = 1 << 20
)

// OpenBoltLog opens or makes a file. With options to read only, it must be there.
func OpenBoltLog(path string, o *bbolt.Options) (*BoltLog, error) {
	db, err := bbolt.Open(path, 0o600, o)
	if err != nil {
		return nil, fmt.Errorf("bbolt: %w", err)
	}
	b := &BoltLog{db: db}
	if o.ReadOnly {
		return b, nil
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketLogs, bucketConf} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return fmt.Errorf("making the bucket %s: %w", name, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return b, nil
}

// Close closes the file.
func (b *BoltLog) Close() error { return b.db.Close() }

// view runs fn in a transaction that reads.
func (b *BoltLog) view(bucket []byte, fn func(*bbolt.Bucket) error) error {
	return b.db.View(func(tx *bbolt.Tx) error { return fn(tx.Bucket(bucket)) })
}

// update runs fn in a transaction that writes, and is on the disk when it returns.
func (b *BoltLog) update(bucket []byte, fn func(*bbolt.Bucket) error) error {
	return b.db.Update(func(tx *bbolt.Tx) error { return fn(tx.Bucket(bucket)) })
}

// FirstIndex is the index of the first entry; 0 when there is none.
func (b *BoltLog) FirstIndex() (uint64, error) { return b.end((*bbolt.Cursor).First) }

// LastIndex is the index of the last entry; 0 when there is none.
func (b *BoltLog) LastIndex() (uint64, error) { return b.end((*bbolt.Cursor).Last) }

func (b *BoltLog) end(which func(*bbolt.Cursor) (key, value []byte)) (index uint64, err error) {
	err = b.view(bucketLogs, func(logs *bbolt.Bucket) error {
		if k, _ := which(logs.Cursor()); len(k) >= 8 {
			index = binary.BigEndian.Uint64(k)
		}
		return nil
	})
	return index, err
}

// GetLog reads an entry; raft.ErrLogNotFound when there is none.
func (b *BoltLog) GetLog(index uint64, l *raft.Log) error {
	return b.view(bucketLogs, func(logs *bbolt.Bucket) error {
		v := logs.Get(binary.BigEndian.AppendUint64(nil, index))
		if v == nil {
			return raft.ErrLogNotFound
		}
		return codec.NewDecoder(bytes.NewBuffer(v), &codec.MsgpackHandle{}).Decode(l)
	})
}

// StoreLog stores an entry.
func (b *BoltLog) StoreLog(l *raft.Log) error { return b.StoreLogs([]*raft.Log{l}) }

// StoreLogs stores entries, all of them or none.
func (b *BoltLog) StoreLogs(list []*raft.Log) error {
	if len(list) == 0 {
		return nil
	}
	size := 0
	for _, l := range list {
		size += logSize(l)
	}
	room, ok := b.rooms.Get().(*[]byte)
	if !ok {
		room = new([]byte)
	}
	if cap(*room) < size {
		*room = make([]byte, 0, size)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var gapsAt uint64
	err := b.update(bucketLogs, func(logs *bbolt.Bucket) error {
		buf := (*room)[:0]
		for _, l := range list {
			begin := len(buf)
			buf = appendLog(buf, l)
			if err := logs.Put(binary.BigEndian.AppendUint64(nil, l.Index), buf[begin:len(buf):len(buf)]); err != nil {
				return fmt.Errorf("storing entry %d: %w", l.Index, err)
			}
		}
		if len(buf) < b.db.Info().PageSize/2 { // many of those share a page as they are
			return nil
		}
		gapsAt = list[len(list)-1].Index
		return moveGaps(logs, b.gapsAt, gapsAt)
	})
	if err == nil {
		b.gapsAt = gapsAt
	}
	if cap(*room) <= maxLogRoom {
		b.rooms.Put(room)
	}
	return err
}

// moveGaps puts gaps behind an entry, and takes away those behind the one before, but for the first, which stays in that
// entry's page. Who looks for the log's ends, or deletes entries, takes a gap for a part of its entry.
func moveGaps(logs *bbolt.Bucket, from, to uint64) error {
	for i := range gaps {
		if err := logs.Put(gapKey(to, i), []byte{}); err != nil {
			return fmt.Errorf("putting a gap behind entry %d: %w", to, err)
		}
		if i == 0 || from == 0 {
			continue
		}
		if err := logs.Delete(gapKey(from, i)); err != nil {
			return fmt.Errorf("removing a gap behind entry %d: %w", from, err)
		}
	}
	return nil
}

func gapKey(index uint64, i int) []byte {
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, 9), index), byte(i))
}

// DeleteRange deletes the entries from min to max.
func (b *BoltLog) DeleteRange(min, max uint64) error {
	return b.update(bucketLogs, func(logs *bbolt.Bucket) error {
		c := logs.Cursor()
		for k, _ := c.Seek(binary.BigEndian.AppendUint64(nil, min)); len(k) >= 8 && binary.BigEndian.Uint64(k) <= max; k, _ = c.Next() {
			if err := c.Delete(); err != nil {
				return fmt.Errorf("deleting an entry: %w", err)
			}
		}
		return nil
	})
}

// Set keeps a value.
func (b *BoltLog) Set(key, value []byte) error {
	return b.update(bucketConf, func(conf *bbolt.Bucket) error { return conf.Put(key, value) })
}

// Get is a value that was kept; an error that says "not found", and no more, when there is none.
func (b *BoltLog) Get(key []byte) (value []byte, err error) {
	err = b.view(bucketConf, func(conf *bbolt.Bucket) error {
		v := conf.Get(key)
		if v == nil {
			return errNoValue
		}
		value = bytes.Clone(v)
		return nil
	})
	return value, err
}

// SetUint64 keeps a number.
func (b *BoltLog) SetUint64(key []byte, value uint64) error {
	return b.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

// GetUint64 is a number that was kept.
func (b *BoltLog) GetUint64(key []byte) (uint64, error) {
	v, err := b.Get(key)
	if err != nil {
		return 0, err
	}
	if len(v) < 8 {
		return 0, fmt.Errorf("the value %q has %d bytes, and a number has 8", key, len(v))
	}
	return binary.BigEndian.Uint64(v), nil
}

// logSize is what appendLog appends at the most.
func logSize(l *raft.Log) int { return 96 + len(l.Data) + len(l.Extensions) }

// appendLog appends an entry as raft-boltdb has it: MessagePack without its later types, the fields by name in their order.
func appendLog(buf []byte, l *raft.Log) []byte {
	buf = append(buf, 0x86) // a map of six
	buf = appendTime(appendRaw(buf, "AppendedAt"), l.AppendedAt)
	buf = appendBlob(appendRaw(buf, "Data"), l.Data)
	buf = appendBlob(appendRaw(buf, "Extensions"), l.Extensions)
	buf = appendNumber(appendRaw(buf, "Index"), l.Index)
	buf = appendNumber(appendRaw(buf, "Term"), l.Term)
	return appendNumber(appendRaw(buf, "Type"), uint64(l.Type))
}

// appendRaw appends a text or bytes.
func appendRaw[T string | []byte](buf []byte, v T) []byte {
	switch n := len(v); {
	case n < 32:
		buf = append(buf, 0xa0|byte(n))
	case n < 1<<16:
		buf = binary.BigEndian.AppendUint16(append(buf, 0xda), uint16(n))
	default:
		buf = binary.BigEndian.AppendUint32(append(buf, 0xdb), uint32(n))
	}
	return append(buf, v...)
}

func appendBlob(buf, v []byte) []byte {
	if v == nil {
		return append(buf, 0xc0)
	}
	return appendRaw(buf, v)
}

func appendNumber(buf []byte, n uint64) []byte {
	switch {
	case n < 1<<7:
		return append(buf, byte(n))
	case n < 1<<8:
		return append(buf, 0xcc, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(buf, 0xcd), uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32(append(buf, 0xce), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(buf, 0xcf), n)
}

// appendTime appends a time as MessagePack's own type has it, but as bytes.
func appendTime(buf []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(buf, 0xc0)
	}
	sec, nano := t.Unix(), uint64(t.Nanosecond())
	if sec < 0 || sec>>34 != 0 {
		buf = binary.BigEndian.AppendUint32(append(buf, 0xa0|12), uint32(nano))
		return binary.BigEndian.AppendUint64(buf, uint64(sec))
	}
	if v := nano<<34 | uint64(sec); v>>32 != 0 {
		return binary.BigEndian.AppendUint64(append(buf, 0xa0|8), v)
	}
	return binary.BigEndian.AppendUint32(append(buf, 0xa0|4), uint32(sec))
}
