package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/muster-hq/muster/cluster/transport"
	"github.com/muster-hq/muster/fsm"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// Duty is work of the leader. It is started once the term is open and must return soon after ctx ends; until it
// does, this node takes up no new leadership. An error before that starts it again after a pause; nil ends it
// for the term.
type Duty func(ctx context.Context, lead *Lead) error

// NamedDuty is a duty with its name for the log.
type NamedDuty struct {
	Name string
	Run  Duty
}

// Lead is one term of leadership.
type Lead struct {
	Term  uint64
	Epoch uint64
	node  *Node
}

// Update is Node.Update, fenced: state.ErrFenced once this leadership is over, and then nothing was done, or the
// write was under way when it ended, which the next leader sees in the state. It is never forwarded.
func (l *Lead) Update(ctx context.Context, fn func(tx *state.Tx) error) error {
	ctx, cancel := l.node.deadline(ctx)
	defer cancel()
	return state.Run(ctx, l.node.store, (*leadProposer)(l), state.TxOptions{Term: l.Term}, fn)
}

// View is a linearizable view; state.ErrFenced once this leadership is over.
func (l *Lead) View(ctx context.Context) (*state.View, error) {
	ctx, cancel := l.node.deadline(ctx)
	defer cancel()
	now, err := (*leadProposer)(l).Current(ctx, 0)
	if err != nil {
		return nil, err
	}
	return l.node.store.View().At(now), nil
}

// leadProposer is a term as state.Run sees it.
type leadProposer Lead

var _ state.Proposer = (*leadProposer)(nil)

func (p *leadProposer) over() bool { return p.node.leading.Load() != (*Lead)(p) }

// Now is the leader's time: this node's.
func (p *leadProposer) Now() time.Time { return p.node.now() }

// Current makes the leader's own state current.
func (p *leadProposer) Current(ctx context.Context, index uint64) (time.Time, error) {
	for !p.over() {
		cur, err := p.node.question.share(ctx)
		if p.over() {
			break
		}
		if err == nil {
			if err := p.node.store.WaitIndex(ctx, max(cur.index, index)); err != nil {
				return time.Time{}, p.node.giveUp(err, false)
			}
			return time.Unix(0, cur.nanos).UTC(), nil
		}
		if e := p.node.pause(ctx, err); e != nil {
			return time.Time{}, p.node.giveUp(e, false)
		}
	}
	return time.Time{}, state.ErrFenced
}

// Propose puts the commit into the log of this term, or not at all.
func (p *leadProposer) Propose(ctx context.Context, c *state.Commit) (state.Result, error) {
	return p.node.insist(ctx, c, p.node.packer.submit, p.over)
}

// lead follows raft's word on leadership until ctx ends.
func (n *Node) lead(ctx context.Context) {
	stop := func() {}
	defer func() { stop() }()
	for {
		select {
		case <-ctx.Done():
			return
		case up := <-n.notify:
			// The channel tells every change, in order; what it tells may be past. The term that is opened
			// below is checked against raft's again.
			stop()
			stop = func() {}
			if up {
				stop = n.takeUp(ctx)
			}
		case q := <-n.restores:
			stop()
			q.done <- n.restoreHere(q)
			if stop = func() {}; n.raft.State() == raft.Leader { // in a later term, too: the word on it comes, and opens it again
				stop = n.takeUp(ctx)
			}
		}
	}
}

// takeUp starts a leadership and gives what ends it and waits for that.
func (n *Node) takeUp(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		lead := n.openUntil(ctx, n.openTerm)
		if lead == nil {
			return
		}
		n.log.Info("this node leads", "term", lead.Term, "epoch", lead.Epoch)
		n.runDuties(ctx, lead)
	}()
	return func() {
		if n.leading.Swap(nil) != nil {
			n.log.Info("this node no longer leads")
		}
		cancel()
		wg.Wait()
		n.leading.Store(nil) // had it been opened in between
	}
}

const (
	openPause = 20 * time.Millisecond // after the first failure to open a term; doubled each time
	openTries = 8                     // then another node is asked to lead
)

// openUntil opens raft's term, as often as it takes while raft leads: raft refuses commands for a while, when a transfer
// of leadership is under way for example, and goes on as the leader. A node that cannot open it gives it away. Nil when
// the leadership is over.
func (n *Node) openUntil(ctx context.Context, open func(context.Context) (*Lead, error)) *Lead {
	pause := openPause
	for try := 1; ; try++ {
		lead, err := open(ctx)
		switch {
		case err == nil:
			return lead
		case n.raft.State() != raft.Leader || ctx.Err() != nil || n.Err() != nil:
			n.log.Info("leadership was lost before its term was open", "error", err)
			return nil
		}
		n.log.Warn("the term is not open yet, and is tried again", "try", try, "error", err)
		if try%openTries == 0 && n.voterCount() > 1 {
			if err := n.handOver(ctx, ""); err != nil {
				n.log.Warn("leadership stays here, though its term cannot be opened", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-n.down:
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, time.Second)
	}
}

// openTerm opens raft's term by a command. Once that is applied, all that former leaders acknowledged is, too.
func (n *Node) openTerm(ctx context.Context) (*Lead, error) {
	term := n.raft.CurrentTerm()
	if err := n.command(fsm.Entry{Kind: fsm.KindOpenTerm, Term: term, Node: n.cfg.Name}); err != nil {
		return nil, fmt.Errorf("opening term %d: %w", term, err)
	}
	if n.store.Epoch() == 0 {
		if err := n.command(fsm.Entry{Kind: fsm.KindEpoch, Epoch: uint64(n.cfg.Now().UnixMilli())}); err != nil {
			return nil, fmt.Errorf("beginning the first epoch: %w", err)
		}
	}
	// The clock goes on from where the last leader's was, should that one have been ahead of ours.
	n.clock.hear(n.clock.now(true, n.store.Now()).UnixNano())
	lead := &Lead{Term: term, Epoch: n.store.Epoch(), node: n}
	if n.raft.State() != raft.Leader || n.raft.CurrentTerm() != term || ctx.Err() != nil {
		return nil, fmt.Errorf("term %d is over", term)
	}
	n.leading.Store(lead)
	if ctx.Err() != nil { // whoever ended it may have looked before
		n.leading.Store(nil)
		return nil, fmt.Errorf("term %d is over", term)
	}
	return lead, nil
}

func (n *Node) command(e fsm.Entry) error {
	e.Time = n.clock.now(true, n.store.Now())
	f := n.raft.Apply(e.Encode(nil), 0)
	if err := n.await(f); err != nil {
		return err
	}
	res, err := results(f.Response(), 1)
	if err == nil && res[0].Outcome != state.Applied {
		err = fmt.Errorf("the state machine refused: %v", res[0].Outcome)
	}
	return err
}

// await waits for raft's answer, or for raft's end: it leaves some questions open then.
func (n *Node) await(f raft.Future) error {
	answer := make(chan error, 1)
	go func() { answer <- f.Error() }()
	select {
	case err := <-answer:
		return err
	case <-n.down:
		return raft.ErrRaftShutdown
	}
}

func (n *Node) runDuties(ctx context.Context, lead *Lead) {
	var wg sync.WaitGroup
	own := []NamedDuty{
		{Name: "members", Run: n.reconcile}, {Name: "schema", Run: n.raiseSchema}, {Name: "autopilot", Run: n.pilot},
		{Name: "cluster keys", Run: n.rotateKeys}, {Name: "sealing", Run: n.sealRows},
	}
	sealed := []NamedDuty{
		{Name: "secrets", Run: n.keepSecrets}, {Name: "gossip keys", Run: n.rotateGossipKeys}, {Name: "contents", Run: n.collectContents},
	}
	for i, d := range slices.Concat(own, sealed, n.cfg.Duties) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if i >= len(own) && !n.awaitKeys(ctx) { // they read and write what is sealed
				return
			}
			for ctx.Err() == nil {
				err := d.Run(ctx, lead)
				if err == nil || ctx.Err() != nil {
					return
				}
				if errors.Is(err, state.ErrFenced) {
					n.log.Debug("a duty was fenced", "duty", d.Name)
				} else {
					n.log.Error("a duty failed and is started again", "duty", d.Name, "error", err)
				}
				select {
				case <-ctx.Done():
				case <-time.After(time.Second):
				}
			}
		}()
	}
	wg.Wait()
}

// TransferLeadership makes the node called to the leader, any other voter when to is "". It works on any node.
func (n *Node) TransferLeadership(ctx context.Context, to string) error {
	ctx, cancel := n.deadline(ctx)
	defer cancel()
	_, err := n.atLeader(ctx, opMove, []byte(to))
	return err
}

// handOverElections is for how long a hand-over is tried again, in times of an election. Raft gives it one, in which a
// machine that is busy may not even have written down whom it votes for.
const handOverElections = 15

// handOver hands this node's leadership over. errNotLeading when it went to nobody knows whom before that.
func (n *Node) handOver(ctx context.Context, to string) error {
	for until := time.Now().Add(handOverElections * n.cfg.Timing.Heartbeat); ; {
		err := n.handOverOnce(ctx, to)
		if errors.Is(err, raft.ErrNotLeader) { // it has gone already, though this node was not told yet
			if to == "" {
				return nil
			}
			return errNotLeading
		}
		var me *model.Error
		if err == nil || errors.As(err, &me) {
			return err
		}
		if time.Now().After(until) || ctx.Err() != nil {
			return &model.Error{Code: model.Conflict, Err: err, Messages: []string{"leadership could not be handed over"}}
		}
		select {
		case <-ctx.Done():
		case <-n.down:
		case <-time.After(n.cfg.Timing.Heartbeat): // the one who was asked may be on its way to lead
		}
	}
}

// handOverOnce waits for raft's word on one try.
func (n *Node) handOverOnce(ctx context.Context, to string) error {
	var f raft.Future
	if to == "" {
		f = n.raft.LeadershipTransfer()
	} else {
		addr := ""
		for _, s := range n.raft.GetConfiguration().Configuration().Servers {
			if string(s.ID) == to && s.Suffrage == raft.Voter {
				addr = string(s.Address)
			}
		}
		if addr == "" {
			return model.Errorf(model.NotFound, "%s is no voter of this cluster", to)
		}
		if to == n.cfg.Name {
			return nil
		}
		f = n.raft.LeadershipTransferToServer(raft.ServerID(to), raft.ServerAddress(addr))
	}
	done := make(chan error, 1)
	go func() { done <- f.Error() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return &model.Error{Code: model.Unknown, Err: ctx.Err(), Messages: []string{"handing over leadership took too long"}}
	}
}

// AskLeader puts a question to Config.Answer of the leader, which may be this node, until ctx ends. The question changes
// nothing, so it is put again when a leader or the way to it is lost. It and its answer have less than a MiB.
// Errors: those of Answer that have a code, Unavailable (no leader, no answer in time).
func (n *Node) AskLeader(ctx context.Context, question []byte) ([]byte, error) {
	ctx, cancel := n.deadline(ctx)
	defer cancel()
	for {
		out, err := n.atLeader(ctx, opAsk, question)
		if model.CodeOf(err) != model.Unknown {
			return out, err
		}
		if e := n.pause(ctx, err); e != nil {
			return nil, n.giveUp(e, false)
		}
	}
}

// atLeader does op where the leader is; it waits for one until ctx ends.
func (n *Node) atLeader(ctx context.Context, op byte, body []byte) ([]byte, error) {
	for {
		var out []byte
		addr, err := "", error(nil)
		if n.leading.Load() != nil {
			out, err = n.answer(ctx, transport.Peer{Name: n.cfg.Name, Instance: n.instance}, op, body)
		} else if addr, err = n.leaderAddr(); err == nil {
			out, err = n.rpc.ask(ctx, addr, op, body)
		}
		var me *model.Error
		if err == nil || errors.As(err, &me) {
			if me != nil {
				return nil, me
			}
			return out, nil
		}
		if errors.Is(err, errUnknown) {
			return nil, n.giveUp(err, true)
		}
		if e := n.pause(ctx, err); e != nil {
			return nil, n.giveUp(e, false)
		}
	}
}
