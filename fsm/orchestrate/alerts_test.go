package orchestrate_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

func (w *world) alert(agent string, seq uint64, at time.Time, compliant bool, observed string) {
	w.t.Helper()
	o := orchestrate.Observation{
		Origin: model.Origin{Application: "web", Type: "files", Name: "conf"}, Collection: "files", Resource: "/conf",
		Sequence: seq, Compliant: compliant, Expected: value(`{"mode":"644"}`), Observed: value(observed), At: at,
	}
	w.do(func(tx *state.Tx) error { return orchestrate.RecordAlert(tx, agent, o) })
}

// TestAlertsOutOfOrder: two brokers deliver an agent's alerts in the wrong order; the newest one holds.
func TestAlertsOutOfOrder(t *testing.T) {
	w := newWorld(t)
	w.app(web)
	h := w.enrol("a1", "h1")
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.InstallApplication(tx, w.org, h, model.ApplicationContext{Application: "web"})
		return err
	})
	at := time.Now()
	errors := func() int {
		t.Helper()
		list, err := orchestrate.ComplianceErrors(w.db.Local(), w.org, h)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	w.alert("a1", 5, at, false, `{"mode":"1"}`)
	if errors() != 1 {
		t.Fatal("drift is not seen")
	}
	w.alert("a1", 7, at.Add(2*time.Second), true, "")
	w.quiet("an alert from before", func() { w.alert("a1", 6, at.Add(time.Second), false, `{"mode":"2"}`) })
	w.quiet("an alert told again", func() { w.alert("a1", 7, at.Add(2*time.Second), true, "") })
	if errors() != 0 {
		t.Error("an old alert undid a newer one")
	}
	w.alert("a1", 1, at.Add(time.Hour), false, `{"mode":"3"}`) // it lost its journal
	if errors() != 1 {
		t.Error("an agent that counts anew is not heard")
	}
	w.quiet("an alert of an agent that is not", func() { w.alert("a9", 9, at, false, `{}`) })
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteInstance(tx, w.org, h) })
	if n := len(state.Keys[model.AlertMark](w.db.Local(), model.AlertMarksOf("a1"))); n != 0 {
		t.Errorf("%d marks of a forgotten agent", n)
	}
}

func TestAlertsAreBounded(t *testing.T) {
	w := newWorld(t)
	w.app(web)
	h := w.enrol("a1", "h1")
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.InstallApplication(tx, w.org, h, model.ApplicationContext{Application: "web"})
		return err
	})
	attrs := map[string]any{"long": strings.Repeat("x", 1<<20), "nested": map[string]string{"y": strings.Repeat("y", 1<<20)}, "mode": "644"}
	for i := range 500 {
		attrs[fmt.Sprintf("z%03d", i)] = strings.Repeat("z", 500)
	}
	huge, _ := json.Marshal(attrs)
	w.alert("a1", 1, time.Now(), false, string(huge))
	got, err := orchestrate.GetComplianceError(w.db.Local(), w.org, h, "web", "files", "conf")
	if err != nil || len(got.CurrentState) > 10<<10 {
		t.Fatalf("%d bytes, %v", len(got.CurrentState), err)
	}
	var kept struct{ Mode, Long, Nested string }
	if err := json.Unmarshal(got.CurrentState, &kept); err != nil || kept.Mode != "644" || !strings.Contains(kept.Long, "left out") || !strings.Contains(kept.Nested, "left out") {
		t.Errorf("kept %.200v %v", kept, err)
	}
	for _, name := range []string{"a\x00b", strings.Repeat("n", 5000)} {
		w.refused(model.Invalid, "a resource that cannot be", func(tx *state.Tx) error {
			return orchestrate.RecordAlert(tx, "a1", orchestrate.Observation{
				Origin: model.Origin{Application: "web", Type: "files", Name: name}, Collection: "files", Resource: "/conf", Sequence: 9, At: time.Now(),
			})
		})
	}
}

func TestPresenceTransitions(t *testing.T) {
	w := newWorld(t)
	h := w.enrol("a1", "h1")
	record := func(ts ...orchestrate.Transition) {
		t.Helper()
		w.do(func(tx *state.Tx) error { return orchestrate.RecordPresence(tx, ts) })
	}
	is := func(want string) {
		t.Helper()
		if doc, err := orchestrate.GetInstance(w.db.Local(), w.org, h); err != nil || doc.SynapseState != want {
			t.Errorf("the agent is %q, want %q, %v", doc.SynapseState, want, err)
		}
	}
	is(model.SynapseUp)
	record(orchestrate.Transition{AgentID: "a1", Version: "v1"})
	is(model.SynapseDown)
	since := func() time.Time { p, _ := state.Get[model.Presence](w.db.Local(), "a1"); return p.Since }
	down := since()
	w.quiet("what is known", func() {
		record(orchestrate.Transition{AgentID: "a1"}, orchestrate.Transition{AgentID: "a1", Version: "v1"}, orchestrate.Transition{AgentID: "a9", Up: true})
	})
	record(orchestrate.Transition{AgentID: "a1", Version: "v2"})
	if !since().Equal(down) {
		t.Error("another version moved the time of the transition")
	}
	record(orchestrate.Transition{AgentID: "a1", Up: true})
	is(model.SynapseUp)
	if p, _ := state.Get[model.Presence](w.db.Local(), "a1"); p.Version != "v2" {
		t.Errorf("the version is forgotten: %+v", p)
	}
}

// TestComplianceAfterARestore: a snapshot has an error that has ended since, and lacks one that was told since. Who tells
// again makes both right; what came before the standing stays, whichever way they came.
func TestComplianceAfterARestore(t *testing.T) {
	at := time.Now()
	restored := func(t *testing.T) (*reborn, func() int) {
		r := newReborn(t, func(r *reborn) {
			r.app(web)
			r.do(func(tx *state.Tx) error {
				_, err := orchestrate.InstallApplication(tx, r.org, r.hostID, model.ApplicationContext{Application: "web"})
				return err
			})
			r.alert("a1", 5, at, false, `{"mode":"1"}`)
		})
		return r, func() int {
			list, err := orchestrate.ComplianceErrors(r.db.Local(), r.org, r.hostID)
			if err != nil {
				t.Fatal(err)
			}
			return len(list)
		}
	}
	stand := func(r *reborn, retold uint64) {
		r.do(func(tx *state.Tx) error {
			more, err := orchestrate.RecordStanding(tx, "a1", orchestrate.Standing{Epoch: tx.Epoch(), Journal: "J", Whole: true, Retold: retold})
			if more {
				t.Error("the standing is not recorded to its end")
			}
			return err
		})
	}
	t.Run("ended since", func(t *testing.T) {
		r, errors := restored(t)
		if stand(r, 9); errors() != 0 {
			t.Error("what the agent tells no more is still there")
		}
		if r.alert("a1", 10, at.Add(time.Second), false, `{"mode":"1"}`); errors() != 1 {
			t.Error("what it tells again is not there")
		}
	})
	t.Run("told again before the standing", func(t *testing.T) {
		r, errors := restored(t)
		r.alert("a1", 10, at.Add(time.Second), false, `{"mode":"1"}`)
		if stand(r, 9); errors() != 1 {
			t.Error("what was told again is gone")
		}
	})
	t.Run("an agent that tells nothing again", func(t *testing.T) {
		r, errors := restored(t)
		if stand(r, 0); errors() != 1 {
			t.Error("the error is gone, and nobody tells it again")
		}
	})
}

// A resource that is taken out of an application is removed, and its compliance error goes with it: nobody watches it any
// more, so nobody would ever tell that it ended, and the host would stay in ERROR.
func TestErrorsOfWhatIsGoneFromAnApplicationGo(t *testing.T) {
	w := newWorld(t)
	app := w.app(`{"name":"web","packages":[{"name":"kept"},{"name":"gone"}],"services":[{"name":"s","enabled":true}]}`)
	h := w.enrol("a1", "h1")
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.InstallApplication(tx, w.org, h, model.ApplicationContext{Application: "web"})
		return err
	})
	w.finish(h)
	w.do(func(tx *state.Tx) error {
		for _, name := range []string{"kept", "gone"} {
			if err := orchestrate.PutCompliance(tx, h, model.Origin{Application: "web", Type: model.TypePackages, Name: name}, nil, nil); err != nil {
				return err
			}
		}
		return nil
	})
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.UpdateApplication(tx, w.org, app, []byte(`{"packages":[{"name":"kept"}],"services":[]}`), orchestrate.Trigger{})
		return err
	})
	var did []string
	for _, task := range w.change(h).Tasks {
		did = append(did, task.Description+" "+string(task.Want))
	}
	want := []string{`Stop and disable service s {"enabled":false,"running":false}`, `Remove package gone {"ensure":"absent"}`}
	if !slices.Equal(did, want) {
		t.Errorf("got %q, want %q", did, want)
	}
	o := w.order(h, "O1")
	for i, left := range []int{2, 1} { // the service had none
		w.reply("a1", orchestrate.StepOutcome{OrderID: o.ID, Step: i, OK: true})
		if errs, err := orchestrate.ComplianceErrors(w.db.Local(), w.org, h); err != nil || len(errs) != left {
			t.Errorf("after step %d: %+v, %v", i, errs, err)
		}
	}
}
