package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/internal/freemarker"
)

// TestEngineAgrees runs a fixed list of templates with both engines, and all cases of the package's tests.
func TestEngineAgrees(t *testing.T) {
	engine := start(t)
	texts := 0
	for seed := range uint64(200) {
		why, failed, err := compare(engine, generate(fresh(seed)))
		if err != nil {
			t.Fatal(err)
		}
		if !failed {
			texts++
		}
		if why != "" {
			t.Errorf("seed %d: %s", seed, why)
		}
	}
	if texts < 100 {
		t.Errorf("only %d of 200 templates give a text: the generator makes little sense", texts)
	}
	for _, c := range found(t) {
		got, err := engine.Render(c.Template, string(c.Data))
		if err != nil {
			t.Fatal(err)
		}
		if c.Expected != nil && (got.Failed || got.Text != *c.Expected) || c.Expected == nil && (!got.Failed || got.Line != c.Error.Line) {
			t.Errorf("%s: the reference gives %+v", c.Name, got)
		}
	}
}

type foundCase struct {
	Name, Template string
	Data           json.RawMessage
	Expected       *string
	Error          struct{ Line int }
}

func found(t *testing.T) (out []foundCase) {
	t.Helper()
	raw, err := os.ReadFile("../../fsm/template/testdata/found.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &out); err != nil || len(out) < 10 {
		t.Fatalf("%d cases: %v", len(out), err)
	}
	return out
}

func start(t *testing.T) *freemarker.Engine {
	t.Helper()
	engine, err := freemarker.Start(context.Background())
	if errors.Is(err, freemarker.ErrAbsent) {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := engine.Close(); err != nil {
			t.Errorf("closing the engine: %v", err)
		}
	})
	return engine
}

// TestDifferenceIsTold gives the reference another text than ours, and wants that told and shrunk.
func TestDifferenceIsTold(t *testing.T) {
	engine := start(t)
	for name, s := range map[string]sample{
		"text":   {ours: "a${1}", reference: "b${1}", data: "{}"},
		"ours":   {ours: "${x}", reference: "x", data: "{}"},
		"theirs": {ours: "x", reference: "${x}", data: "{}"},
		"line":   {ours: "\n${x}", reference: "${x}", data: "{}"},
	} {
		if why, _, err := compare(engine, s); err != nil || why == "" {
			t.Errorf("%s: got %q, %v", name, why, err)
		}
	}
	var out bytes.Buffer
	n, err := fuzz(context.Background(), options{time: time.Minute, seed: 1, count: 20, stop: 1}, &out)
	if err != nil || n != 0 || !strings.Contains(out.String(), "20 templates") {
		t.Errorf("got %d, %v, %s", n, err, out.String())
	}
}

func TestShrink(t *testing.T) {
	list := make([]uint32, 200)
	for i := range list {
		list[i] = uint32(i + 3)
	}
	// The failure needs one number above 50, and one that is even after it.
	fails := func(l []uint32) bool {
		at := slices.IndexFunc(l, func(v uint32) bool { return v > 50 })
		return at >= 0 && slices.ContainsFunc(l[at+1:], func(v uint32) bool { return v%2 == 0 })
	}
	if got := shrink(list, 2000, fails); len(got) != 2 || !fails(got) || got[1] != 0 {
		t.Errorf("got %v", got)
	}
	again := generate(replayed(generate(fresh(7)).made))
	if first := generate(fresh(7)); again.ours != first.ours || again.data != first.data {
		t.Error("a template made again from its choices is another one")
	}
}
