package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/muster-hq/muster/deploy/bench/report"
)

const rowElections = "elections during 10 minutes of the packed load"

// Of the elections section.
const (
	electionsClients = 256
	// A machine that stalls for as long as the leader's lease as shipped takes it from anybody. An election is put
	// down to that when the stall ended so shortly before the new term was opened, or began within it.
	stallExcuses = 125 * time.Millisecond
	stallBefore  = 3 * time.Second
)

func electionsSection() section {
	return section{name: "elections", budget: 11 * time.Minute, run: measureElections, rows: []want{
		{rowElections, report.AtMost(0), allStores},
	}}
}

// measureElections loads a cluster of each log store, all at the same time: that is harder for each of them, and takes
// the time of one.
func measureElections(ctx context.Context, r *run) error {
	var wg sync.WaitGroup
	errs := make([]error, len(r.stores))
	for i, store := range r.stores {
		wg.Go(func() {
			if err := r.electionsOf(ctx, store); err != nil {
				errs[i] = fmt.Errorf("with %s: %w", store, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// electionsOf puts the packed load on three nodes with a log store, and time-outs as shipped.
func (r *run) electionsOf(ctx context.Context, store string) (err error) {
	watcher, err := spawn(ctx, "bystander", "the bystander", nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, watcher.end()) }()
	s, err := startOurs(ctx, r, "elections-"+store, 3, oursArgs{Store: store, Shipped: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	lead, err := s.leader(ctx)
	if err != nil {
		return err
	}
	var first, last nodeState
	if err := s.nodes[lead].ask(ctx, "state", nil, &first); err != nil {
		return err
	}
	began, length := clock(), r.sizes.elections
	var commits int64
	for piece := range 10 { // so that the histories are checked, and the writes counted, also meanwhile
		res, err := s.oursLoad(ctx, r, "load", loadArgs{Clients: electionsClients, For: length / 10})
		if err != nil {
			return err
		}
		commits += res.Commits
		r.say("elections with %s: %d of 10 parts, %.0f commits/s, p50 %.1f ms, p99 %.1f ms, longest %.0f ms, %d of unknown outcome, %d refused", store, piece+1, res.Rate, res.P50, res.P99, res.Max, res.Unsure, res.Failed)
	}
	took := time.Duration(clock() - began)
	if err := s.nodes[lead].ask(ctx, "state", nil, &last); err != nil {
		return err
	}
	var seen stallReport
	if err := watcher.ask(ctx, "report", nil, &seen); err != nil {
		return err
	}
	r.add(store, "", electionsRow(r, store, first, last, seen, began))
	r.note("elections%s: %s of load, %d commits acknowledged; the bystander's longest stall was %s, %d of %s and more",
		in(store), took.Round(time.Second), commits, seen.Longest.Over.Round(100*time.Microsecond), len(seen.Stalls), stallNoted)
	return nil
}

// electionsRow counts the terms that came. A term that was never opened counts, too, and has no excuse.
func electionsRow(r *run, store string, first, last nodeState, seen stallReport, began int64) report.Row {
	elections := int(last.Term - first.Term)
	excused := 0
	for _, t := range last.Terms {
		if t.Term <= first.Term {
			continue
		}
		s, ok := excuse(t, seen.Stalls)
		if ok {
			excused++
		}
		r.note("elections%s: term %d was opened after %s; the machine's longest stall in the %s before was %s", in(store), t.Term,
			time.Duration(t.At-began).Round(time.Millisecond), stallBefore, s.Over.Round(time.Millisecond))
	}
	row := report.Against(rowElections, float64(max(0, elections-excused)), report.AtMost(0))
	if excused > 0 {
		row.Note = fmt.Sprintf("%d more when the machine itself stalled", excused)
	}
	return row
}

// excuse is the longest stall that the election could come from, and whether it was long enough.
func excuse(t termSeen, stalls []stall) (longest stall, ok bool) {
	for _, s := range stalls {
		if s.End > t.At-int64(stallBefore) && s.End-int64(s.Over) < t.At && s.Over > longest.Over {
			longest = s
		}
	}
	return longest, longest.Over >= stallExcuses
}
