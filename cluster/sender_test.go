package cluster

import (
	"bytes"
	"net"
	"testing"
	"time"
)

// slowConn holds each write until it is let go, and keeps what was in it then.
type slowConn struct {
	net.Conn
	begun, release chan struct{}
	wrote          chan []byte
}

func (c *slowConn) SetWriteDeadline(time.Time) error { return nil }

func (c *slowConn) Write(b []byte) (int, error) {
	c.begun <- struct{}{}
	<-c.release
	c.wrote <- bytes.Clone(b)
	return len(b), nil
}

// What is being written must not be overwritten by frames that come meanwhile, also after the sender was woken for
// nothing, as happens when a frame goes out with the one before.
func TestSenderKeepsWhatIsBeingWritten(t *testing.T) {
	c := &slowConn{begun: make(chan struct{}), release: make(chan struct{}), wrote: make(chan []byte, 1)}
	s := newSender(c, func(err error) { t.Errorf("it failed: %v", err) })
	go s.run()
	defer s.close()
	round := func(f, meanwhile frame) {
		t.Helper()
		want := f.encode(nil)
		s.send(f)
		<-c.begun
		if meanwhile.body != nil {
			s.send(meanwhile)
		}
		c.release <- struct{}{}
		if got := <-c.wrote; !bytes.Equal(got, want) {
			t.Fatalf("it wrote %q in place of %q", got, want)
		}
	}
	round(frame{id: 1, op: opCommit, body: []byte("one one one")}, frame{})
	for range 3 { // the third goes in once the first was dealt with
		s.more <- struct{}{}
	}
	round(frame{id: 2, op: opCommit, body: []byte("two two two")}, frame{id: 3, op: opCommit, body: []byte("three three")})
	<-c.begun
	c.release <- struct{}{}
	if got, want := <-c.wrote, (frame{id: 3, op: opCommit, body: []byte("three three")}).encode(nil); !bytes.Equal(got, want) {
		t.Fatalf("it wrote %q in place of %q", got, want)
	}
}
