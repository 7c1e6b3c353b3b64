package bus_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/muster-hq/muster/dispatch/bus"
)

// queue declares a queue that nobody else uses.
func queue(t *testing.T, ch *amqp.Channel, args amqp.Table) string {
	t.Helper()
	q, err := ch.QueueDeclare("", false, false, false, false, args)
	must(t, err)
	return q.Name
}

func put(t *testing.T, ch *amqp.Channel, exchange, key string, bodies ...string) {
	t.Helper()
	for _, body := range bodies {
		c, err := ch.PublishWithDeferredConfirmWithContext(t.Context(), exchange, key, false, false, amqp.Publishing{Body: []byte(body)})
		must(t, err)
		if c != nil {
			c.Wait()
		}
	}
}

// drain takes what is ready.
func drain(t *testing.T, ch *amqp.Channel, queue string) []string {
	t.Helper()
	var got []string
	for {
		d, ok, err := ch.Get(queue, true)
		must(t, err)
		if !ok {
			return got
		}
		got = append(got, string(d.Body))
	}
}

func confirming(t *testing.T, b *broker) *amqp.Channel {
	t.Helper()
	ch := rawChannel(t, b.raw(t, nil))
	must(t, ch.Confirm(false))
	return ch
}

func wantBodies(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func testRequeue(t *testing.T, b *broker) {
	ch := confirming(t, b)
	q := queue(t, ch, nil)
	put(t, ch, "", q, "a", "b", "c")
	other := rawChannel(t, b.raw(t, nil))
	from, err := other.Consume(q, "", false, false, false, false, nil)
	must(t, err)
	for _, want := range []string{"a", "b", "c"} {
		if d := receive(t, from); string(d.Body) != want || d.Redelivered {
			t.Errorf("got %q, redelivered %v", d.Body, d.Redelivered)
		}
	}
	must(t, other.Close())
	from, err = ch.Consume(q, "", false, false, false, false, nil)
	must(t, err)
	for _, want := range []string{"a", "b", "c"} { // in their old order
		d := receive(t, from)
		if string(d.Body) != want || !d.Redelivered {
			t.Errorf("got %q, redelivered %v", d.Body, d.Redelivered)
		}
		must(t, d.Ack(false))
	}
	silence(t, from)
}

func testNack(t *testing.T, b *broker) {
	o := b.orchestrator(t)
	must(t, bus.DeclareAgent(t.Context(), o, "nack1"))
	from, err := o.Consume(t.Context(), bus.AgentQueue("nack1"), 1)
	must(t, err)
	must(t, o.Publish(t.Context(), bus.ExchangeOrders, "nack1", true, []byte("x")))
	d := receive(t, from)
	must(t, d.Nack(true))
	d = receive(t, from)
	if !d.Redelivered || string(d.Body) != "x" {
		t.Errorf("got %+v", d)
	}
	must(t, d.Nack(false))
	silence(t, from)
}

func testAcks(t *testing.T, b *broker) {
	ch := confirming(t, b)
	q := queue(t, ch, nil)
	put(t, ch, "", q, "a", "b", "c", "d")
	from, err := ch.Consume(q, "tag", false, false, false, false, nil)
	must(t, err)
	var last amqp.Delivery
	for range 4 {
		last = receive(t, from)
	}
	must(t, ch.Ack(2, true))
	must(t, ch.Reject(3, true))
	if d := receive(t, from); string(d.Body) != "c" {
		t.Errorf("after the reject: %q", d.Body)
	}
	must(t, ch.Cancel("tag", false))
	must(t, ch.Nack(0, true, true)) // all that are out
	eventually(t, "both are back", func() bool {
		info, err := ch.QueueDeclarePassive(q, false, false, false, false, nil)
		must(t, err)
		return info.Messages == 2 && info.Consumers == 0
	})
	wantBodies(t, drain(t, ch, q), "c", "d")
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	must(t, last.Ack(false)) // it is settled already
	if e := receive(t, closed); e.Code != 406 {
		t.Errorf("closed with %v, want 406", e)
	}
}

func testPrefetch(t *testing.T, b *broker) {
	ch := confirming(t, b)
	q := queue(t, ch, nil)
	put(t, ch, "", q, "a", "b", "c")
	slow := rawChannel(t, b.raw(t, nil))
	must(t, slow.Qos(2, 0, false))
	from, err := slow.Consume(q, "", false, false, false, false, nil)
	must(t, err)
	first := receive(t, from)
	receive(t, from)
	silence(t, from)
	must(t, first.Ack(false))
	if d := receive(t, from); string(d.Body) != "c" {
		t.Errorf("got %q", d.Body)
	}
}

func testDeclaring(t *testing.T, b *broker) {
	conn := b.raw(t, nil)
	ch := rawChannel(t, conn)
	args := amqp.Table{"x-max-length": int64(5), "x-message-ttl": int32(60000)}
	_, err := ch.QueueDeclare("decl.q", true, false, false, false, args)
	must(t, err)
	must(t, ch.ExchangeDeclare("decl.x", "topic", true, false, false, false, nil))
	t.Cleanup(func() {
		last := rawChannel(t, b.raw(t, nil))
		_, _ = last.QueueDelete("decl.q", false, false, false)
		_ = last.ExchangeDelete("decl.x", false, false)
	})
	for _, c := range []struct {
		name string
		code int
		do   func(ch *amqp.Channel) error
	}{
		{"the same again", 0, func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare("decl.q", true, false, false, false, args)
			return err
		}},
		{"not durable", 406, func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare("decl.q", false, false, false, false, args)
			return err
		}},
		{"other arguments", 406, func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare("decl.q", true, false, false, false, amqp.Table{"x-max-length": int64(6), "x-message-ttl": int32(60000)})
			return err
		}},
		{"a bad argument", 406, func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare("decl.q2", true, false, false, false, amqp.Table{"x-max-length": "x"})
			return err
		}},
		{"a reserved name", 403, func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare("amq.mine", true, false, false, false, nil)
			return err
		}},
		{"passive, not there", 404, func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclarePassive("decl.none", true, false, false, false, nil)
			return err
		}},
		{"exchange of another type", 406, func(ch *amqp.Channel) error {
			return ch.ExchangeDeclare("decl.x", "direct", true, false, false, false, nil)
		}},
		{"passive exchange, not there", 404, func(ch *amqp.Channel) error {
			return ch.ExchangeDeclarePassive("decl.none", "direct", true, false, false, false, nil)
		}},
		{"bind to nothing", 404, func(ch *amqp.Channel) error { return ch.QueueBind("decl.q", "k", "decl.none", false, nil) }},
		{"bind nothing", 404, func(ch *amqp.Channel) error { return ch.QueueBind("decl.none", "k", "decl.x", false, nil) }},
		{"bind to the default exchange", 403, func(ch *amqp.Channel) error { return ch.QueueBind("decl.q", "k", "", false, nil) }},
		{"consume nothing", 404, func(ch *amqp.Channel) error { return consumeRaw(ch, "decl.none") }},
		{"delete nothing", 0, func(ch *amqp.Channel) error { _, err := ch.QueueDelete("decl.none", false, false, false); return err }},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.do(rawChannel(t, conn))
			if c.code == 0 {
				must(t, err)
			} else {
				wantCode(t, err, c.code)
			}
		})
	}
	_, err = amqp.DialConfig(b.trustedURL+"/no-such-vhost", amqp.Config{Locale: "en_US"})
	if err == nil {
		t.Error("a virtual host that does not exist was opened")
	}
}

func testBounds(t *testing.T, b *broker) {
	ch := confirming(t, b)
	q := queue(t, ch, amqp.Table{"x-max-length": int64(2)})
	put(t, ch, "", q, "a", "b", "c")
	wantBodies(t, drain(t, ch, q), "b", "c")
	q = queue(t, ch, amqp.Table{"x-message-ttl": int64(50)})
	put(t, ch, "", q, "a")
	eventually(t, "the message expires", func() bool {
		info, err := ch.QueueDeclarePassive(q, false, false, false, false, nil)
		must(t, err)
		return info.Messages == 0
	})
	q = queue(t, ch, nil)
	c, err := ch.PublishWithDeferredConfirmWithContext(t.Context(), "", q, false, false, amqp.Publishing{Expiration: "50", Body: []byte("x")})
	must(t, err)
	c.Wait()
	put(t, ch, "", q, "stays")
	eventually(t, "only the message with an expiration expires", func() bool {
		info, err := ch.QueueDeclarePassive(q, false, false, false, false, nil)
		must(t, err)
		return info.Messages == 1
	})
	wantBodies(t, drain(t, ch, q), "stays")
}

func testExclusive(t *testing.T, b *broker) {
	owner, other := b.raw(t, nil), b.raw(t, nil)
	ch := rawChannel(t, owner)
	_, err := ch.QueueDeclare("excl.q", false, false, true, false, nil)
	must(t, err)
	wantCode(t, consumeRaw(rawChannel(t, other), "excl.q"), 405)
	must(t, owner.Close())
	eventually(t, "the queue goes with its connection", func() bool {
		ch, err := other.Channel()
		must(t, err)
		_, err = ch.QueueDeclarePassive("excl.q", false, false, true, false, nil)
		var e *amqp.Error
		return errors.As(err, &e) && e.Code == 404
	})
	// auto-delete: with the last consumer
	ch = rawChannel(t, other)
	_, err = ch.QueueDeclare("auto.q", false, true, false, false, nil)
	must(t, err)
	_, err = ch.Consume("auto.q", "only", false, false, false, false, nil)
	must(t, err)
	must(t, ch.Cancel("only", false))
	_, err = ch.QueueDeclarePassive("auto.q", false, true, false, false, nil)
	wantCode(t, err, 404)
	// exclusive consumer
	ch = rawChannel(t, other)
	q := queue(t, ch, nil)
	_, err = ch.Consume(q, "", false, true, false, false, nil)
	must(t, err)
	wantCode(t, consumeRaw(rawChannel(t, other), q), 403)
}

func testTopics(t *testing.T, b *broker) {
	ch := confirming(t, b)
	for _, c := range []struct {
		kind     string
		patterns []string
		matched  []string
		others   []string
	}{
		{"topic", []string{"a.*.c"}, []string{"a.b.c", "a..c"}, []string{"a.c", "a.b.b.c", "x.b.c", "a.b.c.d", ""}},
		{"topic", []string{"a.#"}, []string{"a", "a.b", "a.b.c"}, []string{"b", "ab"}},
		{"topic", []string{"#.z", "#"}, []string{"", "z", "a.z", "a"}, nil},
		{"topic", []string{"#.b.#.c"}, []string{"b.c", "a.b.x.c", "b.b.c.c"}, []string{"c.b", "b.c.d"}},
		{"direct", []string{"k", "a.*"}, []string{"k", "a.*"}, []string{"a.b", "kk", ""}},
		{"fanout", []string{"k"}, []string{"k", "", "other"}, nil},
	} {
		name := fmt.Sprintf("topics.%s.%s", c.kind, c.patterns[0])
		must(t, ch.ExchangeDeclare(name, c.kind, false, false, false, false, nil))
		q := queue(t, ch, nil)
		for _, p := range c.patterns {
			must(t, ch.QueueBind(q, p, name, false, nil))
		}
		for _, key := range slices.Concat(c.matched, c.others) {
			put(t, ch, name, key, key)
		}
		wantBodies(t, drain(t, ch, q), c.matched...) // each once, however many patterns match
		for _, p := range c.patterns {
			must(t, ch.QueueUnbind(q, p, name, nil))
		}
		put(t, ch, name, c.matched[0], "unbound")
		wantBodies(t, drain(t, ch, q))
		must(t, ch.ExchangeDelete(name, false, false))
	}
}

func testGetPurgeDelete(t *testing.T, b *broker) {
	ch := confirming(t, b)
	q := queue(t, ch, nil)
	put(t, ch, "", q, "a", "b", "c")
	d, ok, err := ch.Get(q, false)
	must(t, err)
	if !ok || string(d.Body) != "a" || d.MessageCount != 2 {
		t.Errorf("got %v %+v", ok, d)
	}
	if n, err := ch.QueuePurge(q, false); err != nil || n != 2 {
		t.Errorf("purged %d, %v", n, err)
	}
	must(t, d.Nack(false, true))
	wantBodies(t, drain(t, ch, q), "a")
	put(t, ch, "", q, "x")
	other := rawChannel(t, b.raw(t, nil))
	_, err = other.QueueDelete(q, false, true, false)
	wantCode(t, err, 406) // not empty
	from, err := ch.Consume(q, "watcher", false, false, false, false, nil)
	must(t, err)
	receive(t, from)
	other = rawChannel(t, b.raw(t, nil))
	_, err = other.QueueDelete(q, true, false, false)
	wantCode(t, err, 406) // in use
	cancelled := ch.NotifyCancel(make(chan string, 1))
	other = rawChannel(t, b.raw(t, nil))
	_, err = other.QueueDelete(q, false, false, false)
	must(t, err)
	if tag := receive(t, cancelled); tag != "watcher" {
		t.Errorf("cancelled %q", tag)
	}
}

func testProperties(t *testing.T, b *broker) {
	ch := confirming(t, b)
	q := queue(t, ch, nil)
	want := amqp.Publishing{
		ContentType: "text/plain", ContentEncoding: "utf-8", DeliveryMode: 2, Priority: 3, CorrelationId: "c",
		ReplyTo: "r", Expiration: "60000", MessageId: "m", Timestamp: time.Unix(1900000000, 0), Type: "t", AppId: "a",
		Headers: amqp.Table{"s": "text", "n": int32(-5), "l": int64(1) << 40, "b": true, "d": 1.5, "t": time.Unix(5, 0),
			"table": amqp.Table{"x": nil}, "list": []any{"a", int32(1)}, "raw": []byte{1}, "dec": amqp.Decimal{Scale: 1, Value: 2}},
		Body: []byte("body"),
	}
	must(t, ch.PublishWithContext(t.Context(), "", q, false, false, want))
	var d amqp.Delivery
	eventually(t, "the message is there", func() bool {
		var ok bool
		var err error
		d, ok, err = ch.Get(q, true)
		must(t, err)
		return ok
	})
	got := amqp.Publishing{
		ContentType: d.ContentType, ContentEncoding: d.ContentEncoding, DeliveryMode: d.DeliveryMode, Priority: d.Priority,
		CorrelationId: d.CorrelationId, ReplyTo: d.ReplyTo, Expiration: d.Expiration, MessageId: d.MessageId,
		Timestamp: d.Timestamp, Type: d.Type, AppId: d.AppId, Headers: d.Headers, Body: d.Body,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nsent %+v", got, want)
	}
}
