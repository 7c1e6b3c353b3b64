package transport_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/muster-hq/muster/cluster/pki"
	"github.com/muster-hq/muster/cluster/transport"
)

func TestKindsReachTheirListeners(t *testing.T) {
	ca := authority(t)
	a, b := node(t, ca, "alfa", transport.Options{}), node(t, ca, "bravo", transport.Options{})
	for _, k := range []transport.Kind{transport.Raft, transport.Forward, transport.Hub, transport.Join} {
		c, err := a.Dial(t.Context(), b.Addr().String(), k)
		if err != nil {
			t.Fatal(err)
		}
		s, err := b.Listener(k).Accept()
		if err != nil {
			t.Fatal(err)
		}
		if got := transport.PeerOf(s).Name; got != "alfa" {
			t.Errorf("kind %c: peer %q, want alfa", k, got)
		}
		echo(t, c, s)
	}
}

func TestJoinIsOpenTheRestIsNot(t *testing.T) {
	ca := authority(t)
	m := node(t, ca, "alfa", transport.Options{})
	pin := pki.Fingerprint(ca.Cert().Raw)
	c, err := transport.DialJoin(t.Context(), m.Addr().String(), pin, transport.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := m.Listener(transport.Join).Accept()
	if err != nil {
		t.Fatal(err)
	}
	if transport.PeerOf(s).Name != "" {
		t.Error("a stranger has a name")
	}
	echo(t, c, s)

	for _, k := range []byte{'R', 'F', 'H'} {
		tc, err := tls.Dial("tcp", m.Addr().String(), pki.PinnedTLS(pin, pki.NodeName))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = tc.Write([]byte{k, 'x'})
		closed(t, tc)
	}
	other := authority(t)
	stranger := node(t, other, "alfa", transport.Options{})
	if _, err := stranger.Dial(t.Context(), m.Addr().String(), transport.Raft); err == nil {
		t.Error("a node of another cluster took this one for its own")
	}
	if _, err := transport.DialJoin(t.Context(), m.Addr().String(), pki.Fingerprint(other.Cert().Raw), transport.Options{}); err == nil {
		t.Error("joined a cluster that the token does not pin")
	}
}

func TestGarbageIsTolerated(t *testing.T) {
	ca := authority(t)
	m := node(t, ca, "alfa", transport.Options{HandshakeTimeout: time.Second, MaxPending: 4})
	for _, text := range []string{"GET / HTTP/1.0\r\n\r\n", "\x16\x03\x01\xff\xff", "R", ""} {
		c, err := net.Dial("tcp", m.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, text)
		closed(t, c) // half-open ones by the deadline
	}
	// The handshake done, the first byte never comes, or is of no kind.
	for _, first := range []string{"", "X"} {
		tc, err := tls.Dial("tcp", m.Addr().String(), pki.PinnedTLS(pki.Fingerprint(ca.Cert().Raw), pki.NodeName))
		for tries := 0; err != nil && tries < 20; tries++ { // a busy machine may be too slow for the time of a handshake
			tc, err = tls.Dial("tcp", m.Addr().String(), pki.PinnedTLS(pki.Fingerprint(ca.Cert().Raw), pki.NodeName))
		}
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(tc, first)
		closed(t, tc)
	}
	works(t, ca, m)
}

func TestPendingConnectionsAreBounded(t *testing.T) {
	ca := authority(t)
	m := node(t, ca, "alfa", transport.Options{HandshakeTimeout: time.Minute, MaxPending: 3})
	var held []net.Conn
	for range 3 {
		c, err := net.Dial("tcp", m.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	// They are accepted in order: the fourth takes the place of the first, which has been silent for longest.
	c, err := net.Dial("tcp", m.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	closed(t, held[0])
	works(t, ca, m) // with all places taken by those who say nothing
	works(t, ca, m)
	for _, c := range append(held, c) {
		_ = c.Close()
	}
	works(t, ca, m)
}

func TestRaftTransportKeepsPreVote(t *testing.T) {
	m := node(t, authority(t), "alfa", transport.Options{})
	tr := raft.NewNetworkTransport(transport.NewStreamLayer(m, "alfa.example:8001"), 2, time.Second, io.Discard)
	t.Cleanup(func() { _ = tr.Close() })
	if _, ok := any(tr).(raft.WithPreVote); !ok {
		t.Error("pre-vote is hidden: raft would turn it off")
	}
	if tr.LocalAddr() != "alfa.example:8001" {
		t.Errorf("advertises %s", tr.LocalAddr())
	}
}

func TestCloseEndsEverything(t *testing.T) {
	ca := authority(t)
	a, b := node(t, ca, "alfa", transport.Options{}), node(t, ca, "bravo", transport.Options{})
	c, err := a.Dial(t.Context(), b.Addr().String(), transport.Hub)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Listener(transport.Hub).Accept(); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	closed(t, c)
	if _, err := b.Listener(transport.Hub).Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
}

func works(t *testing.T, ca *pki.Authority, m *transport.Mux) {
	t.Helper()
	peer := node(t, ca, "bravo", transport.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for { // slots of closed connections come free in their own time
		c, err := peer.Dial(ctx, m.Addr().String(), transport.Forward)
		if err == nil {
			s, err := m.Listener(transport.Forward).Accept()
			if err != nil {
				t.Fatal(err)
			}
			echo(t, c, s)
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("the port no longer works: %v", err)
		}
	}
}

func echo(t *testing.T, a, b net.Conn) {
	t.Helper()
	defer func() { _ = a.Close(); _ = b.Close() }()
	if _, err := io.WriteString(a, "hello"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 5)
	if _, err := io.ReadFull(b, buf); err != nil || string(buf) != "hello" {
		t.Fatalf("got %q, %v", buf, err)
	}
}

// closed waits for the other side to hang up.
func closed(t *testing.T, c net.Conn) {
	t.Helper()
	defer func() { _ = c.Close() }()
	_ = c.SetReadDeadline(time.Now().Add(60 * time.Second))
	_, err := io.Copy(io.Discard, c)
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		t.Error("the connection was kept open")
	}
}

func authority(t *testing.T) *pki.Authority {
	t.Helper()
	ca, err := pki.NewAuthority(t.Name(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func node(t *testing.T, ca *pki.Authority, name string, opt transport.Options) *transport.Mux {
	t.Helper()
	id, err := ca.Issue(pki.Subject{Name: name}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := transport.New(ln, id, opt)
	t.Cleanup(func() { _ = m.Close() })
	return m
}
