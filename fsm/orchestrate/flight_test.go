package orchestrate_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// flight is a random walk over everything that happens to orders: machines come and go, changes are queued, orders
// are written, answered in any order, told twice, expire, and are forgotten.
type flight struct {
	*world
	rnd    *rand.Rand
	now    time.Time
	serial int
	told   []told // replies that were sent, to be sent again
	ended  map[string]string
}

type told struct {
	agent string
	out   orchestrate.StepOutcome
}

// TestOrdersInFlight looks after each step that no host has two orders, that an open order has an open change and an
// agent, that what is told as done stays as it was told, and that nothing waits that nobody will end.
func TestOrdersInFlight(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			f := &flight{world: newWorld(t), rnd: rand.New(rand.NewPCG(seed, 2)), now: time.Now(), ended: map[string]string{}}
			f.db.SetClock(func() time.Time { return f.now })
			f.token("any", 0, time.Time{})
			for range 250 {
				f.step()
				f.check()
			}
			f.land()
		})
	}
}

func (f *flight) id(prefix string) string {
	f.serial++
	return fmt.Sprint(prefix, f.serial)
}

func (f *flight) step() {
	f.now = f.now.Add(time.Duration(f.rnd.IntN(90)) * time.Second)
	view := f.db.Local()
	hosts := state.List[model.HostRow](view, model.HostsOf(f.env))
	orders := state.List[model.Order](view, model.OpenOrders)
	if len(hosts) < 3 || f.rnd.IntN(25) == 0 {
		_ = f.try(func(tx *state.Tx) error {
			_, err := orchestrate.Enrol(tx, enrolment("any", f.id("agent"), fmt.Sprint("h", f.rnd.IntN(5))))
			return err
		})
		return
	}
	h := hosts[f.rnd.IntN(len(hosts))].ID
	switch f.rnd.IntN(12) {
	case 0, 1:
		f.draftOn(h)
	case 2, 3:
		f.do(func(tx *state.Tx) error {
			_, _, err := orchestrate.NextOrder(tx, h, f.id("order"), 1, time.Hour)
			return err
		})
	case 4:
		f.do(func(tx *state.Tx) error { return orchestrate.DeleteChanges(tx, f.org, h, f.rnd.IntN(2) == 0) })
	case 5:
		if f.rnd.IntN(4) == 0 {
			_ = f.try(func(tx *state.Tx) error { return orchestrate.DeleteInstance(tx, f.org, h) })
		}
	case 6:
		if len(f.told) > 0 {
			r := f.told[f.rnd.IntN(len(f.told))]
			f.quiet("what was told before", func() { f.reply(r.agent, r.out) })
		}
	default:
		if len(orders) > 0 {
			f.answer(orders[f.rnd.IntN(len(orders))])
		}
	}
	for _, o := range orders {
		f.do(func(tx *state.Tx) error { _, err := orchestrate.ExpireOrder(tx, o.ID); return err })
	}
}

func (f *flight) draftOn(h string) {
	f.do(func(tx *state.Tx) error {
		d := orchestrate.Draft{Description: "walk"}
		for i := range 1 + f.rnd.IntN(3) {
			d.Tasks = append(d.Tasks, model.Task{OrderNum: i, Status: model.TaskPending, Collection: "files", Resource: "/x", Verb: "apply"})
		}
		_, err := orchestrate.QueueChange(tx, h, d)
		return err
	})
}

// answer tells the outcome of one step that has none.
func (f *flight) answer(o *model.Order) {
	c, ok := state.Get[model.Change](f.db.Local(), o.ChangeID)
	if !ok {
		f.t.Fatalf("order %s is open for a change that is gone", o.ID)
	}
	for _, i := range f.rnd.Perm(len(c.Tasks)) {
		if c.Tasks[i].Status != model.TaskPending {
			continue
		}
		r := told{o.AgentID, orchestrate.StepOutcome{OrderID: o.ID, Step: i, OK: f.rnd.IntN(4) > 0, Interrupted: f.rnd.IntN(9) == 0}}
		f.told = append(f.told, r)
		f.reply(r.agent, r.out)
		return
	}
	f.t.Fatalf("order %s is open and has nothing to answer", o.ID)
}

func (f *flight) check() {
	f.t.Helper()
	view := f.db.Local()
	out := map[string]bool{}
	for _, o := range state.List[model.Order](view, model.OpenOrders) {
		if out[o.HostID] {
			f.t.Fatalf("host %s has two orders", o.HostID)
		}
		out[o.HostID] = true
		c, ok := state.Get[model.Change](view, o.ChangeID)
		if !ok || c.Done || c.Order != o.ID || c.HostID != o.HostID {
			f.t.Fatalf("order %+v is open for change %+v", o, c)
		}
		if a, ok := state.Find[model.Agent](view, model.AgentOfHost(o.HostID)); !ok || a.ID != o.AgentID {
			f.t.Fatalf("order %s is open for agent %s, the host has %+v", o.ID, o.AgentID, a)
		}
		for _, other := range state.List[model.Change](view, model.OpenChangesOf(o.HostID)) {
			if other.OrderNum < c.OrderNum {
				f.t.Fatalf("change %d is out before change %d", c.OrderNum, other.OrderNum)
			}
		}
	}
	for _, h := range state.List[model.HostRow](view, model.HostsOf(f.env)) {
		for _, c := range state.List[model.Change](view, model.ChangesOf(h.ID)) {
			f.checkChange(c)
		}
		for _, o := range state.List[model.Order](view, model.OrdersOf(h.ID)) {
			if _, ok := state.Get[model.Change](view, o.ChangeID); !ok {
				f.t.Fatalf("order %s is kept for a change that is gone", o.ID)
			}
		}
	}
}

func (f *flight) checkChange(c *model.Change) {
	f.t.Helper()
	pending := false
	for i := range c.Tasks {
		task := &c.Tasks[i]
		pending = pending || task.Status == model.TaskPending
		if (task.Status == model.TaskError) != (task.Error != "") {
			f.t.Fatalf("task %d of change %s is %s with the text %q", i, c.ID, task.Status, task.Error)
		}
		// An expiry may be corrected by what happened; nothing else that was told changes.
		key, now := fmt.Sprint(c.ID, "/", i), string(task.Status)+task.Error
		if was, ok := f.ended[key]; ok && was != now {
			f.t.Fatalf("task %s was %q and is %q", key, was, now)
		}
		if task.Status != model.TaskPending && (len(task.Error) < 8 || task.Error[:8] != "expired:") {
			f.ended[key] = now
		}
	}
	if c.Done == pending {
		f.t.Fatalf("change %s: done is %v with tasks pending %v", c.ID, c.Done, pending)
	}
}

// land answers everything that is open; then every change of a host with a machine has ended.
func (f *flight) land() {
	f.t.Helper()
	for range 1000 {
		view := f.db.Local()
		orders := state.List[model.Order](view, model.OpenOrders)
		for _, o := range orders {
			f.answer(o)
			f.check()
		}
		waiting := state.List[model.Change](view, model.OpenChanges)
		if len(orders)+len(waiting) == 0 {
			return
		}
		for _, c := range waiting {
			f.do(func(tx *state.Tx) error {
				_, _, err := orchestrate.NextOrder(tx, c.HostID, f.id("order"), 1, time.Hour)
				return err
			})
		}
	}
	f.t.Fatal("changes stay open though everything is answered")
}

func TestMovedHostTakesItsAgentAlong(t *testing.T) {
	w := newWorld(t)
	h := w.enrol("a1", "h1")
	var other string
	w.do(func(tx *state.Tx) error {
		e, err := orchestrate.CreateEnvironment(tx, w.org, model.Environment{Name: "Other"})
		if err != nil {
			return err
		}
		other = e.ID
		_, err = orchestrate.UpdateHost(tx, w.org, h, []byte(`{"environment":"Other"}`))
		return err
	})
	if a, ok := state.Find[model.Agent](w.db.Local(), model.AgentOfHost(h)); !ok || a.EnvID != other {
		t.Errorf("the agent is %+v", a)
	}
}
