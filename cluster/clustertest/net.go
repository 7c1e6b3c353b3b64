package clustertest

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// network is what the nodes dial through. A path that is cut swallows what is sent, as a dead link does;
// connections that lost something break when it is healed, as TCP would in the end.
type network struct {
	mu    sync.Mutex
	owner map[string]int // address -> node
	cut   map[[2]int]bool
	conns map[*conn]struct{}
	lost  atomic.Int64 // sends, receipts and dials that a cut path took
}

var errCut = errors.New("network is unreachable")

func (n *network) own(addr string, node int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.owner[addr] = node
}

func (n *network) isCut(from, to int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cut[[2]int{from, to}]
}

func (n *network) set(from, to int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[[2]int{from, to}] = true
	for c := range n.conns {
		if c.from == from && c.to == to || c.from == to && c.to == from {
			c.lossy = true
		}
	}
}

func (n *network) heal() {
	n.mu.Lock()
	clear(n.cut)
	var broken []*conn
	for c := range n.conns {
		if c.lossy {
			broken = append(broken, c)
		}
	}
	n.mu.Unlock()
	for _, c := range broken {
		_ = c.Close()
	}
}

// dialer dials for one node.
func (n *network) dialer(from int) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, addr string) (net.Conn, error) {
		n.mu.Lock()
		to, known := n.owner[addr]
		cut := known && (n.cut[[2]int{from, to}] || n.cut[[2]int{to, from}])
		n.mu.Unlock()
		if cut {
			n.lost.Add(1)
			return nil, errCut
		}
		var d net.Dialer
		plain, err := d.DialContext(ctx, "tcp", addr)
		if err != nil || !known {
			return plain, err
		}
		c := &conn{Conn: plain, net: n, from: from, to: to}
		n.mu.Lock()
		n.conns[c] = struct{}{}
		n.mu.Unlock()
		return c, nil
	}
}

type conn struct {
	net.Conn
	net      *network
	from, to int
	lossy    bool // guarded by net.mu
}

// Write sends, or swallows.
func (c *conn) Write(b []byte) (int, error) {
	if c.net.isCut(c.from, c.to) {
		c.net.lost.Add(1)
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// Read receives; what comes over a cut path is swallowed.
func (c *conn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if err != nil || !c.net.isCut(c.to, c.from) {
			return n, err
		}
		c.net.lost.Add(1)
	}
}

// Close forgets the connection.
func (c *conn) Close() error {
	c.net.mu.Lock()
	delete(c.net.conns, c)
	c.net.mu.Unlock()
	_ = c.Conn.SetDeadline(time.Now())
	return c.Conn.Close()
}
