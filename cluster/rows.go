package cluster

import (
	"fmt"
	"time"

	"github.com/muster-hq/muster/fsm/state"
)

// tables are the given ones and the cluster's own.
func tables(given []state.TableDef) (*state.Tables, error) {
	t, err := state.NewTables(append(ownTables(), given...)...)
	if err != nil {
		return nil, fmt.Errorf("the tables of the state: %w", err)
	}
	return t, nil
}

// ownTables hold what makes the cluster what it is. Restores leave them alone.
func ownTables() []state.TableDef {
	return []state.TableDef{
		state.Define[Member](state.TableOptions[Member]{}),
		state.Define[secret](state.TableOptions[secret]{Secret: true, Sealed: ofCluster[secret]}),
		state.Define[formerMember](state.TableOptions[formerMember]{}),
		state.Define[gossipRing](state.TableOptions[gossipRing]{Secret: true, Sealed: ofCluster[gossipRing]}),
		state.Define[joinToken](state.TableOptions[joinToken]{Secret: true}),
	}
}

// ofCluster seals rows of what a restore leaves alone. Who reads them must have the cluster's key.
func ofCluster[T any](state.Reader, *T) string { return state.DomainCluster }

// Member is a node that belongs to the cluster. Its row is written before it may vote.
type Member struct {
	Name        string    `json:"name"`
	Instance    string    `json:"instance,omitempty"` // random, made when its folder became a member: tells it from one that had its name before
	ClusterAddr string    `json:"clusterAddr"`
	APIAddr     string    `json:"apiAddr,omitempty"`
	GossipAddr  string    `json:"gossipAddr,omitempty"`
	Version     string    `json:"version,omitempty"`
	Schema      int       `json:"schema"` // the highest that it understands
	Joined      time.Time `json:"joined"`
}

const everyMember = "all"

// Table is the table's name.
func (*Member) Table() string { return "member" }

// Key is the node's name.
func (m *Member) Key() string { return m.Name }

// Ranges has one: all members.
func (*Member) Ranges() []string { return []string{everyMember} }

// Parent is none.
func (*Member) Parent() (string, string) { return "", "" }

// formerMember is a member that was removed: its certificate is good for nothing any more, and it is told so.
type formerMember struct {
	Instance string    `json:"instance"`
	Name     string    `json:"name"`
	Removed  time.Time `json:"removed"`
}

const everyFormer = "all"

func formerOf(m *Member, now time.Time) *formerMember {
	return &formerMember{Instance: m.Instance, Name: m.Name, Removed: now}
}

func (*formerMember) Table() string { return "formermember" }

// Key is the instance; members of before there were instances have their names.
func (f *formerMember) Key() string {
	if f.Instance == "" {
		return "name:" + f.Name
	}
	return f.Instance
}
func (*formerMember) Ranges() []string         { return []string{everyFormer} }
func (*formerMember) Parent() (string, string) { return "", "" }

// secret is what any leader needs to take in members: the authority's key and the gossip key.
type secret struct {
	Name  string `json:"name"`
	Value []byte `json:"value"`
}

const (
	secretCA     = "ca" // PEM
	secretCAKey  = "ca-key"
	secretGossip = "gossip"
)

func (*secret) Table() string            { return "clustersecret" }
func (s *secret) Key() string            { return s.Name }
func (*secret) Ranges() []string         { return nil }
func (*secret) Parent() (string, string) { return "", "" }

// joinToken is a join token that was given out; of its secret only the digest is kept.
type joinToken struct {
	ID      string    `json:"id"`
	Digest  []byte    `json:"digest"` // sha256 of the secret, which is random and long
	Expires time.Time `json:"expires"`
	Created time.Time `json:"created,omitzero"`
	Revoked time.Time `json:"revoked,omitzero"`
	Uses    int       `json:"uses,omitempty"` // how many nodes may join with it; 0 any number
	Used    int       `json:"used,omitempty"`
}

const everyToken = "all"

func (*joinToken) Table() string            { return "jointoken" }
func (t *joinToken) Key() string            { return t.ID }
func (*joinToken) Ranges() []string         { return []string{everyToken} }
func (*joinToken) Parent() (string, string) { return "", "" }
