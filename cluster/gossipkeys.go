package cluster

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// gossipRing is the gossip's keys. A rotation adds the next one everywhere, then uses it, then takes the old one away.
// Each step waits until every member that answers has taken the one before. One that is away loses nothing: it gets
// the keys with the state, over the cluster port.
type gossipRing struct {
	Keys  [][]byte  `json:"keys"`           // those to decrypt with; the first is the one to encrypt with
	Next  []byte    `json:"next,omitempty"` // to decrypt with already
	Since time.Time `json:"since"`          // of the first
	Round int       `json:"round"`          // rotations so far
	Asked bool      `json:"asked,omitempty"`
}

const theRing = "gossip"

func (*gossipRing) Table() string            { return "gossipring" }
func (*gossipRing) Key() string              { return theRing }
func (*gossipRing) Ranges() []string         { return nil }
func (*gossipRing) Parent() (string, string) { return "", "" }

// known are all keys to decrypt with, the one to encrypt with first.
func (r *gossipRing) known() [][]byte {
	keys := slices.Clone(r.Keys)
	if r.Next != nil {
		keys = append(keys, r.Next)
	}
	return keys
}

func (r *gossipRing) rotating() bool { return r.Next != nil || len(r.Keys) > 1 }

// keyIDs name keys without telling them.
func keyIDs(keys [][]byte) []string {
	var ids []string
	for _, k := range keys {
		sum := sha256.Sum256(k)
		ids = append(ids, hex.EncodeToString(sum[:6]))
	}
	return ids
}

// keepGossipKeys makes this node's gossip use the keys of the rows, until ctx ends.
func (n *Node) keepGossipKeys(ctx context.Context) {
	for {
		ws := state.NewWatchSet()
		v := n.Local().Watched(ws)
		wait, cancel := ctx, context.CancelFunc(func() {})
		if len(n.keys.missing(v)) > 0 { // what the file has goes on until they are here
			wait, cancel = context.WithTimeout(ctx, 500*time.Millisecond)
		} else if r, ok := state.Get[gossipRing](v, theRing); ok {
			if err := n.takeGossipKeys(r.known()); err != nil {
				n.log.Error("the gossip keys could not be changed", "error", err)
			}
		}
		_ = ws.Wait(wait)
		cancel()
		if ctx.Err() != nil {
			return
		}
	}
}

func (n *Node) takeGossipKeys(keys [][]byte) error {
	if n.gossip != nil {
		if err := n.gossip.SetKeys(keys); err != nil {
			return err
		}
	}
	if old, err := n.gossipKey(); err != nil || !bytes.Equal(old, keys[0]) {
		if err := writeSynced(filepath.Join(n.pkiDir(), gossipKeyFile), keys[0]); err != nil {
			return err
		}
	}
	ids := keyIDs(keys)
	n.gossipKeys.Store(&ids)
	return nil
}

// rotateGossipKeys is a duty: it begins a rotation when one is due or asked for, and drives the one under way.
func (n *Node) rotateGossipKeys(ctx context.Context, lead *Lead) error {
	for ctx.Err() == nil {
		pause := n.cfg.Timing.Reconcile
		ws := state.NewWatchSet()
		r, ok := state.Get[gossipRing](n.Local().Watched(ws), theRing)
		var err error
		switch {
		case n.commonSchema(n.Local()) < state.SchemaEvents: // members that know no keys of rows
		case !ok:
			err = lead.Update(ctx, beginRing)
		case r.rotating():
			if pause = min(pause, 200*time.Millisecond); n.allHave(ctx, r) {
				err = lead.Update(ctx, func(tx *state.Tx) error { return stepRing(tx, r) })
			}
		case r.Asked || n.now().Sub(r.Since) >= n.cfg.GossipKeyLife:
			next := make([]byte, 32)
			if _, err := rand.Read(next); err != nil {
				return fmt.Errorf("making a gossip key: %w", err)
			}
			n.log.Info("the gossip key is rotated", "since", r.Since)
			err = lead.Update(ctx, func(tx *state.Tx) error {
				now, ok := state.Get[gossipRing](tx, theRing)
				if !ok || now.rotating() {
					return nil
				}
				with := *now
				with.Next, with.Asked = next, false
				return state.Put(tx, &with)
			})
		}
		if err != nil {
			return err
		}
		wait, cancel := context.WithTimeout(ctx, pause)
		_ = ws.Wait(wait)
		cancel()
	}
	return ctx.Err()
}

// beginRing makes the rows of the key that the cluster began with.
func beginRing(tx *state.Tx) error {
	s, ok := state.Get[secret](tx, secretGossip)
	if _, have := state.Get[gossipRing](tx, theRing); have || !ok {
		return nil
	}
	return state.Put(tx, &gossipRing{Keys: [][]byte{s.Value}, Since: tx.Now()})
}

// stepRing does the next step, unless it has been done meanwhile.
func stepRing(tx *state.Tx, from *gossipRing) error {
	now, ok := state.Get[gossipRing](tx, theRing)
	if !ok || now.Round != from.Round || len(now.Keys) != len(from.Keys) || !bytes.Equal(now.Next, from.Next) {
		return nil
	}
	next := *now
	if now.Next != nil {
		next.Keys, next.Next, next.Since = [][]byte{now.Next, now.Keys[0]}, nil, tx.Now()
		if err := state.Put(tx, &secret{Name: secretGossip, Value: now.Next}); err != nil { // what joiners get
			return err
		}
	} else {
		next.Keys, next.Round = now.Keys[:1], now.Round+1
	}
	return state.Put(tx, &next)
}

// allHave says whether every member that answers uses these keys.
func (n *Node) allHave(ctx context.Context, r *gossipRing) bool {
	want := keyIDs(r.known())
	all, mu := true, sync.Mutex{}
	var wg sync.WaitGroup
	for _, m := range n.Members() {
		wg.Go(func() {
			in, err := n.askInfo(ctx, m.ClusterAddr)
			mu.Lock()
			defer mu.Unlock()
			all = all && (err != nil || !in.is(&m) || slices.Equal(in.GossipKeys, want))
		})
	}
	wg.Wait()
	return all && ctx.Err() == nil
}

// RotateGossipKey makes the leader give the gossip another key, and waits until it is done.
func (n *Node) RotateGossipKey(ctx context.Context) error {
	ctx, cancel := n.deadline(ctx)
	defer cancel()
	round := 0
	err := n.Update(ctx, func(tx *state.Tx) error {
		r, ok := state.Get[gossipRing](tx, theRing)
		if !ok {
			return model.Errorf(model.Conflict, "the gossip key cannot be rotated yet: the cluster is still beginning, or a member is of an earlier version")
		}
		next := *r
		round, next.Asked = r.Round, true
		return state.Put(tx, &next)
	})
	for err == nil {
		ws := state.NewWatchSet()
		r, ok := state.Get[gossipRing](n.Local().Watched(ws), theRing)
		if ok && r.Round > round && !r.rotating() && !r.Asked {
			return nil
		}
		if ws.Wait(ctx) != nil {
			return model.Errorf(model.Unavailable, "the gossip key is not yet rotated on all members; it goes on by itself")
		}
	}
	return err
}

// GossipSees are the names of those that this node's gossip holds for alive, itself included; nil without gossip.
func (n *Node) GossipSees() []string {
	if n.gossip == nil {
		return nil
	}
	var names []string
	for _, m := range n.gossip.Members() {
		names = append(names, m.Name)
	}
	return names
}
