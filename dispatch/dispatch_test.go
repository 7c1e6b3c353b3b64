package dispatch_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/dispatch/bus"
	"github.com/muster-hq/muster/dispatch/wire"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

func TestOrderOutAndRepliesIn(t *testing.T) {
	r := newRig(t)
	a := r.agent()
	if w, no := a.enrol(r.token(0), "web1"); no != "" || w.Host != "web1" || w.Organization != "acme" || w.Environment != "prod" {
		t.Fatalf("welcome %+v, refusal %q", w, no)
	}
	s, ds := a.up()
	first, second := r.change(a, 2), r.change(a, 1)

	o, _ := a.order(ds)
	if row, ok := state.Get[model.Order](r.db.Local(), o.ID); !ok || row.ChangeID != first {
		t.Fatalf("the order that went out is not in the state for the first change: %+v", row)
	}
	if o.Agent != a.id || len(o.Steps) != 2 || o.Sequence != 1 || o.Term != 1 {
		t.Fatalf("order %+v", o)
	}
	a.say(s, wire.KindReply, bus.TalkReply, wire.Reply{Agent: a.id, Order: o.ID, Sequence: 1, Step: 0, Status: wire.StatusOK, Changed: true})
	a.receipt(ds, 1)
	if c := r.get(first); c.Done || c.Tasks[0].Status != model.TaskOK || c.Tasks[1].Status != model.TaskPending {
		t.Fatalf("after the first reply: %+v", c)
	}
	if c := r.get(second); c.Order != "" {
		t.Fatal("the second change went out while the first one runs")
	}
	fail := wire.Reply{Agent: a.id, Order: o.ID, Sequence: 2, Step: 1, Status: wire.StatusError, Error: "no such owner", Final: true}
	a.say(s, wire.KindReply, bus.TalkReply, fail)
	a.receipt(ds, 2)
	if c := r.get(first); !c.Done || c.Tasks[1].Status != model.TaskError || c.Tasks[1].Error != "no such owner" {
		t.Fatalf("after the last reply: %+v", c)
	}
	o2, _ := a.order(ds)
	for o2.ID == o.ID { // a repeat that was on its way
		o2, _ = a.order(ds)
	}
	if row, _ := state.Get[model.Order](r.db.Local(), o2.ID); row.ChangeID != second || o2.Sequence != 2 {
		t.Fatalf("second order %+v of change %s", o2, row.ChangeID)
	}
	// Told again, as after a lost receipt: confirmed again, and nothing moves.
	fail.Error = "another text"
	a.say(s, wire.KindReply, bus.TalkReply, fail)
	a.receipt(ds, 2)
	if c := r.get(first); c.Tasks[1].Error != "no such owner" {
		t.Fatalf("a repeated reply changed the task: %+v", c.Tasks[1])
	}
}

func TestNewLeaderSendsTheSameBytes(t *testing.T) {
	r := newRig(t)
	a := r.agent()
	a.enrol(r.token(0), "web1")
	_, ds := a.up()
	r.change(a, 1)
	_, before := a.order(ds)
	r.newTerm()
	for {
		o, after := a.order(ds)
		if bytes.Equal(before, after) {
			return
		}
		t.Fatalf("the next leader sends another order: %+v", o)
	}
}

func TestBrokerLostWithAllItsQueues(t *testing.T) {
	r := newRig(t)
	a := r.agent()
	a.enrol(r.token(0), "web1")
	r.hub.Load().Kill()
	id := r.change(a, 1)
	r.eventually("the order is in the state", func() bool { return r.get(id).Order != "" })
	r.startHub()
	var o wire.Order
	r.eventually("the agent's queue on the new hub", func() bool {
		s := a.dial(bus.AgentUser(a.id), a.key)
		ds, err := s.Consume(r.ctx, bus.AgentQueue(a.id), 10)
		if err != nil {
			t.Logf("consume: %v", err)
			s.Close()
			return false
		}
		o, _ = a.order(ds)
		return true
	})
	if o.ID != r.get(id).Order {
		t.Fatalf("order %s, the state has %s", o.ID, r.get(id).Order)
	}
}

func TestForgedReplyIsRefused(t *testing.T) {
	r := newRig(t)
	a, b := r.agent(), r.agent()
	tok := r.token(0)
	a.enrol(tok, "web1")
	b.enrol(tok, "web2")
	_, ads := a.up()
	bs, bds := b.up()
	id := r.change(a, 1)
	o, _ := a.order(ads)
	// b tells the outcome of a's order, in its own name and in a's.
	b.say(bs, wire.KindReply, bus.TalkReply, wire.Reply{Agent: b.id, Order: o.ID, Sequence: 1, Status: wire.StatusOK, Final: true})
	b.receipt(bds, 1)
	body, _ := wire.Sign(wire.KindReply, b.key, wire.Reply{Agent: a.id, Order: o.ID, Sequence: 2, Status: wire.StatusOK, Final: true})
	if err := bs.Publish(r.ctx, bus.ExchangeAgents, bus.AgentKey(b.id, bus.TalkReply), true, body); err != nil {
		t.Fatal(err)
	}
	b.receipt(bds, 2)
	if c := r.get(id); c.Done || c.Tasks[0].Status != model.TaskPending {
		t.Fatalf("another agent's reply was believed: %+v", c)
	}
}

func TestEnrolmentRefused(t *testing.T) {
	r := newRig(t)
	once := r.token(1)
	a := r.agent()
	if _, no := a.enrol(once, "web1"); no != "" {
		t.Fatal(no)
	}
	if w, no := a.enrol(once, "web1"); no != "" || w.Host != "web1" {
		t.Fatalf("the same agent asking again: %+v %q", w, no)
	}
	if _, no := r.agent().enrol(once, "web2"); !strings.Contains(no, "used up") {
		t.Errorf("a used-up token: %q", no)
	}
	if _, no := r.agent().enrol(r.token(0), "web1"); !strings.Contains(no, "has a machine already") {
		t.Errorf("a taken name: %q", no)
	}
	if _, no := r.agent().enrol(r.token(0), "no such/name"); !strings.Contains(no, "not usable") {
		t.Errorf("a bad name: %q", no)
	}
	if n := len(state.Keys[model.Agent](r.db.Local(), model.AllAgents)); n != 1 {
		t.Errorf("%d agents after refusals, want 1", n)
	}
}

func TestPresence(t *testing.T) {
	r := newRig(t)
	r.stopDispatch()
	r.beats = 1500 * time.Millisecond // a machine that stands still for a moment is no silence
	r.startDispatch()
	a := r.agent()
	a.enrol(r.token(0), "web1")
	s, _ := a.up()
	started := time.Now()
	is := func(up bool, version string) func() bool {
		return func() bool {
			p, ok := state.Get[model.Presence](r.db.Local(), a.id)
			return ok && p.Up == up && (version == "" || p.Version == version)
		}
	}
	beat := func() {
		a.say(s, wire.KindPresence, bus.TalkPresence, wire.Presence{Agent: a.id, Version: "v1", Started: started})
	}
	beat()
	r.eventually("the version is known", is(true, "v1"))
	index := r.db.Local().Index()
	for range 5 {
		beat()
	}
	r.eventually("silence is seen", is(false, ""))
	if got := r.db.Local().Index(); got != index+1 {
		t.Errorf("%d commits for five heartbeats and one transition, want 1", got-index)
	}
	beat()
	r.eventually("the agent is back", is(true, ""))
	a.say(s, wire.KindPresence, bus.TalkPresence, wire.Presence{Agent: a.id, Started: started, Bye: true})
	r.eventually("good-bye is believed", is(false, ""))
}
