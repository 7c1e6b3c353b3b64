package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"
)

// A leader has a restored state before the others do. Cut off in between, it may come back to a cluster that has
// gone on without the restore. Raft does not notice that: it would skip the entries that stand where the restored
// snapshot does, and put those after it on top of the restored state, or refuse them for ever. So a restore leaves
// a mark until it is committed, and a node that starts with the mark looks at what leaders send it: a leader whose
// log has another term at the snapshot's place has not taken the restore.

// doubt is DATA/restoring: this node has put a restored state, of that epoch, in place or was about to.
type doubt struct {
	Epoch uint64 `json:"epoch"`
}

var (
	errInDoubt = errors.New("this node holds a restored state, and it is not known whether the cluster took it: " +
		"start it again, and look there whether the restore took effect")
	errNotTaken = errors.New("this node holds a restored state that the cluster did not take: " + adviceDamaged)
)

func (n *Node) doubtFile() string { return filepath.Join(n.cfg.DataDir, "restoring") }

func (n *Node) markDoubt(epoch uint64) error {
	text, err := json.Marshal(doubt{epoch})
	if err != nil {
		return fmt.Errorf("encoding the mark of a restore: %w", err)
	}
	return writeSynced(n.doubtFile(), text)
}

// inDoubt makes the transport look at what leaders send, if this node has the mark.
func (n *Node) inDoubt(t *patientTransport) error {
	if _, err := os.Stat(n.doubtFile()); err != nil {
		return nil
	}
	metas, err := n.disk.snaps.List()
	if err != nil {
		return fmt.Errorf("reading the snapshots: %w", err)
	}
	if len(metas) == 0 { // cut off before anything was in place
		return removeIfThere(n.doubtFile())
	}
	newest := metas[0]
	t.rpcs = make(chan raft.RPC)
	in := t.NetworkTransport.Consumer()
	n.spawn(func() {
		for {
			var rpc raft.RPC
			select {
			case rpc = <-in:
			case <-n.done:
				return
			}
			if req, ok := rpc.Command.(*raft.AppendEntriesRequest); ok && disagrees(req, newest.Index, newest.Term) {
				n.log.Error("this node stops", "error", errNotTaken)
				n.fail(errNotTaken)
				rpc.Respond(nil, errNotTaken)
				return
			}
			select {
			case t.rpcs <- rpc:
			case <-n.done:
				return
			}
		}
	})
	return nil
}

// disagrees says whether a leader's log has another entry at index than that of term.
func disagrees(req *raft.AppendEntriesRequest, index, term uint64) bool {
	if req.PrevLogEntry == index && req.PrevLogTerm != term {
		return true
	}
	for _, e := range req.Entries {
		if e.Index == index && e.Term != term {
			return true
		}
	}
	return false
}

// clearDoubt removes the mark once a command after the restored state is applied: then the cluster goes on from it.
func (n *Node) clearDoubt(ctx context.Context) {
	if _, err := os.Stat(n.doubtFile()); err != nil {
		return
	}
	from := n.store.AppliedIndex()
	if n.store.WaitIndex(ctx, from+1) != nil {
		return
	}
	if err := removeIfThere(n.doubtFile()); err != nil {
		n.log.Warn("the mark of a restore is still there", "error", err)
	}
}
