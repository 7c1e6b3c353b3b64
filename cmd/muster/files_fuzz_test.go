package main

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"
)

// FuzzContexts reads what somebody made of the file of contexts: what is read is written so that it is read alike.
func FuzzContexts(f *testing.F) {
	f.Add([]byte("current: a\ncontexts:\n  a: {server: 'https://x', user: u, token: t}\n"))
	f.Add([]byte("contexts: null"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeContexts(b)
		if err != nil {
			return
		}
		dir := t.TempDir()
		env := func(key string) string { return map[string]string{"XDG_CONFIG_HOME": dir}[key] }
		if err := c.write(env); err != nil {
			t.Fatal(err)
		}
		again, err := readContexts(env)
		if err != nil || again.Current != c.Current || len(again.Contexts) != len(c.Contexts) {
			t.Fatalf("%+v came back as %+v: %v", c, again, err)
		}
	})
}

// FuzzServerConfig reads the configuration file of a server.
func FuzzServerConfig(f *testing.F) {
	f.Add([]byte("http: :8000\ntrusted-proxies: 10.0.0.0/8\nproxy-protocol: true\n"))
	f.Add([]byte("raft: {store: bolt}\nraft.store: bolt\n"))
	f.Add([]byte("x: 1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c serverConfig
		if err := c.decode("f", b); err != nil {
			if !strings.Contains(err.Error(), "configuration f: ") {
				t.Fatalf("the error %v does not name the file", err)
			}
			return
		}
		if err := c.validate(); err != nil && len(err.Error()) < 10 {
			t.Fatal(err)
		}
	})
}

// addressed is a connection that comes from an address.
type addressed struct {
	net.Conn
	from net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.from }

// single is a listener with one connection.
type single struct {
	net.Listener
	conn net.Conn
}

func (s single) Accept() (net.Conn, error) { return s.conn, nil }

// FuzzProxyHeader sends what a trusted proxy, or somebody else, may send before HTTP: an address is taken from a trusted
// one only, and what follows the header comes through as it is.
func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.1 10.0.0.1 1234 80\r\nGET"), true)
	f.Add([]byte("PROXY UNKNOWN\r\nGET"), true)
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\x0a\x00\x00\x01\x04\xd2\x00\x50GET"), true)
	f.Add([]byte("GET / HTTP/1.1\r\n"), false)
	f.Fuzz(func(t *testing.T, b []byte, trusted bool) {
		from := &net.TCPAddr{IP: net.IPv4(198, 51, 100, 7), Port: 1}
		if trusted {
			from.IP = net.IPv4(10, 0, 0, 1)
		}
		client, server := net.Pipe()
		defer client.Close() //nolint:errcheck // a test's
		defer server.Close() //nolint:errcheck // a test's
		ln, err := loginConfig{ProxyProtocol: true, TrustedProxies: "10.0.0.0/8"}.listener(single{conn: addressed{server, from}})
		if err != nil {
			t.Fatal(err)
		}
		conn, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = client.Write(b) // the reader may have had enough
			_ = client.Close()
		}()
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		first, err := bufio.NewReader(conn).ReadByte()
		if !trusted {
			if conn.RemoteAddr().String() != from.String() {
				t.Fatalf("%q from %s gives %s", b, from, conn.RemoteAddr())
			}
			if len(b) > 0 && (err != nil || first != b[0]) {
				t.Fatalf("%q came as %q: %v", b, first, err)
			}
		}
	})
}
