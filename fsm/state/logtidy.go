package state

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// LogKeep says how much of a log is kept. What is beyond either is dropped, the oldest first, by whole chunks; the open
// row always stays. Zero fields set no bound.
type LogKeep struct {
	Bytes int           // of the chunks as they are stored, compressed
	Age   time.Duration // of the newest record in a chunk, by the leader's time
	Gone  bool          // the log goes as a whole
}

// TidiedLogs is what TidyLogs came to.
type TidiedLogs struct {
	Compressed int // chunks
	Dropped    int // chunks
	Removed    int // logs
}

// tidyAtOnce is how many chunks one commit compresses or drops: of 32 KiB each before.
const tidyAtOnce = 12

// PlainChunks is how many chunks of logs are not compressed yet.
func PlainChunks(r Reader) int { return len(r.keys(tableLog, rawLogs)) }

// CompressLogs compresses the chunks of all logs that are not yet, in commits of a bounded size, and says how many. An
// error ends it in between; the next one goes on.
func CompressLogs(ctx context.Context, u Updater, v *View) (compressed int, err error) {
	for keys := v.keys(tableLog, rawLogs); len(keys) > 0; {
		looked, n := 0, 0
		if err := u.Update(ctx, func(tx *Tx) (err error) { looked, n, err = compressChunks(tx, keys); return err }); err != nil {
			return compressed, fmt.Errorf("compress records of logs: %w", err)
		}
		keys, compressed = keys[looked:], compressed+n
	}
	return compressed, nil
}

// TidyLogs compresses the chunks of all logs that are not yet, and drops what keep says, asked once for each log, in
// commits of a bounded size. An error ends it in between; the next one goes on.
func TidyLogs(ctx context.Context, u Updater, v *View, keep func(log string) LogKeep) (TidiedLogs, error) {
	var out TidiedLogs
	n, err := CompressLogs(ctx, u, v)
	if out.Compressed = n; err != nil {
		return out, err
	}
	for _, log := range v.keys(tableLog, openLogs) {
		k := keep(log)
		drop := droppable(v, log, k)
		for keys := range slices.Chunk(drop, 4*tidyAtOnce) {
			if err := u.Update(ctx, func(tx *Tx) error { return dropRows(tx, keys) }); err != nil {
				return out, fmt.Errorf("drop old records of log %q: %w", log, err)
			}
		}
		out.Dropped += len(drop)
		if !k.Gone {
			continue
		}
		if err := u.Update(ctx, func(tx *Tx) error { return dropRows(tx, []string{log}) }); err != nil {
			return out, fmt.Errorf("remove log %q: %w", log, err)
		}
		out.Removed++
	}
	return out, nil
}

// compressChunks compresses as many of the chunks as fit a commit, also where compression saves nothing: one at least.
func compressChunks(tx *Tx, keys []string) (looked, n int, err error) {
	size := 0
	for i, key := range keys {
		if i == tidyAtOnce || size > MaxCommit/2 {
			return i, n, nil
		}
		rec := tx.row(tableLog, key)
		if rec == nil {
			continue
		}
		c, err := decodeChunk(rec.value, tx.store().dec)
		if err != nil {
			return 0, 0, fmt.Errorf("row %q of a log: %w", key, err)
		}
		ranges := slices.DeleteFunc(slices.Clone(rec.ranges), func(r string) bool { return r == rawLogs })
		packed := c.encode(logZstd, tx.store().enc.EncodeAll(c.body, nil))
		if err := tx.put(&record{table: tableLog, key: key, ranges: ranges, value: packed}, "", "", nil); err != nil {
			return 0, 0, err
		}
		n, size = n+1, size+len(packed)
	}
	return len(keys), n, nil
}

// droppable names the chunks that are not to be kept.
func droppable(v *View, log string, k LogKeep) []string {
	keys := v.keys(tableLog, logOf+log)
	if k.Gone {
		return keys
	}
	bytes := 0
	for i, key := range slices.Backward(keys) {
		rec := v.row(tableLog, key)
		if rec == nil {
			continue
		}
		bytes += len(rec.value)
		c, err := decodeHeadOfChunk(rec.value)
		if err != nil {
			panic(corrupt{fmt.Errorf("row %q of a log: %w", key, err)})
		}
		if k.Bytes > 0 && bytes > k.Bytes || k.Age > 0 && v.Now().Sub(c.to) > k.Age {
			return keys[:i+1]
		}
	}
	return nil
}

func dropRows(tx *Tx, keys []string) error {
	for _, key := range keys {
		if tx.row(tableLog, key) != nil {
			tx.pending(tableLog, key).rec = nil
		}
	}
	return nil
}

// Logs names all logs that have a record, in order.
func Logs(r Reader) []string { return r.keys(tableLog, openLogs) }
