package cluster

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// again decodes what a decoder gave, once it is encoded.
func again[T any](t *testing.T, decode func([]byte) (T, error), text []byte) {
	t.Helper()
	v, err := decode(text)
	if err != nil {
		return
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Skip("a text that is no UTF-8")
	}
	w, err := decode(b)
	if err != nil {
		t.Fatalf("%s reads as %+v, which does not read: %v", text, v, err)
	}
	if c, err := json.Marshal(w); err != nil || !bytes.Equal(b, c) {
		t.Errorf("%s reads as %+v, and that as %+v, %v", text, v, w, err)
	}
}

// FuzzFolder: what is read from the files of a data folder, and from other nodes as JSON.
func FuzzFolder(f *testing.F) {
	f.Add([]byte(`{"node":"n1","instance":"x","clusterId":"c","mode":"join","peers":[{"name":"n2","cluster":"a:1"}]}`))
	f.Add([]byte(`{"schema":2,"version":"1.2"}`))
	f.Add([]byte(`{"name":"n1","clusterAddr":"a:1","schema":2,"certExpires":"2026-01-01T00:00:00Z","gossipKeys":["a"]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		again(t, decodeRecord, text)
		again(t, decodeFolderSchema, text)
		again(t, decodeInfo, text)
	})
}

// FuzzSnapshotMeta: what raft noted of a snapshot is refused or agrees with its folder's name.
func FuzzSnapshotMeta(f *testing.F) {
	const id = "3-10-1700000000000"
	f.Add([]byte(`{"ID":"3-10-1700000000000","Index":10,"Term":3}`))
	f.Add([]byte(`{"ID":"3-10-1700000000000","Index":11,"Term":3}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		at := filepath.Join(dir, "snapshots", id)
		if err := os.MkdirAll(at, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(at, "meta.json"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		if checkSnapshots(dir) != nil {
			return
		}
		var meta struct {
			ID          string
			Index, Term uint64
		}
		if err := json.Unmarshal(text, &meta); err != nil || meta.ID != id || meta.Index != 10 || meta.Term != 3 {
			t.Errorf("%s is taken: %+v, %v", text, meta, err)
		}
	})
}
