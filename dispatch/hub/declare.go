package hub

import (
	"github.com/muster-hq/muster/dispatch/bus"
)

// lookup finds a queue that this connection may know of. Under Hub.mu.
func (ch *channel) lookup(name string) (*queue, *amqpError) {
	if name == "" {
		name = ch.lastQueue
	}
	q := ch.conn.hub.queues[name]
	if q == nil {
		return nil, amqpErrorf(codeNotFound, "no queue '%.100s' in vhost '/'", name)
	}
	if q.owner != nil && q.owner != ch.conn {
		return nil, amqpErrorf(codeResourceLocked, "cannot obtain exclusive access to locked queue '%s' in vhost '/'", name)
	}
	return q, nil
}

// queueName is the name a method means.
func (ch *channel) queueName(name string) string {
	if name == "" {
		return ch.lastQueue
	}
	return name
}

func (ch *channel) queueDeclare(d *decoder) *amqpError {
	a := d.queueDeclare()
	if e := syntax(d); e != nil {
		return e
	}
	h := ch.conn.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	q, e := ch.declared(a)
	if e != nil {
		return e
	}
	ch.lastQueue = q.name
	if !a.noWait {
		ch.send(queueDeclareOK.begin().shortstr(q.name).long(uint32(len(q.ready))).long(uint32(len(q.consumers))))
	}
	return nil
}

// declared finds or makes the queue. A passive declaration wants any permission at all: others' queues
// cannot be probed for. (RabbitMQ asks nothing here.)
func (ch *channel) declared(a queueDeclareArgs) (*queue, *amqpError) {
	h := ch.conn.hub
	if a.passive {
		a.name = ch.queueName(a.name)
		if e := ch.allow(bus.Read, bus.ResourceQueue, a.name, ""); e != nil && ch.allow(bus.Configure, bus.ResourceQueue, a.name, "") != nil {
			return nil, e
		}
		return ch.lookup(a.name)
	}
	if a.name == "" {
		a.name = h.generated("amq.gen-")
	} else if h.queues[a.name] == nil && reserved(a.name) {
		return nil, amqpErrorf(codeAccessRefused, "queue name '%.100s' contains reserved prefix 'amq.*'", a.name)
	}
	if e := ch.allow(bus.Configure, bus.ResourceQueue, a.name, ""); e != nil {
		return nil, e
	}
	if h.queues[a.name] != nil {
		q, e := ch.lookup(a.name)
		if e != nil {
			return nil, e
		}
		if differs := q.same(a); differs != "" {
			return nil, amqpErrorf(codePreconditionFailed, "inequivalent arg '%s' for queue '%s' in vhost '/'", differs, a.name)
		}
		return q, nil
	}
	if len(h.queues) >= h.cfg.MaxQueues {
		return nil, amqpErrorf(codePreconditionFailed, "cannot declare queue '%.100s': the limit of %d queues is reached", a.name, h.cfg.MaxQueues)
	}
	q := &queue{name: a.name, durable: a.durable, exclusive: a.exclusive, autoDelete: a.autoDelete, bindings: make(map[binding]bool)}
	if e := q.setArgs(a.args); e != nil {
		return nil, e
	}
	h.queues[q.name] = q
	if q.exclusive {
		q.owner = ch.conn
		ch.conn.exclusive[q] = true
	}
	return q, nil
}

func (ch *channel) queueBind(d *decoder) *amqpError {
	a := d.bind()
	if e := syntax(d); e != nil {
		return e
	}
	return ch.rebind(a, queueBindOK, func(x *exchange, q *queue) { x.bind(q, a.key) })
}

func (ch *channel) queueUnbind(d *decoder) *amqpError {
	a := d.unbind()
	if e := syntax(d); e != nil {
		return e
	}
	return ch.rebind(a, queueUnbindOK, func(x *exchange, q *queue) {
		x.unbind(q, a.key)
		ch.conn.hub.exchangeUnused(x)
	})
}

func (ch *channel) rebind(a bindArgs, ok methodID, change func(*exchange, *queue)) *amqpError {
	h := ch.conn.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	a.queue = ch.queueName(a.queue)
	if e := ch.allow(bus.Write, bus.ResourceQueue, a.queue, ""); e != nil {
		return e
	}
	if e := ch.allow(bus.Read, bus.ResourceExchange, a.exchange, ""); e != nil {
		return e
	}
	if a.exchange == "" {
		return amqpErrorf(codeAccessRefused, "operation not permitted on the default exchange")
	}
	x := h.exchanges[a.exchange]
	if x == nil {
		return amqpErrorf(codeNotFound, "no exchange '%.100s' in vhost '/'", a.exchange)
	}
	q, e := ch.lookup(a.queue)
	if e != nil {
		return e
	}
	if len(a.args) > 0 {
		return amqpErrorf(codeNotImplemented, "arguments of a binding")
	}
	change(x, q)
	if !a.noWait {
		ch.send(ok.begin())
	}
	return nil
}

func (ch *channel) queuePurge(d *decoder) *amqpError {
	d.short()
	name := d.shortstr()
	noWait := d.octet()&1 != 0
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
	n := len(q.ready)
	h.dropHead(q, n)
	if !noWait {
		ch.send(queuePurgeOK.begin().long(uint32(n)))
	}
	return nil
}

func (ch *channel) queueDelete(d *decoder) *amqpError {
	name, ifUnused, ifEmpty, noWait := d.queueDelete()
	if e := syntax(d); e != nil {
		return e
	}
	h := ch.conn.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	name = ch.queueName(name)
	if e := ch.allow(bus.Configure, bus.ResourceQueue, name, ""); e != nil {
		return e
	}
	n := 0
	if h.queues[name] != nil { // deleting what is not there is no error, as in RabbitMQ
		q, e := ch.lookup(name)
		switch {
		case e != nil:
			return e
		case ifUnused && len(q.consumers) > 0:
			return amqpErrorf(codePreconditionFailed, "queue '%s' in vhost '/' in use", name)
		case ifEmpty && len(q.ready) > 0:
			return amqpErrorf(codePreconditionFailed, "queue '%s' in vhost '/' not empty", name)
		}
		n = h.deleteQueue(q)
	}
	if !noWait {
		ch.send(queueDeleteOK.begin().long(uint32(n)))
	}
	return nil
}

func (ch *channel) exchangeDeclare(d *decoder) *amqpError {
	a := d.exchangeDeclare()
	if e := syntax(d); e != nil {
		return e
	}
	h := ch.conn.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	x := h.exchanges[a.name]
	if a.passive {
		if e := ch.allow(bus.Write, bus.ResourceExchange, a.name, ""); e != nil {
			return e
		}
		if x == nil {
			return amqpErrorf(codeNotFound, "no exchange '%.100s' in vhost '/'", a.name)
		}
	} else if e := ch.makeExchange(x, a); e != nil {
		return e
	}
	if !a.noWait {
		ch.send(exchangeDeclareOK.begin())
	}
	return nil
}

// makeExchange makes the exchange, or compares it with the one that is there.
func (ch *channel) makeExchange(x *exchange, a exchangeDeclareArgs) *amqpError {
	if e := ch.allow(bus.Configure, bus.ResourceExchange, a.name, ""); e != nil {
		return e
	}
	switch {
	case a.name == "":
		return amqpErrorf(codeAccessRefused, "operation not permitted on the default exchange")
	case a.kind != kindDirect && a.kind != kindTopic && a.kind != kindFanout:
		return amqpErrorf(codeCommandInvalid, "unknown exchange type '%.40s'", a.kind)
	case a.internal || len(a.args) > 0:
		return amqpErrorf(codeNotImplemented, "internal exchanges and arguments of exchanges")
	case x == nil && reserved(a.name):
		return amqpErrorf(codeAccessRefused, "exchange name '%.100s' contains reserved prefix 'amq.*'", a.name)
	case x == nil:
		ch.conn.hub.exchanges[a.name] = newExchange(a.name, a.kind, a.durable, a.autoDelete)
	case x.kind != a.kind:
		return amqpErrorf(codePreconditionFailed, "inequivalent arg 'type' for exchange '%s' in vhost '/': received '%s' but current is '%s'", a.name, a.kind, x.kind)
	case x.durable != a.durable || x.autoDelete != a.autoDelete:
		return amqpErrorf(codePreconditionFailed, "inequivalent arg 'durable' or 'auto_delete' for exchange '%s' in vhost '/'", a.name)
	}
	return nil
}

func (ch *channel) exchangeDelete(d *decoder) *amqpError {
	d.short()
	name := d.shortstr()
	bits := d.octet()
	ifUnused, noWait := bits&1 != 0, bits&2 != 0
	if e := syntax(d); e != nil {
		return e
	}
	h := ch.conn.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := ch.allow(bus.Configure, bus.ResourceExchange, name, ""); e != nil {
		return e
	}
	if name == "" || reserved(name) {
		return amqpErrorf(codeAccessRefused, "operation not permitted on exchange '%.100s'", name)
	}
	if x := h.exchanges[name]; x != nil {
		if ifUnused && len(x.bindings) > 0 {
			return amqpErrorf(codePreconditionFailed, "exchange '%s' in vhost '/' in use", name)
		}
		delete(h.exchanges, name)
		for key, qs := range x.bindings {
			for q := range qs {
				delete(q.bindings, binding{x, key})
			}
		}
	}
	if !noWait {
		ch.send(exchangeDeleteOK.begin())
	}
	return nil
}
