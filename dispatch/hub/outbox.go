package hub

import (
	"net"
	"sync"
	"time"
)

// outboxLimit is where an outbox counts as full: its connection gets no deliveries and is not read
// from until the peer has taken some. What is added for one message that was under way may exceed it.
const outboxLimit = 4 << 20

// outbox collects what a peer shall read, so that nobody waits for a peer while holding the hub.
type outbox struct {
	mu      sync.Mutex
	buf     []byte
	closed  bool          // nothing is added any more
	wake    chan struct{} // the writer has something to do
	drained chan struct{} // the writer has taken everything
	stalled bool          // somebody found it full
}

func newOutbox() *outbox {
	return &outbox{wake: make(chan struct{}, 1), drained: make(chan struct{}, 1)}
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// add appends what f appends.
func (o *outbox) add(f func(b []byte) []byte) {
	o.mu.Lock()
	if !o.closed {
		o.buf = f(o.buf)
	}
	o.mu.Unlock()
	signal(o.wake)
}

// full reports whether the peer lags behind, and remembers that it was asked.
func (o *outbox) full() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.buf) >= outboxLimit {
		o.stalled = true
		return true
	}
	return false
}

// close lets the writer finish what is there and end.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	signal(o.wake)
}

// take empties the outbox.
func (o *outbox) take(spare []byte) (buf []byte, closed, stalled bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	buf, o.buf = o.buf, spare[:0]
	stalled, o.stalled = o.stalled, false
	return buf, o.closed, stalled
}

// write sends what is added to nc, and a heartbeat when there was nothing for half of beat, until the
// outbox is closed and empty, or nc fails. resume is called after the peer had been lagging behind.
func (o *outbox) write(nc net.Conn, beat func() time.Duration, timeout time.Duration, resume func()) error {
	var buf []byte
	idle := time.NewTimer(time.Hour)
	defer idle.Stop()
	for {
		if b := beat(); b > 0 {
			idle.Reset(b / 2)
		} else {
			idle.Reset(time.Hour)
		}
		heartbeat := false
		select {
		case <-o.wake:
		case <-idle.C:
			heartbeat = beat() > 0
		}
		var closed, stalled bool
		if cap(buf) > 1<<20 {
			buf = nil // one large message should not keep its memory for good
		}
		buf, closed, stalled = o.take(buf)
		if len(buf) == 0 && heartbeat {
			buf = appendFrame(buf, frameHeartbeat, 0, nil)
		}
		if len(buf) > 0 {
			if err := nc.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
				return err
			}
			if _, err := nc.Write(buf); err != nil {
				return err
			}
		}
		signal(o.drained)
		if stalled {
			resume()
		}
		if closed {
			return nil
		}
	}
}
