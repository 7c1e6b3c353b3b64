package cluster_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
)

// kept is what a store keeps, by key; cut makes one write fail.
type kept struct {
	raft.StableStore
	values map[string][]byte
	little bool // as raft-wal writes numbers, and takes what is not there
	cut    int  // writes until then succeed; below 0 all do
}

var errCut = errors.New("cut off")

func (k *kept) Get(key []byte) ([]byte, error) {
	v, ok := k.values[string(key)]
	if !ok && !k.little {
		return nil, errors.New("not found")
	}
	return bytes.Clone(v), nil
}

func (k *kept) Set(key, value []byte) error {
	if k.cut--; k.cut == -1 {
		return errCut
	}
	k.values[string(key)] = bytes.Clone(value)
	return nil
}

func (k *kept) order() binary.ByteOrder {
	if k.little {
		return binary.LittleEndian
	}
	return binary.BigEndian
}

func (k *kept) SetUint64(key []byte, v uint64) error {
	b := make([]byte, 8)
	k.order().PutUint64(b, v)
	return k.Set(key, b)
}

func (k *kept) GetUint64(key []byte) (uint64, error) {
	b, err := k.Get(key)
	if err != nil || len(b) == 0 {
		return 0, err
	}
	return k.order().Uint64(b), nil
}

// vote is what raft does when it gives a vote in a new term.
func vote(s raft.StableStore, term uint64, candidate string) error {
	if err := s.SetUint64([]byte("CurrentTerm"), term); err != nil {
		return err
	}
	if err := s.SetUint64([]byte("LastVoteTerm"), term); err != nil {
		return err
	}
	return s.Set([]byte("LastVoteCand"), []byte(candidate))
}

func votes(s raft.StableStore) string {
	term, err1 := s.GetUint64([]byte("CurrentTerm"))
	voted, err2 := s.GetUint64([]byte("LastVoteTerm"))
	candidate, err3 := s.Get([]byte("LastVoteCand"))
	if err := errors.Join(err1, err2, err3); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d %d %s", term, voted, candidate)
}

func summed(t *testing.T, k *kept, plain bool) raft.StableStore {
	t.Helper()
	s, err := cluster.OpenStable(k, 0, func() bool { return plain })
	if err != nil {
		t.Fatalf("%v: %v", k.values, err)
	}
	return s
}

// TestFlippedBitOfAVote flips each bit of what is kept and of its names: it is told, or it is what was kept.
func TestFlippedBitOfAVote(t *testing.T) {
	for _, little := range []bool{false, true} {
		good := &kept{values: map[string][]byte{}, little: little, cut: -1}
		s := summed(t, good, false)
		for term := range uint64(300) {
			if err := vote(s, term+1, fmt.Sprint("node-", term%3)); err != nil {
				t.Fatal(err)
			}
		}
		want, told, all := votes(s), 0, 0
		if want != "300 300 node-2" {
			t.Fatal(want)
		}
		for key, value := range good.values {
			for bit := range (len(key) + len(value)) * 8 {
				both := append([]byte(key), value...)
				both[bit/8] ^= 1 << (bit % 8)
				bad := &kept{values: map[string][]byte{}, little: little, cut: -1}
				for k, v := range good.values {
					bad.values[k] = v
				}
				delete(bad.values, key)
				bad.values[string(both[:len(key)])] = both[len(key):]
				all++
				again, err := cluster.OpenStable(bad, 300, func() bool { return false })
				if err != nil {
					if told++; !errors.Is(err, cluster.ErrDamaged) {
						t.Errorf("%s, bit %d: %v", key, bit, err)
					}
				} else if got := votes(again); got != want {
					t.Errorf("%s, bit %d: %s", key, bit, got)
				}
			}
		}
		if told != all {
			t.Errorf("%d of %d flips were told", told, all)
		}
	}
}

// TestVotesOfOlderVersions: what they wrote is read and summed up, wherever that is cut off, and what is written can be
// read by them where that is promised.
func TestVotesOfOlderVersions(t *testing.T) {
	for _, little := range []bool{false, true} {
		for cut := range 6 {
			k := &kept{values: map[string][]byte{}, little: little, cut: -1}
			if err := vote(k, 7, "node-1"); err != nil {
				t.Fatal(err)
			}
			k.cut = cut
			if s, err := cluster.OpenStable(k, 7, func() bool { return false }); err == nil {
				err = vote(s, 8, "node-2")
				if !errors.Is(err, errCut) {
					t.Errorf("not cut after %d writes: %v", cut, err)
				}
			}
			k.cut = -1
			s := summed(t, k, false)
			if got := votes(s); got != "7 7 node-1" && got != "8 7 node-1" && got != "8 8 node-1" {
				t.Errorf("cut after %d writes: %s", cut, got)
			}
			if err := vote(s, 9, "node-0"); err != nil || votes(summed(t, k, false)) != "9 9 node-0" {
				t.Errorf("cut after %d writes, then another vote: %s, %v", cut, votes(s), err)
			}
			if !little { // an older version on the same folder, and then this one again
				if term, err := k.GetUint64([]byte("LastVoteTerm")); term != 9 || err != nil {
					t.Errorf("an older version reads term %d, %v", term, err)
				}
				if err := vote(k, 10, "node-1"); err != nil || votes(summed(t, k, false)) != "10 10 node-1" {
					t.Errorf("after an older version: %s, %v", votes(summed(t, k, false)), err)
				}
			}
		}
		k := &kept{values: map[string][]byte{}, little: little, cut: -1}
		if err := vote(summed(t, k, true), 3, "node-2"); err != nil || votes(k) != "3 3 node-2" {
			t.Errorf("what an older version must read: %s, %v", votes(k), err)
		}
	}
}

// TestVotesThatDoNotFit: what each may be, and all together may not.
func TestVotesThatDoNotFit(t *testing.T) {
	for name, f := range map[string]func(k *kept, s raft.StableStore) error{
		"older than the log":     func(_ *kept, s raft.StableStore) error { return s.SetUint64([]byte("CurrentTerm"), 4) },
		"a vote in a term ahead": func(_ *kept, s raft.StableStore) error { return s.SetUint64([]byte("LastVoteTerm"), 9) },
		"no term":                func(k *kept, _ raft.StableStore) error { delete(k.values, "CurrentTerm"); return nil },
		"no term of the vote":    func(k *kept, _ raft.StableStore) error { delete(k.values, "LastVoteTerm"); return nil },
		"nobody voted for":       func(k *kept, _ raft.StableStore) error { delete(k.values, "LastVoteCand"); return nil },
		"one for the other": func(k *kept, _ raft.StableStore) error {
			k.values["LastVoteTerm"] = k.values["CurrentTerm"]
			return nil
		},
	} {
		k := &kept{values: map[string][]byte{}, cut: -1}
		s := summed(t, k, false)
		if err := errors.Join(vote(s, 5, "node-1"), f(k, s)); err != nil {
			t.Fatal(err)
		}
		if _, err := cluster.OpenStable(k, 5, func() bool { return false }); !errors.Is(err, cluster.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFlippedVoteOnDisk flips a bit of the term and of the vote in the file of each store: the node says so and does not
// start.
func TestFlippedVoteOnDisk(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, store string) {
		c := clustertest.New(t, 1, clustertest.WithStore(store))
		if err := c.Node(0).Update(t.Context(), put("x", 1)); err != nil {
			t.Fatal(err)
		}
		for range 2 { // at the second start all is summed up, as the schema was raised in the first
			clustertest.WaitFor(t, "a folder that older versions refuse", func() bool {
				_, err := os.Stat(filepath.Join(c.DataDir(0), "schema"))
				return err == nil
			})
			c.Kill(0)
			c.Restart(0)
			if _, err := c.Node(0).View(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		c.Kill(0)
		for _, key := range []string{"CurrentTerm", "LastVoteTerm", "LastVoteCand"} {
			for _, at := range []int{0, len(key) - 1, len(key), len(key) + 5, len(key) + 7, len(key) + 9} {
				dir := filepath.Join(t.TempDir(), "data")
				if err := os.CopyFS(dir, os.DirFS(c.DataDir(0))); err != nil {
					t.Fatal(err)
				}
				if flipAll(t, filepath.Join(dir, "raft"), key, at) == 0 {
					t.Fatalf("%s was not found", key)
				}
				_, err := open(t, cluster.Config{Name: "node-0", DataDir: dir, RaftStore: store})
				if !errors.Is(err, cluster.ErrDamaged) {
					t.Errorf("%s, byte %d: %v", key, at, err)
				}
			}
		}
		c.Restart(0)
		v, err := c.Node(0).View(t.Context())
		if err != nil || count(v, "x") != 1 {
			t.Errorf("as it was: %v", err)
		}
	})
}

// flipAll flips a bit of the byte that lies so far from each place of a key in the files below a folder: some are of
// pages that are no longer used.
func flipAll(t *testing.T, dir, key string, at int) (n int) {
	t.Helper()
	for _, name := range filesOf(t, dir) {
		path := filepath.Join(dir, name)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out, found := bytes.Clone(text), 0
		for from := 0; ; found++ {
			i := bytes.Index(text[from:], []byte(key))
			if i < 0 {
				break
			}
			out[from+i+at] ^= 4
			from += i + len(key)
		}
		if found > 0 {
			if err := os.WriteFile(path, out, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		n += found
	}
	return n
}
