package bus

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"
	"golang.org/x/net/proxy"
)

// ProxyNone is the value of Config.Proxy that ignores the environment.
const ProxyNone = "none"

// dialFunc opens a connection.
type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// proxyDialer is the default of Config.NetDial: straight, or through the proxy of the setting or of the
// environment.
func proxyDialer(setting string, env httpproxy.Config) (dialFunc, error) {
	direct := (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext
	choose, err := proxyChoice(setting, env)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		via, err := choose(addr)
		if err != nil {
			return nil, err
		}
		if via == nil {
			return direct(ctx, network, addr)
		}
		conn, err := dialVia(ctx, direct, via, addr)
		if err != nil {
			return nil, fmt.Errorf("through proxy %s: %w", via.Host, err)
		}
		return conn, nil
	}, nil
}

// environment reads HTTPS_PROXY, ALL_PROXY and NO_PROXY, in either case. The bus counts as https, the
// kind of traffic that proxies let pass unread.
func environment() httpproxy.Config {
	env := *httpproxy.FromEnvironment()
	for _, name := range []string{"ALL_PROXY", "all_proxy"} {
		if env.HTTPSProxy == "" {
			env.HTTPSProxy = os.Getenv(name)
		}
	}
	return env
}

// proxyChoice returns what finds the proxy for an address; nil means none.
func proxyChoice(setting string, env httpproxy.Config) (func(addr string) (*url.URL, error), error) {
	switch setting {
	case ProxyNone:
		return func(string) (*url.URL, error) { return nil, nil }, nil
	case "":
		// What cannot be read would be passed over in silence, and the bus dialled straight.
		text := env.HTTPSProxy
		if text != "" && !strings.Contains(text, "://") {
			text = "http://" + text
		}
		if _, err := url.Parse(text); err != nil {
			return nil, errors.New("bus: the proxy in the environment cannot be read; it looks like http://host:3128")
		}
		find := env.ProxyFunc()
		return func(addr string) (*url.URL, error) { return find(&url.URL{Scheme: "https", Host: addr}) }, nil
	}
	via, err := url.Parse(setting)
	if err != nil || via.Hostname() == "" {
		return nil, errors.New("bus: the proxy cannot be read; it looks like http://host:3128 or socks5://host:1080")
	}
	switch via.Scheme {
	case "http", "https", "socks5", "socks5h":
		return func(string) (*url.URL, error) { return via, nil }, nil
	default:
		return nil, fmt.Errorf("bus: proxy %s: the scheme is http, https or socks5", via.Redacted())
	}
}

// dialVia connects to addr through a proxy. The proxy resolves the name.
func dialVia(ctx context.Context, direct dialFunc, via *url.URL, addr string) (net.Conn, error) {
	switch via.Scheme {
	case "socks5", "socks5h":
		var auth *proxy.Auth
		if via.User != nil {
			password, _ := via.User.Password()
			auth = &proxy.Auth{User: via.User.Username(), Password: password}
		}
		d, err := proxy.SOCKS5("tcp", hostPort(via, "1080"), auth, forwarder(direct))
		if err != nil {
			return nil, err
		}
		cd, ok := d.(proxy.ContextDialer)
		if !ok {
			return nil, errors.New("the SOCKS dialer takes no context")
		}
		return cd.DialContext(ctx, "tcp", addr)
	case "http", "https":
		return dialConnect(ctx, direct, via, addr)
	default:
		return nil, fmt.Errorf("a proxy of scheme %q is not known", via.Scheme)
	}
}

// forwarder makes a dialFunc a dialer of x/net/proxy.
type forwarder dialFunc

func (f forwarder) Dial(network, addr string) (net.Conn, error) {
	return f(context.Background(), network, addr)
}

func (f forwarder) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return f(ctx, network, addr)
}

func hostPort(u *url.URL, port string) string {
	if p := u.Port(); p != "" {
		port = p
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// dialConnect asks an HTTP proxy for a tunnel.
func dialConnect(ctx context.Context, direct dialFunc, via *url.URL, addr string) (net.Conn, error) {
	port := "80"
	if via.Scheme == "https" {
		port = "443"
	}
	conn, err := direct(ctx, "tcp", hostPort(via, port))
	if err != nil {
		return nil, err
	}
	if via.Scheme == "https" {
		conn = tls.Client(conn, &tls.Config{ServerName: via.Hostname()})
	}
	undo := context.AfterFunc(ctx, func() { _ = conn.Close() })
	err = tunnel(conn, via, addr)
	if !undo() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close() // the first error is the one to tell
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	return conn, nil
}

// maxAnswer bounds the head of a proxy's answer, in bytes.
const maxAnswer = 16 << 10

// tunnel sends CONNECT and reads the head of the answer, byte by byte, since what follows it belongs to
// the broker.
func tunnel(conn net.Conn, via *url.URL, addr string) error {
	request := "CONNECT " + addr + " HTTP/1.1\r\nHost: " + addr + "\r\n"
	if via.User != nil {
		password, _ := via.User.Password()
		secret := base64.StdEncoding.EncodeToString([]byte(via.User.Username() + ":" + password))
		request += "Proxy-Authorization: Basic " + secret + "\r\n"
	}
	if _, err := conn.Write([]byte(request + "\r\n")); err != nil {
		return err
	}
	var head []byte
	one := make([]byte, 1)
	for !strings.HasSuffix(string(head[max(0, len(head)-4):]), "\r\n\r\n") {
		if len(head) == maxAnswer {
			return errors.New("its answer is too long")
		}
		if _, err := conn.Read(one); err != nil {
			return fmt.Errorf("its answer ended early: %w", err)
		}
		head = append(head, one[0])
	}
	status, _, _ := strings.Cut(string(head), "\r\n")
	version, rest, _ := strings.Cut(status, " ")
	if !strings.HasPrefix(version, "HTTP/1.") {
		return errors.New("it does not speak HTTP")
	}
	if !strings.HasPrefix(rest, "2") {
		return fmt.Errorf("it refused: %.100q", rest)
	}
	return nil
}
