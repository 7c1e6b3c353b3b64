package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// The sampler reads and writes a few registers through its node at a slow pace while others load the cluster, and
// keeps what it saw. The nodes of a cluster work on the same registers, for a short time on each.
const (
	samplePace    = 25 * time.Millisecond
	sampleObjects = 2
	sampleTime    = 600 * time.Millisecond // a register is used so long
	samplePatient = 2 * time.Second        // for one operation
)

type sampleRow struct {
	Name  string `json:"name"`
	Value int64  `json:"value"`
}

// Table implements state.Row.
func (*sampleRow) Table() string { return "benchsample" }

// Key implements state.Row.
func (r *sampleRow) Key() string { return r.Name }

// Ranges implements state.Row.
func (*sampleRow) Ranges() []string { return nil }

// Parent implements state.Row.
func (*sampleRow) Parent() (string, string) { return "", "" }

// sampleArgs tell samplers apart.
type sampleArgs struct {
	Client int    `json:"client"` // unique in the cluster
	Run    string `json:"run"`    // unique among all loads, also of processes that were before
}

type sampler struct {
	node *cluster.Node
	stop context.CancelFunc // nil when idle
	wg   sync.WaitGroup
	next int64
	ops  []op
	err  error
}

func newSampler(n *cluster.Node) *sampler { return &sampler{node: n} }

func (s *sampler) begin(a sampleArgs) error {
	if s.stop != nil {
		return errors.New("the sampler is at work")
	}
	var ctx context.Context
	ctx, s.stop = context.WithCancel(context.Background())
	s.ops, s.err = nil, nil
	s.wg.Go(func() { s.err = s.work(ctx, a) })
	return nil
}

// end stops the sampler and gives what it saw.
func (s *sampler) end() ([]op, error) {
	if s.stop == nil {
		return nil, nil
	}
	s.stop()
	s.wg.Wait()
	s.stop = nil
	return s.ops, s.err
}

func (s *sampler) work(ctx context.Context, a sampleArgs) error {
	tick := time.NewTicker(samplePace)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		key := fmt.Sprintf("%s-%d-%d", a.Run, clock()/int64(sampleTime), rand.IntN(sampleObjects))
		o := op{Client: a.Client, Key: key, Call: clock()}
		if rand.IntN(2) == 0 {
			s.next++
			o.Write = int64(a.Client+1)<<40 + s.next
		}
		// Not the sampler's context: an operation that is under way is brought to its end.
		err := s.one(&o)
		o.Return = clock()
		switch model.CodeOf(err) {
		case "":
		case model.Unknown:
			o.Unknown = true
		case model.Unavailable:
			continue // it was told not to have happened: had it all the same, others would see a value that nobody wrote
		default:
			return fmt.Errorf("sampling %s: %w", key, err)
		}
		s.ops = append(s.ops, o)
	}
}

func (s *sampler) one(o *op) error {
	ctx, cancel := context.WithTimeout(context.Background(), samplePatient)
	defer cancel()
	see := func(r state.Reader) {
		o.Seen = 0
		if row, ok := state.Get[sampleRow](r, o.Key); ok {
			o.Seen = row.Value
		}
	}
	if o.Write == 0 {
		v, err := s.node.View(ctx)
		if err == nil {
			see(v)
		}
		return err
	}
	return s.node.Update(ctx, func(tx *state.Tx) error {
		see(tx)
		return state.Put(tx, &sampleRow{o.Key, o.Write})
	})
}
