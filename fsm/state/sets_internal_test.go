package state

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestSetsOfTransactions holds the sets of reads and writes against maps, over sizes on both sides of fewInSet.
func TestSetsOfTransactions(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		var reads readSet
		var writes writeSet
		wantReads, wantWrites := map[Read]struct{}{}, map[string]*pending{}
		names := 1 + r.IntN(4*fewInSet)
		for range 8 * fewInSet {
			table, key := "t"+fmt.Sprint(r.IntN(2)), fmt.Sprint(r.IntN(names))
			read := Read{Kind: ReadKind(1 + r.IntN(4)), Table: table, Name: key}
			switch r.IntN(3) {
			case 0:
				reads.add(read)
				wantReads[read] = struct{}{}
			case 1:
				reads.drop(read)
				delete(wantReads, read)
			case 2:
				p := writes.of(table, key)
				if p != wantWrites[rowID(table, key)] {
					t.Fatalf("seed %d: the entry of %s %s is another", seed, table, key)
				}
				if p == nil {
					p = &pending{table: table, key: key}
					writes.add(p)
					wantWrites[rowID(table, key)] = p
				}
			}
		}
		got := reads.all()
		slices.SortFunc(got, compareReads)
		if want := slices.SortedFunc(maps.Keys(wantReads), compareReads); !slices.Equal(got, want) {
			t.Fatalf("seed %d: read %v in place of %v", seed, got, want)
		}
		var ids []string
		for _, p := range writes.sorted() {
			ids = append(ids, rowID(p.table, p.key))
		}
		if want := slices.Sorted(maps.Keys(wantWrites)); !slices.Equal(ids, want) {
			t.Fatalf("seed %d: writes %q in place of %q", seed, ids, want)
		}
	}
}

// TestEncodedSize holds the guess against what is written.
func TestEncodedSize(t *testing.T) {
	c := &Commit{Base: 1 << 40, Epoch: 3, Term: 9, Schema: SchemaEvents, Actor: "somebody"}
	for i := range 40 {
		name := fmt.Sprintf("row-%d", i)
		c.Reads = append(c.Reads, Read{Kind: ReadMembers, Table: "table", Name: name})
		c.Writes = append(c.Writes, Write{Table: "table", Key: name, Old: []string{name, "x"}, New: []string{"a", "b", "c"}, Value: make([]byte, 100*i)})
		c.Events = append(c.Events, EventNote{Write: i, Org: "org", Object: name})
		if got, guess := len(c.Encode(nil)), c.EncodedSize(); got > guess || guess > got+120+40*len(c.Writes) {
			t.Errorf("%d writes: %d bytes, and %d were expected", len(c.Writes), got, guess)
		}
	}
}
