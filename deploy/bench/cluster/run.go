package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/deploy/bench/report"
)

// The log stores of raft, as cluster.Config.RaftStore names them.
const (
	storeBolt = cluster.StoreBolt
	storeWAL  = cluster.StoreWAL
)

var allStores = []string{storeBolt, storeWAL}

// noLog is told of rows that are measured once, whatever the log stores.
const noLog = "no log store has a part in it"

// run is one run of the benchmark: where the sections put what they found.
type run struct {
	options
	dir   string // removed at the end
	began time.Time

	mu     sync.Mutex // of what follows
	rows   []row
	notes  []string // told below the table
	loads  int      // that were put on systems so far
	judged int      // histories that were checked
	bad    []string // of them, what was not linearizable
	acked  int64    // acknowledged writes that were looked for after a run
	lost   []string // of them, what was missing
}

// row is a result of a section.
type row struct {
	report.Row
	peer string // what the baseline is
}

// sizes are how much is measured.
type sizes struct {
	rounds    int           // turns of each side that count; before them one warms up
	turn      time.Duration // of commits
	p99       time.Duration // of commits before a snapshot
	rows      int           // the million
	elections time.Duration
}

func fullSizes() sizes {
	return sizes{rounds: 5, turn: 1500 * time.Millisecond, p99: 3 * time.Second, rows: 1_000_000, elections: 10 * time.Minute}
}

func quickSizes() sizes {
	return sizes{rounds: 1, turn: time.Second, p99: time.Second, rows: 50_000, elections: 20 * time.Second}
}

// rounds is how many turns of each side count; before them one warms up.
func (r *run) rounds() int { return r.sizes.rounds }

// pick is the first of two values in a measurement, the second in a quick try.
func pick[T any](r *run, full, quick T) T {
	if r.quick {
		return quick
	}
	return full
}

// profile is a file for a CPU profile of that name, "" when none are wanted. The last one of a name stays.
func (r *run) profile(name string) string {
	if r.profiles == "" {
		return ""
	}
	return filepath.Join(r.profiles, name+".pprof")
}

// say tells how far the run is, on standard error.
func (r *run) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%6s  %s\n", time.Since(r.began).Round(time.Second), fmt.Sprintf(format, args...))
}

// add puts a result into the table. Peer says what the baseline is, "" where there is none.
func (r *run) add(store, peer string, result report.Row) {
	result.Store = store
	r.mu.Lock()
	r.rows = append(r.rows, row{result, peer})
	r.mu.Unlock()
	hold := "holds"
	if !result.Holds {
		hold = "DOES NOT HOLD"
	}
	r.say("%s%s: %.4g against %.4g, ratio %.2f, bar %s: %s %s", result.Name, in(store), result.Value, result.Baseline, result.Ratio, result.Bar, hold, result.Note)
}

func in(store string) string {
	if store == "" {
		return ""
	}
	return " (" + store + ")"
}

// note adds a line to what is told below the table.
func (r *run) note(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	r.mu.Lock()
	r.notes = append(r.notes, line)
	r.mu.Unlock()
	r.say("%s", line)
}

// folder makes a folder below the run's.
func (r *run) folder(name string) (string, error) {
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return "", fmt.Errorf("making a folder: %w", err)
	}
	return path, nil
}

// section runs one section, and puts a row that does not hold in the place of each that it owes and did not give.
func (r *run) section(ctx context.Context, i int, s section) error {
	var rest time.Duration
	for _, later := range r.sections[i:] {
		rest += later.budget
	}
	r.say("== %s: up to %s; the rest of the run takes up to %s, %s are left", s.name, s.budget, rest, (runLimit - time.Since(r.began)).Round(time.Second))
	err := ctx.Err()
	if err == nil {
		err = r.inFolder(s.name, func() error { return s.run(ctx, r) })
	}
	if err != nil {
		err = fmt.Errorf("section %s: %w", s.name, errors.Join(err, context.Cause(ctx)))
		r.say("BROKEN: %v", err)
	}
	for _, w := range s.rows {
		stores := w.stores
		if len(stores) == 0 {
			stores = []string{""}
		}
		for _, store := range stores {
			given := slices.ContainsFunc(r.rows, func(x row) bool { return x.Name == w.name && x.Store == store })
			if given || store != "" && !slices.Contains(r.stores, store) {
				continue
			}
			missing := report.Row{Name: w.name, Bar: w.bar, Note: "not measured"}
			if err != nil {
				missing.Note += ": " + firstLine(err)
			}
			r.add(store, "", missing)
		}
	}
	return err
}

// inFolder runs fn with a folder of its own as the run's, and removes it: all sections together would fill a disk.
func (r *run) inFolder(name string, fn func() error) error {
	whole := r.dir
	r.dir = filepath.Join(whole, name)
	defer func() { r.dir = whole }()
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	err := fn()
	return errors.Join(err, os.RemoveAll(r.dir))
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// The rows that all sections feed.
const (
	rowViolations = "linearizability violations in all runs"
	rowMissing    = "acknowledged writes missing"
)

// verdicts makes the two rows that all sections feed. A run that checked nothing holds nothing.
func (r *run) verdicts() {
	none := report.AtMost(0)
	v := report.Against(rowViolations, float64(len(r.bad)), none)
	if r.judged == 0 {
		v.Holds, v.Note = false, "no history was checked"
	}
	r.add("", "", v)
	m := report.Against(rowMissing, float64(len(r.lost)), none)
	if r.acked == 0 {
		m.Holds, m.Note = false, "no acknowledged write was looked for"
	}
	r.add("", "", m)
	r.note("%d histories were checked; %d acknowledged writes were looked for", r.judged, r.acked)
	for _, text := range slices.Concat(r.bad, r.lost)[:min(20, len(r.bad)+len(r.lost))] {
		r.note("WRONG: %s", text)
	}
}

// counted notes that acknowledged writes were looked for after a run, and what was missing.
func (r *run) counted(acked int64, missing ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acked += acked
	r.lost = append(r.lost, missing...)
}
