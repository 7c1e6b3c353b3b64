package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// bystander does nothing but to sleep, and notes when it was not woken in time: then the machine itself stalled, and
// nobody's time-outs could hold. It is a process of its own, of normal priority.
type bystander struct {
	stop chan struct{}
	wg   sync.WaitGroup

	mu      sync.Mutex
	longest stall
	stalls  []stall // those of stallNoted and more
}

// stall is a sleep that took too long. End is of clock.
type stall struct {
	End  int64         `json:"end"`
	Over time.Duration `json:"over"` // beyond the time that was asked for
}

const (
	nap        = 5 * time.Millisecond
	stallNoted = 20 * time.Millisecond
)

func newBystander(context.Context, json.RawMessage) (part, error) {
	b := &bystander{stop: make(chan struct{})}
	b.wg.Go(b.watch)
	return b, nil
}

func (b *bystander) watch() {
	for {
		began := clock()
		select {
		case <-time.After(nap):
		case <-b.stop:
			return
		}
		end := clock()
		s := stall{End: end, Over: time.Duration(end-began) - nap}
		b.mu.Lock()
		if s.Over > b.longest.Over {
			b.longest = s
		}
		if s.Over >= stallNoted {
			b.stalls = append(b.stalls, s)
		}
		b.mu.Unlock()
	}
}

// stallReport is what a bystander saw.
type stallReport struct {
	Longest stall   `json:"longest"`
	Stalls  []stall `json:"stalls"`
}

func (b *bystander) do(_ context.Context, what string, _ json.RawMessage) (any, error) {
	if what != "report" {
		return nil, fmt.Errorf("a bystander cannot %s", what)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return stallReport{b.longest, b.stalls}, nil
}

func (b *bystander) close() error {
	close(b.stop)
	b.wg.Wait()
	return nil
}
