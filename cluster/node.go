// Package cluster is one member of the Raft cluster: transactions from any node, linearizable reads, duties of
// the leader, who belongs and who votes. It knows rows and terms, no nouns of the model.
package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/muster-hq/muster/cluster/gossip"
	"github.com/muster-hq/muster/cluster/pki"
	"github.com/muster-hq/muster/cluster/transport"
	"github.com/muster-hq/muster/fsm"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// Node is a running member. All methods are safe for concurrent use.
type Node struct {
	cfg      Config
	id       *pki.Holder
	self     peerAddr
	instance string // see Member
	log      *slog.Logger
	store    *state.Store
	raft     *raft.Raft
	disk     *diskState
	mux      *transport.Mux
	rpc      *rpc
	gossip   *gossip.Gossip // nil without
	packer   *packer
	question *sharer
	asking   asking
	proven   proven
	clock    clock
	peers    peerBook

	leading atomic.Pointer[Lead]
	notify  chan bool     // raft's: leadership won or lost
	voters  sync.Mutex    // held while the voters are changed
	kick    chan struct{} // makes the leader look at the members now

	restores chan *restoring // to the goroutine that leads

	belonging
	life
}

// life is how a node ends.
type life struct {
	done chan struct{} // closed when the node stops
	down chan struct{} // closed when raft has stopped
	once sync.Once     // closes done
	free sync.Once     // releases all
	err  atomic.Pointer[error]
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// Open starts a node: it takes the data folder, opens the port, joins or begins a cluster if the folder holds no
// member yet, and starts raft. The context bounds joining. It returns before there is a leader; see WaitReady.
// On an error nothing runs, and a folder that held nothing holds no member.
func Open(ctx context.Context, cfg Config) (*Node, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, log: cfg.Log, disk: &diskState{}, proven: proven{base: time.Now()}, notify: make(chan bool, 1024),
		kick: make(chan struct{}, 1), restores: make(chan *restoring),
		life: life{done: make(chan struct{}), down: make(chan struct{})}, clock: clock{wall: cfg.Now},
	}
	if n.disk.lock, err = lockFolder(cfg.DataDir); err != nil {
		return nil, err
	}
	if err := n.open(ctx); err != nil {
		return nil, errors.Join(err, n.release())
	}
	return n, nil
}

func (n *Node) open(ctx context.Context) (err error) {
	ln := n.cfg.Listener
	if ln == nil {
		if ln, err = net.Listen("tcp", n.cfg.ClusterAddr); err != nil {
			return fmt.Errorf("the cluster port %s cannot be opened (is another server running? choose another with --cluster): %w", n.cfg.ClusterAddr, err)
		}
	}
	n.self = peerAddr{Name: n.cfg.Name, Cluster: advertised(ln.Addr(), n.cfg.ClusterAdvertise)}
	boot, err := prepare(ctx, n.cfg, n.self)
	if err != nil {
		_ = ln.Close()
		return err
	}
	defer func() {
		if err != nil && boot.fresh { // else the next start would take this one's choices for given
			err = errors.Join(err, forget(n.cfg.DataDir))
		}
	}()
	n.id, n.instance, n.keys = pki.NewHolder(boot.id, n.cfg.Now), boot.Instance, boot.keys
	n.standing.Store(&standing{})
	n.cfg.Transport.Accept, n.cfg.Transport.Reach = n.accept, n.reach
	n.mux = transport.New(ln, n.id, n.cfg.Transport)
	n.peers.add(boot.peers...)
	if err := n.startGossip(boot); err != nil {
		return err
	}
	n.peers.add(n.self)
	if err := n.startRaft(); err != nil {
		return err
	}
	bg, cancel := context.WithCancel(context.Background())
	n.stop = cancel
	n.question = &sharer{ask: n.askCurrent}
	n.packer = newPacker(n.raft, n.now, n.cfg.Timing)
	n.rpc = newRPC(n.mux, n.answer, n.takeCommit, n.cfg.Timing.QueueBytes, n.sums, n.log)
	n.standing.Store(standingOf(n.Local()))
	n.judging.Store(true)
	n.spawn(func() { n.keepStanding(bg) })
	n.spawn(func() { n.keepCertificate(bg) })
	n.spawn(func() { n.keepSchema(bg) })
	n.spawn(func() { n.watchLeader(bg) })
	n.spawn(func() { n.keepGossipKeys(bg) })
	n.spawn(func() { n.holdKeys(bg) })
	n.spawn(func() { n.lead(bg) })
	n.spawn(func() { n.watchDisk(bg) })
	n.spawn(func() { n.heed(bg) })
	n.spawn(func() { n.serveJoin(bg) })
	n.spawn(func() { n.announce(bg) })
	n.spawn(func() { n.keepEpoch(bg) })
	n.spawn(func() { n.compact(bg) })
	n.spawn(func() { n.forgetClear(bg) })
	if n.gossip != nil {
		n.spawn(func() { n.mingle(bg) })
	}
	return n.begin(bg, boot)
}

func (n *Node) spawn(f func()) {
	n.wg.Add(1)
	go func() { defer n.wg.Done(); f() }()
}

func (n *Node) startGossip(boot *booted) error {
	if n.cfg.GossipAddr == "" {
		return nil
	}
	bind, adv := n.cfg.GossipAddr, n.cfg.GossipAdvertise
	host, _, _ := net.SplitHostPort(n.self.Cluster)
	if _, port, err := net.SplitHostPort(bind); err == nil && adv == "" && port != "0" {
		adv = net.JoinHostPort(host, port)
	}
	g, err := gossip.Start(gossip.Config{
		Name: n.cfg.Name, Bind: bind, Advertise: adv, Key: boot.gossipKey, Log: n.log,
		Meta: gossip.Meta{Cluster: boot.id.ClusterID, ClusterAddr: n.self.Cluster, APIAddr: n.cfg.APIAddr, Version: n.cfg.Version},
	})
	if err != nil {
		return fmt.Errorf("%w (is another server running? choose another with --gossip)", err)
	}
	n.gossip, n.self.Gossip = g, g.Addr()
	return nil
}

func (n *Node) startRaft() error {
	dir := filepath.Join(n.cfg.DataDir, "raft")
	if err := removeIfThere(n.restoreFile()); err != nil { // of a restore that was cut off
		return err
	}
	all, err := tables(n.cfg.Tables)
	if err != nil {
		return err
	}
	if n.store, err = state.NewStore(state.Options{Tables: all, Version: n.cfg.Version, Known: uint32(n.cfg.Schema), Keys: n.keys.ring}); err != nil {
		return fmt.Errorf("making the state: %w", err)
	}
	machine, err := fsm.New(fsm.Options{Store: n.store, Log: n.log, Fatal: n.fail})
	if err != nil {
		return fmt.Errorf("making the state machine: %w", err)
	}
	hlog := raftLogger(n.log)
	if err := unbroken(n.cfg.DataDir, func() error { return n.disk.open(dir, n.cfg, hlog, n.diskFailed) }); err != nil {
		return err
	}
	rc := n.cfg.Timing.RaftConfig(n.cfg.Name)
	rc.Logger = hlog
	rc.NotifyCh = n.notify
	inner := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: transport.NewStreamLayer(n.mux, n.self.Cluster), MaxPool: 3, Timeout: 5 * time.Second, Logger: hlog,
	})
	inner.TimeoutScale = 4 << 20 // of a snapshot, so many bytes in each time-out: a peer that no longer reads is noticed
	trans := newPatientTransport(inner, n.silent, n.done)
	err = unbroken(n.cfg.DataDir, func() error {
		if n.raft, err = raft.NewRaft(rc, machine, n.disk.logs, n.disk.stable, n.disk.snaps, trans); err != nil {
			return fmt.Errorf("the log or the snapshots in %s cannot be read (%s): %w", dir, adviceDamaged, err)
		}
		return nil
	})
	if err != nil {
		_ = trans.Close()
		if why := n.Err(); why != nil { // what raft says of it is less
			err = why
		}
		return fmt.Errorf("starting raft: %w", err)
	}
	n.disk.running.Store(true)
	trans.follow(func(term uint64) bool { return n.raft.State() == raft.Leader && n.raft.CurrentTerm() == term })
	return nil
}

// fail ends a node that cannot go on; see Done.
func (n *Node) fail(err error) {
	n.err.CompareAndSwap(nil, &err)
	n.once.Do(func() { close(n.done) })
}

// diskFailed ends a node whose disk has failed, or holds what the cluster did not take.
func (n *Node) diskFailed(err error) {
	if errors.Is(err, errNotTaken) {
		n.log.Error("this node stops", "error", err)
		n.fail(err)
		return
	}
	n.log.Error("this node's disk failed, and it stops", "data", n.cfg.DataDir, "error", err)
	n.fail(fmt.Errorf("the disk of %s failed: %w", n.cfg.DataDir, err))
}

// Done is closed when the node has stopped or begins to: by Shutdown or Abort, or because it cannot go on, which
// Err tells. In the last case the process must end with an error.
func (n *Node) Done() <-chan struct{} { return n.done }

// Err is why the node cannot go on; nil while it can, and after a Shutdown.
func (n *Node) Err() error {
	if p := n.err.Load(); p != nil {
		return *p
	}
	return nil
}

// HandOver gives the leadership to another voter, if this node has it and there is one.
func (n *Node) HandOver(ctx context.Context) error {
	if !n.IsLeader() || n.voterCount() < 2 {
		return nil
	}
	return n.handOver(ctx, "")
}

// Shutdown hands leadership over if it can within ctx, stops the duties and the node, and closes its files.
func (n *Node) Shutdown(ctx context.Context) error {
	if err := n.HandOver(ctx); err != nil {
		n.log.Warn("leadership was not handed over before stopping", "error", err)
	}
	if n.gossip != nil {
		_ = n.gossip.Close(500 * time.Millisecond)
	}
	return n.Abort()
}

// Abort stops the node at once, as far as the others can see: nothing is handed over.
func (n *Node) Abort() error {
	n.once.Do(func() { close(n.done) })
	return n.release()
}

func (n *Node) release() (err error) {
	n.free.Do(func() { err = n.stopAll() })
	return err
}

func (n *Node) stopAll() error {
	var errs []error
	if n.stop != nil {
		n.stop()
	}
	if n.mux != nil {
		errs = append(errs, n.mux.Close())
	}
	if n.raft != nil {
		errs = append(errs, n.raft.Shutdown().Error())
		close(n.down)
	}
	if n.rpc != nil {
		n.rpc.close()
		n.packer.close()
	}
	n.wg.Wait()
	if n.gossip != nil {
		_ = n.gossip.Close(0)
	}
	return errors.Join(append(errs, n.disk.close())...)
}

// Name is the node's name.
func (n *Node) Name() string { return n.cfg.Name }

// ClusterID is the id of the cluster, which its certificates carry.
func (n *Node) ClusterID() string { return n.id.Identity().ClusterID }

// ClusterAddr is the cluster address that other nodes dial.
func (n *Node) ClusterAddr() string { return n.self.Cluster }

// GossipAddr is the gossip address that other nodes use; "" without gossip.
func (n *Node) GossipAddr() string { return n.self.Gossip }

// Fingerprint is the sha256 of the authority's DER in hex: what tokens pin.
func (n *Node) Fingerprint() string { return n.id.Identity().Fingerprint() }

// CACertPEM is the authority's certificate.
func (n *Node) CACertPEM() []byte { return n.id.Identity().CAPEM() }

// BusTLS is the server's side for the bus: the node's certificate has the name pki.BusName, and the authority is
// sent along for agents that know only its fingerprint.
func (n *Node) BusTLS() *tls.Config {
	c := n.id.ServerTLS()
	c.ClientAuth = tls.NoClientCert
	return c
}

// Store is the node's state, for watches and for what may be stale.
func (n *Node) Store() *state.Store { return n.store }

// IsLeader says whether this node leads and its term is open. It may be out of date when it returns.
func (n *Node) IsLeader() bool { return n.leading.Load() != nil }

// HasLeader says whether this node knows a leader.
func (n *Node) HasLeader() bool {
	_, id := n.raft.LeaderWithID()
	return id != ""
}

// leaderGrace is how long a node is ready without a leader: an election is no reason to send its clients elsewhere.
const leaderGrace = 3 * time.Second

// watchLeader notes when a leader was known, until ctx ends.
func (n *Node) watchLeader(ctx context.Context) {
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		if n.HasLeader() {
			now := time.Now()
			n.ledAt.Store(&now)
		}
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
	}
}

// Ready is nil when this node can serve: it knows a leader, or did until a moment ago, has applied what it knows to be
// committed, but for a little, and nothing is wrong with its disk. The error says what is missing.
func (n *Node) Ready() error {
	if err := n.Err(); err != nil {
		return model.Errorf(model.Unavailable, "this node has stopped: %v", err)
	}
	if err := n.diskReady(); err != nil {
		return err
	}
	if at := n.ledAt.Load(); !n.HasLeader() && (at == nil || time.Since(*at) > leaderGrace) {
		return model.Errorf(model.Unavailable, "the cluster has no leader that this node knows of")
	}
	if err := n.keys.ready(); err != nil {
		return err
	}
	if c, a := n.raft.CommitIndex(), n.raft.AppliedIndex(); c > a+1024 {
		return model.Errorf(model.Unavailable, "this node is catching up: it has applied %d of %d entries", a, c)
	}
	return nil
}

// WaitReady waits until a linearizable read succeeds here: a leader is known and this node is current.
func (n *Node) WaitReady(ctx context.Context) error {
	_, err := n.makeCurrent(ctx, 0)
	return err
}

// Snapshot takes a snapshot now. An error when there is nothing new to take one of.
func (n *Node) Snapshot() error {
	if err := n.raft.Snapshot().Error(); err != nil {
		return fmt.Errorf("taking a snapshot: %w", err)
	}
	return nil
}

func (n *Node) leaderAddr() (string, error) {
	addr, id := n.raft.LeaderWithID()
	if addr == "" || string(id) == n.cfg.Name {
		return "", fmt.Errorf("%w: no leader is known", errNotDone)
	}
	return string(addr), nil
}

func (n *Node) voterCount() int {
	c := 0
	for _, s := range n.raft.GetConfiguration().Configuration().Servers {
		if s.Suffrage == raft.Voter {
			c++
		}
	}
	return c
}

// raftLogger turns raft's lines into records.
func raftLogger(log *slog.Logger) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Name: "raft", Level: hclog.Info, DisableTime: true, Output: lineWriter{log}})
}

type lineWriter struct{ log *slog.Logger }

// Write logs one line at the level that its tag says.
func (w lineWriter) Write(p []byte) (int, error) {
	tag, text, _ := strings.Cut(strings.TrimSpace(string(p)), "]")
	level := slog.LevelDebug // raft is talkative: elections and the like are told at Info as warnings
	switch strings.TrimLeft(tag, "[") {
	case "ERROR":
		level = slog.LevelWarn
	case "WARN":
		level = slog.LevelInfo
	}
	w.log.Log(context.Background(), level, "raft", "said", strings.TrimSpace(text))
	return len(p), nil
}
