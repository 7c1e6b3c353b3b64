package dispatch_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/agent/journal"
	"github.com/muster-hq/muster/dispatch/bus"
	"github.com/muster-hq/muster/dispatch/wire"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// TestRestoreKnowsWhatWasDoneSince restores a snapshot in which a change was open and had no order. Its agent has done
// it since: that is told, with what failed, and nothing runs again.
func TestRestoreKnowsWhatWasDoneSince(t *testing.T) {
	r, m := newRestoreRig(t)
	r.stopDispatch()
	well, badly := m.queue("one", "two"), m.queue("three", "bad", "four")
	snapshot := r.db.Save(t)
	r.startDispatch()
	m.ended(badly)
	r.restore(snapshot)
	if c := r.get(well); c.Done || c.Order != "" {
		t.Fatalf("nothing was open in the snapshot: %+v", c)
	}
	for _, task := range m.ended(well).Tasks {
		if task.Status != model.TaskOK || !task.Changed {
			t.Errorf("what was done well is told as %+v", task)
		}
	}
	c := m.ended(badly)
	if c.Tasks[0].Status != model.TaskOK || !strings.Contains(c.Tasks[1].Error, "no such luck") || !strings.HasPrefix(c.Tasks[2].Error, "skipped") || c.Tasks[1].Interrupted {
		t.Errorf("what was done badly is told as %+v", c.Tasks)
	}
	m.afterwards()
	for _, s := range []string{"one", "two", "three", "bad"} {
		if n := m.times(s); n != 1 {
			t.Errorf("script %s ran %d times", s, n)
		}
	}
	if m.times("four") != 0 {
		t.Error("what was skipped has run")
	}
}

// TestRestoreOrdersWhatWasNotDone restores snapshots in which a change was open, with and without an order, that the
// agent never had: it is done, once, and the order of before is taken no more.
func TestRestoreOrdersWhatWasNotDone(t *testing.T) {
	r, m := newRestoreRig(t)
	m.stop()
	out := m.queue("out")
	r.eventually("an order", func() bool { return r.get(out).Order != "" })
	old := r.get(out).Order
	waiting := m.queue("waiting")
	snapshot := r.db.Save(t)
	r.hub.Load().Kill() // the order that was out lies there
	r.startHub()
	r.restore(snapshot)
	m.start()
	if c := m.ended(out); c.Failed() || c.Order == old {
		t.Errorf("the change that was out: %+v, its order was %s", c, old)
	}
	if c := m.ended(waiting); c.Failed() {
		t.Errorf("the change that waited: %+v", c)
	}
	m.afterwards()
	if m.times("out") != 1 || m.times("waiting") != 1 {
		t.Errorf("out ran %d times, waiting %d times", m.times("out"), m.times("waiting"))
	}
}

// TestRestoreWhileTheAgentWorks restores a snapshot while the agent is in the middle of a change that was open in it.
// The change goes on as it is.
func TestRestoreWhileTheAgentWorks(t *testing.T) {
	r, m := newRestoreRig(t)
	r.stopDispatch()
	id := m.queue("one", "slow", "three")
	snapshot := r.db.Save(t)
	goOn := m.block("slow")
	r.startDispatch()
	r.eventually("the agent in the middle of it", func() bool { return m.begun("slow") })
	r.restore(snapshot)
	r.eventually("the agent's standing", m.inStep)
	c := r.get(id)
	if c.Done || c.Order == "" || c.Tasks[0].Status != model.TaskOK || c.Tasks[1].Status != model.TaskPending {
		t.Errorf("in the middle: %+v", c)
	}
	goOn()
	if c := m.ended(id); c.Failed() {
		t.Errorf("at the end: %+v", c)
	}
	m.afterwards()
	for _, s := range []string{"one", "slow", "three"} {
		if n := m.times(s); n != 1 {
			t.Errorf("script %s ran %d times", s, n)
		}
	}
}

// TestRestoreToBeforeAChange restores a snapshot that is older than changes which the agent has done or has begun. The
// state learns of them, and sequences and numbers go on above them.
func TestRestoreToBeforeAChange(t *testing.T) {
	r, m := newRestoreRig(t)
	m.ended(m.queue("first"))
	snapshot := r.db.Save(t)
	done := m.queue("one", "bad")
	m.ended(done)
	goOn := m.block("slow")
	slow := m.queue("slow", "last")
	r.eventually("the agent in the middle of it", func() bool { return m.begun("slow") })
	before, _ := state.Get[model.Lanes](r.db.Local(), m.id)
	num := r.get(slow).OrderNum
	r.restore(snapshot)
	r.eventually("the agent's standing", m.inStep)
	c := r.get(done)
	if c == nil || !c.Done || len(c.Tasks) != 2 || c.Tasks[0].Status != model.TaskOK || !strings.Contains(c.Tasks[1].Error, "no such luck") {
		t.Errorf("the change that was done: %+v", c)
	}
	if c := r.get(slow); c == nil || c.Done || c.OrderNum != num {
		t.Fatalf("the change that was begun, number %d: %+v", num, c)
	}
	goOn()
	if c := m.ended(slow); c.Failed() {
		t.Errorf("the change that was begun: %+v", c)
	}
	m.afterwards()
	after, _ := state.Get[model.Lanes](r.db.Local(), m.id)
	if after.Changes != before.Changes+1 || after.Epoch != r.db.Local().Epoch() || after.Digest == "" {
		t.Errorf("the lanes were %+v and are %+v", before, after)
	}
	if c := m.ended(m.queue("number")); c.OrderNum != num+2 {
		t.Errorf("a change has the number %d; %d was given already", c.OrderNum, num+1)
	}
	for _, s := range []string{"one", "bad", "slow", "last"} {
		if n := m.times(s); n != 1 {
			t.Errorf("script %s ran %d times", s, n)
		}
	}
}

// TestRestoreWithoutTheAgent restores while the agent is away. Its host waits, and says why; the leader changes; and
// when the agent is back, what it did is told.
func TestRestoreWithoutTheAgent(t *testing.T) {
	r, m := newRestoreRig(t)
	r.stopDispatch()
	id := m.queue("once")
	snapshot := r.db.Save(t)
	r.startDispatch()
	m.ended(id)
	m.stop()
	r.eventually("the agent to be down", func() bool {
		p, _ := state.Get[model.Presence](r.db.Local(), m.id)
		return !p.Up
	})
	r.restore(snapshot)
	more := m.queue("more")
	for range 3 {
		r.newTerm()
	}
	view := r.db.Local()
	host, _ := state.Get[model.HostRow](view, m.host)
	changes, err := orchestrate.Changes(view, host.OrgID, m.host, false)
	if err != nil || len(changes) != 2 {
		t.Fatalf("open: %+v, %v", changes, err)
	}
	for _, c := range changes {
		if !strings.Contains(c.Waiting, "the cluster was restored") {
			t.Errorf("change %d waits for %q", c.OrderNum, c.Waiting)
		}
	}
	if c := r.get(more); c.Order != "" || m.inStep() {
		t.Errorf("an order was written: %+v", c)
	}
	m.start()
	if c := m.ended(id); c.Failed() {
		t.Errorf("what was done before: %+v", c)
	}
	if c := m.ended(more); c.Failed() {
		t.Errorf("what was asked since: %+v", c)
	}
	if changes, _ = orchestrate.Changes(r.db.Local(), host.OrgID, m.host, true); changes[0].Waiting+changes[1].Waiting != "" {
		t.Errorf("they still wait: %+v", changes)
	}
	if m.times("once") != 1 || m.times("more") != 1 {
		t.Errorf("once ran %d times, more %d times", m.times("once"), m.times("more"))
	}
}

// TestRestoreAndTheJournalIsLost restores when the agent has forgotten what it did: what was open in the snapshot is
// interrupted and not run again, and what is asked later is done.
func TestRestoreAndTheJournalIsLost(t *testing.T) {
	r, m := newRestoreRig(t)
	r.stopDispatch()
	id := m.queue("once")
	snapshot := r.db.Save(t)
	r.startDispatch()
	m.ended(id)
	m.stop()
	if err := os.Remove(filepath.Join(m.dir, journal.FileName)); err != nil {
		t.Fatal(err)
	}
	r.hub.Load().Kill() // a copy of the order may lie there still, and the journal that knows it is gone
	r.startHub()
	r.restore(snapshot)
	m.start()
	c := m.ended(id)
	if !c.Tasks[0].Interrupted || c.Tasks[0].Status != model.TaskError || !strings.Contains(c.Tasks[0].Error, "restored") {
		t.Errorf("what nobody can know is told as %+v", c.Tasks[0])
	}
	m.afterwards()
	if n := m.times("once"); n != 1 {
		t.Errorf("it ran %d times", n)
	}
}

// TestRestoreOfTheMachineToo restores the machine's disk as well, to before a change that the state knows to be done, so
// that the agent's journal is the right one, and an old copy of it.
func TestRestoreOfTheMachineToo(t *testing.T) {
	r, m := newRestoreRig(t)
	m.ended(m.queue("first"))
	m.stop()
	copied, err := os.ReadFile(filepath.Join(m.dir, journal.FileName))
	if err != nil {
		t.Fatal(err)
	}
	m.start()
	m.ended(m.queue("second"))
	r.stopDispatch()
	id := m.queue("once")
	snapshot := r.db.Save(t)
	r.startDispatch()
	m.ended(id)
	m.stop()
	if err := os.WriteFile(filepath.Join(m.dir, journal.FileName), copied, 0o600); err != nil {
		t.Fatal(err)
	}
	r.hub.Load().Kill() // a copy of the order may lie there still, and the journal that knows it is gone
	r.startHub()
	r.restore(snapshot)
	m.start()
	if c := m.ended(id); !c.Tasks[0].Interrupted {
		t.Errorf("what nobody can know is told as %+v", c.Tasks[0])
	}
	m.afterwards()
	if n := m.times("once"); n != 1 {
		t.Errorf("it ran %d times", n)
	}
}

// TestTwoRestoresInARow restores the same snapshot again, once before the agent could tell anything and once after it
// did more.
func TestTwoRestoresInARow(t *testing.T) {
	r, m := newRestoreRig(t)
	r.stopDispatch()
	id := m.queue("once")
	snapshot := r.db.Save(t)
	r.startDispatch()
	m.ended(id)
	m.stop()
	r.restore(snapshot)
	r.restore(snapshot)
	m.start()
	m.ended(id)
	since := m.queue("since")
	m.ended(since)
	r.restore(snapshot)
	if c := m.ended(id); c.Failed() {
		t.Errorf("what was done before all: %+v", c)
	}
	if c := m.ended(since); c.Failed() {
		t.Errorf("what was done between: %+v", c)
	}
	m.afterwards()
	if m.times("once") != 1 || m.times("since") != 1 {
		t.Errorf("once ran %d times, since %d times", m.times("once"), m.times("since"))
	}
}

// TestRestoreAndAnOldAgent restores under an agent that cannot tell its standing: its host waits, and says what to do.
func TestRestoreAndAnOldAgent(t *testing.T) {
	r := newRig(t)
	a := r.agent()
	if _, no := a.enrol(r.token(0), "web1"); no != "" {
		t.Fatal(no)
	}
	s, ds := a.up()
	r.stopDispatch()
	id := r.change(a, 1)
	snapshot := r.db.Save(t)
	r.startDispatch()
	o, _ := a.order(ds)
	r.restore(snapshot)
	row, _ := state.Get[model.Agent](r.db.Local(), a.id)
	r.eventually("the host to say why it waits", func() bool {
		a.say(s, wire.KindPresence, bus.TalkPresence, wire.Presence{Agent: a.id, Version: "0.1", Started: time.Unix(1, 0)})
		return strings.Contains(orchestrate.WaitsFor(r.db.Local(), row.HostID), "version 0.1 of the agent cannot tell; update it")
	})
	// A reply to an order that the state does not know is not confirmed: it may be known later.
	a.say(s, wire.KindReply, bus.TalkReply, wire.Reply{Agent: a.id, Order: o.ID, Sequence: 1, Status: wire.StatusOK, Final: true})
	a.say(s, wire.KindAlert, bus.TalkAlert, wire.Alert{Agent: a.id, Sequence: 2, Collection: "files", Resource: "/x", Compliant: true, At: time.Now()})
	for asked, confirmed := false, false; !asked || !confirmed; {
		m := a.next(ds)
		var q wire.Receipt
		switch kind, _ := wire.PeekKind(m.Body); kind {
		case wire.KindOrder:
			var again wire.Order
			if err := wire.Open(m.Body, kind, r.key, &again); err != nil || again.ID != o.ID {
				t.Errorf("an order went out: %+v, %v", again, err)
			}
		case wire.KindResync:
			asked = true
		case wire.KindReceipt:
			if err := wire.Open(m.Body, kind, r.key, &q); err != nil || len(q.Sequences) != 1 || q.Sequences[0] != 2 {
				t.Errorf("confirmed: %+v, %v", q, err)
			}
			confirmed = true
		}
	}
	if c := r.get(id); c.Done || c.Order != "" {
		t.Errorf("the change is %+v", c)
	}
}
