package bus_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/muster-hq/muster/dispatch/bus"
	"github.com/muster-hq/muster/dispatch/wire"
)

// testPermissions is what an agent may and may not do: each refusal ends the channel, not the connection.
func testPermissions(t *testing.T, b *broker) {
	o := b.orchestrator(t)
	me, other := b.newAgent(t, "perm1"), b.newAgent(t, "perm10")
	must(t, bus.DeclareAgent(t.Context(), o, me.id))
	must(t, bus.DeclareAgent(t.Context(), o, other.id))
	mine, others := bus.AgentQueue(me.id), bus.AgentQueue(other.id)
	conn := b.raw(t, me)
	for _, c := range []struct {
		name    string
		do      func(ch *amqp.Channel) error
		allowed bool
	}{
		{"consume its queue", func(ch *amqp.Channel) error { return consumeRaw(ch, mine) }, true},
		{"passive declare of its queue", func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclarePassive(mine, true, false, false, false, nil)
			return err
		}, true},
		{"get from its queue", func(ch *amqp.Channel) error { _, _, err := ch.Get(mine, true); return err }, true},
		{"consume another's", func(ch *amqp.Channel) error { return consumeRaw(ch, others) }, false},
		{"get from another's", func(ch *amqp.Channel) error { _, _, err := ch.Get(others, true); return err }, false},
		{"purge another's", func(ch *amqp.Channel) error { _, err := ch.QueuePurge(others, false); return err }, false},
		{"delete another's", func(ch *amqp.Channel) error { _, err := ch.QueueDelete(others, false, false, false); return err }, false},
		{"delete its own", func(ch *amqp.Channel) error { _, err := ch.QueueDelete(mine, false, false, false); return err }, false},
		{"declare a queue", func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare("perm1.other", false, false, false, false, nil)
			return err
		}, false},
		{"declare its own queue", func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare(mine, true, false, false, false, nil)
			return err
		}, false},
		{"declare a nameless queue", func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare("", false, true, true, false, nil)
			return err
		}, false},
		{"bind its queue to another's orders", func(ch *amqp.Channel) error {
			return ch.QueueBind(mine, other.id, bus.ExchangeOrders, false, nil)
		}, false},
		{"unbind its queue", func(ch *amqp.Channel) error { return ch.QueueUnbind(mine, me.id, bus.ExchangeOrders, nil) }, false},
		{"declare an exchange", func(ch *amqp.Channel) error {
			return ch.ExchangeDeclare("perm1.x", "direct", false, false, false, false, nil)
		}, false},
		{"delete an exchange", func(ch *amqp.Channel) error { return ch.ExchangeDelete(bus.ExchangeOrders, false, false) }, false},
		{"consume the replies", func(ch *amqp.Channel) error { return consumeRaw(ch, bus.QueueReplies) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.do(rawChannel(t, conn))
			if c.allowed {
				must(t, err)
			} else {
				wantCode(t, err, 403)
			}
		})
	}
	if conn.IsClosed() {
		t.Error("the connection did not survive the refusals")
	}
	if !b.rabbit { // RabbitMQ asks nobody here: names must be unguessable
		_, err := rawChannel(t, conn).QueueDeclarePassive(others, true, false, false, false, nil)
		wantCode(t, err, 403)
	}
	// Nothing of it took effect.
	must(t, o.Publish(t.Context(), bus.ExchangeOrders, other.id, true, []byte("x")))
	if err := o.Publish(t.Context(), "", "perm1.other", true, nil); !errors.Is(err, bus.ErrReturned) {
		t.Errorf("the refused queue: %v", err)
	}
}

func consumeRaw(ch *amqp.Channel, queue string) error {
	_, err := ch.Consume(queue, "", false, false, false, false, nil)
	return err
}

func testTopicPermissions(t *testing.T, b *broker) {
	o, a := b.orchestrator(t), b.newAgent(t, "1")
	must(t, bus.DeclareAgent(t.Context(), o, a.id))
	s := b.dial(t, a)
	for _, c := range []struct {
		exchange, key string
		allowed       bool
	}{
		{bus.ExchangeAgents, "agent.1.reply", true},
		{bus.ExchangeAgents, "agent.1.presence", true},
		{bus.ExchangeAgents, "agent.2.reply", false},
		{bus.ExchangeAgents, "agent.10.reply", false},
		{bus.ExchangeAgents, "agent.1", false},
		{bus.ExchangeAgents, "agent.1.other", false},
		{bus.ExchangeAgents, "agent.1.reply.more", false},
		{bus.ExchangeAgents, "agent.*.reply", false},
		{bus.ExchangeAgents, "", false},
		{bus.ExchangeOrders, a.id, false},
		{bus.ExchangeEnrol, bus.KeyEnrol, false},
		{bus.ExchangeAsk, "agent.1.reply", false},
		{"", bus.AgentQueue(a.id), false},
		{"amq.topic", "agent.1.reply", false},
	} {
		t.Run(c.exchange+" "+c.key, func(t *testing.T) {
			err := s.Publish(t.Context(), c.exchange, c.key, false, []byte("x"))
			if c.allowed {
				must(t, err)
			} else if !bus.IsRefused(err) {
				t.Errorf("error = %v, want 403", err)
			}
		})
	}
	must(t, s.Err())
}

func testNewcomerPermissions(t *testing.T, b *broker) {
	o := b.orchestrator(t)
	token := b.newToken(t, "tok2")
	must(t, bus.DeclareAgent(t.Context(), o, "newcomer1"))
	conn := b.raw(t, token)
	declare := func(name string) func(ch *amqp.Channel) error {
		return func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare(name, false, false, true, false, nil)
			return err
		}
	}
	for _, c := range []struct {
		name    string
		do      func(ch *amqp.Channel) error
		allowed bool
	}{
		{"its queue", declare("enrol.tok2.abc"), true},
		{"a queue without an agent", declare("enrol.tok2"), false},
		{"a queue of another token", declare("enrol.tok20.abc"), false},
		{"a queue with more words", declare("enrol.tok2.abc.d"), false},
		{"an agent's queue", declare("agent.tok2"), false},
		{"consume an agent's queue", func(ch *amqp.Channel) error { return consumeRaw(ch, "agent.newcomer1") }, false},
		{"bind its queue", func(ch *amqp.Channel) error {
			return ch.QueueBind("enrol.tok2.abc", "newcomer1", bus.ExchangeOrders, false, nil)
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.do(rawChannel(t, conn))
			if c.allowed {
				must(t, err)
			} else {
				wantCode(t, err, 403)
			}
		})
	}
	s := b.dial(t, token)
	for _, exchange := range []string{"", bus.ExchangeOrders, bus.ExchangeAgents} {
		if err := s.Publish(t.Context(), exchange, "agent.newcomer1", false, nil); !bus.IsRefused(err) {
			t.Errorf("publish to %q: %v", exchange, err)
		}
	}
}

func testLogin(t *testing.T, b *broker) {
	a, token := b.newAgent(t, "login1"), b.newToken(t, "logintok")
	sign := func(user string, counter uint64, at time.Time, by *agent) string {
		password, err := wire.SignLogin(user, counter, at, by.key)
		must(t, err)
		return password
	}
	try := func(user, password string) error {
		c, err := bus.New(bus.Config{URLs: []string{b.agentURL}, Login: fixed(user, password)})
		if err != nil {
			return err
		}
		s, err := c.Dial(t.Context())
		if err == nil {
			_ = s.Close()
		}
		return err
	}
	now := time.Now()
	must(t, try(a.user, sign(a.user, 10, now, a)))
	must(t, try(a.user, sign(a.user, 11, now.Add(-5*time.Hour), a))) // clocks differ
	must(t, try(token.user, sign(token.user, 1, now, token)))
	must(t, try(token.user, sign(token.user, 1, now, token))) // another machine with the same token
	var wg sync.WaitGroup                                     // RabbitMQ takes three seconds to refuse
	for _, c := range []struct{ name, user, password string }{
		{"a counter that does not grow", a.user, sign(a.user, 11, now, a)},
		{"an old statement", a.user, sign(a.user, 20, now.Add(-7*time.Hour), a)},
		{"a statement from the future", a.user, sign(a.user, 20, now.Add(7*time.Hour), a)},
		{"another's statement", a.user, sign("agent.login2", 20, now, a)},
		{"another's key", a.user, sign(a.user, 20, now, token)},
		{"an unknown agent", "agent.nobody", sign("agent.nobody", 20, now, a)},
		{"an agent as token", "enrol.login1", sign("enrol.login1", 20, now, a)},
		{"a plain password", a.user, "secret"},
		{"no password", a.user, ""},
		{"the orchestrator", bus.UserOrchestrator, sign(bus.UserOrchestrator, 20, now, a)},
		{"nobody", "", ""},
		{"guest", "guest", "guest2"},
	} {
		wg.Go(func() {
			if err := try(c.user, c.password); !bus.IsRefused(err) {
				t.Errorf("%s: error = %v, want 403", c.name, err)
			}
		})
	}
	wg.Wait()
	b.keys.mu.Lock()
	b.keys.down = true
	b.keys.mu.Unlock()
	err := try(a.user, sign(a.user, 30, now, a))
	b.keys.mu.Lock()
	b.keys.down = false
	b.keys.mu.Unlock()
	if !bus.IsRefused(err) {
		t.Errorf("nobody to ask: %v", err)
	}
	must(t, try(a.user, sign(a.user, 31, now, a)))
}

// testForgedUser: the user-id property is the broker's word for who published.
func testForgedUser(t *testing.T, b *broker) {
	b.orchestrator(t)
	a := b.newAgent(t, "forge1")
	ch := rawChannel(t, b.raw(t, a))
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	must(t, ch.PublishWithContext(t.Context(), bus.ExchangeAgents, bus.AgentKey(a.id, bus.TalkFact), false, false,
		amqp.Publishing{UserId: "agent.forge2"}))
	if e := receive(t, closed); e.Code != 406 {
		t.Errorf("closed with %v, want 406", e)
	}
}
