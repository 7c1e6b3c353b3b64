package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/muster-hq/muster/agent/journal"
	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/dispatch/wire"
)

// How many questions are answered at once, and how many wait. Who answers also waits until the answer is sent, so these
// bound the memory that answers take.
const (
	askWorkers = 2
	askQueue   = 8
	askMost    = 64 // answers that wait for a connection, refusals of a full queue among them
)

// asks are the questions that are being answered. Nothing of them is journaled: they change nothing, and who still wants
// to know asks anew.
type asks struct {
	agent   *Agent
	waiting chan wire.Ask

	mu      sync.Mutex
	at      map[string]bool // ids that wait or are worked on
	answers []*answer       // to be sent
}

// answer is one that is to be sent.
type answer struct {
	ask      wire.Ask
	envelope []byte
	over     chan struct{} // closed once it is sent, or nobody waits for it any more
}

func newAsks(a *Agent) *asks {
	return &asks{agent: a, waiting: make(chan wire.Ask, askQueue), at: map[string]bool{}}
}

// takeAsk judges a question whose signature holds. One that comes too late is dropped: nobody waits for the answer.
func (a *Agent) takeAsk(q wire.Ask) {
	log := a.log.With("ask", q.ID, "subject", q.Question.Subject)
	if q.Agent != a.identity.Agent || q.ID == "" {
		log.Warn("dropped a question for another agent", "for", q.Agent)
		return
	}
	a.clock.see(q.Issued)
	if !a.clock.now().Before(q.Expires) {
		log.Debug("dropped a question that has expired", "expired", q.Expires)
		return
	}
	if !a.asks.begin(q.ID) {
		log.Debug("the question came again; it is being answered")
		return
	}
	select {
	case a.asks.waiting <- q:
	default:
		a.asks.reply(q, wire.Answer{Code: wire.RefusedBusy, Text: "the agent is busy with other questions: ask again later"})
	}
}

// begin notes that a question is being answered; false: it is already.
func (s *asks) begin(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at[id] {
		return false
	}
	s.at[id] = true
	return true
}

// run answers questions until ctx ends.
func (s *asks) run(ctx context.Context) {
	var wg sync.WaitGroup
	for range askWorkers {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case q := <-s.waiting:
					s.work(ctx, q)
				}
			}
		})
	}
	wg.Wait()
}

// work answers one question and waits until that is told, or too late.
func (s *asks) work(ctx context.Context, q wire.Ask) {
	left := q.Expires.Sub(s.agent.clock.now())
	if left <= 0 {
		s.end(q.ID)
		return
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	told := s.reply(q, s.agent.answer(ctx, q.Question, left))
	select {
	case <-told:
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (s *asks) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.at, id)
}

// reply puts an answer among those to be sent; what it gives is closed once that is over.
func (s *asks) reply(q wire.Ask, a wire.Answer) (over <-chan struct{}) {
	out := &answer{ask: q, over: make(chan struct{})}
	sealed, err := wire.SealAnswer(q, a)
	if err == nil {
		out.envelope, err = wire.Sign(wire.KindAnswer, s.agent.key, sealed)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || len(s.answers) >= askMost {
		s.agent.log.Warn("a question gets no answer", "ask", q.ID, "error", err)
		delete(s.at, q.ID)
		close(out.over)
		return out.over
	}
	s.answers = append(s.answers, out)
	signal(s.agent.outbox.wake)
	return out.over
}

// tell sends the answers that there are. One that could not be sent is kept for the next connection, while anybody waits.
func (s *asks) tell(ctx context.Context, l link) error {
	for {
		s.mu.Lock()
		if len(s.answers) == 0 {
			s.mu.Unlock()
			return nil
		}
		next := s.answers[0]
		s.mu.Unlock()
		if s.agent.clock.now().Before(next.ask.Expires) {
			pctx, cancel := context.WithTimeout(ctx, publishLimit)
			err := l.Publish(pctx, wire.KindAnswer, next.envelope)
			cancel()
			if err != nil {
				return fmt.Errorf("publish an answer: %w", err)
			}
		}
		s.mu.Lock()
		s.answers = s.answers[1:]
		delete(s.at, next.ask.ID)
		s.mu.Unlock()
		close(next.over)
	}
}

// answer looks at the machine. Whatever goes wrong is a refusal.
func (a *Agent) answer(ctx context.Context, q wire.Question, limit time.Duration) wire.Answer {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	switch q.Subject {
	case wire.SubjectFile:
		return a.answerFile(ctx, q, limit)
	case wire.SubjectSensor:
		return a.answerSensor(ctx, q, limit)
	}
	return wire.Answer{Code: wire.RefusedUnexpected, Text: "this agent does not know what it is asked: it is older than the orchestrator"}
}

func (a *Agent) answerFile(ctx context.Context, q wire.Question, limit time.Duration) wire.Answer {
	c, err := a.collection("files")
	if err != nil {
		return refusal(err)
	}
	reader, ok := c.(resource.ContentReader)
	if !ok {
		return wire.Answer{Code: wire.RefusedUnexpected, Text: "this agent does not read the contents of files"}
	}
	if q.Offset < 0 || q.Limit <= 0 || q.Limit > wire.MaxPart {
		return wire.Answer{Code: wire.RefusedInvalid, Text: fmt.Sprintf("a part begins at 0 or later and has 1 to %d bytes", wire.MaxPart)}
	}
	var part resource.Part
	call := caller{log: a.log, c: c, limit: limit}
	err = call.guard(ctx, "read", func(ctx context.Context) error {
		var err error
		part, err = reader.ReadContent(ctx, q.Name, q.Offset, q.Limit)
		return err
	})
	if err != nil {
		return refusal(err)
	}
	return wire.Answer{Part: part.Data, Size: part.Size, End: part.End, Tag: part.Tag}
}

func (a *Agent) answerSensor(ctx context.Context, q wire.Question, limit time.Duration) wire.Answer {
	value, err := a.observe(ctx, q.Collection, q.Name, limit)
	if err != nil {
		return refusal(err)
	}
	text, err := json.Marshal(value)
	if err != nil {
		return refusal(err)
	}
	if len(text) > wire.MaxValue {
		return wire.Answer{Code: wire.RefusedTooLarge, Text: fmt.Sprintf("the value has %d bytes; at most %d are told", len(text), wire.MaxValue)}
	}
	return wire.Answer{Value: text}
}

// observe reads a sensor: of the collection hosts the machine itself, of any other one of its resources.
func (a *Agent) observe(ctx context.Context, collection, name string, limit time.Duration) (any, error) {
	if collection == hostCollection {
		return a.hostSensor(ctx, name)
	}
	c, err := a.collection(collection)
	if err != nil {
		return nil, err
	}
	unlock, err := a.locks.lock(ctx, journal.Key(collection, name))
	if err != nil {
		return nil, errOccupied
	}
	defer unlock()
	return caller{log: a.log, c: c, limit: limit}.read(ctx, name)
}

// errOccupied is why a resource cannot be looked at while an order is at work on it.
var errOccupied = errors.New("the agent is at work on it: ask again later")

// refusal tells an error to who asked.
func refusal(err error) wire.Answer {
	code := wire.RefusedFailed
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errUnknownCollection), errors.Is(err, errUnknownSensor):
		code = wire.RefusedUnknown
	case errors.Is(err, resource.ErrPrivate):
		code = wire.RefusedForbidden
	case errors.Is(err, resource.ErrName):
		code = wire.RefusedInvalid
	case errors.Is(err, errOccupied):
		code = wire.RefusedBusy
	}
	text := err.Error()
	if len(text) > 1024 {
		text = text[:1024]
	}
	return wire.Answer{Code: code, Text: text}
}
