package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

// shelf is a store in memory with faults that can be switched on.
type shelf struct {
	mu     sync.Mutex
	values map[string]string
	n      int64

	losing  bool // every tenth write is acknowledged and forgotten
	still   bool // versions do not grow
	garbled bool // reads give something else
}

func (s *shelf) create(ctx context.Context, key, value string) (int64, error) {
	return s.put(ctx, key, value)
}

func (s *shelf) put(_ context.Context, key, value string) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n++; !s.losing || s.n%10 != 0 {
		s.values[key] = value
	}
	if s.still {
		return 1, nil
	}
	return s.n, nil
}

func (s *shelf) begin(context.Context, string) error { return nil }

func (s *shelf) bulk(ctx context.Context, keys, values []string) (v int64, err error) {
	for i, key := range keys {
		if v, err = s.put(ctx, key, values[i]); err != nil {
			return 0, err
		}
	}
	return v, nil
}

func (s *shelf) get(_ context.Context, key string, _ bool) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.garbled {
		return "something else", nil
	}
	v, ok := s.values[key]
	if !ok {
		return "", errors.New("there is no such key")
	}
	return v, nil
}

func (s *shelf) close() error { return nil }

func measured(t *testing.T, s *shelf, op string) (result, error) {
	t.Helper()
	s.values = map[string]string{}
	c := config{nodes: []string{"a", "b", "c"}, op: op, clients: 6, keys: 4, size: 128, warm: time.Millisecond, run: 20 * time.Millisecond}
	return measure(t.Context(), c, func(string) (store, error) { return s, nil })
}

func TestMeasure(t *testing.T) {
	for _, op := range []string{"put", "bulk", "get", "stale"} {
		r, err := measured(t, &shelf{}, op)
		if err != nil || r.Ops == 0 || r.Rate <= 0 || r.Missing != 0 || r.Read != 24 || r.P50 > r.P99 || r.P99 > r.Max {
			t.Errorf("%s: %+v, %v", op, r, err)
		}
	}
}

func TestMeasureFindsWhatIsWrong(t *testing.T) {
	if r, err := measured(t, &shelf{losing: true}, "put"); err == nil && r.Missing == 0 {
		t.Errorf("lost writes were not missed: %+v", r)
	}
	if _, err := measured(t, &shelf{still: true}, "put"); err == nil || !strings.Contains(err.Error(), "lost or doubled") {
		t.Errorf("versions that do not grow: %v", err)
	}
	if _, err := measured(t, &shelf{garbled: true}, "get"); err == nil || !strings.Contains(err.Error(), "in place of") {
		t.Errorf("a read of something else: %v", err)
	}
}

// TestABulkReplyIsChecked: each setting must be there with its value, and no other.
func TestABulkReplyIsChecked(t *testing.T) {
	keys, values := []string{"k-0", "k-1"}, []string{"k-0 7 xx", "k-1 7 xx"}
	reply := func(a, b string) []byte {
		return []byte(`{"count":2,"items":[{"uuid":"1","key":"k-0","value":"` + a + `","version":41},{"version":42,"value":"` + b + `","key":"k-1"}]}`)
	}
	if v, err := checkBulk(reply(values[0], values[1]), keys, values); err != nil || v != 41 {
		t.Errorf("a right reply: version %d, %v", v, err)
	}
	for name, b := range map[string][]byte{
		"an old value":    reply(values[0], "k-1 6 xx"),
		"values swapped":  reply(values[1], values[0]),
		"one lacks":       []byte(`{"items":[{"key":"k-0","value":"k-0 7 xx","version":41}]}`),
		"one too many":    append(bytes.TrimSuffix(reply(values[0], values[1]), []byte("]}")), `,{"key":"k-2","value":"","version":1}]}`...),
		"it is cut off":   reply(values[0], values[1])[:90],
		"no version":      bytes.Replace(reply(values[0], values[1]), []byte(`"version":41`), []byte(`"vision":41`), 1),
		"another answer":  []byte(`{"error":["busy"]}`),
		"nothing":         nil,
		"an empty answer": []byte(`{"items":[]}`),
	} {
		if v, err := checkBulk(b, keys, values); err == nil {
			t.Errorf("%s was taken for right, version %d", name, v)
		}
	}
}
