// Command api measures what the API promises, against peers taken in turns in the same run. It prints a table and
// writes one JSON object a line. See DESIGN.md one folder up.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/muster-hq/muster/deploy/bench/report"
)

// runLimit is how long the whole may take.
const runLimit = 30 * time.Minute

func main() {
	if len(os.Args) == 3 && os.Args[1] == helloWord {
		fmt.Fprintln(os.Stderr, "api:", hello(os.Args[2]))
		os.Exit(1)
	}
	var o options
	only := flag.String("only", "", "sections to run, parted by commas; empty means all of "+strings.Join(names(sections()), ", "))
	flag.StringVar(&o.out, "out", "bench/api.json", "file for the results, one JSON object a line")
	flag.StringVar(&o.bin, "bin", "bin", "folder with the built programs")
	flag.BoolVar(&o.quick, "quick", false, "few and short rounds, to try whether it works: no measurement")
	flag.Parse()
	if err := o.choose(*only); err != nil {
		fmt.Fprintln(os.Stderr, "api:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, runLimit, fmt.Errorf("the run took longer than %s", runLimit))
	defer cancel()
	if err := benchmark(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "api:", err)
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	sections []section
	out, bin string
	quick    bool
}

func (o *options) choose(only string) error {
	o.sections = sections()
	if only == "" {
		return nil
	}
	o.sections = nil
	for _, name := range strings.Split(only, ",") {
		s, ok := find(name)
		if !ok {
			return fmt.Errorf("there is no section %q: give some of %s", name, strings.Join(names(sections()), ", "))
		}
		o.sections = append(o.sections, s)
	}
	return nil
}

// section is a part of the benchmark. Each has a file of its own.
type section struct {
	name     string
	baseline string // what the peer is, for the table
	// rows are what it must give, in order: one that is not given does not hold.
	rows []want
	run  func(ctx context.Context, r *run) error
}

// want is a row that a section owes.
type want struct {
	name string
	bar  report.Bar
}

func sections() []section {
	return []section{templateSection(), fleetSection(), objectSection(), bulkSection(), strangersSection()}
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

// run is what sections work with.
type run struct {
	options
	log  io.Writer
	rows []report.Row // of the section that runs
}

func (r *run) say(format string, args ...any) { _, _ = fmt.Fprintf(r.log, format+"\n", args...) }

func (r *run) add(row report.Row) { r.rows = append(r.rows, row) }

// benchmark runs the sections. A section that breaks does not keep the others from running; what it owes and does not
// give are rows that do not hold.
func benchmark(ctx context.Context, o options, out io.Writer) error {
	r := &run{options: o, log: out}
	r.say("%s", report.Machine())
	var all []report.Row
	var errs []error
	for _, s := range o.sections {
		r.say("== %s", s.name)
		r.rows = nil
		if err := s.run(ctx, r); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.name, err))
		}
		rows := owed(s, r.rows)
		if err := report.Print(out, s.baseline, rows); err != nil {
			return err
		}
		all = append(all, rows...)
	}
	return errors.Join(append(errs, report.Write(o.out, all))...)
}

// owed puts what a section gave into the order in which it owes it, with the bars of its table.
func owed(s section, given []report.Row) (out []report.Row) {
	for _, w := range s.rows {
		row := report.Row{Name: w.name, Bar: w.bar, Note: "not measured"}
		for _, g := range given {
			if g.Name == w.name {
				row = g
			}
		}
		out = append(out, row)
	}
	return out
}
