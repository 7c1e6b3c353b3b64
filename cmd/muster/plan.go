package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/fsm/model"
)

// planned shows what a write with --dry-run would do; other errors go on. A command that would write more than once ends
// with the first: what the next would do depends on it.
func (c *cli) planned(w io.Writer, err error) error {
	var tried *client.PlanError
	if !errors.As(err, &tried) {
		return err
	}
	var b strings.Builder
	switch c.output {
	default:
		return c.printOne(w, tried.Raw, columns("HOSTS", "count"))
	case "name":
		for _, h := range tried.Plan.Hosts {
			fmt.Fprintf(&b, "%s/%s\n", oneLine(h.Environment), oneLine(h.Host))
		}
	case formTable, formWide:
		writePlan(&b, &tried.Plan)
	}
	_, err = io.WriteString(w, b.String())
	return err
}

// writePlan writes a plan for people.
func writePlan(b *strings.Builder, p *model.Plan) {
	b.WriteString("Nothing was done.\n")
	if p.Untried != "" {
		fmt.Fprintf(b, "%s.\n", oneLine(p.Untried))
		return
	}
	for _, o := range p.Objects {
		noun, did, _ := strings.Cut(o.Kind, ".")
		fmt.Fprintf(b, "%s would be %s: %d\n", noun, did, o.Count)
	}
	fmt.Fprintf(b, "hosts that would get changes: %d\n", p.Count)
	for _, h := range p.Hosts {
		if len(h.Machine) > 0 {
			fmt.Fprintf(b, "\n%s/%s: for its machine, before there is one\n", oneLine(h.Environment), oneLine(h.Host))
		}
		for _, t := range h.Machine {
			writePlanTask(b, &t)
		}
		for _, ch := range h.Changes {
			fmt.Fprintf(b, "\n%s/%s: change %d, %s\n", oneLine(h.Environment), oneLine(h.Host), ch.OrderNum, oneLine(ch.Description))
			for _, t := range ch.Tasks {
				writePlanTask(b, &t)
			}
		}
	}
	if p.LeftOut > 0 {
		fmt.Fprintf(b, "\nand %d more hosts\n", p.LeftOut)
	}
	if p.NoAccessToAllResources {
		b.WriteString("\nand hosts that you may not read\n")
	}
}

func writePlanTask(b *strings.Builder, t *model.PlanTask) {
	fmt.Fprintf(b, "  %d. %s\n", t.OrderNum, oneLine(t.Description))
	if t.Error != "" {
		fmt.Fprintf(b, "     would fail: %s\n", oneLine(t.Error))
	}
	if t.Note != "" {
		fmt.Fprintf(b, "     %s\n", oneLine(t.Note))
	}
	for line := range strings.Lines(t.Diff) {
		fmt.Fprintf(b, "     %s\n", oneLine(strings.TrimSuffix(line, "\n")))
	}
}
