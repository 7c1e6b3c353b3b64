// Command roundtrip measures the main job as a client feels it: a setting is put through REST, on three nodes
// that are three processes, until the change that it caused is answered as done and the agent's file has the
// new content. The baseline, in turns with it, is a bare AMQP round trip: an order to a queue of a hub, a reply
// to another, over TLS on the loopback.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/muster-hq/muster/deploy/bench/report"
)

// runLimit is how long the whole may take: some ten times of what it takes when all is well.
const runLimit = 3 * time.Minute

// opLimit is how long one operation may take before the benchmark is broken.
const opLimit = 20 * time.Second

func main() {
	bin := flag.String("bin", "bin", "folder with the built programs muster and muster-agent")
	out := flag.String("out", "bench/roundtrip.json", "file for the results, one JSON object a line")
	turns := flag.Int("turns", 7, "turns of each side; the median counts")
	ops := flag.Int("ops", 40, "operations of one turn")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, runLimit, fmt.Errorf("it took longer than %s", runLimit))
	defer cancel()
	if err := run(ctx, *bin, *out, *turns, *ops); err != nil {
		fmt.Fprintln(os.Stderr, "roundtrip:", errors.Join(err, context.Cause(ctx)))
		os.Exit(1)
	}
}

func run(ctx context.Context, bin, out string, turns, ops int) (err error) {
	if turns < 1 || ops < 1 {
		return errors.New("give at least one turn of at least one operation")
	}
	if bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "muster-roundtrip-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	base, err := newBare(ctx)
	if err != nil {
		return fmt.Errorf("the bare round trip: %w", err)
	}
	defer func() { err = errors.Join(err, base.close()) }()
	ours, err := newRest(ctx, bin, dir)
	if err != nil {
		return fmt.Errorf("the site: %w", err)
	}
	defer func() { err = errors.Join(err, ours.close()) }()
	var r results
	for turn := range turns + 1 {
		var mine, theirs []measured
		for range ops {
			took, err := base.roundTrip(ctx)
			if err != nil {
				return fmt.Errorf("the bare round trip: %w", err)
			}
			theirs = append(theirs, measured{done: took})
		}
		for range ops {
			m, err := ours.roundTrip(ctx)
			if err != nil {
				return fmt.Errorf("the round trip by REST: %w", err)
			}
			mine = append(mine, m)
		}
		if turn > 0 { // the first warms up
			r.add(mine, theirs)
		}
	}
	rows := r.rows()
	if err := report.Print(os.Stdout, "bare AMQP", rows); err != nil {
		return err
	}
	return report.Write(out, rows)
}

// measured is one operation: how long until the PUT was answered, and until the change was seen done.
type measured struct{ put, done time.Duration }

// results are quantiles of turns.
type results struct{ done50, done95, put50, base50, base95 []float64 }

func (r *results) add(ours, base []measured) {
	done := func(m measured) time.Duration { return m.done }
	put := func(m measured) time.Duration { return m.put }
	r.done50 = append(r.done50, quantile(ours, done, 0.5))
	r.done95 = append(r.done95, quantile(ours, done, 0.95))
	r.put50 = append(r.put50, quantile(ours, put, 0.5))
	r.base50 = append(r.base50, quantile(base, done, 0.5))
	r.base95 = append(r.base95, quantile(base, done, 0.95))
}

func quantile(all []measured, get func(measured) time.Duration, q float64) float64 {
	v := make([]time.Duration, len(all))
	for i, m := range all {
		v[i] = get(m)
	}
	return report.Quantile(v, q)
}

func (r *results) rows() []report.Row {
	return []report.Row{
		report.Compare("one-file change by REST to the agent's reply, p50 ms", r.done50, r.base50, report.None()),
		report.Compare("one-file change by REST to the agent's reply, p95 ms", r.done95, r.base95, report.None()),
		report.Compare("of it until the PUT is answered, p50 ms", r.put50, r.base50, report.None()),
	}
}
