// Package hub is an embedded message broker: real AMQP 0-9-1 with what this project uses of it, in
// memory only, with the one policy of package bus for logins and permissions. It carries development,
// tests and small sites; RabbitMQ takes its place elsewhere, and neither side can tell. See DESIGN.md.
package hub

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/muster-hq/muster/dispatch/bus"
)

// Authenticator judges logins; *bus.Policy is one. An error that wraps bus.ErrLogin is a refusal, any
// other means that nobody could tell; the peer hears 403 for both.
type Authenticator interface {
	Authenticate(ctx context.Context, user, password string) (bus.Identity, error)
}

// Fault decides, for tests, what becomes of a published message, which is confirmed in any case: one
// copy is routed after each of the delays; none means that it is lost. Delays that differ reorder.
type Fault func(exchange, key string) []time.Duration

// Config adjusts a hub. Zero values mean the defaults named.
type Config struct {
	Auth             Authenticator // required for Serve
	Log              *slog.Logger  // nil: nothing is logged
	Heartbeat        time.Duration // asked of peers; 15 s. Silent for two of them, they are gone
	HandshakeTimeout time.Duration // from accept to connection.open; 10 s
	WriteTimeout     time.Duration // a peer that does not read for so long is gone; 20 s
	LoginsPerSecond  float64       // of Serve, all peers together; 200. Above it logins wait, then get 403
	MaxConnections   int           // of Serve, all peers together; 10,000
	MaxPerUser       int           // connections of Serve of one user; agents 8, an enrolment token's 512
	MaxChannels      int           // per connection of Serve; 32. The orchestrator gets 2,047
	MaxQueues        int           // 50,000
	MaxMessage       int           // octets; 20 MiB
	MaxQueueBytes    int           // ready messages of one queue, oldest dropped; 64 MiB
	MaxUnacked       int           // per channel, whatever its prefetch; 4,096
	FrameMax         int           // 128 KiB
	Fault            Fault
}

func (c *Config) defaults() {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	orDefault(&c.Heartbeat, 15*time.Second)
	orDefault(&c.HandshakeTimeout, 10*time.Second)
	orDefault(&c.WriteTimeout, 20*time.Second)
	orDefault(&c.LoginsPerSecond, 200)
	orDefault(&c.MaxConnections, 10_000)
	orDefault(&c.MaxChannels, 32)
	orDefault(&c.MaxQueues, 50_000)
	orDefault(&c.MaxMessage, 20<<20)
	orDefault(&c.MaxQueueBytes, 64<<20)
	orDefault(&c.MaxUnacked, 4096)
	orDefault(&c.FrameMax, 128<<10)
	c.FrameMax = max(c.FrameMax, frameMinMax)
}

func orDefault[T int | float64 | time.Duration](v *T, value T) {
	if *v == 0 {
		*v = value
	}
}

// Stats counts what a hub holds and has done.
type Stats struct {
	Connections, Queues, Consumers int
	Ready, Unacked                 int    // messages
	Published, Delivered           uint64 // since the start, as the next ones
	Returned, Dropped              uint64 // unroutable and mandatory; too old or too many
	LoginsRefused                  uint64
}

// Hub is the broker. It is safe for concurrent use.
type Hub struct {
	cfg    Config
	logins *limiter
	wg     sync.WaitGroup

	mu        sync.Mutex // everything below, and all of queues, exchanges, consumers, channels' windows
	exchanges map[string]*exchange
	queues    map[string]*queue
	conns     map[*conn]bool
	listeners map[net.Listener]bool
	users     map[string]map[*conn]bool // logged in
	untrusted int                       // connections of Serve
	names     uint64                    // for generated names
	closed    bool
	stats     Stats // the counters only
}

// New makes a hub that serves nobody yet.
func New(cfg Config) *Hub {
	cfg.defaults()
	h := &Hub{
		cfg: cfg, logins: newLimiter(cfg.LoginsPerSecond),
		exchanges: make(map[string]*exchange), queues: make(map[string]*queue),
		conns: make(map[*conn]bool), listeners: make(map[net.Listener]bool), users: make(map[string]map[*conn]bool),
	}
	for name, kind := range map[string]string{"": kindDirect, "amq.direct": kindDirect, "amq.fanout": kindFanout, "amq.topic": kindTopic} {
		h.exchanges[name] = newExchange(name, kind, true, false)
	}
	return h
}

// ErrClosed: the hub was closed.
var ErrClosed = errors.New("hub is closed")

// Serve accepts agents and newcomers on ln, by TLS if config is not nil, until ctx ends (it returns nil),
// Close (ErrClosed) or an error of the listener. It closes ln and the connections that it accepted.
func (h *Hub) Serve(ctx context.Context, ln net.Listener, config *tls.Config) error {
	if h.cfg.Auth == nil {
		return errors.New("hub: nobody to ask about logins")
	}
	return h.serve(ctx, ln, func(nc net.Conn) *conn { return newConn(h, nc, config, false) })
}

// ServeTrusted is Serve for connections that come over the cluster port, where TLS has shown that the
// peer is a member: each is the orchestrator's, whatever user and password it gives.
func (h *Hub) ServeTrusted(ctx context.Context, ln net.Listener) error {
	return h.serve(ctx, ln, func(nc net.Conn) *conn { return newConn(h, nc, nil, true) })
}

func (h *Hub) serve(ctx context.Context, ln net.Listener, wrap func(net.Conn) *conn) error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		_ = ln.Close() // nothing was accepted yet
		return ErrClosed
	}
	h.listeners[ln] = true
	h.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	var mine sync.WaitGroup
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	mine.Go(func() { h.sweep(ctx) })
	err := h.accept(ctx, ln, func(nc net.Conn) {
		c := wrap(nc)
		if !h.admit(c) {
			_ = nc.Close() // refused: there is nothing to lose
			return
		}
		mine.Go(func() {
			defer h.wg.Done()
			done := context.AfterFunc(ctx, func() { c.shut(amqpErrorf(codeForced, "broker is stopping")) })
			defer done()
			c.run(ctx)
		})
	})
	cancel()
	stop()
	_ = ln.Close() // closed already, or the error below says more
	mine.Wait()
	h.mu.Lock()
	delete(h.listeners, ln)
	closed := h.closed
	h.mu.Unlock()
	if closed {
		return ErrClosed
	}
	return err
}

// accept hands connections to use until the listener is closed; nil when ctx has ended.
func (h *Hub) accept(ctx context.Context, ln net.Listener, use func(net.Conn)) error {
	for {
		nc, err := ln.Accept()
		if err == nil {
			use(nc)
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		var ne net.Error
		if errors.Is(err, net.ErrClosed) || !errors.As(err, &ne) {
			return fmt.Errorf("hub: accept: %w", err)
		}
		h.cfg.Log.WarnContext(ctx, "hub: accept", "error", err) // out of file descriptors, for one
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// admit counts a connection in, if there is room.
func (h *Hub) admit(c *conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || !c.trusted && h.untrusted >= h.cfg.MaxConnections {
		return false
	}
	h.wg.Add(1) // under mu, so never while end waits
	h.conns[c] = true
	if !c.trusted {
		h.untrusted++
	}
	return true
}

// register counts a login, if its user has not too many.
func (h *Hub) register(c *conn) *amqpError {
	h.mu.Lock()
	defer h.mu.Unlock()
	user := c.identity.User
	if !c.trusted && len(h.users[user]) >= h.perUser(c.identity.Role) {
		return amqpErrorf(codeNotAllowed, "user '%s' has too many connections", user)
	}
	if h.users[user] == nil {
		h.users[user] = make(map[*conn]bool)
	}
	h.users[user][c] = true
	return nil
}

func (h *Hub) perUser(role bus.Role) int {
	switch {
	case h.cfg.MaxPerUser > 0:
		return h.cfg.MaxPerUser
	case role == bus.RoleNewcomer:
		return 512
	default:
		return 8
	}
}

// forget takes a connection and all it held out of the hub.
func (h *Hub) forget(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.conns[c] {
		return
	}
	delete(h.conns, c)
	if !c.trusted {
		h.untrusted--
	}
	if mine := h.users[c.identity.User]; mine != nil {
		delete(mine, c)
		if len(mine) == 0 {
			delete(h.users, c.identity.User)
		}
	}
	for _, ch := range c.channels { // all of them first: nothing may be handed to this connection again
		for _, s := range ch.consumers {
			h.removeConsumer(s)
		}
	}
	for _, ch := range c.channels {
		h.dropChannel(ch)
	}
	for q := range c.exclusive {
		h.deleteQueue(q)
	}
}

// sweep drops messages that are too old from queues that nobody looks at.
func (h *Hub) sweep(ctx context.Context) {
	ticker := time.NewTicker(2 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			h.mu.Lock()
			for _, q := range h.queues {
				h.expire(q, now)
			}
			h.mu.Unlock()
		}
	}
}

// Close stops serving: peers are told that the broker stops, and what the hub held is gone.
func (h *Hub) Close() error {
	h.end(func(c *conn) { c.shut(amqpErrorf(codeForced, "broker is stopping")) })
	return nil
}

// Kill ends the hub as the loss of its machine would: connections break off without a word. For tests.
func (h *Hub) Kill() { h.end(func(c *conn) { c.abort() }) }

func (h *Hub) end(with func(*conn)) {
	h.mu.Lock()
	h.closed = true
	conns, listeners := slices.Collect(maps.Keys(h.conns)), slices.Collect(maps.Keys(h.listeners))
	h.mu.Unlock()
	for _, c := range conns { // before the listeners: their end makes Serve take leave of its connections
		with(c)
	}
	for _, ln := range listeners {
		_ = ln.Close() // Serve tells
	}
	h.wg.Wait()
}

// Connected reports whether the user has a connection that is logged in.
func (h *Hub) Connected(user string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.users[user]) > 0
}

// Disconnect closes the user's connections, as after a revocation, and returns how many there were.
func (h *Hub) Disconnect(user string) int {
	h.mu.Lock()
	var conns []*conn
	for c := range h.users[user] {
		conns = append(conns, c)
	}
	h.mu.Unlock()
	for _, c := range conns {
		c.shut(amqpErrorf(codeForced, "disconnected by the orchestrator"))
	}
	return len(conns)
}

// Stats tells the present numbers.
func (h *Hub) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.stats
	s.Connections, s.Queues = len(h.conns), len(h.queues)
	for _, q := range h.queues {
		s.Ready += len(q.ready)
		s.Unacked += q.unacked
		s.Consumers += len(q.consumers)
	}
	return s
}

// limiter spreads events over time: each takes the next free moment.
type limiter struct {
	mu   sync.Mutex
	gap  time.Duration
	next time.Time
}

func newLimiter(perSecond float64) *limiter {
	return &limiter{gap: time.Duration(float64(time.Second) / perSecond)}
}

// wait returns when the caller may go on; false if that would be later than patience, or ctx ended. A
// second's worth of events may come at once.
func (l *limiter) wait(ctx context.Context, patience time.Duration) bool {
	l.mu.Lock()
	now := time.Now()
	if earliest := now.Add(-time.Second); l.next.Before(earliest) {
		l.next = earliest
	}
	at := l.next
	if at.Sub(now) > patience {
		l.mu.Unlock()
		return false
	}
	l.next = at.Add(l.gap)
	l.mu.Unlock()
	if d := at.Sub(now); d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
