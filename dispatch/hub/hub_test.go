package hub_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/muster-hq/muster/dispatch/bus"
	"github.com/muster-hq/muster/dispatch/hub"
)

// openDoor lets in everybody whose password is "right".
type openDoor struct{}

func (openDoor) Authenticate(_ context.Context, user, password string) (bus.Identity, error) {
	id, ok := bus.ParseUser(user)
	if !ok || password != "right" {
		return bus.Identity{}, fmt.Errorf("%w: wrong password", bus.ErrLogin)
	}
	return id, nil
}

// running is a hub with both its ports.
type running struct {
	*hub.Hub
	agents, trusted string // addresses
	served          chan error
}

func start(t testing.TB, cfg hub.Config, config *tls.Config) *running {
	t.Helper()
	cfg.Auth = openDoor{}
	r := &running{Hub: hub.New(cfg), served: make(chan error, 2)}
	agents, trusted := listen(t), listen(t)
	r.agents, r.trusted = agents.Addr().String(), trusted.Addr().String()
	var wg sync.WaitGroup
	wg.Go(func() { r.served <- r.Serve(context.Background(), agents, config) })
	wg.Go(func() { r.served <- r.ServeTrusted(context.Background(), trusted) })
	t.Cleanup(func() {
		_ = r.Close()
		wg.Wait()
	})
	return r
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	return ln
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
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

func receive[T any](t testing.TB, from <-chan T) T {
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

func dialErr(addr, user string, cfg amqp.Config) (*amqp.Connection, error) {
	cfg.SASL = []amqp.Authentication{&amqp.PlainAuth{Username: user, Password: "right"}}
	cfg.Locale = "en_US"
	scheme := "amqp://"
	if cfg.TLSClientConfig != nil {
		scheme = "amqps://"
	}
	return amqp.DialConfig(scheme+addr, cfg)
}

func dial(t testing.TB, addr, user string) *amqp.Connection {
	t.Helper()
	c, err := dialErr(addr, user, amqp.Config{})
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func channel(t testing.TB, c *amqp.Connection) *amqp.Channel {
	t.Helper()
	ch, err := c.Channel()
	must(t, err)
	return ch
}

// agentQueue declares and binds as the orchestrator does.
func agentQueue(t testing.TB, ch *amqp.Channel, id string) {
	t.Helper()
	must(t, ch.ExchangeDeclare(bus.ExchangeOrders, "direct", true, false, false, false, nil))
	_, err := ch.QueueDeclare(bus.AgentQueue(id), true, false, false, false, nil)
	must(t, err)
	must(t, ch.QueueBind(bus.AgentQueue(id), id, bus.ExchangeOrders, false, nil))
}

func TestConnectedAndDisconnect(t *testing.T) {
	h := start(t, hub.Config{}, nil)
	if h.Connected("agent.1") {
		t.Error("connected before it came")
	}
	c := dial(t, h.agents, "agent.1")
	closed := c.NotifyClose(make(chan *amqp.Error, 1))
	if !h.Connected("agent.1") || h.Connected("agent.10") || h.Stats().Connections != 1 {
		t.Errorf("%+v", h.Stats())
	}
	if n := h.Disconnect("agent.1"); n != 1 {
		t.Errorf("%d disconnected", n)
	}
	if e := receive(t, closed); e.Code != amqp.ConnectionForced {
		t.Errorf("closed with %v", e)
	}
	eventually(t, "gone", func() bool { return !h.Connected("agent.1") && h.Stats().Connections == 0 })
	if n := h.Disconnect("agent.1"); n != 0 {
		t.Errorf("%d disconnected again", n)
	}
}

func TestTrustedIsTheOrchestrator(t *testing.T) {
	h := start(t, hub.Config{}, nil)
	c, err := amqp.Dial("amqp://whoever:whatever@" + h.trusted)
	must(t, err)
	defer func() { _ = c.Close() }()
	agentQueue(t, channel(t, c), "1")
	if !h.Connected(bus.UserOrchestrator) {
		t.Error("the orchestrator is not there")
	}
	if _, err := amqp.Dial("amqp://whoever:whatever@" + h.agents); err == nil {
		t.Error("the port for agents took any password")
	}
}

func TestCloseAndKill(t *testing.T) {
	for name, end := range map[string]func(h *running){
		"close": func(h *running) { _ = h.Close() },
		"kill":  func(h *running) { h.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, hub.Config{}, nil)
			closed := dial(t, h.agents, "agent.1").NotifyClose(make(chan *amqp.Error, 1))
			end(h)
			e := <-closed
			if graceful := e != nil && e.Code == amqp.ConnectionForced; graceful != (name == "close") {
				t.Errorf("closed with %v", e)
			}
			for range 2 {
				if err := receive(t, h.served); !errors.Is(err, hub.ErrClosed) {
					t.Errorf("Serve = %v", err)
				}
			}
			if err := h.Serve(t.Context(), listen(t), nil); !errors.Is(err, hub.ErrClosed) {
				t.Errorf("Serve after the end = %v", err)
			}
			if s := h.Stats(); s.Connections != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	h := hub.New(hub.Config{Auth: openDoor{}})
	ctx, cancel := context.WithCancel(t.Context())
	ln := listen(t)
	served := make(chan error, 1)
	go func() { served <- h.Serve(ctx, ln, nil) }()
	closed := dial(t, ln.Addr().String(), "agent.1").NotifyClose(make(chan *amqp.Error, 1))
	cancel()
	if err := receive(t, served); err != nil {
		t.Errorf("Serve = %v", err)
	}
	if e := receive(t, closed); e.Code != amqp.ConnectionForced {
		t.Errorf("closed with %v", e)
	}
	if err := hub.New(hub.Config{}).Serve(t.Context(), listen(t), nil); err == nil {
		t.Error("served without anybody to ask about logins")
	}
}

// certificate makes a CA and a server certificate for bus.ServerName.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{bus.ServerName}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestTLS(t *testing.T) {
	cert, pool := certificate(t)
	h := start(t, hub.Config{}, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13})
	c, err := dialErr(h.agents, "agent.1", amqp.Config{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: bus.ServerName}})
	must(t, err)
	must(t, c.Close())
	if _, err := dialErr(h.agents, "agent.1", amqp.Config{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "other"}}); err == nil {
		t.Error("another name was taken")
	}
	if _, err := dialErr(h.agents, "agent.1", amqp.Config{Dial: amqp.DefaultDial(time.Minute)}); err == nil {
		t.Error("a connection without TLS was taken")
	}
	eventually(t, "all are gone", func() bool { return h.Stats().Connections == 0 })
}

// TestSlowReader: a peer that does not read costs neither memory without bound nor anybody's time.
func TestSlowReader(t *testing.T) {
	h := start(t, hub.Config{WriteTimeout: 500 * time.Millisecond, MaxQueueBytes: 32 << 20}, nil)
	o := channel(t, dial(t, h.trusted, "o"))
	must(t, o.Confirm(false))
	agentQueue(t, o, "1")
	// The bare minimum of a client, which then reads nothing.
	nc, err := net.Dial("tcp", h.agents)
	must(t, err)
	defer func() { _ = nc.Close() }()
	stuck := &stuckReader{Conn: nc, release: make(chan struct{})}
	defer close(stuck.release)
	c, err := dialErr(h.agents, "agent.1", amqp.Config{Heartbeat: time.Minute, Dial: func(string, string) (net.Conn, error) { return stuck, nil }})
	must(t, err)
	ch := channel(t, c)
	_, err = ch.Consume(bus.AgentQueue("1"), "", true, false, false, false, nil)
	must(t, err)
	stuck.stick()
	body := bytes.Repeat([]byte("x"), 1<<20)
	for range 48 {
		confirm, err := o.PublishWithDeferredConfirmWithContext(t.Context(), bus.ExchangeOrders, "1", false, false, amqp.Publishing{Body: body})
		must(t, err)
		if !confirm.Wait() {
			t.Fatal("not confirmed")
		}
	}
	eventually(t, "the slow reader is dropped", func() bool { return !h.Connected("agent.1") })
	if s := h.Stats(); s.Ready > 32 || s.Dropped == 0 {
		t.Errorf("%+v", s)
	}
}

type stuckReader struct {
	net.Conn
	mu      sync.Mutex
	stuck   bool
	release chan struct{}
}

func (s *stuckReader) stick() {
	s.mu.Lock()
	s.stuck = true
	s.mu.Unlock()
}

func (s *stuckReader) Read(b []byte) (int, error) {
	s.mu.Lock()
	stuck := s.stuck
	s.mu.Unlock()
	if stuck {
		<-s.release
		return 0, io.EOF
	}
	return s.Conn.Read(b)
}

func TestFaults(t *testing.T) {
	var mu sync.Mutex
	var next []time.Duration
	plan := func(d ...time.Duration) {
		mu.Lock()
		next = d
		mu.Unlock()
	}
	h := start(t, hub.Config{Fault: func(string, string) []time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return next
	}}, nil)
	o := channel(t, dial(t, h.trusted, "o"))
	must(t, o.Confirm(false))
	agentQueue(t, o, "1")
	from, err := o.Consume(bus.AgentQueue("1"), "", true, false, false, false, nil)
	must(t, err)
	publish := func(body string) {
		c, err := o.PublishWithDeferredConfirmWithContext(t.Context(), bus.ExchangeOrders, "1", true, false, amqp.Publishing{Body: []byte(body)})
		must(t, err)
		if !c.Wait() {
			t.Error("not confirmed")
		}
	}
	plan()
	publish("lost")
	plan(0, 0)
	publish("twice")
	plan(100 * time.Millisecond)
	publish("late")
	plan(0)
	publish("early")
	var got []string
	for range 4 {
		got = append(got, string(receive(t, from).Body))
	}
	if want := "twice twice early late"; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
