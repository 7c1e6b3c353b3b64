package torture

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/fsm/model"
)

const (
	registers   = 3 // worked on at the same time
	registerOps = 50
	opLimit     = 4 * time.Second
)

// input of an operation on a register; "" reads.
type input string

// registerModel is a setting as it should behave. Output is what a read saw; a write gives nothing back.
var registerModel = porcupine.Model{
	Init: func() any { return "" },
	Step: func(before, in, out any) (bool, any) {
		if v := string(in.(input)); v != "" {
			return true, v
		}
		return before.(string) == out.(string), before
	},
	Equal:             func(a, b any) bool { return a == b },
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("write %q, saw %q", in, out) },
}

// register is a setting, and what was done to it.
type register struct {
	key   string
	begun int

	mu  sync.Mutex
	ops []porcupine.Operation
}

func (r *register) add(op porcupine.Operation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, op)
}

// check judges the history. Whatever is not found in order in time is wrong.
func (r *register) check() (ok bool, report string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	res := porcupine.CheckOperationsTimeout(registerModel, r.ops, time.Minute)
	if res == porcupine.Ok {
		return true, ""
	}
	slices.SortFunc(r.ops, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var b strings.Builder
	fmt.Fprintf(&b, "the history of %s is not linearizable (%s)\n", r.key, res)
	for _, op := range r.ops {
		fmt.Fprintf(&b, "%s..%s client %d %s\n", time.Duration(op.Call), time.Duration(op.Return), op.ClientId, registerModel.DescribeOperation(op.Input, op.Output))
	}
	return false, b.String()
}

// crowd is clients of the load balancer that work in one organization.
type crowd struct {
	l     *lab
	org   string
	c     *client.Client // by an application key
	begin time.Time
	big   atomic.Bool // the journal's values are large

	values, reads, writes, unsure, refused atomic.Int64

	mu    sync.Mutex
	live  [registers]*register
	all   []*register
	acked map[string]string // the journal: settings that were made once, and acknowledged
	alive []time.Duration   // since begin: a probe that began then was a write that succeeded
}

// newCrowd makes the organization and its key.
func newCrowd(l *lab, org string) *crowd {
	c := &crowd{l: l, org: org, begin: time.Now(), acked: map[string]string{}}
	admin := l.client(l.front)
	l.write(admin, client.Op{Name: "organizations.create", Body: map[string]string{"name": org}}, nil)
	l.write(admin, client.Op{Name: "environments.create", Params: map[string]string{"org": org}, Body: map[string]string{"name": "e"}}, nil)
	var key struct{ Token string }
	op := client.Op{Name: "applicationkeys.create", Params: map[string]string{"org": org}, Body: map[string]any{"name": "torture", "method": "TOKEN", "group": "admin"}}
	l.write(admin, op, &key)
	c.c = l.clientOf(client.Config{URL: "http://" + l.front + "/api", AppKey: key.Token, HTTP: l.http})
	return c
}

func (c *crowd) now() int64 { return time.Since(c.begin).Nanoseconds() }

// run starts the clients; what it gives ends and awaits them.
func (c *crowd) run(r *rand.Rand) (stop func()) {
	ended := make(chan struct{})
	var wg sync.WaitGroup
	start := func(pace time.Duration, once func(r *rand.Rand)) {
		cr := rand.New(rand.NewPCG(r.Uint64(), 0))
		wg.Go(func() {
			tick := time.NewTicker(pace)
			defer tick.Stop()
			for {
				select {
				case <-ended:
					return
				case <-tick.C:
					once(cr)
				}
			}
		})
	}
	for id := range 6 {
		start(15*time.Millisecond, func(r *rand.Rand) { c.work(id, r) })
	}
	for range 2 {
		start(25*time.Millisecond, func(*rand.Rand) { c.journal() })
	}
	for range 3 { // one of them may hang at a node that is gone until the load balancer knows it
		start(30*time.Millisecond, func(*rand.Rand) { c.probe() })
	}
	return func() { close(ended); wg.Wait() }
}

func (c *crowd) pick(r *rand.Rand) *register {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := r.IntN(registers)
	if p := c.live[i]; p == nil || p.begun >= registerOps {
		c.live[i] = &register{key: fmt.Sprint("r-", len(c.all))}
		c.all = append(c.all, c.live[i])
	}
	c.live[i].begun++
	return c.live[i]
}

// work does one operation on a register and notes it, unless it is known to have done nothing.
func (c *crowd) work(id int, r *rand.Rand) {
	p := c.pick(r)
	ctx, cancel := context.WithTimeout(c.l.t.Context(), opLimit)
	defer cancel()
	op := porcupine.Operation{ClientId: id, Input: input(""), Output: "", Call: c.now()}
	if r.IntN(2) == 0 {
		got, err := c.get(ctx, c.c, p.key)
		if err != nil {
			c.refused.Add(1)
			return
		}
		c.reads.Add(1)
		op.Output, op.Return = got, c.now()
		p.add(op)
		return
	}
	value := fmt.Sprint("v", c.values.Add(1))
	err := c.put(ctx, p.key, value)
	op.Input, op.Return = input(value), c.now()
	switch model.CodeOf(err) {
	case "":
		c.writes.Add(1)
	case model.Unavailable:
		c.refused.Add(1)
		return
	default:
		c.unsure.Add(1)
		op.Return = math.MaxInt64
	}
	p.add(op)
}

func (c *crowd) op(name, key string, body any) client.Op {
	op := client.Op{Name: name, Level: "organization", Params: map[string]string{"org": c.org}, Body: body}
	if key != "" {
		op.Params["key"] = key
	}
	return op
}

// get reads a setting; one that is absent is "".
func (c *crowd) get(ctx context.Context, at *client.Client, key string) (string, error) {
	var doc struct{ Value string }
	err := at.Call(ctx, c.op("settings.show", key, nil), &doc)
	if model.CodeOf(err) == model.NotFound {
		return "", nil
	}
	return doc.Value, err
}

// put gives a setting its value, and makes it when it is absent. An error that says that nothing was done is of the
// last step, before which nothing was done either.
func (c *crowd) put(ctx context.Context, key, value string) error {
	body := map[string]any{"key": key, "value": value}
	err := c.c.Call(ctx, c.op("settings.update", key, body), nil)
	if model.CodeOf(err) == model.NotFound {
		if err = c.c.Call(ctx, c.op("settings.create", "", body), nil); model.CodeOf(err) == model.Conflict {
			err = c.c.Call(ctx, c.op("settings.update", key, body), nil)
		}
	}
	return err
}

// journal makes a setting that nobody changes.
func (c *crowd) journal() {
	ctx, cancel := context.WithTimeout(c.l.t.Context(), opLimit)
	defer cancel()
	n := c.values.Add(1)
	key, value := fmt.Sprint("j-", n), fmt.Sprint("w", n)
	if c.big.Load() {
		value += strings.Repeat("-", 32<<10)
	}
	if c.c.Call(ctx, c.op("settings.create", "", map[string]any{"key": key, "value": value}), nil) == nil {
		c.mu.Lock()
		c.acked[key] = value
		c.mu.Unlock()
	}
}

// probe looks whether writes succeed.
func (c *crowd) probe() {
	ctx, cancel := context.WithTimeout(c.l.t.Context(), 500*time.Millisecond)
	defer cancel()
	at := time.Since(c.begin)
	if err := c.put(ctx, "probe", fmt.Sprint(at)); err == nil {
		c.mu.Lock()
		c.alive = append(c.alive, at)
		c.mu.Unlock()
	}
}

// firstWrite is how long after a moment a write began that succeeded; false when none has.
func (c *crowd) firstWrite(after time.Time) (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.Sort(c.alive)
	for _, at := range c.alive {
		if d := at - after.Sub(c.begin); d >= 0 {
			return d, true
		}
	}
	return 0, false
}

// silence is the longest time within a span in which no write that succeeded began.
func (c *crowd) silence(from, to time.Time) (longest time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.Sort(c.alive)
	last := from.Sub(c.begin)
	end := to.Sub(c.begin)
	for _, at := range append(slices.Clone(c.alive), end) {
		if at >= last && at <= end {
			longest, last = max(longest, at-last), at
		}
	}
	return longest
}

// settings are the organization's, as a node gives them: the values, and the whole text.
func (c *crowd) settings(node int) (map[string]string, string) {
	c.l.t.Helper()
	at := c.l.client(c.l.site.Nodes[node].HTTP)
	var text []byte
	c.l.await("the settings on node "+c.l.site.Nodes[node].Name, func(ctx context.Context) (bool, error) {
		err := at.Call(ctx, c.op("settings.list", "", nil), &text)
		return err == nil, err
	})
	var list struct {
		Items []struct{ Key, Value string }
	}
	if err := json.Unmarshal(text, &list); err != nil {
		c.l.t.Fatal(err)
	}
	out := map[string]string{}
	for _, s := range list.Items {
		out[s.Key] = s.Value
	}
	return out, string(text)
}

// missing counts the acknowledged settings that a node does not have, or has otherwise.
func (c *crowd) missing() (lost, acked int) {
	c.mu.Lock()
	before := make(map[string]string, len(c.acked))
	for k, v := range c.acked {
		before[k] = v
	}
	c.mu.Unlock()
	for i := range c.l.site.Nodes {
		have, _ := c.settings(i)
		for k, v := range before {
			if have[k] != v {
				lost++
				c.l.t.Errorf("%s was acknowledged and is %.20q on %s", k, have[k], c.l.site.Nodes[i].Name)
			}
		}
	}
	return lost, len(before)
}

// agree waits until all nodes give the same settings. A write whose client gave up may still take effect between two readings
// for as long as a request lives; nodes whose states differ stay different.
func (c *crowd) agree() {
	c.l.t.Helper()
	c.l.await("the nodes to hold the same settings when nobody writes", func(context.Context) (bool, error) {
		first, text := c.settings(0)
		for i := range c.l.site.Nodes[1:] {
			other, more := c.settings(i + 1)
			if more != text {
				return false, fmt.Errorf("%s and %s differ in: %s", c.l.site.Nodes[0].Name, c.l.site.Nodes[i+1].Name, differing(first, other))
			}
		}
		return true, nil
	})
}

// differing names the keys that two nodes hold differently, or says that the rest of the texts differs.
func differing(a, b map[string]string) string {
	var keys []string
	for k := range a {
		if other, ok := b[k]; !ok || other != a[k] {
			keys = append(keys, k)
		}
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return "what is told beside the values"
	}
	slices.Sort(keys)
	return strings.Join(keys, ", ")
}

// judge checks everything once the clients have stopped.
func (c *crowd) judge() {
	t := c.l.t
	for i := range c.l.site.Nodes {
		call := c.now()
		have, _ := c.settings(i)
		ret := c.now()
		for _, p := range c.all {
			p.add(porcupine.Operation{ClientId: 100 + i, Input: input(""), Output: have[p.key], Call: call, Return: ret})
		}
	}
	c.agree()
	for _, p := range c.all {
		if ok, report := p.check(); !ok {
			t.Error(report)
		}
	}
	lost, acked := c.missing()
	t.Logf("%d histories, %d reads, %d writes, %d of unknown outcome, %d refused; %d settings made once, %d lost",
		len(c.all), c.reads.Load(), c.writes.Load(), c.unsure.Load(), c.refused.Load(), acked, lost)
	if len(c.all) < 5 || c.reads.Load() < 200 || c.writes.Load() < 200 || acked < 200 {
		t.Error("hardly anything was done: this run proves nothing")
	}
}
