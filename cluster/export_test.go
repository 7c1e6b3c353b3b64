package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/muster-hq/muster/fsm"
	"github.com/muster-hq/muster/fsm/state"
)

// Fault comes before or after a try to commit, by its number from 0. True loses the answer: the outcome is unknown.
type Fault func(try int) bool

// UpdateThrough is n.Update with faults in the way: before a try, which then is not made, or after it.
func (n *Node) UpdateThrough(ctx context.Context, before, after Fault, fn func(*state.Tx) error) error {
	ctx, cancel := n.deadline(ctx)
	defer cancel()
	try := -1
	once := func(ctx context.Context, data []byte) (state.Result, error) {
		try++
		if before != nil && before(try) {
			return state.Result{}, fmt.Errorf("%w: a fault", errUnknown)
		}
		res, err := n.proposeOnce(ctx, data)
		if after != nil && after(try) {
			return state.Result{}, fmt.Errorf("%w: a fault", errUnknown)
		}
		return res, err
	}
	return state.Run(ctx, n.store, &faulty{(*proposer)(n), once}, state.TxOptions{}, fn)
}

type faulty struct {
	*proposer
	once func(context.Context, []byte) (state.Result, error)
}

// Propose tries through the faults.
func (f *faulty) Propose(ctx context.Context, c *state.Commit) (state.Result, error) {
	return (*Node)(f.proposer).insist(ctx, c, f.once, nil)
}

// OpenTries is how many times a leader tries to open its term before it gives the leadership away.
const OpenTries = openTries

// OpenUntil opens the leader's term as at the beginning of a leadership, but refuse makes a try fail. False when the
// leadership ended before.
func OpenUntil(ctx context.Context, n *Node, refuse func(try int) error) bool {
	try := 0
	return n.openUntil(ctx, func(ctx context.Context) (*Lead, error) {
		try++
		if err := refuse(try); err != nil {
			return nil, err
		}
		return n.openTerm(ctx)
	}) != nil
}

// NewEpoch begins an epoch at the leader: whatever was read before is too old.
func (n *Node) NewEpoch() error { return n.command(fsm.Entry{Kind: fsm.KindEpoch}) }

// Grown is how many bytes the log of a node has grown by since its last snapshot.
func Grown(n *Node) int64 { return n.disk.grown.bytes.Load() }

// OpenSnapshots opens the snapshots in a raft folder.
func OpenSnapshots(dir string) (raft.SnapshotStore, error) {
	s, err := openSnapshots(dir, hclog.NewNullLogger())
	if err != nil {
		return nil, err
	}
	return s, nil
}

// EncodeNote writes what is noted of a snapshot.
func EncodeNote(meta raft.SnapshotMeta, sum string) ([]byte, error) {
	return (&snapshotNote{SnapshotMeta: meta, Sum: sum}).encode()
}

// DecodeNote reads what is noted of a snapshot.
func DecodeNote(text []byte) (*snapshotNote, error) { return decodeSnapshotNote(text) }

// OpenStable sums up what raft keeps beside its log.
func OpenStable(s raft.StableStore, lastTerm uint64, plain func() bool) (raft.StableStore, error) {
	c, err := openStable(s, lastTerm, plain)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// FirstLogIndex is the first entry in the node's log.
func (n *Node) FirstLogIndex() (uint64, error) { return n.disk.kept.FirstIndex() }

// ViewAlone tells whether a node answers a verified read without asking anybody.
func (n *Node) ViewAlone() (*state.View, bool) { return n.viewAlone() }

// AskTerms asks the other voters whether they are in no later term, until so many have said so.
func (n *Node) AskTerms(ctx context.Context, term uint64, need int) error {
	var others []raft.Server
	for _, s := range n.raft.GetConfiguration().Configuration().Servers {
		if s.Suffrage == raft.Voter && string(s.ID) != n.cfg.Name {
			others = append(others, s)
		}
	}
	return n.askOthers(ctx, term, others, need)
}

// AnswerCurrent answers the term question of an asker in askerTerm, as the leader of term.
func (n *Node) AnswerCurrent(ctx context.Context, term uint64, asker string, askerTerm uint64) error {
	if lead := n.leading.Load(); lead == nil || lead.Term != term {
		n.leading.Store(&Lead{Term: term, node: n})
		defer n.leading.Store(lead)
	}
	_, err := n.answerCurrent(ctx, asker, askerTerm)
	return err
}

// AppendToken puts the row of a join token into the log of the leader, past everything that holds back writes in a restore.
func AppendToken(n *Node, id string) error {
	c, err := n.store.Attempt(state.TxOptions{}, func(tx *state.Tx) error {
		return state.Put(tx, &joinToken{ID: id, Created: n.store.Now(), Expires: n.store.Now().Add(time.Hour)})
	})
	if err != nil {
		return err
	}
	e := fsm.Entry{Kind: fsm.KindCommits, Time: n.store.Now(), Commits: [][]byte{c.Encode(nil)}}
	return n.raft.Apply(e.Encode(nil), 0).Error()
}

// LeaderOf is the node whose leadership it is, or was.
func LeaderOf(l *Lead) *Node { return l.node }

// Resume makes a leadership of before the present one of its node, until undo is called: as for a duty that looked at it just
// before it ended.
func Resume(l *Lead) (undo func()) {
	now := l.node.leading.Swap(l)
	return func() { l.node.leading.Store(now) }
}

// Forward sends the bytes of a commit to the leader, whatever they are.
func (n *Node) Forward(ctx context.Context, commit []byte) error {
	addr, err := n.leaderAddr()
	if err != nil {
		return err
	}
	_, err = n.rpc.ask(ctx, addr, opCommit, commit)
	return err
}

// CurrentWith makes a node like n current, with a leader in these epochs, one after the other. It tells how often that was asked.
func CurrentWith(ctx context.Context, n *Node, epochs ...uint64) (asked int, err error) {
	like := &Node{cfg: n.cfg, log: n.log, store: n.store, proven: proven{base: time.Now()}, life: life{done: make(chan struct{})}}
	like.question = &sharer{ask: func(context.Context) (current, error) {
		epoch := epochs[min(asked, len(epochs)-1)]
		asked++
		return current{index: n.store.AppliedIndex(), nanos: time.Now().UnixNano(), epoch: epoch}, nil
	}}
	_, err = like.makeCurrent(ctx, 0)
	return asked, err
}

// HoldMachine lets a node apply nothing until release is called, once.
func HoldMachine(n *Node) (release func()) { return n.store.Batch().Abort }
