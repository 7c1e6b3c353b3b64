package dispatch_test

import (
	"strings"
	"testing"

	"github.com/muster-hq/muster/dispatch/bus"
	"github.com/muster-hq/muster/dispatch/wire"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

func (r *rig) cancel(id string) {
	r.t.Helper()
	c := r.get(id)
	r.update(func(tx *state.Tx) error {
		_, err := orchestrate.CancelChange(tx, r.org, c.HostID, c.OrderNum)
		return err
	})
}

// cancelled waits for the cancellation of an order.
func (a *FakeAgent) cancelled(ds <-chan bus.Delivery, id string) wire.Order {
	a.r.t.Helper()
	for {
		if o, _ := a.order(ds); o.ID == id && o.Cancel {
			return o
		}
	}
}

// A change that is out is told to its agent, by this leader and by the next; it is open until the agent has answered, and
// tells what was done. The one behind it waits so long.
func TestCancelOfAChangeThatIsOut(t *testing.T) {
	r := newRig(t)
	a := r.agent()
	a.enrol(r.token(0), "web1")
	s, ds := a.up()
	id, second := r.change(a, 3), r.change(a, 1)
	o, _ := a.order(ds)
	a.say(s, wire.KindReply, bus.TalkReply, wire.Reply{Agent: a.id, Order: o.ID, Sequence: 1, Step: 0, Status: wire.StatusOK, Changed: true})
	a.receipt(ds, 1)
	r.cancel(id)
	r.cancel(id) // twice is once
	told := a.cancelled(ds, o.ID)
	if told.Sequence != o.Sequence || told.Term != o.Term || len(told.Steps) != 3 || told.Steps[1].Want != nil {
		t.Errorf("the cancellation is %+v", told)
	}
	r.newTerm()
	a.cancelled(ds, o.ID)
	if c := r.get(id); c.Done || !c.Cancelled || r.get(second).Order != "" {
		t.Errorf("before the agent has answered: %+v", c)
	}
	for n, step := range []int{1, 2} {
		a.say(s, wire.KindReply, bus.TalkReply, wire.Reply{Agent: a.id, Order: o.ID, Sequence: uint64(n + 2), Step: step, Status: wire.StatusSkipped,
			Error: "cancelled: it was not begun", Final: step == 2})
	}
	a.receipt(ds, 3)
	c := r.get(id)
	if !c.Done || c.Tasks[0].Status != model.TaskOK || c.Tasks[1].Status != model.TaskError || !strings.HasPrefix(c.Tasks[2].Error, "cancelled") {
		t.Errorf("after the agent has answered: %+v", c)
	}
	r.eventually("the change behind it goes out", func() bool { return r.get(second).Order != "" })
}

// The agent was cut off from the hub and its queue is lost: when it is back it hears of the cancellation first, not of the order.
func TestCancelWhileTheAgentIsCutOff(t *testing.T) {
	r := newRig(t)
	a := r.agent()
	a.enrol(r.token(0), "web1")
	id := r.change(a, 1)
	r.eventually("the order is in the state", func() bool { return r.get(id).Order != "" })
	r.cancel(id)
	r.hub.Load().Kill()
	r.startHub()
	var o wire.Order
	r.eventually("the agent's queue on the new hub", func() bool {
		s := a.dial(bus.AgentUser(a.id), a.key)
		ds, err := s.Consume(r.ctx, bus.AgentQueue(a.id), 10)
		if err != nil {
			s.Close()
			return false
		}
		o, _ = a.order(ds)
		return true
	})
	if !o.Cancel || o.ID != r.get(id).Order {
		t.Errorf("after the cancellation the agent gets %+v", o)
	}
	// One that is not out ends at once.
	second := r.change(a, 2)
	r.cancel(second)
	if c := r.get(second); !c.Done || c.Tasks[1].Error != "cancelled: it was not begun" || c.Order != "" {
		t.Errorf("%+v", c)
	}
}
