package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	wal "github.com/hashicorp/raft-wal"
	"go.etcd.io/bbolt"

	"github.com/muster-hq/muster/fsm"
	"github.com/muster-hq/muster/fsm/state"
)

// Folder is the data folder of a stopped node, opened to be looked at. Nothing in it is changed.
type Folder struct {
	dir    string
	tables *state.Tables
	logs   raftStore
	copied string // folder of a copy to be removed, "" for none
}

// OpenFolder opens the folder of a stopped node. It is refused while a server runs on it.
func OpenFolder(dir string, given []state.TableDef) (*Folder, error) {
	all, err := tables(given)
	if err != nil {
		return nil, err
	}
	f := &Folder{dir: dir, tables: all}
	if err := unused(dir); err != nil {
		return nil, err
	}
	raftDir := filepath.Join(dir, "raft")
	paths := storePaths(raftDir)
	if _, err := os.Stat(paths[StoreWAL]); err == nil {
		// This store mends what it opens: it gets a copy.
		if f.copied, err = os.MkdirTemp("", "muster-log-*"); err != nil {
			return nil, fmt.Errorf("copying the raft log: %w", err)
		}
		if err = os.CopyFS(f.copied, os.DirFS(paths[StoreWAL])); err == nil {
			f.logs, err = wal.Open(f.copied)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("opening a copy of the raft log %s: %w", paths[StoreWAL], err), os.RemoveAll(f.copied))
		}
		return f, nil
	}
	if _, err := os.Stat(paths[StoreBolt]); err != nil {
		return nil, fmt.Errorf("%s holds no raft log: give the data folder of a node: %w", dir, err)
	}
	err = unbroken(dir, func() error {
		f.logs, err = raftboltdb.New(raftboltdb.Options{
			Path: paths[StoreBolt], BoltOptions: &bbolt.Options{ReadOnly: true, Timeout: time.Second}, MsgpackUseNewTimeFormat: true,
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("opening the raft log %s: %w", paths[StoreBolt], err)
	}
	return f, nil
}

// Close ends the look.
func (f *Folder) Close() error {
	err := f.logs.Close()
	if f.copied != "" {
		err = errors.Join(err, os.RemoveAll(f.copied))
	}
	return err
}

// unused refuses the folder of a server that runs. It takes the lock for a moment, and writes nothing.
func unused(dir string) error {
	l, err := os.Open(filepath.Join(dir, "lock"))
	if err != nil {
		return nil //nolint:nilerr // a copy of a folder needs no lock
	}
	defer func() { _ = l.Close() }()
	if err := lockFile(l); err != nil {
		return fmt.Errorf("a server runs on %s: stop it first, or look at a copy of the folder: %w", dir, err)
	}
	return nil
}

// LogLine is one entry of the log. Values are not told, only their size.
type LogLine struct {
	Index   uint64       `json:"index"`
	Term    uint64       `json:"term"`
	Kind    string       `json:"kind"`
	Time    *time.Time   `json:"time,omitempty"` // the leader's
	Bytes   int          `json:"bytes"`
	Detail  string       `json:"detail,omitempty"`
	Commits []CommitLine `json:"commits,omitempty"`
	Damage  string       `json:"damage,omitempty"` // why it cannot be read; nothing else is known of it then
}

// CommitLine is one commit of an entry.
type CommitLine struct {
	ID     string      `json:"id"`
	Base   uint64      `json:"base"`
	Epoch  uint64      `json:"epoch"`
	Term   uint64      `json:"term,omitempty"`
	Schema uint32      `json:"schema"`
	Actor  string      `json:"actor,omitempty"`
	Reads  int         `json:"reads"`
	Writes []WriteLine `json:"writes"`
}

// WriteLine is one row that a commit puts or deletes.
type WriteLine struct {
	Table  string `json:"table"`
	Key    string `json:"key"`
	Delete bool   `json:"delete,omitempty"`
	Fresh  bool   `json:"fresh,omitempty"`
	Bytes  int    `json:"bytes"`
}

// Log calls each with the entries from one index to another, 0 for the ends of the log, until it fails. It goes on after
// entries that are damaged. Those that a snapshot took the place of, in a restore for instance, are told as one line.
func (f *Folder) Log(from, to uint64, each func(LogLine) error) error {
	first, err := f.logs.FirstIndex()
	if err != nil {
		return fmt.Errorf("reading the raft log: %w", err)
	}
	last, err := f.logs.LastIndex()
	if err != nil {
		return fmt.Errorf("reading the raft log: %w", err)
	}
	if to == 0 || to > last {
		to = last
	}
	replaced := f.newestSnapshot()
	for i := max(from, first); i <= to && i > 0; i++ {
		end := i
		for end <= min(to, replaced) && f.absent(end) {
			end++
		}
		line := LogLine{Index: i, Kind: "absent", Detail: fmt.Sprintf("up to %d: the snapshot of entry %d took their place", end-1, replaced)}
		if end == i {
			line = f.line(i)
		} else {
			i = end - 1
		}
		if err := each(line); err != nil {
			return err
		}
	}
	return nil
}

// absent says whether the log has no entry of that index, which is no damage by itself.
func (f *Folder) absent(i uint64) bool {
	_, err := f.entry(i)
	return errors.Is(err, raft.ErrLogNotFound)
}

// newestSnapshot is the index of the newest snapshot whose note can be read; 0 when there is none.
func (f *Folder) newestSnapshot() (index uint64) {
	notes, err := filepath.Glob(filepath.Join(f.dir, "raft", "snapshots", "*", noteFile))
	if err != nil {
		return 0
	}
	for _, path := range notes {
		if n, err := readSnapshotNote(filepath.Dir(path)); err == nil {
			index = max(index, n.Index)
		}
	}
	return index
}

func (f *Folder) entry(i uint64) (*raft.Log, error) {
	var e raft.Log
	err := unbroken(f.dir, func() error { return newSumStore(f.logs).GetLog(i, &e) })
	return &e, err
}

func (f *Folder) line(i uint64) LogLine {
	e, err := f.entry(i)
	if err != nil {
		return LogLine{Index: i, Kind: "damaged", Damage: err.Error()}
	}
	l := LogLine{Index: i, Term: e.Term, Bytes: len(e.Data)}
	switch e.Type {
	case raft.LogConfiguration:
		l.Kind = "configuration"
		for n, s := range raft.DecodeConfiguration(e.Data).Servers {
			if n > 0 {
				l.Detail += ", "
			}
			l.Detail += fmt.Sprintf("%s %s at %s", s.Suffrage, s.ID, s.Address)
		}
		return l
	case raft.LogCommand:
	default:
		l.Kind = "empty"
		return l
	}
	entry, err := fsm.DecodeEntry(e.Data)
	if err != nil {
		l.Kind, l.Damage = "unknown", err.Error()
		return l
	}
	l.Time = &entry.Time
	switch entry.Kind {
	case fsm.KindOpenTerm:
		l.Kind, l.Detail = "open term", fmt.Sprintf("%s leads term %d", entry.Node, entry.Term)
	case fsm.KindEpoch:
		l.Kind, l.Detail = "epoch", fmt.Sprint(entry.Epoch)
	default:
		l.Kind = "commits"
		for _, data := range entry.Commits {
			c, err := state.DecodeCommit(data)
			if err != nil {
				l.Damage = err.Error()
				break
			}
			l.Commits = append(l.Commits, commitLine(c))
		}
	}
	return l
}

func commitLine(c *state.Commit) CommitLine {
	l := CommitLine{ID: c.ID.String(), Base: c.Base, Epoch: c.Epoch, Term: c.Term, Schema: c.Schema, Actor: c.Actor, Reads: len(c.Reads)}
	for _, w := range c.Writes {
		l.Writes = append(l.Writes, WriteLine{Table: w.Table, Key: w.Key, Delete: w.Delete, Fresh: w.Fresh, Bytes: len(w.Value)})
	}
	return l
}

// State rebuilds what the node had: its newest snapshot that is whole and the log after it, up to the first entry that
// is damaged. Notes say what was passed over. The last entries may never have been committed.
func (f *Folder) State() (view *state.View, notes []string, err error) {
	store, err := state.NewStore(state.Options{Tables: f.tables})
	if err != nil {
		return nil, nil, fmt.Errorf("making the state: %w", err)
	}
	dirs, err := filepath.Glob(filepath.Join(f.dir, "raft", "snapshots", "*", "meta.json"))
	if err != nil {
		return nil, nil, fmt.Errorf("listing the snapshots: %w", err)
	}
	type found struct {
		dir   string
		index uint64
	}
	var all []found
	for _, path := range dirs {
		meta, err := readSnapshotNote(filepath.Dir(path))
		if err != nil {
			notes = append(notes, fmt.Sprintf("a snapshot cannot be read: %v", err))
			continue
		}
		all = append(all, found{filepath.Dir(path), meta.Index})
	}
	slices.SortFunc(all, func(a, b found) int { return cmp.Compare(b.index, a.index) })
	next := uint64(1)
	for _, s := range all {
		err := CheckSnapshotFolder(s.dir)
		if err == nil {
			err = restoreFrom(store, filepath.Join(s.dir, "state.bin"))
		}
		if err == nil {
			next = s.index + 1
			break
		}
		notes = append(notes, fmt.Sprintf("the snapshot %s was passed over: %v", s.dir, err))
	}
	if note := f.replay(store, next); note != "" {
		notes = append(notes, note)
	}
	return store.View(), notes, nil
}

func restoreFrom(store *state.Store, path string) error {
	r, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("reading the snapshot: %w", err)
	}
	return errors.Join(store.Restore(r), r.Close())
}

// replay applies the log from an index on, and says why it stopped before the end.
func (f *Folder) replay(store *state.Store, next uint64) string {
	first, err1 := f.logs.FirstIndex()
	last, err2 := f.logs.LastIndex()
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Sprintf("the log cannot be read: %v", err)
	}
	if last > 0 && first > next {
		return fmt.Sprintf("the log begins at entry %d, and entries from %d on are missing: it was not used", first, next)
	}
	var stopped error
	machine, err := fsm.New(fsm.Options{Store: store, Log: slog.New(slog.DiscardHandler), Fatal: func(err error) { stopped = err }})
	if err != nil {
		return err.Error()
	}
	for i := next; i <= last; i++ {
		e, err := f.entry(i)
		if err == nil {
			machine.Apply(e)
			err = stopped
		}
		if err != nil {
			return fmt.Sprintf("the log was read up to entry %d of %d: %v", i-1, last, err)
		}
	}
	return ""
}

// Secret says whether the values of a table are to be hidden.
func (f *Folder) Secret(table string) bool { return f.tables.Secret(table) }
