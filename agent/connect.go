package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/muster-hq/muster/dispatch/bus"
	"github.com/muster-hq/muster/dispatch/wire"
)

const (
	// prefetch is how many messages the bus hands over before they are acknowledged.
	prefetch = 32
	// fullPause is how long a message that could not be kept waits before it is given back.
	fullPause = 5 * time.Second
)

// errDeaf ends a connection that stands but brings no orders any more.
var errDeaf = errors.New("the bus delivers no orders any more")

// Connect keeps the agent on the bus until ctx ends, and says goodbye then. urls are the endpoints;
// dir is the state directory, where the bus's CA lies.
func (a *Agent) Connect(ctx context.Context, dir string, urls []string) error {
	tlsConfig, err := memberTLS(dir, a.identity)
	if err != nil {
		return err
	}
	user := bus.AgentUser(a.identity.Agent)
	conn, err := bus.New(bus.Config{
		URLs: urls, TLS: tlsConfig, Log: a.log, Name: "muster-agent " + a.identity.Agent,
		Login: func(context.Context) (string, string, error) {
			n, err := a.NextLogin()
			if err != nil {
				return "", "", err
			}
			statement, err := wire.SignLogin(user, n, time.Now(), a.key)
			return user, statement, err
		},
	})
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	err = conn.Run(ctx, a.serve)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// serve works over one connection.
func (a *Agent) serve(ctx context.Context, s *bus.Session) error {
	deliveries, err := s.Consume(ctx, bus.AgentQueue(a.identity.Agent), prefetch)
	if err != nil {
		return fmt.Errorf("listen for orders: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for d := range deliveries {
			a.receive(ctx, d)
		}
		cancel(errDeaf) // unless ctx ended first: the broker took the queue away, or the consumer
	}()
	err = a.Talk(ctx, &busLink{session: s, agent: a.identity.Agent})
	_ = s.Close() // ends the deliveries
	<-done
	return err
}

// receive takes one delivery. What cannot be acknowledged comes again, and is known by then.
func (a *Agent) receive(ctx context.Context, d bus.Delivery) {
	if err := a.Deliver(d.Body); err != nil {
		pause(ctx, fullPause)
		if err := d.Nack(true); err != nil {
			a.log.Debug("could not give a message back", "error", err)
		}
		return
	}
	if err := d.Ack(); err != nil {
		a.log.Debug("could not acknowledge a message", "error", err)
	}
}

// busLink is a link over AMQP.
type busLink struct {
	session *bus.Session
	agent   string
}

// Publish implements link.
func (l *busLink) Publish(ctx context.Context, kind wire.Kind, envelope []byte) error {
	talk := bus.TalkReply
	switch kind {
	case wire.KindAlert:
		talk = bus.TalkAlert
	case wire.KindPresence:
		talk = bus.TalkPresence
	}
	return l.session.Publish(ctx, bus.ExchangeAgents, bus.AgentKey(l.agent, talk), false, envelope)
}
