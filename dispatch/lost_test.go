package dispatch_test

import (
	"encoding/json"
	"testing"

	"github.com/muster-hq/muster/dispatch/bus"
	"github.com/muster-hq/muster/dispatch/wire"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// TestHubLostWithRepliesUnread kills a hub that holds replies which it has confirmed to the agent and no dispatcher has
// read. The agent says them again on the empty hub, more than once: they are recorded, once, and confirmed each time.
func TestHubLostWithRepliesUnread(t *testing.T) {
	r := newRig(t)
	a := r.agent()
	if _, no := a.enrol(r.token(0), "web1"); no != "" {
		t.Fatal(no)
	}
	s, ds := a.up()
	id := r.change(a, 2)
	o, _ := a.order(ds)
	replies := []wire.Reply{
		{Agent: a.id, Order: o.ID, Sequence: 1, Step: 0, Status: wire.StatusOK, Changed: true, Output: json.RawMessage(`{"first":1}`)},
		{Agent: a.id, Order: o.ID, Sequence: 2, Step: 1, Status: wire.StatusOK, Changed: true, Final: true},
	}
	r.stopDispatch() // the leader is gone for a moment
	for _, reply := range replies {
		a.say(s, wire.KindReply, bus.TalkReply, reply) // confirmed by the broker
	}
	r.hub.Load().Kill()
	r.startHub()
	r.newTerm()
	if c := r.get(id); c.Done || c.Tasks[0].Status != model.TaskPending {
		t.Fatalf("something was recorded, so nothing was lost: %+v", c)
	}
	var again *bus.Session
	r.eventually("the agent's queue on the empty hub", func() bool {
		again = a.dial(bus.AgentUser(a.id), a.key)
		next, err := again.Consume(r.ctx, bus.AgentQueue(a.id), 10)
		if err != nil {
			again.Close()
			return false
		}
		ds = next
		return true
	})
	for _, reply := range replies {
		a.say(again, wire.KindReply, bus.TalkReply, reply)
		a.receipt(ds, reply.Sequence)
	}
	c := r.get(id)
	if !c.Done || c.Tasks[0].Status != model.TaskOK || c.Tasks[1].Status != model.TaskOK {
		t.Fatalf("after both were said again: %+v", c)
	}
	before, _ := state.VersionOf[model.Change](r.db.Local(), id)
	for _, reply := range replies {
		a.say(again, wire.KindReply, bus.TalkReply, reply)
		a.receipt(ds, reply.Sequence)
	}
	if after, _ := state.VersionOf[model.Change](r.db.Local(), id); after != before {
		t.Errorf("a reply that came again was recorded again: version %v, was %v", after, before)
	}
}
