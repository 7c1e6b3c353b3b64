// Package agenttest is an orchestrator of a few lines for tests of the agent: a real hub with real TLS,
// one organization, tokens, orders, receipts. It remembers what it was told, and forgets nothing.
package agenttest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/muster-hq/muster/dispatch/bus"
	"github.com/muster-hq/muster/dispatch/hub"
	"github.com/muster-hq/muster/dispatch/wire"
	"github.com/muster-hq/muster/internal/freeport"
)

// Orchestrator is one organization and its hub.
type Orchestrator struct {
	URL   string          // of the hub, amqps://
	Token wire.EnrolToken // good for any number of enrolments

	t       testing.TB
	key     ed25519.PrivateKey
	trusted string // address of the hub's own door
	begin   func() // starts a hub

	mu       sync.Mutex
	hub      *hub.Hub
	refuse   string // why enrolments are refused; "" welcomes
	mute     bool   // no receipts
	agents   map[string]ed25519.PublicKey
	names    map[string]string
	replies  map[string]map[int]wire.Reply // by order
	alerts   []wire.Alert
	presence []wire.Presence
	session  *bus.Session
}

// Start makes an orchestrator that works until the test ends. Each of adjust may change its hub, for
// example make it lose messages.
func Start(t testing.TB, adjust ...func(*hub.Config)) *Orchestrator {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	seed := make([]byte, ed25519.SeedSize)
	if _, err := rand.Read(seed); err != nil {
		t.Fatal(err)
	}
	chain, ca := certificates(t)
	sum := sha256.Sum256(ca)
	o := &Orchestrator{
		t: t, key: key, agents: map[string]ed25519.PublicKey{}, names: map[string]string{}, replies: map[string]map[int]wire.Reply{},
		Token: wire.EnrolToken{ID: hex.EncodeToString(seed[:8]), Seed: seed, CA: hex.EncodeToString(sum[:]),
			Key: key.Public().(ed25519.PublicKey), Organization: "Acme", Environment: "Test"},
	}
	cfg := hub.Config{Auth: bus.NewPolicy(o, bus.PolicyOptions{})}
	for _, f := range adjust {
		f(&cfg)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	ports, err := freeport.Take("127.0.0.1", 2) // they are bound again when the orchestrator is back
	if err != nil {
		t.Fatal(err)
	}
	outer, inner := net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0])), net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[1]))
	o.begin = func() {
		h := hub.New(cfg)
		o.mu.Lock()
		o.hub = h
		o.mu.Unlock()
		out, in := listen(t, outer), listen(t, inner)
		outer, inner = out.Addr().String(), in.Addr().String()
		wg.Go(func() { _ = h.Serve(ctx, out, &tls.Config{Certificates: []tls.Certificate{chain}}) })
		wg.Go(func() { _ = h.ServeTrusted(ctx, in) })
	}
	o.begin()
	o.URL, o.trusted = "amqps://"+outer, inner
	conn, err := bus.New(bus.Config{URLs: []string{"amqp://orchestrator:x@" + o.trusted}, MinBackoff: 10 * time.Millisecond, MaxBackoff: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{}, 1)
	wg.Go(func() {
		_ = conn.Run(ctx, func(ctx context.Context, s *bus.Session) error { return o.work(ctx, s, ready) })
	})
	t.Cleanup(func() {
		cancel()
		_ = o.current().Close()
		wg.Wait()
	})
	select {
	case <-ready:
	case <-time.After(60 * time.Second):
		t.Fatal("the orchestrator of the test did not come up")
	}
	return o
}

func (o *Orchestrator) current() *hub.Hub {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.hub
}

// Restart kills the hub with all that lies in its queues, and starts an empty one at the same addresses. It returns
// when the orchestrator is back on it.
func (o *Orchestrator) Restart() {
	o.t.Helper()
	o.mu.Lock()
	old := o.session
	o.mu.Unlock()
	o.current().Kill()
	o.begin()
	Wait(o.t, "the orchestrator on the hub that came back", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.session != old
	})
}

func listen(t testing.TB, addr string) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// AgentKey implements bus.Keys.
func (o *Orchestrator) AgentKey(_ context.Context, id string) (ed25519.PublicKey, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if k, ok := o.agents[id]; ok {
		return k, nil
	}
	return nil, bus.ErrNoKey
}

// TokenKey implements bus.Keys.
func (o *Orchestrator) TokenKey(_ context.Context, id string) (ed25519.PublicKey, error) {
	if id != o.Token.ID {
		return nil, bus.ErrNoKey
	}
	return o.Token.PrivateKey().Public().(ed25519.PublicKey), nil
}

// Refuse makes every enrolment from now on be refused for this reason; "" welcomes again.
func (o *Orchestrator) Refuse(reason string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refuse = reason
}

// Mute stops or starts the receipts.
func (o *Orchestrator) Mute(mute bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mute = mute
}

// Disconnect cuts the connections of an agent, as a load balancer may.
func (o *Orchestrator) Disconnect(agent string) int {
	return o.current().Disconnect(bus.AgentUser(agent))
}

// TokenFile writes the token into a file of the test and returns its path.
func (o *Orchestrator) TokenFile() string {
	o.t.Helper()
	path := filepath.Join(o.t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(o.Token.String()+"\n"), 0o600); err != nil {
		o.t.Fatal(err)
	}
	return path
}

// work is one connection to the hub.
func (o *Orchestrator) work(ctx context.Context, s *bus.Session, ready chan struct{}) error {
	if err := bus.Declare(ctx, s); err != nil {
		return err
	}
	o.mu.Lock()
	known := slices.Collect(maps.Keys(o.agents))
	o.mu.Unlock()
	for _, id := range known { // an empty hub has lost them
		if err := bus.DeclareAgent(ctx, s, id); err != nil {
			return err
		}
	}
	queues := map[string]func(context.Context, *bus.Session, bus.Delivery) error{
		bus.QueueEnrolments: o.onEnrol, bus.QueueReplies: o.onMessage, bus.QueuePresence: o.onMessage,
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for queue, handle := range queues {
		from, err := s.Consume(ctx, queue, 64)
		if err != nil {
			return err
		}
		wg.Go(func() {
			for d := range from {
				if err := handle(ctx, s, d); err != nil && ctx.Err() == nil {
					o.t.Errorf("the orchestrator of the test: %v", err)
				}
				_ = d.Ack() // the connection may have ended
			}
		})
	}
	o.mu.Lock()
	o.session = s
	o.mu.Unlock()
	select {
	case ready <- struct{}{}:
	default: // another connection, to a hub that came back
	}
	<-ctx.Done()
	return ctx.Err()
}

func (o *Orchestrator) onEnrol(ctx context.Context, s *bus.Session, d bus.Delivery) error {
	e, err := wire.OpenEnrol(d.Body, o.Token.PrivateKey().Public().(ed25519.PublicKey))
	if err != nil {
		return fmt.Errorf("enrolment: %w", err)
	}
	o.mu.Lock()
	refuse := o.refuse
	if refuse == "" {
		o.agents[e.Agent], o.names[e.Agent] = e.Key, e.Name
	}
	o.mu.Unlock()
	var answer []byte
	if refuse != "" {
		answer, err = wire.Sign(wire.KindRefusal, o.key, wire.Refusal{Agent: e.Agent, Reason: refuse})
	} else {
		if err := bus.DeclareAgent(ctx, s, e.Agent); err != nil {
			return err
		}
		answer, err = wire.Sign(wire.KindWelcome, o.key, wire.Welcome{
			Agent: e.Agent, Organization: o.Token.Organization, Environment: o.Token.Environment, Host: e.Name, Key: o.Token.Key, Epoch: 1,
		})
	}
	if err != nil {
		return err
	}
	_ = s.Publish(ctx, "", e.ReplyTo, true, answer) // the newcomer may have gone; it asks again
	return nil
}

// onMessage keeps what an agent says, and confirms it.
func (o *Orchestrator) onMessage(ctx context.Context, s *bus.Session, d bus.Delivery) error {
	id, talk, ok := bus.ParseAgentKey(d.Key)
	o.mu.Lock()
	pub := o.agents[id]
	o.mu.Unlock()
	if !ok || pub == nil {
		return fmt.Errorf("a message by the key %q", d.Key)
	}
	var sequence uint64
	switch talk {
	case bus.TalkReply:
		var r wire.Reply
		if err := wire.Open(d.Body, wire.KindReply, pub, &r); err != nil {
			return err
		}
		o.keep(r)
		sequence = r.Sequence
	case bus.TalkAlert:
		var a wire.Alert
		if err := wire.Open(d.Body, wire.KindAlert, pub, &a); err != nil {
			return err
		}
		o.mu.Lock()
		o.alerts = append(o.alerts, a)
		o.mu.Unlock()
		sequence = a.Sequence
	case bus.TalkPresence:
		var p wire.Presence
		if err := wire.Open(d.Body, wire.KindPresence, pub, &p); err != nil {
			return err
		}
		o.mu.Lock()
		o.presence = append(o.presence, p)
		o.mu.Unlock()
		return nil
	}
	o.mu.Lock()
	mute := o.mute
	o.mu.Unlock()
	if mute {
		return nil
	}
	return o.publish(ctx, id, wire.KindReceipt, wire.Receipt{Agent: id, Sequences: []uint64{sequence}})
}

func (o *Orchestrator) keep(r wire.Reply) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.replies[r.Order] == nil {
		o.replies[r.Order] = map[int]wire.Reply{}
	}
	if old, ok := o.replies[r.Order][r.Step]; ok && (old.Sequence != r.Sequence || old.Status != r.Status) {
		o.t.Errorf("step %d of %s was told as %s (%d) and then as %s (%d)", r.Step, r.Order, old.Status, old.Sequence, r.Status, r.Sequence)
	}
	o.replies[r.Order][r.Step] = r
}

func (o *Orchestrator) publish(ctx context.Context, agent string, kind wire.Kind, body any) error {
	data, err := wire.Sign(kind, o.key, body)
	if err != nil {
		return err
	}
	o.mu.Lock()
	s := o.session
	o.mu.Unlock()
	return s.Publish(ctx, bus.ExchangeOrders, agent, false, data)
}
