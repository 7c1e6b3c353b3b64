package hub

import (
	"cmp"
	"slices"

	"github.com/muster-hq/muster/dispatch/bus"
)

// channel is one channel of a connection. Its methods run on the connection's goroutine, except track,
// which runs wherever a queue has something for one of its consumers, under Hub.mu.
type channel struct {
	id   uint16
	conn *conn

	// Under Hub.mu.
	consumers map[string]*consumer
	unacked   map[uint64]delivery
	nextTag   uint64
	prefetch  int // all consumers together; 0: none set
	dropped   bool

	// Of the connection's goroutine.
	consumerPrefetch int  // of consumers to come; 0: none set
	closing          bool // channel.close is sent
	confirming       bool
	published        uint64
	lastQueue        string
	incoming         *incoming
}

// delivery is a message that is out without an acknowledgement.
type delivery struct {
	entry    entry
	tag      uint64
	queue    *queue
	consumer *consumer // nil: basic.get
}

// incoming is a message that is not whole yet.
type incoming struct {
	publishArgs
	headed bool
	size   uint64
	props  properties
	body   []byte
}

func newChannel(c *conn, id uint16) *channel {
	return &channel{id: id, conn: c, consumers: make(map[string]*consumer), unacked: make(map[uint64]delivery)}
}

func (ch *channel) send(e *encoder) { ch.conn.sendOn(ch.id, e) }

// fail tells the peer about an error that ends the channel only; any other error is returned.
func (ch *channel) fail(id methodID, e *amqpError) error {
	if e == nil {
		return nil
	}
	if !e.soft() {
		return e
	}
	ch.closing = true
	ch.dropIncoming()
	ch.conn.hub.mu.Lock()
	ch.conn.hub.dropChannel(ch)
	ch.conn.hub.mu.Unlock()
	ch.send(channelClose.begin().short(e.code).shortstr(e.Error()).short(id.class()).short(id.method()))
	return nil
}

func (ch *channel) dropIncoming() {
	if ch.incoming != nil {
		ch.conn.assembling -= len(ch.incoming.body)
		ch.incoming = nil
	}
}

// method acts on a method frame of an open channel.
func (ch *channel) method(id methodID, d *decoder) *amqpError {
	switch id {
	case channelClose:
		ch.dropIncoming()
		ch.conn.removeChannel(ch)
		ch.send(channelCloseOK.begin())
		return nil
	case channelCloseOK:
		if ch.closing {
			ch.conn.removeChannel(ch)
		}
		return nil
	}
	if ch.closing {
		return nil
	}
	if ch.incoming != nil {
		return amqpErrorf(codeUnexpectedFrame, "expected the content of a message, got method %d.%d", id.class(), id.method())
	}
	act, ok := ch.action(id)
	if !ok {
		return amqpErrorf(codeNotImplemented, "method %d.%d", id.class(), id.method())
	}
	return act(d)
}

// action finds the code for a method.
func (ch *channel) action(id methodID) (func(*decoder) *amqpError, bool) {
	switch id {
	case channelFlow:
		return ch.flow, true
	case exchangeDeclare:
		return ch.exchangeDeclare, true
	case exchangeDelete:
		return ch.exchangeDelete, true
	case queueDeclare:
		return ch.queueDeclare, true
	case queueBind:
		return ch.queueBind, true
	case queueUnbind:
		return ch.queueUnbind, true
	case queuePurge:
		return ch.queuePurge, true
	case queueDelete:
		return ch.queueDelete, true
	case basicQos:
		return ch.qos, true
	case basicConsume:
		return ch.consume, true
	case basicCancel:
		return ch.cancel, true
	case basicPublish:
		return ch.publish, true
	case basicGet:
		return ch.get, true
	case basicAck, basicNack, basicReject:
		return func(d *decoder) *amqpError { return ch.settled(id, d) }, true
	case basicRecover, basicRecoverAsync:
		return func(d *decoder) *amqpError { return ch.recoverAll(id, d) }, true
	case confirmSelect:
		return ch.confirmSelect, true
	default:
		return nil, false
	}
}

// syntax turns what a decoder stumbled over into an error for the peer.
func syntax(d *decoder) *amqpError {
	if d.err != nil {
		return amqpErrorf(codeSyntaxError, "%s", d.err)
	}
	return nil
}

// allow asks the policy.
func (ch *channel) allow(perm bus.Permission, res bus.Resource, name, key string) *amqpError {
	if res == bus.ResourceExchange && name == "" {
		name = bus.DefaultExchange
	}
	if bus.Allow(ch.conn.identity, perm, res, name, key) {
		return nil
	}
	user := ch.conn.identity.User
	if res == bus.ResourceTopic {
		return amqpErrorf(codeAccessRefused, "%s access to topic '%.100s' in exchange '%.60s' in vhost '/' refused for user '%s'", perm, key, name, user)
	}
	return amqpErrorf(codeAccessRefused, "%s access to %s '%.100s' in vhost '/' refused for user '%s'", perm, res, name, user)
}

func (ch *channel) flow(d *decoder) *amqpError {
	active := d.octet()&1 != 0
	if e := syntax(d); e != nil {
		return e
	}
	if !active {
		return amqpErrorf(codeNotImplemented, "active=false: use a prefetch instead")
	}
	ch.send(channelFlowOK.begin().bit(true))
	return nil
}

func (ch *channel) qos(d *decoder) *amqpError {
	size, count, global := d.long(), d.short(), d.octet()&1 != 0
	if e := syntax(d); e != nil {
		return e
	}
	if size != 0 {
		return amqpErrorf(codeNotImplemented, "prefetch_size!=0 (%d)", size)
	}
	h := ch.conn.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if global {
		ch.prefetch = int(count)
	} else {
		ch.consumerPrefetch = int(count)
	}
	ch.send(basicQosOK.begin())
	ch.pull()
	return nil
}

func (ch *channel) confirmSelect(d *decoder) *amqpError {
	noWait := d.octet()&1 != 0
	if e := syntax(d); e != nil {
		return e
	}
	ch.confirming = true
	if !noWait {
		ch.send(confirmSelectOK.begin())
	}
	return nil
}

// track notes a delivery and gives it its tag. Under Hub.mu.
func (ch *channel) track(e entry, q *queue, c *consumer) uint64 {
	ch.nextTag++
	if c != nil && c.noAck {
		return ch.nextTag
	}
	ch.unacked[ch.nextTag] = delivery{entry: e, tag: ch.nextTag, queue: q, consumer: c}
	q.unacked++
	if c != nil {
		c.unacked++
	}
	return ch.nextTag
}

// take removes one delivery, or all up to a tag, and returns them in their order. Under Hub.mu.
func (ch *channel) take(tag uint64, multiple bool) []delivery {
	var list []delivery
	if !multiple {
		if d, ok := ch.unacked[tag]; ok {
			list = append(list, d)
		}
	} else {
		for t, d := range ch.unacked {
			if t <= tag || tag == 0 {
				list = append(list, d)
			}
		}
		slices.SortFunc(list, func(a, b delivery) int { return cmp.Compare(a.tag, b.tag) })
	}
	for _, d := range list {
		delete(ch.unacked, d.tag)
		d.queue.unacked--
		if d.consumer != nil {
			d.consumer.unacked--
		}
	}
	return list
}

func (ch *channel) takeAll() []delivery { return ch.take(0, true) }

// pull hands on to the channel's consumers what their queues have. Under Hub.mu.
func (ch *channel) pull() {
	for _, c := range ch.consumers {
		ch.conn.hub.deliver(c.queue)
	}
}

// settled is ack, nack and reject.
func (ch *channel) settled(id methodID, d *decoder) *amqpError {
	tag := d.longlong()
	bits := d.octet()
	if e := syntax(d); e != nil {
		return e
	}
	var multiple, requeue bool
	switch id {
	case basicAck:
		multiple = bits&1 != 0
	case basicNack:
		multiple, requeue = bits&1 != 0, bits&2 != 0
	case basicReject:
		requeue = bits&1 != 0
	}
	h := ch.conn.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	list := ch.take(tag, multiple)
	if len(list) == 0 && (!multiple || tag > ch.nextTag) {
		return amqpErrorf(codePreconditionFailed, "unknown delivery tag %d", tag)
	}
	if requeue {
		h.giveBack(list)
	} else if id != basicAck {
		h.stats.Dropped += uint64(len(list))
	}
	ch.pull()
	return nil
}

func (ch *channel) recoverAll(id methodID, d *decoder) *amqpError {
	requeue := d.octet()&1 != 0
	if e := syntax(d); e != nil {
		return e
	}
	if !requeue {
		return amqpErrorf(codeNotImplemented, "requeue=false")
	}
	h := ch.conn.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if id == basicRecover {
		ch.send(basicRecoverOK.begin())
	}
	h.giveBack(ch.takeAll())
	ch.pull()
	return nil
}
