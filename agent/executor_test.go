package agent

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/dispatch/wire"
)

func TestAnOrderIsDoneInSequence(t *testing.T) {
	s := newSite(t)
	s.start()
	read := wire.Step{Collection: "files", Resource: "/a", Verb: wire.VerbRead}
	check := apply("files", "/a", "other")
	check.Verb = wire.VerbCheck
	s.send(s.order(1, apply("files", "/a", "1"), apply("files", "/a", "1"), act("files", "/run", "run"), read, check))
	out := s.outcome("order-1")
	for i := range 5 {
		if out[i].Status != wire.StatusOK || out[i].Final != (i == 4) || out[i].Agent != s.id.Agent || out[i].At.IsZero() {
			t.Errorf("step %d: %+v", i, out[i])
		}
	}
	if !out[0].Changed || out[1].Changed || !out[2].Changed || out[4].Changed {
		t.Error("changed is wrong: only the first apply and the action changed something")
	}
	if !strings.Contains(string(out[2].Output), "did /run") || !strings.Contains(string(out[3].State), `"value":"1"`) {
		t.Errorf("output %s, state %s", out[2].Output, out[3].State)
	}
	var d resource.Diff
	if err := json.Unmarshal(out[4].State, &d); err != nil || d.Expected["value"] != "other" || d.Observed["value"] != "1" {
		t.Errorf("the difference: %s, %v", out[4].State, err)
	}
	if s.files.values["/a"] != "1" {
		t.Error("a check changed something")
	}
}

func TestAfterAFailureTheRestIsSkipped(t *testing.T) {
	s := newSite(t)
	s.files.hook = func(call, id string) error {
		if call == "apply" && id == "/panics" {
			panic("boom")
		}
		return nil
	}
	s.start()
	broken := apply("files", "/b", "1")
	broken.Fail = "line 3, column 4: the value x is missing"
	cases := []struct {
		step wire.Step
		text string
	}{
		{broken, "line 3, column 4"},
		{apply("files", "/panics", "1"), "mistake in the agent's collection files: boom"},
		{apply("nothing", "/b", "1"), `no collection "nothing"; it has: files, services`},
		{wire.Step{Collection: "files", Resource: "/b", Verb: "dance"}, `verb "dance"`},
	}
	for i, c := range cases {
		o := s.order(i+1, apply("files", "/a", "1"), c.step, apply("files", "/after", "1"), act("files", "/run", "run"))
		s.send(o)
		out := s.outcome(o.ID)
		if out[0].Status != wire.StatusOK || out[1].Status != wire.StatusError || !strings.Contains(out[1].Error, c.text) {
			t.Errorf("%s: %+v", c.text, out[1])
		}
		if out[2].Status != wire.StatusSkipped || out[3].Status != wire.StatusSkipped || !out[3].Final {
			t.Errorf("%s: the rest was not skipped: %+v %+v", c.text, out[2], out[3])
		}
	}
	if s.files.values["/after"] != "" || len(s.files.acts) != 0 {
		t.Error("a skipped step was done")
	}
}

func TestAStepHasItsTime(t *testing.T) {
	s := newSite(t)
	s.start()
	s.agent.stepTimeout = time.Millisecond
	s.files.hook = func(call, id string) error {
		if call == "apply" {
			<-time.After(20 * time.Millisecond) // from when it began, however late that is
			return errFake
		}
		return nil
	}
	s.send(s.order(1, apply("files", "/slow", "1")))
	if out := s.outcome("order-1"); !strings.Contains(out[0].Error, "not done within 1ms") {
		t.Errorf("%+v", out[0])
	}
}

func TestAQuestionOvertakesAChange(t *testing.T) {
	s := newSite(t)
	s.start()
	release := make(chan struct{})
	s.files.hook = func(call, id string) error {
		if call == "apply" && id == "/slow" {
			<-release
		}
		return nil
	}
	s.send(s.order(1, apply("files", "/slow", "1")))
	q := s.order(2, wire.Step{Collection: "files", Resource: "/x", Verb: wire.VerbRead})
	q.Lane, q.Sequence = wire.LaneAsks, 1
	s.send(q)
	s.outcome("order-2")
	if len(s.link.replies()) != 1 {
		t.Error("the change should not be over")
	}
	close(release)
	s.outcome("order-1")
}

func TestRestartWhenAFileChanged(t *testing.T) {
	service := func() wire.Step {
		st := wire.Step{Collection: "services", Resource: "nginx", Verb: wire.VerbApply, Want: json.RawMessage(`{"running":true}`)}
		st.Restart = []int{0, 1}
		return st
	}
	type world struct {
		running, changes bool
		want             string
		restarts         int
	}
	for name, w := range map[string]world{
		"runs and a file changed": {true, true, `{"running":true}`, 1},
		"runs, nothing changed":   {true, false, `{"running":true}`, 0},
		"was not running":         {false, true, `{"running":true}`, 0},
		"is to stop":              {true, true, `{"running":false}`, 0},
		"only enabled":            {true, true, `{"enabled":true}`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.services.running["nginx"] = w.running
			s.files.values["/a"], s.files.values["/b"] = "1", "1"
			if w.changes {
				s.files.values["/b"] = "0"
			}
			s.start()
			st := service()
			st.Want = json.RawMessage(w.want)
			s.send(s.order(1, apply("files", "/a", "1"), apply("files", "/b", "1"), st))
			out := s.outcome("order-1")
			if n := s.services.actCount("restart nginx"); n != w.restarts {
				t.Errorf("%d restarts, want %d", n, w.restarts)
			}
			if out[2].Changed != (w.restarts > 0) {
				t.Errorf("changed: %+v", out[2])
			}
		})
	}
}

// A change that fails between the file and its service leaves the restart due: the retry, which finds
// the file as wanted, has to do it.
func TestARestartStaysDue(t *testing.T) {
	s := newSite(t)
	s.services.running["nginx"] = true
	s.start()
	service := wire.Step{Collection: "services", Resource: "nginx", Verb: wire.VerbApply, Want: json.RawMessage(`{"running":true}`), Restart: []int{0}}
	failing := apply("files", "/b", "1")
	failing.Fail = "no"
	s.send(s.order(1, apply("files", "/a", "1"), failing, service))
	if out := s.outcome("order-1"); out[2].Status != wire.StatusSkipped {
		t.Fatalf("%+v", out)
	}
	s.stop()
	s.start()
	for n := 2; n <= 3; n++ {
		s.send(s.order(n, apply("files", "/a", "1"), apply("files", "/b", "1"), service))
		s.outcome(s.order(n).ID)
	}
	if n := s.services.actCount("restart nginx"); n != 1 {
		t.Errorf("%d restarts, want 1", n)
	}
}

func TestWhatIsNotOursTouchesNothing(t *testing.T) {
	s := newSite(t)
	s.start()
	s.send(s.order(5, apply("files", "/a", "1")))
	s.outcome("order-5")
	before := len(s.files.applies)
	good := func(n int) wire.Order { return s.order(n, apply("files", "/a", "bad"), act("files", "/a", "run")) }
	foreign, expired, old, replayed, empty, double := good(6), good(7), good(4), good(5), good(9), good(10)
	foreign.Agent = strings.Repeat("0", 32)
	expired.Issued, expired.Expires = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	replayed.ID = "order-5-again"
	empty.Steps = nil
	double.Steps[1].Num = 0
	altered := s.sign(wire.KindOrder, s.org, good(8))
	altered = []byte(strings.Replace(string(altered), "A", "B", 1))
	for name, data := range map[string][]byte{
		"nonsense":          []byte("hello"),
		"empty":             nil,
		"unsigned":          []byte(`{"v":1,"kind":"order","body":{}}`),
		"another's key":     s.sign(wire.KindOrder, fakeKey(9), good(8)),
		"the agent's key":   s.sign(wire.KindOrder, s.key, good(8)),
		"altered":           altered,
		"for another agent": s.sign(wire.KindOrder, s.org, foreign),
		"expired":           s.sign(wire.KindOrder, s.org, expired),
		"below the fence":   s.sign(wire.KindOrder, s.org, old),
		"at the fence":      s.sign(wire.KindOrder, s.org, replayed),
		"without steps":     s.sign(wire.KindOrder, s.org, empty),
		"numbers twice":     s.sign(wire.KindOrder, s.org, double),
		"a kind of ours":    s.sign(wire.KindReply, s.org, wire.Reply{}),
		"a kind that lies":  s.sign(wire.KindWelcome, s.org, good(8)),
	} {
		if err := s.agent.Deliver(data); err != nil {
			t.Errorf("%s: it should be dropped and acknowledged, not %v", name, err)
		}
	}
	o := s.order(11, apply("files", "/end", "1"))
	s.send(o)
	s.outcome(o.ID)
	if got := len(s.files.applies) - before; got != 1 || len(s.files.acts) != 0 {
		t.Errorf("something was done: %v %v", s.files.applies, s.files.acts)
	}
	for _, r := range s.link.replies() {
		if r.Order != "order-5" && r.Order != "order-11" {
			t.Errorf("something was answered: %+v", r)
		}
	}
}

// The wall clock of the machine is of no interest: an order is judged by the highest time that the
// organization signed, which only rises.
func TestExpiryIsJudgedByTheOrganizationsTime(t *testing.T) {
	s := newSite(t)
	s.start()
	past := s.order(1, apply("files", "/a", "1"))
	past.Issued = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
	past.Expires = past.Issued.Add(time.Minute)
	s.send(past)
	s.outcome("order-1")
	now := s.order(2, apply("files", "/b", "1"))
	now.Epoch = 2
	s.send(now)
	s.outcome("order-2")
	s.stop()
	s.start()
	late := s.order(3, apply("files", "/c", "1"))
	late.Epoch, late.Issued, late.Expires = 3, past.Issued, past.Expires
	s.send(late)
	end := s.order(4, apply("files", "/d", "1"))
	end.Epoch = 4
	s.send(end)
	s.outcome("order-4")
	if s.files.values["/a"] != "1" || s.files.values["/c"] != "" {
		t.Errorf("%v", s.files.values)
	}
}

func TestAKnownOrderGetsItsRepliesAgain(t *testing.T) {
	s := newSite(t)
	s.start()
	o := s.order(1, apply("files", "/a", "1"), act("files", "/x", "run"))
	s.send(o)
	out := s.outcome("order-1")
	s.receipt(out[0].Sequence, out[1].Sequence)
	waitFor(t, "the receipt", func() bool { return len(s.agent.journal.Outstanding()) == 0 })
	n := len(s.link.replies())
	s.stop()
	s.start()
	s.send(o)
	again := s.outcome("order-1")
	if again[1].Sequence != out[1].Sequence || string(again[1].Output) != string(out[1].Output) {
		t.Errorf("the reply changed: %+v, was %+v", again[1], out[1])
	}
	if n != 2 || s.files.actCount("run /x") != 1 {
		t.Errorf("%d replies, %d runs", n, s.files.actCount("run /x"))
	}
}
