// Package transport is the one port between nodes. Every connection is TLS 1.3 under the cluster's authority;
// the first byte after the handshake says what it is for. All but joining demand a client certificate.
package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-hq/muster/cluster/pki"
)

// Kind is the first byte of a connection.
type Kind byte

// The kinds of connections. Join alone is open to a client without a certificate of the cluster.
const (
	Raft    Kind = 'R'
	Forward Kind = 'F'
	Hub     Kind = 'H'
	Join    Kind = 'J'
)

// Options bounds what strangers can cost. Zero values mean the defaults.
type Options struct {
	HandshakeTimeout time.Duration // for the handshake and the first byte together; 5 s
	MaxPending       int           // connections that have not said their kind; 128: one more closes the one that has been silent for longest
	// Dial opens the plain connection; nil means TCP. Tests cut networks here.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Accept and Reach judge the node at the other end of a connection that was accepted, or dialed: an error closes
	// it. Joiners are not judged. Nil means that every certificate of the authority will do.
	Accept func(k Kind, p Peer) error
	Reach  func(k Kind, p Peer) error
	Log    *slog.Logger
}

// Peer is the node at the other end of a connection, by its certificate; the zero value is who showed none.
type Peer struct{ Name, Instance string }

func peerOf(c *tls.Conn) Peer {
	certs := c.ConnectionState().PeerCertificates
	if len(certs) == 0 {
		return Peer{}
	}
	return Peer{Name: certs[0].Subject.CommonName, Instance: certs[0].Subject.SerialNumber}
}

// Credentials are how a node shows who it is: pki.Identity, or pki.Holder where that changes.
type Credentials interface {
	ServerTLS() *tls.Config
	ClientTLS() *tls.Config
}

func (o Options) withDefaults() Options {
	if o.HandshakeTimeout == 0 {
		o.HandshakeTimeout = 5 * time.Second
	}
	if o.MaxPending == 0 {
		o.MaxPending = 128
	}
	if o.Dial == nil {
		o.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", addr)
		}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Mux serves the port and dials those of others. It is safe for concurrent use. It owns the listener.
type Mux struct {
	opt    Options
	ln     net.Listener
	server *tls.Config
	client *tls.Config
	queues map[Kind]*queue
	stop   context.CancelFunc
	ctx    context.Context
	wg     sync.WaitGroup

	mu      sync.Mutex
	open    map[net.Conn]struct{} // accepted, not closed: Close ends them
	pending []net.Conn            // accepted, of no kind yet; the oldest first
}

// New starts to serve ln as the node of that identity.
func New(ln net.Listener, id Credentials, opt Options) *Mux {
	opt = opt.withDefaults()
	m := &Mux{
		opt: opt, ln: ln, server: id.ServerTLS(), client: id.ClientTLS(),
		queues: map[Kind]*queue{}, open: map[net.Conn]struct{}{},
	}
	m.ctx, m.stop = context.WithCancel(context.Background())
	for _, k := range []Kind{Raft, Forward, Hub, Join} {
		m.queues[k] = &queue{conns: make(chan net.Conn), done: make(chan struct{}), addr: ln.Addr()}
	}
	m.wg.Add(1)
	go m.accept()
	return m
}

// Addr is the address that the port listens on.
func (m *Mux) Addr() net.Addr { return m.ln.Addr() }

// Listener gives the accepted connections of one kind. Closing it refuses that kind from then on.
func (m *Mux) Listener(k Kind) net.Listener { return m.queues[k] }

// Close stops listening and closes every accepted connection.
func (m *Mux) Close() error {
	m.stop()
	err := m.ln.Close()
	for _, q := range m.queues {
		_ = q.Close()
	}
	m.mu.Lock()
	open := slices.Collect(maps.Keys(m.open))
	m.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
	m.wg.Wait()
	return err
}

func (m *Mux) accept() {
	defer m.wg.Done()
	for {
		c, err := m.ln.Accept()
		if err != nil {
			if m.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			// Out of file descriptors, usually: wait a little, do not spin.
			m.opt.Log.Warn("cluster port: accepting failed", "error", err)
			select {
			case <-m.ctx.Done():
				return
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		m.await(c)
		m.wg.Add(1)
		go m.greet(c)
	}
}

// await counts a connection as pending. A member says its kind within milliseconds, so when strangers fill the places
// it is one of theirs that is oldest.
func (m *Mux) await(c net.Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.pending) >= m.opt.MaxPending {
		_ = m.pending[0].Close()
		m.pending = slices.Delete(m.pending, 0, 1)
	}
	m.pending = append(m.pending, c)
}

func (m *Mux) settled(c net.Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := slices.Index(m.pending, c); i >= 0 {
		m.pending = slices.Delete(m.pending, i, i+1)
	}
}

// greet does the handshake, reads the kind, and hands the connection over.
func (m *Mux) greet(plain net.Conn) {
	defer m.wg.Done()
	conn := &tracked{Conn: tls.Server(plain, m.server), mux: m}
	m.mu.Lock()
	m.open[conn] = struct{}{}
	m.mu.Unlock()
	if m.ctx.Err() != nil {
		m.settled(plain)
		_ = conn.Close()
		return
	}
	kind, err := m.handshake(conn)
	m.settled(plain)
	if err != nil {
		// Any port scanner gets here: not worth more than debug.
		m.opt.Log.Debug("cluster port: connection refused", "remote", plain.RemoteAddr().String(), "error", err)
		_ = conn.Close()
		return
	}
	q := m.queues[kind]
	select {
	case q.conns <- conn:
	case <-q.done:
		_ = conn.Close()
	case <-m.ctx.Done():
		_ = conn.Close()
	}
}

func (m *Mux) handshake(conn *tracked) (Kind, error) {
	if err := conn.SetDeadline(time.Now().Add(m.opt.HandshakeTimeout)); err != nil {
		return 0, fmt.Errorf("setting a deadline: %w", err)
	}
	tc := conn.Conn.(*tls.Conn)
	if err := tc.HandshakeContext(m.ctx); err != nil {
		return 0, fmt.Errorf("handshake: %w", err)
	}
	var first [1]byte
	if _, err := io.ReadFull(tc, first[:]); err != nil {
		return 0, fmt.Errorf("reading the first byte: %w", err)
	}
	kind := Kind(first[0])
	if _, ok := m.queues[kind]; !ok {
		return 0, fmt.Errorf("first byte %#x is of no known kind", first[0])
	}
	conn.peer, conn.kind = peerOf(tc), kind
	if conn.peer.Name == "" && kind != Join {
		return 0, fmt.Errorf("kind %q needs a certificate of the cluster", string(rune(kind)))
	}
	conn.judged.Store(kind != Join) // before the first look: what changes during it is looked at by Judge
	if kind != Join && m.opt.Accept != nil {
		if err := m.opt.Accept(kind, conn.peer); err != nil {
			return 0, err
		}
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return 0, fmt.Errorf("clearing the deadline: %w", err)
	}
	return kind, nil
}

// Dial opens a connection of a kind to the node at addr. The context bounds the dial and the handshake only.
func (m *Mux) Dial(ctx context.Context, addr string, k Kind) (net.Conn, error) {
	return dial(ctx, addr, k, m.client, m.opt)
}

// DialJoin opens a Join connection with nothing but the fingerprint of the authority, from a join token.
func DialJoin(ctx context.Context, addr, fingerprint string, opt Options) (net.Conn, error) {
	return dial(ctx, addr, Join, pki.PinnedTLS(fingerprint, pki.NodeName), opt.withDefaults())
}

func dial(ctx context.Context, addr string, k Kind, cfg *tls.Config, opt Options) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, opt.HandshakeTimeout)
	defer cancel()
	plain, err := opt.Dial(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", addr, err)
	}
	tc := tls.Client(plain, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		_ = plain.Close()
		return nil, fmt.Errorf("handshake with %s: %w", addr, err)
	}
	if k != Join && opt.Reach != nil {
		if err := opt.Reach(k, peerOf(tc)); err != nil {
			_ = plain.Close()
			return nil, fmt.Errorf("connecting to %s: %w", addr, err)
		}
	}
	if d, ok := ctx.Deadline(); ok {
		_ = tc.SetWriteDeadline(d)
	}
	if _, err := tc.Write([]byte{byte(k)}); err != nil {
		_ = plain.Close()
		return nil, fmt.Errorf("writing to %s: %w", addr, err)
	}
	_ = tc.SetWriteDeadline(time.Time{})
	return tc, nil
}

// PeerOf is the node that an accepted connection is from.
func PeerOf(c net.Conn) Peer {
	if t, ok := c.(*tracked); ok {
		return t.peer
	}
	return Peer{}
}

// Judge asks Options.Accept again about every accepted connection, and closes those that it refuses now.
func (m *Mux) Judge() {
	if m.opt.Accept == nil {
		return
	}
	m.mu.Lock()
	open := slices.Collect(maps.Keys(m.open))
	m.mu.Unlock()
	for _, c := range open {
		t, ok := c.(*tracked)
		if !ok || !t.judged.Load() {
			continue
		}
		if err := m.opt.Accept(t.kind, t.peer); err != nil {
			m.opt.Log.Info("cluster port: connection ended", "peer", t.peer.Name, "kind", string(rune(t.kind)), "error", err)
			_ = t.Close()
		}
	}
}

// tracked is an accepted connection that its mux can close.
type tracked struct {
	net.Conn
	mux    *Mux
	peer   Peer
	kind   Kind
	judged atomic.Bool // peer and kind are known
}

// Close closes the connection and forgets it.
func (t *tracked) Close() error {
	t.mux.mu.Lock()
	delete(t.mux.open, t)
	t.mux.mu.Unlock()
	// The plain connection: a TLS goodbye could wait behind a writer that is stuck.
	return t.Conn.(*tls.Conn).NetConn().Close()
}

// queue is the listener of one kind.
type queue struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	addr  net.Addr
}

// Accept waits for the next connection; net.ErrClosed after Close.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept. It never fails.
func (q *queue) Close() error {
	q.once.Do(func() { close(q.done) })
	return nil
}

// Addr is the address of the port.
func (q *queue) Addr() net.Addr { return q.addr }
