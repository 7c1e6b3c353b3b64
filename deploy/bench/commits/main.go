// Command commits measures commits of a cluster of three against a bare hashicorp/raft loop with the same
// store and settings, both in this process, in turns. It prints a table and writes one JSON object a line.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/muster-hq/muster/deploy/bench/report"
)

// bars: what a run must reach, as a ratio to the bare loop.
const (
	barRate    = 0.8  // commits per second: at least
	barLatency = 1.25 // median latency: at most
)

// system is one of the two that are measured. Commit must be safe for concurrent use.
type system interface {
	ready() error // before each turn
	commit(ctx context.Context, client, seq int) error
	close() error
}

// sample is one turn.
type sample struct {
	rate float64 // commits per second
	p50  float64 // milliseconds
}

func main() {
	out := flag.String("out", "bench/commits.json", "file for the results, one JSON object a line")
	turn := flag.Duration("turn", time.Second, "length of one turn")
	turns := flag.Int("turns", 5, "turns of each; the median counts")
	profiles := flag.String("profile", "", "folder for CPU profiles, one a turn; this slows both sides")
	flag.Parse()
	if err := run(context.Background(), *out, *profiles, *turn, *turns); err != nil {
		fmt.Fprintln(os.Stderr, "commits:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out, profiles string, turn time.Duration, turns int) (err error) {
	if turns < 1 || turn <= 0 {
		return errors.New("give at least one turn of some length")
	}
	dir, err := os.MkdirTemp("", "muster-commits-")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	bare, err := newBare(filepath.Join(dir, "bare"))
	if err != nil {
		return fmt.Errorf("the bare loop: %w", err)
	}
	defer func() { err = errors.Join(err, bare.close()) }()
	ours, err := newOurs(ctx, filepath.Join(dir, "ours"))
	if err != nil {
		return fmt.Errorf("the cluster: %w", err)
	}
	defer func() { err = errors.Join(err, ours.close()) }()
	t := &taker{turn: turn, profiles: profiles}
	var rows []report.Row
	for _, clients := range []int{1, 64} {
		var a, b []sample
		for i := range turns + 1 {
			base, err := t.take(ctx, bare, fmt.Sprintf("bare-%d-%d", clients, i), clients)
			if err != nil {
				return fmt.Errorf("the bare loop: %w", err)
			}
			mine, err := t.take(ctx, ours, fmt.Sprintf("ours-%d-%d", clients, i), clients)
			if err != nil {
				return fmt.Errorf("the cluster: %w", err)
			}
			if i > 0 { // the first warms up
				a, b = append(a, mine), append(b, base)
			}
		}
		rows = append(rows,
			report.Compare(fmt.Sprintf("commits per second, %d clients", clients), rates(a), rates(b), report.AtLeast(barRate)),
			report.Compare(fmt.Sprintf("commit p50 ms, %d clients", clients), p50s(a), p50s(b), report.AtMost(barLatency)))
	}
	if err := report.Print(os.Stdout, "bare raft", rows); err != nil {
		return err
	}
	return report.Write(out, rows)
}

func rates(s []sample) (out []float64) {
	for _, x := range s {
		out = append(out, x.rate)
	}
	return out
}

func p50s(s []sample) (out []float64) {
	for _, x := range s {
		out = append(out, x.p50)
	}
	return out
}

// taker takes turns.
type taker struct {
	turn     time.Duration
	profiles string
	spoiled  int
}

// maxSpoiled is how many turns of a run may be taken again, since a busy machine held up a leader until it lost
// its office in the middle of one.
const maxSpoiled = 3

func (t *taker) take(ctx context.Context, s system, name string, clients int) (sample, error) {
	for {
		got, err := profiled(t.profiles, name, func() (sample, error) { return measure(ctx, s, clients, t.turn) })
		if err == nil || t.spoiled == maxSpoiled || !errors.Is(err, raft.ErrLeadershipLost) && !errors.Is(err, raft.ErrNotLeader) {
			return got, err
		}
		t.spoiled++
		fmt.Fprintf(os.Stderr, "a turn of %s is taken again: %v\n", name, err)
	}
}

// profiled does one turn; with a folder it leaves a CPU profile of it there.
func profiled(dir, name string, turn func() (sample, error)) (s sample, err error) {
	if dir == "" {
		return turn()
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return s, fmt.Errorf("profiling: %w", err)
	}
	f, err := os.Create(filepath.Join(dir, name+".pprof"))
	if err != nil {
		return s, fmt.Errorf("profiling: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := pprof.StartCPUProfile(f); err != nil {
		return s, fmt.Errorf("profiling: %w", err)
	}
	defer pprof.StopCPUProfile()
	return turn()
}

// measure lets clients commit one after the other for a time.
func measure(ctx context.Context, s system, clients int, turn time.Duration) (sample, error) {
	if err := s.ready(); err != nil {
		return sample{}, err
	}
	var wg sync.WaitGroup
	var stop atomic.Bool
	took := make([][]time.Duration, clients)
	errs := make([]error, clients)
	begin := time.Now()
	for c := range clients {
		wg.Go(func() {
			for seq := 0; !stop.Load(); seq++ {
				t := time.Now()
				if errs[c] = s.commit(ctx, c, seq); errs[c] != nil {
					return
				}
				took[c] = append(took[c], time.Since(t))
			}
		})
	}
	timer := time.NewTimer(turn)
	<-timer.C
	stop.Store(true)
	wg.Wait()
	elapsed := time.Since(begin)
	if err := errors.Join(errs...); err != nil {
		return sample{}, err
	}
	all := slices.Concat(took...)
	return sample{rate: float64(len(all)) / elapsed.Seconds(), p50: report.Quantile(all, 0.5)}, nil
}
