package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/muster-hq/muster/cluster/pki"
	"github.com/muster-hq/muster/cluster/transport"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// keepCertificate renews this node's certificate until ctx ends, while the old one still holds. All that shows it,
// the bus included, takes the new one from its next connection on. When it is time is told by the leader's clock.
func (n *Node) keepCertificate(ctx context.Context) {
	failed := 0
	for tick := time.NewTicker(n.cfg.Timing.Reconcile); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
		id := n.id.Identity()
		if !id.Renewable(n.now()) || !n.HasLeader() || n.store.Epoch() == 0 {
			continue
		}
		if err := n.renewMine(ctx); err != nil && ctx.Err() == nil {
			if failed++; failed&(failed-1) == 0 { // told less and less often
				n.log.Warn("this node's certificate could not be renewed yet", "expires", id.Expires(), "error", err)
			}
			continue
		}
		failed = 0
	}
}

// renewMine asks the leader for a certificate for a new key, keeps both on disk, and uses them.
func (n *Node) renewMine(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Timing.Deadline)
	defer cancel()
	req, err := pki.NewRequest(n.cfg.Name)
	if err != nil {
		return err
	}
	der, err := n.atLeader(ctx, opRenew, req.CSR)
	if err != nil {
		return err
	}
	id, err := req.Identity(der, n.id.Identity().CA)
	if err != nil {
		return err
	}
	if id.Node != n.cfg.Name || id.Instance != n.instance {
		return fmt.Errorf("the leader made a certificate for %s (%s)", id.Node, id.Instance)
	}
	if err := id.Save(n.pkiDir()); err != nil {
		return err
	}
	n.id.Replace(id)
	n.log.Info("this node's certificate was renewed", "expires", id.Expires())
	return nil
}

// renew makes the next certificate of a member, at the leader.
func (n *Node) renew(peer transport.Peer, csr []byte) ([]byte, error) {
	view := n.Local()
	m, ok := state.Get[Member](view, peer.Name)
	if !ok || peer.Instance != "" && m.Instance != "" && m.Instance != peer.Instance {
		return nil, fmt.Errorf("%w: %s has no row yet", errNotDone, peer.Name)
	}
	ca, _, err := authority(view)
	if err != nil {
		return nil, err
	}
	der, err := ca.Sign(csr, pki.Subject{Name: m.Name, Instance: m.Instance, Life: n.cfg.CertLife}, n.now())
	if err != nil {
		return nil, model.Errorf(model.Invalid, "%v", err)
	}
	return der, nil
}
