package agent

import (
	"strings"
	"testing"

	"github.com/muster-hq/muster/dispatch/wire"
)

// cancelOf is an order as it is sent again once it is cancelled: without contents.
func cancelOf(o wire.Order) wire.Order {
	o.Cancel = true
	steps := make([]wire.Step, len(o.Steps))
	for i, s := range o.Steps {
		steps[i] = wire.Step{Num: s.Num, Collection: s.Collection, Resource: s.Resource, Verb: s.Verb}
	}
	o.Steps = steps
	return o
}

// held lets the actions of a collection wait; enter tells of each that began.
func held(c *FakeCollection) (entered chan string, gate chan struct{}) {
	entered, gate = make(chan string, 100), make(chan struct{})
	c.hook = func(call, id string) error {
		if call == "act" {
			entered <- id
			<-gate
		}
		return nil
	}
	return entered, gate
}

func (s *site) checkCancelled(id string, acts int) {
	s.t.Helper()
	var out map[int]wire.Reply
	waitFor(s.t, "all replies", func() bool { out = s.outcome(id); return len(out) == 3 })
	for n, r := range out {
		want := wire.StatusOK
		if n >= acts {
			want = wire.StatusSkipped
		}
		if r.Status != want || want == wire.StatusSkipped && !strings.HasPrefix(r.Error, "cancelled") {
			s.t.Errorf("step %d: %s %q, want %s", n, r.Status, r.Error, want)
		}
	}
	total := 0
	for _, what := range []string{"run /0", "run /1", "run /2"} {
		total += s.files.actCount(what)
	}
	if total != acts {
		s.t.Errorf("%d actions, want %d", total, acts)
	}
}

// The step that is being done is finished, the others are not begun; copies, before and after, change nothing.
func TestCancelledInItsMiddle(t *testing.T) {
	s := newSite(t)
	entered, gate := held(s.files)
	s.start()
	o := s.order(1, act("files", "/0", "run"), act("files", "/1", "run"), act("files", "/2", "run"))
	s.send(o)
	<-entered
	s.send(cancelOf(o))
	s.send(cancelOf(o))
	s.send(o) // late, from some broker: it takes nothing back
	close(gate)
	s.checkCancelled(o.ID, 1)
	s.send(cancelOf(o))
	s.send(o)
	s.checkCancelled(o.ID, 1)
	// The next change goes on.
	next := s.order(2, act("files", "/3", "run"))
	s.send(next)
	if r := s.outcome(next.ID)[0]; r.Status != wire.StatusOK {
		t.Errorf("the change after it: %+v", r)
	}
}

// The cancellation comes before the order: whatever copy of it comes later, nothing of it is done.
func TestCancelledBeforeItCame(t *testing.T) {
	s := newSite(t)
	s.start()
	o := s.order(1, act("files", "/0", "run"), act("files", "/1", "run"), act("files", "/2", "run"))
	s.send(cancelOf(o))
	s.checkCancelled(o.ID, 0)
	s.send(o)
	s.checkCancelled(o.ID, 0)
}

// The agent ends between two steps, right after it was told: the next life does not go on with what the last one left.
func TestCancelledOverARestart(t *testing.T) {
	s := newSite(t)
	entered, gate := held(s.files)
	s.start()
	o := s.order(1, act("files", "/0", "run"), act("files", "/1", "run"), act("files", "/2", "run"))
	s.send(o)
	<-entered
	s.send(cancelOf(o))
	stopped := make(chan struct{})
	go func() { defer close(stopped); s.stop() }()
	close(gate)
	<-stopped
	s.start()
	s.checkCancelled(o.ID, 1)
}
