package agenttest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/muster-hq/muster/dispatch/bus"
	"github.com/muster-hq/muster/dispatch/wire"
)

// Agent waits until one agent is a member and returns its id.
func (o *Orchestrator) Agent() string {
	o.t.Helper()
	var id string
	Wait(o.t, "an agent's enrolment", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		for id = range o.agents {
			return true
		}
		return false
	})
	return id
}

// Name is the host name that an agent asked for.
func (o *Orchestrator) Name(agent string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.names[agent]
}

// Order makes the n-th order for an agent. Its steps are numbered here.
func (o *Orchestrator) Order(agent string, n int, steps ...wire.Step) wire.Order {
	steps = slices.Clone(steps)
	for i := range steps {
		steps[i].Num = i
	}
	now := time.Now()
	return wire.Order{
		ID: fmt.Sprintf("order-%d", n), Agent: agent, Lane: wire.LaneChanges, Epoch: 1, Term: 1, Sequence: uint64(n),
		Issued: now, Expires: now.Add(time.Hour), Change: n, Steps: steps,
	}
}

// Send publishes an order once.
func (o *Orchestrator) Send(order wire.Order) {
	o.t.Helper()
	if err := o.publish(context.Background(), order.Agent, wire.KindOrder, order); err != nil {
		o.t.Fatalf("send an order: %v", err)
	}
}

// SendUntil publishes an order again and again, as an outbox does, until cond holds.
func (o *Orchestrator) SendUntil(order wire.Order, what string, cond func() bool) {
	o.t.Helper()
	var last time.Time
	Wait(o.t, what, func() bool {
		if time.Since(last) > 200*time.Millisecond {
			o.Send(order)
			last = time.Now()
		}
		return cond()
	})
}

// Replies returns what was told of an order so far, by step.
func (o *Orchestrator) Replies(order string) map[int]wire.Reply {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.replies[order])
}

// Over says whether the last reply of an order has come, with all before it.
func (o *Orchestrator) Over(order wire.Order) bool {
	return len(o.Replies(order.ID)) == len(order.Steps)
}

// Alerts returns every alert that came, repeats included.
func (o *Orchestrator) Alerts() []wire.Alert {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.alerts)
}

// Presence returns every heartbeat that came.
func (o *Orchestrator) Presence() []wire.Presence {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.presence)
}

// Wait polls a condition until it holds, and fails the test after a minute.
func Wait(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(60 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline.C:
			t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}

// certificates makes a CA and the hub's certificate, which carries the CA in its chain.
func certificates(t testing.TB) (chain tls.Certificate, ca []byte) {
	t.Helper()
	caKey, leafKey := newKey(t), newKey(t)
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	ca, err := x509.CreateCertificate(rand.Reader, root, root, caKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test hub"}, DNSNames: []string{bus.ServerName},
		NotBefore: root.NotBefore, NotAfter: root.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, root, leafKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der, ca}, PrivateKey: leafKey}, ca
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
