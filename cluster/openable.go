package cluster

import (
	"errors"
	"slices"
	"strings"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/seal"
	"github.com/muster-hq/muster/fsm/state"
)

// SnapshotKeys are the ids of the cluster keys that a state needs to be opened elsewhere: those that the keys of
// organizations and of the site are wrapped with. In order, each once.
func SnapshotKeys(all []*state.DataKeys) []string {
	var ids []string
	for _, d := range all {
		if d.Domain == state.DomainCluster {
			continue // a restore leaves them out
		}
		_ = d.Each(func(w seal.Wrapped, _ string) error { ids = append(ids, w.By); return nil })
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// TryKeys unwraps every key of a state with given keys, but for those of the cluster itself. It fails with a
// *seal.MissingKeyError, or because one does not open.
func TryKeys(all []*state.DataKeys, keys *seal.Keyring) error {
	for _, d := range all {
		if d.Domain == state.DomainCluster {
			continue
		}
		if err := d.Each(func(w seal.Wrapped, domain string) error { _, err := keys.Unwrap(w, domain); return err }); err != nil {
			return err
		}
	}
	return nil
}

// openable refuses a backup that is sealed with keys that are not there, or do not open it.
func (n *Node) openable(backup *state.View, given *seal.Keyring) error {
	all := state.AllDataKeys(backup)
	have := n.keysWith(given)
	missing := slices.DeleteFunc(SnapshotKeys(all), have.Has)
	if len(missing) > 0 {
		hint := "give --key-file with the file that `muster cluster key export` wrote there"
		if given != nil {
			hint = "the key file has " + strings.Join(given.IDs(), ", ") + " only: give that of the cluster which the snapshot is of"
		}
		return model.Errorf(model.Conflict, "the snapshot is sealed with the cluster key %s, which this cluster does not have: %s; nothing was changed",
			strings.Join(missing, ", "), hint)
	}
	if err := TryKeys(all, have); err != nil {
		if errors.Is(err, seal.ErrAuth) || errors.Is(err, seal.ErrForm) {
			return model.Errorf(model.Invalid, "the snapshot is damaged, and nothing was changed: %v", err)
		}
		return err
	}
	return nil
}

// keysWith are this node's keys and given ones.
func (n *Node) keysWith(given *seal.Keyring) *seal.Keyring {
	all := &seal.Keyring{}
	all.Add(n.keys.ring.Keys()...)
	if given != nil {
		all.Add(given.Keys()...)
	}
	return all
}

// rewrapper wraps keys of a backup that are wrapped with a key which this cluster has not, with the one in use.
func (n *Node) rewrapper(present *state.View, given *seal.Keyring) func(w seal.Wrapped, domain string) (seal.Wrapped, error) {
	active, all := state.ClusterKeysOf(present).Active, n.keysWith(given)
	return func(w seal.Wrapped, domain string) (seal.Wrapped, error) {
		if n.keys.ring.Has(w.By) {
			return w, nil
		}
		if active == "" {
			return w, model.Errorf(model.Unavailable, "this cluster has no key of its own yet: try again in a moment; nothing was changed")
		}
		k, err := all.Unwrap(w, domain)
		if err != nil {
			return w, err
		}
		return n.keys.ring.Wrap(k, active)
	}
}
