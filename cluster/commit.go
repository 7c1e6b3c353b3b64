package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/muster-hq/muster/cluster/transport"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

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
	return n.insist(ctx, c, n.proposeOnce, nil)
}

// insist tries to commit until the outcome is known: after a try whose outcome is not, the same bytes are sent again,
// and nothing else. Once must not keep the bytes when it knows the outcome. Over, of a duty, says that its term is; a duty also waits where others are told to come back.
func (n *Node) insist(ctx context.Context, c *state.Commit, once func(context.Context, []byte) (state.Result, error), over func() bool) (state.Result, error) {
	room := n.packer.room(c.EncodedSize())
	data := c.Encode(room.b)
	unknown := false
	for tries := 0; over == nil || !over(); tries++ {
		res, err := once(ctx, data)
		if err == nil {
			if tries == 0 { // after another try, who knows who still has the bytes
				n.packer.release(room, data)
			}
			if unknown && res.Outcome == state.TooOld {
				return res, model.Errorf(model.Unknown, "the outcome of the write is no longer known; look before trying again")
			}
			return res, nil
		}
		unknown = unknown || errors.Is(err, errUnknown)
		var me *model.Error
		if over == nil && !unknown && errors.As(err, &me) {
			return res, me
		}
		if e := n.pause(ctx, err); e != nil {
			return res, n.giveUp(e, unknown)
		}
	}
	return state.Result{}, state.ErrFenced
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

// takeCommit is the leader's side of a forwarded commit; reply is called once, from any goroutine. It reads the commit
// first: one that cannot be read must not get into the log, where it would stop every node.
func (n *Node) takeCommit(peer transport.Peer, data []byte, patience time.Duration, reply func([]byte, error)) {
	err := n.judge(peer)
	if err == nil {
		err = n.checkForwarded(data)
	}
	if err != nil {
		reply(nil, err)
		return
	}
	w := awaiting(data, patience, func(v verdict) {
		if v.err != nil {
			reply(nil, v.err)
			return
		}
		reply(encodeResult(v.res), nil)
	})
	if err := n.packer.enqueue(w); err != nil {
		w.timer.Stop()
		if w.giveUp() {
			reply(nil, err)
		}
	}
}

// awaiting is a commit that nobody waits for here. It gives itself up when it was not proposed in time.
func awaiting(data []byte, patience time.Duration, done func(verdict)) *waiting {
	w := &waiting{data: data, until: time.Now().Add(patience), done: done}
	w.timer = time.AfterFunc(patience, func() {
		if w.giveUp() {
			w.done(verdict{err: fmt.Errorf("%w: %w", errNotDone, errExpired)})
		}
	})
	return w
}

// sums tells whether every node of the cluster knows frames with sums.
func (n *Node) sums() bool { return n.store.Schema() >= state.SchemaEvents }

func (n *Node) checkForwarded(data []byte) error {
	err := n.packer.check(data)
	var newer *state.SchemaError
	switch {
	case errors.As(err, &newer):
		return fmt.Errorf("%w: %w", errNotDone, model.Errorf(model.Unavailable, "the leader is older than the cluster: %v", err))
	case err != nil:
		return fmt.Errorf("%w: %w", errNotDone, model.Errorf(model.Invalid, "the commit cannot be read: %v", err))
	}
	if n.leading.Load() == nil {
		return errNotLeading
	}
	return nil
}

var errNotLeading = fmt.Errorf("%w: this node does not lead", errNotDone)

// giveUp is what a caller is told when its time is over.
func (n *Node) giveUp(cause error, unknown bool) error {
	if unknown {
		return &model.Error{Code: model.Unknown, Err: cause,
			Messages: []string{"the outcome of the write is not known; look before trying again"}}
	}
	if errors.Is(cause, errExpired) {
		return &model.Error{Code: model.Unavailable, Err: cause, RetryAfter: busyPause,
			Messages: []string{"the write waited for others until its deadline; nothing was done; try again"}}
	}
	return &model.Error{Code: model.Unavailable, Err: cause, RetryAfter: busyPause,
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
