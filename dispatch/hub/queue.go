package hub

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"time"
)

// The kinds of exchanges.
const (
	kindDirect = "direct"
	kindTopic  = "topic"
	kindFanout = "fanout"
)

// message is what was published. It never changes once it is routed, so queues share it.
type message struct {
	exchange, key string
	props         []byte // flags and values of the content header
	body          []byte
	ttl           time.Duration
	hasTTL        bool
}

// entry is a message in a queue. seq is its place: one that comes back goes where it was.
type entry struct {
	msg         *message
	seq         uint64
	expires     time.Time // zero: never
	redelivered bool
}

// exchange routes by routing key; keys are patterns in topic exchanges.
type exchange struct {
	name, kind          string
	durable, autoDelete bool
	bindings            map[string]map[*queue]bool // by key
	patterns            map[string][]string        // words of the keys, for topic exchanges
}

func newExchange(name, kind string, durable, autoDelete bool) *exchange {
	return &exchange{name: name, kind: kind, durable: durable, autoDelete: autoDelete,
		bindings: make(map[string]map[*queue]bool), patterns: make(map[string][]string)}
}

func (e *exchange) bind(q *queue, key string) {
	if e.bindings[key] == nil {
		e.bindings[key] = make(map[*queue]bool)
		e.patterns[key] = strings.Split(key, ".")
	}
	e.bindings[key][q] = true
	q.bindings[binding{e, key}] = true
}

func (e *exchange) unbind(q *queue, key string) {
	delete(e.bindings[key], q)
	if len(e.bindings[key]) == 0 {
		delete(e.bindings, key)
		delete(e.patterns, key)
	}
	delete(q.bindings, binding{e, key})
}

// route finds the queues for a routing key, each once.
func (e *exchange) route(key string) []*queue {
	var found map[*queue]bool
	switch e.kind {
	case kindDirect:
		found = e.bindings[key]
	case kindFanout:
		found = make(map[*queue]bool)
		for _, qs := range e.bindings {
			merge(found, qs)
		}
	case kindTopic:
		found = make(map[*queue]bool)
		words := strings.Split(key, ".")
		for pattern, qs := range e.bindings {
			if matchTopic(e.patterns[pattern], words) {
				merge(found, qs)
			}
		}
	}
	list := make([]*queue, 0, len(found))
	for q := range found {
		list = append(list, q)
	}
	return list
}

func merge(into, from map[*queue]bool) {
	for q := range from {
		into[q] = true
	}
}

// matchTopic matches words with a pattern, in which * is one word and # any number of words. It keeps
// the set of pattern positions reached so far, so its time is bounded by the product of the lengths.
func matchTopic(pattern, words []string) bool {
	reached := make([]bool, len(pattern)+1)
	reached[0] = true
	skipHashes := func() {
		for i, p := range pattern {
			if reached[i] && p == "#" {
				reached[i+1] = true
			}
		}
	}
	skipHashes()
	for _, w := range words {
		next := make([]bool, len(pattern)+1)
		for i, p := range pattern {
			switch {
			case !reached[i]:
			case p == "#":
				next[i] = true
			case p == "*" || p == w:
				next[i+1] = true
			}
		}
		reached = next
		skipHashes()
	}
	return reached[len(pattern)]
}

type binding struct {
	exchange *exchange
	key      string
}

// queue holds messages that are ready, by seq, and its consumers in turn.
type queue struct {
	name                           string
	durable, exclusive, autoDelete bool
	args                           table
	owner                          *conn // of an exclusive queue
	maxLength                      int64 // -1: none
	ttl                            time.Duration
	hasTTL                         bool

	ready     []entry
	bytes     int // of ready bodies
	nextSeq   uint64
	unacked   int
	consumers []*consumer
	turn      int
	bindings  map[binding]bool
	deleted   bool
}

// consumer is a subscription of a channel.
type consumer struct {
	tag       string
	ch        *channel
	queue     *queue
	noAck     bool
	exclusive bool
	prefetch  int // 0: the channel's bound only
	unacked   int
}

// queueArgs judges the arguments of a declaration.
func (q *queue) setArgs(args table) *amqpError {
	q.args, q.maxLength = args, -1
	for key, value := range args {
		n, isInt := value.(int64)
		switch key {
		case "x-max-length":
			if !isInt || n < 0 {
				return amqpErrorf(codePreconditionFailed, "invalid arg '%s' for queue '%s'", key, q.name)
			}
			q.maxLength = n
		case "x-message-ttl":
			if !isInt || n < 0 || n > int64(1000*time.Hour/time.Millisecond) {
				return amqpErrorf(codePreconditionFailed, "invalid arg '%s' for queue '%s'", key, q.name)
			}
			q.ttl, q.hasTTL = time.Duration(n)*time.Millisecond, true
		case "x-overflow":
			if value != "drop-head" {
				return amqpErrorf(codePreconditionFailed, "invalid arg 'x-overflow' for queue '%s': only drop-head is built", q.name)
			}
		case "x-queue-type":
			if value != "classic" && value != "quorum" {
				return amqpErrorf(codePreconditionFailed, "invalid arg 'x-queue-type' for queue '%s'", q.name)
			}
		default:
			return amqpErrorf(codePreconditionFailed, "invalid arg '%s' for queue '%s': not built", key, q.name)
		}
	}
	return nil
}

// same reports the first property in which a declaration differs from the queue; "" if none.
func (q *queue) same(a queueDeclareArgs) string {
	switch {
	case q.durable != a.durable:
		return "durable"
	case q.autoDelete != a.autoDelete:
		return "auto_delete"
	case q.exclusive != a.exclusive:
		return "exclusive"
	case len(q.args)+len(a.args) > 0 && !reflect.DeepEqual(q.args, a.args):
		return "arguments"
	default:
		return ""
	}
}

// Everything below runs under Hub.mu.

// expire drops ready messages that are too old, from the head.
func (h *Hub) expire(q *queue, now time.Time) {
	n := 0
	for n < len(q.ready) && !q.ready[n].expires.IsZero() && !now.Before(q.ready[n].expires) {
		n++
	}
	h.dropHead(q, n)
}

func (h *Hub) dropHead(q *queue, n int) {
	for i := range n {
		q.bytes -= len(q.ready[i].msg.body)
		q.ready[i] = entry{}
	}
	q.ready = q.ready[n:]
	h.stats.Dropped += uint64(n)
}

// pop takes the oldest ready message.
func (q *queue) pop() entry {
	e := q.ready[0]
	q.ready[0] = entry{}
	q.ready = q.ready[1:]
	q.bytes -= len(e.msg.body)
	return e
}

// enqueue appends a message and hands on what it can.
func (h *Hub) enqueue(q *queue, m *message) {
	if q.deleted {
		return
	}
	now := time.Now()
	e := entry{msg: m, seq: q.nextSeq}
	q.nextSeq++
	ttl, hasTTL := q.ttl, q.hasTTL
	if m.hasTTL && (!hasTTL || m.ttl < ttl) {
		ttl, hasTTL = m.ttl, true
	}
	if hasTTL {
		e.expires = now.Add(ttl)
	}
	q.ready = append(q.ready, e)
	q.bytes += len(m.body)
	h.deliver(q)
	h.trim(q)
}

// trim drops the oldest while the queue holds too much.
func (h *Hub) trim(q *queue) {
	for len(q.ready) > 0 && (q.maxLength >= 0 && int64(len(q.ready)) > q.maxLength || q.bytes > h.cfg.MaxQueueBytes) {
		h.dropHead(q, 1)
	}
}

// requeue puts messages back to where they were and hands on what it can.
func (h *Hub) requeue(q *queue, entries []entry) {
	if q.deleted {
		return
	}
	back := make([]entry, 0, len(entries)+len(q.ready))
	for _, e := range entries {
		e.redelivered = true
		back = append(back, e)
		q.bytes += len(e.msg.body)
	}
	q.ready = append(back, q.ready...)
	slices.SortFunc(q.ready, func(a, b entry) int { return cmp.Compare(a.seq, b.seq) })
	h.deliver(q)
	h.trim(q)
}

// deliver hands ready messages to consumers in turn, while one has room.
func (h *Hub) deliver(q *queue) {
	h.expire(q, time.Now())
	for len(q.ready) > 0 {
		c := q.nextConsumer()
		if c == nil {
			return
		}
		e := q.pop()
		tag := c.ch.track(e, q, c)
		h.stats.Delivered++
		c.ch.conn.out.add(func(b []byte) []byte {
			m := basicDeliver.begin().shortstr(c.tag).longlong(tag).bit(e.redelivered).shortstr(e.msg.exchange).shortstr(e.msg.key)
			b = appendFrame(b, frameMethod, c.ch.id, m.b)
			return appendContent(b, c.ch.id, e.msg, c.ch.conn.frameMax)
		})
	}
}

// nextConsumer finds one that has room, beginning behind the last that got something.
func (q *queue) nextConsumer() *consumer {
	for i := range q.consumers {
		n := (q.turn + i) % len(q.consumers)
		c := q.consumers[n]
		if c.hasRoom() {
			q.turn = n + 1
			return c
		}
	}
	return nil
}

func (c *consumer) hasRoom() bool {
	if c.noAck {
		return !c.ch.conn.out.full()
	}
	if c.prefetch > 0 && c.unacked >= c.prefetch {
		return false
	}
	limit := c.ch.conn.hub.cfg.MaxUnacked
	if c.ch.prefetch > 0 {
		limit = min(limit, c.ch.prefetch)
	}
	return len(c.ch.unacked) < limit && !c.ch.conn.out.full()
}

// removeConsumer takes a consumer off its queue; an auto-delete queue goes with its last.
func (h *Hub) removeConsumer(c *consumer) {
	q := c.queue
	q.consumers = slices.DeleteFunc(q.consumers, func(o *consumer) bool { return o == c })
	delete(c.ch.consumers, c.tag)
	if q.autoDelete && len(q.consumers) == 0 {
		h.deleteQueue(q)
	}
}

// deleteQueue removes a queue; its consumers are told. It returns how many messages were ready.
func (h *Hub) deleteQueue(q *queue) int {
	if q.deleted {
		return 0
	}
	q.deleted = true
	delete(h.queues, q.name)
	if q.owner != nil {
		delete(q.owner.exclusive, q)
	}
	for b := range q.bindings {
		b.exchange.unbind(q, b.key)
		h.exchangeUnused(b.exchange)
	}
	for _, c := range q.consumers {
		delete(c.ch.consumers, c.tag)
		if c.ch.conn.cancelNotify {
			c.ch.send(basicCancel.begin().shortstr(c.tag).bit(true))
		}
	}
	n := len(q.ready)
	q.consumers, q.ready, q.bytes = nil, nil, 0
	return n
}

// exchangeUnused deletes an auto-delete exchange that has lost its last binding.
func (h *Hub) exchangeUnused(e *exchange) {
	if e.autoDelete && len(e.bindings) == 0 {
		delete(h.exchanges, e.name)
	}
}

// dropChannel gives back what a channel holds.
func (h *Hub) dropChannel(ch *channel) {
	if ch.dropped {
		return
	}
	ch.dropped = true
	for _, c := range ch.consumers {
		h.removeConsumer(c)
	}
	h.giveBack(ch.takeAll())
}

// giveBack requeues deliveries, queue by queue.
func (h *Hub) giveBack(list []delivery) {
	byQueue := make(map[*queue][]entry)
	for _, d := range list {
		byQueue[d.queue] = append(byQueue[d.queue], d.entry)
	}
	for q, entries := range byQueue {
		h.requeue(q, entries)
	}
}
