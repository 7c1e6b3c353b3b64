package agent

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/dispatch/wire"
)

// ReadContent implements resource.ContentReader over the fake's values.
func (c *FakeCollection) ReadContent(_ context.Context, id string, offset int64, limit int) (resource.Part, error) {
	leave, err := c.enter("content", id)
	if err != nil {
		return resource.Part{}, err
	}
	defer leave()
	c.mu.Lock()
	defer c.mu.Unlock()
	text, ok := c.values[id]
	if !ok {
		return resource.Part{}, fs.ErrNotExist
	}
	text = text[min(int(offset), len(text)):]
	part := text[:min(limit, len(text))]
	return resource.Part{Data: []byte(part), Size: int64(len(text)), End: len(part) == len(text), Tag: "t"}, nil
}

// question makes a question as the orchestrator does, and the key that opens its answer.
func (s *site) question(id string, q wire.Question) (wire.Ask, *ecdh.PrivateKey) {
	s.t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	now := time.Now()
	return wire.Ask{ID: id, Agent: s.id.Agent, Epoch: 1, Issued: now, Expires: now.Add(time.Hour), Question: q, Seal: key.PublicKey().Bytes()}, key
}

func (s *site) ask(q wire.Ask) {
	s.t.Helper()
	if err := s.agent.Deliver(s.sign(wire.KindAsk, s.org, q)); err != nil {
		s.t.Fatalf("deliver: %v", err)
	}
}

// answer waits for the answer to a question.
func (s *site) answer(q wire.Ask, key *ecdh.PrivateKey) wire.Answer {
	s.t.Helper()
	waitFor(s.t, "the answer to "+q.ID, func() bool { return len(s.link.answers(q.ID)) > 0 })
	a, err := wire.OpenAnswer(q, s.link.answers(q.ID)[0], key)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

func TestQuestionsAreAnswered(t *testing.T) {
	s := newSite(t)
	s.files.values["/etc/motd"] = "hello"
	s.services.running["nginx"] = true
	s.start()
	s.agent.told = map[string]any{"hostname": "sim"}
	file := func(name string, offset int64, limit int) wire.Question {
		return wire.Question{Subject: wire.SubjectFile, Name: name, Offset: offset, Limit: limit}
	}
	sensor := func(collection, name string) wire.Question {
		return wire.Question{Subject: wire.SubjectSensor, Collection: collection, Name: name}
	}
	for i, c := range []struct {
		q    wire.Question
		code string
		want string // in the answer's part, value or text
	}{
		{file("/etc/motd", 0, 100), "", "hello"},
		{file("/etc/motd", 1, 3), "", "ell"},
		{file("/etc/none", 0, 3), wire.RefusedUnknown, "not exist"},
		{file("/etc/motd", -1, 3), wire.RefusedInvalid, "begins at 0"},
		{file("/etc/motd", 0, wire.MaxPart+1), wire.RefusedInvalid, "1 to"},
		{sensor("services", "nginx"), "", `"running":true`},
		{sensor("nothing", "nginx"), wire.RefusedUnknown, `no collection "nothing"; it has: files, services`},
		{sensor("hosts", "hostname"), "", `"sim"`},
		{sensor("hosts", "none"), wire.RefusedUnknown, "cpu, hostname, ip, load, macaddress, memavailable, memtotal, platform, uptime"},
		{wire.Question{Subject: "future"}, wire.RefusedUnexpected, "older than"},
	} {
		q, key := s.question("q"+strconv.Itoa(i), c.q)
		s.ask(q)
		a := s.answer(q, key)
		if got := string(a.Part) + string(a.Value) + a.Text; a.Code != c.code || !strings.Contains(got, c.want) {
			t.Errorf("%+v: %q %q; want %q %q", c.q, a.Code, got, c.code, c.want)
		}
	}
	if c := s.agent.Outstanding(); c.Replies != 0 {
		t.Errorf("answers are in the journal: %+v", c)
	}
}

func TestSensorsOfTheMachine(t *testing.T) {
	s := newSite(t)
	s.start()
	for name := range sensors() {
		if v, err := s.agent.observe(t.Context(), hostCollection, name, time.Minute); err != nil || v == nil {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
	v, err := s.agent.observe(t.Context(), hostCollection, "cpu", time.Minute)
	if load, ok := v.(float64); err != nil || !ok || load < 0 || load > 100 {
		t.Errorf("cpu: %v, %v", v, err)
	}
}

// What is not for this agent, not signed by its organization, or late, is dropped without a look at the machine.
func TestQuestionsThatAreDropped(t *testing.T) {
	s := newSite(t)
	s.files.values["/a"] = "x"
	reads := 0
	var mu sync.Mutex
	s.files.hook = func(call, _ string) error {
		mu.Lock()
		defer mu.Unlock()
		if call == "content" {
			reads++
		}
		return nil
	}
	s.start()
	good, key := s.question("good", wire.Question{Subject: wire.SubjectFile, Name: "/a", Limit: 1})
	late, foreign, forged := good, good, good
	late.ID, late.Issued, late.Expires = "late", good.Issued.Add(-time.Hour), good.Issued.Add(-time.Minute)
	foreign.ID, foreign.Agent = "foreign", "another"
	forged.ID = "forged"
	s.agent.clock.see(good.Issued)
	s.ask(late)
	s.ask(foreign)
	if err := s.agent.Deliver(s.sign(wire.KindAsk, s.key, forged)); err != nil {
		t.Fatal(err)
	}
	// The leader's clock jumps back: it is still before the end of the time that the agent knows.
	good.Issued = good.Issued.Add(-24 * time.Hour)
	s.ask(good)
	s.answer(good, key)
	mu.Lock()
	defer mu.Unlock()
	if reads != 1 {
		t.Errorf("%d reads for one good question", reads)
	}
	for _, id := range []string{"late", "foreign", "forged"} {
		if len(s.link.answers(id)) > 0 {
			t.Errorf("the %s question was answered", id)
		}
	}
}

// Copies of a question that is being answered are no questions of their own; when all who answer are busy and the queue
// is full, more are refused and not kept.
func TestQuestionsAreBounded(t *testing.T) {
	s := newSite(t)
	s.files.values["/a"] = "x"
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	defer open()
	entered := make(chan struct{}, 100)
	s.files.hook = func(call, _ string) error {
		if call == "content" {
			entered <- struct{}{}
			<-gate
		}
		return nil
	}
	s.start()
	var first wire.Ask
	keys := map[string]*ecdh.PrivateKey{}
	asks := map[string]wire.Ask{}
	for i := range askWorkers + askQueue + 3 {
		q, key := s.question(fmt.Sprintf("q%d", i), wire.Question{Subject: wire.SubjectFile, Name: "/a", Limit: 1})
		keys[q.ID], asks[q.ID] = key, q
		if i == 0 {
			first = q
		}
		s.ask(q)
		s.ask(first)
		if i < askWorkers {
			<-entered
		}
	}
	for i := askWorkers + askQueue; i < askWorkers+askQueue+3; i++ {
		id := fmt.Sprintf("q%d", i)
		if a := s.answer(asks[id], keys[id]); a.Code != wire.RefusedBusy {
			t.Errorf("%s: %+v", id, a)
		}
	}
	open()
	for i := range askWorkers + askQueue {
		id := fmt.Sprintf("q%d", i)
		if a := s.answer(asks[id], keys[id]); string(a.Part) != "x" {
			t.Errorf("%s: %+v", id, a)
		}
	}
	if n := len(s.link.answers(first.ID)); n != 1 {
		t.Errorf("%d answers to one question", n)
	}
	// Once it is answered, whoever asks again is answered again: the answer may have been lost.
	s.ask(first)
	waitFor(t, "a second answer", func() bool { return len(s.link.answers(first.ID)) == 2 })
}

// A connection that breaks loses no answer; the next one brings it.
func TestAnswerOutlivesAConnection(t *testing.T) {
	s := newSite(t)
	s.files.values["/a"] = "x"
	s.start()
	s.link.mu.Lock()
	s.link.fail = errFake
	s.link.mu.Unlock()
	q, key := s.question("q", wire.Question{Subject: wire.SubjectFile, Name: "/a", Limit: 1})
	s.ask(q)
	waitFor(t, "an answer that waits", func() bool {
		s.agent.asks.mu.Lock()
		defer s.agent.asks.mu.Unlock()
		return len(s.agent.asks.answers) == 1
	})
	s.link.mu.Lock()
	s.link.fail = nil
	s.link.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.agent.Talk(ctx, s.link) })
	defer wg.Wait()
	defer cancel()
	if a := s.answer(q, key); string(a.Part) != "x" {
		t.Errorf("%+v", a)
	}
}
