package dispatch_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-hq/muster/dispatch"
	"github.com/muster-hq/muster/dispatch/bus"
	"github.com/muster-hq/muster/dispatch/hub"
	"github.com/muster-hq/muster/dispatch/wire"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
	"github.com/muster-hq/muster/internal/freeport"
)

// within is how long anything in these tests may take.
const within = 60 * time.Second

// rig is a store with one organization, a hub that can be replaced, and a dispatcher over both.
type rig struct {
	t       *testing.T
	ctx     context.Context
	db      *statetest.DB
	store   dispatch.Store // what the dispatcher gets; nil: db
	more    func() []dispatch.Hub
	org     string
	env     string
	key     ed25519.PublicKey
	addr    string // of the hub, the same for each of them
	hub     atomic.Pointer[hub.Hub]
	trusted atomic.Pointer[string] // where the hub takes the orchestrator
	term    uint64
	beats   time.Duration // between heartbeats of agents
	stop    context.CancelFunc
	done    chan error

	dispatcher *dispatch.Dispatcher
}

// nodeStore tells the time as a node does: that of its own state is the last commit's.
type nodeStore struct{ *statetest.DB }

func (s nodeStore) Local() *state.View { return s.Store().View() }

type keys struct{ db *statetest.DB }

func (k keys) AgentKey(_ context.Context, id string) (ed25519.PublicKey, error) {
	return refused(orchestrate.AgentKey(k.db.Local(), id))
}

func (k keys) TokenKey(_ context.Context, id string) (ed25519.PublicKey, error) {
	return refused(orchestrate.TokenKey(k.db.Local(), id))
}

func refused(key ed25519.PublicKey, err error) (ed25519.PublicKey, error) {
	if err != nil {
		return nil, errors.Join(bus.ErrNoKey, err)
	}
	return key, nil
}

func newRig(t *testing.T) *rig {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &rig{t: t, ctx: ctx, db: statetest.New(t, orchestrate.Tables()...), term: 1, beats: 200 * time.Millisecond}
	t.Cleanup(func() { r.stopDispatch(); cancel(); r.hub.Load().Close() })
	r.update(func(tx *state.Tx) error {
		org, err := orchestrate.CreateOrganization(tx, model.Organization{Name: "acme"}, "", false)
		if err != nil {
			return err
		}
		env, err := orchestrate.CreateEnvironment(tx, org.ID, model.Environment{Name: "prod"})
		if err != nil {
			return err
		}
		r.org, r.env = org.ID, env.ID
		return nil
	})
	k, err := orchestrate.SigningKey(r.db.Local(), r.org)
	if err != nil {
		t.Fatal(err)
	}
	r.key = k.Public().(ed25519.PublicKey)
	r.startHub()
	r.startDispatch()
	return r
}

func (r *rig) update(fn func(tx *state.Tx) error) {
	r.t.Helper()
	if err := r.db.Update(r.ctx, fn); err != nil {
		r.t.Fatal(err)
	}
}

// startHub starts an empty hub at the rig's address.
func (r *rig) startHub() {
	r.t.Helper()
	if r.addr == "" {
		ports, err := freeport.Take("127.0.0.1", 1) // later hubs are bound to it again
		if err != nil {
			r.t.Fatal(err)
		}
		r.addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0]))
	}
	ln, err := net.Listen("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.addr = ln.Addr().String()
	h := hub.New(hub.Config{Auth: bus.NewPolicy(keys{r.db}, bus.PolicyOptions{}), Log: slog.New(slog.DiscardHandler)})
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	at := inner.Addr().String()
	r.trusted.Store(&at)
	go h.ServeTrusted(r.ctx, inner)
	r.hub.Store(h)
	go h.Serve(r.ctx, ln, nil)
}

func (r *rig) startDispatch() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.ctx)
	var store dispatch.Store = nodeStore{r.db}
	if r.store != nil {
		store = r.store
	}
	d := dispatch.New(dispatch.Config{
		Term: r.term, Store: store, Log: slog.New(slog.DiscardHandler), HubsEvery: 20 * time.Millisecond,
		Heartbeat: r.beats, RetryFirst: 100 * time.Millisecond, RetryMost: 400 * time.Millisecond,
		Hubs: func() []dispatch.Hub {
			hubs := []dispatch.Hub{r.link("h1", r.dialTrusted)}
			if r.more != nil {
				hubs = append(hubs, r.more()...)
			}
			return hubs
		},
	})
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	r.dispatcher = d
	r.stop, r.done = cancel, done
}

// link is a hub by the way that it is dialled.
func (r *rig) link(name string, dial func(ctx context.Context) (net.Conn, error)) dispatch.Hub {
	return dispatch.Hub{Name: name, Config: bus.Config{
		URLs: []string{"amqp://hub"}, MinBackoff: 10 * time.Millisecond, MaxBackoff: 50 * time.Millisecond,
		Login:   func(context.Context) (string, string, error) { return bus.UserOrchestrator, "", nil },
		NetDial: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
	}}
}

// dialTrusted opens a connection that the hub takes for the orchestrator's.
func (r *rig) dialTrusted(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", *r.trusted.Load())
}

func (r *rig) stopDispatch() {
	if r.stop == nil {
		return
	}
	r.stop()
	select {
	case err := <-r.done:
		if err != nil {
			r.t.Errorf("dispatch ended with %v", err)
		}
	case <-time.After(within):
		r.t.Error("dispatch did not stop")
	}
	r.stop = nil
}

// newTerm ends the dispatcher and starts the next leader's.
func (r *rig) newTerm() {
	r.stopDispatch()
	r.term++
	r.startDispatch()
}

// eventually waits until cond holds.
func (r *rig) eventually(what string, cond func() bool) {
	r.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(within); ; {
		if cond() {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			r.t.Fatalf("waited %s for: %s", within, what)
		}
	}
}

// token makes an enrolment token.
func (r *rig) token(uses int) wire.EnrolToken {
	r.t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed)
	tok := wire.EnrolToken{ID: strings.ToLower(rand.Text()), Seed: seed, Key: r.key, Organization: "acme", Environment: "prod"}
	r.update(func(tx *state.Tx) error {
		_, err := orchestrate.CreateEnrolToken(tx, r.env, tok.ID, tok.PrivateKey().Public().(ed25519.PublicKey), uses, time.Time{}, "test")
		return err
	})
	return tok
}

// FakeAgent speaks an agent's half of the protocol, as slowly and as wrongly as a test wants.
type FakeAgent struct {
	r       *rig
	key     ed25519.PrivateKey
	id      string
	counter atomic.Uint64
}

func (r *rig) agent() *FakeAgent {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	return &FakeAgent{r: r, key: key, id: wire.AgentID(key.Public().(ed25519.PublicKey))}
}

func (a *FakeAgent) dial(user string, key ed25519.PrivateKey) *bus.Session {
	a.r.t.Helper()
	c, err := bus.New(bus.Config{URLs: []string{"amqp://" + a.r.addr}, Log: slog.New(slog.DiscardHandler),
		Login: func(context.Context) (string, string, error) {
			n := uint64(time.Now().UnixNano()) + a.counter.Add(1)
			pw, err := wire.SignLogin(user, n, time.Now(), key)
			return user, pw, err
		}})
	if err != nil {
		a.r.t.Fatal(err)
	}
	var s *bus.Session
	a.r.eventually("a session of "+user, func() bool {
		if s, err = c.Dial(a.r.ctx); err != nil {
			a.r.t.Logf("dial as %s: %v", user, err)
		}
		return err == nil
	})
	a.r.t.Cleanup(func() { s.Close() })
	return s
}

// enrol asks for membership and gives the answer, verified.
func (a *FakeAgent) enrol(tok wire.EnrolToken, name string) (w wire.Welcome, refusal string) {
	t := a.r.t
	t.Helper()
	s := a.dial(bus.NewcomerUser(tok.ID), tok.PrivateKey())
	defer s.Close() // its queue is exclusive: the next try needs the name
	queue, err := bus.DeclareNewcomer(a.r.ctx, s, tok.ID, a.id)
	if err != nil {
		t.Fatal(err)
	}
	answers, err := s.Consume(a.r.ctx, queue, 1)
	if err != nil {
		t.Fatal(err)
	}
	body, err := wire.SignEnrol(tok, a.key, wire.Enrol{Name: name, Exchange: make([]byte, 32), ReplyTo: queue, At: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Publish(a.r.ctx, bus.ExchangeEnrol, bus.KeyEnrol, true, body); err != nil {
		if bus.IsNotFound(err) || errors.Is(err, bus.ErrReturned) { // dispatch has not declared it yet
			s.Close()
			return a.enrol(tok, name)
		}
		t.Fatal(err)
	}
	m := a.next(answers)
	if kind, _ := wire.PeekKind(m.Body); kind == wire.KindRefusal {
		var ref wire.Refusal
		if err := wire.Open(m.Body, wire.KindRefusal, a.r.key, &ref); err != nil {
			t.Fatal(err)
		}
		return w, ref.Reason
	}
	if err := wire.Open(m.Body, wire.KindWelcome, a.r.key, &w); err != nil {
		t.Fatal(err)
	}
	return w, ""
}

func (a *FakeAgent) next(ds <-chan bus.Delivery) bus.Delivery {
	a.r.t.Helper()
	select {
	case m, ok := <-ds:
		if !ok {
			a.r.t.Fatal("the consumer ended")
		}
		if err := m.Ack(); err != nil {
			a.r.t.Fatal(err)
		}
		return m
	case <-time.After(within):
		a.r.t.Fatal("nothing came")
	}
	return bus.Delivery{}
}

// up logs in as the agent and consumes its queue.
func (a *FakeAgent) up() (*bus.Session, <-chan bus.Delivery) {
	a.r.t.Helper()
	s := a.dial(bus.AgentUser(a.id), a.key)
	ds, err := s.Consume(a.r.ctx, bus.AgentQueue(a.id), 10)
	if err != nil {
		a.r.t.Fatal(err)
	}
	return s, ds
}

// order waits for the next order and gives it with its bytes; receipts are passed over.
func (a *FakeAgent) order(ds <-chan bus.Delivery) (wire.Order, []byte) {
	a.r.t.Helper()
	for {
		m := a.next(ds)
		if kind, _ := wire.PeekKind(m.Body); kind != wire.KindOrder {
			continue
		}
		var o wire.Order
		if err := wire.Open(m.Body, wire.KindOrder, a.r.key, &o); err != nil {
			a.r.t.Fatal(err)
		}
		return o, m.Body
	}
}

// receipt waits for the receipt of a sequence; orders are passed over.
func (a *FakeAgent) receipt(ds <-chan bus.Delivery, seq uint64) {
	a.r.t.Helper()
	for {
		m := a.next(ds)
		var rc wire.Receipt
		if wire.Open(m.Body, wire.KindReceipt, a.r.key, &rc) != nil {
			continue
		}
		for _, s := range rc.Sequences {
			if s == seq {
				return
			}
		}
	}
}

func (a *FakeAgent) say(s *bus.Session, kind wire.Kind, talk bus.Talk, body any) {
	a.r.t.Helper()
	b, err := wire.Sign(kind, a.key, body)
	if err != nil {
		a.r.t.Fatal(err)
	}
	if err := s.Publish(a.r.ctx, bus.ExchangeAgents, bus.AgentKey(a.id, talk), true, b); err != nil {
		a.r.t.Fatal(err)
	}
}

// change queues a change of n steps for the agent's host.
func (r *rig) change(a *FakeAgent, n int) string {
	r.t.Helper()
	var id string
	r.update(func(tx *state.Tx) error {
		agent, _ := state.Get[model.Agent](tx, a.id)
		d := orchestrate.Draft{Description: "a change"}
		for i := range n {
			d.Tasks = append(d.Tasks, model.Task{OrderNum: i, Description: "step", Status: model.TaskPending, Collection: "files", Resource: "/x", Verb: "apply"})
		}
		c, err := orchestrate.QueueChange(tx, agent.HostID, d)
		if err == nil {
			id = c.ID
		}
		return err
	})
	return id
}

func (r *rig) get(id string) *model.Change {
	c, _ := state.Get[model.Change](r.db.Local(), id)
	return c
}
