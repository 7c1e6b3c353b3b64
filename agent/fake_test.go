package agent

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/muster-hq/muster/agent/journal"
	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/dispatch/wire"
)

// FakeCollection is a machine of values in memory: want {"value": v} makes id be v. It survives the
// agents that work on it, as a machine does.
type FakeCollection struct {
	name string

	mu       sync.Mutex
	values   map[string]string
	running  map[string]bool
	applies  []string // in their order: "id=value"
	acts     []string // "verb id"
	active   map[string]int
	twice    bool // two calls at once for one id
	checks   int
	done     func(id string, a resource.Action, started int64) (bool, error)
	hook     func(call, id string) error // runs inside each call
	changed  func(id string)
	watching []string
	watchErr error
}

func newFake(name string) *FakeCollection {
	return &FakeCollection{name: name, values: map[string]string{}, running: map[string]bool{}, active: map[string]int{}}
}

func (c *FakeCollection) Name() string { return c.name }

// enter notes a call, and finds out calls of one id that overlap.
func (c *FakeCollection) enter(call, id string) (leave func(), err error) {
	c.mu.Lock()
	c.active[id]++
	c.twice = c.twice || c.active[id] > 1
	hook := c.hook
	c.mu.Unlock()
	leave = func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.active[id]--
	}
	if hook != nil {
		if err := hook(call, id); err != nil {
			leave()
			return nil, err
		}
	}
	return leave, nil
}

func (c *FakeCollection) Read(_ context.Context, id string) (resource.State, error) {
	leave, err := c.enter("read", id)
	if err != nil {
		return nil, err
	}
	defer leave()
	c.mu.Lock()
	defer c.mu.Unlock()
	return resource.State{"value": c.values[id], "running": c.running[id]}, nil
}

func (c *FakeCollection) diff(id string, want json.RawMessage) (d resource.Diff, value string, err error) {
	var w struct {
		Value *string `json:"value"`
	}
	if err := json.Unmarshal(want, &w); err != nil {
		return d, "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.Value == nil {
		return d, c.values[id], nil
	}
	if c.values[id] != *w.Value {
		d.Add("value", *w.Value, c.values[id])
	}
	return d, *w.Value, nil
}

func (c *FakeCollection) Check(_ context.Context, id string, want json.RawMessage) (resource.Diff, error) {
	leave, err := c.enter("check", id)
	if err != nil {
		return resource.Diff{}, err
	}
	defer leave()
	c.mu.Lock()
	c.checks++
	c.mu.Unlock()
	d, _, err := c.diff(id, want)
	return d, err
}

func (c *FakeCollection) Apply(_ context.Context, id string, want json.RawMessage) (resource.Diff, error) {
	leave, err := c.enter("apply", id)
	if err != nil {
		return resource.Diff{}, err
	}
	defer leave()
	d, value, err := c.diff(id, want)
	if err != nil {
		return d, err
	}
	c.set(id, value)
	c.mu.Lock()
	c.applies = append(c.applies, id+"="+value)
	c.mu.Unlock()
	return d, nil
}

func (c *FakeCollection) Act(_ context.Context, id string, a resource.Action) (resource.Output, error) {
	leave, err := c.enter("act", id)
	if err != nil {
		return resource.Output{ExitCode: 1}, err
	}
	defer leave()
	c.mu.Lock()
	c.acts = append(c.acts, a.Verb+" "+id)
	c.mu.Unlock()
	if err := c.after("acted", id); err != nil {
		return resource.Output{ExitCode: 3, Stderr: "no"}, err
	}
	return resource.Output{Stdout: "did " + id}, nil
}

func (c *FakeCollection) after(call, id string) error {
	c.mu.Lock()
	hook := c.hook
	c.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(call, id)
}

func (c *FakeCollection) Done(_ context.Context, id string, a resource.Action, started int64) (bool, error) {
	if c.done == nil {
		return false, resource.ErrCannotTell
	}
	return c.done(id, a, started)
}

func (c *FakeCollection) Watch(ctx context.Context, ids []string, changed func(id string)) error {
	c.mu.Lock()
	if err := c.watchErr; err != nil {
		c.mu.Unlock()
		return err
	}
	c.changed, c.watching = changed, ids
	c.mu.Unlock()
	<-ctx.Done()
	return ctx.Err()
}

// set changes the machine, as a person would, and fires the event.
func (c *FakeCollection) set(id, value string) {
	c.mu.Lock()
	c.values[id] = value
	changed, watched := c.changed, slices.Contains(c.watching, id)
	c.mu.Unlock()
	if changed != nil && watched {
		changed(id)
	}
}

func (c *FakeCollection) actCount(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, a := range c.acts {
		if a == what {
			n++
		}
	}
	return n
}

// FakeLink keeps what the agent publishes. It never fails unless fail is set.
type FakeLink struct {
	t    *testing.T
	pub  ed25519.PublicKey
	mu   sync.Mutex
	all  []told
	fail error
}

// told is one message with the time of its telling.
type told struct {
	at       time.Time
	reply    *wire.Reply
	alert    *wire.Alert
	presence *wire.Presence
	standing *wire.Standing
	sealed   *wire.Sealed
}

func (l *FakeLink) Publish(ctx context.Context, kind wire.Kind, envelope []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return l.fail
	}
	m := told{at: time.Now()}
	var err error
	switch kind {
	case wire.KindReply:
		err = wire.Open(envelope, kind, l.pub, &m.reply)
	case wire.KindAlert:
		err = wire.Open(envelope, kind, l.pub, &m.alert)
	case wire.KindPresence:
		err = wire.Open(envelope, kind, l.pub, &m.presence)
	case wire.KindStanding:
		var s wire.Standing
		s, err = wire.OpenStanding(envelope, l.pub)
		m.standing = &s
	case wire.KindAnswer:
		var s wire.Sealed
		s, err = wire.OpenSealed(envelope, l.pub)
		m.sealed = &s
	default:
		err = fmt.Errorf("kind %s", kind)
	}
	if err != nil {
		l.t.Errorf("the agent published what cannot be read: %v", err)
	}
	l.all = append(l.all, m)
	return nil
}

func (l *FakeLink) replies() []wire.Reply {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []wire.Reply
	for _, m := range l.all {
		if m.reply != nil {
			out = append(out, *m.reply)
		}
	}
	return out
}

// standings are the answers to the questions for it.
func (l *FakeLink) standings() []wire.Standing {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []wire.Standing
	for _, m := range l.all {
		if m.standing != nil {
			out = append(out, *m.standing)
		}
	}
	return out
}

// answers are the messages with answers to a question.
func (l *FakeLink) answers(ask string) []wire.Sealed {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []wire.Sealed
	for _, m := range l.all {
		if m.sealed != nil && m.sealed.Ask == ask {
			out = append(out, *m.sealed)
		}
	}
	return out
}

// alerts are those that were told, without their repeats.
func (l *FakeLink) alerts() []told {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []told
	seen := map[uint64]bool{}
	for _, m := range l.all {
		if m.alert != nil && !seen[m.alert.Sequence] {
			seen[m.alert.Sequence] = true
			out = append(out, m)
		}
	}
	return out
}

// site is an organization, a machine, and the agents that live on it one after the other.
type site struct {
	t        *testing.T
	dir      string
	org      ed25519.PrivateKey
	key      ed25519.PrivateKey
	id       Identity
	files    *FakeCollection
	services *FakeCollection
	disk     journal.Disk
	agent    *Agent
	link     *FakeLink
	interval time.Duration
	stop     func()
	ended    chan error // what Run returned
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), files: newFake("files"), services: newFake("services")}
	s.org, s.key = fakeKey(1), fakeKey(2)
	s.id = Identity{
		Agent: wire.AgentID(s.key.Public().(ed25519.PublicKey)), Organization: "o", Environment: "e", Host: "h",
		Key: s.org.Public().(ed25519.PublicKey),
	}
	return s
}

func fakeKey(n byte) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	return ed25519.NewKeyFromSeed(seed)
}

// start begins a life of the agent. end stops it as SIGTERM does.
func (s *site) start() {
	s.t.Helper()
	if err := s.tryStart(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) tryStart() error {
	a, err := Open(Options{
		State: s.dir, Identity: s.id, Key: s.key, Collections: []resource.Collection{s.files, s.services},
		Version: "test", Disk: s.disk, CheckInterval: s.interval,
	})
	if err != nil {
		return err
	}
	s.agent = a
	s.link = &FakeLink{t: s.t, pub: s.key.Public().(ed25519.PublicKey)}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	ended := make(chan error, 1)
	s.ended = ended
	wg.Go(func() { ended <- a.Run(ctx) })
	wg.Go(func() { _ = a.Talk(ctx, s.link) })
	var once sync.Once
	s.stop = func() {
		once.Do(func() {
			cancel()
			wg.Wait()
			_ = a.Close()
		})
	}
	s.t.Cleanup(s.stop)
	return nil
}

// order makes an order that the organization could send.
func (s *site) order(n int, steps ...wire.Step) wire.Order {
	for i := range steps {
		steps[i].Num = i
	}
	now := time.Now()
	return wire.Order{
		ID: fmt.Sprintf("order-%d", n), Agent: s.id.Agent, Lane: wire.LaneChanges, Epoch: 1, Term: 1, Sequence: uint64(n),
		Issued: now, Expires: now.Add(time.Hour), Change: n, Steps: steps,
	}
}

func (s *site) sign(kind wire.Kind, key ed25519.PrivateKey, body any) []byte {
	s.t.Helper()
	data, err := wire.Sign(kind, key, body)
	if err != nil {
		s.t.Fatal(err)
	}
	return data
}

func (s *site) send(o wire.Order) {
	s.t.Helper()
	if err := s.agent.Deliver(s.sign(wire.KindOrder, s.org, o)); err != nil {
		s.t.Fatalf("deliver: %v", err)
	}
}

func (s *site) receipt(sequences ...uint64) {
	s.t.Helper()
	r := wire.Receipt{Agent: s.id.Agent, Sequences: sequences}
	if err := s.agent.Deliver(s.sign(wire.KindReceipt, s.org, r)); err != nil {
		s.t.Fatalf("deliver: %v", err)
	}
}

// waitFor polls a condition until it holds.
func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(60 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline.C:
			t.Fatalf("waited in vain for: %s", what)
		case <-tick.C:
		}
	}
}

// outcome is the first reply of each step of an order, once its final one is there.
func (s *site) outcome(id string) map[int]wire.Reply {
	s.t.Helper()
	out := map[int]wire.Reply{}
	waitFor(s.t, "the final reply of "+id, func() bool {
		for _, r := range s.link.replies() {
			if r.Order == id {
				out[r.Step] = r
			}
		}
		for _, r := range out {
			if r.Final {
				return true
			}
		}
		return false
	})
	return out
}

func apply(collection, id, value string) wire.Step {
	want, err := json.Marshal(map[string]string{"value": value})
	if err != nil {
		panic(err)
	}
	return wire.Step{Collection: collection, Resource: id, Verb: wire.VerbApply, Want: want}
}

func act(collection, id, action string) wire.Step {
	return wire.Step{Collection: collection, Resource: id, Verb: wire.VerbAct, Action: action}
}

func watched(s wire.Step) wire.Step {
	yes := true
	s.Monitor = &yes
	s.Origin = wire.Origin{Application: "app", Type: s.Collection, Name: s.Resource}
	return s
}

var errFake = errors.New("fake failure")
