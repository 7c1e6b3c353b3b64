package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
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

// failing commits n times before it works; err says how.
type failing struct {
	err error
	n   atomic.Int32
}

func (*failing) ready() error { return nil }
func (*failing) close() error { return nil }
func (f *failing) commit(context.Context, int, int) error {
	if f.n.Add(-1) >= 0 {
		return f.err
	}
	return nil
}

func TestATurnWithoutLeaderIsTakenAgain(t *testing.T) {
	turns := &taker{turn: 5 * time.Millisecond}
	s := &failing{err: raft.ErrLeadershipLost}
	s.n.Store(2)
	if got, err := turns.take(t.Context(), s, "x", 1); err != nil || got.rate <= 0 || turns.spoiled != 2 {
		t.Errorf("%+v, %v, %d spoiled", got, err, turns.spoiled)
	}
	s.n.Store(2)
	if _, err := turns.take(t.Context(), s, "x", 1); !errors.Is(err, raft.ErrLeadershipLost) {
		t.Errorf("the fourth spoiled turn: %v", err)
	}
	other := &failing{err: errors.New("broken")}
	other.n.Store(1)
	if _, err := (&taker{turn: time.Millisecond}).take(t.Context(), other, "x", 1); !errors.Is(err, other.err) {
		t.Errorf("%v", err)
	}
}
