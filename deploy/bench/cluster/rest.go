package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/muster-hq/muster/deploy/bench/peers"
	"github.com/muster-hq/muster/deploy/bench/report"
)

// etcdName is how the table names the peer.
const etcdName = "etcd 3.4"

const (
	rowPut64  = "REST PUT/s of a setting of 1 KiB at 64 clients against etcd 3.4 put"
	rowPut256 = "REST PUT/s of a setting of 1 KiB at 256 clients against etcd 3.4 put"
	rowGet    = "linearizable REST GET/s at 64 clients against etcd's linearizable range"
	rowStale  = "linearizable REST GET/s at 64 clients against stale"
)

// restSection measures the REST API against etcd: three real processes each, in turns. Of each side a process of the
// same load generator asks.
func restSection() section {
	return section{name: "rest", budget: 8 * time.Minute, run: runREST, rows: []want{
		{rowPut64, report.AtLeast(0.9), allStores},
		{rowPut256, report.AtLeast(1), allStores},
		{name: rowGet, bar: report.AtLeast(1.5)},
		{name: rowStale, bar: report.AtLeast(0.6)},
	}}
}

// pair is both systems, and the load generator.
type pair struct {
	own  *peers.Own
	etcd *peers.Etcd
	load string
}

// startPair starts both, ours with a log store. A peer that cannot be had is an error, so that its rows do not hold.
func startPair(ctx context.Context, r *run, name, store string) (_ *pair, err error) {
	dir, err := r.folder(name + "-" + store)
	if err != nil {
		return nil, err
	}
	p := &pair{}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.stop())
		}
	}()
	if p.load, err = peers.BuildLoad(ctx, dir); err != nil {
		return nil, err
	}
	if p.etcd, err = peers.StartEtcd(ctx, filepath.Join(dir, "etcd")); err != nil {
		return nil, err
	}
	if p.own, err = peers.StartOwn(ctx, r.bin, filepath.Join(dir, "muster"), "--raft-store", store); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *pair) stop() error {
	var errs []error
	if p.own != nil {
		errs = append(errs, p.own.Stop())
	}
	if p.etcd != nil {
		errs = append(errs, p.etcd.Stop())
	}
	return errors.Join(errs...)
}

// loaded is what a load generator tells.
type loaded = peers.Told

func runREST(ctx context.Context, r *run) error {
	var errs []error
	for i, store := range r.stores {
		if err := r.restOf(ctx, store, i == 0); err != nil {
			errs = append(errs, fmt.Errorf("with %s: %w", store, err))
		}
	}
	return errors.Join(errs...)
}

// restOf measures with one log store. Reads are measured once: no entry of the log is written or read for them.
func (r *run) restOf(ctx context.Context, store string, reads bool) (err error) {
	p, err := startPair(ctx, r, "rest", store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	turn := func(sys peers.Peer, op string, clients int) func() (loaded, error) {
		return func() (loaded, error) { return r.load(ctx, p.load, sys, op, clients) }
	}
	for _, c := range []struct {
		row      string
		bar      float64
		mine, by func() (loaded, error)
		baseline string
		store    string
	}{
		{rowPut64, 0.9, turn(p.own, "put", 64), turn(p.etcd, "put", 64), etcdName, store},
		{rowPut256, 1, turn(p.own, "put", 256), turn(p.etcd, "put", 256), etcdName, store},
		{rowGet, 1.5, turn(p.own, "get", 64), turn(p.etcd, "get", 64), etcdName, ""},
		{rowStale, 0.6, turn(p.own, "get", 64), turn(p.own, "stale", 64), "stale", ""},
	} {
		if c.store == "" && !reads {
			continue
		}
		a, b, err := r.turns(c.mine, c.by)
		if err != nil {
			return fmt.Errorf("%s: %w", c.row, err)
		}
		rate := func(l loaded) float64 { return l.Rate }
		row := report.Compare(c.row, each(a, rate), each(b, rate), report.AtLeast(c.bar))
		if c.store == "" && row.Note == "" {
			row.Note = noLog
		}
		r.add(c.store, c.baseline, row)
		r.note("%s%s: ours %s; %s %s", c.row, in(c.store), tell(a), c.baseline, tell(b))
	}
	return nil
}

// turns lets both sides work in turns, the first of each to warm up.
func (r *run) turns(mine, other func() (loaded, error)) (a, b []loaded, err error) {
	for i := range r.rounds() + 1 {
		x, err := other()
		if err != nil {
			return nil, nil, err
		}
		y, err := mine()
		if err != nil {
			return nil, nil, err
		}
		if i > 0 {
			a, b = append(a, y), append(b, x)
		}
	}
	return a, b, nil
}

func each(turns []loaded, f func(loaded) float64) (out []float64) {
	for _, t := range turns {
		out = append(out, f(t))
	}
	return out
}

func tell(turns []loaded) string {
	med := func(f func(loaded) float64) float64 { return report.Median(each(turns, f)) }
	return fmt.Sprintf("%.0f/s, p50 %.2f ms, p99 %.2f ms, %.0f us of the nodes' processors each, the machine idle for %.0f %%",
		med(func(l loaded) float64 { return l.Rate }), med(func(l loaded) float64 { return l.P50 }),
		med(func(l loaded) float64 { return l.P99 }), med(func(l loaded) float64 { return l.CPU }), 100*med(func(l loaded) float64 { return l.Idle }))
}

// load runs the load generator once against a system.
func (r *run) load(ctx context.Context, bin string, sys peers.Peer, op string, clients int) (loaded, error) {
	const all = 4096 // keys, whatever the number of clients
	l, err := peers.Load(ctx, bin, sys, "-op", op, "-clients", strconv.Itoa(clients), "-keys", strconv.Itoa(all/clients),
		"-time", pick(r, 4*time.Second, 2*time.Second).String())
	if err != nil {
		return loaded{}, err
	}
	if sys, ours := sys.(*peers.Own); ours {
		var missing []string
		if l.Missing > 0 {
			missing = append(missing, fmt.Sprintf("%d of %d settings did not have the value acknowledged last (%s)", l.Missing, l.Read, sys.Site.Nodes[0].Dir))
		}
		r.counted(int64(l.Read), missing...)
	} else if l.Missing > 0 {
		r.note("%s lost %d of %d acknowledged writes", etcdName, l.Missing, l.Read)
	}
	return l, nil
}
