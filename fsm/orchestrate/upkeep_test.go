package orchestrate_test

import (
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// upkeepWorld is a world whose clocks a test sets: the leader's, and that of its process.
type upkeepWorld struct {
	*world
	leader, ours time.Time
	work         *orchestrate.Upkeep
}

func newUpkeepWorld(t *testing.T, kept orchestrate.ChangesKept) *upkeepWorld {
	t.Helper()
	u := &upkeepWorld{world: newWorld(t), leader: time.Now(), ours: time.Now()}
	u.db.SetClock(func() time.Time { return u.leader })
	u.token("any", 0, time.Time{})
	u.work = orchestrate.NewUpkeep(u.db, kept, func() time.Time { return u.ours })
	return u
}

func (u *upkeepWorld) pass(d time.Duration) {
	u.leader, u.ours = u.leader.Add(d), u.ours.Add(d)
}

// member enrols an agent and gives its host.
func (u *upkeepWorld) member(agent, host string, up bool) string {
	u.t.Helper()
	var id string
	u.do(func(tx *state.Tx) error {
		if _, err := orchestrate.Enrol(tx, enrolment("any", agent, host)); err != nil {
			return err
		}
		return orchestrate.RecordPresence(tx, []orchestrate.Transition{{AgentID: agent, Up: up, Version: "1"}})
	})
	a, ok := state.Get[model.Agent](u.db.Local(), agent)
	if !ok {
		u.t.Fatal("no agent")
	}
	id = a.HostID
	return id
}

func (u *upkeepWorld) queue(host string, n int) (ids []string) {
	u.t.Helper()
	for range n {
		u.do(func(tx *state.Tx) error {
			c, err := orchestrate.QueueChange(tx, host, orchestrate.Draft{Description: "a change", Tasks: []model.Task{
				{OrderNum: 0, Description: "a", Status: model.TaskPending, Collection: "files", Resource: "/a", Verb: "apply"},
				{OrderNum: 1, Description: "b", Status: model.TaskPending, Collection: "files", Resource: "/b", Verb: "apply"},
			}})
			if err == nil {
				ids = append(ids, c.ID)
			}
			return err
		})
	}
	return ids
}

func (u *upkeepWorld) expire(want int) {
	u.t.Helper()
	if n, err := u.work.Expire(u.t.Context()); err != nil || n != want {
		u.t.Errorf("%d changes expired, %v; want %d", n, err, want)
	}
}

func (u *upkeepWorld) change(id string) *model.Change {
	u.t.Helper()
	c, ok := state.Get[model.Change](u.db.Local(), id)
	if !ok {
		u.t.Fatalf("change %s is gone", id)
	}
	return c
}

// Changes of a host that is away end once both are old enough, whatever order is out; a clock that is set on makes nobody
// away for longer, and hosts that are there keep theirs.
func TestChangesOfHostsThatStayAwayExpire(t *testing.T) {
	u := newUpkeepWorld(t, orchestrate.ChangesKept{Expiry: time.Hour, Age: 24 * time.Hour, Most: 100})
	away, there := u.member("a1", "gone", false), u.member("a2", "here", true)
	gone, here := u.queue(away, 12), u.queue(there, 2)
	var order *model.Order
	u.do(func(tx *state.Tx) (err error) {
		order, _, err = orchestrate.NextOrder(tx, away, "o1", 1, 24*time.Hour)
		return err
	})
	u.expire(0)
	u.pass(59 * time.Minute)
	u.expire(0)
	late := u.queue(away, 1)
	u.leader = u.leader.Add(25 * time.Hour) // the clock is set
	u.expire(0)
	u.pass(2 * time.Minute)
	u.expire(len(gone))
	for i, id := range gone {
		c := u.change(id)
		if !c.Done || !strings.HasPrefix(c.Tasks[1].Error, "expired: the agent of the host is away since ") || (c.Order != "") != (i == 0) {
			t.Errorf("change %d: %+v", i, c)
		}
	}
	if o, ok := state.Get[model.Order](u.db.Local(), order.ID); !ok || !o.Done {
		t.Errorf("its order: %+v", o)
	}
	for _, id := range append(here, late...) {
		if c := u.change(id); c.Done {
			t.Errorf("a change that is not due ended: %+v", c)
		}
	}
	// The agent had it after all: it is told as it went.
	u.do(func(tx *state.Tx) error {
		return orchestrate.RecordReply(tx, "a1", orchestrate.StepOutcome{OrderID: order.ID, Step: 0, OK: true})
	})
	if c := u.change(gone[0]); c.Tasks[0].Status != model.TaskOK || c.Tasks[1].Status != model.TaskError {
		t.Errorf("after a late reply: %+v", c)
	}
	u.expire(0)
	u.pass(time.Hour)
	u.expire(1)
}

// An agent that had begun a change and never came back: what became of it is not known, and that is said.
func TestChangeThatWasBegunExpires(t *testing.T) {
	u := newUpkeepWorld(t, orchestrate.ChangesKept{Expiry: time.Hour, Age: 24 * time.Hour, Most: 100})
	host := u.member("a1", "gone", true)
	id := u.queue(host, 1)[0]
	u.do(func(tx *state.Tx) error {
		if _, _, err := orchestrate.NextOrder(tx, host, "o1", 1, 24*time.Hour); err != nil {
			return err
		}
		return nil
	})
	u.do(func(tx *state.Tx) error {
		if err := orchestrate.RecordReply(tx, "a1", orchestrate.StepOutcome{OrderID: "o1", Step: 0, OK: true}); err != nil {
			return err
		}
		return orchestrate.RecordPresence(tx, []orchestrate.Transition{{AgentID: "a1"}})
	})
	u.expire(0)
	u.pass(61 * time.Minute)
	u.expire(1)
	if c := u.change(id); !c.Done || c.Tasks[0].Status != model.TaskOK || !c.Tasks[1].Interrupted || !strings.Contains(c.Tasks[1].Error, "look what is there") {
		t.Errorf("%+v", c)
	}
}

func TestOldChangesAreDropped(t *testing.T) {
	u := newUpkeepWorld(t, orchestrate.ChangesKept{Expiry: time.Hour, Age: 24 * time.Hour, Most: 25})
	host := u.member("a1", "h", true)
	var ids []string
	for range 30 {
		id := u.queue(host, 1)[0]
		ids = append(ids, id)
		u.do(func(tx *state.Tx) error {
			_, err := orchestrate.CancelChange(tx, u.org, host, u.change(id).OrderNum)
			return err
		})
	}
	open := u.queue(host, 1)[0]
	left := func() (n int) {
		for _, id := range ids {
			if _, ok := state.Get[model.Change](u.db.Local(), id); ok {
				n++
			}
		}
		return n
	}
	for _, step := range []struct {
		pass    time.Duration
		dropped int
		left    int
	}{{0, 5, 25}, {time.Hour, 0, 25}, {24 * time.Hour, 5, 20}, {240 * time.Hour, 0, 20}} {
		u.pass(step.pass)
		if n, err := u.work.Drop(t.Context()); err != nil || n != step.dropped || left() != step.left {
			t.Errorf("after %s: %d dropped, %d left, %v; want %+v", step.pass, n, left(), err, step)
		}
	}
	if _, ok := state.Get[model.Change](u.db.Local(), ids[29]); !ok || u.change(open).Done {
		t.Error("what is new, or open, was dropped")
	}
}

// What a large write causes is known before and while it is planned, and how it ends.
func TestStateOfALargeWrite(t *testing.T) {
	w, _, hosts := fleet(t, manyHosts)
	var caused orchestrate.Caused
	w.do(func(tx *state.Tx) error {
		err := orchestrate.BulkSettings(tx, w.owner(model.LevelEnvironment, w.env), []model.Setting{{Key: "port", Value: value("8080")}}, true, orchestrate.Trigger{Handlers: true})
		if err != nil {
			return err
		}
		caused, err = orchestrate.Cause(tx)
		return err
	})
	all := func(*model.HostRow) bool { return true }
	is := func(may func(*model.HostRow) bool, want orchestrate.CausedState) {
		t.Helper()
		followed, err := orchestrate.ParseCaused(w.org, caused.Token())
		if err != nil {
			t.Error(err)
		}
		for _, c := range []orchestrate.Caused{caused, followed} {
			got := orchestrate.StateOf(w.db.Local(), w.org, c, may)
			if got.Processed != want.Processed || got.Failed != want.Failed || got.Pending != want.Pending {
				t.Errorf("%+v, want %+v", got, want)
			}
		}
	}
	if caused.Nothing() {
		t.Error("the write causes nothing")
	}
	is(all, orchestrate.CausedState{Pending: 1})
	w.expandAll()
	is(all, orchestrate.CausedState{Pending: manyHosts})
	w.finish(hosts[0])
	is(all, orchestrate.CausedState{Processed: 1, Pending: manyHosts - 1})
	is(func(h *model.HostRow) bool { return h.ID != hosts[0] }, orchestrate.CausedState{Pending: manyHosts - 1})
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteChanges(tx, w.org, hosts[1], false) })
	if got := orchestrate.StateOf(w.db.Local(), w.org, caused, all); got.Pending != manyHosts-2 {
		t.Errorf("after a change was deleted: %+v", got)
	}
}

// A write that queues hundreds of changes by itself is told under a short name, which another organization's follow nothing by;
// changes that hosts get with it for an earlier write are not its own.
func TestStateOfManyDirectChanges(t *testing.T) {
	const n = 75 // more than are planned with a large write, fewer than fill a commit
	w, _, hosts := fleet(t, n)
	w.do(func(tx *state.Tx) error { // a large write before, which the duty has not reached
		return orchestrate.BulkSettings(tx, w.owner(model.LevelEnvironment, w.env), []model.Setting{{Key: "port", Value: value("8080")}}, true, orchestrate.Trigger{Handlers: true})
	})
	var caused orchestrate.Caused
	w.do(func(tx *state.Tx) error {
		for _, h := range hosts {
			d := orchestrate.Draft{Description: "a change", Tasks: []model.Task{{Description: "step", Status: model.TaskPending, Collection: "files", Resource: "/x", Verb: "apply"}}}
			if _, err := orchestrate.QueueChange(tx, h, d); err != nil {
				return err
			}
		}
		var err error
		caused, err = orchestrate.Cause(tx)
		return err
	})
	token := caused.Token()
	if len(token) == 0 || len(token) > 64 {
		t.Fatalf("%d bytes name the changes: %s", len(token), token)
	}
	all := func(*model.HostRow) bool { return true }
	is := func(processed, failed, pending int) {
		t.Helper()
		got, err := orchestrate.Follow(w.db.Local(), w.org, token, false, all)
		if err != nil || got.Processed != processed || got.Failed != failed || got.Pending != pending {
			t.Errorf("%+v, %v; want %d, %d, %d", got, err, processed, failed, pending)
		}
	}
	is(0, 0, n)
	w.finish(hosts[0])
	w.do(func(tx *state.Tx) error { // the second change of h001 is the write's, the first the earlier one's
		e, _ := state.Edit[model.Change](tx, w.open(hosts[1])[1].ID)
		e.Tasks[0].Status, e.Tasks[0].Error, e.Done = model.TaskError, "failed", true
		return state.Put(tx, e)
	})
	is(2, 1, n-2)
	for name, org := range map[string]string{"another organization": w.stranger(), "none": "x"} {
		if got, err := orchestrate.Follow(w.db.Local(), org, token, true, all); model.CodeOf(err) != model.NotFound {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if got, err := orchestrate.Follow(w.db.Local(), w.org, token, true, func(*model.HostRow) bool { return false }); model.CodeOf(err) != model.NotFound {
		t.Errorf("one who sees no host: %+v, %v", got, err)
	}
}

// FuzzParseCaused: a text that is taken names the same when it is written and read again.
func FuzzParseCaused(f *testing.F) {
	for _, text := range []string{"c0123abcd", "i1", "i1f.c1.c2", "c", "i", "i-1", "i00", "iffffffffffffffff", "c.c", "", "x", "c/../i1", "i5-9", "i9-5", "i1-ffffffffffffffff", "i2-3.i4.w77", "w", "w1.w2"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := orchestrate.ParseCaused("o", text)
		if err != nil {
			if model.CodeOf(err) != model.NotFound || strings.Contains(err.Error(), text) && len(text) > 20 {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		token := c.Token()
		again, err := orchestrate.ParseCaused("o", token)
		if err != nil || again.Token() != token {
			t.Fatalf("%q is written as %q, which reads as %q, %v", text, token, again.Token(), err)
		}
	})
}
