// Package gossip wraps memberlist: who is there, as a stream of events. It decides nothing: an event is a
// suggestion to look, and a missed one costs time, never correctness.
package gossip

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// Meta is what a node tells of itself. Its JSON must stay below memberlist's 512 bytes.
type Meta struct {
	Cluster     string `json:"c"`           // the cluster's id; nodes of another are not listed
	ClusterAddr string `json:"a"`           // host:port of the cluster port
	APIAddr     string `json:"h,omitempty"` // host:port of the API
	Version     string `json:"v,omitempty"`
}

// Member is a node that gossip holds for alive.
type Member struct {
	Name       string
	GossipAddr string
	Meta
}

// Event is a change in who is there.
type Event struct {
	Member Member
	Gone   bool // failed or left; else joined or changed
}

// Config says where and as whom to gossip.
type Config struct {
	Name      string
	Bind      string // host:port; port 0 takes a free one
	Advertise string // host:port that others use; "" is Bind
	Key       []byte // 32 bytes: all packets are encrypted with it; see SetKeys
	Meta      Meta
	Log       *slog.Logger
}

// Gossip is a running member. It is safe for concurrent use.
type Gossip struct {
	list   *memberlist.Memberlist
	keys   *memberlist.Keyring // nil without encryption
	lines  *logWriter
	meta   []byte
	id     string
	events chan Event
	done   chan struct{}

	mu      sync.Mutex
	alive   map[string]Member // what memberlist told: the nodes that it lists are its own to change
	pending []Event
	wake    chan struct{}
	once    sync.Once
	wg      sync.WaitGroup
}

// Start opens the port (UDP and TCP) and begins to listen. It contacts nobody before Join.
func Start(cfg Config) (*Gossip, error) {
	meta, err := json.Marshal(cfg.Meta)
	if err != nil {
		return nil, fmt.Errorf("encoding the gossip metadata: %w", err)
	}
	if len(meta) > memberlist.MetaMaxSize {
		return nil, fmt.Errorf("addresses are too long for gossip: %d bytes of at most %d", len(meta), memberlist.MetaMaxSize)
	}
	g := &Gossip{meta: meta, id: cfg.Meta.Cluster, events: make(chan Event), done: make(chan struct{}), wake: make(chan struct{}, 1), alive: map[string]Member{}}
	mc := memberlist.DefaultLANConfig()
	if mc.BindAddr, mc.BindPort, err = split(cfg.Bind); err != nil {
		return nil, fmt.Errorf("gossip address %q: %w", cfg.Bind, err)
	}
	mc.AdvertisePort = mc.BindPort
	if cfg.Advertise != "" {
		host, port, err := split(cfg.Advertise)
		if err != nil {
			return nil, fmt.Errorf("advertised gossip address %q: %w", cfg.Advertise, err)
		}
		ip, err := net.ResolveIPAddr("ip", host)
		if err != nil {
			return nil, fmt.Errorf("advertised gossip address %q: %w", cfg.Advertise, err)
		}
		mc.AdvertiseAddr, mc.AdvertisePort = ip.String(), port
	}
	mc.Name = cfg.Name
	mc.SecretKey = cfg.Key
	if len(cfg.Key) > 0 {
		if g.keys, err = memberlist.NewKeyring(nil, cfg.Key); err != nil {
			return nil, fmt.Errorf("the gossip key: %w", err)
		}
		mc.Keyring = g.keys
	}
	mc.Label = cfg.Meta.Cluster
	mc.Events = g
	mc.Delegate = g
	mc.DeadNodeReclaimTime = time.Second // else a node that comes back at another address is refused for good
	logger := cfg.Log
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	mc.LogOutput = nil
	g.lines = &logWriter{log: logger}
	mc.Logger = log.New(g.lines, "", 0)
	g.list, err = memberlist.Create(mc)
	if err != nil {
		return nil, fmt.Errorf("opening the gossip port %s: %w", cfg.Bind, err)
	}
	g.wg.Add(1)
	go g.pump()
	return g, nil
}

func split(addr string) (string, int, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("port %q is not a number below 65536", port)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	return host, int(n), nil
}

// Addr is the address that others use, host:port.
func (g *Gossip) Addr() string { return g.list.LocalNode().Address() }

// Join contacts the given gossip addresses; an error only when none of them answered.
func (g *Gossip) Join(addrs []string) error {
	if n, err := g.list.Join(addrs); n == 0 && err != nil {
		return fmt.Errorf("joining the gossip: %w", err)
	}
	return nil
}

// SetKeys makes the first of the keys the one to encrypt with, and all of them those to decrypt with.
func (g *Gossip) SetKeys(keys [][]byte) error {
	if g.keys == nil || len(keys) == 0 {
		return errors.New("the gossip is not encrypted, or no key is given")
	}
	for _, k := range keys {
		if err := g.keys.AddKey(k); err != nil {
			return fmt.Errorf("a gossip key: %w", err)
		}
	}
	if err := g.keys.UseKey(keys[0]); err != nil {
		return fmt.Errorf("a gossip key: %w", err)
	}
	for _, old := range g.keys.GetKeys() {
		if !slices.ContainsFunc(keys, func(k []byte) bool { return bytes.Equal(k, old) }) {
			if err := g.keys.RemoveKey(old); err != nil {
				return fmt.Errorf("a gossip key: %w", err)
			}
		}
	}
	return nil
}

// Members lists who is held for alive, oneself included, by name.
func (g *Gossip) Members() []Member {
	g.mu.Lock()
	out := slices.Collect(maps.Values(g.alive))
	g.mu.Unlock()
	slices.SortFunc(out, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Events delivers every change after Start, in order; closed by Close. A slow reader delays nobody.
func (g *Gossip) Events() <-chan Event { return g.events }

// Close leaves the gossip (so that others do not wait for a failure to show) and closes the port.
func (g *Gossip) Close(leave time.Duration) error {
	var err error
	g.once.Do(func() {
		if leave > 0 {
			err = g.list.Leave(leave)
		}
		if e := g.list.Shutdown(); e != nil && err == nil {
			err = e
		}
		close(g.done)
		g.wg.Wait()
		g.lines.stop()
	})
	return err
}

func (g *Gossip) member(n *memberlist.Node) (Member, bool) {
	meta, err := decodeMeta(n.Meta)
	if err != nil || meta.Cluster != g.id {
		return Member{}, false
	}
	return Member{Name: n.Name, GossipAddr: n.Address(), Meta: meta}, true
}

func decodeMeta(b []byte) (Meta, error) {
	var m Meta
	if err := json.Unmarshal(b, &m); err != nil {
		return Meta{}, fmt.Errorf("gossip metadata: %w", err)
	}
	if _, _, err := net.SplitHostPort(m.ClusterAddr); err != nil {
		return Meta{}, fmt.Errorf("gossip metadata: cluster address: %w", err)
	}
	return m, nil
}

// note runs on memberlist's own goroutines, which it must not hold up; they hold its lock meanwhile, so that n stands still.
func (g *Gossip) note(n *memberlist.Node, gone bool) {
	m, ok := g.member(n)
	g.mu.Lock()
	if gone || !ok {
		delete(g.alive, n.Name)
	} else {
		g.alive[n.Name] = m
	}
	if !ok {
		g.mu.Unlock()
		return
	}
	g.pending = append(g.pending, Event{Member: m, Gone: gone})
	g.mu.Unlock()
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

func (g *Gossip) pump() {
	defer g.wg.Done()
	defer close(g.events)
	for {
		g.mu.Lock()
		batch := g.pending
		g.pending = nil
		g.mu.Unlock()
		for _, e := range batch {
			select {
			case g.events <- e:
			case <-g.done:
				return
			}
		}
		select {
		case <-g.wake:
		case <-g.done:
			return
		}
	}
}

// NotifyJoin is memberlist's.
func (g *Gossip) NotifyJoin(n *memberlist.Node) { g.note(n, false) }

// NotifyUpdate is memberlist's.
func (g *Gossip) NotifyUpdate(n *memberlist.Node) { g.note(n, false) }

// NotifyLeave is memberlist's.
func (g *Gossip) NotifyLeave(n *memberlist.Node) { g.note(n, true) }

// NodeMeta is memberlist's: what this node tells of itself.
func (g *Gossip) NodeMeta(int) []byte { return g.meta }

// NotifyMsg is memberlist's; there are no messages of ours.
func (g *Gossip) NotifyMsg([]byte) {}

// GetBroadcasts is memberlist's; there are none.
func (g *Gossip) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState is memberlist's; there is none.
func (g *Gossip) LocalState(bool) []byte { return nil }

// MergeRemoteState is memberlist's; there is none.
func (g *Gossip) MergeRemoteState([]byte, bool) {}

// logWriter turns memberlist's lines into records. Its warnings are about peers and often about strangers.
// Some of its goroutines go on for a moment after its Shutdown: once stopped, nothing is logged any more.
type logWriter struct {
	log *slog.Logger

	mu      sync.Mutex
	stopped bool
	foreign map[string]bool // clusters that were told of
}

var _ io.Writer = (*logWriter)(nil)

// Write logs one line.
func (w *logWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	line := strings.TrimSpace(string(p))
	switch {
	case w.stopped:
	case strings.Contains(line, "unacceptable label"):
		w.stranger(line)
	case strings.HasPrefix(line, "[ERR]"), strings.HasPrefix(line, "[WARN]"):
		w.log.Info("gossip", "said", line)
	default:
		w.log.Debug("gossip", "said", line)
	}
	return len(p), nil
}

// maxForeign bounds how many other clusters are told of: their ids come from strangers.
const maxForeign = 8

// stranger tells once of each other cluster that talks to this port. Nothing of it is taken.
func (w *logWriter) stranger(line string) {
	_, rest, _ := strings.Cut(line, "unacceptable label ")
	id, from, _ := strings.Cut(rest, ": ")
	if w.foreign[id] || len(w.foreign) >= maxForeign {
		w.log.Debug("gossip", "said", line)
		return
	}
	if w.foreign == nil {
		w.foreign = map[string]bool{}
	}
	w.foreign[id] = true
	w.log.Warn("a node of another cluster gossips to this one, and is not listened to: look at its addresses", "cluster", id, "from", from)
}

func (w *logWriter) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
}
