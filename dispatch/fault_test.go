package dispatch_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-hq/muster/dispatch"
	"github.com/muster-hq/muster/dispatch/bus"
	"github.com/muster-hq/muster/dispatch/wire"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

// frozen is a connection that hangs on request, as that to a node whose machine stopped.
type frozen struct {
	net.Conn
	ice <-chan struct{}
}

func (f *frozen) Write(b []byte) (int, error) {
	select {
	case <-f.ice:
		return len(b), nil // into the kernel's buffer, and no further
	default:
		return f.Conn.Write(b)
	}
}

// TestOneDeadLinkHoldsUpNobody: a broker hangs while orders for many agents wait. Whoever waits for it waits for
// publishTimeout, each time; a machine that is busy is slow once.
func TestOneDeadLinkHoldsUpNobody(t *testing.T) {
	best := time.Hour
	for tries := 0; best > 4*time.Second && tries < 4; tries++ {
		t.Run("", func(t *testing.T) { best = min(best, ordersBesideADeadLink(t)) })
	}
	if best > 4*time.Second {
		t.Errorf("the orders took %s beside a dead link", best)
	}
}

// ordersBesideADeadLink is how long it takes until all agents have their orders.
func ordersBesideADeadLink(t *testing.T) time.Duration {
	r := newRig(t)
	ice := make(chan struct{})
	var second atomic.Bool
	r.stopDispatch()
	r.more = func() []dispatch.Hub {
		return []dispatch.Hub{r.link("h2", func(ctx context.Context) (net.Conn, error) {
			select {
			case <-ice:
				return nil, errors.New("no answer")
			default:
			}
			c, err := r.dialTrusted(ctx)
			if err != nil {
				return nil, err
			}
			second.Store(true)
			return &frozen{Conn: c, ice: ice}, nil
		})}
	}
	r.startDispatch()
	tok := r.token(0)
	var agents []*FakeAgent
	var queues []<-chan bus.Delivery
	for i := range 6 {
		a := r.agent()
		a.enrol(tok, fmt.Sprint("web", i))
		_, ds := a.up()
		agents, queues = append(agents, a), append(queues, ds)
	}
	r.eventually("the second link", second.Load)
	close(ice)
	for _, a := range agents[:5] {
		r.change(a, 1)
	}
	began := time.Now()
	for i, a := range agents[:5] {
		a.order(queues[i])
	}
	r.change(agents[5], 1) // while the others hang on the one link
	agents[5].order(queues[5])
	return time.Since(began)
}

// bulk enrols n machines without a bus, and gives their agents.
func (r *rig) bulk(n int) []*FakeAgent {
	r.t.Helper()
	tok := r.token(0)
	var agents []*FakeAgent
	for i := range n {
		a := r.agent()
		r.update(func(tx *state.Tx) error {
			_, err := orchestrate.Enrol(tx, orchestrate.Enrolment{
				TokenID: tok.ID, AgentID: a.id, PublicKey: a.key.Public().(ed25519.PublicKey), Exchange: make([]byte, 32), Name: fmt.Sprint("bulk", i),
			})
			return err
		})
		agents = append(agents, a)
	}
	return agents
}

// TestManyLargeChangesAtOnce: orders that do not fit one commit together go in several.
func TestManyLargeChangesAtOnce(t *testing.T) {
	r := newRig(t)
	r.stopDispatch()
	agents := r.bulk(12)
	var ids []string
	for _, a := range agents {
		ids = append(ids, r.bigChange(a, 300))
	}
	r.startDispatch()
	r.eventually("an order for each host", func() bool {
		for _, id := range ids {
			if r.get(id).Order == "" {
				return false
			}
		}
		return true
	})
}

// bigChange queues a change of n steps with long descriptions: about 300 bytes each.
func (r *rig) bigChange(a *FakeAgent, n int) string {
	r.t.Helper()
	var id string
	r.update(func(tx *state.Tx) error {
		agent, _ := state.Get[model.Agent](tx, a.id)
		d := orchestrate.Draft{Description: "large"}
		for i := range n {
			d.Tasks = append(d.Tasks, model.Task{OrderNum: i, Description: strings.Repeat("x", 150), Status: model.TaskPending, Collection: "files", Resource: "/x", Verb: "apply"})
		}
		c, err := orchestrate.QueueChange(tx, agent.HostID, d)
		if err == nil {
			id = c.ID
		}
		return err
	})
	return id
}

// TestOneHostsTroubleIsNoOthers: a host whose order cannot be written does not keep the others' from going.
func TestOneHostsTroubleIsNoOthers(t *testing.T) {
	r := newRig(t)
	r.stopDispatch()
	agents := r.bulk(3)
	var ids []string
	for _, a := range agents {
		ids = append(ids, r.change(a, 1))
	}
	r.update(func(tx *state.Tx) error { state.Delete[model.Lanes](tx, agents[1].id); return nil })
	r.startDispatch()
	r.eventually("the orders of the others", func() bool { return r.get(ids[0]).Order != "" && r.get(ids[2]).Order != "" })
}

// TestChangeTooLargeForTheBus ends with a text instead of never.
func TestChangeTooLargeForTheBus(t *testing.T) {
	r := newRig(t)
	a := r.bulk(1)[0]
	junk := make([]byte, 10<<20)
	rand.Read(junk)
	digest, err := state.StageContent(r.ctx, r.db, r.org, junk)
	if err != nil {
		t.Fatal(err)
	}
	var id string
	r.update(func(tx *state.Tx) error {
		agent, _ := state.Get[model.Agent](tx, a.id)
		c, err := orchestrate.QueueChange(tx, agent.HostID, orchestrate.Draft{Description: "huge", Tasks: []model.Task{
			{Description: "huge", Status: model.TaskPending, Collection: "files", Resource: "/x", Verb: "apply", Content: digest},
		}})
		if err == nil {
			id = c.ID
		}
		return err
	})
	r.eventually("the change ends", func() bool { return r.get(id).Done })
	if got := r.get(id).Tasks[0].Error; !strings.Contains(got, "too large to be sent") {
		t.Errorf("the task says %q", got)
	}
}

// flaky is a store whose updates fail on request.
type flaky struct {
	*statetest.DB
	fail  atomic.Pointer[error]
	tries atomic.Int64
}

func (f *flaky) Update(ctx context.Context, fn func(tx *state.Tx) error) error {
	if err := f.fail.Load(); err != nil {
		f.tries.Add(1)
		return *err
	}
	return f.DB.Update(ctx, fn)
}

// TestReplyThatCannotBeRecordedNow is neither lost nor spun on.
func TestReplyThatCannotBeRecordedNow(t *testing.T) {
	for _, failure := range []error{errors.New("a fault of ours"), model.Errorf(model.Unavailable, "no leader"), state.ErrFenced} {
		t.Run(failure.Error(), func(t *testing.T) {
			r := newRig(t)
			r.stopDispatch()
			f := &flaky{DB: r.db}
			r.store = f
			r.startDispatch()
			a := r.agent()
			a.enrol(r.token(0), "web1")
			s, ds := a.up()
			id := r.change(a, 1)
			o, _ := a.order(ds)
			f.fail.Store(&failure)
			f.tries.Store(0)
			reply := wire.Reply{Agent: a.id, Order: o.ID, Sequence: 1, Status: wire.StatusOK, Final: true}
			a.say(s, wire.KindReply, bus.TalkReply, reply)
			r.eventually("a try", func() bool { return f.tries.Load() > 0 })
			if !errors.Is(failure, state.ErrFenced) { // who is fenced is stopped; it may hurry
				began, spin := time.Now(), time.NewTimer(300*time.Millisecond)
				<-spin.C
				if n, took := f.tries.Load(), time.Since(began); n > 4+int64(2*took/time.Second) {
					t.Errorf("%d tries in %s", n, took)
				}
			}
			f.fail.Store(nil)
			a.say(s, wire.KindReply, bus.TalkReply, reply) // as an agent without a receipt does
			a.receipt(ds, 1)
			if !r.get(id).Done {
				t.Error("the reply is not recorded")
			}
		})
	}
}

// TestReplyThatCanNeverBeRecorded is confirmed, and the change ends.
func TestReplyThatCanNeverBeRecorded(t *testing.T) {
	r := newRig(t)
	a := r.agent()
	a.enrol(r.token(0), "web1")
	s, ds := a.up()
	id := r.change(a, 2)
	o, _ := a.order(ds)
	loud := fmt.Sprintf(`{"stdout":%q,"stderr":"E"}`, strings.Repeat("l", 1<<20))
	a.say(s, wire.KindReply, bus.TalkReply, wire.Reply{Agent: a.id, Order: o.ID, Sequence: 1, Status: wire.StatusOK, Output: []byte(loud)})
	a.receipt(ds, 1)
	a.say(s, wire.KindReply, bus.TalkReply, wire.Reply{Agent: a.id, Order: o.ID, Sequence: 2, Step: 1, Status: wire.StatusError, Error: strings.Repeat("e", 1<<20)})
	a.receipt(ds, 2)
	c := r.get(id)
	if !c.Done || !strings.Contains(c.Tasks[0].Output, "left out") || !strings.HasSuffix(c.Tasks[0].Output, "\nE") || len(c.Tasks[1].Error) > 8<<10 {
		t.Errorf("done %v, output %d bytes, error %d bytes", c.Done, len(c.Tasks[0].Output), len(c.Tasks[1].Error))
	}
	bad := wire.Alert{Agent: a.id, Sequence: 3, Collection: "files", Resource: "a\x00b", At: time.Now()}
	a.say(s, wire.KindAlert, bus.TalkAlert, bad)
	a.receipt(ds, 3)
}

// TestForgottenAgentIsCutOff: its queue goes, and what it says changes nothing.
func TestForgottenAgentIsCutOff(t *testing.T) {
	r := newRig(t)
	a := r.agent()
	a.enrol(r.token(0), "web1")
	s, ds := a.up()
	r.change(a, 1)
	o, _ := a.order(ds)
	row, _ := state.Get[model.Agent](r.db.Local(), a.id)
	r.update(func(tx *state.Tx) error { return orchestrate.DeleteInstance(tx, r.org, row.HostID) })
	index := r.db.Local().Index()
	a.say(s, wire.KindReply, bus.TalkReply, wire.Reply{Agent: a.id, Order: o.ID, Sequence: 1, Status: wire.StatusOK, Final: true})
	deadline := time.After(within)
	for open := true; open; {
		select {
		case m, ok := <-ds:
			if open = ok; ok {
				_ = m.Ack()
			}
		case <-deadline:
			t.Fatal("the queue of a forgotten agent stays")
		}
	}
	if got := r.db.Local().Index(); got != index {
		t.Errorf("a forgotten agent wrote %d commits", got-index)
	}
}

// TestSameOrderAfterManyRepeats: the bytes of an order do not change while replies come in.
func TestSameOrderAfterManyRepeats(t *testing.T) {
	r := newRig(t)
	a := r.agent()
	a.enrol(r.token(0), "web1")
	s, ds := a.up()
	r.change(a, 2)
	o, first := a.order(ds)
	a.say(s, wire.KindReply, bus.TalkReply, wire.Reply{Agent: a.id, Order: o.ID, Sequence: 1, Status: wire.StatusOK})
	a.receipt(ds, 1)
	for range 3 {
		if _, again := a.order(ds); !bytes.Equal(first, again) {
			t.Fatal("a repeat has other bytes")
		}
	}
}

// A good-bye that a leader heard and could not record any more is heard by the next one, long before silence tells: a reign may be
// shorter than that.
func TestGoodbyeBetweenTwoLeaders(t *testing.T) {
	for _, failure := range []error{state.ErrFenced, model.Errorf(model.Unavailable, "no leader")} {
		t.Run(failure.Error(), func(t *testing.T) {
			r := newRig(t)
			r.stopDispatch()
			f := &flaky{DB: r.db}
			r.store, r.beats = f, time.Hour // silence tells nothing
			r.startDispatch()
			a := r.agent()
			a.enrol(r.token(0), "web1")
			s, _ := a.up()
			started := time.Now()
			a.say(s, wire.KindPresence, bus.TalkPresence, wire.Presence{Agent: a.id, Version: "v1", Started: started})
			told := func() *model.Presence {
				p, _ := state.Get[model.Presence](r.db.Local(), a.id)
				return p
			}
			r.eventually("the agent is up", func() bool { p := told(); return p != nil && p.Up && p.Version == "v1" })
			f.fail.Store(&failure)
			f.tries.Store(0)
			a.say(s, wire.KindPresence, bus.TalkPresence, wire.Presence{Agent: a.id, Started: started, Bye: true})
			r.eventually("a try", func() bool { return f.tries.Load() > 0 })
			r.newTerm() // this one cannot record it either
			r.eventually("a try of the next leader", func() bool { return f.tries.Load() > 1 })
			f.fail.Store(nil)
			r.newTerm()
			r.eventually("the good-bye is believed", func() bool { return !told().Up })
		})
	}
}
