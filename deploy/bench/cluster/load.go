package main

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// loadArgs say what clients do for a time.
type loadArgs struct {
	Clients  int           `json:"clients"`
	For      time.Duration `json:"for"`
	PerEntry int           `json:"perEntry,omitempty"` // of the bare loop: commands in one entry; 0 means 1
	Pace     time.Duration `json:"pace,omitempty"`     // a client begins a commit so long after the one before; 0 means at once
	Profile  string        `json:"profile,omitempty"`  // file for a CPU profile
}

// loadResult is what came of it.
type loadResult struct {
	Rate    float64 `json:"rate"` // commits a second
	P50     float64 `json:"p50"`  // milliseconds, of one commit or entry
	P99     float64 `json:"p99"`
	Max     float64 `json:"max"`
	Commits int64   `json:"commits"` // acknowledged
	Unsure  int64   `json:"unsure"`  // of unknown outcome
	Failed  int64   `json:"failed"`  // told not to have happened
}

// outcome of one try of a client.
type outcome int

const (
	done   outcome = iota
	unsure         // may have happened
	failed         // has not happened
)

// drive lets clients work until the time is over, or, if that is not nil, until over is closed. Commit says what came of it; an error ends
// the load, since an answer was wrong.
func drive(ctx context.Context, a loadArgs, over <-chan struct{}, commit func(ctx context.Context, client int) (outcome, error)) (loadResult, error) {
	var wg sync.WaitGroup
	var stop atomic.Bool
	if over == nil {
		timer := time.AfterFunc(a.For, func() { stop.Store(true) })
		defer timer.Stop()
	} else {
		go func() { <-over; stop.Store(true) }()
	}
	took := make([]histogram, a.Clients)
	counts := make([][3]int64, a.Clients)
	errs := make([]error, a.Clients)
	began := time.Now()
	for c := range a.Clients {
		wg.Go(func() {
			for next := began.Add(a.Pace * time.Duration(c) / time.Duration(a.Clients)); !stop.Load(); {
				if a.Pace > 0 {
					<-time.After(time.Until(next))
					next = next.Add(a.Pace)
				}
				t := time.Now()
				o, err := commit(ctx, c)
				if err != nil {
					errs[c] = err
					stop.Store(true)
					return
				}
				counts[c][o]++
				if o == done {
					took[c].add(time.Since(t))
				}
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(began)
	var all histogram
	var r loadResult
	for c := range a.Clients {
		all.merge(&took[c])
		r.Commits += counts[c][done]
		r.Unsure += counts[c][unsure]
		r.Failed += counts[c][failed]
	}
	r.Rate = float64(r.Commits) / elapsed.Seconds()
	r.P50, r.P99, r.Max = all.quantile(0.5), all.quantile(0.99), all.quantile(1)
	return r, errors.Join(errs...)
}

// histogram counts durations in buckets that are half a percent wide, from a microsecond to some minutes.
type histogram struct {
	counts [buckets]int64
	n      int64
}

const (
	buckets = 4096
	growth  = 1.005
)

var logGrowth = math.Log(growth)

func (h *histogram) add(d time.Duration) {
	us := max(float64(d)/1e3, 1)
	h.counts[min(int(math.Log(us)/logGrowth), buckets-1)]++
	h.n++
}

func (h *histogram) merge(o *histogram) {
	for i, c := range o.counts {
		h.counts[i] += c
	}
	h.n += o.n
}

// quantile is in milliseconds, 0 of nothing.
func (h *histogram) quantile(q float64) float64 {
	need, sum := int64(math.Ceil(q*float64(h.n))), int64(0)
	for i, c := range h.counts {
		if sum += c; c > 0 && sum >= need {
			return math.Pow(growth, float64(i)+0.5) / 1e3
		}
	}
	return 0
}
