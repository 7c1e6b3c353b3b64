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
	return section{name: "memory", budget: 9 * time.Minute, run: measureMemory, rows: []want{
		{name: rowBytes, bar: report.AtMost(1.5)},
		{name: rowOverhead, bar: report.AtMost(1.5)},
		{name: rowSnapshot, bar: report.AtMost(1.5)},
		{name: rowRestart, bar: report.AtMost(2)},
		{name: rowP99, bar: report.AtMost(2)},
	}}
}

func measureMemory(ctx context.Context, r *run) error {
	n := r.sizes.rows
	err := bytesARow(ctx, r, n/4) // what a row takes depends little on their number
	return errors.Join(err, snapshots(ctx, r, n))
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
	r.add("", "go-memdb", report.Compare(rowBytes, used[:1], used[1:], report.AtMost(1.5)))
	r.add("", "go-memdb", report.Compare(rowOverhead, []float64{used[0] - rowSize}, []float64{used[1] - rowSize}, report.AtMost(1.5)))
	return nil
}

// snapshots fills one node and has it write snapshots and start from them, in turns with go-memdb.
func snapshots(ctx context.Context, r *run, n int) (err error) {
	plain, err := spawn(ctx, "million", "go-memdb", millionArgs{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plain.end()) }()
	if err := plain.ask(ctx, "prepare", n, nil); err != nil {
		return err
	}
	a := oursArgs{Name: "node-0", Dir: filepath.Join(r.dir, "million"), Store: storeBolt, Timeless: true, Shipped: true}
	node, err := spawn(ctx, "ours", "a node with a million rows", a)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.end()) }()
	began := time.Now()
	if err := node.ask(ctx, "fill", n, nil); err != nil {
		return err
	}
	r.say("memory: %d rows through the log of one node in %s", n, time.Since(began).Round(time.Second))
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
		r.say("memory: round %d of %d: insert %.2f s, restart %.2f s, iterate + encode + fsync %.2f s, snapshot %.2f s, p99 %.2f ms before and %.2f ms while",
			round, r.rounds(), m.Insert, m.restart, m.persist, m.snapshot, m.before.P99, m.during.P99)
		if round == 0 { // warms up
			continue
		}
		inserted, restarted = append(inserted, m.Insert), append(restarted, m.restart)
		persisted, written = append(persisted, m.persist), append(written, m.snapshot)
		before, during = append(before, m.before.P99), append(during, m.during.P99)
	}
	r.add("", "go-memdb", report.Compare(rowSnapshot, written, persisted, report.AtMost(1.5)))
	r.add("", "go-memdb", report.Compare(rowRestart, restarted, inserted, report.AtMost(2)))
	r.add("", "before", report.Compare(rowP99, during, before, report.AtMost(2)))
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
	s := &system{name: "a million rows", nodes: []*child{node}}
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
