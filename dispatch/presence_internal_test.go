package dispatch

import (
	"testing"
	"time"

	"github.com/muster-hq/muster/dispatch/wire"
)

const beat = 10 * time.Second

// told takes what the presence has to tell of an agent: up, down or nothing.
func told(p *presence, id string) string {
	ts, _ := p.take()
	for _, t := range ts {
		if t.AgentID == id && t.Up {
			return "up"
		} else if t.AgentID == id {
			return "down"
		}
	}
	return ""
}

func TestNobodyIsDownBeforeTheLeaderHasListened(t *testing.T) {
	now := time.Now()
	p := newPresence(beat, now)
	p.sweep([]string{"a"}, now.Add(misses*beat-time.Second))
	if got := told(p, "a"); got != "" {
		t.Errorf("a new leader calls an agent %s", got)
	}
	p.sweep([]string{"a"}, now.Add(misses*beat+time.Second))
	if got := told(p, "a"); got != "down" {
		t.Errorf("an agent that was never heard: %q", got)
	}
}

func TestNewcomerHasTimeToLogIn(t *testing.T) {
	now := time.Now()
	p := newPresence(beat, now.Add(-time.Hour))
	p.enrolled("a", now)
	p.sweep([]string{"a"}, now.Add(beat))
	if got := told(p, "a"); got != "" {
		t.Errorf("an agent that enrolled just now is %s", got)
	}
	p.sweep([]string{"a"}, now.Add(misses*beat+time.Second))
	if got := told(p, "a"); got != "down" {
		t.Errorf("an agent that enrolled and never came: %q", got)
	}
}

func TestLateGoodbye(t *testing.T) {
	now := time.Now()
	p := newPresence(beat, now)
	first, second := now.Add(-time.Hour), now.Add(-time.Second)
	p.heard("a", "h1", wire.Presence{Version: "v1", Started: first}, now)
	if !p.heard("a", "h2", wire.Presence{Version: "v1", Started: second}, now) {
		t.Error("a restart was not seen as a coming")
	}
	p.take()
	p.gone("a", first, func() {}) // by way of h1, which was slow
	if got := told(p, "a"); got != "" || p.where("a") != "h2" {
		t.Errorf("a late good-bye made the agent %q at %q", got, p.where("a"))
	}
	p.gone("a", second, func() {})
	if got := told(p, "a"); got != "down" || p.known("a") {
		t.Errorf("the good-bye of the running process: %q", got)
	}
}

func TestNewsThatCouldNotBeRecorded(t *testing.T) {
	now := time.Now()
	p := newPresence(beat, now)
	p.heard("a", "h1", wire.Presence{Started: now}, now)
	p.heard("b", "h1", wire.Presence{Started: now}, now)
	ts, byes := p.take()
	p.gone("a", now, func() {})
	p.putBack(ts, byes)
	got := map[string]bool{}
	ts, byes = p.take()
	for _, n := range ts {
		got[n.AgentID] = n.Up
	}
	if len(got) != 2 || got["a"] || !got["b"] || len(byes) != 1 {
		t.Errorf("news %v: the newer one holds, the other is not lost", got)
	}
}

func TestRepliesAreSignsOfLife(t *testing.T) {
	now := time.Now()
	p := newPresence(beat, now.Add(-time.Hour))
	started := now.Add(-time.Minute)
	p.heard("a", "h1", wire.Presence{Version: "v", Started: started}, now)
	if p.heard("a", "h1", wire.Presence{}, now.Add(2*beat)) {
		t.Error("a reply of a known process is a coming")
	}
	p.take()
	p.sweep([]string{"a"}, now.Add(4*beat))
	if got := told(p, "a"); got != "" {
		t.Errorf("an agent that replies is %s", got)
	}
	if !p.heard("a", "h1", wire.Presence{Version: "v", Started: started}, now.Add(9*beat)) {
		t.Error("an agent that was silent for long did not come")
	}
	p.forget("a")
	if ts, _ := p.take(); p.known("a") || len(ts) != 0 {
		t.Error("a forgotten agent is remembered")
	}
}

func TestLinkThatFollowedStays(t *testing.T) {
	d := New(Config{})
	first, second := &link{name: "h"}, &link{name: "h"}
	removeFirst := d.addLink(first)
	removeSecond := d.addLink(second)
	removeFirst()
	if ls := d.allLinks(); len(ls) != 1 || ls[0] != second {
		t.Error("the end of a link took the one that followed it")
	}
	removeSecond()
	if len(d.allLinks()) != 0 {
		t.Error("a link that ended is used")
	}
}
