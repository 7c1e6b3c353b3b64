package bus_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"
)

// pausable dials connections whose reads can be made to wait for ever.
type pausable struct {
	mu     sync.Mutex
	paused bool
}

func newPausable(t *testing.T) *pausable {
	t.Helper()
	return &pausable{}
}

func (p *pausable) pause() {
	p.mu.Lock()
	p.paused = true
	p.mu.Unlock()
}

func (p *pausable) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &pausedConn{Conn: c, p: p}, nil
}

type pausedConn struct {
	net.Conn
	p *pausable
}

// Read swallows what comes while paused.
func (c *pausedConn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		c.p.mu.Lock()
		paused := c.p.paused
		c.p.mu.Unlock()
		if err != nil || !paused {
			return n, err
		}
	}
}

// receiveClosed waits until a channel is closed.
func receiveClosed(t *testing.T, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(60 * time.Second):
		t.Fatal("not closed in 60 s")
	}
}
