// Command clusterbench measures commits of a cluster of three against a bare hashicorp/raft loop with the same
// store and settings, both in this process, in turns. It prints a table and writes one JSON object a line.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"
)

// bars: what a run must reach, as a ratio to the bare loop.
const (
	barRate    = 0.7 // commits per second: at least
	barLatency = 1.5 // median latency: at most
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

// row is a line of the result.
type row struct {
	Name     string  `json:"name"`
	Value    float64 `json:"value"`
	Baseline float64 `json:"baseline"`
	Ratio    float64 `json:"ratio"`
	Bar      float64 `json:"bar"`
	Holds    bool    `json:"holds"`
}

func main() {
	out := flag.String("out", "bench/cluster.json", "file for the results, one JSON object a line")
	turn := flag.Duration("turn", time.Second, "length of one turn")
	turns := flag.Int("turns", 5, "turns of each; the median counts")
	flag.Parse()
	if err := run(context.Background(), *out, *turn, *turns); err != nil {
		fmt.Fprintln(os.Stderr, "clusterbench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out string, turn time.Duration, turns int) (err error) {
	if turns < 1 || turn <= 0 {
		return errors.New("give at least one turn of some length")
	}
	dir, err := os.MkdirTemp("", "clusterbench-")
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
	var rows []row
	for _, clients := range []int{1, 64} {
		var a, b []sample
		for i := range turns + 1 {
			base, err := measure(ctx, bare, clients, turn)
			if err != nil {
				return fmt.Errorf("the bare loop: %w", err)
			}
			mine, err := measure(ctx, ours, clients, turn)
			if err != nil {
				return fmt.Errorf("the cluster: %w", err)
			}
			if i > 0 { // the first warms up
				a, b = append(a, mine), append(b, base)
			}
		}
		rows = append(rows,
			compare(fmt.Sprintf("commits per second, %d clients", clients), a, b, func(s sample) float64 { return s.rate }, barRate, false),
			compare(fmt.Sprintf("commit p50 ms, %d clients", clients), a, b, func(s sample) float64 { return s.p50 }, barLatency, true))
	}
	if err := table(os.Stdout, rows); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return write(out, rows)
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
	slices.Sort(all)
	return sample{
		rate: float64(len(all)) / elapsed.Seconds(),
		p50:  float64(all[len(all)/2].Microseconds()) / 1000,
	}, nil
}

func compare(name string, ours, bare []sample, get func(sample) float64, bar float64, atMost bool) row {
	r := row{Name: name, Value: median(ours, get), Baseline: median(bare, get), Bar: bar}
	r.Ratio = r.Value / r.Baseline
	r.Holds = r.Ratio >= bar
	if atMost {
		r.Holds = r.Ratio <= bar
	}
	return r
}

func median(s []sample, get func(sample) float64) float64 {
	v := make([]float64, len(s))
	for i := range s {
		v[i] = get(s[i])
	}
	slices.Sort(v)
	return v[len(v)/2]
}

func table(w io.Writer, rows []row) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "what\tours\tbare raft\tratio\tbar\tholds")
	for _, r := range rows {
		_, _ = fmt.Fprintf(tw, "%s\t%.2f\t%.2f\t%.2f\t%.2f\t%v\n", r.Name, r.Value, r.Baseline, r.Ratio, r.Bar, r.Holds)
	}
	return tw.Flush()
}

func write(path string, rows []row) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("writing the results: %w", err)
	}
	var text []byte
	for _, r := range rows {
		b, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("writing the results: %w", err)
		}
		text = append(append(text, b...), '\n')
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return fmt.Errorf("writing the results: %w", err)
	}
	return nil
}
