package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Status is the cluster as one node sees it, with what each member told of itself when asked just now.
type Status struct {
	Name             string         `json:"name"` // of the node that was asked
	ClusterID        string         `json:"clusterId"`
	Leader           string         `json:"leader"` // "" when none is known
	Term             uint64         `json:"term"`
	Epoch            uint64         `json:"epoch"`
	Schema           int            `json:"schema"` // that the cluster has raised
	Key              KeyStatus      `json:"key"`
	Voters           int            `json:"voters"`
	Healthy          bool           `json:"healthy"`          // there is a leader, and every voter is healthy
	FailureTolerance int            `json:"failureTolerance"` // members that may fail now without loss of quorum; negative: it is lost
	Members          []MemberStatus `json:"members"`          // by name
}

// MemberStatus is one member. Alive false means that it did not answer, Error says why; the rest is then what
// its row says.
type MemberStatus struct {
	Name          string        `json:"name"`
	ClusterAddr   string        `json:"clusterAddr"`
	APIAddr       string        `json:"apiAddr,omitempty"`
	Version       string        `json:"version,omitempty"`
	Schema        int           `json:"schema,omitempty"` // the highest that it knows
	Voter         bool          `json:"voter"`
	Leader        bool          `json:"leader"`
	Alive         bool          `json:"alive"`
	Healthy       bool          `json:"healthy"`       // it answers, follows the leader, and is not behind; else Error says what is wrong
	Applied       uint64        `json:"applied"`       // log index
	Lag           uint64        `json:"lag"`           // entries behind the furthest
	LastContactMs int64         `json:"lastContactMs"` // since it heard from a leader; -1 never or not known
	LogStore      string        `json:"logStore,omitempty"`
	SnapshotIndex uint64        `json:"snapshotIndex"`         // of its newest snapshot; 0 none
	SnapshotAge   time.Duration `json:"snapshotAge,omitempty"` // of it
	DiskFree      int64         `json:"diskFree"`              // bytes; 0 not known
	DiskTotal     int64         `json:"diskTotal"`
	CertExpires   time.Time     `json:"certExpires,omitzero"`
	Detail        string        `json:"detail,omitempty"` // see Config
	Error         string        `json:"error,omitempty"`
}

// Status asks every member. It works without a leader.
func (n *Node) Status(ctx context.Context) (*Status, error) {
	_, leader := n.raft.LeaderWithID()
	s := &Status{
		Name: n.cfg.Name, ClusterID: n.ClusterID(), Leader: string(leader),
		Term: n.raft.CurrentTerm(), Epoch: n.store.Epoch(), Schema: n.raisedSchema(),
	}
	s.Key = keyStatusOf(n.Local())
	byName := n.statusRows(s)
	infos, mu := map[string]info{}, sync.Mutex{}
	var wg sync.WaitGroup
	for _, m := range byName {
		wg.Go(func() {
			in, err := n.askInfo(ctx, m.ClusterAddr)
			if err != nil {
				m.Error = "does not answer: " + strings.TrimPrefix(err.Error(), errNotDone.Error()+": ")
				return
			}
			mu.Lock()
			infos[m.Name] = in
			mu.Unlock()
			m.tell(in)
		})
	}
	wg.Wait()
	s.judge(byName, infos, n.cfg.Autopilot.LastContact)
	return s, ctx.Err()
}

// statusRows are the members of the rows and of raft's configuration.
func (n *Node) statusRows(s *Status) map[string]*MemberStatus {
	byName := map[string]*MemberStatus{}
	for _, m := range n.Members() {
		byName[m.Name] = &MemberStatus{
			Name: m.Name, ClusterAddr: m.ClusterAddr, APIAddr: m.APIAddr, Version: m.Version, Schema: m.Schema, LastContactMs: -1,
		}
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
	return byName
}

func (m *MemberStatus) tell(in info) {
	m.Alive, m.Applied, m.LastContactMs = true, in.Applied, in.ContactMs
	m.Version, m.APIAddr, m.Schema = in.Version, in.APIAddr, in.Schema
	m.LogStore, m.SnapshotIndex, m.SnapshotAge = in.LogStore, in.SnapshotIndex, time.Duration(in.SnapshotAgeMs)*time.Millisecond
	m.DiskFree, m.DiskTotal, m.CertExpires, m.Detail = in.DiskFree, in.DiskTotal, in.CertExpires, in.Detail
}

// judge says who is healthy, and how many may yet fail.
func (s *Status) judge(byName map[string]*MemberStatus, infos map[string]info, lastContact time.Duration) {
	alive, furthest := 0, uint64(0)
	for _, m := range byName {
		if m.Alive && m.Voter {
			alive++
		}
		furthest = max(furthest, m.Applied)
	}
	s.Healthy = s.Leader != ""
	for _, m := range byName {
		m.Leader = m.Name == s.Leader
		if in, ok := infos[m.Name]; ok {
			m.Lag = furthest - m.Applied
			m.Error = ailment(in, s.Leader, m.Lag, lastContact)
			m.Healthy = m.Error == ""
		}
		s.Healthy = s.Healthy && (m.Healthy || !m.Voter)
		s.Members = append(s.Members, *m)
	}
	slices.SortFunc(s.Members, func(a, b MemberStatus) int { return strings.Compare(a.Name, b.Name) })
	s.FailureTolerance = alive - (s.Voters/2 + 1)
}

// ailment is what is wrong with a member that answers, "" when it is healthy.
func ailment(in info, leader string, lag uint64, lastContact time.Duration) string {
	switch {
	case in.Fault != "":
		return in.Fault
	case leader != "" && in.Leader == "":
		return fmt.Sprintf("knows no leader, while %s leads", leader)
	case leader != "" && in.Leader != leader:
		return fmt.Sprintf("follows %q, and not %s", in.Leader, leader)
	case in.ContactMs < 0:
		return "has heard no leader"
	case in.ContactMs > lastContact.Milliseconds():
		return fmt.Sprintf("has heard no leader for %d ms", in.ContactMs)
	case lag > maxTrailing:
		return fmt.Sprintf("is %d entries behind", lag)
	}
	return ""
}
