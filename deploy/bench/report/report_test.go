package report_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/deploy/bench/report"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want float64
	}{{nil, 0}, {[]float64{7}, 7}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 100, 2}, 3}} {
		if got := report.Median(c.in); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.in, got, c.want)
		}
	}
	in := []float64{3, 1, 2}
	report.Median(in)
	if in[0] != 3 {
		t.Error("the caller's samples were sorted")
	}
}

func TestQuantile(t *testing.T) {
	var s []time.Duration
	for i := 20; i >= 1; i-- {
		s = append(s, time.Duration(i)*time.Millisecond)
	}
	for q, want := range map[float64]float64{0: 1, 0.5: 10, 0.95: 19, 1: 20} {
		if got := report.Quantile(s, q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if got := report.Quantile(nil, 0.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

func TestBars(t *testing.T) {
	ours, base := []float64{5, 8, 100}, []float64{10, 10, 1}
	for _, c := range []struct {
		bar  report.Bar
		want bool
	}{{report.AtLeast(0.7), true}, {report.AtLeast(0.8), true}, {report.AtLeast(0.9), false},
		{report.AtMost(0.7), false}, {report.AtMost(0.8), true}, {report.None(), true}} {
		r := report.Compare("x", ours, base, c.bar)
		if r.Value != 8 || r.Baseline != 10 || r.Ratio != 0.8 || r.Holds != c.want {
			t.Errorf("bar %s: %+v", c.bar, r)
		}
	}
	if r := report.Against("size", 16, report.AtMost(15)); r.Holds || r.Value != 16 || r.Ratio != 0 {
		t.Errorf("%+v", r)
	}
}

func TestAMissingSideDoesNotHold(t *testing.T) {
	for _, r := range []report.Row{
		report.Compare("x", nil, []float64{1}, report.None()),
		report.Compare("x", []float64{1}, nil, report.None()),
	} {
		if r.Holds || r.Note == "" {
			t.Errorf("%+v", r)
		}
	}
}

func TestJSONLinesAndTable(t *testing.T) {
	rows := []report.Row{
		report.Compare("rate", []float64{6}, []float64{10}, report.AtLeast(0.8)),
		report.Compare("round trip", []float64{6}, []float64{2}, report.None()),
	}
	path := filepath.Join(t.TempDir(), "bench", "x.json")
	if err := report.Write(path, rows); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"name":"rate","value":6,"baseline":10,"ratio":0.6,"bar":0.8,"holds":false}
{"name":"round trip","value":6,"baseline":2,"ratio":3,"bar":null,"holds":true}
`
	if string(text) != want {
		t.Errorf("%s", text)
	}
	for line := range strings.Lines(string(text)) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
	var out bytes.Buffer
	if err := report.Print(&out, "bare", rows); err != nil {
		t.Fatal(err)
	}
	if s := out.String(); !strings.Contains(s, "DOES NOT HOLD: rate (bar >= 0.8)") || strings.Contains(s, "HOLD: round") || !strings.Contains(s, "none") {
		t.Errorf("%s", s)
	}
	if err := report.Write(filepath.Join(path, "below-a-file"), rows); err == nil {
		t.Error("wrote below a file")
	}
}
