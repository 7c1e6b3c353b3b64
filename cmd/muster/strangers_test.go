package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// strangers connect to a port again and again, in every way but the right one, until ctx ends.
type strangers struct {
	wg   sync.WaitGroup
	mu   sync.Mutex
	felt map[string]int // connections made, by port
}

func (s *strangers) keep(ctx context.Context, network, addr string, talk func(ctx context.Context, c net.Conn)) {
	again := 20 * time.Millisecond
	if testing.Short() { // under the race detector a handshake costs ten times as much
		again = 200 * time.Millisecond
	}
	s.wg.Go(func() {
		for ctx.Err() == nil {
			var d net.Dialer
			c, err := d.DialContext(ctx, network, addr)
			if err != nil {
				select {
				case <-ctx.Done():
				case <-time.After(50 * time.Millisecond):
				}
				continue
			}
			s.mu.Lock()
			s.felt[addr]++
			s.mu.Unlock()
			talk(ctx, c)
			c.Close()
			select { // the strangers run on the same processors as the nodes: they must not be all that runs
			case <-ctx.Done():
			case <-time.After(again):
			}
		}
	})
}

// silent opens and says nothing, until the other side is tired of it.
func silent(ctx context.Context, c net.Conn) {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	_, _ = io.Copy(io.Discard, c)
}

// slowly says the right thing, an octet now and then.
func slowly(text string) func(ctx context.Context, c net.Conn) {
	return func(ctx context.Context, c net.Conn) {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			if _, err := c.Write([]byte{text[i%len(text)]}); err != nil {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}
}

// garbage sends noise, and reads what comes.
func garbage(head string) func(ctx context.Context, c net.Conn) {
	return func(_ context.Context, c net.Conn) {
		noise := make([]byte, 4096)
		_, _ = rand.Read(noise)
		_ = c.SetDeadline(time.Now().Add(200 * time.Millisecond))
		_, _ = io.WriteString(c, head)
		_, _ = c.Write(noise)
		_, _ = io.Copy(io.Discard, c)
	}
}

// halfClosed says its part and closes its half: the other side must come to an end, and does.
func halfClosed(text string) func(ctx context.Context, c net.Conn) {
	return func(ctx context.Context, c net.Conn) {
		stop := context.AfterFunc(ctx, func() { c.Close() })
		defer stop()
		_, _ = io.WriteString(c, text)
		if tc, ok := c.(*net.TCPConn); ok {
			_ = tc.CloseWrite()
		}
		_, _ = io.Copy(io.Discard, c)
	}
}

// deaf asks and asks, and never reads an answer.
func deaf(text string) func(ctx context.Context, c net.Conn) {
	return func(ctx context.Context, c net.Conn) {
		stop := context.AfterFunc(ctx, func() { c.Close() })
		defer stop()
		if tc, ok := c.(*net.TCPConn); ok {
			_ = tc.SetReadBuffer(1 << 10)
		}
		for {
			if _, err := io.WriteString(c, text); err != nil {
				return
			}
		}
	}
}

// overTLS talks inside of TLS, which any stranger can begin.
func overTLS(talk func(ctx context.Context, c net.Conn)) func(ctx context.Context, c net.Conn) {
	return func(ctx context.Context, c net.Conn) {
		tc := tls.Client(c, &tls.Config{InsecureSkipVerify: true}) // a stranger pins nothing
		hctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		if tc.HandshakeContext(hctx) == nil {
			talk(ctx, tc)
		}
	}
}

// crowd comes to all ports of a node.
func (s *strangers) crowd(ctx context.Context, n *node, gossip string) {
	for addr, hello := range map[string]string{
		n.http:    "GET /api/organizations HTTP/1.1\r\nHost: x\r\n",
		n.cluster: "\x16\x03\x01\x02\x00\x01",
		n.bus:     "AMQP\x00\x00\x09\x01",
		gossip:    "\x0c\x00\x00",
	} {
		for range 150 { // the cluster port waits for 128
			s.keep(ctx, "tcp", addr, silent)
		}
		for range 20 {
			s.keep(ctx, "tcp", addr, slowly(hello))
		}
		for range 4 {
			s.keep(ctx, "tcp", addr, garbage(""))
			s.keep(ctx, "tcp", addr, garbage(hello))
			s.keep(ctx, "tcp", addr, halfClosed(hello))
		}
	}
	ask := "GET /api/organizations/ HTTP/1.1\r\nHost: x\r\n"
	for range 2 {
		s.keep(ctx, "tcp", n.http, deaf(ask+"\r\n"))
		s.keep(ctx, "tcp", n.http, deaf("X-Filler: "+strings.Repeat("x", 4096)+"\r\n"))                               // no request line
		s.keep(ctx, "tcp", n.http, halfClosed(ask+strings.Repeat("X-Filler: "+strings.Repeat("x", 4000)+"\r\n", 40))) // a header beyond the limit
		s.keep(ctx, "tcp", n.http, halfClosed("POST /api/organizations/ HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n{"))
	}
	for _, addr := range []string{n.cluster, n.bus} {
		for range 10 {
			s.keep(ctx, "tcp", addr, overTLS(silent))
			s.keep(ctx, "tcp", addr, overTLS(slowly("JRF")))
		}
		s.keep(ctx, "tcp", addr, overTLS(garbage("J\x00\x00\xff\xff")))
		s.keep(ctx, "tcp", addr, overTLS(garbage("AMQP\x00\x00\x09\x01\x01\x00\x00\xff\xff\xff\xff")))
	}
	s.keep(ctx, "udp", gossip, garbage(""))
}

// TestStrangersOnEveryPort holds connections that say nothing, say it slowly or say nonsense open on every port of the
// leader, more than it waits for, and expects that nobody else notices: neither clients, nor the other nodes, of which
// one is started anew meanwhile.
func TestStrangersOnEveryPort(t *testing.T) {
	first := startNode(t, "n1")
	pw := first.passwordFile()
	token := first.joinToken(pw)
	var nodes []*node
	for _, name := range []string{"n2", "n3"} {
		n := newNode(t, name, "--join", first.cluster, "--token-file", token).start()
		n.waitLogin(pw)
		nodes = append(nodes, n)
	}
	first.waitVoters(pw, 3)
	before := first.status(pw)

	gossip := first.args[10]
	if first.args[9] != "--gossip" {
		t.Fatalf("the gossip port is not where it was: %q", first.args)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s := &strangers{felt: map[string]int{}}
	defer s.wg.Wait()
	defer cancel()
	s.crowd(ctx, first, gossip)
	eventually(t, "strangers on every port", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, addr := range []string{first.http, first.cluster, first.bus, gossip} {
			if s.felt[addr] < 150 {
				return false
			}
		}
		return true
	})
	if code := nodes[1].stop(); code != 0 {
		t.Errorf("n3 stopped with %d", code)
	}
	began := time.Now()
	nodes[1].start().waitLogin(pw)
	t.Logf("n3 was back after %s", time.Since(began))
	nodes[1].do(pw, "cluster", "token") // a write, through the leader
	slowest := time.Duration(0)
	for i := range 20 {
		at := time.Now()
		n := []*node{first, nodes[0], nodes[1]}[i%3]
		n.do(pw, "organization", "create", fmt.Sprint("org", i))
		slowest = max(slowest, time.Since(at)) // a write that waits for the strangers does not end
	}
	if out := nodes[1].do(pw, "organization", "list", "-o", "name"); len(strings.Fields(out)) != 20 {
		t.Errorf("the organizations are %q", out)
	}
	fourth := newNode(t, "n4", "--join", first.cluster, "--token-file", token).start() // joins at the port that is held
	fourth.waitLogin(pw)
	after := first.status(pw)
	eventually(t, "a leader and all members", func() bool {
		after = first.status(pw)
		return after.Leader != "" && after.Tolerance == 1 && len(after.Members) == 4
	})
	t.Logf("term %d, before the strangers %d", after.Term, before.Term) // a machine that is busy elects now and then
	s.mu.Lock()
	defer s.mu.Unlock()
	t.Logf("connections: %v; the slowest write took %s", s.felt, slowest)
}
