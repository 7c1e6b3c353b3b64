package orchestrate_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// keyOf makes a key from a name.
func keyOf(name string) ed25519.PublicKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
}

// token makes an enrolment token of the world's environment.
func (w *world) token(id string, uses int, expires time.Time) {
	w.t.Helper()
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.CreateEnrolToken(tx, w.env, id, keyOf(id), uses, expires, "alice")
		return err
	})
}

func enrolment(token, agent, name string) orchestrate.Enrolment {
	return orchestrate.Enrolment{TokenID: token, AgentID: agent, PublicKey: keyOf(agent), Exchange: make([]byte, 32), Name: name}
}

// enrol makes a machine the host of a name, and gives the host's id.
func (w *world) enrol(agent, name string) string {
	w.t.Helper()
	var host string
	if _, err := orchestrate.TokenKey(w.db.Local(), "any"); err != nil {
		w.token("any", 0, time.Time{})
	}
	w.do(func(tx *state.Tx) error {
		a, err := orchestrate.Enrol(tx, enrolment("any", agent, name))
		if err == nil {
			host = a.HostID
		}
		return err
	})
	return host
}

// draft queues a change of n tasks.
func (w *world) draft(hostID string, n int) *model.Change {
	w.t.Helper()
	var c *model.Change
	w.do(func(tx *state.Tx) error {
		d := orchestrate.Draft{Description: "a change"}
		for i := range n {
			d.Tasks = append(d.Tasks, model.Task{OrderNum: i, Description: "step", Status: model.TaskPending, Collection: "files", Resource: "/x", Verb: "apply"})
		}
		var err error
		c, err = orchestrate.QueueChange(tx, hostID, d)
		return err
	})
	return c
}

// order writes the next order of a host; nil when there is none to write.
func (w *world) order(hostID, id string) *model.Order {
	w.t.Helper()
	var o *model.Order
	w.do(func(tx *state.Tx) error {
		var err error
		o, _, err = orchestrate.NextOrder(tx, hostID, id, 3, time.Hour)
		return err
	})
	return o
}

func (w *world) reply(agent string, out orchestrate.StepOutcome) {
	w.t.Helper()
	w.do(func(tx *state.Tx) error { return orchestrate.RecordReply(tx, agent, out) })
}

func (w *world) row(c *model.Change) *model.Change {
	w.t.Helper()
	row, ok := state.Get[model.Change](w.db.Local(), c.ID)
	if !ok {
		w.t.Fatalf("change %d is gone", c.OrderNum)
	}
	return row
}

// quiet checks that fn writes nothing.
func (w *world) quiet(what string, fn func()) {
	w.t.Helper()
	before := w.db.Local().Index()
	fn()
	if after := w.db.Local().Index(); after != before {
		w.t.Errorf("%s was written", what)
	}
}

func TestEnrolment(t *testing.T) {
	w := newWorld(t)
	w.app(web)
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.CreateHost(tx, w.org, w.env, model.Host{Name: "planned", Applications: []string{"web"}})
		return err
	})
	w.token("two", 2, time.Time{})
	h := w.enrol("a1", "planned")
	if n := len(w.open(h)); n != 1 {
		t.Errorf("%d changes for the planned host's application, want 1", n)
	}
	a, ok := state.Find[model.Agent](w.db.Local(), model.AgentOfHost(h))
	if !ok || a.ID != "a1" || a.OrgID != w.org || a.EnvID != w.env {
		t.Errorf("agent %+v", a)
	}
	w.do(func(tx *state.Tx) error { _, err := orchestrate.Enrol(tx, enrolment("two", "a2", "h2")); return err })
	w.quiet("the same enrolment asked again", func() {
		w.do(func(tx *state.Tx) error { _, err := orchestrate.Enrol(tx, enrolment("two", "a2", "h2")); return err })
	})
	w.do(func(tx *state.Tx) error { _, err := orchestrate.Enrol(tx, enrolment("two", "a3", "h3")); return err })

	now := time.Now()
	w.token("old", 0, now.Add(time.Hour))
	w.db.SetClock(func() time.Time { return now.Add(time.Hour + time.Second) })
	stranger := enrolment("any", "a2", "h9")
	stranger.PublicKey = keyOf("another")
	for _, c := range []struct {
		name string
		e    orchestrate.Enrolment
		code model.Code
		text string
	}{
		{"used up", enrolment("two", "a4", "h4"), model.Forbidden, "good for 2 enrolment(s) and is used up"},
		{"expired", enrolment("old", "a4", "h4"), model.Forbidden, "expired at"},
		{"unknown token", enrolment("none", "a4", "h4"), model.NotFound, "ask for a new one"},
		{"a name with a machine", enrolment("any", "a4", "planned"), model.Conflict, "choose another name"},
		{"an agent with another token", enrolment("any", "a2", "h2"), model.Conflict, "enrolled already"},
		{"an agent's id with another key", stranger, model.Conflict, "enrolled already"},
		{"no name", enrolment("any", "a4", ""), model.Invalid, "--name"},
		{"a path for a name", enrolment("any", "a4", "../h"), model.Invalid, "--name"},
		{"a long name", enrolment("any", "a4", strings.Repeat("h", 300)), model.Invalid, "--name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.refused(c.code, c.text, func(tx *state.Tx) error { _, err := orchestrate.Enrol(tx, c.e); return err })
		})
	}
}

func TestEnrolTokens(t *testing.T) {
	w := newWorld(t)
	past := time.Now().Add(-time.Minute)
	make := func(env string, uses int, expires time.Time) func(tx *state.Tx) error {
		return func(tx *state.Tx) error {
			_, err := orchestrate.CreateEnrolToken(tx, env, "t", keyOf("t"), uses, expires, "alice")
			return err
		}
	}
	w.refused(model.NotFound, "environment not found", make("nowhere", 0, time.Time{}))
	w.refused(model.Invalid, "uses is -1", make(w.env, -1, time.Time{}))
	w.refused(model.Invalid, "which is past", make(w.env, 0, past))
	w.token("t", 3, time.Time{})
	if ts := orchestrate.EnrolTokens(w.db.Local(), w.env); len(ts) != 1 || ts[0].Uses != 3 || ts[0].Creator != "alice" {
		t.Errorf("tokens %+v", ts)
	}
	if key, err := orchestrate.TokenKey(w.db.Local(), "t"); err != nil || !key.Equal(keyOf("t")) {
		t.Errorf("key %v %v", key, err)
	}
	w.refused(model.NotFound, "no enrolment token", func(tx *state.Tx) error { return orchestrate.DeleteEnrolToken(tx, "other", "t") })
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteEnrolToken(tx, w.env, "t") })
	if _, err := orchestrate.TokenKey(w.db.Local(), "t"); model.CodeOf(err) != model.NotFound {
		t.Errorf("the deleted token: %v", err)
	}
	if _, err := orchestrate.AgentKey(w.db.Local(), "none"); model.CodeOf(err) != model.NotFound {
		t.Errorf("an unknown agent: %v", err)
	}
	if _, err := orchestrate.SigningKey(w.db.Local(), "none"); model.CodeOf(err) != model.NotFound {
		t.Errorf("an unknown organization: %v", err)
	}
}

func TestOrdersOneAtATimeInOrder(t *testing.T) {
	w := newWorld(t)
	h := w.enrol("a1", "h1")
	if o := w.order(h, "none"); o != nil {
		t.Errorf("an order without a change: %+v", o)
	}
	first, second := w.draft(h, 2), w.draft(h, 1)
	o := w.order(h, "O1")
	if o == nil || o.ChangeID != first.ID || o.AgentID != "a1" || o.OrgID != w.org || o.Term != 3 || o.Sequence != 1 || !o.Expires.After(o.Issued) {
		t.Fatalf("order %+v", o)
	}
	if again := w.order(h, "O2"); again != nil {
		t.Errorf("a second order beside the first: %+v", again)
	}
	w.reply("a1", orchestrate.StepOutcome{OrderID: "O1", Step: 1, OK: true, Changed: true})
	if c := w.row(first); c.Done || c.Tasks[1].Status != model.TaskOK || !c.Tasks[1].Changed || c.Tasks[0].Status != model.TaskPending {
		t.Errorf("after the second step's reply: %+v", c)
	}
	w.reply("a1", orchestrate.StepOutcome{OrderID: "O1", Step: 0, Error: "no"})
	if c := w.row(first); !c.Done || !c.Failed() {
		t.Errorf("after both replies: %+v", c)
	}
	if o := w.order(h, "O2"); o == nil || o.ChangeID != second.ID || o.Sequence != 2 {
		t.Errorf("the next order: %+v", o)
	}
	if o := w.order("nowhere", "O3"); o != nil {
		t.Errorf("an order for no host: %+v", o)
	}
}

func TestRepliesThatChangeNothing(t *testing.T) {
	w := newWorld(t)
	h := w.enrol("a1", "h1")
	w.enrol("a2", "h2")
	c := w.draft(h, 2)
	w.order(h, "O1")
	w.reply("a1", orchestrate.StepOutcome{OrderID: "O1", Step: 0, OK: true, Output: "first"})
	for name, r := range map[string]struct {
		agent string
		out   orchestrate.StepOutcome
	}{
		"the same again":       {"a1", orchestrate.StepOutcome{OrderID: "O1", Step: 0, OK: true, Output: "first"}},
		"another outcome":      {"a1", orchestrate.StepOutcome{OrderID: "O1", Step: 0, Error: "late"}},
		"another agent":        {"a2", orchestrate.StepOutcome{OrderID: "O1", Step: 1, OK: true}},
		"an unknown order":     {"a1", orchestrate.StepOutcome{OrderID: "O9", Step: 1, OK: true}},
		"a step that is not":   {"a1", orchestrate.StepOutcome{OrderID: "O1", Step: 7, OK: true}},
		"an agent that is not": {"a9", orchestrate.StepOutcome{OrderID: "O1", Step: 1, OK: true}},
	} {
		t.Run(name, func(t *testing.T) { w.quiet(name, func() { w.reply(r.agent, r.out) }) })
	}
	w.reply("a1", orchestrate.StepOutcome{OrderID: "O1", Step: orchestrate.WholeOrder, Skipped: true})
	if row := w.row(c); !row.Done || row.Tasks[0].Output != "first" || row.Tasks[1].Error != "skipped: an earlier task failed" {
		t.Errorf("after an outcome of the whole order: %+v", row)
	}
}

func TestOutcomesAlwaysHaveAText(t *testing.T) {
	w := newWorld(t)
	h := w.enrol("a1", "h1")
	c := w.draft(h, 4)
	w.order(h, "O1")
	w.reply("a1", orchestrate.StepOutcome{OrderID: "O1", Step: 0, Interrupted: true})
	w.reply("a1", orchestrate.StepOutcome{OrderID: "O1", Step: 1, Skipped: true})
	w.reply("a1", orchestrate.StepOutcome{OrderID: "O1", Step: 2})
	w.reply("a1", orchestrate.StepOutcome{OrderID: "O1", Step: 3, OK: true, Error: "none of ours"})
	row := w.row(c)
	for i, want := range []string{"interrupted: ", "skipped: ", "failed without a text", ""} {
		if got := row.Tasks[i].Error; !strings.HasPrefix(got, want) || (want == "") != (got == "") {
			t.Errorf("task %d: %q", i, got)
		}
	}
	if !row.Tasks[0].Interrupted || row.Tasks[1].Interrupted {
		t.Error("which task was interrupted is not kept")
	}
}

// TestLoudScripts: what agents say never makes a change too large to be recorded: it would be told for ever.
func TestLoudScripts(t *testing.T) {
	w := newWorld(t)
	h := w.enrol("a1", "h1")
	for name, text := range map[string]string{
		"plain": strings.Repeat("0123456789", 20_000), "binary": strings.Repeat("\x00\xff\x1b<", 50_000), "wide": strings.Repeat("ü☃", 40_000),
	} {
		t.Run(name, func(t *testing.T) {
			const steps = 60
			c := w.draft(h, steps)
			w.order(h, "O-"+name)
			for i := range steps {
				w.reply("a1", orchestrate.StepOutcome{OrderID: "O-" + name, Step: i, Output: "HEAD" + text + "TAIL", Error: "WHY" + text})
			}
			row := w.row(c)
			if !row.Done {
				t.Fatal("the change did not end")
			}
			if b, _ := json.Marshal(row); len(b) > 200<<10 {
				t.Errorf("the change takes %d bytes", len(b))
			}
			first := row.Tasks[0]
			if !strings.HasPrefix(first.Output, "HEAD") || !strings.HasSuffix(first.Output, "TAIL") || !strings.Contains(first.Output, "bytes left out") {
				t.Errorf("the first output is not its head and tail: %d bytes", len(first.Output))
			}
			for i := range row.Tasks {
				if row.Tasks[i].Error == "" || row.Tasks[i].Status != model.TaskError {
					t.Fatalf("task %d: %s %q", i, row.Tasks[i].Status, row.Tasks[i].Error)
				}
			}
		})
	}
}

func TestChangeTooLargeIsRefusedWhenQueued(t *testing.T) {
	w := newWorld(t)
	h := w.enrol("a1", "h1")
	w.refused(model.TooLarge, "splitting an application", func(tx *state.Tx) error {
		d := orchestrate.Draft{Description: "huge"}
		for i := range 2000 {
			d.Tasks = append(d.Tasks, model.Task{OrderNum: i, Description: "step", Status: model.TaskPending, Collection: "files", Resource: fmt.Sprint("/x", i), Verb: "apply"})
		}
		_, err := orchestrate.QueueChange(tx, h, d)
		return err
	})
}

func TestExpiredOrders(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	w.db.SetClock(func() time.Time { return now })
	h := w.enrol("a1", "h1")
	c, next := w.draft(h, 2), w.draft(h, 1)
	w.order(h, "O1")
	expire := func() (closed bool) {
		w.do(func(tx *state.Tx) error {
			var err error
			closed, err = orchestrate.ExpireOrder(tx, "O1")
			return err
		})
		return closed
	}
	if expire() {
		t.Error("an order was closed before its time")
	}
	now = now.Add(2 * time.Hour)
	if !expire() || expire() {
		t.Error("an order is closed once")
	}
	row := w.row(c)
	if !row.Done || !strings.HasPrefix(row.Tasks[1].Error, "expired: ") || !strings.Contains(row.Tasks[1].Error, "retry the change") {
		t.Errorf("%+v", row)
	}
	// It ran after all: the truth is told, whatever was said before.
	w.reply("a1", orchestrate.StepOutcome{OrderID: "O1", Step: 0, OK: true, Changed: true})
	if row := w.row(c); row.Tasks[0].Status != model.TaskOK || row.Tasks[0].Error != "" || !row.Done {
		t.Errorf("the late reply: %+v", row.Tasks[0])
	}
	w.order(h, "O2")
	w.reply("a1", orchestrate.StepOutcome{OrderID: "O2", Step: 9, OK: true})
	now = now.Add(2 * time.Hour)
	w.quiet("the end of an order that was heard of", func() {
		w.do(func(tx *state.Tx) error { _, err := orchestrate.ExpireOrder(tx, "O2"); return err })
	})
	if w.row(next).Done {
		t.Error("an order that the agent has was closed")
	}
}

func TestOrderThatCannotBeSent(t *testing.T) {
	w := newWorld(t)
	h := w.enrol("a1", "h1")
	c := w.draft(h, 1)
	w.order(h, "O1")
	w.do(func(tx *state.Tx) error { _, err := orchestrate.RefuseOrder(tx, "O1", "too large"); return err })
	if row := w.row(c); !row.Done || row.Tasks[0].Error != "too large" {
		t.Errorf("%+v", row)
	}
	w.draft(h, 1)
	w.order(h, "O2")
	w.reply("a1", orchestrate.StepOutcome{OrderID: "O2", Step: 5})
	w.quiet("the refusal of an order that the agent has", func() {
		w.do(func(tx *state.Tx) error { _, err := orchestrate.RefuseOrder(tx, "O2", "too large"); return err })
	})
}

// TestForgetWithAnOrderOut: the change that the agent has is told as interrupted, what came after it goes, and
// nothing of the old machine reaches the next one.
func TestForgetWithAnOrderOut(t *testing.T) {
	w := newWorld(t)
	h := w.enrol("a1", "h1")
	out, waiting := w.draft(h, 2), w.draft(h, 1)
	w.order(h, "O1")
	w.reply("a1", orchestrate.StepOutcome{OrderID: "O1", Step: 0, OK: true})
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteInstance(tx, w.org, h) })
	row := w.row(out)
	if !row.Done || row.Tasks[0].Status != model.TaskOK || !row.Tasks[1].Interrupted || !strings.HasPrefix(row.Tasks[1].Error, "interrupted: ") {
		t.Errorf("the change that was out: %+v", row)
	}
	view := w.db.Local()
	if _, ok := state.Get[model.Change](view, waiting.ID); ok {
		t.Error("a change that was not begun is kept")
	}
	if _, ok := state.Get[model.Order](view, "O1"); ok {
		t.Error("the order is kept")
	}
	w.quiet("a reply of the forgotten agent", func() {
		w.reply("a1", orchestrate.StepOutcome{OrderID: "O1", Step: 1, OK: true})
	})
	if again := w.enrol("a2", "h1"); again != h {
		t.Errorf("the new machine is host %s, not %s", again, h)
	}
	if got := orchestrate.HostState(w.db.Local(), h); got != model.HostReady {
		t.Errorf("the new machine is %s for what happened to the old one", got)
	}
	if o := w.order(h, "O2"); o != nil {
		t.Errorf("an order of the old machine for the new one: %+v", o)
	}
}

func TestDeletedChangesTakeTheirOrders(t *testing.T) {
	w := newWorld(t)
	h := w.enrol("a1", "h1")
	for i, del := range []func(tx *state.Tx) error{
		func(tx *state.Tx) error { return orchestrate.DeleteChange(tx, w.org, h, 0) },
		func(tx *state.Tx) error { return orchestrate.DeleteChanges(tx, w.org, h, true) },
	} {
		id := fmt.Sprint("O", i)
		w.draft(h, 1)
		w.order(h, id)
		w.refused(model.Conflict, "on its way", func(tx *state.Tx) error { return orchestrate.DeleteChange(tx, w.org, h, i) })
		w.reply("a1", orchestrate.StepOutcome{OrderID: id, OK: true})
		w.do(del)
		if _, ok := state.Get[model.Order](w.db.Local(), id); ok {
			t.Errorf("order %s is kept", id)
		}
		w.quiet("a repeated reply of a deleted change", func() { w.reply("a1", orchestrate.StepOutcome{OrderID: id, OK: true}) })
	}
}
