package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Config says where the bus is and who connects.
type Config struct {
	// URLs are the endpoints, amqp:// or amqps://, tried in turn. The path, if any, is the virtual host.
	URLs []string
	// TLS is used for amqps. Nil means the system's CAs and the name in the URL.
	TLS *tls.Config
	// Login gives user and password, anew for each connection. Nil means those in the URL.
	Login func(ctx context.Context) (user, password string, err error)
	// Proxy is http://, https:// or socks5://[user:password@]host:port, ProxyNone, or "" for that of the
	// environment (HTTPS_PROXY, ALL_PROXY, NO_PROXY).
	Proxy string
	// NetDial opens the TCP connection; nil means a net.Dialer, through Proxy.
	NetDial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Heartbeat is the interval that is asked for; zero means 15 s. A peer that is silent for three of
	// them is gone.
	Heartbeat time.Duration
	// Timeout bounds the making of a connection and each declaration; zero means 20 s.
	Timeout time.Duration
	// MinBackoff and MaxBackoff are the first and the last limit of the pause between rounds over the
	// URLs; zero means 1 s and 30 s. The pause itself is random between nothing and the limit.
	MinBackoff, MaxBackoff time.Duration
	// Name tells the broker who this is, for its lists; no secret.
	Name string
	// Log gets connects and losses; nil means nothing is logged.
	Log *slog.Logger
}

// endpoint is a URL taken apart.
type endpoint struct {
	addr, host     string
	secure         bool
	user, password string
	vhost          string
}

func (e endpoint) String() string { return e.addr }

// Conn is a supervised connection to the bus. It is safe for concurrent use.
type Conn struct {
	cfg       Config
	endpoints []endpoint
	log       *slog.Logger
}

// New checks a configuration. It connects nothing: Run and Dial do.
func New(cfg Config) (*Conn, error) {
	if len(cfg.URLs) == 0 {
		return nil, errors.New("bus: no URL is given; it looks like amqps://host:5671")
	}
	c := &Conn{cfg: cfg, log: cfg.Log}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	for _, raw := range cfg.URLs {
		e, err := parseEndpoint(raw)
		if err != nil {
			return nil, err
		}
		c.endpoints = append(c.endpoints, e)
	}
	setDefault(&c.cfg.Heartbeat, 15*time.Second)
	setDefault(&c.cfg.Timeout, 20*time.Second)
	setDefault(&c.cfg.MinBackoff, time.Second)
	setDefault(&c.cfg.MaxBackoff, 30*time.Second)
	if c.cfg.NetDial == nil {
		dial, err := proxyDialer(cfg.Proxy, environment())
		if err != nil {
			return nil, err
		}
		c.cfg.NetDial = dial
	}
	return c, nil
}

func setDefault(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}

// parseEndpoint reads a URL. Its errors never show the URL's password.
func parseEndpoint(raw string) (endpoint, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return endpoint{}, errors.New("bus: a URL cannot be read; it looks like amqps://host:5671")
	}
	e := endpoint{host: u.Hostname(), vhost: "/"}
	port := u.Port()
	switch u.Scheme {
	case "amqp":
		if port == "" {
			port = "5672"
		}
	case "amqps":
		e.secure = true
		if port == "" {
			port = "5671"
		}
	default:
		return endpoint{}, fmt.Errorf("bus: URL %s: the scheme is amqp or amqps", u.Redacted())
	}
	if e.host == "" {
		return endpoint{}, fmt.Errorf("bus: URL %s names no host", u.Redacted())
	}
	e.addr = net.JoinHostPort(e.host, port)
	if u.User != nil {
		e.user = u.User.Username()
		e.password, _ = u.User.Password()
	}
	if len(u.Path) > 1 {
		e.vhost = u.Path[1:]
	}
	return e, nil
}

// stopError ends Run.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }
func (e *stopError) Unwrap() error { return e.err }

// Stop makes an error that ends Run, which then returns err.
func Stop(err error) error { return &stopError{err} }

// Run keeps a connection and calls session with each new one, until session returns nil (Run returns
// nil), returns Stop(err) (Run returns err) or ctx ends (Run returns its error). session's context ends
// with its connection. After any other error of session, or a failed round over the URLs, it pauses and
// tries again: a refused login too, since the broker may not know a new agent yet, or nobody to ask.
func (c *Conn) Run(ctx context.Context, session func(ctx context.Context, s *Session) error) error {
	pause := backoff{first: c.cfg.MinBackoff, limit: c.cfg.MaxBackoff}
	at := 0
	for {
		s, next, err := c.dialRound(ctx, at)
		if err == nil {
			at = next
			began := time.Now()
			c.log.InfoContext(ctx, "bus connected", "endpoint", s.Endpoint(), "user", s.User())
			err = c.runSession(ctx, s, session)
			var stop *stopError
			switch {
			case err == nil:
				return nil
			case errors.As(err, &stop):
				return stop.err
			case time.Since(began) > settled*c.cfg.MinBackoff:
				pause.reset()
			case s.Err() != nil && !IsRefused(s.Err()) && !IsNotFound(s.Err()):
				pause.again() // a broker that died is no reason to wait longer for the next one
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		wait := pause.next()
		log := c.log
		if IsRefused(err) {
			log = log.With("hint", "the broker does not know this agent or token, or not yet, or this machine's clock is many hours wrong")
		}
		log.WarnContext(ctx, "bus not connected", "error", err, "again_in", wait)
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// settled is how many first pauses a connection must have lasted for its loss to count as a new one: the
// node behind it was killed, and another endpoint can be had at once.
const settled = 2

// runSession calls session with a context that ends with the connection, and closes the connection.
func (c *Conn) runSession(ctx context.Context, s *Session, session func(context.Context, *Session) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-s.Done():
			cancel(s.Err())
		case <-stop:
		}
	}()
	err := session(ctx, s)
	if err != nil && errors.Is(err, context.Canceled) && s.Err() != nil {
		err = s.Err()
	}
	if closeErr := s.Close(); closeErr != nil {
		c.log.DebugContext(ctx, "bus close", "error", closeErr)
	}
	return err
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Dial makes one connection, trying each URL once; nothing supervises it.
func (c *Conn) Dial(ctx context.Context) (*Session, error) {
	s, _, err := c.dialRound(ctx, 0)
	return s, err
}

// dialRound tries each endpoint once, from the at-th on. It returns where the next round should begin:
// behind the one that answered, since that is the one that will have been lost.
func (c *Conn) dialRound(ctx context.Context, at int) (*Session, int, error) {
	var errs []error
	for i := range c.endpoints {
		n := (at + i) % len(c.endpoints)
		s, err := c.dial(ctx, c.endpoints[n])
		if err == nil {
			return s, n + 1, nil
		}
		errs = append(errs, fmt.Errorf("bus at %s: %w", c.endpoints[n], err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, at, errors.Join(errs...)
}

// dial connects to one endpoint.
func (c *Conn) dial(ctx context.Context, e endpoint) (*Session, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	user, password := e.user, e.password
	if c.cfg.Login != nil {
		var err error
		if user, password, err = c.cfg.Login(ctx); err != nil {
			return nil, fmt.Errorf("login statement: %w", err)
		}
	}
	conn, err := c.cfg.NetDial(ctx, "tcp", e.addr)
	if err != nil {
		return nil, err
	}
	if e.secure {
		if conn, err = c.secure(ctx, conn, e); err != nil {
			return nil, err
		}
	}
	return c.open(ctx, conn, e, user, password)
}

// secure runs the TLS handshake; conn is closed if that fails.
func (c *Conn) secure(ctx context.Context, conn net.Conn, e endpoint) (net.Conn, error) {
	cfg := &tls.Config{}
	if c.cfg.TLS != nil {
		cfg = c.cfg.TLS.Clone()
	}
	if cfg.ServerName == "" {
		cfg.ServerName = e.host
	}
	t := tls.Client(conn, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // the handshake's error is the one to tell
		return nil, fmt.Errorf("tls: %w", err)
	}
	return t, nil
}

// open runs the AMQP handshake. ctx ends it by closing conn; a library that waits for an answer knows
// no other way.
func (c *Conn) open(ctx context.Context, conn net.Conn, e endpoint, user, password string) (*Session, error) {
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			_ = conn.Close() // the first error is the one to tell
			return nil, err
		}
	}
	undo := context.AfterFunc(ctx, func() { _ = conn.Close() })
	props := amqp.NewConnectionProperties()
	if c.cfg.Name != "" {
		props.SetClientConnectionName(c.cfg.Name)
	}
	ac, err := amqp.Open(conn, amqp.Config{
		SASL:       []amqp.Authentication{&amqp.PlainAuth{Username: user, Password: password}},
		Vhost:      e.vhost,
		Heartbeat:  c.cfg.Heartbeat,
		Properties: props,
		Locale:     "en_US",
	})
	if !undo() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close() // the handshake's error is the one to tell
		if ctx.Err() != nil {
			return nil, fmt.Errorf("handshake: %w", ctx.Err())
		}
		return nil, fmt.Errorf("handshake as %s: %w", user, err)
	}
	return newSession(ac, e, user, c.cfg.Timeout), nil
}
