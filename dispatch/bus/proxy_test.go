package bus

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// server runs handle for each connection.
func server(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				handle(c)
			}()
		}
	}()
	return ln.Addr().String()
}

// splice connects two ends.
func splice(a net.Conn, fromA io.Reader, addr string) {
	b, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer func() { _ = b.Close() }()
	go func() { _, _ = io.Copy(b, fromA) }()
	_, _ = io.Copy(a, b)
}

// echo says hello first, as a proxy's client must not lose what comes right behind the proxy's answer.
func echo(t *testing.T) string {
	return server(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "hello ")
		_, _ = io.Copy(c, c)
	})
}

// connectProxy is an HTTP proxy that wants user and password "u:p" and resolves "bus.example" itself.
func connectProxy(t *testing.T, target string) string {
	return server(t, func(c net.Conn) {
		br := bufio.NewReader(c)
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		if r.Header.Get("Proxy-Authorization") != "Basic dTpw" {
			_, _ = io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
			return
		}
		if r.Method != http.MethodConnect || r.Host != "bus.example:5671" {
			_, _ = io.WriteString(c, "HTTP/1.1 403 Forbidden\r\n\r\n")
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nVia: x\r\n\r\n")
		splice(c, br, target)
	})
}

// socksProxy is a SOCKS5 proxy without authentication (RFC 1928).
func socksProxy(t *testing.T, target string) string {
	return server(t, func(c net.Conn) {
		head := make([]byte, 2)
		if _, err := io.ReadFull(c, head); err != nil || head[0] != 5 {
			return
		}
		if _, err := io.ReadFull(c, make([]byte, head[1])); err != nil {
			return
		}
		_, _ = c.Write([]byte{5, 0})
		req := make([]byte, 5)
		if _, err := io.ReadFull(c, req); err != nil || req[1] != 1 || req[3] != 3 {
			return
		}
		rest := make([]byte, int(req[4])+2)
		if _, err := io.ReadFull(c, rest); err != nil {
			return
		}
		n := len(rest) - 2
		if got := fmt.Sprintf("%s:%d", rest[:n], binary.BigEndian.Uint16(rest[n:])); got != "bus.example:5671" {
			_, _ = c.Write([]byte{5, 4, 0, 1, 0, 0, 0, 0, 0, 0})
			return
		}
		_, _ = c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
		splice(c, c, target)
	})
}

func TestProxies(t *testing.T) {
	target := echo(t)
	web, socks := connectProxy(t, target), socksProxy(t, target)
	mute := server(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	chatty := server(t, func(c net.Conn) { _, _ = io.WriteString(c, strings.Repeat("x", maxAnswer+1)) })
	other := server(t, func(c net.Conn) { _, _ = io.WriteString(c, "220 smtp.example\r\n\r\n") })
	for _, c := range []struct{ name, setting, want string }{
		{"connect", "http://u:p@" + web, ""},
		{"connect, wrong password", "http://u:s3cret@" + web, "407"},
		{"connect, no password", "http://" + web, "407"},
		{"socks5", "socks5://" + socks, ""},
		{"not a proxy", "http://" + other, "does not speak HTTP"},
		{"endless answer", "http://" + chatty, "too long"},
		{"no answer", "http://" + mute, "deadline"},
		{"nobody there", "http://127.0.0.1:1", "refused"},
		{"socks, nobody there", "socks5://127.0.0.1:1", "refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dial, err := proxyDialer(c.setting, httpproxy.Config{})
			if err != nil {
				t.Fatal(err)
			}
			limit := time.Minute
			if c.want == "deadline" {
				limit = time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			conn, err := dial(ctx, "tcp", "bus.example:5671")
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret") {
					t.Errorf("error = %v, want %q in it", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if _, err := io.WriteString(conn, "world"); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len("hello world"))
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello world" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestProxyChoice(t *testing.T) {
	env := httpproxy.Config{HTTPSProxy: "http://proxy:3128", NoProxy: "inside.example,10.0.0.0/8"}
	for _, c := range []struct{ setting, addr, want string }{
		{"", "bus.example:5671", "http://proxy:3128"},
		{"", "bus.inside.example:5671", ""},
		{"", "10.1.2.3:5671", ""},
		{"", "127.0.0.1:5671", ""},
		{ProxyNone, "bus.example:5671", ""},
		{"socks5://other:1080", "10.1.2.3:5671", "socks5://other:1080"},
	} {
		choose, err := proxyChoice(c.setting, env)
		if err != nil {
			t.Fatal(err)
		}
		via, err := choose(c.addr)
		got := ""
		if via != nil {
			got = via.String()
		}
		if err != nil || got != c.want {
			t.Errorf("%q for %s: %q, %v, want %q", c.setting, c.addr, got, err, c.want)
		}
	}
	for _, setting := range []string{"proxy:3128", "ftp://u:s3cret@proxy", "http://", "http://u:s3cret@h:x"} {
		if _, err := New(Config{URLs: []string{"amqp://h"}, Proxy: setting}); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", setting, err)
		}
	}
	for proxy, good := range map[string]bool{"http://u:s3cret@[:::": false, "proxy:3128": true, "": true} {
		_, err := proxyChoice("", httpproxy.Config{HTTPSProxy: proxy})
		if (err == nil) != good || err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("environment %q: %v", proxy, err)
		}
	}
	t.Setenv("HTTPS_PROXY", "")
	t.Setenv("https_proxy", "")
	t.Setenv("ALL_PROXY", "socks5://all:1080")
	if got := environment().HTTPSProxy; got != "socks5://all:1080" {
		t.Errorf("ALL_PROXY: %q", got)
	}
}
