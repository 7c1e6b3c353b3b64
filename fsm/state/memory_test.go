package state

import (
	"maps"
	"math/rand/v2"
	"testing"
)

// TestMemoryAgainstModel compares the memory, with snapshots taken and let go at random, with one that
// keeps everything: what is remembered must be right, and what is forgotten must lie at or below the floor.
func TestMemoryAgainstModel(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	m, plain := newMemory(40), newMemory(40)
	full := map[mark]uint64{}
	type held struct {
		m    *memory
		want map[mark]uint64
	}
	var snaps []held
	for index := uint64(1); index < 3000; index++ {
		for range r.IntN(4) {
			k := mark(r.IntN(200))
			m.touch(k, index)
			plain.touch(k, index)
			full[k] = index
		}
		id := ID{byte(index), byte(index >> 8)}
		m.remember(id, took{index: index})
		plain.remember(id, took{index: index})
		m.turn(index)
		plain.turn(index)
		switch r.IntN(10) {
		case 0:
			snaps = append(snaps, held{m.freeze(), everything(m)})
		case 1, 2:
			if len(snaps) > 0 {
				s := snaps[0]
				snaps = snaps[1:]
				if got := everything(s.m); !maps.Equal(got, s.want) {
					t.Fatalf("index %d: a frozen memory changed", index)
				}
				s.m.release()
			}
		}
		m.thaw()
		if m.floor != plain.floor || m.young.marks.n != plain.young.marks.n || m.old.ids.n != plain.old.ids.n {
			t.Fatalf("index %d: snapshots changed what is forgotten: floor %d and %d", index, m.floor, plain.floor)
		}
		for k, want := range full {
			if got := m.last(k); got != want && (got != 0 || want > m.floor) {
				t.Fatalf("index %d: mark %d is %d, want %d; floor %d", index, k, got, want, m.floor)
			}
		}
		if n := m.young.marks.n + m.old.marks.n; n > 2*40 {
			t.Fatalf("index %d: %d marks are remembered", index, n)
		}
	}
	if m.floor == 0 {
		t.Error("nothing was forgotten")
	}
}

// TestLayersAgainstMap sets, freezes and thaws by a few keys at a time; a plain map tells what must be in there.
func TestLayersAgainstMap(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	var l layers[int, int]
	want := map[int]int{}
	type held struct {
		l    layers[int, int]
		want map[int]int
	}
	var frozen []held
	all := func(l *layers[int, int]) map[int]int {
		out := map[int]int{}
		l.each(func(k, v int) { out[k] = v })
		return out
	}
	most := 0
	for n := range 20000 {
		k := r.IntN(300)
		l.set(k, n)
		want[k] = n
		switch r.IntN(40) {
		case 0:
			frozen = append(frozen, held{l.freeze(), maps.Clone(want)})
		case 1, 2:
			for _, f := range frozen {
				if got := all(&f.l); !maps.Equal(got, f.want) || f.l.n != len(f.want) {
					t.Fatalf("step %d: a frozen copy changed", n)
				}
			}
			frozen = nil
		}
		if len(frozen) == 0 {
			l.thaw(r.IntN(8))
		}
		most = max(most, len(l.maps))
		if l.n != len(want) {
			t.Fatalf("step %d: %d keys, want %d", n, l.n, len(want))
		}
		if got, ok := l.get(k); !ok || got != n {
			t.Fatalf("step %d: key %d is %d, %v", n, k, got, ok)
		}
		if n%50 == 0 && !maps.Equal(all(&l), want) {
			t.Fatalf("step %d: the layers hold something else", n)
		}
	}
	if most < 3 || len(l.maps) > most {
		t.Errorf("at most %d layers do not test much", most)
	}
}

func everything(m *memory) map[mark]uint64 {
	out := map[mark]uint64{}
	m.old.marks.each(func(k mark, v uint64) { out[k] = v })
	m.young.marks.each(func(k mark, v uint64) { out[k] = v })
	return out
}

// TestMarksAreFixed holds the hash in place: another one would make nodes of two versions disagree.
func TestMarksAreFixed(t *testing.T) {
	for _, c := range []struct {
		kind        byte
		table, name string
		want        mark
	}{
		{markRow, "hosts", "1", 0xac8c144a9b506265},
		{markContent, "items", "env/e", 0x5e007e6b1d242417},
	} {
		if got := markOf(c.kind, c.table, c.name); got != c.want {
			t.Errorf("mark of %c %s %s is %#x, want %#x", c.kind, c.table, c.name, uint64(got), uint64(c.want))
		}
	}
	if markOf(markRow, "ab", "c") == markOf(markRow, "a", "bc") {
		t.Error("the names run together")
	}
}

func TestCarryKeepsWhatTheTypeDoesNotKnow(t *testing.T) {
	type embedded struct {
		In string `json:"in"`
	}
	type row struct {
		embedded
		A      int `json:"a,omitempty"`
		Plain  int
		Hidden int `json:"-"`
	}
	for _, c := range []struct{ old, value, want string }{
		{`{"a":1}`, `{}`, `{}`},
		{`{"x":1.50}`, `{}`, `{"x":1.50}`},
		{`{"x":{"y":[1, 2]},"A":3,"plain":4,"in":"i","b":null}`, `{"a":2}`, `{"a":2,"b":null,"x":{"y":[1, 2]}}`},
		{`{"big":12345678901234567890}`, `{"a":1}`, `{"a":1,"big":12345678901234567890}`},
		{`{"q\"":1}`, `{"a":1}`, `{"a":1,"q\"":1}`},
	} {
		got, err := carry([]byte(c.old), []byte(c.value), fieldsKnown(&row{}))
		if err != nil || string(got) != c.want {
			t.Errorf("carry(%s, %s) = %s, %v; want %s", c.old, c.value, got, err, c.want)
		}
	}
	if _, err := carry([]byte(`[1]`), []byte(`{}`), fieldsKnown(&row{})); err == nil {
		t.Error("a stored row that is no object was carried")
	}
}

func FuzzDecodeHead(f *testing.F) {
	f.Add(contentHead{size: 5, chunks: 1, nonce: "n"}.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := decodeHead(data)
		if err != nil {
			return
		}
		again, err := decodeHead(h.encode())
		if err != nil || again != h {
			t.Errorf("%+v became %+v, %v", h, again, err)
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add((&record{table: "t", key: "k", ranges: []string{"a", "b"}, value: []byte("{}"), version: Version{1, 2}}).encode(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeRecord(data)
		if err != nil {
			return
		}
		again, err := decodeRecord(r.encode(nil))
		if err != nil || again.key != r.key || again.version != r.version || string(again.value) != string(r.value) {
			t.Errorf("%+v became %+v, %v", r, again, err)
		}
	})
}

func FuzzDecodeSchema(f *testing.F) {
	f.Add(encodeSchema(2, "1.0"))
	f.Add(append(encodeSchema(300, ""), "what comes later"...))
	f.Fuzz(func(t *testing.T, data []byte) {
		schema, version, err := decodeSchema(data)
		if err != nil {
			return
		}
		again, text, err := decodeSchema(encodeSchema(schema, version))
		if err != nil || again != schema || text != version || schema < SchemaFirst {
			t.Errorf("schema %d of %q became %d of %q, %v", schema, version, again, text, err)
		}
	})
}

func FuzzReadEvents(f *testing.F) {
	e := Event{Version: Version{5, 6}, Org: "o", Kind: "k.created", Object: "x", Actor: "a"}
	later := e
	later.Version.Pos++
	f.Add(e.encode(nil))
	f.Add(later.encode(e.encode(nil)))
	f.Add(e.encode(later.encode(nil)))
	f.Fuzz(func(t *testing.T, data []byte) {
		l := &loaded{ring: ring{limit: 1 << 20}}
		if l.readEvents(data) != nil {
			return
		}
		var again []byte
		for i := range l.ring.n {
			again = l.ring.at(i).encode(again)
		}
		copied := &loaded{ring: ring{limit: 1 << 20}}
		if err := copied.readEvents(again); err != nil || copied.ring.n != l.ring.n || copied.ring.bytes != l.ring.bytes {
			t.Errorf("%d events in %d bytes became %d in %d, %v", l.ring.n, l.ring.bytes, copied.ring.n, copied.ring.bytes, err)
		}
	})
}
