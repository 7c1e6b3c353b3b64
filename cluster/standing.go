package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/muster-hq/muster/cluster/transport"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// ErrRemoved says that this node was removed from its cluster: see Node.Err.
var ErrRemoved = errors.New("this node was removed from its cluster")

// standing is who belongs, as the rows of this node say: read for each question of another node, and so kept beside
// them. It is immutable.
type standing struct {
	members map[string]string        // instances by name
	former  map[string]*formerMember // by instance
	gone    map[string]bool          // names of former members that no member has now
}

// belonging is what a node knows of who belongs, itself included.
type belonging struct {
	standing atomic.Pointer[standing]
	judging  atomic.Bool // raft runs, so that others can be judged
	leaving  atomic.Bool // by its own wish

	ledAt      atomic.Pointer[time.Time] // when a leader was last known; nil never
	gossipKeys atomic.Pointer[[]string]  // ids of those in use
	keys       *keeper                   // the cluster's
}

func standingOf(r state.Reader) *standing {
	s := &standing{members: map[string]string{}, former: map[string]*formerMember{}, gone: map[string]bool{}}
	for _, m := range state.List[Member](r, everyMember) {
		s.members[m.Name] = m.Instance
	}
	for _, f := range state.List[formerMember](r, everyFormer) {
		if f.Instance != "" {
			s.former[f.Instance] = f
		}
		if _, ok := s.members[f.Name]; !ok {
			s.gone[f.Name] = true
		}
	}
	return s
}

// keepStanding follows the rows until ctx ends. Connections of those that no longer belong end at once, and so does
// this node when it is one of them.
func (n *Node) keepStanding(ctx context.Context) {
	for {
		ws := state.NewWatchSet()
		s := standingOf(n.Local().Watched(ws))
		n.standing.Store(s)
		n.mux.Judge()
		if f := s.former[n.instance]; f != nil {
			n.removed(f.Removed)
		}
		if ws.Wait(ctx) != nil {
			return
		}
	}
}

// removed ends this node, unless it leaves by its own wish.
func (n *Node) removed(when time.Time) {
	if n.leaving.Load() || n.Err() != nil {
		return
	}
	n.log.Error("this node was removed from its cluster, and stops", "removed", when, "data", n.cfg.DataDir)
	n.fail(fmt.Errorf("%w at %s: empty its data folder %s before it joins again", ErrRemoved, when.Format(time.RFC3339), n.cfg.DataDir))
}

var errStranger = fmt.Errorf("%w: the node at the other end is no member of this cluster, as far as this node knows", errNotDone)

// judge is nil for a node that belongs. What the rows do not tell of is refused only while this node follows another
// leader, so that its rows are not old: a node that was away for long must let in those that came meanwhile, since
// one of them may lead by now.
func (n *Node) judge(p transport.Peer) error {
	s := n.standing.Load()
	if f := s.former[p.Instance]; p.Instance != "" && f != nil {
		return &removedError{f}
	}
	instance, known := s.members[p.Name]
	if known && (p.Instance == "" || instance == "" || p.Instance == instance) || len(s.members) == 0 {
		return nil
	}
	_, leader := n.raft.LeaderWithID()
	if leader == "" || string(leader) == p.Name && p.Name != n.cfg.Name || !known && n.inConfiguration(p.Name) {
		return nil
	}
	return errStranger
}

func (n *Node) inConfiguration(name string) bool {
	for _, s := range n.raft.GetConfiguration().Configuration().Servers {
		if string(s.ID) == name {
			return true
		}
	}
	return false
}

// accept judges who connects to this node. On a forward connection each question is judged, and answered with why.
func (n *Node) accept(k transport.Kind, p transport.Peer) error {
	if k == transport.Forward || !n.judging.Load() {
		return nil
	}
	return n.judge(p)
}

// reach judges whom this node has connected to: its address may have been another's before.
func (n *Node) reach(_ transport.Kind, p transport.Peer) error {
	if f := n.standing.Load().former[p.Instance]; p.Instance != "" && f != nil {
		return fmt.Errorf("%w: %w", errNotDone, &removedError{f})
	}
	return nil
}

// removedError tells a former member that it is one.
type removedError struct{ former *formerMember }

// Error is for the log of the one that answers.
func (e *removedError) Error() string {
	return e.former.Name + " was removed from this cluster at " + e.former.Removed.Format(time.RFC3339)
}

// Unwrap is what travels to the one that asked: the code and, as the text, when.
func (e *removedError) Unwrap() error {
	return &model.Error{Code: model.Forbidden, Messages: []string{e.former.Removed.Format(time.RFC3339Nano)}}
}

// told looks whether another node's answer says that this one was removed.
func (n *Node) told(err error) {
	var me *model.Error
	var here *removedError // this node's own word on the other one; see reach
	if errors.As(err, &here) || !errors.As(err, &me) || me.Code != model.Forbidden || len(me.Messages) != 1 {
		return
	}
	if when, err := time.Parse(time.RFC3339Nano, me.Messages[0]); err == nil {
		n.removed(when)
	}
}
