package fsm

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/hashicorp/raft"

	"github.com/muster-hq/muster/fsm/state"
)

// ErrStopped answers every entry after one that this node could not apply.
var ErrStopped = errors.New("the state machine has stopped")

// Options are what a machine needs; all must be given.
type Options struct {
	Store *state.Store
	Log   *slog.Logger
	// Fatal is called once, from raft's goroutine, when an entry cannot be applied. The node must stop:
	// going on would let it differ from the others. Until it does, nothing more is applied.
	Fatal func(error)
}

// FSM drives a store by a raft log. Raft calls its methods from one goroutine.
type FSM struct {
	st      *state.Store
	log     *slog.Logger
	fatal   func(error)
	stopped error
}

var (
	_ raft.FSM         = (*FSM)(nil)
	_ raft.BatchingFSM = (*FSM)(nil)
)

// New makes a machine over a store.
func New(o Options) (*FSM, error) {
	if o.Store == nil || o.Log == nil || o.Fatal == nil {
		return nil, errors.New("a state machine needs a store, a log and a way to stop the node")
	}
	return &FSM{st: o.Store, log: o.Log, fatal: o.Fatal}, nil
}

// Apply applies one entry; see ApplyBatch.
func (f *FSM) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch applies entries in one step for readers. The answer to a command is a []state.Result, one for
// each commit or one in all for the other kinds, or an error when the machine has stopped; nil otherwise.
func (f *FSM) ApplyBatch(logs []*raft.Log) []any {
	out := make([]any, len(logs))
	if f.stopped != nil {
		return f.refuse(out, logs, 0)
	}
	b := f.st.Batch()
	for i, l := range logs {
		switch l.Type {
		case raft.LogConfiguration:
			b.Skip(l.Index)
		case raft.LogCommand:
			res, broken, err := apply(b, l, f.st.Known())
			if err != nil {
				f.stop(b, broken, fmt.Errorf("log entry %d of term %d: %w", l.Index, l.Term, err))
				return f.refuse(out, logs, i)
			}
			out[i] = res
		}
	}
	b.Publish()
	return out
}

// apply does one entry. Broken says that it was left half done; otherwise an error means untouched.
func apply(b *state.Batch, l *raft.Log, known uint32) (res []state.Result, broken bool, err error) {
	e, err := DecodeEntry(l.Data)
	if err != nil {
		return nil, false, err
	}
	commits, from := make([]*state.Commit, len(e.Commits)), state.NewBorrower(len(e.Commits))
	for i, data := range e.Commits {
		if commits[i], err = from.Commit(data); err != nil {
			return nil, false, fmt.Errorf("commit %d: %w", i, err)
		}
		if s := commits[i].Schema; s > known {
			return nil, false, &state.SchemaError{What: fmt.Sprintf("commit %s", commits[i].ID), Schema: s, Known: known}
		}
	}
	b.Entry(l.Index, e.Time.UnixNano())
	switch e.Kind {
	case KindOpenTerm:
		return []state.Result{b.OpenTerm(e.Term)}, false, nil
	case KindEpoch:
		return []state.Result{b.SetEpoch(e.Epoch)}, false, nil
	}
	res = make([]state.Result, len(commits))
	for i, c := range commits {
		if res[i], err = b.Commit(c); err != nil {
			return nil, true, err
		}
	}
	return res, false, nil
}

// stop ends the machine. What the batch did before the failed entry stays, unless the tables are broken.
func (f *FSM) stop(b *state.Batch, broken bool, err error) {
	if broken {
		b.Abort()
	} else {
		b.Publish()
	}
	f.halt(err)
}

func (f *FSM) halt(err error) {
	f.stopped = fmt.Errorf("%w: %w", ErrStopped, err)
	f.log.Error("this node cannot apply the log and stops", "error", err)
	f.fatal(err)
}

func (f *FSM) refuse(out []any, logs []*raft.Log, from int) []any {
	for i := from; i < len(logs); i++ {
		if logs[i].Type == raft.LogCommand {
			out[i] = f.stopped
		}
	}
	return out
}

// Snapshot takes the present state without copying it.
func (f *FSM) Snapshot() (raft.FSMSnapshot, error) {
	if f.stopped != nil {
		return nil, f.stopped
	}
	return &snapshot{sn: f.st.Snapshot()}, nil
}

// Restore replaces the state. A snapshot that is damaged changes nothing and is an error: at a start, raft goes on
// to an older one. One of a schema that this node does not know ends the machine: an older one would not help.
func (f *FSM) Restore(r io.ReadCloser) error {
	if f.stopped != nil {
		return errors.Join(f.stopped, r.Close())
	}
	err := f.st.Restore(r)
	var newer *state.SchemaError
	if errors.As(err, &newer) {
		f.halt(err)
	}
	return errors.Join(err, r.Close())
}

type snapshot struct{ sn *state.Snapshot }

// Persist streams the snapshot into raft's sink.
func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	if err := s.sn.Write(sink); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	if err := sink.Close(); err != nil {
		return fmt.Errorf("close snapshot: %w", err)
	}
	return nil
}

// Release lets go of the snapshot.
func (s *snapshot) Release() { s.sn.Release() }
