package hub

import (
	"context"
	"net"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-hq/muster/dispatch/bus"
)

// fuzzChannel is a channel of a connection that nobody writes for, on a hub with one queue, "agent.1".
func fuzzChannel(t testing.TB, user string) *channel {
	t.Helper()
	h := New(Config{})
	here, there := net.Pipe()
	t.Cleanup(func() { _, _ = here.Close(), there.Close() })
	c := newConn(h, here, nil, user == bus.UserOrchestrator)
	c.identity, _ = bus.ParseUser(user)
	h.queues["agent.1"] = &queue{name: "agent.1", maxLength: -1, bindings: make(map[binding]bool)}
	ch := newChannel(c, 1)
	c.channels[1] = ch
	return ch
}

// TestProtocolErrors: what no well-behaved client does ends the connection with the code that says why.
func TestProtocolErrors(t *testing.T) {
	publish := func(ch *channel) *amqpError {
		return ch.method(basicPublish, &decoder{b: (&encoder{}).short(0).shortstr("").shortstr("agent.1").octet(0).b})
	}
	header := func(size uint64) frame {
		return frame{kind: frameHeader, payload: (&encoder{}).short(classBasic).short(0).longlong(size).short(0).b}
	}
	for _, c := range []struct {
		name string
		code uint16
		do   func(ch *channel) *amqpError
	}{
		{"content without publish", codeUnexpectedFrame, func(ch *channel) *amqpError { return ch.content(header(1)) }},
		{"body before header", codeUnexpectedFrame, func(ch *channel) *amqpError {
			publish(ch)
			return ch.content(frame{kind: frameBody, payload: []byte("x")})
		}},
		{"two headers", codeUnexpectedFrame, func(ch *channel) *amqpError {
			publish(ch)
			ch.content(header(1))
			return ch.content(header(1))
		}},
		{"body too long", codeFrameError, func(ch *channel) *amqpError {
			publish(ch)
			ch.content(header(1))
			return ch.content(frame{kind: frameBody, payload: []byte("xx")})
		}},
		{"method before the content", codeUnexpectedFrame, func(ch *channel) *amqpError {
			publish(ch)
			return publish(ch)
		}},
		{"too large", codePreconditionFailed, func(ch *channel) *amqpError {
			publish(ch)
			return ch.content(header(1 << 62))
		}},
		{"bad header", codeSyntaxError, func(ch *channel) *amqpError {
			publish(ch)
			return ch.content(frame{kind: frameHeader})
		}},
		{"transactions", codeNotImplemented, func(ch *channel) *amqpError { return ch.method(classTx<<16|10, &decoder{}) }},
		{"immediate", codeNotImplemented, func(ch *channel) *amqpError {
			return ch.method(basicPublish, &decoder{b: (&encoder{}).short(0).shortstr("").shortstr("agent.1").octet(2).b})
		}},
		{"arguments cut", codeSyntaxError, func(ch *channel) *amqpError { return ch.method(queueDeclare, &decoder{b: []byte{0, 0, 9}}) }},
		{"flow off", codeNotImplemented, func(ch *channel) *amqpError { return ch.method(channelFlow, &decoder{b: []byte{0}}) }},
		{"consumer tag twice", codeNotAllowed, func(ch *channel) *amqpError {
			consume := (&encoder{}).short(0).shortstr("agent.1").shortstr("t").octet(0).table().b
			if e := ch.method(basicConsume, &decoder{b: consume}); e != nil {
				return e
			}
			return ch.method(basicConsume, &decoder{b: consume})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ch := fuzzChannel(t, bus.UserOrchestrator)
			e := c.do(ch)
			if e == nil || e.code != c.code {
				t.Fatalf("error = %v, want %s", e, codeName(c.code))
			}
			if hard := ch.fail(0, e) != nil; hard == e.soft() {
				t.Errorf("%v: ends the connection: %v", e, hard)
			}
			if ch.conn.assembling != 0 && e.soft() {
				t.Errorf("%d octets are still counted", ch.conn.assembling)
			}
		})
	}
}

// TestAssemblingIsBounded: half messages on many channels do not add up.
func TestAssemblingIsBounded(t *testing.T) {
	first := fuzzChannel(t, bus.UserOrchestrator)
	c := first.conn
	c.hub.cfg.MaxMessage = 1000
	var last *amqpError
	for i := range 4 {
		ch := newChannel(c, uint16(i+1))
		ch.incoming = &incoming{headed: true, size: 1000}
		if last = ch.content(frame{kind: frameBody, payload: make([]byte, 900)}); last != nil {
			break
		}
	}
	if last == nil || last.code != codeResourceError {
		t.Errorf("error = %v", last)
	}
}

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(10)
		began := time.Now()
		for range 25 {
			if !l.wait(t.Context(), time.Minute) {
				t.Fatal("refused")
			}
		}
		// A second's worth at once, then one each tenth of a second.
		if d := time.Since(began); d < 1300*time.Millisecond || d > 1600*time.Millisecond {
			t.Errorf("25 events at 10 per second took %s", d)
		}
		if l.wait(t.Context(), 50*time.Millisecond) {
			t.Error("one went ahead of its turn")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if l.wait(ctx, time.Minute) {
			t.Error("waited although the context has ended")
		}
	})
}

func BenchmarkRoute(b *testing.B) {
	x := newExchange("x", kindDirect, true, false)
	for i := range 5000 {
		q := &queue{bindings: make(map[binding]bool)}
		x.bind(q, strconv.Itoa(i))
	}
	for b.Loop() {
		if len(x.route("1234")) != 1 {
			b.Fatal("not routed")
		}
	}
}

func TestRecover(t *testing.T) {
	ch := fuzzChannel(t, bus.UserOrchestrator)
	h := ch.conn.hub
	q := h.queues["agent.1"]
	h.mu.Lock()
	for range 3 {
		h.enqueue(q, &message{key: "agent.1", body: []byte("x")})
	}
	h.mu.Unlock()
	get := (&encoder{}).short(0).shortstr("agent.1").octet(0).b
	for range 2 {
		if e := ch.method(basicGet, &decoder{b: get}); e != nil {
			t.Fatal(e)
		}
	}
	if len(q.ready) != 1 || q.unacked != 2 {
		t.Fatalf("%d ready, %d out", len(q.ready), q.unacked)
	}
	if e := ch.method(basicRecover, &decoder{b: []byte{1}}); e != nil {
		t.Fatal(e)
	}
	if len(q.ready) != 3 || q.unacked != 0 || len(ch.unacked) != 0 || q.bytes != 3 {
		t.Errorf("%d ready, %d out, %d octets", len(q.ready), q.unacked, q.bytes)
	}
	for i, e := range q.ready {
		if e.seq != uint64(i) || e.redelivered != (i < 2) {
			t.Errorf("at %d: %+v", i, e)
		}
	}
	if e := ch.method(basicRecover, &decoder{b: []byte{0}}); e == nil || e.code != codeNotImplemented {
		t.Errorf("without requeue: %v", e)
	}
}

// TestQueueBytes: a queue holds no more octets than it may, whatever number of messages that is.
func TestQueueBytes(t *testing.T) {
	h := fuzzChannel(t, bus.UserOrchestrator).conn.hub
	h.cfg.MaxQueueBytes = 1000
	q := h.queues["agent.1"]
	h.mu.Lock()
	defer h.mu.Unlock()
	for range 25 {
		h.enqueue(q, &message{body: make([]byte, 300)})
	}
	if len(q.ready) != 3 || q.bytes != 900 || h.stats.Dropped != 22 {
		t.Errorf("%d ready, %d octets, %d dropped", len(q.ready), q.bytes, h.stats.Dropped)
	}
}
