package bus_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/muster-hq/muster/dispatch/bus"
)

func TestDeclareAgents(t *testing.T) {
	b, h := newHubBroker(t, nil)
	o := b.orchestrator(t)
	before := h.Stats().Queues
	var ids []string
	for i := range 250 {
		ids = append(ids, fmt.Sprintf("many%d", i))
	}
	must(t, bus.DeclareAgents(t.Context(), o, ids))
	if n := h.Stats().Queues - before; n != len(ids) {
		t.Errorf("%d queues", n)
	}
	must(t, o.Publish(t.Context(), bus.ExchangeOrders, "many249", true, nil))
	if err := bus.DeclareAgents(t.Context(), o, []string{"good", "b#d"}); err == nil || h.Stats().Queues != before+len(ids) {
		t.Errorf("a bad id: %v, %d queues", err, h.Stats().Queues)
	}
}

// TestFailover: an agent whose hub dies goes to the next one, and what it had not acknowledged at the
// first is not taken for done by anybody.
func TestFailover(t *testing.T) {
	first, dying := newHubBroker(t, nil)
	second, _ := newHubBroker(t, nil)
	a := first.newAgent(t, "fail1")
	second.keys.mu.Lock()
	second.keys.agents[a.id] = first.keys.agents[a.id]
	second.keys.mu.Unlock()
	o1, o2 := first.orchestrator(t), second.orchestrator(t)
	for _, o := range []*bus.Session{o1, o2} {
		must(t, bus.DeclareAgent(t.Context(), o, a.id))
	}
	c, err := bus.New(bus.Config{URLs: []string{first.agentURL, second.agentURL}, Login: a.login,
		MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond})
	must(t, err)
	type got struct{ endpoint, body string }
	orders := make(chan got, 10)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_ = c.Run(ctx, func(ctx context.Context, s *bus.Session) error {
			from, err := s.Consume(ctx, bus.AgentQueue(a.id), 1)
			if err != nil {
				return err
			}
			for d := range from {
				orders <- got{s.Endpoint(), string(d.Body)}
				if err := d.Ack(); err != nil {
					return err
				}
			}
			return bus.ErrClosed
		})
	}()
	must(t, o1.Publish(ctx, bus.ExchangeOrders, a.id, true, []byte("one")))
	if g := receive(t, orders); g.body != "one" || "amqp://"+g.endpoint != first.agentURL {
		t.Errorf("got %+v", g)
	}
	dying.Kill()
	<-o1.Done()
	if err := o1.Publish(ctx, bus.ExchangeOrders, a.id, true, []byte("lost")); err == nil {
		t.Error("published to a dead hub")
	}
	must(t, o2.Publish(ctx, bus.ExchangeOrders, a.id, true, []byte("two")))
	if g := receive(t, orders); g.body != "two" || "amqp://"+g.endpoint != second.agentURL {
		t.Errorf("got %+v", g)
	}
}

// TestConsumeEnds: a subscription that ends gives back what it had not handed on.
func TestConsumeEnds(t *testing.T) {
	b, h := newHubBroker(t, nil)
	o := b.orchestrator(t)
	must(t, bus.DeclareAgent(t.Context(), o, "ends1"))
	for i := range 5 {
		must(t, o.Publish(t.Context(), bus.ExchangeOrders, "ends1", true, fmt.Append(nil, i)))
	}
	ctx, cancel := context.WithCancel(t.Context())
	from, err := o.Consume(ctx, bus.AgentQueue("ends1"), 10)
	must(t, err)
	must(t, receive(t, from).Ack())
	receive(t, from) // never acknowledged
	cancel()
	for range from {
		continue
	}
	eventually(t, "four are ready again", func() bool { s := h.Stats(); return s.Ready == 4 && s.Unacked == 0 && s.Consumers == 0 })
	from, err = o.Consume(t.Context(), bus.AgentQueue("ends1"), 10)
	must(t, err)
	var bodies []string
	for range 4 {
		bodies = append(bodies, string(receive(t, from).Body))
	}
	if !slices.Equal(bodies, []string{"1", "2", "3", "4"}) {
		t.Errorf("got %q", bodies)
	}
}

// TestCallTimesOut: a broker that never answers costs the session, not the caller.
func TestCallTimesOut(t *testing.T) {
	b, _ := newHubBroker(t, nil)
	pause := newPausable(t)
	c, err := bus.New(bus.Config{URLs: []string{b.trustedURL}, NetDial: pause.dial, Timeout: 2 * time.Second})
	must(t, err)
	s, err := c.Dial(t.Context())
	must(t, err)
	defer func() { _ = s.Close() }()
	must(t, bus.Declare(t.Context(), s))
	pause.pause()
	if err := bus.DeclareAgent(t.Context(), s, "late1"); err == nil {
		t.Error("declared without an answer")
	}
	receiveClosed(t, s.Done())
	if s.Err() == nil {
		t.Error("the session lives")
	}
}
