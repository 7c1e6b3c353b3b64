package hub

import (
	"errors"
	"time"

	"github.com/muster-hq/muster/dispatch/bus"
)

// publish reads basic.publish and judges it before its content comes.
func (ch *channel) publish(d *decoder) *amqpError {
	a := d.publish()
	if e := syntax(d); e != nil {
		return e
	}
	if a.immediate {
		return amqpErrorf(codeNotImplemented, "immediate=true")
	}
	if e := ch.allow(bus.Write, bus.ResourceExchange, a.exchange, ""); e != nil {
		return e
	}
	h := ch.conn.hub
	h.mu.Lock()
	x := h.exchanges[a.exchange]
	h.mu.Unlock()
	if x == nil {
		return amqpErrorf(codeNotFound, "no exchange '%.100s' in vhost '/'", a.exchange)
	}
	if x.kind == kindTopic {
		if e := ch.allow(bus.Write, bus.ResourceTopic, a.exchange, a.key); e != nil {
			return e
		}
	}
	ch.incoming = &incoming{publishArgs: a}
	return nil
}

// content takes a header or body frame.
func (ch *channel) content(f frame) *amqpError {
	if ch.closing {
		return nil
	}
	in := ch.incoming
	switch {
	case in == nil:
		return amqpErrorf(codeUnexpectedFrame, "content without a method that has any")
	case f.kind == frameHeader && !in.headed:
		return ch.header(in, f.payload)
	case f.kind != frameBody || !in.headed:
		return amqpErrorf(codeUnexpectedFrame, "frames of a message come as method, header, body")
	case uint64(len(in.body)+len(f.payload)) > in.size:
		return amqpErrorf(codeFrameError, "a body is longer than its header says")
	}
	ch.conn.assembling += len(f.payload)
	if ch.conn.assembling > 2*ch.conn.hub.cfg.MaxMessage {
		return amqpErrorf(codeResourceError, "too much of messages that are not whole")
	}
	in.body = append(in.body, f.payload...)
	if uint64(len(in.body)) == in.size {
		ch.complete(in)
	}
	return nil
}

func (ch *channel) header(in *incoming, payload []byte) *amqpError {
	size, props, err := contentHeader(payload)
	var ae *amqpError
	if errors.As(err, &ae) {
		return ae
	}
	if err != nil {
		return amqpErrorf(codeSyntaxError, "content header: %s", err)
	}
	if limit := ch.conn.hub.cfg.MaxMessage; size > uint64(limit) {
		return amqpErrorf(codePreconditionFailed, "message size %d is larger than configured max size %d", size, limit)
	}
	user := ch.conn.identity.User
	if props.userID != "" && props.userID != user && !ch.conn.trusted {
		return amqpErrorf(codePreconditionFailed, "user_id property set to '%.80s' but authenticated user was '%s'", props.userID, user)
	}
	in.headed, in.size, in.props = true, size, props
	if size == 0 {
		ch.complete(in)
	}
	return nil
}

// complete routes a message that is whole, returns it if nobody wants it and somebody should, and
// confirms it.
func (ch *channel) complete(in *incoming) {
	ch.conn.assembling -= len(in.body)
	ch.incoming = nil
	m := &message{exchange: in.exchange, key: in.key, props: in.props.raw, body: in.body,
		ttl: in.props.expiration, hasTTL: in.props.expires}
	h := ch.conn.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stats.Published++
	queues := h.targets(m)
	if len(queues) == 0 && in.mandatory {
		h.stats.Returned++
		ch.conn.out.add(func(b []byte) []byte {
			e := basicReturn.begin().short(codeNoRoute).shortstr("NO_ROUTE").shortstr(m.exchange).shortstr(m.key)
			b = appendFrame(b, frameMethod, ch.id, e.b)
			return appendContent(b, ch.id, m, ch.conn.frameMax)
		})
	}
	h.hand(m, queues)
	if ch.confirming {
		ch.published++
		ch.send(basicAck.begin().longlong(ch.published).bit(false))
	}
}

// targets finds the queues that a message goes to. Under Hub.mu.
func (h *Hub) targets(m *message) []*queue {
	if m.exchange == "" {
		if q := h.queues[m.key]; q != nil {
			return []*queue{q}
		}
		return nil
	}
	if x := h.exchanges[m.exchange]; x != nil {
		return x.route(m.key)
	}
	return nil // deleted while the message was coming
}

// hand puts a message into queues, or does to it what a test has asked for. Under Hub.mu.
func (h *Hub) hand(m *message, queues []*queue) {
	if h.cfg.Fault == nil {
		for _, q := range queues {
			h.enqueue(q, m)
		}
		return
	}
	for _, delay := range h.cfg.Fault(m.exchange, m.key) {
		if delay <= 0 {
			for _, q := range queues {
				h.enqueue(q, m)
			}
			continue
		}
		time.AfterFunc(delay, func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			for _, q := range h.targets(m) {
				h.enqueue(q, m)
			}
		})
	}
}

func (ch *channel) consume(d *decoder) *amqpError {
	a := d.consume()
	if e := syntax(d); e != nil {
		return e
	}
	h := ch.conn.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	a.queue = ch.queueName(a.queue)
	if e := ch.allow(bus.Read, bus.ResourceQueue, a.queue, ""); e != nil {
		return e
	}
	q, e := ch.lookup(a.queue)
	if e != nil {
		return e
	}
	if a.tag == "" {
		a.tag = h.generated("amq.ctag-")
	}
	switch {
	case ch.consumers[a.tag] != nil:
		return amqpErrorf(codeNotAllowed, "attempt to reuse consumer tag '%.100s'", a.tag)
	case len(q.consumers) > 0 && (a.exclusive || q.consumers[0].exclusive):
		return amqpErrorf(codeAccessRefused, "queue '%s' in vhost '/' in exclusive use", q.name)
	}
	c := &consumer{tag: a.tag, ch: ch, queue: q, noAck: a.noAck, exclusive: a.exclusive, prefetch: ch.consumerPrefetch}
	ch.consumers[a.tag] = c
	q.consumers = append(q.consumers, c)
	if !a.noWait {
		ch.send(basicConsumeOK.begin().shortstr(a.tag))
	}
	h.deliver(q)
	return nil
}

func (ch *channel) cancel(d *decoder) *amqpError {
	tag := d.shortstr()
	noWait := d.octet()&1 != 0
	if e := syntax(d); e != nil {
		return e
	}
	h := ch.conn.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := ch.consumers[tag]; c != nil {
		h.removeConsumer(c)
	}
	if !noWait {
		ch.send(basicCancelOK.begin().shortstr(tag))
	}
	return nil
}

func (ch *channel) get(d *decoder) *amqpError {
	d.short()
	name := d.shortstr()
	noAck := d.octet()&1 != 0
	if e := syntax(d); e != nil {
		return e
	}
	h := ch.conn.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	name = ch.queueName(name)
	if e := ch.allow(bus.Read, bus.ResourceQueue, name, ""); e != nil {
		return e
	}
	q, e := ch.lookup(name)
	if e != nil {
		return e
	}
	h.expire(q, time.Now())
	if len(q.ready) == 0 {
		ch.send(basicGetEmpty.begin().shortstr(""))
		return nil
	}
	if !noAck && len(ch.unacked) >= h.cfg.MaxUnacked {
		return amqpErrorf(codePreconditionFailed, "%d messages without an acknowledgement", len(ch.unacked))
	}
	en := q.pop()
	var by *consumer
	if noAck {
		by = &consumer{noAck: true}
	}
	tag := ch.track(en, q, by)
	h.stats.Delivered++
	left := uint32(len(q.ready))
	ch.conn.out.add(func(b []byte) []byte {
		m := basicGetOK.begin().longlong(tag).bit(en.redelivered).shortstr(en.msg.exchange).shortstr(en.msg.key).long(left)
		b = appendFrame(b, frameMethod, ch.id, m.b)
		return appendContent(b, ch.id, en.msg, ch.conn.frameMax)
	})
	return nil
}
