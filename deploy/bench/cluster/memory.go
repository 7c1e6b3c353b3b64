package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/muster-hq/muster/deploy/bench/report"
)

// The rows of this section.
const (
	rowBytes    = "bytes a row with three indexes against go-memdb's own"
	rowOverhead = "bytes a row with three indexes, its value of 1 KiB left out, against go-memdb's own"
	rowSnapshot = "snapshot of a million rows (one node), s, against iterate + encode + fsync"
	rowRestart  = "restart from it, s, against insert time"
	rowP99      = "commits' p99 (ms) while that snapshot is written against p99 before"
)

func memorySection() section {
	return section{name: "memory", budget: 7*time.Minute + 30*time.Second, run: measureMemory, rows: []want{
		{name: rowBytes, bar: report.AtMost(1.5)},
		{name: rowOverhead, bar: report.AtMost(1.5)},
		{rowSnapshot, report.AtMost(1.5), allStores},
		{rowRestart, report.AtMost(2), allStores},
		{rowP99, report.AtMost(2), allStores},
	}}
}

func measureMemory(ctx context.Context, r *run) error {
	n := r.sizes.rows
	errs := []error{bytesARow(ctx, r, n/4)} // what a row takes depends little on their number
	for _, store := range r.stores {
		if err := snapshots(ctx, r, store, n); err != nil {
			errs = append(errs, fmt.Errorf("with %s: %w", store, err))
		}
	}
	return errors.Join(errs...)
}

// bytesARow fills both machines once each: what a row takes does not differ from turn to turn.
func bytesARow(ctx context.Context, r *run, n int) error {
	var used [2]float64
	for i, side := range []millionArgs{{Ours: true}, {}} {
		c, err := spawn(ctx, "million", fmt.Sprintf("a machine (ours: %t)", side.Ours), side)
		if err != nil {
			return err
		}
		if err := errors.Join(c.ask(ctx, "fill", n, &used[i]), c.end()); err != nil {
			return err
		}
	}
	for _, row := range []report.Row{
		report.Compare(rowBytes, used[:1], used[1:], report.AtMost(1.5)),
		report.Compare(rowOverhead, []float64{used[0] - rowSize}, []float64{used[1] - rowSize}, report.AtMost(1.5)),
	} {
		if row.Note == "" {
			row.Note = noLog
		}
		r.add("", "go-memdb", row)
	}
	return nil
}

// snapshots fills one node with a log store and has it write snapshots and start from them, in turns with go-memdb.
func snapshots(ctx context.Context, r *run, store string, n int) (err error) {
	plain, err := spawn(ctx, "million", "go-memdb", millionArgs{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plain.end()) }()
	if err := plain.ask(ctx, "prepare", n, nil); err != nil {
		return err
	}
	a := oursArgs{Name: "node-0", Dir: filepath.Join(r.dir, "million-"+store), Store: store, Timeless: true, Shipped: true}
	node, err := spawn(ctx, "ours", "a node with a million rows", a)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.end()) }()
	began := time.Now()
	if err := node.ask(ctx, "fill", n, nil); err != nil {
		return err
	}
	r.say("memory: %d rows through the log of one node (%s) in %s", n, store, time.Since(began).Round(time.Second))
	var first float64
	if err := node.ask(ctx, "snapshot", "", &first); err != nil {
		return err
	}
	var inserted, restarted, persisted, written, before, during []float64
	for round := range r.rounds() + 1 {
		var m millionRound
		if m, node, err = millionTurn(ctx, r, plain, node, a, n); err != nil {
			return err
		}
		r.say("memory with %s: round %d of %d: insert %.2f s, restart %.2f s, iterate + encode + fsync %.2f s, snapshot %.2f s, p99 %.2f ms before and %.2f ms while",
			store, round, r.rounds(), m.Insert, m.restart, m.persist, m.snapshot, m.before.P99, m.during.P99)
		if round == 0 { // warms up
			continue
		}
		inserted, restarted = append(inserted, m.Insert), append(restarted, m.restart)
		persisted, written = append(persisted, m.persist), append(written, m.snapshot)
		before, during = append(before, m.before.P99), append(during, m.during.P99)
	}
	r.add(store, "go-memdb", report.Compare(rowSnapshot, written, persisted, report.AtMost(1.5)))
	r.add(store, "go-memdb", report.Compare(rowRestart, restarted, inserted, report.AtMost(2)))
	r.add(store, "before", report.Compare(rowP99, during, before, report.AtMost(2)))
	return nil
}

// millionRound is what one turn of both found, in seconds.
type millionRound struct {
	Insert, restart, persist, snapshot float64
	before, during                     loadResult
}

// p99Load is the load under which a snapshot is taken.
func p99Load(r *run, name string) loadArgs {
	return loadArgs{Clients: 64, For: r.sizes.p99, Profile: r.profile(name)}
}

// millionTurn starts the node again from its last snapshot, counts its rows, and has it write the next two: one under
// load, one at rest.
func millionTurn(ctx context.Context, r *run, plain, node *child, a oursArgs, n int) (m millionRound, _ *child, err error) {
	if err := plain.ask(ctx, "insert", nil, &m.Insert); err != nil {
		return m, node, err
	}
	if err := node.kill(); err != nil {
		return m, node, err
	}
	a.Profile = r.profile("restart")
	began := time.Now()
	next, err := spawn(ctx, "ours", node.name, a)
	if err != nil {
		return m, node, err
	}
	node = next
	if err := node.ask(ctx, "ready", nil, nil); err != nil {
		return m, node, err
	}
	m.restart = time.Since(began).Seconds()
	var rows int
	if err := node.ask(ctx, "rows", n, &rows); err != nil {
		return m, node, err
	}
	var missing []string
	if rows != n {
		missing = append(missing, fmt.Sprintf("after a restart, %d of %d rows are there", rows, n))
	}
	r.counted(int64(n), missing...)
	s := &system{name: "a million rows, " + a.Store, nodes: []*child{node}}
	if m.before, err = s.oursLoad(ctx, r, "load", p99Load(r, "load before a snapshot")); err != nil {
		return m, node, err
	}
	if m.during, err = s.oursLoad(ctx, r, "load while a snapshot is written", p99Load(r, "load while a snapshot is written")); err != nil {
		return m, node, err
	}
	if err := plain.ask(ctx, "persist", filepath.Join(r.dir, "plain-snapshot"), &m.persist); err != nil {
		return m, node, err
	}
	return m, node, node.ask(ctx, "snapshot", r.profile("snapshot"), &m.snapshot) // the next turn starts from it
}
