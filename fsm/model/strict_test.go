package model

import (
	"slices"
	"testing"
)

// TestHasControl puts each byte at each place among others, of which some have the high bit.
func TestHasControl(t *testing.T) {
	for size := range 20 {
		for at := range size {
			for c := range 256 {
				for _, rest := range []byte{' ', 'x', 0x7f, 0x80, 0xff} {
					data := slices.Repeat([]byte{rest}, size)
					data[at] = byte(c)
					if got, want := hasControl(data), c < 0x20; got != want {
						t.Fatalf("%#x at %d of %d among %#x: %v", c, at, size, rest, got)
					}
				}
			}
		}
	}
}

// TestStrictText tells where texts end, at once and by the byte.
func TestStrictText(t *testing.T) {
	for _, c := range []struct {
		text string
		end  int
	}{
		{`""`, 2}, {`"a"`, 3}, {`"a`, -1}, {`"`, -1}, {`"ä€"x"`, 7}, {`"a\"b"`, 6}, {`"a\\"`, 5}, {`"a\"`, -1}, {`"a\`, -1}, {`"a\x"`, -1},
		{`"<&>"`, 5}, {"\"a\x7f\"", 4}, {"\"a\n\"", -1}, {"\"abcdefgh\x1fabcdefgh\"", -1}, {"\"a\\n\x00\"", -1}, {`"a\u0041"`, -1}, {`"abcdefghi\tabc"`, 16},
	} {
		if got := strictText([]byte(c.text), 0); got != c.end {
			t.Errorf("%q ends at %d in place of %d", c.text, got, c.end)
		}
	}
}

func BenchmarkStrict(b *testing.B) {
	data := []byte(`{"value":"` + string(slices.Repeat([]byte("abcdefg "), 128)) + `"}`)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if !Strict(data, '{') {
			b.Fatal("not strict")
		}
	}
}
