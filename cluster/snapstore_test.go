package cluster_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/muster-hq/muster/cluster"
)

var someConf = raft.Configuration{Servers: []raft.Server{
	{Suffrage: raft.Voter, ID: "node-0", Address: "10.0.0.1:7000"}, {Suffrage: raft.Nonvoter, ID: "node-1", Address: "10.0.0.2:7000"},
}}

func snapStore(t *testing.T, dir string) raft.SnapshotStore {
	t.Helper()
	s, err := cluster.OpenSnapshots(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// writeState writes a snapshot in small and large parts.
func writeState(t *testing.T, s raft.SnapshotStore, index uint64, data []byte) string {
	t.Helper()
	_, trans := raft.NewInmemTransport("")
	sink, err := s.Create(1, index, 3, someConf, index-1, trans)
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; len(data) > 0; n *= 3 {
		part := data[:min(n, len(data))]
		if _, err := sink.Write(part); err != nil {
			t.Fatal(err)
		}
		data = data[len(part):]
	}
	if err := errors.Join(sink.Close(), sink.Close(), sink.Cancel()); err != nil {
		t.Fatal(err)
	}
	return sink.ID()
}

func readState(s raft.SnapshotStore, id string) (*raft.SnapshotMeta, []byte, error) {
	meta, r, err := s.Open(id)
	if err != nil {
		return nil, nil, err
	}
	data, err := io.ReadAll(r)
	return meta, data, errors.Join(err, r.Close())
}

func stateOf(magic string, n int) []byte {
	b := []byte(magic)
	for i := range n {
		b = append(b, byte(i*i>>3))
	}
	return b
}

// TestSnapshotStoreBesideRafts: what nodes of the first schema can read, raft's own store reads, too, and this one reads
// what that wrote.
func TestSnapshotStoreBesideRafts(t *testing.T) {
	dir := t.TempDir()
	theirs, err := raft.NewFileSnapshotStore(dir, 2, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for i, writer := range []raft.SnapshotStore{snapStore(t, dir), theirs} {
		want := stateOf("musterS1", 300<<10)
		id := writeState(t, writer, uint64(10+i), want)
		for name, reader := range map[string]raft.SnapshotStore{"ours": snapStore(t, dir), "raft's": theirs} {
			meta, got, err := readState(reader, id)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("writer %d, read by %s: %d bytes of %d, %v", i, name, len(got), len(want), err)
			}
			if meta.Index != uint64(10+i) || meta.Term != 3 || meta.ConfigurationIndex != meta.Index-1 || !reflect.DeepEqual(meta.Configuration, someConf) ||
				meta.Size != int64(len(want)) {
				t.Errorf("writer %d, read by %s: %+v", i, name, meta)
			}
			list, err := reader.List()
			if err != nil || list[0].ID != id {
				t.Errorf("writer %d, listed by %s: %v, %v", i, name, list, err)
			}
		}
		if err := cluster.CheckSnapshotFolder(filepath.Join(dir, "snapshots", id)); err != nil {
			t.Errorf("writer %d: %v", i, err)
		}
	}
}

// TestSnapshotsAreKept: the two newest stay, what was never finished goes.
func TestSnapshotsAreKept(t *testing.T) {
	dir := t.TempDir()
	s := snapStore(t, dir)
	var ids []string
	for _, index := range []uint64{5, 9, 10, 100} {
		ids = append(ids, writeState(t, s, index, stateOf("musterS3", 10)))
	}
	sink, err := s.Create(1, 200, 3, someConf, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sink.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	given, err := s.Create(1, 201, 3, someConf, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(given.Cancel(), given.Close()); err != nil {
		t.Fatal(err)
	}
	if list := foldersIn(t, dir); len(list) != 3 {
		t.Errorf("beside one that is being written, there are %v", list)
	}
	list, err := snapStore(t, dir).List()
	if err != nil || len(list) != 2 || list[0].ID != ids[3] || list[1].ID != ids[2] {
		t.Errorf("listed: %v, %v", list, err)
	}
	if list := foldersIn(t, dir); len(list) != 2 {
		t.Errorf("after a start there are %v", list)
	}
	if _, err := s.Create(2, 300, 3, someConf, 1, nil); err == nil {
		t.Error("a form of raft's that nobody knows was taken")
	}
}

func foldersIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	all, err := os.ReadDir(filepath.Join(dir, "snapshots"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		names = append(names, f.Name())
	}
	return names
}

// TestFlippedBitOfASnapshot flips each bit of a snapshot's two files: that is told, or it did not matter.
func TestFlippedBitOfASnapshot(t *testing.T) {
	t.Parallel()
	for _, magic := range []string{"musterS1", "musterS3"} {
		dir := t.TempDir()
		want := stateOf(magic, 50)
		id := writeState(t, snapStore(t, dir), 7, want)
		meta, _, err := readState(snapStore(t, dir), id)
		if err != nil {
			t.Fatal(err)
		}
		told := map[string]int{}
		for _, name := range []string{"meta.json", "state.bin"} {
			path := filepath.Join(dir, "snapshots", id, name)
			good, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for bit := range len(good) * 8 {
				bad := bytes.Clone(good)
				bad[bit/8] ^= 1 << (bit % 8)
				if err := os.WriteFile(path, bad, 0o600); err != nil {
					t.Fatal(err)
				}
				s, err := cluster.OpenSnapshots(dir)
				if err != nil {
					told[name]++
					continue
				}
				again, got, err := readState(s, id)
				if err != nil {
					if told[name]++; len(got) >= len(want) {
						t.Errorf("%s, bit %d: all of it was given before it was told", name, bit)
					}
					continue
				}
				if !bytes.Equal(got, want) || !reflect.DeepEqual(again, meta) {
					t.Errorf("%s, bit %d of byte %d: served %+v", name, bit%8, bit/8, again)
				}
			}
			if err := os.WriteFile(path, good, 0o600); err != nil {
				t.Fatal(err)
			}
			if all := len(good) * 8; told[name] < all*9/10 {
				t.Errorf("%s: %d of %d were told only", name, told[name], all)
			}
		}
	}
}

// TestSnapshotOfAnotherLength: one that is cut, and one that has grown.
func TestSnapshotOfAnotherLength(t *testing.T) {
	dir := t.TempDir()
	s := snapStore(t, dir)
	id := writeState(t, s, 7, stateOf("musterS3", 50))
	path := filepath.Join(dir, "snapshots", id, "state.bin")
	for _, size := range []int64{57, 59, 0} {
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		if _, _, err := readState(s, id); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%d bytes", size)) {
			t.Errorf("of %d bytes: %v", size, err)
		}
		if err := cluster.CheckSnapshotFolder(filepath.Dir(path)); err == nil {
			t.Errorf("of %d bytes: not told", size)
		}
	}
}

// FuzzSnapshotNote: what is read of a snapshot is what was written, or of an older version.
func FuzzSnapshotNote(f *testing.F) {
	good, err := cluster.EncodeNote(raft.SnapshotMeta{Version: 1, ID: "3-7-1", Index: 7, Term: 3, Configuration: someConf, Size: 5}, "0badcafe")
	if err != nil {
		f.Fatal(err)
	}
	old, err := json.Marshal(map[string]any{"ID": "3-7-1", "Index": 7, "Term": 3, "CRC": []byte("12345678")})
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range [][]byte{good, old, good[:len(good)-1], append(good[:len(good):len(good)], ' '), []byte(`{"Check":"00000000"}` + "\n"), nil} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		note, err := cluster.DecodeNote(text)
		if err != nil {
			return
		}
		again, err := cluster.EncodeNote(note.SnapshotMeta, note.Sum)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := cluster.DecodeNote(again); err != nil || !reflect.DeepEqual(back.SnapshotMeta, note.SnapshotMeta) {
			t.Errorf("%s became %s, %v", text, again, err)
		}
	})
}
