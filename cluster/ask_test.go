package cluster_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
	"github.com/muster-hq/muster/fsm/model"
)

// answering answers as the node that it was asked at, and may hold a question until its gate opens.
type answering struct {
	mu   sync.Mutex
	err  map[string]error
	gate map[string]chan struct{}
	came chan string // names of nodes that were asked
}

func (a *answering) config(_ int, cfg *cluster.Config) {
	name := cfg.Name
	cfg.Answer = func(ctx context.Context, question []byte) ([]byte, error) {
		a.mu.Lock()
		err, gate := a.err[name], a.gate[name]
		a.mu.Unlock()
		select {
		case a.came <- name:
		default:
		}
		if gate != nil {
			select {
			case <-gate:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if err != nil {
			return nil, err
		}
		return append([]byte(name+" "), question...), nil
	}
}

// TestAskLeader asks at every node; each answer comes from the leader, and refusals come back as they are.
func TestAskLeader(t *testing.T) {
	t.Parallel()
	a := &answering{err: map[string]error{}, gate: map[string]chan struct{}{}, came: make(chan string, 100)}
	c := clustertest.New(t, 3, clustertest.Steady(), clustertest.WithConfig(a.config))
	want := c.Leader().Name() + " what?"
	for _, n := range c.Nodes() {
		if got, err := n.AskLeader(t.Context(), []byte("what?")); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", n.Name(), got, err, want)
		}
	}
	a.mu.Lock()
	a.err[c.Leader().Name()] = model.Errorf(model.Conflict, "it is down")
	a.mu.Unlock()
	for _, n := range c.Nodes() {
		if _, err := n.AskLeader(t.Context(), nil); model.CodeOf(err) != model.Conflict || err.Error() != "it is down" {
			t.Errorf("%s: %v", n.Name(), err)
		}
	}
	// Without an answer it ends with the asker's patience.
	a.mu.Lock()
	a.gate[c.Leader().Name()] = make(chan struct{})
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := c.Node(c.FollowerIndex()).AskLeader(ctx, nil); model.CodeOf(err) != model.Unavailable {
		t.Errorf("without an answer: %v", err)
	}
}

// TestAskOverAChangeOfLeader: the leader dies, or stops to answer, while a question is out; the next one answers it.
func TestAskOverAChangeOfLeader(t *testing.T) {
	t.Parallel()
	a := &answering{err: map[string]error{}, gate: map[string]chan struct{}{}, came: make(chan string, 100)}
	c := clustertest.New(t, 3, clustertest.WithConfig(a.config))
	was := c.LeaderIndex()
	name := c.Node(was).Name()
	a.mu.Lock()
	a.gate[name] = make(chan struct{})
	a.mu.Unlock()
	asker := c.Node(c.FollowerIndex())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	type result struct {
		answer []byte
		err    error
	}
	done := make(chan result, 1)
	go func() {
		b, err := asker.AskLeader(ctx, []byte("what?"))
		done <- result{b, err}
	}()
	for at := range a.came {
		if at == name {
			break
		}
	}
	c.Kill(was)
	select {
	case r := <-done:
		if want := c.Leader().Name() + " what?"; r.err != nil || string(r.answer) != want {
			t.Errorf("%q, %v; want %q", r.answer, r.err, want)
		}
	case <-ctx.Done():
		t.Fatal("the question hangs")
	}
	// A leader that cannot answer for now, with an error that has no code, is asked again.
	now := c.Leader().Name()
	a.mu.Lock()
	a.err[now] = errors.New("not yet")
	a.mu.Unlock()
	time.AfterFunc(50*time.Millisecond, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.err, now)
	})
	if b, err := asker.AskLeader(ctx, []byte("x")); err != nil || len(b) == 0 {
		t.Errorf("%q, %v", b, err)
	}
}
