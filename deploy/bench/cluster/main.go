// Command cluster measures what a cluster of three promises, against etcd, bare hashicorp/raft and go-memdb, in
// turns in the same run. It prints a table and writes one JSON object a line. See DESIGN.md one folder up.
//
// It starts itself again as the nodes, so that each node is a process of its own: see child.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/muster-hq/muster/deploy/bench/report"
)

// runLimit is how long the whole may take: a section that would begin later is not begun, and its rows do not hold.
const runLimit = 45 * time.Minute

func main() {
	if len(os.Args) > 1 && os.Args[1] == childArg {
		os.Exit(childMain(os.Args[2:]))
	}
	var o options
	only := flag.String("only", "", "sections to run, parted by commas; empty means all of "+strings.Join(names(sections()), ", "))
	stores := flag.String("stores", strings.Join(allStores, ","), "log stores to measure, parted by commas")
	flag.StringVar(&o.out, "out", "bench/cluster.json", "file for the results, one JSON object a line")
	flag.StringVar(&o.bin, "bin", "bin", "folder with the built programs")
	flag.StringVar(&o.profiles, "profile", "", "folder for CPU profiles of the leaders; this slows both sides")
	flag.BoolVar(&o.quick, "quick", false, "few and short rounds, to try whether it works: no measurement")
	flag.Parse()
	if o.sizes = fullSizes(); o.quick {
		o.sizes = quickSizes()
	}
	if err := o.choose(*only, *stores); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, runLimit, fmt.Errorf("the run took longer than %s", runLimit))
	defer cancel()
	if err := benchmark(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	sections           []section
	stores             []string
	out, bin, profiles string
	quick              bool
	sizes              sizes
}

func (o *options) choose(only, stores string) error {
	o.sections = sections()
	if only != "" {
		o.sections = nil
		for _, name := range strings.Split(only, ",") {
			s, ok := find(name)
			if !ok {
				return fmt.Errorf("there is no section %q: give some of %s", name, strings.Join(names(sections()), ", "))
			}
			o.sections = append(o.sections, s)
		}
	}
	for _, name := range strings.Split(stores, ",") {
		if name != storeBolt && name != storeWAL {
			return fmt.Errorf("there is no log store %q: give some of %s", name, strings.Join(allStores, ", "))
		}
		o.stores = append(o.stores, name)
	}
	return nil
}

// section is a part of the benchmark. Each has a file of its own.
type section struct {
	name   string
	budget time.Duration // what it takes at the most, when all is well
	// rows are what it must give, in order: one that is not given does not hold.
	rows []want
	run  func(ctx context.Context, r *run) error
}

// want is a row that a section owes. Stores are those it owes it for; empty means once.
type want struct {
	name   string
	bar    report.Bar
	stores []string
}

func sections() []section {
	return []section{commitsSection(), memorySection(), restSection(), failoverSection(), electionsSection()}
}

func find(name string) (section, bool) {
	for _, s := range sections() {
		if s.name == name {
			return s, true
		}
	}
	return section{}, false
}

func names(list []section) (out []string) {
	for _, s := range list {
		out = append(out, s.name)
	}
	return out
}

// benchmark runs the sections. A section that breaks does not keep the others from running.
func benchmark(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp("", "muster-cluster-")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if o.profiles != "" {
		if o.profiles, err = filepath.Abs(o.profiles); err != nil {
			return fmt.Errorf("profiling: %w", err)
		}
		if err := os.MkdirAll(o.profiles, 0o755); err != nil {
			return fmt.Errorf("profiling: %w", err)
		}
	}
	r := &run{options: o, dir: dir, began: time.Now()}
	r.say("%s", report.Machine())
	var errs []error
	for i, s := range o.sections {
		errs = append(errs, r.section(ctx, i, s))
	}
	r.verdicts()
	if err := r.print(os.Stdout); err != nil {
		return err
	}
	var rows []report.Row
	for _, row := range r.rows {
		rows = append(rows, row.Row)
	}
	return errors.Join(append(errs, report.Write(o.out, rows))...)
}
