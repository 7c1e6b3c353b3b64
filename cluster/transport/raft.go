package transport

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/hashicorp/raft"
)

// StreamLayer is raft's way over the port. Give it to raft.NewNetworkTransport itself: a wrapper around that
// transport would hide its pre-vote, which raft then turns off.
type StreamLayer struct {
	net.Listener
	mux *Mux
	adv net.Addr
}

var _ raft.StreamLayer = (*StreamLayer)(nil)

// NewStreamLayer makes the layer. Advertise is the address that other nodes dial, host:port.
func NewStreamLayer(m *Mux, advertise string) *StreamLayer {
	return &StreamLayer{Listener: m.Listener(Raft), mux: m, adv: address(advertise)}
}

// Addr is the advertised address: raft tells it to others.
func (s *StreamLayer) Addr() net.Addr { return s.adv }

// Dial opens a raft connection.
func (s *StreamLayer) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	c, err := s.mux.Dial(ctx, string(addr), Raft)
	if err != nil {
		return nil, err
	}
	// Raft waits for what it sends before it stops: a snapshot to a peer that no longer reads takes minutes.
	return &dialled{Conn: c, unhook: context.AfterFunc(s.mux.ctx, func() { _ = c.(*tls.Conn).NetConn().Close() })}, nil
}

// dialled is a connection of ours that ends with the mux.
type dialled struct {
	net.Conn
	unhook func() bool
}

// Close closes the connection; the plain one, as a TLS goodbye could wait behind a writer that is stuck.
func (d *dialled) Close() error {
	d.unhook()
	return d.Conn.(*tls.Conn).NetConn().Close()
}

type address string

func (a address) Network() string { return "tcp" }
func (a address) String() string  { return string(a) }
