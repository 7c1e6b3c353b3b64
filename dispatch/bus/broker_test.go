package bus_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/muster-hq/muster/dispatch/bus"
	"github.com/muster-hq/muster/dispatch/bus/rabbitauth"
	"github.com/muster-hq/muster/dispatch/bus/rabbittest"
	"github.com/muster-hq/muster/dispatch/hub"
	"github.com/muster-hq/muster/dispatch/wire"
)

// broker is what the suite runs against.
type broker struct {
	rabbit     bool
	agentURL   string // logins with statements
	trustedURL string // the orchestrator
	keys       *keys
	policy     *bus.Policy
	disconnect func(t *testing.T, user string)
}

// keys is a bus.Keys of agents and tokens that tests add.
type keys struct {
	mu     sync.Mutex
	agents map[string]ed25519.PublicKey
	tokens map[string]ed25519.PublicKey
	down   bool
}

func newKeys() *keys {
	return &keys{agents: make(map[string]ed25519.PublicKey), tokens: make(map[string]ed25519.PublicKey)}
}

func (k *keys) find(m map[string]ed25519.PublicKey, id string) (ed25519.PublicKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.down {
		return nil, errors.New("no leader")
	}
	if key, ok := m[id]; ok {
		return key, nil
	}
	return nil, fmt.Errorf("%q: %w", id, bus.ErrNoKey)
}

func (k *keys) AgentKey(_ context.Context, id string) (ed25519.PublicKey, error) {
	return k.find(k.agents, id)
}

func (k *keys) TokenKey(_ context.Context, id string) (ed25519.PublicKey, error) {
	return k.find(k.tokens, id)
}

// agent is someone who can log in.
type agent struct {
	id, user string
	key      ed25519.PrivateKey
	counter  atomic.Uint64
}

func (b *broker) newAgent(t testing.TB, id string) *agent {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	b.keys.mu.Lock()
	b.keys.agents[id] = pub
	b.keys.mu.Unlock()
	return &agent{id: id, user: bus.AgentUser(id), key: key}
}

func (b *broker) newToken(t testing.TB, id string) *agent {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	b.keys.mu.Lock()
	b.keys.tokens[id] = pub
	b.keys.mu.Unlock()
	return &agent{id: id, user: bus.NewcomerUser(id), key: key}
}

func (a *agent) login(context.Context) (string, string, error) {
	password, err := wire.SignLogin(a.user, a.counter.Add(1), time.Now(), a.key)
	return a.user, password, err
}

// dial connects as the agent.
func (b *broker) dial(t testing.TB, a *agent) *bus.Session {
	t.Helper()
	return b.connect(t, bus.Config{URLs: []string{b.agentURL}, Login: a.login})
}

// orchestrator connects as the orchestrator, with the bus declared.
func (b *broker) orchestrator(t testing.TB) *bus.Session {
	t.Helper()
	s := b.connect(t, bus.Config{URLs: []string{b.trustedURL}})
	if err := bus.Declare(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	return s
}

func (b *broker) connect(t testing.TB, cfg bus.Config) *bus.Session {
	t.Helper()
	c, err := bus.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// raw connects with the bare library.
func (b *broker) raw(t testing.TB, a *agent) *amqp.Connection {
	t.Helper()
	url, sasl := b.trustedURL, []amqp.Authentication(nil)
	if a != nil {
		user, password, err := a.login(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		url, sasl = b.agentURL, []amqp.Authentication{&amqp.PlainAuth{Username: user, Password: password}}
	}
	c, err := amqp.DialConfig(url, amqp.Config{SASL: sasl, Locale: "en_US"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func rawChannel(t testing.TB, c *amqp.Connection) *amqp.Channel {
	t.Helper()
	ch, err := c.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// newHubBroker starts a hub with a port for agents and one for the orchestrator.
func newHubBroker(t testing.TB, change func(*hub.Config)) (*broker, *hub.Hub) {
	t.Helper()
	b := &broker{keys: newKeys()}
	b.policy = bus.NewPolicy(b.keys, bus.PolicyOptions{})
	cfg := hub.Config{Auth: b.policy}
	if change != nil {
		change(&cfg)
	}
	h := hub.New(cfg)
	agents, trusted := listen(t), listen(t)
	var wg sync.WaitGroup
	wg.Go(func() { _ = h.Serve(context.Background(), agents, nil) })
	wg.Go(func() { _ = h.ServeTrusted(context.Background(), trusted) })
	t.Cleanup(func() {
		_ = h.Close()
		wg.Wait()
	})
	b.agentURL = "amqp://" + agents.Addr().String()
	b.trustedURL = "amqp://any:thing@" + trusted.Addr().String()
	b.disconnect = func(t *testing.T, user string) {
		if n := h.Disconnect(user); n != 1 {
			t.Errorf("%d connections of %s", n, user)
		}
	}
	return b, h
}

func newRabbitBroker(t testing.TB) *broker {
	t.Helper()
	b := &broker{rabbit: true, keys: newKeys()}
	b.policy = bus.NewPolicy(b.keys, bus.PolicyOptions{})
	r := rabbittest.Start(t, rabbitauth.Handler(b.policy, nil))
	b.agentURL, b.trustedURL = r.AgentURL, r.URL
	b.disconnect = func(t *testing.T, user string) {
		r.Ctl(t, "close_all_user_connections", user, "revoked")
	}
	return b
}

// The same suite, both brokers.

func TestHub(t *testing.T) {
	b, _ := newHubBroker(t, nil)
	suite(t, b)
}

func TestRabbitMQ(t *testing.T) {
	suite(t, newRabbitBroker(t))
}

func suite(t *testing.T, b *broker) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, *broker)
	}{
		{"Orders", testOrders}, {"Talk", testTalk}, {"Enrolment", testEnrolment}, {"Permissions", testPermissions},
		{"TopicPermissions", testTopicPermissions}, {"NewcomerPermissions", testNewcomerPermissions},
		{"Login", testLogin}, {"ForgedUser", testForgedUser}, {"Returned", testReturned}, {"Requeue", testRequeue},
		{"Prefetch", testPrefetch}, {"Declaring", testDeclaring}, {"Bounds", testBounds}, {"Exclusive", testExclusive},
		{"Topics", testTopics}, {"GetPurgeDelete", testGetPurgeDelete}, {"Large", testLarge}, {"Concurrent", testConcurrent},
		{"Supervised", testSupervised}, {"Nack", testNack}, {"Acks", testAcks}, {"Properties", testProperties},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, b) })
	}
}

// receive waits for one message.
func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v, ok := <-from:
		if !ok {
			t.Fatal("the channel is closed")
		}
		return v
	case <-time.After(60 * time.Second):
		t.Fatal("nothing came in 60 s")
	}
	panic("unreachable")
}

// silence checks that nothing comes for a moment.
func silence[T any](t *testing.T, from <-chan T) {
	t.Helper()
	select {
	case v, ok := <-from:
		if ok {
			t.Fatalf("unexpected: %+v", v)
		}
	case <-time.After(100 * time.Millisecond):
	}
}

// eventually polls a condition.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(60 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 60 s: %s", what)
		}
	}
}

func wantCode(t *testing.T, err error, code int) {
	t.Helper()
	var e *amqp.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("error = %v, want code %d", err, code)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func testOrders(t *testing.T, b *broker) {
	o, a := b.orchestrator(t), b.newAgent(t, "orders1")
	must(t, bus.DeclareAgent(t.Context(), o, a.id))
	must(t, bus.DeclareAgent(t.Context(), o, a.id)) // idempotent
	must(t, o.Publish(t.Context(), bus.ExchangeOrders, a.id, true, []byte("before it came")))
	s := b.dial(t, a)
	orders, err := s.Consume(t.Context(), bus.AgentQueue(a.id), 4)
	must(t, err)
	must(t, o.Publish(t.Context(), bus.ExchangeOrders, a.id, true, []byte("while it is there")))
	for _, want := range []string{"before it came", "while it is there"} {
		d := receive(t, orders)
		if string(d.Body) != want || d.Exchange != bus.ExchangeOrders || d.Key != a.id || d.Redelivered {
			t.Errorf("got %+v, want %q", d, want)
		}
		must(t, d.Ack())
	}
	must(t, bus.DeleteAgent(t.Context(), o, a.id))
	must(t, bus.DeleteAgent(t.Context(), o, a.id))
	if err := o.Publish(t.Context(), bus.ExchangeOrders, a.id, true, []byte("x")); !errors.Is(err, bus.ErrReturned) {
		t.Errorf("after DeleteAgent: %v", err)
	}
	if err := bus.DeclareAgent(t.Context(), o, "a.b"); err == nil {
		t.Error("an id with a dot was declared")
	}
}

func testTalk(t *testing.T, b *broker) {
	o, a := b.orchestrator(t), b.newAgent(t, "talk1")
	s := b.dial(t, a)
	replies, err := o.Consume(t.Context(), bus.QueueReplies, 10)
	must(t, err)
	presence, err := o.Consume(t.Context(), bus.QueuePresence, 10)
	must(t, err)
	for _, talk := range []bus.Talk{bus.TalkReply, bus.TalkAlert, bus.TalkFact} {
		key := bus.AgentKey(a.id, talk)
		must(t, s.Publish(t.Context(), bus.ExchangeAgents, key, true, []byte(talk)))
		d := receive(t, replies)
		if string(d.Body) != string(talk) || d.Key != key || d.User != a.user {
			t.Errorf("got %+v", d)
		}
		must(t, d.Ack())
	}
	must(t, s.Publish(t.Context(), bus.ExchangeAgents, bus.AgentKey(a.id, bus.TalkPresence), true, []byte("p")))
	d := receive(t, presence)
	if id, talk, ok := bus.ParseAgentKey(d.Key); !ok || id != a.id || talk != bus.TalkPresence {
		t.Errorf("key %q", d.Key)
	}
	must(t, d.Ack())
	silence(t, replies)
}

func testEnrolment(t *testing.T, b *broker) {
	o, token := b.orchestrator(t), b.newToken(t, "tok1")
	enrolments, err := o.Consume(t.Context(), bus.QueueEnrolments, 1)
	must(t, err)
	first, second := b.dial(t, token), b.dial(t, token) // many machines may hold one token
	for i, s := range []*bus.Session{first, second} {
		queue, err := bus.DeclareNewcomer(t.Context(), s, token.id, fmt.Sprintf("a%d", i))
		must(t, err)
		answers, err := s.Consume(t.Context(), queue, 1)
		must(t, err)
		must(t, s.Publish(t.Context(), bus.ExchangeEnrol, bus.KeyEnrol, true, []byte(queue)))
		d := receive(t, enrolments)
		must(t, o.Publish(t.Context(), "", string(d.Body), true, []byte("welcome")))
		must(t, d.Ack())
		answer := receive(t, answers)
		if string(answer.Body) != "welcome" {
			t.Errorf("got %q", answer.Body)
		}
		must(t, answer.Ack())
	}
	must(t, first.Close())
	eventually(t, "the newcomer's queue goes with it", func() bool {
		return errors.Is(o.Publish(t.Context(), "", bus.NewcomerQueue(token.id, "a0"), true, nil), bus.ErrReturned)
	})
}

func testReturned(t *testing.T, b *broker) {
	o := b.orchestrator(t)
	if err := o.Publish(t.Context(), bus.ExchangeOrders, "nobody", true, []byte("x")); !errors.Is(err, bus.ErrReturned) {
		t.Errorf("mandatory: %v", err)
	}
	if err := o.Publish(t.Context(), bus.ExchangeOrders, "nobody", false, []byte("x")); err != nil {
		t.Errorf("not mandatory: %v", err)
	}
	if err := o.Publish(t.Context(), "no.such.exchange", "k", true, []byte("x")); !bus.IsNotFound(err) {
		t.Errorf("no exchange: %v", err)
	}
	// The session survives the end of the channel.
	must(t, bus.DeclareAgent(t.Context(), o, "returned1"))
	must(t, o.Publish(t.Context(), bus.ExchangeOrders, "returned1", true, []byte("x")))
	if _, err := o.Consume(t.Context(), "no.such.queue", 1); !bus.IsNotFound(err) {
		t.Errorf("no queue: %v", err)
	}
}

func testLarge(t *testing.T, b *broker) {
	o := b.orchestrator(t)
	must(t, bus.DeclareAgent(t.Context(), o, "large1"))
	from, err := o.Consume(t.Context(), bus.AgentQueue("large1"), 1)
	must(t, err)
	for _, size := range []int{0, 1, 128<<10 - 8, 128<<10 - 7, 5 << 20} {
		body := bytes.Repeat([]byte{0xCE, 1, 2}, size/3+1)[:size]
		must(t, o.Publish(t.Context(), bus.ExchangeOrders, "large1", true, body))
		d := receive(t, from)
		if !bytes.Equal(d.Body, body) {
			t.Errorf("%d octets became %d", size, len(d.Body))
		}
		must(t, d.Ack())
	}
}

func testConcurrent(t *testing.T, b *broker) {
	o := b.orchestrator(t)
	must(t, bus.DeclareAgent(t.Context(), o, "conc1"))
	from, err := o.Consume(t.Context(), bus.AgentQueue("conc1"), 10)
	must(t, err)
	const publishers, each = 8, 50
	room := make(chan struct{}, 40) // fewer on their way than the queue holds: it drops its oldest beyond 64
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range each {
				// Each second message has no taker: returns must find their own publisher.
				key, want := "conc1", error(nil)
				if i%2 == 1 {
					key, want = "nobody", bus.ErrReturned
				} else {
					room <- struct{}{}
				}
				if err := o.Publish(t.Context(), bus.ExchangeOrders, key, true, fmt.Appendf(nil, "%d-%d", p, i)); !errors.Is(err, want) {
					t.Errorf("publish %d-%d: %v, want %v", p, i, err, want)
				}
			}
		})
	}
	seen := make(map[string]bool)
	for range publishers * each / 2 {
		d := receive(t, from)
		seen[string(d.Body)] = true
		must(t, d.Ack())
		<-room
	}
	wg.Wait()
	if len(seen) != publishers*each/2 {
		t.Errorf("%d different messages", len(seen))
	}
}

func testSupervised(t *testing.T, b *broker) {
	a := b.newAgent(t, "super1")
	c, err := bus.New(bus.Config{
		URLs: []string{"amqp://127.0.0.1:1", b.agentURL}, Login: a.login, // nobody listens at the first
		MinBackoff: time.Millisecond, MaxBackoff: 100 * time.Millisecond,
	})
	must(t, err)
	sessions := make(chan *bus.Session, 100)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		ended <- c.Run(ctx, func(ctx context.Context, s *bus.Session) error {
			sessions <- s
			<-ctx.Done()
			return ctx.Err()
		})
	}()
	first := receive(t, sessions)
	if b.rabbit { // its management database lags behind
		eventually(t, "closed", func() bool { b.disconnect(t, a.user); return first.Err() != nil })
	} else {
		b.disconnect(t, a.user)
	}
	second := receive(t, sessions)
	for b.rabbit && second.Err() != nil { // the broker was asked once more before the first one's end was seen
		second = receive(t, sessions)
	}
	if first.Err() == nil || second.Err() != nil {
		t.Errorf("first: %v, second: %v", first.Err(), second.Err())
	}
	var e *amqp.Error
	if !errors.As(first.Err(), &e) || e.Code != 320 {
		t.Errorf("first ended with %v", first.Err())
	}
	cancel()
	if err := receive(t, ended); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v", err)
	}
}

// fixed always gives the same user and password.
func fixed(user, password string) func(context.Context) (string, string, error) {
	return func(context.Context) (string, string, error) { return user, password, nil }
}
