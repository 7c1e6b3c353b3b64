package journal

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/muster-hq/muster/dispatch/wire"
)

// Begun is the last beginning of a step.
type Begun struct {
	Step int             `json:"step"`
	At   int64           `json:"at"` // Unix nanoseconds, of this machine's clock
	Note json.RawMessage `json:"note,omitempty"`
}

// Progress is an order that is not over: what it says and how far it came.
type Progress struct {
	Order   wire.Order
	Begun   *Begun // the step that had begun and has no outcome; nil: none
	Replies map[int]wire.Reply
}

// Message is one thing to tell: exactly one of its fields is set.
type Message struct {
	Reply *wire.Reply
	Alert *wire.Alert
}

// Sequence is the number that the receipt will name.
func (m Message) Sequence() uint64 {
	if m.Reply != nil {
		return m.Reply.Sequence
	}
	return m.Alert.Sequence
}

// Counts is a journal in numbers.
type Counts struct {
	Orders  int    `json:"orders"`  // accepted and not over
	Replies int    `json:"replies"` // not confirmed yet
	Alerts  int    `json:"alerts"`  // not confirmed yet
	Drifted int    `json:"drifted"` // resources last told as not compliant
	Logins  uint64 `json:"logins"`
}

// Key names a resource across collections.
func Key(collection, resource string) string { return collection + "/" + resource }

func compare(a, b uint64) int { return cmp.Compare(a, b) }

type order struct {
	id      string
	lane    wire.Lane
	arrival uint64
	body    *wire.Order // nil once over
	begun   *Begun
	replies map[int]wire.Reply
	open    int // replies without a receipt
	over    bool
	head    wire.Held // without steps
}

func (o *order) progress() Progress {
	p := Progress{Order: *o.body, Replies: map[int]wire.Reply{}}
	if o.begun != nil {
		b := *o.begun
		p.Begun = &b
	}
	for n, r := range o.replies {
		p.Replies[n] = r
	}
	return p
}

func (o *order) replyList() []wire.Reply {
	out := make([]wire.Reply, 0, len(o.replies))
	for _, r := range o.replies {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b wire.Reply) int { return compare(a.Sequence, b.Sequence) })
	return out
}

// contents is what the records add up to.
type contents struct {
	orders      map[string]*order
	arrivals    uint64
	outstanding map[uint64]Message
	fences      map[wire.Lane]Fence
	sequence    uint64
	logins      uint64
	seen        Seen
	told        map[string]string
	retell      uint64 // sequence up to which alerts do not count as told: see Resync
	owed        map[string]bool
	memory      memory
}

func newContents() *contents {
	return &contents{
		orders: map[string]*order{}, outstanding: map[uint64]Message{}, fences: map[wire.Lane]Fence{},
		told: map[string]string{}, owed: map[string]bool{},
	}
}

// open checks that the order is here and not over.
func (c *contents) open(id string) error {
	o, ok := c.orders[id]
	if !ok {
		return fmt.Errorf("order %s is not in the journal", id)
	}
	if o.over {
		return fmt.Errorf("order %s is over", id)
	}
	return nil
}

func (c *contents) apply(r record) error {
	switch r.Kind {
	case kindBegin:
		if r.Version != formatVersion {
			return fmt.Errorf("the journal has format %d and this agent reads format %d", r.Version, formatVersion)
		}
		c.memory.id = r.ID
	case kindState:
		return c.applyState(r)
	case kindAccepted:
		return c.applyAccepted(r)
	case kindBegun:
		if r.Begun == nil {
			return fmt.Errorf("a beginning without contents")
		}
		if err := c.open(r.Order); err != nil {
			return err
		}
		c.orders[r.Order].begun = r.Begun
	case kindCancel:
		if err := c.open(r.Order); err != nil {
			return err
		}
		c.orders[r.Order].body.Cancel = true
	case kindReply:
		return c.applyReply(r)
	case kindAlert:
		return c.applyAlert(r)
	case kindForget:
		delete(c.told, r.Key)
		c.dropAlerts(r.Key)
	case kindReceipt:
		for _, s := range r.Sequences {
			c.confirm(s)
		}
	case kindLogin:
		c.logins = max(c.logins, r.Logins)
	default:
		return fmt.Errorf("unknown kind %q: it was written by a newer agent", r.Kind)
	}
	return nil
}

func (c *contents) applyState(r record) error {
	if r.State == nil {
		return fmt.Errorf("a state without contents")
	}
	s := r.State
	for lane, f := range s.Fences {
		c.raise(lane, f)
	}
	if s.Retell > c.retell {
		c.retell = s.Retell
		clear(c.told)
	}
	for k, v := range s.Told {
		c.told[k] = v
	}
	for k, v := range s.Owed {
		c.owed[k] = v
	}
	c.sequence, c.logins = max(c.sequence, s.Sequence), max(c.logins, s.Logins)
	c.see(s.Seen)
	c.memory.apply(s)
	return nil
}

func (c *contents) applyAccepted(r record) error {
	o := r.Accepted
	if o == nil || o.ID != r.Order || o.ID == "" {
		return fmt.Errorf("an accepted order without its contents")
	}
	if _, known := c.orders[o.ID]; known {
		return fmt.Errorf("order %s was accepted twice", o.ID)
	}
	c.arrivals++
	c.orders[o.ID] = &order{id: o.ID, lane: o.Lane, arrival: c.arrivals, body: o, replies: map[int]wire.Reply{}, over: len(o.Steps) == 0, head: headOf(o)}
	c.memory.accepted(o)
	c.raise(o.Lane, Fence{o.Epoch, o.Term, o.Sequence})
	if r.Seen != nil {
		c.see(*r.Seen)
	}
	return nil
}

func (c *contents) applyReply(r record) error {
	if r.Reply == nil || r.Reply.Sequence == 0 {
		return fmt.Errorf("a reply without contents")
	}
	o, ok := c.orders[r.Order]
	if !ok {
		// Compaction drops the body of an order that is over, but keeps its replies.
		c.arrivals++
		o = &order{id: r.Order, arrival: c.arrivals, replies: map[int]wire.Reply{}, over: true}
		c.orders[r.Order] = o
	}
	if _, twice := o.replies[r.Reply.Step]; twice {
		return fmt.Errorf("step %d of order %s ended twice", r.Reply.Step, r.Order)
	}
	o.replies[r.Reply.Step] = *r.Reply
	if o.begun != nil && o.begun.Step == r.Reply.Step {
		o.begun = nil
	}
	if r.Reply.Final {
		c.memory.finished(o)
		o.over, o.body, o.begun = true, nil, nil
	}
	if r.Owe != nil {
		if r.Owe.Yes {
			c.owed[r.Owe.Key] = true
		} else {
			delete(c.owed, r.Owe.Key)
		}
	}
	c.sequence = max(c.sequence, r.Reply.Sequence)
	if !r.Confirmed {
		o.open++
		c.outstanding[r.Reply.Sequence] = Message{Reply: r.Reply}
	}
	return nil
}

func (c *contents) applyAlert(r record) error {
	if r.Alert == nil || r.Alert.Sequence == 0 {
		return fmt.Errorf("an alert without contents")
	}
	k := Key(r.Alert.Collection, r.Alert.Resource)
	c.dropAlerts(k)
	if r.Alert.Compliant || r.Digest == "" { // or it does not count as told any more
		delete(c.told, k)
	} else {
		c.told[k] = r.Digest
	}
	c.sequence = max(c.sequence, r.Alert.Sequence)
	c.outstanding[r.Alert.Sequence] = Message{Alert: r.Alert}
	return nil
}

func (c *contents) dropAlerts(key string) {
	for s, m := range c.outstanding {
		if m.Alert != nil && Key(m.Alert.Collection, m.Alert.Resource) == key {
			delete(c.outstanding, s)
		}
	}
}

func (c *contents) hasAlert(key string) bool {
	for _, m := range c.outstanding {
		if m.Alert != nil && Key(m.Alert.Collection, m.Alert.Resource) == key {
			return true
		}
	}
	return false
}

func (c *contents) confirm(sequence uint64) {
	m, ok := c.outstanding[sequence]
	if !ok {
		return
	}
	delete(c.outstanding, sequence)
	if m.Reply != nil {
		if o := c.orders[m.Reply.Order]; o != nil {
			o.open--
		}
	}
}

func (c *contents) raise(lane wire.Lane, f Fence) {
	if c.fences[lane].Below(f) {
		c.fences[lane] = f
	}
}

func (c *contents) see(s Seen) {
	if !s.Time.Before(c.seen.Time) {
		c.seen = s
	}
}

// forgetOld drops the orders that are over and confirmed, except the newest keep of them. The fence
// stays, so that a late repeat of one of them is dropped, never done again.
func (c *contents) forgetOld(keep int) {
	var done []*order
	for _, o := range c.orders {
		if o.over && o.open == 0 {
			done = append(done, o)
		}
	}
	slices.SortFunc(done, func(a, b *order) int { return compare(b.arrival, a.arrival) })
	for i, o := range done {
		if i >= keep {
			delete(c.orders, o.id)
		}
	}
}

// records writes the contents down again, as few records as tell the same.
func (c *contents) records() []record {
	out := []record{{Kind: kindBegin, Version: formatVersion, ID: c.memory.id}, {Kind: kindState, State: &state{
		Fences: c.fences, Sequence: c.sequence, Logins: c.logins, Seen: c.seen, Told: c.told, Owed: c.owed, Retell: c.retell,
		ID: c.memory.id, Floor: c.memory.floor, Highest: c.memory.highest, Before: c.memory.before, Done: c.memory.done,
	}}}
	orders := make([]*order, 0, len(c.orders))
	for _, o := range c.orders {
		orders = append(orders, o)
	}
	slices.SortFunc(orders, func(a, b *order) int { return compare(a.arrival, b.arrival) })
	for _, o := range orders {
		if o.body != nil {
			out = append(out, record{Kind: kindAccepted, Order: o.id, Accepted: o.body})
		}
		for _, r := range o.replyList() {
			_, open := c.outstanding[r.Sequence]
			out = append(out, record{Kind: kindReply, Order: o.id, Reply: &r, Confirmed: !open})
		}
		if o.begun != nil {
			out = append(out, record{Kind: kindBegun, Order: o.id, Begun: o.begun})
		}
	}
	var alerts []Message
	for _, m := range c.outstanding {
		if m.Alert != nil {
			alerts = append(alerts, m)
		}
	}
	slices.SortFunc(alerts, func(a, b Message) int { return compare(a.Sequence(), b.Sequence()) })
	for _, m := range alerts {
		out = append(out, record{Kind: kindAlert, Alert: m.Alert, Digest: c.told[Key(m.Alert.Collection, m.Alert.Resource)]})
	}
	return out
}

func (c *contents) counts() Counts {
	n := Counts{Drifted: len(c.told), Logins: c.logins}
	for _, o := range c.orders {
		if !o.over {
			n.Orders++
		}
	}
	for _, m := range c.outstanding {
		if m.Reply != nil {
			n.Replies++
		} else {
			n.Alerts++
		}
	}
	return n
}
