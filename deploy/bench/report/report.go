// Package report is the common form of the benchmarks' results: a table against a baseline that was taken
// in the same run, and the same as JSON lines. See DESIGN.md beside it.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Bar is what a ratio or a value must reach.
type Bar struct {
	value float64
	kind  barKind
}

type barKind int

const (
	barNone barKind = iota
	barAtLeast
	barAtMost
)

// AtLeast is a bar from below, AtMost one from above, None is none: the row only informs, and holds.
func AtLeast(v float64) Bar { return Bar{v, barAtLeast} }

// AtMost is a bar from above.
func AtMost(v float64) Bar { return Bar{v, barAtMost} }

// None is no bar.
func None() Bar { return Bar{} }

func (b Bar) holds(v float64) bool {
	switch b.kind {
	case barAtLeast:
		return v >= b.value
	case barAtMost:
		return v <= b.value
	default:
		return true
	}
}

func (b Bar) String() string {
	switch b.kind {
	case barAtLeast:
		return fmt.Sprintf(">= %.4g", b.value)
	case barAtMost:
		return fmt.Sprintf("<= %.4g", b.value)
	default:
		return "none"
	}
}

// MarshalJSON writes the number, null where there is no bar.
func (b Bar) MarshalJSON() ([]byte, error) {
	if b.kind == barNone {
		return []byte("null"), nil
	}
	return json.Marshal(b.value)
}

// Row is one figure, told once for each store that it was measured with. Ratio is Value to Baseline; the bar is for the ratio, or for the value where the row
// has no baseline (both are 0 then).
type Row struct {
	Name     string  `json:"name"`
	Store    string  `json:"store,omitempty"` // raft's log store, of rows that are measured with each
	Value    float64 `json:"value"`
	Baseline float64 `json:"baseline"`
	Ratio    float64 `json:"ratio"`
	Bar      Bar     `json:"bar"`
	Holds    bool    `json:"holds"`
	Note     string  `json:"note,omitempty"`
}

// Compare makes a row of medians of turns. A side that measured nothing is a row that does not hold.
func Compare(name string, ours, baseline []float64, bar Bar) Row {
	r := Row{Name: name, Bar: bar, Value: Median(ours), Baseline: Median(baseline)}
	if len(ours) == 0 || len(baseline) == 0 || r.Baseline <= 0 {
		r.Note = "a side measured nothing"
		return r
	}
	r.Ratio = r.Value / r.Baseline
	r.Holds = bar.holds(r.Ratio)
	return r
}

// Against makes a row whose bar is for the value itself.
func Against(name string, value float64, bar Bar) Row {
	return Row{Name: name, Value: value, Bar: bar, Holds: bar.holds(value)}
}

// Median is the median of turns, 0 of none. Of an even number it is the mean of the middle two.
func Median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	m := len(v) / 2
	if len(v)%2 == 0 {
		return (v[m-1] + v[m]) / 2
	}
	return v[m]
}

// Quantile is the smallest of the samples that q of them (0 to 1) do not exceed, in milliseconds; 0 of none.
func Quantile(samples []time.Duration, q float64) float64 {
	if len(samples) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(samples))
	i := int(q*float64(len(s))+0.999999) - 1
	return float64(s[min(max(i, 0), len(s)-1)].Nanoseconds()) / 1e6
}

// Print writes the table, with what the baseline is, and says which rows do not hold.
func Print(w io.Writer, baseline string, rows []Row) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(tw, "what\tmuster\t%s\tratio\tbar\tholds\n", baseline)
	for _, r := range rows {
		holds := "yes"
		if !r.Holds {
			holds = "NO"
		}
		if r.Note != "" {
			holds += ": " + r.Note
		}
		base, ratio := "-", "-"
		if r.Baseline != 0 {
			base, ratio = fmt.Sprintf("%.2f", r.Baseline), fmt.Sprintf("%.2f", r.Ratio)
		}
		_, _ = fmt.Fprintf(tw, "%s\t%.2f\t%s\t%s\t%s\t%s\n", r.Name, r.Value, base, ratio, r.Bar, holds)
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("print the results: %w", err)
	}
	for _, r := range rows {
		if !r.Holds {
			_, _ = fmt.Fprintf(w, "DOES NOT HOLD: %s (bar %s)\n", r.Name, r.Bar)
		}
	}
	return nil
}

// Write writes the rows to a file, one JSON object a line.
func Write(path string, rows []Row) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write the results: %w", err)
	}
	var text []byte
	for _, r := range rows {
		b, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("write the results: %w", err)
		}
		text = append(append(text, b...), '\n')
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return fmt.Errorf("write the results: %w", err)
	}
	return nil
}

// Machine is a line on where and how busy: figures of a busy machine say little.
func Machine() string {
	load := "load unknown"
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		load = "load " + strings.Join(strings.Fields(string(b))[:3], " ")
	}
	return fmt.Sprintf("%s/%s, %d cores, %s, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), load)
}
