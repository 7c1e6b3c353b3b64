package main

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestOneShortRun(t *testing.T) {
	out := filepath.Join(t.TempDir(), "bench", "cluster.json")
	if err := run(t.Context(), out, 20*time.Millisecond, 1); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	lines := 0
	for s := bufio.NewScanner(f); s.Scan(); lines++ {
		var r row
		if err := json.Unmarshal(s.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		if r.Name == "" || r.Value <= 0 || r.Baseline <= 0 || r.Ratio != r.Value/r.Baseline {
			t.Errorf("row %+v", r)
		}
	}
	if lines != 4 {
		t.Errorf("%d lines, want rate and latency at 1 and 64 clients", lines)
	}
	if err := run(t.Context(), out, time.Second, 0); err == nil {
		t.Error("measured nothing and did not say so")
	}
}

func TestBars(t *testing.T) {
	get := func(s sample) float64 { return s.rate }
	mine, base := []sample{{rate: 5}, {rate: 8}, {rate: 100}}, []sample{{rate: 10}, {rate: 10}, {rate: 1}}
	if r := compare("x", mine, base, get, 0.7, false); r.Value != 8 || r.Baseline != 10 || !r.Holds {
		t.Errorf("%+v", r)
	}
	if r := compare("x", mine, base, get, 0.9, false); r.Holds {
		t.Errorf("%+v", r)
	}
	if r := compare("x", mine, base, get, 0.7, true); r.Holds {
		t.Errorf("%+v", r)
	}
}
