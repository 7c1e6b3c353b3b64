package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"time"

	"github.com/hashicorp/raft"

	"github.com/muster-hq/muster/cluster/pki"
	"github.com/muster-hq/muster/cluster/transport"
	"github.com/muster-hq/muster/fsm/state"
)

// Config says who a node is and how it runs. Zero values of everything below Version mean the defaults.
type Config struct {
	Name             string // lower-case letters, digits, - and . up to 63; raft's id of the node, for good
	DataDir          string // made with mode 0700 when absent
	ClusterAddr      string // host:port to bind
	ClusterAdvertise string // host:port that other nodes dial; "" is what was bound
	GossipAddr       string // host:port to bind; "" is no gossip: the leader then only looks by its timer
	GossipAdvertise  string
	APIAddr          string // told to the other nodes and their users as it is
	Version          string
	Tables           []state.TableDef // that rows can be put into, beside the cluster's own
	Bootstrap        Bootstrap        // looked at only while DataDir holds no member of a cluster
	Duties           []NamedDuty      // run while leading, started in this order
	// Answer answers what nodes ask the leader by AskLeader, and changes nothing. An error without a code lets the asker
	// try again, here or at the next leader. Nil answers nothing.
	Answer        func(ctx context.Context, question []byte) ([]byte, error)
	Log           *slog.Logger  // nil discards
	Timing        Timing        // raft's and ours
	RaftStore     string        // StoreBolt (""), or StoreWAL; a folder keeps the one that it was made with
	Autopilot     Autopilot     // when the leader gives a vote, and takes one
	CertLife      time.Duration // of the nodes' certificates, renewed when a third of it is left; one year
	GossipKeyLife time.Duration // between rotations of the gossip key; 30 days
	Listener      net.Listener  // serves the cluster port instead of binding ClusterAddr
	Transport     transport.Options
	Schema        int              // the highest schema that this code knows; 0 is state.Schema, and tests say others
	Detail        func() string    // told in Status as it is; nil is nothing
	Now           func() time.Time // the machine's clock; nil means time.Now
	Disk          Disk             // when it counts as nearly full
	BeforeWrite   func()           // called before each write to the raft log, from raft's goroutines; a slow disk
}

// Disk says when a node's disk counts as nearly full.
type Disk struct {
	Reserve int64                                           // less free bytes are too few; 0 means 64 MiB, on a small disk 2 % of it
	Space   func(dir string) (free, total int64, err error) // of the disk under a folder; nil means to ask the system
}

// Bootstrap says how a node with an empty folder gets into a cluster. The zero value makes a cluster of one.
type Bootstrap struct {
	// Expect is the number of nodes that begin together; each is given the same Secret (16 bytes or more, the
	// authority's key is derived from it) and, in Peers, cluster addresses of others. The one whose name comes
	// first begins once it knows them all.
	Expect int
	Secret []byte
	Peers  []string

	// Token is a join token of the cluster to join. Join are cluster addresses of its members; empty means
	// those in the token.
	Token string
	Join  []string
}

// Timing are time-outs and thresholds.
type Timing struct {
	Multiplier      int           // of the defaults of Heartbeat and LeaderLease, for wide networks and machines that stall; 1
	Heartbeat       time.Duration // and election; 250 ms. At 200 a machine with more to do than processors elects leaders; at 300 the death of one is felt for 0.7 s
	LeaderLease     time.Duration // 125 ms
	CommitTimeout   time.Duration // 2 ms: how soon an idle leader tells followers of a commit
	Deadline        time.Duration // of an Update or View whose context has none; 30 s
	Attempt         time.Duration // of one question to another node; 1 s
	Reconcile       time.Duration // between the leader's looks at the members; 5 s
	SnapshotBytes   uint64        // that the log grows by between snapshots; 128 MiB, or never if SnapshotEntries is given
	SnapshotEntries uint64        // log entries between snapshots; by bytes only if not given
	SnapshotCheck   time.Duration // 30 s
	TrailingLogs    uint64        // entries kept after a snapshot; 10240
	PackBytes       int           // of commits in one log entry; 64 KiB; 1 means one commit an entry
	QueueBytes      int           // of commits that wait in one lane, at the leader and for each other node; 16 MiB; beyond, callers are told to come back
	SlowWrite       time.Duration // a write to the log that takes longer makes the leader hand over; 3 s
	DiskCheck       time.Duration // between looks at the disk; 1 s
	Collect         time.Duration // between looks for contents that no row names; 1 h
	ContentAge      time.Duration // that they stay for, so that one may be stored before its row; 24 h
	SegmentBytes    int           // of one file of StoreWAL, which takes that much of the disk at once; 16 MiB
}

var errName = errors.New("a node's name is 1 to 63 lower-case letters, digits, dots and dashes, and begins and ends with a letter or digit")

func validName(name string) error {
	if len(name) > 63 || !regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`).MatchString(name) {
		return fmt.Errorf("node name %q: %w", name, errName)
	}
	return nil
}

func (c Config) withDefaults() (Config, error) {
	if err := validName(c.Name); err != nil {
		return c, err
	}
	if c.DataDir == "" {
		return c, errors.New("no data folder is given")
	}
	if c.Bootstrap.Expect > 1 && c.Bootstrap.Token != "" {
		return c, errors.New("a node either begins a cluster with others or joins one: give an expected number or a join token, not both")
	}
	if def(&c.RaftStore, StoreBolt); c.RaftStore != StoreBolt && c.RaftStore != StoreWAL {
		return c, fmt.Errorf("%q is no store of the raft log: choose %s or %s", c.RaftStore, StoreBolt, StoreWAL)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Timing, c.Autopilot = c.Timing.withDefaults(), c.Autopilot.withDefaults()
	def(&c.Schema, int(state.Schema))
	def(&c.GossipKeyLife, 30*24*time.Hour)
	def(&c.CertLife, pki.DefaultLife)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Disk.Space == nil {
		c.Disk.Space = diskSpace
	}
	if c.Transport.Log == nil {
		c.Transport.Log = c.Log
	}
	return c, nil
}

func (t Timing) withDefaults() Timing {
	def(&t.Multiplier, 1)
	def(&t.Heartbeat, time.Duration(t.Multiplier)*250*time.Millisecond)
	def(&t.LeaderLease, time.Duration(t.Multiplier)*125*time.Millisecond)
	def(&t.CommitTimeout, 2*time.Millisecond)
	def(&t.Deadline, 30*time.Second)
	def(&t.Attempt, time.Second)
	def(&t.Reconcile, 5*time.Second)
	if t.SnapshotEntries != 0 {
		def(&t.SnapshotBytes, 1<<62)
	}
	def(&t.SnapshotBytes, 128<<20)
	def(&t.SnapshotEntries, 1<<62)
	def(&t.SnapshotCheck, 30*time.Second)
	def(&t.TrailingLogs, 10240)
	def(&t.PackBytes, 64<<10)
	def(&t.SlowWrite, 3*time.Second)
	def(&t.DiskCheck, time.Second)
	def(&t.QueueBytes, 16<<20)
	def(&t.SegmentBytes, 16<<20)
	def(&t.Collect, time.Hour)
	def(&t.ContentAge, 24*time.Hour)
	return t
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// RaftConfig is raft's configuration for the node of that name; zero values mean the defaults.
func (t Timing) RaftConfig(name string) *raft.Config {
	t = t.withDefaults()
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(name)
	rc.HeartbeatTimeout = t.Heartbeat
	rc.ElectionTimeout = t.Heartbeat
	rc.LeaderLeaseTimeout = t.LeaderLease
	rc.CommitTimeout = t.CommitTimeout
	rc.MaxAppendEntries = 256
	rc.BatchApplyCh = true // else one packer feeds one entry a disk write
	rc.SnapshotThreshold = t.SnapshotEntries
	rc.SnapshotInterval = t.SnapshotCheck
	rc.TrailingLogs = t.TrailingLogs
	rc.NoLegacyTelemetry = true
	return rc
}

// deadline gives ctx the default deadline if it has none.
func (n *Node) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, n.cfg.Timing.Deadline)
}
