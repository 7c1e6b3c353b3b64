package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/muster-hq/muster/deploy/bench/report"
)

// The rows of this section.
const (
	row64     = "commits/s at 64 clients, one commit an entry, against the bare loop"
	row256    = "commits/s at 256 clients, one commit an entry, against the bare loop"
	rowP50    = "one client's p50 (ms) against the bare loop"
	rowPacked = "packed commits/s at 256 clients against the unpacked bare loop"
	rowOne    = "one client's commits/s against the bare loop"
	rowP5064  = "p50 (ms) at 64 clients, one commit an entry, against the bare loop"
	rowMulti  = "packed commits/s at 256 clients against the bare loop with 16 writers of 16 commands an entry"
)

func commitsSection() section {
	return section{name: "commits", budget: 5 * time.Minute, run: measureCommits, rows: []want{
		{row64, report.AtLeast(0.8), allStores},
		{row256, report.AtLeast(0.8), allStores},
		{rowP50, report.AtMost(1.25), allStores},
		{rowOne, report.None(), allStores},
		{rowP5064, report.None(), allStores},
		{rowPacked, report.AtLeast(1.5), allStores},
		{rowMulti, report.AtLeast(0.75), allStores},
	}}
}

func measureCommits(ctx context.Context, r *run) error {
	var errs []error
	for _, store := range r.stores {
		if err := commitsOf(ctx, r, store); err != nil {
			errs = append(errs, fmt.Errorf("with %s: %w", store, err))
		}
	}
	return errors.Join(errs...)
}

// turn is one side of a comparison: what it is and who does it.
type turn struct {
	name     string
	clients  int
	perEntry int
	ours     bool
}

// phase compares the bare loop with one system of ours: two at a time, since an idle system is not free.
type phase struct {
	name  string
	ours  oursArgs
	turns []turn
}

// phases are the comparisons. Names of turns are unique among all.
func phases(store string) []phase {
	return []phase{
		{"single", oursArgs{Store: store, PackBytes: 1}, []turn{
			{"bare 1", 1, 1, false}, {"single 1", 1, 1, true},
			{"bare 64", 64, 1, false}, {"single 64", 64, 1, true},
			{"bare 256", 256, 1, false}, {"single 256", 256, 1, true},
		}},
		{"packed", oursArgs{Store: store}, []turn{
			{"bare 256 again", 256, 1, false}, {"packed 256", 256, 1, true}, {"bare 16x16", 16, 16, false},
		}},
	}
}

// commitsOf measures the phases with one log store. One that breaks does not keep the other from being measured.
func commitsOf(ctx context.Context, r *run, store string) error {
	results := map[string][]loadResult{}
	var errs []error
	for _, p := range phases(store) {
		if err := r.phase(ctx, p, results); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.name, err))
		}
	}
	compare := func(row string, bar report.Bar, ours, bare, peer string, f func(loadResult) float64) {
		if len(results[ours]) == 0 || len(results[bare]) == 0 {
			return // the row is owed, and does not hold
		}
		r.add(store, peer+", "+store, report.Compare(row, of(results[ours], f), of(results[bare], f), bar))
	}
	rate := func(x loadResult) float64 { return x.Rate }
	compare(row64, report.AtLeast(0.8), "single 64", "bare 64", "bare raft", rate)
	compare(row256, report.AtLeast(0.8), "single 256", "bare 256", "bare raft", rate)
	p50 := func(x loadResult) float64 { return x.P50 }
	compare(rowP50, report.AtMost(1.25), "single 1", "bare 1", "bare raft", p50)
	compare(rowOne, report.None(), "single 1", "bare 1", "bare raft", rate)
	compare(rowP5064, report.None(), "single 64", "bare 64", "bare raft", p50)
	compare(rowPacked, report.AtLeast(1.5), "packed 256", "bare 256 again", "bare raft", rate)
	compare(rowMulti, report.AtLeast(0.75), "packed 256", "bare 16x16", "bare raft 16x16", rate)
	return errors.Join(errs...)
}

// phase takes the turns of a phase. What is complete of a phase that breaks does not count.
func (r *run) phase(ctx context.Context, p phase, results map[string][]loadResult) (err error) {
	name := p.name + "-" + p.ours.Store
	bare, err := startBare(ctx, r, "bare-"+name, p.ours.Store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bare.stop()) }()
	own, err := startOurs(ctx, r, name, 3, p.ours)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, own.stop()) }()
	found := map[string][]loadResult{}
	for round := range r.rounds() + 1 {
		var told strings.Builder
		for _, t := range p.turns {
			a := loadArgs{Clients: t.clients, PerEntry: t.perEntry, For: r.sizes.turn, Profile: r.profile(p.ours.Store + " " + t.name)}
			var res loadResult
			if t.ours {
				res, err = own.oursLoad(ctx, r, "load", a)
			} else {
				res, err = bare.load(ctx, a)
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(&told, "  %s: %.0f/s p50 %.2f ms", t.name, res.Rate, res.P50)
			if round > 0 { // the first warms up
				found[t.name] = append(found[t.name], res)
			}
		}
		r.say("commits with %s: round %d of %d%s", p.ours.Store, round, r.rounds(), told.String())
	}
	maps.Copy(results, found)
	return nil
}

// of takes one figure of each result.
func of[T any](list []T, f func(T) float64) (out []float64) {
	for _, x := range list {
		out = append(out, f(x))
	}
	return out
}
