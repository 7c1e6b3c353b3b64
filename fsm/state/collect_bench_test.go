package state_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/muster-hq/muster/fsm/state"
)

// noUpdates takes what a collection would write and does nothing.
type noUpdates struct{}

func (noUpdates) Update(context.Context, func(*state.Tx) error) error { return nil }

// BenchmarkCollect looks through many rows for contents that none names, while clients commit as fast as they can: what
// one look takes, and the 99th percentile of the commits with and without it. Run it with -benchtime 1x.
func BenchmarkCollect(b *testing.B) {
	st := fillStore(b, fatRows())
	index := st.AppliedIndex()
	apply := func(list []*state.Commit) {
		index++
		batch := st.Batch()
		batch.Entry(index, int64(index))
		for _, c := range list {
			if res, err := batch.Commit(c); err != nil || res.Outcome != state.Applied {
				b.Error(res, err)
			}
		}
		batch.Publish()
	}
	mark := &state.Commit{Base: index, Schema: state.Schema, Writes: []state.Write{{Table: "_unnamed", Key: "x", Value: []byte{2}, Fresh: true}}}
	mark.ID[15] = 1
	apply([]*state.Commit{mark})
	value := fatRows()[0].Value
	type asked struct {
		c    *state.Commit
		done chan struct{}
	}
	queue := make(chan asked, 64)
	load := func(stop <-chan struct{}) time.Duration {
		over := make(chan []time.Duration)
		for n := range 64 {
			go func() {
				var took []time.Duration
				for i := 0; ; i++ {
					select {
					case <-stop:
						over <- took
						return
					default:
					}
					began := time.Now()
					c := &state.Commit{Base: st.AppliedIndex(), Schema: state.Schema, Writes: []state.Write{{Table: "fat", Key: fmt.Sprintf("%08d", n), Value: value}}}
					copy(c.ID[:], fmt.Sprintf("%02d%p%d", n, &stop, i))
					data := c.Encode(nil)
					for range 20 { // as much as a client computes besides
						if err := state.CheckCommit(data); err != nil {
							b.Error(err)
						}
					}
					a := asked{c, make(chan struct{})}
					queue <- a
					<-a.done
					took = append(took, time.Since(began))
				}
			}()
		}
		var all []time.Duration
		for left := 64; left > 0; {
			select {
			case took := <-over:
				all, left = append(all, took...), left-1
			case a := <-queue:
				list := []asked{a}
				for len(queue) > 0 {
					list = append(list, <-queue)
				}
				var commits []*state.Commit
				for _, a := range list {
					commits = append(commits, a.c)
				}
				apply(commits)
				for _, a := range list {
					close(a.done)
				}
			}
		}
		slices.Sort(all)
		return all[len(all)*99/100]
	}
	for b.Loop() {
		stop := make(chan struct{})
		time.AfterFunc(3*time.Second, func() { close(stop) })
		alone := load(stop)
		stop = make(chan struct{})
		began, looks := time.Now(), 0
		go func() {
			defer close(stop)
			for ; time.Since(began) < 3*time.Second; looks++ {
				if _, err := state.CollectContents(context.Background(), noUpdates{}, st.View(), time.Hour); err != nil {
					b.Error(err)
				}
			}
		}()
		beside := load(stop)
		b.ReportMetric(time.Since(began).Seconds()*1000/float64(looks), "ms/look")
		b.ReportMetric(float64(alone.Microseconds())/1000, "p99-ms")
		b.ReportMetric(float64(beside.Microseconds())/1000, "p99-ms-beside")
	}
}
