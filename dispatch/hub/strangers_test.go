package hub_test

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/muster-hq/muster/dispatch/bus"
	"github.com/muster-hq/muster/dispatch/hub"
)

// TestGarbage: whatever comes on the port ends that connection, in time, and nothing else.
func TestGarbage(t *testing.T) {
	h := start(t, hub.Config{HandshakeTimeout: 2 * time.Second}, nil)
	witness := channel(t, dial(t, h.agents, "enrol.1"))
	frame := func(kind byte, channel byte, payload string) string {
		n := len(payload)
		return string([]byte{kind, 0, channel, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}) + payload + "\xce"
	}
	const header = "AMQP\x00\x00\x09\x01"
	t.Run("each", func(t *testing.T) {
		for name, c := range map[string]struct {
			send string
			want string // in what comes back
		}{
			"http":             {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", header},
			"old AMQP":         {"AMQP\x00\x01\x00\x00", header},
			"silence":          {"", ""},
			"half a header":    {"AMQP", ""},
			"header, silence":  {header, "capabilities"},
			"frame of 4 GiB":   {header + "\x01\x00\x00\xff\xff\xff\xff", "FRAME_ERROR"},
			"frame too large":  {header + "\x01\x00\x00\x00\x00\x10\x00", "FRAME_ERROR"},
			"unknown type":     {header + frame(7, 0, "x"), "FRAME_ERROR"},
			"no end":           {header + "\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x0b!", "FRAME_ERROR"},
			"wrong method":     {header + frame(1, 0, "\x00\x3c\x00\x28"), "COMMAND_INVALID"},
			"another channel":  {header + frame(1, 5, "\x00\x0a\x00\x0b"), "COMMAND_INVALID"},
			"arguments cut":    {header + frame(1, 0, "\x00\x0a\x00\x0b\x00\x00\x00\xff"), "SYNTAX_ERROR"},
			"nested tables":    {header + frame(1, 0, "\x00\x0a\x00\x0b"+nested(40)+"\x05PLAIN\x00\x00\x00\x00\x00"), "SYNTAX_ERROR"},
			"other mechanism":  {header + frame(1, 0, "\x00\x0a\x00\x0b\x00\x00\x00\x00\x08EXTERNAL\x00\x00\x00\x00\x00"), "ACCESS_REFUSED"},
			"bad plain":        {header + frame(1, 0, "\x00\x0a\x00\x0b\x00\x00\x00\x00\x05PLAIN\x00\x00\x00\x01x\x00"), "ACCESS_REFUSED"},
			"password missing": {header + frame(1, 0, "\x00\x0a\x00\x0b\x00\x00\x00\x00\x05PLAIN\x00\x00\x00\x09\x00agent.1\x00\x00"), "ACCESS_REFUSED"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				nc, err := net.Dial("tcp", h.agents)
				must(t, err)
				defer func() { _ = nc.Close() }()
				_, err = io.WriteString(nc, c.send)
				must(t, err)
				must(t, nc.SetReadDeadline(time.Now().Add(time.Minute)))
				got, err := io.ReadAll(nc)
				if errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(string(got), c.want) {
					t.Errorf("%v, got %q", err, got)
				}
			})
		}
	})
	if _, err := witness.QueueDeclare("enrol.1.a", false, false, true, false, nil); err != nil {
		t.Errorf("the bystander suffered: %v", err)
	}
	eventually(t, "only the bystander is left", func() bool { return h.Stats().Connections == 1 })
}

// nested is a field table in a field table, n deep.
func nested(n int) string {
	inner := ""
	for range n {
		body := inner
		if body != "" {
			body = "\x01kF" + body
		}
		size := len(body)
		inner = string([]byte{byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)}) + body
	}
	return inner
}

func TestLimits(t *testing.T) {
	h := start(t, hub.Config{MaxConnections: 3, MaxPerUser: 2, MaxChannels: 2, MaxQueues: 1, MaxMessage: 1000}, nil)
	first := dial(t, h.agents, "enrol.1")
	second := dial(t, h.agents, "enrol.1")
	if _, err := dialErr(h.agents, "enrol.1", amqp.Config{}); err == nil {
		t.Error("a third connection of one user")
	}
	eventually(t, "it is gone", func() bool { return h.Stats().Connections == 2 })
	third := dial(t, h.agents, "enrol.2")
	if _, err := dialErr(h.agents, "enrol.3", amqp.Config{}); err == nil {
		t.Error("a fourth connection")
	}
	if _, err := amqp.Dial("amqp://x:y@" + h.trusted); err != nil {
		t.Errorf("the orchestrator has no room left: %v", err)
	}
	channel(t, first)
	ch := channel(t, first)
	if _, err := first.Channel(); err == nil {
		t.Error("a third channel")
	}
	_, err := ch.QueueDeclare("enrol.1.a", false, false, true, false, nil)
	must(t, err)
	if _, err := channel(t, second).QueueDeclare("enrol.1.b", false, false, true, false, nil); err == nil {
		t.Error("a second queue")
	}
	ch = channel(t, third)
	orchestrator := channel(t, dial(t, h.trusted, "o"))
	must(t, orchestrator.ExchangeDeclare(bus.ExchangeEnrol, "direct", true, false, false, false, nil))
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	must(t, ch.PublishWithContext(t.Context(), bus.ExchangeEnrol, bus.KeyEnrol, false, false, amqp.Publishing{Body: make([]byte, 1001)}))
	if e := receive(t, closed); e.Code != 406 {
		t.Errorf("closed with %v", e)
	}
	if third.IsClosed() {
		t.Error("the connection went with the channel")
	}
}

func TestLoginsAreLimited(t *testing.T) {
	h := start(t, hub.Config{LoginsPerSecond: 0.002}, nil)
	// One login's worth is free, the next is due in minutes: nobody waits that long.
	must(t, dial(t, h.agents, "agent.1").Close())
	if _, err := dialErr(h.agents, "agent.2", amqp.Config{}); !bus.IsRefused(err) {
		t.Errorf("error = %v, want 403", err)
	}
	if h.Stats().LoginsRefused != 1 {
		t.Errorf("%+v", h.Stats())
	}
	dial(t, h.trusted, "o") // never limited
}

func TestSilentPeerIsDropped(t *testing.T) {
	h := start(t, hub.Config{Heartbeat: time.Second}, nil)
	var mute muted
	c, err := dialErr(h.agents, "agent.1", amqp.Config{Heartbeat: time.Second, Dial: mute.dial})
	must(t, err)
	defer func() { _ = c.Close() }()
	mute.mute()
	eventually(t, "dropped", func() bool { return !h.Connected("agent.1") })
}

// muted is a connection whose writes can be made to vanish: the peer sees a half-open one.
type muted struct {
	net.Conn
	mu  sync.Mutex
	off bool
}

func (m *muted) dial(network, addr string) (net.Conn, error) {
	c, err := net.Dial(network, addr)
	m.Conn = c
	return m, err
}

func (m *muted) mute() {
	m.mu.Lock()
	m.off = true
	m.mu.Unlock()
}

func (m *muted) Write(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.off {
		return len(b), nil
	}
	return m.Conn.Write(b)
}

// TestIdlePeersAreKept: heartbeats alone keep a connection, both ways.
func TestIdlePeersAreKept(t *testing.T) {
	h := start(t, hub.Config{Heartbeat: 2 * time.Second}, nil)
	c, err := dialErr(h.agents, "agent.1", amqp.Config{Heartbeat: 2 * time.Second})
	must(t, err)
	defer func() { _ = c.Close() }()
	closed := c.NotifyClose(make(chan *amqp.Error, 1))
	select {
	case e := <-closed:
		t.Errorf("closed with %v", e)
	case <-time.After(7 * time.Second): // silence would have ended it after 4 s, or 6 s
	}
}
