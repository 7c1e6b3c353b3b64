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
	out := filepath.Join(t.TempDir(), "bench", "commits.json")
	if err := run(t.Context(), out, "", 20*time.Millisecond, 1); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	lines := 0
	for s := bufio.NewScanner(f); s.Scan(); lines++ {
		var r struct {
			Name                   string
			Value, Baseline, Ratio float64
		}
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
	if err := run(t.Context(), out, "", time.Second, 0); err == nil {
		t.Error("measured nothing and did not say so")
	}
}
