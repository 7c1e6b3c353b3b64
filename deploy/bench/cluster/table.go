package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// print writes the table: a line for each row name, a column for each log store where the row has one, and what does
// not hold.
func (r *run) print(w io.Writer) error {
	if r.quick {
		_, _ = fmt.Fprintln(w, "QUICK: few and short rounds, this is no measurement")
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "what\tbar\tstore\tmuster\tbaseline\t\tratio\tholds")
	last := ""
	for _, row := range r.ordered() {
		name, bar := row.Name, row.Bar.String()
		if name == last {
			name, bar = "", ""
		}
		last = row.Name
		holds := "yes"
		if !row.Holds {
			holds = "NO"
		}
		if row.Note != "" {
			holds += ": " + row.Note
		}
		base, ratio := "-", "-"
		if row.Baseline != 0 {
			base, ratio = fmt.Sprintf("%.2f", row.Baseline), fmt.Sprintf("%.2f", row.Ratio)
		}
		store := row.Store
		if store == "" {
			store = "-"
		}
		_, _ = fmt.Fprintf(tw, "%s\t%s\t%s\t%.2f\t%s\t%s\t%s\t%s\n", name, bar, store, row.Value, base, row.peer, ratio, holds)
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("print the results: %w", err)
	}
	for _, n := range r.notes {
		_, _ = fmt.Fprintln(w, n)
	}
	bad := 0
	for _, row := range r.rows {
		if !row.Holds {
			bad++
			_, _ = fmt.Fprintf(w, "DOES NOT HOLD: %s%s (bar %s)\n", row.Name, in(row.Store), row.Bar)
		}
	}
	if bad == 0 {
		_, _ = fmt.Fprintln(w, "All bars hold.")
	}
	return nil
}

// ordered brings the rows of one name together, in the order in which the names first came.
func (r *run) ordered() (out []row) {
	seen := map[string]bool{}
	for _, first := range r.rows {
		if seen[first.Name] {
			continue
		}
		seen[first.Name] = true
		for _, row := range r.rows {
			if strings.EqualFold(row.Name, first.Name) {
				out = append(out, row)
			}
		}
	}
	return out
}
