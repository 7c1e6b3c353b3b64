package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/muster-hq/muster/deploy/bench/peers"
	"github.com/muster-hq/muster/deploy/bench/report"
)

const rowBulk = "bulk write of 32 settings, three nodes, a second"

// Of the bulk writes: as many clients and bytes of a value as in the comparison of single puts.
const (
	bulkSettings = 32
	bulkClients  = 64
	bulkBytes    = 1024
)

// bulkSection measures a bulk write of settings against etcd's transaction of as many puts: three real processes each, as
// shipped, in turns. The same load generator drives both, in a process of its own.
func bulkSection() section {
	return section{name: "bulk", baseline: "etcd 3.4", run: runBulk, rows: []want{{rowBulk, report.AtLeast(1)}}}
}

func runBulk(ctx context.Context, r *run) (err error) {
	rounds, during := 5, 4*time.Second
	if r.quick {
		rounds, during = 1, 3*time.Second
	}
	dir, err := os.MkdirTemp("", "bench-bulk-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	load, err := peers.BuildLoad(ctx, dir)
	if err != nil {
		return err
	}
	etcd, err := peers.StartEtcd(ctx, filepath.Join(dir, "etcd"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, etcd.Stop()) }()
	own, err := peers.StartOwn(ctx, r.bin, filepath.Join(dir, "muster"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, own.Stop()) }()
	if _, err := own.Leader(ctx); err != nil {
		return err
	}
	turn := func(sys peers.Peer) (peers.Told, error) {
		return peers.Load(ctx, load, sys, "-op", "bulk", "-clients", strconv.Itoa(bulkClients), "-keys", strconv.Itoa(bulkSettings),
			"-size", strconv.Itoa(bulkBytes), "-time", during.String())
	}
	var ours, theirs []float64
	for i := range rounds + 1 { // the first to warm up
		them, err := turn(etcd)
		if err != nil {
			return fmt.Errorf("etcd: %w", err)
		}
		us, err := turn(own)
		if err != nil {
			return fmt.Errorf("muster: %w", err)
		}
		if us.Missing > 0 || them.Missing > 0 {
			return fmt.Errorf("of %d values that were acknowledged last %d were not there; of etcd's %d %d", us.Read, us.Missing, them.Read, them.Missing)
		}
		if i == 0 {
			continue
		}
		r.say("round %d: %.0f/s, p99 %.1f ms, %.0f us of processors each, the machine idle for %.0f %%; etcd %.0f/s, p99 %.1f ms, %.0f us, %.0f %%",
			i-1, us.Rate, us.P99, us.CPU, 100*us.Idle, them.Rate, them.P99, them.CPU, 100*them.Idle)
		ours, theirs = append(ours, us.Rate), append(theirs, them.Rate)
	}
	r.add(report.Compare(rowBulk, ours, theirs, report.AtLeast(1)))
	return nil
}
