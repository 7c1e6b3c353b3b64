package cluster

import (
	"testing"

	"github.com/hashicorp/raft"
)

// TestContradictingEntries: a snapshot of entry 10 and term 3, and what leaders send.
func TestContradictingEntries(t *testing.T) {
	entries := func(from uint64, terms ...uint64) (out []*raft.Log) {
		for i, term := range terms {
			out = append(out, &raft.Log{Index: from + uint64(i), Term: term})
		}
		return out
	}
	p := &place{index: 10, term: 3}
	for name, c := range map[string]struct {
		es   []*raft.Log
		want bool
	}{
		"after it":                        {entries(11, 3, 4), false},
		"up to it":                        {entries(8, 1, 3, 3, 4), false},
		"another one in its place":        {entries(9, 2, 2, 4), true},
		"a later one in its place":        {entries(10, 4), true},
		"a later one before it":           {entries(9, 4, 4, 4), true},
		"a later one, well before it":     {entries(2, 1, 4), true},
		"earlier ones that end before it": {entries(2, 1, 1), false},
		"nothing":                         {nil, false},
	} {
		if got := p.contradicts(c.es); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if (*place)(nil).contradicts(entries(1, 1)) {
		t.Error("without a snapshot")
	}
}
