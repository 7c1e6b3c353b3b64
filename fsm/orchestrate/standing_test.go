package orchestrate_test

import (
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// reborn is a world with one host, whose agent has the journal J and is out of step in a new epoch.
type reborn struct {
	*world
	hostID string
}

func newReborn(t *testing.T, before func(r *reborn)) *reborn {
	t.Helper()
	w := newWorld(t)
	w.token("any", 0, time.Time{})
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.Enrol(tx, enrolment("any", "a1", "h1"))
		return err
	})
	w.do(func(tx *state.Tx) error {
		return orchestrate.RecordPresence(tx, []orchestrate.Transition{{AgentID: "a1", Up: true, Version: "1", Journal: "J"}})
	})
	a, _ := state.Get[model.Agent](w.db.Local(), "a1")
	r := &reborn{w, a.HostID}
	before(r)
	w.db.Restore(t, w.db.Save(t))
	return r
}

func (r *reborn) queue() *model.Change {
	var c *model.Change
	r.do(func(tx *state.Tx) error {
		var err error
		c, err = orchestrate.QueueChange(tx, r.hostID, orchestrate.Draft{Tasks: []model.Task{{Description: "x", Status: model.TaskPending}}})
		return err
	})
	return c
}

// tell records a standing of journal J to its end.
func (r *reborn) tell(highest uint64, held ...orchestrate.HeldOrder) {
	r.t.Helper()
	s := orchestrate.Standing{Epoch: r.db.Local().Epoch(), Journal: "J", Highest: highest, Whole: true, Orders: held}
	for more, n := true, 0; more; n++ {
		if n > 20 {
			r.t.Fatal("the standing is never recorded to its end")
		}
		r.do(func(tx *state.Tx) error {
			var err error
			more, err = orchestrate.RecordStanding(tx, "a1", s)
			return err
		})
	}
}

// held is an order of one step; an outcome with an order's id is told.
func held(id, change string, seq uint64, over bool, ok bool) orchestrate.HeldOrder {
	h := orchestrate.HeldOrder{ID: id, ChangeID: change, Sequence: seq, Epoch: 1, Over: over, Steps: make([]orchestrate.StepOutcome, 1)}
	if over {
		h.Steps[0] = orchestrate.StepOutcome{OrderID: id, OK: ok, Error: map[bool]string{false: "no"}[ok]}
	}
	return h
}

func (r *reborn) change(id string) *model.Change {
	c, _ := state.Get[model.Change](r.db.Local(), id)
	return c
}

func (r *reborn) next(id string) bool {
	var ok bool
	r.do(func(tx *state.Tx) error {
		var err error
		_, ok, err = orchestrate.NextOrder(tx, r.hostID, id, 2, time.Hour)
		return err
	})
	return ok
}

// TestNoOrderBeforeTheStanding also looks that standings of another epoch, or above what is known, are not taken.
func TestNoOrderBeforeTheStanding(t *testing.T) {
	r := newReborn(t, func(r *reborn) { r.queue() })
	if r.next("o1") || !strings.Contains(orchestrate.WaitsFor(r.db.Local(), r.hostID), "it is asked") {
		t.Errorf("an order was written; it waits for %q", orchestrate.WaitsFor(r.db.Local(), r.hostID))
	}
	for _, s := range []orchestrate.Standing{
		{Epoch: 1, Journal: "J", Whole: true}, {Epoch: 3, Journal: "J", Whole: true}, {Epoch: 2, Above: 1, Journal: "J", Whole: true},
	} {
		r.do(func(tx *state.Tx) error { _, err := orchestrate.RecordStanding(tx, "a1", s); return err })
		if orchestrate.AgentInStep(r.db.Local(), "a1") {
			t.Errorf("in step by %+v", s)
		}
	}
	if ids := orchestrate.OutOfStep(r.db.Local()); len(ids) != 1 {
		t.Errorf("out of step: %v", ids)
	}
	r.tell(6)
	l, _ := state.Get[model.Lanes](r.db.Local(), "a1")
	if !r.next("o2") || l.Changes != 6 || orchestrate.WaitsFor(r.db.Local(), r.hostID) != "" {
		t.Errorf("after it no order; lanes %+v", l)
	}
	if o, _ := state.Get[model.Order](r.db.Local(), "o2"); o.Sequence != 7 || o.Epoch != 2 {
		t.Errorf("the order is %+v", o)
	}
}

// TestStandingThatDoesNotReachBack interrupts what was open, out or not, and leaves what is new.
func TestStandingThatDoesNotReachBack(t *testing.T) {
	for name, spoil := range map[string]func(*orchestrate.Standing){
		"another journal":   func(s *orchestrate.Standing) { s.Journal = "K" },
		"it has forgotten":  func(s *orchestrate.Standing) { s.Floor = 1 },
		"a list that lacks": func(s *orchestrate.Standing) { s.Whole = false },
		"an order without its change": func(s *orchestrate.Standing) {
			s.Orders = []orchestrate.HeldOrder{held("x", "", 9, true, true)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var out, waiting *model.Change
			r := newReborn(t, func(r *reborn) {
				out, waiting = r.queue(), r.queue()
				if !r.next("o1") {
					t.Fatal("no order")
				}
			})
			since := r.queue()
			s := orchestrate.Standing{Epoch: 2, Journal: "J", Highest: 9, Whole: true}
			spoil(&s)
			for more := true; more; {
				r.do(func(tx *state.Tx) error {
					var err error
					more, err = orchestrate.RecordStanding(tx, "a1", s)
					return err
				})
			}
			for _, c := range []*model.Change{out, waiting} {
				if c = r.change(c.ID); !c.Done || !c.Tasks[0].Interrupted || c.Tasks[0].Status != model.TaskError {
					t.Errorf("%+v", c)
				}
			}
			if r.change(since.ID).Done || !r.next("o2") || r.change(since.ID).Order != "o2" {
				t.Errorf("what came since: %+v", r.change(since.ID))
			}
		})
	}
}

// TestStandingOfManyOrders: one for a change that is open, one that was deleted since, one on another host, one of an
// unknown change, two that are not over.
func TestStandingOfManyOrders(t *testing.T) {
	var open, gone, slow *model.Change
	r := newReborn(t, func(r *reborn) {
		gone = r.queue()
		r.next("o1")
		r.do(func(tx *state.Tx) error {
			return orchestrate.RecordReply(tx, "a1", orchestrate.StepOutcome{OrderID: "o1", OK: true})
		})
		r.do(func(tx *state.Tx) error { return orchestrate.DeleteChange(tx, r.org, r.hostID, gone.OrderNum) })
		open, slow = r.queue(), r.queue()
	})
	other := r.host("h2")
	var foreign *model.Change
	r.do(func(tx *state.Tx) error {
		if err := state.Put(tx, &model.Change{ID: "FOREIGN", HostID: other, OrderNum: 99, Tasks: []model.Task{{Status: model.TaskPending}}}); err != nil {
			return err
		}
		foreign, _ = state.Get[model.Change](tx, "FOREIGN")
		return nil
	})
	bad := held("o6", "../x", 6, true, true)
	r.tell(7, held("o1", gone.ID, 1, true, true), held("o2", open.ID, 2, true, false), held("o3", foreign.ID, 3, true, true),
		held("o4", "LATER", 4, true, true), held("o5", slow.ID, 5, false, false), bad, held("o7", "LATEST", 7, false, false))
	if r.change(gone.ID) != nil || r.change("../x") != nil || r.change("FOREIGN").Done {
		t.Error("what was deleted, is not to be, or is another's was recorded")
	}
	if c := r.change(open.ID); !c.Done || c.Tasks[0].Error != "no" {
		t.Errorf("the one that was open: %+v", c)
	}
	if c := r.change("LATER"); c == nil || !c.Done || c.Failed() {
		t.Errorf("the one that is unknown: %+v", c)
	}
	if len(state.List[model.Order](r.db.Local(), model.OpenOrderOf(r.hostID))) != 2 || r.next("o8") {
		t.Error("both that are not over are out, and so nothing else")
	}
	for _, id := range []string{"o5", "o7"} {
		r.do(func(tx *state.Tx) error {
			return orchestrate.RecordReply(tx, "a1", orchestrate.StepOutcome{OrderID: id, OK: true})
		})
	}
	if !r.change(slow.ID).Done || !r.change("LATEST").Done || orchestrate.HostState(r.db.Local(), r.hostID) != model.HostReady {
		t.Errorf("at the end: %+v, %+v, %s", r.change(slow.ID), r.change("LATEST"), orchestrate.HostState(r.db.Local(), r.hostID))
	}
}

// TestLanesOfAnOlderVersion name no epoch: the agent is in step if it enrolled since the epoch began.
func TestLanesOfAnOlderVersion(t *testing.T) {
	w := newWorld(t)
	at := time.UnixMilli(int64(5))
	for enrolled, want := range map[time.Time]bool{at: true, at.Add(-4 * time.Millisecond): true, at.Add(-6 * time.Millisecond): false, {}: false} {
		a := &model.Agent{Enrolled: enrolled}
		if got := orchestrate.InStep(w.db.Local(), a, &model.Lanes{}); got != want { // the epoch is 1
			t.Errorf("enrolled at %d ms: %v", enrolled.UnixMilli(), got)
		}
	}
}
