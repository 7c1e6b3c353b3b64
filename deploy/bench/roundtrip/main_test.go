package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestBareRoundTrip(t *testing.T) {
	b, err := newBare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if took, err := b.roundTrip(t.Context()); err != nil || took <= 0 {
			t.Errorf("%v, %v", took, err)
		}
	}
	if err := b.close(); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := b.roundTrip(ctx); err == nil {
		t.Error("a round trip without a hub")
	}
}

func TestMessagesAreOfTheRealSize(t *testing.T) {
	order, reply, err := messages()
	if err != nil {
		t.Fatal(err)
	}
	if len(order) < len(content("x")) || len(order) > 4*len(content("x")) || len(reply) < 200 {
		t.Errorf("an order of %d bytes, a reply of %d", len(order), len(reply))
	}
}

func TestRows(t *testing.T) {
	var r results
	ms := func(put, done int) measured {
		return measured{put: time.Duration(put) * time.Millisecond, done: time.Duration(done) * time.Millisecond}
	}
	for i := range 3 {
		r.add([]measured{ms(2, 10+i), ms(2, 10+i)}, []measured{ms(0, 1), ms(0, 5)})
	}
	rows := r.rows()
	if rows[0].Value != 11 || rows[0].Baseline != 1 || rows[1].Baseline != 5 || rows[2].Value != 2 || rows[2].Ratio != 2 {
		t.Errorf("%+v", rows)
	}
}

func TestRefusals(t *testing.T) {
	out := filepath.Join(t.TempDir(), "x.json")
	if err := run(t.Context(), "bin", out, 0, 1); err == nil {
		t.Error("no turns")
	}
	if err := run(t.Context(), t.TempDir(), out, 1, 1); err == nil || !strings.Contains(err.Error(), "muster") {
		t.Errorf("without programs: %v", err)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("results of nothing")
	}
}
