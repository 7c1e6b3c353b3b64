package dispatch

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/muster-hq/muster/dispatch/wire"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// How many questions may be out: in all, and to one agent.
const (
	asksMost     = 256
	asksPerAgent = 4
	askBusyPause = time.Second // after which it may be tried again
)

// ErrStopped is why a question has no answer when this leadership ended; the next leader can be asked.
var ErrStopped = errors.New("this node does not dispatch any more")

// asks are the questions that are out. They are memory: a question is for somebody who waits now.
type asks struct {
	mu      sync.Mutex
	out     map[string]*asked // by id
	to      map[string]int    // by agent
	stopped chan struct{}
	stop    func()
}

// asked is a question that is out.
type asked struct {
	ask    wire.Ask
	key    *ecdh.PrivateKey
	answer chan wire.Answer // room for one: the first counts
}

func newAsks() *asks {
	a := &asks{out: map[string]*asked{}, to: map[string]int{}, stopped: make(chan struct{})}
	a.stop = sync.OnceFunc(func() { close(a.stopped) })
	return a
}

// begin takes a place for a question; done gives it back.
func (s *asks) begin(q *asked) (done func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	agent := q.ask.Agent
	if len(s.out) >= asksMost || s.to[agent] >= asksPerAgent {
		return nil, &model.Error{Code: model.Unavailable, RetryAfter: askBusyPause, Messages: []string{"too many questions to agents are under way: try again in a moment"}}
	}
	s.out[q.ask.ID] = q
	s.to[agent]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.out, q.ask.ID)
		if s.to[agent]--; s.to[agent] == 0 {
			delete(s.to, agent)
		}
	}, nil
}

func (s *asks) get(id string) *asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out[id]
}

// Ask puts a question to the agent of a host and waits for the answer until ctx ends, whose deadline the agent is told.
// Errors: Conflict (the host has no agent, it is down, it is too old, or the machine had an error), those of the agent's
// refusals, Unavailable (no answer in time, too many questions), ErrStopped.
func (d *Dispatcher) Ask(ctx context.Context, hostID string, q wire.Question) (wire.Answer, error) {
	view := d.cfg.Store.Local().At(time.Now()) // the last commit may be long ago, and the agent goes by these times
	a, err := d.reachable(view, hostID)
	if err != nil {
		return wire.Answer{}, err
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		return wire.Answer{}, errors.New("ask: the question has no deadline")
	}
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return wire.Answer{}, fmt.Errorf("ask: %w", err)
	}
	out := &asked{key: key, answer: make(chan wire.Answer, 1), ask: wire.Ask{
		ID: rand.Text(), Agent: a.ID, Epoch: view.Epoch(), Issued: view.Now(), Expires: view.Now().Add(time.Until(deadline)), Question: q,
		Seal: key.PublicKey().Bytes(),
	}}
	done, err := d.asks.begin(out)
	if err != nil {
		return wire.Answer{}, err
	}
	defer done()
	sign, err := orchestrate.SigningKey(view, a.OrgID)
	if err != nil {
		return wire.Answer{}, err
	}
	body, err := wire.Sign(wire.KindAsk, sign, out.ask)
	if err != nil {
		return wire.Answer{}, err
	}
	answer, err := d.await(ctx, hostID, out, body)
	if err != nil {
		return wire.Answer{}, err
	}
	return answer, refused(answer)
}

// await publishes a question until it is answered.
func (d *Dispatcher) await(ctx context.Context, hostID string, q *asked, body []byte) (wire.Answer, error) {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for wait := d.cfg.RetryFirst; ; wait *= 2 {
		spread := wait > d.cfg.RetryFirst
		wg.Go(func() {
			if err := d.toAgent(ctx, q.ask.Agent, body, spread); err != nil && ctx.Err() == nil {
				d.log.Debug("question not published yet", "ask", q.ask.ID, "agent", q.ask.Agent, "error", err)
			}
		})
		timer := time.NewTimer(wait)
		select {
		case a := <-q.answer:
			timer.Stop()
			return a, nil
		case <-d.asks.stopped:
			timer.Stop()
			return wire.Answer{}, ErrStopped
		case <-ctx.Done():
			timer.Stop()
			return wire.Answer{}, &model.Error{Code: model.Unavailable, Err: ctx.Err(), RetryAfter: askBusyPause, Messages: []string{
				"the agent of the host did not answer in time: look whether the machine is reachable, and try again"}}
		case <-timer.C:
		}
		if a, err := d.reachable(d.cfg.Store.Local(), hostID); err != nil || a.ID != q.ask.Agent { // it went, or is another by now
			return wire.Answer{}, orGone(err)
		}
	}
}

func orGone(err error) error {
	if err != nil {
		return err
	}
	return model.Errorf(model.Conflict, "the host got another machine meanwhile: ask again")
}

// reachable finds the agent of a host, if it can be asked.
func (d *Dispatcher) reachable(r state.Reader, hostID string) (*model.Agent, error) {
	a, ok := state.Find[model.Agent](r, model.AgentOfHost(hostID))
	if !ok {
		return nil, model.Errorf(model.Conflict, "the machine of the host has no agent yet: wait until it has enrolled")
	}
	if p, ok := state.Get[model.Presence](r, a.ID); !ok || !p.Up {
		since := ""
		if ok && !p.Since.IsZero() {
			since = " since " + p.Since.UTC().Format(time.RFC3339)
		}
		return nil, model.Errorf(model.Conflict, "the agent of the host is down%s: nothing can be asked of the machine until it is back", since)
	}
	if !d.presence.answers(a.ID) {
		return nil, model.Errorf(model.Conflict, "the agent of the host is of a version that answers no questions: upgrade it")
	}
	return a, nil
}

// refused puts the refusal of an agent into our codes.
func refused(a wire.Answer) error {
	code := model.Conflict // the machine had an error, or the agent does not know the question
	switch a.Code {
	case "":
		return nil
	case wire.RefusedUnknown:
		code = model.NotFound
	case wire.RefusedInvalid:
		code = model.Invalid
	case wire.RefusedForbidden:
		code = model.Forbidden
	case wire.RefusedTooLarge:
		code = model.TooLarge
	case wire.RefusedBusy:
		return &model.Error{Code: model.Unavailable, RetryAfter: askBusyPause, Messages: []string{"the agent says: " + a.Text}}
	}
	return model.Errorf(code, "the agent says: %s", a.Text)
}

// onAnswer hands an answer to who waits for it. It gets no receipt: the agent keeps nothing of it.
func (d *Dispatcher) onAnswer(l *link, data []byte) error {
	var s wire.Sealed
	a, err := d.agentOf(data, wire.KindAnswer, &s)
	if err != nil {
		return err
	}
	if s, err = wire.OpenSealed(data, a.PublicKey); err != nil {
		return err
	}
	if d.presence.heard(a.ID, l.name, wire.Presence{}, time.Now()) {
		d.lookAgain(a.ID)
	}
	q := d.asks.get(s.Ask)
	if q == nil || q.ask.Agent != a.ID {
		return nil // too late, told again, or for the leader before
	}
	answer, err := wire.OpenAnswer(q.ask, s, q.key)
	if err != nil {
		return fmt.Errorf("answer of agent %s: %w", a.ID, err)
	}
	select {
	case q.answer <- answer:
	default:
	}
	return nil
}
