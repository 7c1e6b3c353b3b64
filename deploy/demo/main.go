// Command demo shows Muster's main job on this machine, without root: three nodes as three processes, two
// agents on scratch roots, an application applied to both, drift seen and repaired, a handler, and a lost
// leader. Each step is judged by the API's answer and by the file on disk; one that does not hold ends it
// with status 1.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/muster-hq/muster/deploy/site"
)

func main() {
	bin := flag.String("bin", "bin", "folder with the built programs muster and muster-agent")
	dir := flag.String("dir", "", "folder to work in (default: a new one, removed at the end)")
	keep := flag.Bool("keep", false, "leave everything running at the end, and print the addresses")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *bin, *dir, *keep, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "\nthe demonstration failed:", err)
		os.Exit(1)
	}
}

// limit is how long the whole demonstration may take, patience how long one thing that a step waits for.
const (
	limit    = 5 * time.Minute
	patience = time.Minute // the machine may be busy
)

func run(ctx context.Context, bin, dir string, keep bool, out io.Writer) (err error) {
	if bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	if dir == "" {
		if dir, err = os.MkdirTemp("", "muster-demo-"); err != nil {
			return err
		}
		defer func() {
			if err != nil || !keep {
				err = errors.Join(err, os.RemoveAll(dir))
			}
		}()
	}
	d := &demo{bin: bin, dir: dir, out: out, patience: patience}
	return d.show(ctx, d.steps(), keep)
}

// show plays the steps, and stops everything afterwards unless it is to be kept and all went well.
func (d *demo) show(ctx context.Context, steps []step, keep bool) error {
	err := d.play(ctx, steps)
	if err == nil && keep {
		if err = d.revive(ctx); err == nil {
			d.leave()
			return nil
		}
	}
	if stopErr := d.stop(); err == nil {
		err = stopErr
	}
	return err
}

// step is one thing that is shown, and what must hold after it.
type step struct {
	title string
	do    func(ctx context.Context) (string, error) // what was checked, in a sentence
}

// play takes the steps in order and prints a line for each, and a summary.
func (d *demo) play(ctx context.Context, steps []step) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the demonstration took longer than %s", limit))
	defer cancel()
	began := time.Now()
	for i, s := range steps {
		fmt.Fprintf(d.out, "%2d. %s ... ", i+1, s.title)
		at := time.Now()
		checked, err := s.do(ctx)
		if err != nil {
			fmt.Fprintln(d.out, "FAILED")
			if cause := context.Cause(ctx); cause != nil {
				err = fmt.Errorf("%w: %w", cause, err)
			}
			return fmt.Errorf("step %d, %s: %w", i+1, s.title, err)
		}
		fmt.Fprintf(d.out, "%.1f s\n    %s\n", time.Since(at).Seconds(), checked)
	}
	fmt.Fprintf(d.out, "\n%d steps, each checked in the API and on disk, in %.1f s\n", len(steps), time.Since(began).Seconds())
	return nil
}

// demo is what the steps share.
type demo struct {
	bin, dir string
	out      io.Writer
	patience time.Duration // with what a step waits for; a step has more than one such thing
	site     *site.Site
	agents   []*site.Agent
}

func (d *demo) stop() error {
	if d.site == nil {
		return nil
	}
	return d.site.Stop()
}

// revive starts the nodes again that were killed.
func (d *demo) revive(ctx context.Context) error {
	for i, n := range d.site.Nodes {
		if n.Running() {
			continue
		}
		if err := errors.Join(n.Start(), d.site.WaitReady(ctx, i)); err != nil {
			return err
		}
	}
	return nil
}

// leave says how to use what is left running.
func (d *demo) leave() {
	fmt.Fprintf(d.out, "\nLeft running; state, logs and scratch roots are in %s\n", d.dir)
	for _, n := range d.site.Nodes {
		fmt.Fprintf(d.out, "  node %s   %s   agents: %s   pid %d\n", n.Name, n.API(), n.BusURL(), n.Pid())
	}
	for _, a := range d.agents {
		fmt.Fprintf(d.out, "  agent %s  root %s   pid %d\n", a.Host, a.Root, a.Pid())
	}
	pids := []string{}
	for _, a := range d.agents {
		pids = append(pids, strconv.Itoa(a.Pid()))
	}
	for _, n := range d.site.Nodes {
		pids = append(pids, strconv.Itoa(n.Pid()))
	}
	fmt.Fprintf(d.out, "Log in with:\n  export MUSTER_API=%s MUSTER_USER=admin MUSTER_PASSWORD_FILE=%s MUSTER_ORGANIZATION=%s MUSTER_ENVIRONMENT=%s\n  %s host list\n",
		d.site.Nodes[0].API(), d.site.AdminPasswordFile(), d.site.Org, d.site.Env, filepath.Join(d.bin, "muster"))
	fmt.Fprintf(d.out, "Stop it with:\n  kill %s\n", strings.Join(pids, " "))
}
