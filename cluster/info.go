package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// info is what a node tells of itself when asked.
type info struct {
	Name        string `json:"name"`
	Instance    string `json:"instance,omitempty"` // see Member
	ClusterAddr string `json:"clusterAddr"`
	APIAddr     string `json:"apiAddr,omitempty"`
	GossipAddr  string `json:"gossipAddr,omitempty"`
	Version     string `json:"version,omitempty"`
	Schema      int    `json:"schema"`
	Applied     uint64 `json:"applied"`
	Term        uint64 `json:"term"`
	Leader      string `json:"leader,omitempty"`
	ContactMs   int64  `json:"contactMs"` // since a leader was last heard; -1 never

	LastTerm      uint64    `json:"lastTerm,omitempty"` // of its last log entry
	LastIndex     uint64    `json:"lastIndex,omitempty"`
	LogStore      string    `json:"logStore,omitempty"`
	SnapshotIndex uint64    `json:"snapshotIndex,omitempty"`
	SnapshotAgeMs int64     `json:"snapshotAgeMs,omitempty"`
	DiskFree      int64     `json:"diskFree,omitempty"` // bytes
	DiskTotal     int64     `json:"diskTotal,omitempty"`
	CertExpires   time.Time `json:"certExpires,omitzero"`
	GossipKeys    []string  `json:"gossipKeys,omitempty"`  // ids of those it has, the one it uses first
	ClusterKeys   []string  `json:"clusterKeys,omitempty"` // ids of those it has
	Detail        string    `json:"detail,omitempty"`
	Fault         string    `json:"fault,omitempty"` // why it is not ready
	Disk          string    `json:"disk,omitempty"`  // why it should not lead
}

func (n *Node) info() info {
	_, leader := n.raft.LeaderWithID()
	in := info{
		Name: n.cfg.Name, Instance: n.instance, ClusterAddr: n.self.Cluster, APIAddr: n.cfg.APIAddr, GossipAddr: n.self.Gossip, Version: n.cfg.Version,
		Schema: n.cfg.Schema, Applied: n.store.AppliedIndex(), Term: n.raft.CurrentTerm(), Leader: string(leader), ContactMs: -1,
	}
	if n.raft.State() == raft.Leader {
		in.ContactMs = 0
	} else if t := n.raft.LastContact(); !t.IsZero() {
		in.ContactMs = time.Since(t).Milliseconds()
	}
	if err := n.Ready(); err != nil {
		in.Fault = err.Error()
	}
	in.Disk = n.disk.watch.trouble()
	in.LastIndex = n.raft.LastIndex()
	in.LastTerm, _ = strconv.ParseUint(n.raft.Stats()["last_log_term"], 10, 64)
	return in
}

// details are what costs more to find out, or belongs to status only.
func (n *Node) details(in info) info {
	in.CertExpires, in.LogStore = n.id.Identity().Expires(), n.cfg.RaftStore
	in.SnapshotIndex, in.SnapshotAgeMs = n.lastSnapshot()
	var err error
	if in.DiskFree, in.DiskTotal, err = n.cfg.Disk.Space(n.cfg.DataDir); err != nil {
		n.log.Debug("free disk", "error", err)
	}
	if ids := n.gossipKeys.Load(); ids != nil {
		in.GossipKeys = *ids
	}
	in.ClusterKeys = n.keys.ring.IDs()
	if n.cfg.Detail != nil {
		in.Detail = n.cfg.Detail()
	}
	return in
}

// lastSnapshot is the index and age in milliseconds of this node's newest snapshot; 0, 0 when there is none. The age
// is by the wall clock that named the snapshot's folder.
func (n *Node) lastSnapshot() (index uint64, ageMs int64) {
	metas, err := n.disk.snaps.List()
	if err != nil || len(metas) == 0 {
		return 0, 0
	}
	parts := strings.Split(metas[0].ID, "-") // term, index, milliseconds
	if ms, err := strconv.ParseInt(parts[len(parts)-1], 10, 64); err == nil {
		ageMs = max(0, time.Now().UnixMilli()-ms)
	}
	return metas[0].Index, ageMs
}

func (i info) member(joined time.Time) *Member {
	return &Member{
		Name: i.Name, Instance: i.Instance, ClusterAddr: i.ClusterAddr, APIAddr: i.APIAddr, GossipAddr: i.GossipAddr,
		Version: i.Version, Schema: i.Schema, Joined: joined,
	}
}

// is says whether who answered is that member, and not one that had its name before it was removed: the log of that
// one lacks what its successor has told the leader that it has.
func (i info) is(m *Member) bool { return i.Name == m.Name && i.Instance == m.Instance }

func (n *Node) askInfo(ctx context.Context, addr string) (info, error) {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Timing.Attempt)
	defer cancel()
	if addr == n.self.Cluster {
		return n.details(n.info()), nil
	}
	b, err := n.rpc.ask(ctx, addr, opInfo, nil)
	if err != nil {
		n.told(err) // after a recovery, by the member that goes on
		return info{}, err
	}
	in, err := decodeInfo(b)
	if err != nil {
		return info{}, fmt.Errorf("%s: %w", addr, err)
	}
	return in, nil
}

func decodeInfo(b []byte) (info, error) {
	var in info
	if err := json.Unmarshal(b, &in); err != nil {
		return info{}, fmt.Errorf("reading what a node tells of itself: %w", err)
	}
	return in, nil
}
