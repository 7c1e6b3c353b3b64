package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/muster-hq/muster/cluster/pki"
	"github.com/muster-hq/muster/dispatch/bus"
	"github.com/muster-hq/muster/dispatch/hub"
	"github.com/muster-hq/muster/dispatch/wire"
)

const (
	agentID = "abcdef0123456789"
	secret  = "benchmark" // of both logins; the hub lives as long as this process and listens on loopback only
)

// keyed lets in whoever knows the secret.
type keyed struct{}

func (keyed) Authenticate(_ context.Context, user, password string) (bus.Identity, error) {
	id, ok := bus.ParseUser(user)
	if !ok || password != secret {
		return bus.Identity{}, fmt.Errorf("%w: wrong password", bus.ErrLogin)
	}
	return id, nil
}

// bare is the baseline: a hub, and two connections over TLS. One publishes an order, the other answers each
// with a reply. Nobody looks into either; both are messages of the form and size of the real ones.
type bare struct {
	hub          *hub.Hub
	orders       *bus.Session
	agent        *bus.Session
	replies      <-chan bus.Delivery
	order, reply []byte
	stop         context.CancelFunc
	wg           sync.WaitGroup
}

func newBare(ctx context.Context) (*bare, error) {
	ctx, stop := context.WithCancel(ctx)
	b := &bare{hub: hub.New(hub.Config{Auth: keyed{}}), stop: stop}
	if err := b.start(ctx); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *bare) start(ctx context.Context) error {
	var err error
	if b.order, b.reply, err = messages(); err != nil {
		return err
	}
	authority, err := pki.NewAuthority("bench", time.Now())
	if err != nil {
		return err
	}
	id, err := authority.Issue(pki.Subject{Name: "bench"}, time.Now())
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	b.wg.Go(func() { _ = b.hub.Serve(ctx, ln, id.ServerTLS()) }) // ends with close; before that, dialing tells
	trust := id.ClientTLS()
	trust.ServerName, trust.Certificates = bus.ServerName, nil
	if b.orders, err = dial(ctx, ln.Addr(), trust, bus.UserOrchestrator); err != nil {
		return err
	}
	if err := errors.Join(bus.Declare(ctx, b.orders), bus.DeclareAgent(ctx, b.orders, agentID)); err != nil {
		return err
	}
	if b.agent, err = dial(ctx, ln.Addr(), trust, bus.AgentUser(agentID)); err != nil {
		return err
	}
	from, err := b.agent.Consume(ctx, bus.AgentQueue(agentID), 16)
	if err != nil {
		return err
	}
	if b.replies, err = b.orders.Consume(ctx, bus.QueueReplies, 16); err != nil {
		return err
	}
	b.wg.Go(func() { b.answer(ctx, from) })
	return nil
}

func dial(ctx context.Context, addr net.Addr, trust *tls.Config, user string) (*bus.Session, error) {
	c, err := bus.New(bus.Config{URLs: []string{"amqps://" + addr.String()}, TLS: trust,
		Login: func(context.Context) (string, string, error) { return user, secret, nil }})
	if err != nil {
		return nil, err
	}
	return c.Dial(ctx)
}

// answer is the agent's side. When it fails, the round trip that waits for it runs into its limit.
func (b *bare) answer(ctx context.Context, orders <-chan bus.Delivery) {
	for d := range orders {
		if !bytes.Equal(d.Body, b.order) {
			return
		}
		if d.Ack() != nil || b.agent.Publish(ctx, bus.ExchangeAgents, bus.AgentKey(agentID, bus.TalkReply), true, b.reply) != nil {
			return
		}
	}
}

// roundTrip is one order and its reply.
func (b *bare) roundTrip(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, opLimit)
	defer cancel()
	began := time.Now()
	if err := b.orders.Publish(ctx, bus.ExchangeOrders, agentID, true, b.order); err != nil {
		return 0, err
	}
	select {
	case d, ok := <-b.replies:
		took := time.Since(began)
		if !ok || !bytes.Equal(d.Body, b.reply) {
			return 0, errors.New("the reply is not what was sent")
		}
		return took, d.Ack()
	case <-ctx.Done():
		return 0, fmt.Errorf("no reply: %w", ctx.Err())
	}
}

func (b *bare) close() error {
	b.stop()
	err := b.hub.Close()
	b.wg.Wait()
	return err
}

// messages are an order to write one small file, and the reply to it, as dispatch and agents make them.
func messages() (order, reply []byte, err error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	want, err := json.Marshal(map[string]string{
		"contentBase64": base64.StdEncoding.EncodeToString([]byte(content("value-000-000"))), "mode": "644", "ensure": "present"})
	if err != nil {
		return nil, nil, err
	}
	now, watch := time.Now(), true
	order, err = wire.Sign(wire.KindOrder, key, wire.Order{
		ID: rand.Text(), Agent: agentID, Lane: wire.LaneChanges, Epoch: uint64(now.UnixMilli()), Term: 2, Sequence: 1,
		Issued: now, Expires: now.Add(time.Hour), Change: 1,
		Steps: []wire.Step{{Description: "Update file " + filePath, Collection: "files", Resource: filePath, Verb: wire.VerbApply,
			Want: want, Monitor: &watch, Origin: wire.Origin{Application: appName, Type: "files", Name: fileName}}},
	})
	if err != nil {
		return nil, nil, err
	}
	reply, err = wire.Sign(wire.KindReply, key, wire.Reply{
		Agent: agentID, Order: rand.Text(), Sequence: 1, Status: wire.StatusOK, Changed: true, Final: true, At: now})
	return order, reply, err
}
