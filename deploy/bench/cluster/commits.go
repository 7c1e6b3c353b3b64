package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/muster-hq/muster/deploy/bench/report"
)

// The rows of this section.
const (
	row64     = "commits/s at 64 clients, one commit an entry, against the bare loop"
	row256    = "commits/s at 256 clients, one commit an entry, against the bare loop"
	rowP50    = "one client's p50 (ms) against the bare loop"
	rowPacked = "packed commits/s at 256 clients against the unpacked bare loop"
	rowMulti  = "packed commits/s at 256 clients against the bare loop with 16 writers of 16 commands an entry"
)

func commitsSection() section {
	return section{name: "commits", budget: 4 * time.Minute, run: measureCommits, rows: []want{
		{row64, report.AtLeast(0.8), allStores},
		{row256, report.AtLeast(0.8), allStores},
		{rowP50, report.AtMost(1.25), allStores},
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
	system   int // bare, single or packed
}

const (
	bareLoop = iota
	single   // ours, one commit an entry
	packed   // ours, as shipped
)

var commitTurns = []turn{
	{"bare 1", 1, 1, bareLoop}, {"single 1", 1, 1, single},
	{"bare 64", 64, 1, bareLoop}, {"single 64", 64, 1, single},
	{"bare 256", 256, 1, bareLoop}, {"single 256", 256, 1, single},
	{"bare 16x16", 16, 16, bareLoop}, {"packed 256", 256, 1, packed},
}

func commitsOf(ctx context.Context, r *run, store string) (err error) {
	var systems [3]*system
	defer func() {
		for _, s := range systems {
			if s != nil {
				err = errors.Join(err, s.stop())
			}
		}
	}()
	var starts [3]error // one that cannot start does not keep the others from being measured
	systems[bareLoop], starts[bareLoop] = startBare(ctx, r, "bare-"+store, store)
	systems[single], starts[single] = startOurs(ctx, r, "single-"+store, 3, oursArgs{Store: store, PackBytes: 1})
	systems[packed], starts[packed] = startOurs(ctx, r, "packed-"+store, 3, oursArgs{Store: store})
	if systems[bareLoop] == nil || systems[single] == nil && systems[packed] == nil {
		return errors.Join(starts[:]...)
	}
	results := map[string][]loadResult{}
	for round := range r.rounds() + 1 {
		for _, t := range commitTurns {
			a := loadArgs{Clients: t.clients, PerEntry: t.perEntry, For: r.sizes.turn}
			a.Profile = r.profile(store + " " + t.name)
			s := systems[t.system]
			if s == nil {
				continue
			}
			var res loadResult
			if t.system == bareLoop {
				res, err = s.load(ctx, a)
			} else {
				res, err = s.oursLoad(ctx, r, "load", a)
			}
			if err != nil {
				return err
			}
			if round > 0 {
				results[t.name] = append(results[t.name], res)
			}
		}
		r.say("commits with %s: round %d of %d", store, round, r.rounds())
	}
	rates := func(name string) []float64 { return of(results[name], func(x loadResult) float64 { return x.Rate }) }
	p50s := func(name string) []float64 { return of(results[name], func(x loadResult) float64 { return x.P50 }) }
	peer := "bare raft, " + store
	r.add(store, peer, report.Compare(row64, rates("single 64"), rates("bare 64"), report.AtLeast(0.8)))
	r.add(store, peer, report.Compare(row256, rates("single 256"), rates("bare 256"), report.AtLeast(0.8)))
	r.add(store, peer, report.Compare(rowP50, p50s("single 1"), p50s("bare 1"), report.AtMost(1.25)))
	r.add(store, peer, report.Compare(rowPacked, rates("packed 256"), rates("bare 256"), report.AtLeast(1.5)))
	r.add(store, peer+", 16 an entry", report.Compare(rowMulti, rates("packed 256"), rates("bare 16x16"), report.AtLeast(0.75)))
	return errors.Join(starts[:]...)
}

// of takes one figure of each result.
func of[T any](list []T, f func(T) float64) (out []float64) {
	for _, x := range list {
		out = append(out, f(x))
	}
	return out
}
