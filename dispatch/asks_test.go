package dispatch_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/dispatch"
	"github.com/muster-hq/muster/dispatch/bus"
	"github.com/muster-hq/muster/dispatch/wire"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// asking is a question that is under way.
type asking struct {
	answer wire.Answer
	err    error
	done   chan struct{}
}

// ask puts a question to the dispatcher of now.
func (r *rig) ask(hostID string, limit time.Duration) *asking {
	a, d := &asking{done: make(chan struct{})}, r.dispatcher
	go func() {
		defer close(a.done)
		ctx, cancel := context.WithTimeout(r.ctx, limit)
		defer cancel()
		a.answer, a.err = d.Ask(ctx, hostID, wire.Question{Subject: wire.SubjectFile, Name: "/etc/motd", Limit: 100})
	}()
	return a
}

func (a *asking) wait(t *testing.T) {
	t.Helper()
	select {
	case <-a.done:
	case <-time.After(within):
		t.Fatal("the question hangs")
	}
}

// question waits for the next question; what else comes is passed over.
func (a *FakeAgent) question(ds <-chan bus.Delivery) wire.Ask {
	a.r.t.Helper()
	for {
		m := a.next(ds)
		if kind, _ := wire.PeekKind(m.Body); kind != wire.KindAsk {
			continue
		}
		var q wire.Ask
		if err := wire.Open(m.Body, wire.KindAsk, a.r.key, &q); err != nil {
			a.r.t.Fatal(err)
		}
		return q
	}
}

func (a *FakeAgent) tell(s *bus.Session, q wire.Ask, answer wire.Answer) {
	a.r.t.Helper()
	sealed, err := wire.SealAnswer(q, answer)
	if err != nil {
		a.r.t.Fatal(err)
	}
	a.say(s, wire.KindAnswer, bus.TalkReply, sealed)
}

func (r *rig) hostOf(a *FakeAgent) string {
	row, ok := state.Get[model.Agent](r.db.Local(), a.id)
	if !ok {
		r.t.Fatal("the agent has no row")
	}
	return row.HostID
}

func TestQuestionAndAnswer(t *testing.T) {
	r := newRig(t)
	a := r.agent()
	a.enrol(r.token(0), "web1")
	s, ds := a.up()
	host := r.hostOf(a)
	began := time.Now()
	asked := r.ask(host, within)
	q := a.question(ds)
	if q.Agent != a.id || q.Question.Name != "/etc/motd" || !q.Expires.After(q.Issued) {
		t.Errorf("%+v", q)
	}
	if q.Issued.Before(began) { // by the time of the last commit it would expire before it comes, when nothing was written for a while
		t.Errorf("asked at %v, issued %v", began, q.Issued)
	}
	again := a.question(ds) // nobody answered yet: it is asked again, as the same
	if again.ID != q.ID {
		t.Errorf("two questions: %s and %s", q.ID, again.ID)
	}
	a.tell(s, q, wire.Answer{Part: []byte("first"), End: true})
	a.tell(s, q, wire.Answer{Part: []byte("second"), End: true})
	if asked.wait(t); asked.err != nil || string(asked.answer.Part) != "first" {
		t.Errorf("%+v, %v", asked.answer, asked.err)
	}
	for code, want := range map[string]model.Code{
		wire.RefusedUnknown: model.NotFound, wire.RefusedInvalid: model.Invalid, wire.RefusedForbidden: model.Forbidden, wire.RefusedTooLarge: model.TooLarge,
		wire.RefusedBusy: model.Unavailable, wire.RefusedFailed: model.Conflict, wire.RefusedUnexpected: model.Conflict, "made up": model.Conflict,
	} {
		asked := r.ask(host, within)
		next := a.question(ds)
		for next.ID == q.ID { // a repeat that was on its way
			next = a.question(ds)
		}
		q = next
		a.tell(s, q, wire.Answer{Code: code, Text: "because"})
		if asked.wait(t); model.CodeOf(asked.err) != want || !strings.Contains(asked.err.Error(), "because") {
			t.Errorf("%s: %v, want %s", code, asked.err, want)
		}
	}
}

// An agent that says nothing, a host without one, one that is down or too old: an error that says so, and no hang.
func TestQuestionsWithoutAnAnswer(t *testing.T) {
	r := newRig(t)
	a := r.agent()
	a.enrol(r.token(0), "web1")
	s, ds := a.up()
	host := r.hostOf(a)
	silent := r.ask(host, 300*time.Millisecond)
	if silent.wait(t); model.CodeOf(silent.err) != model.Unavailable || !strings.Contains(silent.err.Error(), "did not answer in time") {
		t.Errorf("silent: %v", silent.err)
	}
	none := r.ask("no such host", within)
	if none.wait(t); model.CodeOf(none.err) != model.Conflict || !strings.Contains(none.err.Error(), "no agent yet") {
		t.Errorf("none: %v", none.err)
	}
	// It goes while the question is out.
	cut := r.ask(host, within)
	a.question(ds)
	started := time.Now()
	a.say(s, wire.KindPresence, bus.TalkPresence, wire.Presence{Agent: a.id, Version: "v", Started: started, Asks: true})
	a.say(s, wire.KindPresence, bus.TalkPresence, wire.Presence{Agent: a.id, Started: started, Bye: true})
	if cut.wait(t); model.CodeOf(cut.err) != model.Conflict || !strings.Contains(cut.err.Error(), "down since") {
		t.Errorf("cut off: %v", cut.err)
	}
	down := r.ask(host, within)
	if down.wait(t); model.CodeOf(down.err) != model.Conflict || !strings.Contains(down.err.Error(), "down since") {
		t.Errorf("down: %v", down.err)
	}
	a.say(s, wire.KindPresence, bus.TalkPresence, wire.Presence{Agent: a.id, Version: "old", Started: started.Add(time.Second)})
	r.eventually("the agent is up", func() bool {
		p, ok := state.Get[model.Presence](r.db.Local(), a.id)
		return ok && p.Up
	})
	old := r.ask(host, within)
	if old.wait(t); model.CodeOf(old.err) != model.Conflict || !strings.Contains(old.err.Error(), "upgrade it") {
		t.Errorf("old: %v", old.err)
	}
}

// Answers of another agent, to another question, or that cannot be opened, are not taken for this one's.
func TestForeignAnswersDoNotCount(t *testing.T) {
	r := newRig(t)
	a, b := r.agent(), r.agent()
	a.enrol(r.token(0), "web1")
	b.enrol(r.token(0), "web2")
	s, ds := a.up()
	sb, _ := b.up()
	asked := r.ask(r.hostOf(a), within)
	q := a.question(ds)
	theirs := q
	theirs.Agent = b.id
	b.tell(sb, theirs, wire.Answer{Part: []byte("theirs"), End: true})
	b.tell(sb, q, wire.Answer{Part: []byte("in a's name"), End: true})
	other := q
	other.ID = "another"
	a.tell(s, other, wire.Answer{Part: []byte("another"), End: true})
	a.say(s, wire.KindAnswer, bus.TalkReply, wire.Sealed{Agent: a.id, Ask: q.ID, Body: []byte("rubbish")})
	a.say(s, wire.KindAnswer, bus.TalkReply, json.RawMessage(`{"body":7}`))
	a.tell(s, q, wire.Answer{Part: []byte("mine"), End: true})
	if asked.wait(t); asked.err != nil || string(asked.answer.Part) != "mine" {
		t.Errorf("%q, %v", asked.answer.Part, asked.err)
	}
}

// The leadership ends while a question is out: who asked is told at once, and the next leader can be asked. The answer to
// the old question changes nothing there.
func TestQuestionOverAChangeOfLeader(t *testing.T) {
	r := newRig(t)
	a := r.agent()
	a.enrol(r.token(0), "web1")
	s, ds := a.up()
	host := r.hostOf(a)
	before := r.ask(host, within)
	q := a.question(ds)
	r.newTerm()
	if before.wait(t); !errors.Is(before.err, dispatch.ErrStopped) {
		t.Errorf("%v", before.err)
	}
	after := r.ask(host, within)
	a.tell(s, q, wire.Answer{Part: []byte("old"), End: true})
	next := a.question(ds)
	for next.ID == q.ID {
		next = a.question(ds)
	}
	a.tell(s, next, wire.Answer{Part: []byte("new"), End: true})
	if after.wait(t); after.err != nil || string(after.answer.Part) != "new" {
		t.Errorf("%q, %v", after.answer.Part, after.err)
	}
}

// Too many questions to one agent are refused, and others are asked all the same.
func TestQuestionsAreBounded(t *testing.T) {
	r := newRig(t)
	a, b := r.agent(), r.agent()
	a.enrol(r.token(0), "web1")
	b.enrol(r.token(0), "web2")
	s, ds := a.up()
	sb, dsb := b.up()
	host := r.hostOf(a)
	var out []*asking
	ids := map[string]wire.Ask{}
	for range 4 {
		out = append(out, r.ask(host, within))
	}
	for len(ids) < 4 {
		q := a.question(ds)
		ids[q.ID] = q
	}
	more := r.ask(host, within)
	if more.wait(t); model.CodeOf(more.err) != model.Unavailable || !strings.Contains(more.err.Error(), "too many questions") {
		t.Errorf("%v", more.err)
	}
	theirs := r.ask(r.hostOf(b), within)
	b.tell(sb, b.question(dsb), wire.Answer{End: true})
	if theirs.wait(t); theirs.err != nil {
		t.Errorf("another agent: %v", theirs.err)
	}
	for _, q := range ids {
		a.tell(s, q, wire.Answer{End: true})
	}
	for _, o := range out {
		if o.wait(t); o.err != nil {
			t.Error(o.err)
		}
	}
}
