package cluster_test

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"github.com/muster-hq/muster/cluster"
)

// logs is what both stores are to raft.
type logs interface {
	raft.LogStore
	raft.StableStore
	Close() error
}

func openOurs(t *testing.T, path string) logs {
	t.Helper()
	s, err := cluster.OpenBoltLog(path, cluster.BoltOptions())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openTheirs(t *testing.T, path string) logs {
	t.Helper()
	s, err := raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: cluster.BoltOptions(), MsgpackUseNewTimeFormat: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// randomLog is an entry of any form.
func randomLog(r *rand.Rand, index uint64) *raft.Log {
	l := &raft.Log{Index: index, Term: r.Uint64() >> r.IntN(64), Type: raft.LogType(r.IntN(6))}
	if n := []int{-1, 0, 5, 31, 32, 300, 3 << 10, 70 << 10}[r.IntN(8)]; n >= 0 {
		l.Data = bytes.Repeat([]byte{byte(index)}, n)
	}
	if r.IntN(3) == 0 {
		l.Extensions = bytes.Repeat([]byte{7}, r.IntN(300))
	}
	switch r.IntN(4) {
	case 0:
		l.AppendedAt = time.Unix(r.Int64N(1<<36)-1<<30, r.Int64N(1e9)).UTC()
	case 1:
		l.AppendedAt = time.Unix(r.Int64N(1<<33), 0).UTC()
	case 2:
		l.AppendedAt = time.Unix(r.Int64N(1<<33), r.Int64N(1e9)).UTC()
	}
	return l
}

// TestLogIsAsOlderVersionsHaveIt stores any entries with raft-boltdb, as older versions do, and with our store: the values
// in both files are the same bytes, and each reads the other's file and goes on with it.
func TestLogIsAsOlderVersionsHaveIt(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var list []*raft.Log
	for i := range 200 {
		list = append(list, randomLog(r, uint64(i+1)))
	}
	list[3].Term, list[4].Term = math.MaxUint64, 0
	dir := t.TempDir()
	paths := []string{filepath.Join(dir, "ours"), filepath.Join(dir, "theirs")}
	stores := []func(*testing.T, string) logs{openOurs, openTheirs}
	for half := range 2 { // in the second half each store goes on with the other's file
		for i, path := range paths {
			s := stores[(i+half)%2](t, path)
			for at := 100 * half; at < 100*(half+1); at += 5 {
				if err := s.StoreLogs(list[at : at+5]); err != nil {
					t.Fatal(err)
				}
				if last, err := s.LastIndex(); err != nil || last != uint64(at+5) {
					t.Fatalf("the last entry is %d, %v, after %d were stored", last, err, at+5)
				}
			}
			if err := errors.Join(s.SetUint64([]byte("Term"), 7), s.Set([]byte("Vote"), []byte("n2")), s.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	var files [2]map[string][]byte
	for i, path := range paths {
		files[i] = valuesIn(t, path)
		for _, open := range stores {
			s := open(t, path)
			for _, want := range list {
				var got raft.Log
				if err := s.GetLog(want.Index, &got); err != nil || !reflect.DeepEqual(plain(&got), plain(want)) {
					t.Fatalf("%s: entry %d reads as %.200v, %v", path, want.Index, got, err)
				}
			}
			if n, err := s.GetUint64([]byte("Term")); err != nil || n != 7 {
				t.Errorf("%s: the term is %d, %v", path, n, err)
			}
			if v, err := s.Get([]byte("Vote")); err != nil || string(v) != "n2" {
				t.Errorf("%s: the vote is %q, %v", path, v, err)
			}
			if _, err := s.Get([]byte("none")); err == nil || err.Error() != "not found" {
				t.Errorf("%s: a value that was never set: %v", path, err)
			}
			if err := s.GetLog(1000, &raft.Log{}); !errors.Is(err, raft.ErrLogNotFound) {
				t.Errorf("%s: an entry that is not there: %v", path, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !reflect.DeepEqual(files[0], files[1]) {
		t.Error("the two files hold other values")
	}
}

// plain is an entry as it reads: absent bytes and none are one.
func plain(l *raft.Log) raft.Log {
	out := *l
	if len(out.Data) == 0 {
		out.Data = nil
	}
	if len(out.Extensions) == 0 {
		out.Extensions = nil
	}
	out.AppendedAt = out.AppendedAt.UTC()
	return out
}

// valuesIn are the values in a file of bbolt, without keys that have none.
func valuesIn(t *testing.T, path string) map[string][]byte {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	out := map[string][]byte{}
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				if len(v) > 0 {
					out[string(name)+"/"+string(k)] = bytes.Clone(v)
				}
				return nil
			})
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestEndsOfTheLog cuts a log with gaps at either end: what is left is what was not cut, and no more.
func TestEndsOfTheLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	s := openOurs(t, path)
	defer func() { _ = s.Close() }()
	ends := func(first, last uint64) {
		t.Helper()
		f, err := s.FirstIndex()
		l, err2 := s.LastIndex()
		if f != first || l != last || errors.Join(err, err2) != nil {
			t.Fatalf("the log goes from %d to %d, not from %d to %d: %v", f, l, first, last, errors.Join(err, err2))
		}
	}
	store := func(from, to uint64, size int) {
		t.Helper()
		for i := from; i <= to; i++ {
			if err := s.StoreLog(&raft.Log{Index: i, Data: bytes.Repeat([]byte{byte(i)}, size)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	cut := func(from, to uint64) {
		t.Helper()
		if err := s.DeleteRange(from, to); err != nil {
			t.Fatal(err)
		}
	}
	ends(0, 0)
	store(1, 20, 10_000)
	ends(1, 20)
	cut(1, 5)
	ends(6, 20)
	cut(15, 20) // as a follower does whose end nobody else has
	ends(6, 14)
	store(15, 16, 20)
	store(17, 18, 10_000)
	ends(6, 18)
	for i := uint64(6); i <= 18; i++ {
		var l raft.Log
		if err := s.GetLog(i, &l); err != nil || l.Index != i || len(l.Data) == 0 || l.Data[0] != byte(i) {
			t.Fatalf("entry %d reads as %d, %v", i, l.Index, err)
		}
	}
	// Written anew without its free pages, as after sealing, and cut by a node of before.
	if err := errors.Join(s.Close(), compacted(path, path+".new")); err != nil {
		t.Fatal(err)
	}
	s = openTheirs(t, path+".new")
	ends(6, 18)
	cut(18, 18)
	ends(6, 17)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openOurs(t, path+".new")
	store(18, 19, 10_000)
	ends(6, 19)
	cut(6, 19)
	ends(0, 0)
	store(40, 40, 10_000)
	ends(40, 40)
}

// compacted copies a file of bbolt without its free pages.
func compacted(from, to string) error {
	src, err := bbolt.Open(from, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	dst, err := bbolt.Open(to, 0o600, nil)
	if err != nil {
		return errors.Join(err, src.Close())
	}
	return errors.Join(bbolt.Compact(dst, src, 0), dst.Close(), src.Close())
}

// TestLargeEntriesAreWrittenOnce looks that a large entry costs its own pages and a few for what leads to it, and not those of
// the entries before.
func TestLargeEntriesAreWrittenOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	s := openOurs(t, path)
	const entries, size = 60, 40_000
	for i := range uint64(entries) {
		if err := s.StoreLog(&raft.Log{Index: i + 1, Data: make([]byte, size)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	err = db.View(func(tx *bbolt.Tx) error {
		leaves := map[int]int{} // how many pages belong to the first of several
		for id := 0; ; {
			p, err := tx.Page(id)
			if err != nil {
				return err
			}
			if p == nil {
				break
			}
			if p.Type == "leaf" && p.OverflowCount > 0 {
				leaves[id] = p.OverflowCount
			}
			id += 1 + p.OverflowCount
		}
		for id, more := range leaves {
			if pages := size/tx.DB().Info().PageSize + 1; more > pages {
				t.Errorf("page %d and %d after it hold more than one entry", id, more)
			}
		}
		if keys := tx.Bucket([]byte("logs")).Stats().KeyN; len(leaves) < entries || keys > 2*entries+3 {
			t.Errorf("%d entries have %d pages of their own and %d keys", entries, len(leaves), keys)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
