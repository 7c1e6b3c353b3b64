package hub_test

import (
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/muster-hq/muster/dispatch/bus"
	"github.com/muster-hq/muster/dispatch/hub"
)

// BenchmarkRoundTrip publishes with a confirm, consumes and acknowledges, one message at a time.
func BenchmarkRoundTrip(b *testing.B) {
	h := start(b, hub.Config{}, nil)
	o := channel(b, dial(b, h.trusted, "o"))
	must(b, o.Confirm(false))
	agentQueue(b, o, "1")
	from, err := channel(b, dial(b, h.agents, "agent.1")).Consume(bus.AgentQueue("1"), "", false, false, false, false, nil)
	must(b, err)
	body := make([]byte, 1024)
	for b.Loop() {
		c, err := o.PublishWithDeferredConfirmWithContext(b.Context(), bus.ExchangeOrders, "1", true, false, amqp.Publishing{Body: body})
		must(b, err)
		d := <-from
		must(b, d.Ack(false))
		if !c.Wait() {
			b.Fatal("not confirmed")
		}
	}
}
