package cluster

import (
	"context"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// Remove takes a member out of the cluster: it loses its vote and its row. It works on any node, also for a
// member that is dead. The last one cannot be removed.
func (n *Node) Remove(ctx context.Context, name string) error {
	ctx, cancel := n.deadline(ctx)
	defer cancel()
	_, err := n.atLeader(ctx, opRemove, []byte(name))
	return err
}

// Leave takes this node out of its cluster. Shut it down afterwards; its data folder is of no more use.
func (n *Node) Leave(ctx context.Context) error {
	n.leaving.Store(true) // that it was removed is no failure then
	err := n.Remove(ctx, n.cfg.Name)
	if err != nil && model.CodeOf(err) != model.Unknown {
		n.leaving.Store(false)
	}
	return err
}

// strike takes a member's row out, and notes that it was one.
func (n *Node) strike(tx *state.Tx, name string) error {
	for _, f := range state.List[formerMember](tx, everyFormer) {
		if tx.Now().After(f.Removed.Add(formerFor * n.cfg.CertLife)) { // no certificate of it holds any more
			state.Delete[formerMember](tx, f.Key())
		}
	}
	m, ok := state.Get[Member](tx, name)
	if !ok {
		return nil
	}
	state.Delete[Member](tx, name)
	return state.Put(tx, formerOf(m, tx.Now()))
}

// formerFor is how many lives of a certificate it is remembered that a member was removed.
const formerFor = 2

var errLeaves = fmt.Errorf("%w: the leader hands over before it leaves", errNotDone)

func (n *Node) removeHere(ctx context.Context, name string) error {
	lead := n.leading.Load()
	if lead == nil {
		return errNotLeading
	}
	n.voters.Lock()
	defer n.voters.Unlock()
	servers := n.raft.GetConfiguration().Configuration().Servers
	var found *raft.Server
	for _, s := range servers {
		if string(s.ID) == name {
			found = &s
		}
	}
	_, row := state.Get[Member](n.Local(), name)
	switch {
	case found == nil && !row:
		return model.Errorf(model.NotFound, "%s is no member of this cluster", name)
	case found != nil && len(servers) == 1:
		return model.Errorf(model.Conflict, "%s is the only member of this cluster and cannot leave it", name)
	case name == n.cfg.Name:
		if err := n.handOver(ctx, ""); err != nil {
			return err
		}
		return errLeaves
	}
	if err := lead.Update(ctx, func(tx *state.Tx) error { return n.strike(tx, name) }); err != nil {
		return fmt.Errorf("%w: %w", errUnknown, err)
	}
	if found == nil {
		return nil
	}
	if err := n.await(n.raft.RemoveServer(found.ID, 0, n.cfg.Timing.Deadline)); err != nil {
		return fate(err)
	}
	n.log.Info("a node was removed", "member", name)
	return nil
}
