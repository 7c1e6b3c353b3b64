package cluster

import (
	"errors"
	"net"
	"sync"
	"time"
)

// stuck is how long a peer may leave our bytes unread before its connection is given up.
const stuck = 3 * time.Second

// maxUnsent bounds what waits to be written to one connection: far beyond what the bounded questions and their
// answers can come to, unless the peer reads nothing.
const maxUnsent = 64 << 20

// sender writes frames to a connection from one goroutine. Whatever has come meanwhile goes out in one write.
type sender struct {
	conn   net.Conn
	failed func(error) // called once, when writing fails
	more   chan struct{}
	done   chan struct{}
	once   sync.Once

	mu  sync.Mutex
	buf []byte
}

func newSender(c net.Conn, failed func(error)) *sender {
	return &sender{conn: c, failed: failed, more: make(chan struct{}, 1), done: make(chan struct{})}
}

// send puts a frame in line. It never waits; after the connection has failed it does nothing.
func (s *sender) send(f frame) {
	s.mu.Lock()
	if len(s.buf) > maxUnsent {
		s.mu.Unlock()
		s.failed(errors.New("the node reads nothing"))
		return
	}
	s.buf = f.encode(s.buf)
	s.mu.Unlock()
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// run writes until close, or until writing fails.
func (s *sender) run() {
	var spare []byte
	for {
		select {
		case <-s.more:
		case <-s.done:
			return
		}
		s.mu.Lock()
		b := s.buf
		s.buf = spare[:0] // from here on it is no longer spare, also if there is nothing to write
		s.mu.Unlock()
		if len(b) == 0 { // woken for what went out with the bytes before
			spare = b
			continue
		}
		_ = s.conn.SetWriteDeadline(time.Now().Add(stuck))
		if _, err := s.conn.Write(b); err != nil {
			s.failed(err)
			return
		}
		if spare = b; cap(spare) > 1<<20 { // do not keep what one rush needed
			spare = nil
		}
	}
}

// close ends run.
func (s *sender) close() { s.once.Do(func() { close(s.done) }) }
