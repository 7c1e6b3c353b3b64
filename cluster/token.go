package cluster

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// TokenOptions say what a join token is good for.
type TokenOptions struct {
	Life time.Duration // by the leader's clock
	Uses int           // how many nodes may join with it; 0 is any number until it expires
}

// JoinToken is a join token without its secret.
type JoinToken struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created,omitzero"`
	Expires time.Time `json:"expires"`
	Revoked time.Time `json:"revoked,omitzero"`
	Uses    int       `json:"uses"` // 0 is any number
	Used    int       `json:"used"`
}

// CreateJoinToken is NewJoinToken for any number of nodes.
func (n *Node) CreateJoinToken(ctx context.Context, ttl time.Duration) (string, error) {
	text, _, err := n.NewJoinToken(ctx, TokenOptions{Life: ttl})
	return text, err
}

// toldFor is how long a token that is of no more use is kept, so that a refusal can say why.
const toldFor = 24 * time.Hour

// NewJoinToken makes a token with which nodes can join. The text is a secret; of it the state keeps only a digest.
func (n *Node) NewJoinToken(ctx context.Context, o TokenOptions) (string, JoinToken, error) {
	if o.Life <= 0 {
		return "", JoinToken{}, model.Errorf(model.Invalid, "a join token must live longer than %s", o.Life)
	}
	if o.Uses < 0 {
		return "", JoinToken{}, model.Errorf(model.Invalid, "a join token cannot have %d uses: give 1 or more, or 0 for any number", o.Uses)
	}
	raw := make([]byte, 8+32)
	if _, err := rand.Read(raw); err != nil {
		return "", JoinToken{}, fmt.Errorf("making a join token: %w", err)
	}
	t := token{ID: hex.EncodeToString(raw[:8]), Secret: raw[8:], CA: n.Fingerprint()}
	digest := sha256.Sum256(t.Secret)
	var row *joinToken
	err := n.Update(ctx, func(tx *state.Tx) error {
		t.Addrs = nil
		for _, m := range state.List[Member](tx, everyMember) {
			t.Addrs = append(t.Addrs, m.ClusterAddr)
		}
		for _, old := range state.List[joinToken](tx, everyToken) {
			if end := old.ends(); !tx.Now().Before(end.Add(toldFor)) {
				state.Delete[joinToken](tx, old.ID)
			}
		}
		row = &joinToken{ID: t.ID, Digest: digest[:], Created: tx.Now(), Expires: tx.Now().Add(o.Life), Uses: o.Uses}
		return state.Put(tx, row)
	})
	if err != nil {
		return "", JoinToken{}, err
	}
	if len(t.Addrs) == 0 {
		t.Addrs = []string{n.self.Cluster}
	}
	text, err := t.encode()
	return text, row.shown(), err
}

// JoinTokens are those that were made, the newest first; also those that are of no more use, for a day.
func (n *Node) JoinTokens(ctx context.Context) ([]JoinToken, error) {
	v, err := n.View(ctx)
	if err != nil {
		return nil, err
	}
	var out []JoinToken
	for _, t := range state.List[joinToken](v, everyToken) {
		out = append(out, t.shown())
	}
	slices.SortFunc(out, func(a, b JoinToken) int {
		if c := b.Created.Compare(a.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out, nil
}

// RevokeJoinToken makes a token useless. Nodes that have joined with it stay.
func (n *Node) RevokeJoinToken(ctx context.Context, id string) error {
	return n.Update(ctx, func(tx *state.Tx) error {
		t, ok := state.Get[joinToken](tx, id)
		if !ok {
			return model.Errorf(model.NotFound, "there is no join token %s: see muster cluster token list", id)
		}
		if !t.Revoked.IsZero() {
			return nil
		}
		next := *t
		next.Revoked = tx.Now()
		return state.Put(tx, &next)
	})
}

func (t *joinToken) shown() JoinToken {
	return JoinToken{ID: t.ID, Created: t.Created, Expires: t.Expires, Revoked: t.Revoked, Uses: t.Uses, Used: t.Used}
}

// ends is when the token became useless or will at the latest.
func (t *joinToken) ends() time.Time {
	if !t.Revoked.IsZero() && t.Revoked.Before(t.Expires) {
		return t.Revoked
	}
	return t.Expires
}

// useToken checks a joiner's token and counts its use. A joiner that lost its answer and asks again counts once.
func useToken(tx *state.Tx, req joinRequest) error {
	const another = "make a new one with `muster cluster token create` on a member"
	t, ok := state.Get[joinToken](tx, req.Token)
	digest := sha256.Sum256(req.Secret)
	switch {
	case !ok || subtle.ConstantTimeCompare(digest[:], t.Digest) != 1:
		return model.Errorf(model.Unauthenticated, "the cluster does not know this join token: %s", another)
	case !t.Revoked.IsZero():
		return model.Errorf(model.Unauthenticated, "the join token %s was revoked at %s: %s", t.ID, t.Revoked.Format(time.RFC3339), another)
	case !tx.Now().Before(t.Expires):
		return model.Errorf(model.Unauthenticated, "the join token expired at %s: %s", t.Expires.Format(time.RFC3339), another)
	}
	if m, ok := state.Get[Member](tx, req.Member.Name); ok && m.Instance != "" && m.Instance == req.Member.Instance {
		return nil
	}
	if t.Uses > 0 && t.Used >= t.Uses {
		return model.Errorf(model.Unauthenticated, "the join token %s is used up: %d of %d nodes have joined with it: %s", t.ID, t.Used, t.Uses, another)
	}
	next := *t
	next.Used++
	return state.Put(tx, &next)
}
