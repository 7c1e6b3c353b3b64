package agent

import (
	"slices"
	"testing"
	"time"

	"github.com/muster-hq/muster/dispatch/wire"
)

// resync asks the agent for its standing and gives the answer.
func (s *site) resync(epoch, above uint64) wire.Standing {
	s.t.Helper()
	n := len(s.link.standings())
	q := wire.Resync{Agent: s.id.Agent, Epoch: epoch, Issued: time.Now(), Above: above}
	if err := s.agent.Deliver(s.sign(wire.KindResync, s.org, q)); err != nil {
		s.t.Fatalf("deliver: %v", err)
	}
	waitFor(s.t, "the standing", func() bool { return len(s.link.standings()) > n })
	return s.link.standings()[n]
}

// letters are the outcomes of a standing's orders, by id.
func letters(st wire.Standing) map[string]string {
	out := map[string]string{}
	for _, h := range st.Orders {
		out[h.Order] = h.Steps
	}
	return out
}

// TestStanding asks an agent that has done an order, is in the middle of the next and has not begun the third; and
// once more in the next life. After it no order of before is taken any more.
func TestStanding(t *testing.T) {
	s := newSite(t)
	s.start()
	first := s.order(1, apply("files", "/a", "1"), act("files", "/b", "run"))
	first.ChangeID = "c1"
	s.send(first)
	s.outcome(first.ID)
	hold, begun := make(chan struct{}), make(chan struct{})
	s.files.hook = func(call, id string) error {
		if call == "act" && id == "/slow" {
			close(begun)
			<-hold
		}
		return nil
	}
	s.send(s.order(2, apply("files", "/a", "1"), act("files", "/slow", "run")))
	s.send(s.order(3, act("files", "/c", "run")))
	<-begun
	st := s.resync(9, 0)
	if got := letters(st); len(got) != 3 || got["order-1"] != "cc" || got["order-2"] != "o." || got["order-3"] != "." {
		t.Errorf("it stands at %v", got)
	}
	if st.Highest != 3 || st.Epoch != 9 || st.Journal == "" || st.Floor != 0 || !st.Whole() || st.Orders[0].Change != "c1" || !st.Orders[0].Over || st.Orders[1].Over {
		t.Errorf("%+v", st)
	}
	if got := letters(s.resync(9, 1)); len(got) != 2 || got["order-1"] != "" {
		t.Errorf("above the first it stands at %v", got)
	}
	close(hold)
	s.outcome("order-3")
	s.stop()
	s.files.mu.Lock()
	s.files.hook = nil
	s.files.mu.Unlock()
	s.start()
	again := s.resync(9, 0)
	if got := letters(again); got["order-1"] != "cc" || got["order-2"] != "oc" || got["order-3"] != "c" || !again.Whole() || again.Journal != st.Journal {
		t.Errorf("in the next life: %+v", again)
	}
	if again.Digest == st.Digest || s.resync(9, 3).Digest != again.Digest {
		t.Error("the digest is not that of what is over")
	}

	late := s.order(4, act("files", "/late", "run")) // of epoch 1
	s.send(late)
	next := s.order(4, act("files", "/next", "run"))
	next.ID, next.Epoch = "order-next", 9
	s.send(next)
	s.outcome(next.ID)
	if s.files.actCount("run /late") != 0 || s.files.actCount("run /next") != 1 {
		t.Errorf("after the answer an order of before ran %d times, and one of the epoch %d times",
			s.files.actCount("run /late"), s.files.actCount("run /next"))
	}
}

// TestStandingIsToldToTheRightOnes: questions that are forged, for another, or of an epoch that is over get no answer.
func TestStandingIsToldToTheRightOnes(t *testing.T) {
	s := newSite(t)
	s.start()
	s.resync(5, 0)
	q := wire.Resync{Agent: s.id.Agent, Epoch: 4, Issued: time.Now()}
	other := q
	other.Agent, other.Epoch = "another", 6
	forged := q
	forged.Epoch = 7
	for _, envelope := range [][]byte{
		s.sign(wire.KindResync, s.org, q), s.sign(wire.KindResync, s.org, other), s.sign(wire.KindResync, s.key, forged), []byte("{"),
	} {
		if err := s.agent.Deliver(envelope); err != nil {
			t.Fatal(err)
		}
	}
	s.resync(8, 0)
	epochs := []uint64{}
	for _, st := range s.link.standings() {
		epochs = append(epochs, st.Epoch)
	}
	if !slices.Equal(epochs, []uint64{5, 8}) {
		t.Errorf("it answered in the epochs %v", epochs)
	}
}

// TestDriftIsToldAgainAfterARestore: what has drifted is told once more when an epoch begins, and only then; what is as it
// should be is not.
func TestDriftIsToldAgainAfterARestore(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		s.send(s.order(2, watched(apply("files", "/well", "1"))))
		s.files.set("/a", "2")
		later(time.Second)
		first := s.link.alerts()
		if len(first) != 1 {
			t.Fatalf("%d alerts", len(first))
		}
		s.receipt(first[0].alert.Sequence)
		if st := s.resync(9, 0); st.Retold != first[0].alert.Sequence {
			t.Errorf("it tells again up to %d, and had told up to %d", st.Retold, first[0].alert.Sequence)
		}
		later(retellWithin + time.Second)
		again := s.link.alerts()
		if len(again) != 2 || again[1].alert.Resource != "/a" || again[1].alert.Compliant || again[1].alert.Sequence <= first[0].alert.Sequence {
			t.Fatalf("after the restore it told %+v", again[1:])
		}
		s.receipt(again[1].alert.Sequence)
		s.resync(9, 0)
		later(2 * s.interval)
		if n := len(s.link.alerts()); n != 2 {
			t.Errorf("asked again in the same epoch it told %d more", n-2)
		}
	})
}
