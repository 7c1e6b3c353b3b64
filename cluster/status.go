package cluster

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/raft"
)

// Status is the cluster as one node sees it, with what each member told of itself when asked just now.
type Status struct {
	Name             string         `json:"name"` // of the node that was asked
	ClusterID        string         `json:"clusterId"`
	Leader           string         `json:"leader"` // "" when none is known
	Term             uint64         `json:"term"`
	Epoch            uint64         `json:"epoch"`
	Voters           int            `json:"voters"`
	FailureTolerance int            `json:"failureTolerance"` // members that may fail now without loss of quorum; negative: it is lost
	Members          []MemberStatus `json:"members"`          // by name
}

// MemberStatus is one member. Alive false means that it did not answer, Error says why; the rest is then what
// its row says.
type MemberStatus struct {
	Name          string `json:"name"`
	ClusterAddr   string `json:"clusterAddr"`
	APIAddr       string `json:"apiAddr,omitempty"`
	Version       string `json:"version,omitempty"`
	Voter         bool   `json:"voter"`
	Leader        bool   `json:"leader"`
	Alive         bool   `json:"alive"`
	Applied       uint64 `json:"applied"`       // log index
	Lag           uint64 `json:"lag"`           // entries behind the furthest
	LastContactMs int64  `json:"lastContactMs"` // since it heard from a leader; -1 never or not known
	Error         string `json:"error,omitempty"`
}

// Status asks every member. It works without a leader.
func (n *Node) Status(ctx context.Context) (*Status, error) {
	_, leader := n.raft.LeaderWithID()
	s := &Status{
		Name: n.cfg.Name, ClusterID: n.ClusterID(), Leader: string(leader),
		Term: n.raft.CurrentTerm(), Epoch: n.store.Epoch(),
	}
	byName := map[string]*MemberStatus{}
	for _, m := range n.Members() {
		byName[m.Name] = &MemberStatus{Name: m.Name, ClusterAddr: m.ClusterAddr, APIAddr: m.APIAddr, Version: m.Version, LastContactMs: -1}
	}
	for _, srv := range n.raft.GetConfiguration().Configuration().Servers {
		m := byName[string(srv.ID)]
		if m == nil {
			m = &MemberStatus{Name: string(srv.ID), ClusterAddr: string(srv.Address), LastContactMs: -1}
			byName[m.Name] = m
		}
		if m.Voter = srv.Suffrage == raft.Voter; m.Voter {
			s.Voters++
		}
	}
	var wg sync.WaitGroup
	for _, m := range byName {
		wg.Go(func() {
			in, err := n.askInfo(ctx, m.ClusterAddr)
			if err != nil {
				m.Error = "does not answer: " + err.Error()
				return
			}
			m.Alive, m.Applied, m.LastContactMs = true, in.Applied, in.ContactMs
			m.Version, m.APIAddr = in.Version, in.APIAddr
		})
	}
	wg.Wait()
	alive, furthest := 0, uint64(0)
	for _, m := range byName {
		if m.Alive && m.Voter {
			alive++
		}
		furthest = max(furthest, m.Applied)
	}
	for _, m := range byName {
		m.Leader = m.Name == s.Leader
		if m.Alive {
			m.Lag = furthest - m.Applied
		}
		s.Members = append(s.Members, *m)
	}
	slices.SortFunc(s.Members, func(a, b MemberStatus) int { return strings.Compare(a.Name, b.Name) })
	s.FailureTolerance = alive - (s.Voters/2 + 1)
	return s, ctx.Err()
}
