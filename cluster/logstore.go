package cluster

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	wal "github.com/hashicorp/raft-wal"
	"go.etcd.io/bbolt"
)

// The stores of raft's log and of its term and vote, as Config.RaftStore names them.
const (
	StoreBolt = "boltdb" // one file, DATA/raft/log.db
	StoreWAL  = "wal"    // files that are only appended to, in DATA/raft/wal
)

// raftStore keeps raft's log and what else raft must not forget.
type raftStore interface {
	raft.LogStore
	raft.StableStore
	io.Closer
}

// openRaftStore opens the log in a node's raft folder. A folder that holds a log of the other kind is refused: its
// entries would be missing.
func openRaftStore(dir, kind string, segment int, hlog hclog.Logger) (raftStore, error) {
	paths := map[string]string{StoreBolt: filepath.Join(dir, "log.db"), StoreWAL: filepath.Join(dir, "wal")}
	for other, path := range paths {
		if _, err := os.Stat(path); other != kind && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("the raft log in %s is kept by the store %q, and this node is told to use %q: set raft-store to %q, "+
				"or remove the node from its cluster, empty its data folder and let it join again", dir, other, kind, other)
		}
	}
	path := paths[kind]
	if kind == StoreBolt {
		b, err := raftboltdb.New(raftboltdb.Options{
			Path: path, BoltOptions: &bbolt.Options{Timeout: time.Second}, MsgpackUseNewTimeFormat: true,
		})
		if err != nil {
			return nil, fmt.Errorf("opening the raft log %s: %w", path, err)
		}
		return b, nil
	}
	if err := makeFolder(path); err != nil {
		return nil, err
	}
	w, err := wal.Open(path, wal.WithSegmentSize(segment), wal.WithLogger(hlog))
	if err != nil {
		return nil, fmt.Errorf("opening the raft log %s: %w", path, err)
	}
	return w, nil
}
