package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/muster-hq/muster/fsm"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// Bounds of group commit (design section 4).
const (
	packBytes    = 32 << 10 // of commits in one entry; a larger commit has an entry to itself
	packInFlight = 4        // entries handed to raft and not answered, at least 2
	queueBytes   = 32 << 20 // of commits that wait; beyond, callers are told to come back
)

// waiting is a commit on its way through the leader.
type waiting struct {
	data []byte
	done chan verdict // buffered: nobody waits for who has gone away
}

type verdict struct {
	res state.Result
	err error // wraps errNotDone or errUnknown
}

// packer packs the commits that wait into entries: one goroutine makes entries, one hands out the answers.
type packer struct {
	raft   *raft.Raft
	now    func() time.Time
	queue  chan *waiting
	bytes  atomic.Int64
	flying chan flight
	stop   chan struct{}
}

type flight struct {
	future raft.ApplyFuture
	batch  []*waiting
}

func newPacker(r *raft.Raft, now func() time.Time) *packer {
	p := &packer{
		raft: r, now: now, queue: make(chan *waiting, 16384), stop: make(chan struct{}),
		flying: make(chan flight, packInFlight-2), // besides, answer holds one and pack another
	}
	go p.pack()
	go p.answer()
	return p
}

// close ends the packer and whoever waits for it. It does not wait for the answers: raft never answers an entry
// that was put into its buffered channel while it shut down.
func (p *packer) close() { close(p.stop) }

// submit puts an encoded commit in the queue and waits for its outcome.
func (p *packer) submit(ctx context.Context, data []byte) (state.Result, error) {
	w := &waiting{data: data, done: make(chan verdict, 1)}
	size := int64(len(data))
	if p.bytes.Add(size) > queueBytes {
		p.bytes.Add(-size)
		return state.Result{}, fmt.Errorf("%w: %w", errNotDone, model.Errorf(model.Unavailable, "too many writes are waiting; try again in a moment"))
	}
	select {
	case p.queue <- w:
	case <-p.stop:
		p.bytes.Add(-size)
		return state.Result{}, fmt.Errorf("%w: %w", errNotDone, raft.ErrRaftShutdown)
	case <-ctx.Done():
		p.bytes.Add(-size)
		return state.Result{}, fmt.Errorf("%w: %w", errNotDone, ctx.Err())
	}
	select {
	case v := <-w.done:
		return v.res, v.err
	case <-ctx.Done():
		return state.Result{}, fmt.Errorf("%w: %w", errUnknown, ctx.Err())
	case <-p.stop:
		return state.Result{}, fmt.Errorf("%w: %w", errUnknown, raft.ErrRaftShutdown)
	}
}

func (p *packer) pack() {
	defer close(p.flying)
	var held *waiting // did not fit into the entry before
	for {
		first := held
		held = nil
		if first == nil {
			select {
			case first = <-p.queue:
			case <-p.stop:
				return
			}
		}
		batch, size := []*waiting{first}, len(first.data)
	fill:
		for size < packBytes {
			select {
			case w := <-p.queue:
				if size+len(w.data) > packBytes {
					held = w
					break fill
				}
				batch, size = append(batch, w), size+len(w.data)
			default:
				break fill
			}
		}
		p.bytes.Add(-int64(size))
		e := fsm.Entry{Kind: fsm.KindCommits, Time: p.now(), Commits: make([][]byte, len(batch))}
		for i, w := range batch {
			e.Commits[i] = w.data
		}
		select {
		case p.flying <- flight{future: p.raft.Apply(e.Encode(nil), 0), batch: batch}:
		case <-p.stop:
			return
		}
	}
}

func (p *packer) answer() {
	for f := range p.flying {
		err := f.future.Error()
		var res []state.Result
		if err == nil {
			res, err = results(f.future.Response(), len(f.batch))
		} else {
			err = fate(err)
		}
		for i, w := range f.batch {
			v := verdict{err: err}
			if err == nil {
				v.res = res[i]
			}
			w.done <- v
		}
	}
}

// results reads what the state machine answered.
func results(response any, n int) ([]state.Result, error) {
	switch r := response.(type) {
	case []state.Result:
		if len(r) == n {
			return r, nil
		}
	case error:
		return nil, fmt.Errorf("%w: %w", errUnknown, r)
	}
	return nil, fmt.Errorf("%w: the state machine answered %T", errUnknown, response)
}

// fate sorts raft's errors by what is known of the entry.
func fate(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrEnqueueTimeout),
		errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return fmt.Errorf("%w: %w", errNotDone, err)
	}
	return fmt.Errorf("%w: %w", errUnknown, err)
}

// Update runs fn as an optimistic transaction and returns once it is committed; see state.Run. It works on any
// node, and fn may run many times. Errors of fn come back as they are. Others have the code Unavailable (nothing
// was done) or Unknown (the write may have been done, or may yet be). Without a deadline of its own, ctx gets the
// default one.
func (n *Node) Update(ctx context.Context, fn func(tx *state.Tx) error) error {
	_, err := n.UpdateIndex(ctx, fn)
	return err
}

// UpdateIndex is Update that also tells the index at which fn took effect, or that of the view if it wrote nothing.
func (n *Node) UpdateIndex(ctx context.Context, fn func(tx *state.Tx) error) (uint64, error) {
	ctx, cancel := n.deadline(ctx)
	defer cancel()
	if !n.clock.known() { // fn sees the leader's time, never ours
		if _, err := n.makeCurrent(ctx, 0); err != nil {
			return 0, err
		}
	}
	return state.RunIndex(ctx, n.store, (*proposer)(n), state.TxOptions{}, fn)
}

// proposer is the node as state.Run sees it.
type proposer Node

var _ state.Proposer = (*proposer)(nil)

// Now is the leader's time as known here.
func (p *proposer) Now() time.Time { return (*Node)(p).now() }

// Current makes this node current and at least at index.
func (p *proposer) Current(ctx context.Context, index uint64) (time.Time, error) {
	return (*Node)(p).makeCurrent(ctx, index)
}

// Propose gets a commit to the leader, again and again with the same bytes until its outcome is known.
func (p *proposer) Propose(ctx context.Context, c *state.Commit) (state.Result, error) {
	n := (*Node)(p)
	data := c.Encode(nil)
	unknown := false
	for {
		res, err := n.proposeOnce(ctx, data)
		if err == nil {
			if unknown && res.Outcome == state.TooOld {
				return res, model.Errorf(model.Unknown, "the outcome of the write is no longer known; look before trying again")
			}
			return res, nil
		}
		unknown = unknown || errors.Is(err, errUnknown)
		var me *model.Error
		if errors.As(err, &me) && !unknown {
			return res, me
		}
		if e := n.pause(ctx, err); e != nil {
			return res, n.giveUp(e, unknown)
		}
	}
}

// proposeOnce tries once: here when leading, else at the leader.
func (n *Node) proposeOnce(ctx context.Context, data []byte) (state.Result, error) {
	if n.leading.Load() != nil {
		return n.packer.submit(ctx, data)
	}
	addr, err := n.leaderAddr()
	if err != nil {
		return state.Result{}, err
	}
	// Longer than a question: the commit may wait behind others. A broken path ends it earlier.
	actx, cancel := context.WithTimeout(ctx, 4*n.cfg.Timing.Attempt)
	defer cancel()
	b, err := n.rpc.ask(actx, addr, opCommit, data)
	if err != nil {
		return state.Result{}, err
	}
	res, err := decodeResult(b)
	if err != nil {
		return res, fmt.Errorf("%w: %w", errUnknown, err)
	}
	return res, nil
}

// answerCommit is the leader's side of a forwarded commit. It reads the commit first: one that cannot be read
// must not get into the log, where it would stop every node.
func (n *Node) answerCommit(ctx context.Context, data []byte) ([]byte, error) {
	c, err := state.DecodeCommit(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotDone, model.Errorf(model.Invalid, "the commit cannot be read: %v", err))
	}
	if c.Schema > state.Schema {
		return nil, fmt.Errorf("%w: %w", errNotDone, model.Errorf(model.Unavailable, "the node is newer than its cluster: update the other nodes"))
	}
	if n.leading.Load() == nil {
		return nil, errNotLeading
	}
	res, err := n.packer.submit(ctx, data)
	if err != nil {
		return nil, err
	}
	return encodeResult(res), nil
}

var errNotLeading = fmt.Errorf("%w: this node does not lead", errNotDone)

// giveUp is what a caller is told when its time is over.
func (n *Node) giveUp(cause error, unknown bool) error {
	if unknown {
		return &model.Error{Code: model.Unknown, Err: cause,
			Messages: []string{"the outcome of the write is not known; look before trying again"}}
	}
	return &model.Error{Code: model.Unavailable, Err: cause,
		Messages: []string{"the cluster has no leader that this node can reach; nothing was done; try again"}}
}

// pause waits a moment before the next try; the cause when time is over.
func (n *Node) pause(ctx context.Context, cause error) error {
	select {
	case <-time.After(10 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w (last: %w)", ctx.Err(), cause)
	case <-n.done:
		return fmt.Errorf("this node is shutting down (last: %w)", cause)
	}
}
