package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/muster-hq/muster/cluster/pki"
	"github.com/muster-hq/muster/fsm/seal"
)

// peerAddr is where a node is.
type peerAddr struct {
	Name    string `json:"name"`
	Cluster string `json:"cluster"`
	Gossip  string `json:"gossip,omitempty"`
}

// peerBook is what a node has heard of others outside of the state: enough to find them at first.
type peerBook struct {
	mu    sync.Mutex
	peers map[string]peerAddr
}

func (b *peerBook) add(peers ...peerAddr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.peers == nil {
		b.peers = map[string]peerAddr{}
	}
	for _, p := range peers {
		b.peers[p.Name] = p
	}
}

// addr is a node's cluster address, "" when unknown.
func (b *peerBook) addr(name string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.peers[name].Cluster
}

func (b *peerBook) list() []peerAddr {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]peerAddr, 0, len(b.peers))
	for _, p := range b.peers {
		out = append(out, p)
	}
	return out
}

// record is DATA/node.json: that this folder is a member, of what, and how it began. It is written after all
// that it stands for.
type record struct {
	Node      string     `json:"node"`
	Instance  string     `json:"instance"` // see Member
	ClusterID string     `json:"clusterId"`
	Mode      string     `json:"mode"`
	Expect    int        `json:"expect,omitempty"`
	Seeds     []string   `json:"seeds,omitempty"`
	Peers     []peerAddr `json:"peers,omitempty"`
}

const (
	modeAlone  = "alone"
	modeExpect = "expect"
	modeJoin   = "join"
)

// booted is what a node knows before it runs.
type booted struct {
	record
	id        *pki.Identity
	gossipKey []byte
	keys      *keeper
	given     *seal.Keyring // keys that the cluster gave to a joiner; nil for none
	peers     []peerAddr
	fresh     bool // made just now
}

// prepare reads who the node is, or makes it so on a folder that holds no member.
func prepare(ctx context.Context, cfg Config, self peerAddr) (*booted, error) {
	if err := checkSchema(cfg); err != nil {
		return nil, err
	}
	path := filepath.Join(cfg.DataDir, "node.json")
	pkiDir := filepath.Join(cfg.DataDir, "pki")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(cfg.DataDir, "raft")); err == nil {
			return nil, fmt.Errorf("the data folder %s has a raft log but no node.json: put that file back, or give the node an empty folder", cfg.DataDir)
		}
		b, err := found(ctx, cfg, self, pkiDir)
		if err != nil {
			return nil, err
		}
		text, err := json.Marshal(b.record)
		if err != nil {
			return nil, fmt.Errorf("encoding node.json: %w", err)
		}
		if err := writeSynced(path, text); err != nil {
			return nil, errors.Join(err, forget(cfg.DataDir))
		}
		return b, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading who this node is: %w", err)
	}
	b := &booted{}
	if b.record, err = decodeRecord(text); err != nil {
		return nil, fmt.Errorf("%s is damaged: %s: %w", path, adviceDamaged, err)
	}
	if b.Node != cfg.Name {
		return nil, fmt.Errorf("the data folder %s belongs to the node %q: start it under that name, or give %q a folder of its own", cfg.DataDir, b.Node, cfg.Name)
	}
	if b.id, err = pki.Load(pkiDir); err != nil {
		return nil, fmt.Errorf("the node's certificates in %s: %w", pkiDir, err)
	}
	if b.gossipKey, err = os.ReadFile(filepath.Join(pkiDir, gossipKeyFile)); err != nil {
		return nil, fmt.Errorf("reading the gossip key: %w", err)
	}
	if b.keys, err = loadKeys(cfg.DataDir); err != nil {
		return nil, err
	}
	b.peers = b.record.Peers
	return b, nil
}

func decodeRecord(text []byte) (record, error) {
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		return record{}, fmt.Errorf("reading who this node is: %w", err)
	}
	if r.Mode != modeAlone && r.Mode != modeExpect && r.Mode != modeJoin {
		return record{}, fmt.Errorf("reading who this node is: it began in the unknown way %q", r.Mode)
	}
	return r, validName(r.Node)
}

const gossipKeyFile = "gossip-key"

// found makes the node a member by one of the three ways.
func found(ctx context.Context, cfg Config, self peerAddr, pkiDir string) (*booted, error) {
	b, instance := &booted{record: record{Node: cfg.Name, Mode: modeAlone}}, rand.Text()
	var ca *pki.Authority
	var err error
	switch boot := cfg.Bootstrap; {
	case boot.Token != "":
		if b, err = join(ctx, cfg, self, instance); err != nil {
			return nil, err
		}
	case boot.Expect > 1:
		d, err := pki.Derive(boot.Secret)
		if err != nil {
			return nil, err
		}
		b.Mode, b.Expect, b.Seeds, b.gossipKey, ca = modeExpect, boot.Expect, boot.Peers, d.GossipKey, d.Authority
	default:
		raw := make([]byte, 16+32)
		if _, err := rand.Read(raw); err != nil {
			return nil, fmt.Errorf("making keys: %w", err)
		}
		b.gossipKey = raw[16:]
		if ca, err = pki.NewAuthority(hex.EncodeToString(raw[:16]), cfg.Now()); err != nil {
			return nil, err
		}
	}
	if ca != nil {
		if b.id, err = ca.Issue(pki.Subject{Name: cfg.Name, Instance: instance, Life: cfg.CertLife}, cfg.Now()); err != nil {
			return nil, err
		}
		if err := ca.Save(pkiDir); err != nil {
			return nil, err
		}
	}
	b.ClusterID, b.Instance, b.fresh = b.id.ClusterID, instance, true
	if err := b.id.Save(pkiDir); err != nil {
		return nil, err
	}
	given := b.given
	if b.keys, err = loadKeys(cfg.DataDir); err == nil && given != nil {
		err = b.keys.add(given.Keys()...)
	}
	if err != nil {
		return nil, err
	}
	return b, writeSynced(filepath.Join(pkiDir, gossipKeyFile), b.gossipKey)
}

// Forget makes the data folder of a stopped node one that holds no member, so that it can join a cluster: log,
// snapshots and certificates are gone for good. What others keep in the folder stays. It is refused while a server
// runs on the folder.
func Forget(dir string) error {
	lock, err := lockFolder(dir)
	if err != nil {
		return err
	}
	return errors.Join(forget(dir), lock.Close())
}

// forget removes the log first, but for the mark that there was one: cut off after that, the node begins anew as it
// did at first.
func forget(dir string) error {
	for _, name := range []string{begunFile, "raft", "schema", "node.json", "pki"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("emptying the data folder: %w", err)
		}
	}
	return nil
}

// begin bootstraps raft where that is this node's to do. Raft refuses it on a log that has anything.
func (n *Node) begin(ctx context.Context, boot *booted) error {
	if n.raft.LastIndex() > 0 {
		return n.markBegun()
	}
	if _, err := os.Stat(n.begunPath()); err == nil {
		return fmt.Errorf("the raft log in %s is gone, and with it what this node had stored: %s", n.cfg.DataDir, adviceDamaged)
	}
	n.spawn(func() {
		if n.store.WaitIndex(ctx, 1) == nil {
			if err := n.markBegun(); err != nil {
				n.log.Error("it could not be noted that this node has a log", "error", err)
			}
		}
	})
	switch boot.Mode {
	case modeAlone:
		return errors.Join(n.bootstrap([]peerAddr{n.self}), n.markBegun())
	case modeExpect:
		n.spawn(func() { n.gather(ctx, boot) })
	}
	return nil
}

// begunFile marks that the node has had a log. A log that is empty then has been lost: to begin anew would make
// another cluster of the same name, with nothing of what was acknowledged, and a vote given twice.
const begunFile = "begun"

func (n *Node) begunPath() string { return filepath.Join(n.cfg.DataDir, begunFile) }

func (n *Node) markBegun() error {
	if _, err := os.Stat(n.begunPath()); err == nil {
		return nil
	}
	return writeSynced(n.begunPath(), nil)
}

func (n *Node) bootstrap(peers []peerAddr) error {
	var rc raft.Configuration
	for _, p := range peers {
		rc.Servers = append(rc.Servers, raft.Server{ID: raft.ServerID(p.Name), Address: raft.ServerAddress(p.Cluster)})
	}
	if err := n.raft.BootstrapCluster(rc).Error(); err != nil && !errors.Is(err, raft.ErrCantBootstrap) {
		return fmt.Errorf("beginning the cluster: %w", err)
	}
	return nil
}

// gather finds the nodes that begin together, by asking those that it knows of whom they know. The one whose name
// comes first begins, once all are known; raft then reaches the others.
func (n *Node) gather(ctx context.Context, boot *booted) {
	for tick := time.NewTicker(200 * time.Millisecond); n.raft.LastIndex() == 0; {
		addrs := append([]string(nil), boot.Seeds...)
		for _, p := range n.peers.list() {
			addrs = append(addrs, p.Cluster)
		}
		for _, addr := range addrs {
			if addr != n.self.Cluster {
				n.hello(ctx, addr)
			}
		}
		known, first := n.peers.list(), true
		for _, p := range known {
			first = first && p.Name >= n.cfg.Name
		}
		if len(known) > boot.Expect {
			n.log.Error("more nodes want to begin this cluster than each of them expects: stop the ones that do not belong", "expected", boot.Expect, "found", len(known))
		} else if len(known) == boot.Expect && first {
			if err := n.bootstrap(known); err != nil {
				n.log.Error("the cluster could not begin", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (n *Node) hello(ctx context.Context, addr string) {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Timing.Attempt)
	defer cancel()
	text, err := json.Marshal(n.peers.list())
	if err != nil {
		return
	}
	out, err := n.rpc.ask(ctx, addr, opHello, text)
	if err != nil {
		n.log.Debug("a node that was called does not answer", "addr", addr, "error", err)
		n.told(err)
		return
	}
	n.learn(out, "")
}

// learn adds the nodes of a hello that are news. Of itself the node that sent it knows best, of ourselves we do.
func (n *Node) learn(text []byte, from string) {
	peers, err := decodeHello(text)
	if err != nil {
		n.log.Warn("a node's hello cannot be read", "error", err)
		return
	}
	for _, p := range peers {
		if p.Name != n.cfg.Name && (p.Name == from || n.peers.addr(p.Name) == "") {
			n.peers.add(p)
		}
	}
}

func decodeHello(text []byte) ([]peerAddr, error) {
	var peers []peerAddr
	if err := json.Unmarshal(text, &peers); err != nil {
		return nil, fmt.Errorf("%w: hello: %w", errFrame, err)
	}
	for _, p := range peers {
		if err := validName(p.Name); err != nil {
			return nil, err
		}
		if _, _, err := net.SplitHostPort(p.Cluster); err != nil {
			return nil, fmt.Errorf("%w: hello: %w", errFrame, err)
		}
	}
	return peers, nil
}

// advertised is the address that others dial: what is configured, else what was bound, else a guess.
func advertised(bound net.Addr, configured string) string {
	if configured != "" {
		return configured
	}
	ta, ok := bound.(*net.TCPAddr)
	if !ok || !ta.IP.IsUnspecified() {
		return bound.String()
	}
	host := "127.0.0.1"
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if ipn, ok := a.(*net.IPNet); ok && ipn.IP.IsGlobalUnicast() && ipn.IP.To4() != nil {
			host = ipn.IP.String()
			break
		}
	}
	return net.JoinHostPort(host, strconv.Itoa(ta.Port))
}

func makeFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("the data folder cannot be made: give a folder that this user can write: %w", err)
	}
	return nil
}

// LockFolder takes a folder that holds the data folders of nodes, for a program that runs several. It is made
// when absent, and given back when the result is closed or the process ends. The error names the process that has it.
func LockFolder(dir string) (io.Closer, error) { return lockFolder(dir) }

// lockFolder takes the data folder for this process, until the result is closed or the process ends.
func lockFolder(dir string) (io.Closer, error) {
	if err := makeFolder(dir); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the data folder cannot be written: give a folder that this user can write: %w", err)
	}
	if err := lockFile(f); err != nil {
		text, _ := io.ReadAll(io.LimitReader(f, 32))
		_ = f.Close()
		return nil, fmt.Errorf("the data folder %s is in use by another server (process %s): stop that one, or give this one a folder of its own: %w",
			dir, strings.TrimSpace(string(text)), err)
	}
	if err := errors.Join(f.Truncate(0), func() error { _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); return err }()); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("the data folder cannot be written: %w", err)
	}
	return f, nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the data folder cannot be written: %w", err)
	}
	return nil
}

// writeSynced writes a file (0600) so that a crash leaves all of it or nothing.
func writeSynced(path string, data []byte) error {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("the data folder cannot be written: %w", err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return fmt.Errorf("the data folder cannot be written: %w", err)
	}
	return nil
}
