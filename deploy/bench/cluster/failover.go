package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/muster-hq/muster/deploy/bench/peers"
	"github.com/muster-hq/muster/deploy/bench/report"
)

const (
	rowFailover = "failover, median (ms) against etcd's median"
	rowWorst    = "failover, our worst (ms) against etcd's median"
)

// failoverSection kills leaders, ours and etcd's in turns, all with shipped defaults.
func failoverSection() section {
	return section{name: "failover", budget: 4 * time.Minute, run: runFailover, rows: []want{
		{rowFailover, report.AtMost(0.5), allStores},
		{rowWorst, report.AtMost(1), allStores},
	}}
}

func runFailover(ctx context.Context, r *run) error {
	var errs []error
	for _, store := range r.stores {
		if err := r.failoverOf(ctx, store); err != nil {
			errs = append(errs, fmt.Errorf("with %s: %w", store, err))
		}
	}
	return errors.Join(errs...)
}

// failoverOf measures with one log store.
func (r *run) failoverOf(ctx context.Context, store string) (err error) {
	p, err := startPair(ctx, r, "failover", store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	var mine, other []float64
	for i := range pick(r, 10, 2) {
		took, err := failOver(ctx, p.load, p.etcd)
		if err != nil {
			return fmt.Errorf("%s: %w", etcdName, err)
		}
		other = append(other, ms(took))
		if took, err = failOver(ctx, p.load, p.own); err != nil {
			return err
		}
		mine = append(mine, ms(took))
		r.say("failover %d with %s: ours %.0f ms, %s %.0f ms", i+1, store, mine[i], etcdName, other[i])
	}
	r.add(store, etcdName, report.Compare(rowFailover, mine, other, report.AtMost(0.5)))
	r.add(store, etcdName, report.Compare(rowWorst, []float64{slices.Max(mine)}, other, report.AtMost(1)))
	r.note("failover ms%s: ours %.0f; %s %.0f", in(store), mine, etcdName, other)
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// failoverLimit bounds a trial.
const failoverLimit = time.Minute

// failOver kills the leader once, tells how long it took until a client of another node had a write acknowledged that
// it had begun after the kill, and brings the node back.
func failOver(ctx context.Context, load string, sys peers.Peer) (took time.Duration, err error) {
	leader, err := sys.Leader(ctx)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, failoverLimit, errors.New("no write succeeded after the kill"))
	defer cancel()
	probe, err := startProbe(ctx, load, sys, (leader+1)%len(sys.Addrs()))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, probe.end()) }()
	// Until writes have gone on for a while: so it is the leader of a cluster at work that is killed.
	var first time.Time
	for first.IsZero() || time.Since(first) < time.Second {
		if _, at, err := probe.next(ctx); err != nil {
			return 0, err
		} else if first.IsZero() {
			first = at
		}
	}
	killed := time.Now()
	sys.Process(leader).Kill()
	for {
		begun, answered, err := probe.next(ctx)
		if err != nil {
			return 0, err
		}
		if begun.After(killed) {
			took = answered.Sub(killed)
			break
		}
	}
	if err := sys.Process(leader).Start(); err != nil {
		return 0, err
	}
	_, err = sys.Leader(ctx)
	return took, err
}

// probe is a load generator that puts without pause and tells each success.
type probe struct {
	cmd *exec.Cmd
	in  io.Closer
	out *bufio.Scanner
}

func startProbe(ctx context.Context, load string, sys peers.Peer, node int) (*probe, error) {
	cmd := exec.CommandContext(ctx, load, append(sys.Target(), "-nodes", sys.Addrs()[node], "-op", "probe")...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the probe: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the probe: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the probe: %w", err)
	}
	return &probe{cmd: cmd, in: in, out: bufio.NewScanner(out)}, nil
}

// next waits for the next write that succeeded: when it was begun, and when it was answered.
func (p *probe) next(ctx context.Context) (begun, answered time.Time, err error) {
	if !p.out.Scan() {
		return begun, answered, fmt.Errorf("the probe ended: %w", errors.Join(p.out.Err(), context.Cause(ctx)))
	}
	var b, a int64
	if _, err := fmt.Sscan(p.out.Text(), &b, &a); err != nil {
		return begun, answered, fmt.Errorf("the probe said %q: %w", p.out.Text(), err)
	}
	return time.Unix(0, b), time.Unix(0, a), nil
}

// end ends the probe and waits for it.
func (p *probe) end() error {
	_ = p.in.Close()
	for p.out.Scan() { // what it still tells would keep it from ending
	}
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("the probe: %w", err)
	}
	return nil
}
