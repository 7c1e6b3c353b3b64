package agent

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-hq/muster/agent/agenttest"
	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/dispatch/bus"
	"github.com/muster-hq/muster/dispatch/hub"
	"github.com/muster-hq/muster/dispatch/wire"
)

// member enrols an agent over the bus and keeps it working until the test ends.
func member(t *testing.T, o *agenttest.Orchestrator, c resource.Collection) *Agent {
	t.Helper()
	dir := t.TempDir()
	s := openState(t, dir)
	log := slog.New(slog.DiscardHandler)
	if err := Enrol(t.Context(), s, EnrolOptions{Log: log, URLs: []string{o.URL}, Token: o.Token, Name: "web1"}); err != nil {
		t.Fatal(err)
	}
	a, err := Open(Options{Log: log, State: dir, Identity: *s.Identity, Key: s.Key, Collections: []resource.Collection{c}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := a.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	wg.Go(func() {
		if err := a.Connect(ctx, dir, []string{o.URL}); err != nil {
			t.Errorf("connect: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait(); _ = a.Close() })
	return a
}

// sender repeats an order as an outbox does, until cond holds.
func sender(t *testing.T, o *agenttest.Orchestrator, order wire.Order, what string, cond func() bool) {
	t.Helper()
	var last time.Time
	waitFor(t, what, func() bool {
		if time.Since(last) > 100*time.Millisecond {
			o.Send(order)
			last = time.Now()
		}
		return cond()
	})
}

// The link is cut, again and again; the receipts come late. Every reply arrives, nothing is done twice.
func TestConnectionsThatBreak(t *testing.T) {
	o := agenttest.Start(t)
	files := newFake("files")
	a := member(t, o, files)
	id := a.identity.Agent
	o.Mute(true)
	var orders []wire.Order
	for n := 1; n <= 3; n++ {
		order := o.Order(id, n, apply("files", "/a", "1"), act("files", "/x", "run"), act("files", "/y", "run"))
		orders = append(orders, order)
		sender(t, o, order, "a reply", func() bool { return len(o.Replies(order.ID)) > 0 })
		if n := o.Disconnect(id); n == 0 {
			t.Error("there was no connection to cut")
		}
	}
	o.Mute(false)
	waitFor(t, "all replies and their receipts", func() bool {
		for _, order := range orders {
			if !o.Over(order) {
				return false
			}
		}
		return a.Outstanding().Replies == 0
	})
	if n := files.actCount("run /x"); n != len(orders) {
		t.Errorf("%d actions for %d orders", n, len(orders))
	}
}

// The hub dies with all its queues while it holds replies that it has confirmed and the orchestrator has not: the agent
// tells them again, and does nothing again.
func TestHubLostWithRepliesOnTheirWay(t *testing.T) {
	o := agenttest.Start(t, func(c *hub.Config) {
		c.Fault = func(exchange, key string) []time.Duration {
			if exchange == bus.ExchangeAgents && strings.HasSuffix(key, ".reply") {
				return []time.Duration{500 * time.Millisecond} // taken, and on its way for long
			}
			return []time.Duration{0}
		}
	})
	files := newFake("files")
	a := member(t, o, files)
	for n := 1; n <= 4; n++ {
		order := o.Order(a.identity.Agent, n, act("files", "/x", "run"), apply("files", "/a", "1"), act("files", "/y", "run"))
		o.Send(order)
		waitFor(t, "the work to be done", func() bool { return files.actCount("run /y") == n })
		if len(o.Replies(order.ID)) != 0 {
			t.Log("a reply was fast; the next round may do better")
		}
		o.Restart() // what was on its way is gone
		waitFor(t, "every reply", func() bool { return o.Over(order) })
		waitFor(t, "the receipts", func() bool { return a.Outstanding().Replies == 0 })
		o.Send(order) // and once more, as a leader would that did not hear
	}
	for _, what := range []string{"run /x", "run /y"} {
		if n := files.actCount(what); n != 4 {
			t.Errorf("%s: %d times for 4 orders", what, n)
		}
	}
}

// The bus loses, repeats, delays and reorders what passes between the two.
func TestABusThatCannotBeTrusted(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 1))
	o := agenttest.Start(t, func(c *hub.Config) {
		c.Fault = func(exchange, _ string) []time.Duration {
			if exchange != bus.ExchangeOrders && exchange != bus.ExchangeAgents {
				return []time.Duration{0}
			}
			mu.Lock()
			defer mu.Unlock()
			copies := make([]time.Duration, random.IntN(3))
			for i := range copies {
				copies[i] = time.Duration(random.IntN(150)) * time.Millisecond
			}
			return copies
		}
	})
	files := newFake("files")
	a := member(t, o, files)
	const orders = 10
	for n := 1; n <= orders; n++ {
		order := o.Order(a.identity.Agent, n, apply("files", "/a", "1"), act("files", "/x", "run"), act("files", "/y", "run"))
		sender(t, o, order, "the end of "+order.ID, func() bool { return o.Over(order) })
	}
	for _, what := range []string{"run /x", "run /y"} {
		if n := files.actCount(what); n != orders {
			t.Errorf("%s: %d times for %d orders", what, n, orders)
		}
	}
}
