package main

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

func TestViolations(t *testing.T) {
	o := func(call, ret, write, seen int64) op {
		return op{Key: "k", Write: write, Seen: seen, Call: call, Return: ret}
	}
	unknown := func(call, write int64) op {
		return op{Key: "k", Write: write, Unknown: true, Call: call, Return: call + 1}
	}
	for name, c := range map[string]struct {
		ops  []op
		good bool
	}{
		"in order":                        {[]op{o(1, 2, 7, 0), o(3, 4, 0, 7), o(5, 6, 8, 7)}, true},
		"either of two at once":           {[]op{o(1, 9, 7, 0), o(2, 3, 0, 0), o(4, 5, 0, 7)}, true},
		"unknown, and it happened":        {[]op{unknown(1, 7), o(3, 4, 0, 0), o(5, 6, 0, 7)}, true},
		"unknown, and it never happened":  {[]op{unknown(1, 7), o(3, 4, 0, 0)}, true},
		"a write that looked at nothing":  {[]op{o(1, 2, 7, -1), o(3, 4, 8, -1), o(5, 6, 0, 8)}, true},
		"a stale read":                    {[]op{o(1, 2, 7, 0), o(3, 4, 0, 0)}, false},
		"a lost write":                    {[]op{o(1, 2, 7, 0), o(3, 4, 8, 0)}, false},
		"a read that goes back":           {[]op{o(1, 9, 7, 0), o(2, 3, 0, 7), o(4, 5, 0, 0)}, false},
		"a value that nobody wrote":       {[]op{o(1, 2, 0, 9)}, false},
		"an overwritten value comes back": {[]op{o(1, 2, 7, -1), o(3, 4, 8, -1), o(5, 6, 0, 7)}, false},
	} {
		bad, keys := violations(append(slices.Clone(c.ops), op{Key: "other", Call: 1, Return: 2}))
		if keys != 2 || (len(bad) == 0) != c.good {
			t.Errorf("%s: %d keys, %q", name, keys, bad)
		}
	}
}

func TestMiscounted(t *testing.T) {
	for _, c := range []struct {
		before, after  []int64
		acked, unknown int64
		good           bool
	}{
		{[]int64{0, 5}, []int64{3, 6}, 4, 0, true},
		{[]int64{0, 5}, []int64{3, 6}, 3, 1, true},
		{[]int64{0, 5}, []int64{3, 6}, 5, 0, false}, // one is missing
		{[]int64{0, 5}, []int64{3, 6}, 3, 0, false}, // one took effect twice
	} {
		got := miscounted("x", c.before, c.after, loadResult{Commits: c.acked, Unsure: c.unknown})
		if (len(got) == 0) != c.good {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

func TestElectionsRow(t *testing.T) {
	const s = int64(time.Second)
	first := nodeState{Term: 3}
	last := nodeState{Term: 7, Terms: []termSeen{{3, s}, {4, 20 * s}, {5, 40 * s}, {7, 60 * s}}} // term 6 was never opened
	seen := stallReport{Stalls: []stall{{19 * s, 150 * time.Millisecond}, {39 * s, 60 * time.Millisecond}, {50 * s, time.Second}}}
	row := electionsRow(&run{}, storeBolt, first, last, seen, 0)
	if row.Value != 3 || row.Holds || row.Note == "" {
		t.Errorf("%+v", row)
	}
	row = electionsRow(&run{}, storeBolt, first, nodeState{Term: 4, Terms: last.Terms[:2]}, seen, 0)
	if row.Value != 0 || !row.Holds {
		t.Errorf("an election in a stall of the machine: %+v", row)
	}
	if row := electionsRow(&run{}, storeBolt, first, nodeState{Term: 3}, seen, 0); row.Value != 0 || !row.Holds || row.Note != "" {
		t.Errorf("no election: %+v", row)
	}
}

func TestHistogram(t *testing.T) {
	var a, b histogram
	for i := 1; i <= 1000; i++ {
		h := &a
		if i%2 == 0 {
			h = &b
		}
		h.add(time.Duration(i) * time.Millisecond)
	}
	a.merge(&b)
	for q, want := range map[float64]float64{0.5: 500, 0.99: 990, 1: 1000} {
		if got := a.quantile(q); math.Abs(got-want)/want > growth-1 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	var none histogram
	none.add(0)
	none.add(time.Hour) // beyond the last bucket
	if got := none.quantile(1); got < 7e5 || (&histogram{}).quantile(0.5) != 0 {
		t.Errorf("an hour is %v ms", got)
	}
}

func TestDrive(t *testing.T) {
	over := make(chan struct{})
	calls := 0
	res, err := drive(t.Context(), loadArgs{Clients: 1}, over, func(context.Context, int) (outcome, error) {
		if calls++; calls == 30 {
			close(over)
		}
		return outcome(calls % 3), nil
	})
	if err != nil || res.Commits < 10 || res.Unsure < 10 || res.Failed < 10 || res.Rate <= 0 || res.P50 <= 0 {
		t.Errorf("%+v, %v", res, err)
	}
	wrong := errors.New("wrong answer")
	_, err = drive(t.Context(), loadArgs{Clients: 3, For: time.Hour}, nil, func(_ context.Context, c int) (outcome, error) {
		if c == 1 {
			return failed, wrong
		}
		return done, nil
	})
	if !errors.Is(err, wrong) {
		t.Errorf("a wrong answer did not end the load: %v", err)
	}
}

func TestPlainMachine(t *testing.T) {
	m, err := newPlainMachine()
	if err != nil {
		t.Fatal(err)
	}
	entry := func(rows ...*plainRow) (b []byte) {
		for _, r := range rows {
			b = r.encode(b)
		}
		return b
	}
	a := &plainRow{Count: 1, Key: "a", Owner: "o1", Place: "p", Type: "t", Value: []byte("x")}
	b := &plainRow{Count: 2, Key: "b", Owner: "o2", Place: "p", Type: "t"}
	moved := &plainRow{Count: 3, Key: "a", Owner: "o2", Place: "p", Type: "t"}
	out := m.ApplyBatch([]*raft.Log{
		{Type: raft.LogCommand, Data: entry(a, b)}, {Type: raft.LogConfiguration}, {Type: raft.LogCommand, Data: entry(moved)},
		{Type: raft.LogCommand, Data: []byte{9}},
	})
	if out[0] != int64(2) || out[1] != nil || out[2] != int64(3) {
		t.Errorf("%v", out)
	}
	if err, ok := out[3].(error); !ok || !errors.Is(err, errPlainRow) {
		t.Errorf("a cut entry: %v", out[3])
	}
	for index, want := range map[[2]string]int{{"owner", "o1"}: 0, {"owner", "o2"}: 2, {"place", "p"}: 2, {"id", "a"}: 1} {
		it, err := m.db.Txn(false).Get(plainTable, index[0], index[1])
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for it.Next() != nil {
			n++
		}
		if n != want {
			t.Errorf("%d rows with %v, want %d", n, index, want)
		}
	}
	var snap bytes.Buffer
	if err := (&plainSnapshot{m.db.Snapshot()}).write(&snap); err != nil || !bytes.Equal(snap.Bytes(), entry(moved, b)) {
		t.Errorf("%v, %q", err, snap.Bytes())
	}
}

func TestRowsAreOfTheSize(t *testing.T) {
	text := newTexts(3)
	for _, i := range []int{0, 31, 1_000_000} {
		row := rowAt(i, text)
		b, err := row.value()
		if err != nil || len(b) < rowSize-32 || len(b) > rowSize+32 || len(row.Ranges()) != 3 {
			t.Errorf("row %d: %d bytes, %v", i, len(b), err)
		}
	}
}

func FuzzDecodePlain(f *testing.F) {
	f.Add((&plainRow{Count: 7, Key: "k", Owner: "o", Place: "p", Type: "t", Value: []byte("value")}).encode(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, rest, err := decodePlain(data)
		if err != nil {
			return
		}
		again, none, err := decodePlain(r.encode(nil))
		if err != nil || len(none) != 0 || len(rest) > len(data) || again.Key != r.Key || again.Count != r.Count || !bytes.Equal(again.Value, r.Value) {
			t.Errorf("%+v became %+v, %v", r, again, err)
		}
	})
}

// A node that is started again begins to count anew: its histories may not be taken for those of the process before.
func TestLoadsHaveNamesOfTheirOwn(t *testing.T) {
	r := &run{}
	seen := map[string]bool{}
	for range 3 { // as many systems on the same node
		name := r.nextLoad()
		if seen[name] {
			t.Fatalf("%s was given twice", name)
		}
		seen[name] = true
	}
}
