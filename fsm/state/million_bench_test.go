package state_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/hashicorp/go-memdb"

	"github.com/muster-hq/muster/fsm/state"
)

// manyRows is how many rows the benchmarks of memory and snapshots have.
const manyRows = 200_000

// fat is a row of 1 KiB in three ranges; its fields are memdb's indexes, too.
type fat struct {
	ID, Owner, Place, Kind string
	Value                  []byte
}

func fatAt(i int, r *rand.ChaCha8) *fat {
	value := make([]byte, 0, 1024)
	for len(value) < 1016 { // like text: words of a vocabulary
		value = fmt.Appendf(value, "%x ", uint32(r.Uint64()%4096)*2654435761)
	}
	return &fat{ID: fmt.Sprintf("%08d", i*7919%manyRows), Owner: fmt.Sprint("owner/", i%1000), Place: fmt.Sprint("place/", i%4096),
		Kind: fmt.Sprint("kind/", i%10), Value: value[:1016]}
}

func (f *fat) ranges() []string { return []string{f.Kind, f.Owner, f.Place} }

// fatIndex is memdb's index of a text, without the reflection of memdb's own.
type fatIndex func(f *fat) string

func (x fatIndex) FromObject(obj any) (bool, []byte, error) {
	return true, append([]byte(x(obj.(*fat))), 0), nil
}

func (fatIndex) FromArgs(args ...any) ([]byte, error) { return []byte(args[0].(string) + "\x00"), nil }

func plainDB(b *testing.B) *memdb.MemDB {
	b.Helper()
	index := func(name string, x fatIndex) *memdb.IndexSchema {
		return &memdb.IndexSchema{Name: name, Unique: name == "id", Indexer: x}
	}
	db, err := memdb.NewMemDB(&memdb.DBSchema{Tables: map[string]*memdb.TableSchema{"fat": {Name: "fat", Indexes: map[string]*memdb.IndexSchema{
		"id":    index("id", func(f *fat) string { return f.ID }),
		"owner": index("owner", func(f *fat) string { return f.Owner }),
		"place": index("place", func(f *fat) string { return f.Place }),
		"kind":  index("kind", func(f *fat) string { return f.Kind }),
	}}}})
	if err != nil {
		b.Fatal(err)
	}
	return db
}

func fillPlain(b *testing.B, rows []*fat) *memdb.MemDB {
	b.Helper()
	db := plainDB(b)
	txn := db.Txn(true)
	for _, f := range rows {
		if err := txn.Insert("fat", f); err != nil {
			b.Fatal(err)
		}
	}
	txn.Commit()
	return db
}

func fatRows() []*fat {
	r := rand.NewChaCha8([32]byte{1})
	rows := make([]*fat, manyRows)
	for i := range rows {
		rows[i] = fatAt(i, r)
	}
	return rows
}

// fillStore applies rows as the machine does, 64 entries of one commit to a batch.
func fillStore(b *testing.B, rows []*fat) *state.Store {
	b.Helper()
	st, err := state.NewStore(state.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; i < len(rows); i += 64 {
		batch := st.Batch()
		for n := i; n < min(i+64, len(rows)); n++ {
			f := rows[n]
			c := &state.Commit{Base: uint64(n), Schema: 1, Writes: []state.Write{{Table: "fat", Key: f.ID, New: f.ranges(), Value: f.Value, Fresh: true}}}
			binary.BigEndian.PutUint64(c.ID[:], uint64(n+1))
			c, err := state.DecodeCommit(c.Encode(nil))
			if err != nil {
				b.Fatal(err)
			}
			batch.Entry(uint64(n+1), int64(n))
			if res, err := batch.Commit(c); err != nil || res.Outcome != state.Applied {
				b.Fatal(res, err)
			}
		}
		batch.Publish()
	}
	c, err := st.Attempt(state.TxOptions{}, func(tx *state.Tx) error { return state.RaiseSchema(tx, state.Schema) })
	if err != nil {
		b.Fatal(err)
	}
	batch := st.Batch()
	batch.Entry(manyRows+1, manyRows)
	if res, err := batch.Commit(c); err != nil || res.Outcome != state.Applied {
		b.Fatal(res, err)
	}
	batch.Publish()
	return st
}

func heapNow() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkMemory tells the bytes a row with three indexes takes, and those of go-memdb's own, without the value.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		before := heapNow()
		rows := fatRows()
		db := fillPlain(b, rows)
		rows = nil
		own := heapNow() - before
		runtime.KeepAlive(db)
		runtime.KeepAlive(rows)
		db = nil
		rows = fatRows()
		before = heapNow()
		st := fillStore(b, rows)
		ours := heapNow() - before
		runtime.KeepAlive(st)
		runtime.KeepAlive(rows)
		b.ReportMetric(float64(own)/manyRows-1024, "memdb-B/row")
		b.ReportMetric(float64(ours)/manyRows-1024, "ours-B/row")
		b.ReportMetric(float64(ours)/float64(own), "ratio")
	}
}

// BenchmarkSnapshot writes a snapshot to a file, and what it is compared with: iterate, encode, fsync.
func BenchmarkSnapshot(b *testing.B) {
	rows := fatRows()
	db, st := fillPlain(b, rows), fillStore(b, rows)
	toFile := func(write func(w io.Writer) error) time.Duration {
		began := time.Now()
		f, err := os.Create(filepath.Join(b.TempDir(), "file"))
		if err != nil {
			b.Fatal(err)
		}
		if err := write(f); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		_ = f.Close()
		return time.Since(began)
	}
	var own, ours time.Duration
	for b.Loop() {
		own += toFile(func(w io.Writer) error { return writePlain(db, w) })
		ours += toFile(func(w io.Writer) error {
			sn := st.Snapshot()
			defer sn.Release()
			return sn.Write(w)
		})
	}
	b.ReportMetric(ours.Seconds()/own.Seconds(), "ratio")
	b.ReportMetric(own.Seconds()/float64(b.N), "memdb-s")
	b.ReportMetric(ours.Seconds()/float64(b.N), "ours-s")
}

func writePlain(db *memdb.MemDB, w io.Writer) error {
	out := bufio.NewWriterSize(w, 64<<10)
	it, err := db.Txn(false).Get("fat", "id")
	if err != nil {
		return fmt.Errorf("iterate: %w", err)
	}
	var buf []byte
	for obj := it.Next(); obj != nil; obj = it.Next() {
		f := obj.(*fat)
		buf = buf[:0]
		for _, s := range []string{f.ID, f.Owner, f.Place, f.Kind} {
			buf = append(binary.AppendUvarint(buf, uint64(len(s))), s...)
		}
		buf = append(binary.AppendUvarint(buf, uint64(len(f.Value))), f.Value...)
		if _, err := out.Write(buf); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	return out.Flush()
}

// BenchmarkRestore reads a snapshot, and inserts the same rows into go-memdb.
func BenchmarkRestore(b *testing.B) {
	rows := fatRows()
	st := fillStore(b, rows)
	var buf bytes.Buffer
	sn := st.Snapshot()
	if err := sn.Write(&buf); err != nil {
		b.Fatal(err)
	}
	sn.Release()
	st = nil
	var own, ours time.Duration
	for b.Loop() {
		runtime.GC()
		began := time.Now()
		fillPlain(b, rows)
		own += time.Since(began)
		runtime.GC()
		began = time.Now()
		again, err := state.NewStore(state.Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := again.Restore(bytes.NewReader(buf.Bytes())); err != nil {
			b.Fatal(err)
		}
		ours += time.Since(began)
		if again.AppliedIndex() != manyRows+1 {
			b.Fatal(again.AppliedIndex())
		}
	}
	b.ReportMetric(ours.Seconds()/own.Seconds(), "ratio")
	b.ReportMetric(own.Seconds()/float64(b.N), "memdb-s")
	b.ReportMetric(ours.Seconds()/float64(b.N), "ours-s")
	b.ReportMetric(float64(buf.Len())/manyRows, "file-B/row")
}
