package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/dispatch/bus"
	"github.com/muster-hq/muster/dispatch/wire"
)

func TestParseUser(t *testing.T) {
	for user, want := range map[string]bus.Identity{
		"orchestrator": {User: "orchestrator", Role: bus.RoleOrchestrator},
		"agent.a1":     {User: "agent.a1", Role: bus.RoleAgent, ID: "a1"},
		"enrol.t1":     {User: "enrol.t1", Role: bus.RoleNewcomer, ID: "t1"},
		"agent.":       {}, "agent.a.b": {}, "agent.*": {}, "agent.#": {}, "agent": {}, "": {}, "guest": {}, "Agent.a": {}, "agent.a\x00": {}, "enrol.t 1": {},
	} {
		got, ok := bus.ParseUser(user)
		if got != want || ok != (want != bus.Identity{}) {
			t.Errorf("%q: %+v, %v", user, got, ok)
		}
	}
}

// TestAllow goes over every permission, resource and name, and compares with what the roles need.
func TestAllow(t *testing.T) {
	type grant struct {
		perm bus.Permission
		res  bus.Resource
		name string
		key  string
	}
	grants := map[string][]grant{
		"agent.1": {
			{bus.Read, bus.ResourceQueue, "agent.1", ""},
			{bus.Write, bus.ResourceExchange, "muster.agents", ""},
			{bus.Write, bus.ResourceTopic, "muster.agents", "agent.1.reply"},
			{bus.Write, bus.ResourceTopic, "muster.agents", "agent.1.alert"},
			{bus.Write, bus.ResourceTopic, "muster.agents", "agent.1.fact"},
			{bus.Write, bus.ResourceTopic, "muster.agents", "agent.1.presence"},
		},
		"enrol.1": {
			{bus.Configure, bus.ResourceQueue, "enrol.1.abc", ""},
			{bus.Read, bus.ResourceQueue, "enrol.1.abc", ""},
			{bus.Write, bus.ResourceExchange, "muster.enrol", ""},
		},
	}
	names := []string{"", "amq.default", "agent.1", "agent.10", "agent.2", "agent.1.x", "agent", "enrol.1", "enrol.1.", "enrol.1.abc",
		"enrol.10.abc", "enrol.1.abc.d", "muster.agents", "muster.orders", "muster.enrol", "muster.ask", "muster.replies", "muster.presence", "muster.enrolments"}
	keys := []string{"", "agent.1.reply", "agent.1.alert", "agent.1.fact", "agent.1.presence", "agent.1.other", "agent.1", "agent.10.reply",
		"agent.2.reply", "agent.1.reply.x", "agent.*.reply", "agent.#", "#", "enrol", "1"}
	for user, granted := range grants {
		id, _ := bus.ParseUser(user)
		allowed := make(map[grant]bool)
		for _, g := range granted {
			allowed[g] = true
		}
		found := 0
		for _, perm := range []bus.Permission{bus.Configure, bus.Write, bus.Read, "other"} {
			for _, res := range []bus.Resource{bus.ResourceExchange, bus.ResourceQueue, bus.ResourceTopic, "other"} {
				for _, name := range names {
					for _, key := range keys {
						g := grant{perm, res, name, key}
						if res != bus.ResourceTopic {
							g.key = ""
						}
						if got := bus.Allow(id, perm, res, name, key); got != allowed[g] {
							t.Errorf("%s %+v: %v", user, g, got)
						} else if got {
							found++
						}
					}
				}
			}
		}
		if found == 0 {
			t.Errorf("%s may do nothing", user)
		}
	}
	if bus.Allow(bus.Identity{User: "agent.1", ID: "1"}, bus.Read, bus.ResourceQueue, "agent.1", "") {
		t.Error("nobody may read")
	}
	if o, _ := bus.ParseUser(bus.UserOrchestrator); !bus.Allow(o, bus.Configure, bus.ResourceQueue, "any", "") {
		t.Error("the orchestrator may not")
	}
}

func TestAuthenticateRepeated(t *testing.T) {
	b := &broker{keys: newKeys()}
	a := b.newAgent(t, "a1")
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	p := bus.NewPolicy(b.keys, bus.PolicyOptions{Window: time.Hour, Now: func() time.Time { return now }})
	sign := func(counter uint64, at time.Time) string {
		password, err := wire.SignLogin(a.user, counter, at, a.key)
		must(t, err)
		return password
	}
	first := sign(5, now)
	if id, err := p.Authenticate(t.Context(), a.user, first); err != nil || id.Role != bus.RoleAgent || id.ID != "a1" {
		t.Errorf("%+v, %v", id, err)
	}
	for _, c := range []struct {
		name     string
		ask      func(context.Context, string, string) (bus.Identity, error)
		password string
		later    time.Duration
		passes   bool
	}{
		{"strictly, the same", p.Authenticate, first, 0, false},
		{"again, the same", p.AuthenticateRepeated, first, 10 * time.Second, true},
		{"again, too late", p.AuthenticateRepeated, first, 16 * time.Second, false},
		{"again, another of the same count", p.AuthenticateRepeated, sign(5, now.Add(1)), 0, false},
		{"again, an older", p.AuthenticateRepeated, sign(4, now), 0, false},
		{"outside the window", p.Authenticate, sign(6, now.Add(-time.Hour-1)), 0, false},
		{"the next", p.Authenticate, sign(6, now), 0, true},
	} {
		began := now
		now = now.Add(c.later)
		_, err := c.ask(t.Context(), a.user, c.password)
		now = began
		if (err == nil) != c.passes || err != nil && !errors.Is(err, bus.ErrLogin) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	b.keys.down = true
	if _, err := p.Authenticate(t.Context(), a.user, sign(7, now)); err == nil || errors.Is(err, bus.ErrLogin) {
		t.Errorf("nobody to ask: %v", err)
	}
}

func TestAgentKeys(t *testing.T) {
	for _, talk := range []bus.Talk{bus.TalkReply, bus.TalkAlert, bus.TalkFact, bus.TalkPresence} {
		if id, got, ok := bus.ParseAgentKey(bus.AgentKey("a1", talk)); id != "a1" || got != talk || !ok {
			t.Errorf("%s: %q %q %v", talk, id, got, ok)
		}
	}
	for _, key := range []string{"", "agent.", "agent.a", "agent.a.", "agent..reply", "agent.*.reply", "agent.a.b.reply", "x.a.reply"} {
		if id, talk, ok := bus.ParseAgentKey(key); ok {
			t.Errorf("%q: %q %q", key, id, talk)
		}
	}
}

func TestConfigRefused(t *testing.T) {
	for url, hint := range map[string]string{
		"":                          "scheme",
		"http://h:1":                "scheme",
		"amqp://":                   "names no host",
		"amqp://u:s3cret@h:port/":   "cannot be read",
		"https://u:s3cret@host/":    "scheme",
		"amqps://u:s3cret@:5671/%2": "cannot be read",
	} {
		_, err := bus.New(bus.Config{URLs: []string{url}})
		if err == nil || !contains(err.Error(), hint) || contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", url, err)
		}
	}
	if _, err := bus.New(bus.Config{}); err == nil {
		t.Error("no URL was taken")
	}
}

func TestRunStops(t *testing.T) {
	b, _ := newHubBroker(t, nil)
	a := b.newAgent(t, "stop1")
	c, err := bus.New(bus.Config{URLs: []string{b.agentURL}, Login: a.login, MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond})
	must(t, err)
	must(t, c.Run(t.Context(), func(context.Context, *bus.Session) error { return nil }))
	want := errors.New("enough")
	calls := 0
	err = c.Run(t.Context(), func(context.Context, *bus.Session) error {
		if calls++; calls < 3 {
			return errors.New("try again")
		}
		return fmt.Errorf("wrapped: %w", bus.Stop(want))
	})
	if !errors.Is(err, want) || calls != 3 {
		t.Errorf("Run = %v after %d sessions", err, calls)
	}
}

// TestRunRetriesRefusedLogin: an agent may be there before the broker knows it.
func TestRunRetriesRefusedLogin(t *testing.T) {
	b, h := newHubBroker(t, nil)
	a := b.newAgent(t, "early1")
	b.keys.mu.Lock()
	pub := b.keys.agents[a.id]
	delete(b.keys.agents, a.id)
	b.keys.mu.Unlock()
	c, err := bus.New(bus.Config{URLs: []string{b.agentURL}, Login: a.login, MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond})
	must(t, err)
	ended := make(chan error, 1)
	go func() {
		ended <- c.Run(t.Context(), func(context.Context, *bus.Session) error { return nil })
	}()
	eventually(t, "refused a few times", func() bool { return h.Stats().LoginsRefused > 2 })
	b.keys.mu.Lock()
	b.keys.agents[a.id] = pub
	b.keys.mu.Unlock()
	must(t, receive(t, ended))
}

func contains(s, part string) bool { return strings.Contains(s, part) }
