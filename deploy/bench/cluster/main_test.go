package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/deploy/bench/report"
)

// TestMain lets the test's program be the children that a section starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childArg {
		os.Exit(childMain(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// tiny is as little as goes through all of a section.
func tiny() sizes {
	return sizes{rounds: 1, turn: 50 * time.Millisecond, p99: 50 * time.Millisecond, rows: 3000, elections: time.Second}
}

type line struct {
	Name, Store            string
	Value, Baseline, Ratio float64
	Holds                  bool
}

func readLines(t *testing.T, path string) (out []line) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for s := bufio.NewScanner(f); s.Scan(); {
		var l line
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		out = append(out, l)
	}
	return out
}

// TestSections runs the sections that need nothing but this program, as small as they can be: each must give all of
// its rows, and nothing may be lost or out of order.
func TestSections(t *testing.T) {
	for _, name := range []string{"commits", "memory", "elections"} {
		t.Run(name, func(t *testing.T) {
			o := options{out: filepath.Join(t.TempDir(), "bench", "cluster.json"), quick: true, sizes: tiny()}
			if err := o.choose(name, "boltdb,wal"); err != nil {
				t.Fatal(err)
			}
			if err := benchmark(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			got := map[string]line{}
			for _, l := range readLines(t, o.out) {
				got[l.Name+in(l.Store)] = l
			}
			for _, w := range o.sections[0].rows {
				for _, store := range append(w.stores, "")[:max(len(w.stores), 1)] {
					l, ok := got[w.name+in(store)]
					if !ok || l.Value <= 0 && w.name != rowElections {
						t.Errorf("row %s%s: %+v", w.name, in(store), l)
					}
				}
			}
			for _, name := range []string{rowViolations, rowMissing} {
				if l, ok := got[name]; !ok || !l.Holds || l.Value != 0 {
					t.Errorf("%s: %+v", name, l)
				}
			}
		})
	}
}

func TestChoose(t *testing.T) {
	var o options
	if err := o.choose("elections,commits", "wal"); err != nil || len(o.sections) != 2 || o.sections[0].name != "elections" || len(o.stores) != 1 {
		t.Errorf("%v, %+v", err, o)
	}
	if err := (&options{}).choose("", "boltdb"); err != nil {
		t.Error(err)
	}
	for _, bad := range [][2]string{{"nothing", "wal"}, {"commits", "paper"}, {"", ""}} {
		if err := (&options{}).choose(bad[0], bad[1]); err == nil || !strings.Contains(err.Error(), "give some of") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestABrokenSectionOwesItsRows(t *testing.T) {
	broken := errors.New("no peer")
	o := options{stores: allStores[:1], sections: []section{
		{name: "a", run: func(_ context.Context, r *run) error {
			r.add("", "", report.Against("given", 1, report.AtLeast(1)))
			return broken
		}, rows: []want{{name: "given"}, {name: "owed", bar: report.AtLeast(2)}, {"each", report.None(), allStores}}},
		{name: "b", run: func(_ context.Context, r *run) error {
			r.add("", "", report.Against("after", 1, report.AtLeast(1)))
			return nil
		}},
	}, out: filepath.Join(t.TempDir(), "x.json")}
	if err := benchmark(t.Context(), o); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	holds := map[string]bool{}
	for _, l := range readLines(t, o.out) {
		holds[l.Name+in(l.Store)] = l.Holds
	}
	if _, ok := holds["each (wal)"]; ok {
		t.Error("a store that was not asked for has a row")
	}
	for name, want := range map[string]bool{"given": true, "owed": false, "each (boltdb)": false, "after": true,
		rowViolations: false, rowMissing: false} { // nothing was checked, so nothing is shown
		if got, ok := holds[name]; !ok || got != want {
			t.Errorf("%s: %t, %t", name, got, ok)
		}
	}
}

func TestTableHasTheStoresOfARowTogether(t *testing.T) {
	r := &run{options: options{quick: true}}
	for _, store := range allStores {
		for _, name := range []string{"one", "two"} {
			r.add(store, "bare", report.Compare(name, []float64{1}, []float64{2}, report.AtLeast(0.8)))
		}
	}
	var out bytes.Buffer
	if err := r.print(&out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if !strings.HasPrefix(lines[0], "QUICK") || !strings.HasPrefix(lines[2], "one") || !strings.HasPrefix(lines[3], " ") ||
		!strings.HasPrefix(lines[4], "two") || !strings.Contains(lines[3], "wal") || !strings.Contains(out.String(), "DOES NOT HOLD: two (wal) (bar >= 0.8)") {
		t.Errorf("%s", out.String())
	}
}

func TestChildTellsWhatFailed(t *testing.T) {
	c, err := spawn(t.Context(), "bystander", "watcher", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.ask(t.Context(), "dance", nil, nil); err == nil || !strings.Contains(err.Error(), "cannot dance") {
		t.Errorf("%v", err)
	}
	var r stallReport
	if err := c.ask(t.Context(), "report", nil, &r); err != nil {
		t.Error(err)
	}
	if err := c.end(); err != nil {
		t.Error(err)
	}
	if err := c.ask(t.Context(), "report", nil, &r); err == nil {
		t.Error("a child that has ended answered")
	}
	if _, err := spawn(t.Context(), "dancer", "nobody", nil); err == nil {
		t.Error("a child of no known kind was started")
	}
}
