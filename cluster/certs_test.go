package cluster_test

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
	"github.com/muster-hq/muster/cluster/pki"
	"github.com/muster-hq/muster/cluster/transport"
)

// TestCertificatesAreRenewed lets time pass until the first certificates have ended, with nodes that run on.
func TestCertificatesAreRenewed(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	c := clustertest.New(t, 3, clustertest.WithConfig(func(_ int, cfg *cluster.Config) {
		cfg.CertLife = time.Hour
		cfg.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	}))
	expiries := func() map[string]time.Time {
		s, err := c.Leader().Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]time.Time{}
		for _, m := range s.Members {
			out[m.Name] = m.CertExpires
		}
		return out
	}
	old := expiries()
	for name, at := range old {
		if left := time.Until(at); left > time.Hour || left < 50*time.Minute {
			t.Errorf("%s has a certificate for %s, expected an hour", name, left)
		}
	}
	instance := c.Node(1).Members()[1].Instance
	pass := func(d time.Duration) {
		ahead.Add(int64(d))
		if err := c.Leader().Update(t.Context(), put("x", int(ahead.Load()))); err != nil { // carries the leader's time
			t.Fatal(err)
		}
	}
	pass(45 * time.Minute)
	clustertest.WaitFor(t, "new certificates on all", func() bool {
		now := expiries()
		for name, at := range old {
			if now[name].Sub(at) < 30*time.Minute {
				return false
			}
		}
		return true
	})
	pass(30 * time.Minute) // the first ones are no good any more
	for i := range 3 {
		c.Kill(i)
		c.Restart(i)
		c.WaitVoters(3)
		if err := c.Node(i).Update(t.Context(), put("y", i)); err != nil {
			t.Errorf("%s, with what it has on disk: %v", c.Node(i).Name(), err)
		}
	}
	if now := c.Node(1).Members()[1].Instance; now != instance {
		t.Errorf("the instance was %s, it is %s", instance, now)
	}
	bus := busCertificate(t, c.Node(1))
	if bus.Sub(old["node-1"]) < 30*time.Minute {
		t.Errorf("the bus still shows a certificate that ends at %s", bus)
	}
}

// busCertificate is when the certificate ends that a node shows to agents.
func busCertificate(t *testing.T, n *cluster.Node) time.Time {
	t.Helper()
	a, b := net.Pipe()
	defer func() { _ = a.Close(); _ = b.Close() }()
	go func() { _ = tls.Server(b, n.BusTLS()).Handshake() }()
	client := tls.Client(a, &tls.Config{InsecureSkipVerify: true}) // only looked at
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	return client.ConnectionState().PeerCertificates[0].NotAfter
}

// visitor connects to the cluster port with an identity.
type visitor struct {
	t   *testing.T
	mux *transport.Mux
}

func visitorAs(t *testing.T, id *pki.Identity) visitor {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := transport.New(ln, id, transport.Options{})
	t.Cleanup(func() { _ = m.Close() })
	return visitor{t, m}
}

func (v visitor) dial(n *cluster.Node, k transport.Kind) net.Conn {
	v.t.Helper()
	c, err := v.mux.Dial(v.t.Context(), n.ClusterAddr(), k)
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(clustertest.Patience))
	return c
}

// turnedAway says whether a connection was closed without a byte.
func (v visitor) turnedAway(n *cluster.Node, k transport.Kind) bool {
	v.t.Helper()
	one := make([]byte, 1)
	got, err := v.dial(n, k).Read(one)
	return got == 0 && err != nil && !errors.Is(err, net.ErrClosed) && !isTimeout(err)
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// asks puts a question and says whether it was answered.
func (v visitor) asks(n *cluster.Node, op byte) bool {
	v.t.Helper()
	c := v.dial(n, transport.Forward)
	frame := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(nil, 0), 7)
	if _, err := c.Write(append(frame, op)); err != nil {
		return false
	}
	head := make([]byte, 13)
	if _, err := io.ReadFull(c, head); err != nil {
		return false
	}
	return head[12] == '+'
}

// TestOnlyMembersAreServed: with a certificate of the authority alone one gets nothing but joining.
func TestOnlyMembersAreServed(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3, clustertest.Steady())
	gone := c.FollowerIndex()
	folder := func(i int) string { return filepath.Join(c.DataDir(i), "pki") }
	load := func(i int) *pki.Identity {
		id, err := pki.Load(folder(i))
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	leader := c.Leader()
	member := visitorAs(t, load(gone))
	for _, op := range []byte{'i', 'h', 't'} {
		if op != 'h' && !member.asks(leader, op) {
			t.Fatalf("a member gets no answer to %q", op)
		}
	}
	long := member.dial(leader, transport.Hub)
	s, err := leader.HubListener().Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()

	if err := leader.Remove(t.Context(), c.Node(gone).Name()); err != nil {
		t.Fatal(err)
	}
	select { // it learns of it by itself, and ends
	case <-c.Node(gone).Done():
	case <-time.After(clustertest.Patience):
		t.Fatal("the node that was removed goes on")
	}
	if err := c.Node(gone).Err(); !errors.Is(err, cluster.ErrRemoved) || c.Node(gone).Ready() == nil {
		t.Errorf("it ended with %v, ready %v", err, c.Node(gone).Ready())
	}
	if n, err := long.Read(make([]byte, 1)); n > 0 || err == nil || isTimeout(err) {
		t.Errorf("the connection of before is still open: %v", err)
	}
	ca, err := pki.LoadAuthority(folder(0))
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := ca.Issue(pki.Subject{Name: "mallory", Instance: "x"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	namesake, err := ca.Issue(pki.Subject{Name: leader.Name(), Instance: "x"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	follower := c.Node(gone)
	for _, n := range c.Nodes() {
		if n != leader && n.Err() == nil {
			follower = n
		}
	}
	clustertest.WaitFor(t, "the follower to know of it", func() bool { return len(follower.Members()) == 2 })
	for name, id := range map[string]*pki.Identity{"the former member": load(gone), "a stranger": stranger, "a namesake": namesake} {
		v := visitorAs(t, id)
		for _, n := range []*cluster.Node{leader, follower} {
			if name == "a namesake" && n == follower {
				continue // might be the leader itself, as far as a node that is behind knows
			}
			for _, k := range []transport.Kind{transport.Raft, transport.Hub} {
				if !v.turnedAway(n, k) {
					t.Errorf("%s may connect to %s as %q", name, n.Name(), string(rune(k)))
				}
			}
			for _, op := range []byte("cqtihxmr") {
				if v.asks(n, op) {
					t.Errorf("%s gets an answer to %q from %s", name, string(rune(op)), n.Name())
				}
			}
		}
	}
	// Back from its folder it is told, and does not run on as if nothing were.
	c.Kill(gone)
	c.Restart(gone)
	select {
	case <-c.Node(gone).Done():
	case <-time.After(clustertest.Patience):
		t.Fatal("the node that was removed goes on after a restart")
	}
	if err := c.Node(gone).Err(); !errors.Is(err, cluster.ErrRemoved) {
		t.Errorf("it ended with %v", err)
	}
}
