package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/muster-hq/muster/fsm/state"
)

// View gives a linearizable view: it holds every write that was acknowledged, by any node, before the call.
// Unavailable when no leader could be asked until the deadline.
func (n *Node) View(ctx context.Context) (*state.View, error) {
	if v, ok := n.viewAlone(); ok && ctx.Err() == nil {
		return v, nil
	}
	ctx, cancel := n.deadline(ctx)
	defer cancel()
	now, err := n.makeCurrent(ctx, 0)
	if err != nil {
		return nil, err
	}
	return n.store.View().At(now), nil
}

// viewAlone is the view of a node that leads a cluster in which nobody else votes: the question that answerCurrent puts to a
// majority is answered by this node itself, at once. False where others must be asked.
func (n *Node) viewAlone() (*state.View, bool) {
	asked, own := time.Now(), n.store.Epoch()
	lead := n.leading.Load()
	if lead == nil || n.raft.CurrentTerm() != lead.Term {
		return nil, false
	}
	voters := 0
	for _, s := range n.raft.GetConfiguration().Configuration().Servers {
		if voters++; s.Suffrage != raft.Voter || string(s.ID) != n.cfg.Name {
			return nil, false // others may have applied, and shown, what this node has not yet
		}
	}
	if voters != 1 {
		return nil, false
	}
	now := n.now()
	v := n.store.View() // after the question came, and with all that was acknowledged before
	if v.Epoch() != own || n.leading.Load() != lead {
		return nil, false
	}
	n.clock.hear(now.UnixNano())
	n.proven.note(asked)
	return v.At(time.Unix(0, now.UnixNano()).UTC()), true
}

// Local gives what this node has applied, at once, however old that is.
func (n *Node) Local() *state.View { return n.store.View() }

// makeCurrent asks the leader how far the log is and waits until this node has applied that, and index.
func (n *Node) makeCurrent(ctx context.Context, index uint64) (time.Time, error) {
	for {
		own := n.store.Epoch()
		cur, err := n.question.share(ctx)
		if err == nil && cur.epoch != 0 && cur.epoch < own { // the leader was asked after this node had its epoch
			n.diskFailed(fmt.Errorf("the leader is in epoch %d, and this node in the later one %d: %w", cur.epoch, own, errNotTaken))
			return time.Time{}, n.giveUp(errNotTaken, false)
		}
		if err == nil {
			if err := n.store.WaitIndex(ctx, max(cur.index, index)); err != nil {
				return time.Time{}, n.giveUp(err, false)
			}
			if own = n.store.Epoch(); cur.epoch == 0 || own == cur.epoch {
				n.clock.hear(cur.nanos)
				n.proven.note(cur.asked)
				return time.Unix(0, cur.nanos).UTC(), nil
			}
			// A restore came since the leader answered.
			err = errOtherEpoch
		}
		if e := n.pause(ctx, err); e != nil {
			return time.Time{}, n.giveUp(e, false)
		}
	}
}

var errOtherEpoch = fmt.Errorf("%w: this node's state is of another epoch than the leader's", errNotDone)

// askCurrent puts the term question once: here when leading, else at the leader.
func (n *Node) askCurrent(ctx context.Context) (current, error) {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Timing.Attempt)
	defer cancel()
	if n.leading.Load() != nil {
		return n.answerCurrent(ctx, n.cfg.Name, 0)
	}
	term := n.raft.CurrentTerm() // before asking: what it proves is that this node voted for nobody later
	addr, err := n.leaderAddr()
	if err != nil {
		return current{}, err
	}
	ctx, end := n.asking.begin(ctx, addr)
	defer end()
	if now, err := n.leaderAddr(); err == nil && now != addr { // heed may have looked before
		return current{}, fmt.Errorf("%w: %w", errNotDone, errDeposed)
	}
	b, err := n.rpc.ask(ctx, addr, opCurrent, encodeTerm(term))
	if err != nil {
		return current{}, err
	}
	return decodeCurrent(b)
}

// answerCurrent is the leader's side (design section 5). The answer is true once a majority of the voters, each
// asked after the question came, is in no later term than the leader's: then nobody else had been elected when
// the question came. The asker is one of those asked, the leader another. The index is that of what is committed: a follower
// may have applied that, and shown it to a reader, before the leader has. Since its term was opened it holds all of the terms before.
func (n *Node) answerCurrent(ctx context.Context, asker string, askerTerm uint64) (current, error) {
	lead := n.leading.Load()
	if lead == nil || n.raft.CurrentTerm() != lead.Term {
		return current{}, errNotLeading
	}
	if askerTerm > lead.Term {
		return current{}, fmt.Errorf("%w: the asker is in a later term", errNotLeading)
	}
	// Read after the question came: at least as new as all that was acknowledged before.
	index, err := n.committed()
	if err != nil {
		return current{}, err
	}
	cur := current{index: index, nanos: n.now().UnixNano()}
	if n.sums() { // else the asker may not know of it
		cur.epoch = n.store.Epoch()
	}
	var others []raft.Server
	voters, sure := 0, 0
	for _, s := range n.raft.GetConfiguration().Configuration().Servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		switch string(s.ID) {
		case n.cfg.Name, asker:
			sure++
		default:
			others = append(others, s)
		}
	}
	if need := voters/2 + 1 - sure; need > 0 {
		if err := n.askOthers(ctx, lead.Term, others, need); err != nil {
			return current{}, err
		}
	}
	return cur, nil
}

// committed is how far the state is that any node may have shown: the index of the newest committed entry that the machine is
// given. Raft keeps the others to itself, so nobody's state ever gets to their index.
func (n *Node) committed() (uint64, error) {
	applied := n.store.AppliedIndex()
	for i := n.raft.CommitIndex(); i > applied; i-- {
		var l raft.Log
		if err := n.disk.logs.GetLog(i, &l); errors.Is(err, raft.ErrLogNotFound) { // a snapshot took its place meanwhile
			return n.store.AppliedIndex(), nil
		} else if err != nil {
			return 0, fmt.Errorf("%w: reading the log: %w", errNotDone, err)
		}
		if l.Type == raft.LogCommand || l.Type == raft.LogConfiguration {
			return i, nil
		}
	}
	return applied, nil
}

// askOthers asks voters for their term until enough are in no later one.
func (n *Node) askOthers(ctx context.Context, term uint64, voters []raft.Server, need int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan error, len(voters))
	for _, s := range voters {
		go func() {
			b, err := n.rpc.ask(ctx, string(s.Address), opTerm, nil)
			if err == nil {
				var t uint64
				if t, err = decodeTerm(b); err == nil && t > term {
					err = errNotLeading
				}
			}
			answers <- err
		}()
	}
	var errs []error
	for range voters {
		if err := <-answers; err != nil {
			errs = append(errs, err)
		} else if need--; need == 0 {
			return nil
		}
	}
	return fmt.Errorf("%w: a majority could not be asked: %w", errNotDone, errors.Join(errs...))
}

// sharer lets all that wait share one question: one that is put after they came.
type sharer struct {
	ask func(context.Context) (current, error)

	mu   sync.Mutex
	next *round // not yet asked: newcomers may still share it
	busy bool
}

type round struct {
	done chan struct{}
	cur  current
	err  error
}

func (s *sharer) share(ctx context.Context) (current, error) {
	s.mu.Lock()
	if s.next == nil {
		s.next = &round{done: make(chan struct{})}
	}
	r := s.next
	if !s.busy {
		s.busy = true
		go s.run()
	}
	s.mu.Unlock()
	select {
	case <-r.done:
		return r.cur, r.err
	case <-ctx.Done():
		return current{}, fmt.Errorf("%w: %w", errNotDone, ctx.Err())
	}
}

func (s *sharer) run() {
	for {
		s.mu.Lock()
		r := s.next
		s.next = nil
		s.busy = r != nil
		s.mu.Unlock()
		if r == nil {
			return
		}
		asked := time.Now()
		r.cur, r.err = s.ask(context.Background()) // bounded by itself; those who wait have contexts of their own
		r.cur.asked = asked
		close(r.done)
	}
}
