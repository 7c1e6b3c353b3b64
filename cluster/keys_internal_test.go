package cluster

import (
	"errors"
	"testing"
)

func FuzzDecodeKeyIDs(f *testing.F) {
	f.Add([]byte(`["be26d19828adf8e1"]`))
	f.Add([]byte(`{"a":1}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := decodeKeyIDs(body); err != nil && !errors.Is(err, errFrame) {
			t.Fatalf("%v is not errFrame", err)
		}
	})
}

// Every duty of a leader waits for keys, and looks again every few seconds: what they log is told once, and again when the node
// lacks a key another time.
func TestLackOfKeysIsToldOnce(t *testing.T) {
	k := &keeper{}
	for i, step := range []struct {
		line string
		want bool
	}{{"a", true}, {"a", false}, {"b", true}, {"a", false}, {"", true}, {"a", true}} {
		if step.line == "" {
			k.forgetNews()
		} else if got := k.news(step.line); got != step.want {
			t.Errorf("step %d: %v", i, got)
		}
	}
}
