package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/muster-hq/muster/deploy/bench/report"
	"github.com/muster-hq/muster/fsm/template"
	"github.com/muster-hq/muster/internal/freemarker"
)

// The template of a load balancer with two front ends and three pools of eight servers, and its settings.
var (
	//go:embed testdata/haproxy.cfg
	balancer string
	//go:embed testdata/haproxy.json
	balancerData string
)

const (
	rowBoth   = "load-balancer template, parsed and rendered, a second"
	rowRender = "load-balancer template, rendered alone, a second"
)

func templateSection() section {
	return section{
		name: "template", baseline: "FreeMarker, warm, one thread",
		rows: []want{{rowBoth, report.AtLeast(3)}, {rowRender, report.AtLeast(1)}},
		run:  measureTemplate,
	}
}

// measureTemplate takes both engines in turns. Time is processor time: of Java's thread alone, and of our whole process,
// the garbage collector included.
func measureTemplate(ctx context.Context, r *run) error {
	turns, rounds, warm := 7, 4000, 30000
	if r.quick {
		turns, rounds, warm = 5, 200, 200
	}
	engine, err := freemarker.Start(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if err := engine.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "closing FreeMarker:", err)
		}
	}()
	data, err := template.DecodeJSON([]byte(balancerData))
	if err != nil {
		return fmt.Errorf("the settings: %w", err)
	}
	// One thread for our side, too; the collector runs in it. A node's heap is never as small as this program's.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	for _, parse := range []bool{true, false} {
		if _, _, err := engine.Time(warm, parse, balancer, balancerData); err != nil {
			return err
		}
	}
	for _, m := range []struct {
		name  string
		parse bool
		bar   report.Bar
	}{{rowBoth, true, report.AtLeast(3)}, {rowRender, false, report.AtLeast(1)}} {
		var ours, theirs []float64
		for range turns {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			took, text, err := engine.Time(rounds, m.parse, balancer, balancerData)
			if err != nil {
				return err
			}
			theirs = append(theirs, float64(rounds)/took.Seconds())
			took, own, err := timeOurs(ctx, rounds, m.parse, data)
			if err != nil {
				return err
			}
			ours = append(ours, float64(rounds)/took.Seconds())
			if own != text {
				return fmt.Errorf("the engines give different texts, of %d and %d bytes", len(own), len(text))
			}
		}
		r.add(report.Compare(m.name, ours, theirs, m.bar))
	}
	return nil
}

func timeOurs(ctx context.Context, rounds int, parse bool, data *template.Value) (time.Duration, string, error) {
	t, err := template.Parse("haproxy.cfg", balancer, template.Options{})
	if err != nil {
		return 0, "", fmt.Errorf("our engine: %w", err)
	}
	text := ""
	began, err := processorTime()
	if err != nil {
		return 0, "", err
	}
	for range rounds {
		if parse {
			if t, err = template.Parse("haproxy.cfg", balancer, template.Options{}); err != nil {
				return 0, "", fmt.Errorf("our engine: %w", err)
			}
		}
		if text, err = t.Render(ctx, data); err != nil {
			return 0, "", fmt.Errorf("our engine: %w", err)
		}
	}
	end, err := processorTime()
	return end - began, text, err
}

// processorTime is what this process has used of the processor, in user mode and in the kernel.
func processorTime() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("reading the processor time: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}
