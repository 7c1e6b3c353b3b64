package model

import "testing"

// slowPlainLen is plainLen byte by byte.
func slowPlainLen(data []byte) int {
	for i, c := range data {
		if !plainByte(c) {
			return i
		}
	}
	return len(data)
}

// TestPlainLen puts each byte at each place among plain ones, alone and beside another: what goes by sixteen bytes tells
// the same as what goes by one.
func TestPlainLen(t *testing.T) {
	for size := range 40 {
		for at := range size {
			for c := range 256 {
				data := []byte("abcdefghijklmnopqrstuvwxyz !#$%'()*+,-.~"[:size])
				data[at] = byte(c)
				if got, want := plainLen(data), slowPlainLen(data); got != want {
					t.Fatalf("byte %#x at %d of %d: %d plain bytes in place of %d", c, at, size, got, want)
				}
				for _, next := range []byte{0, 0x1f, 0x20, 0x7f, 0x80, 0xff, '"', '\\'} {
					data[size-1] = next
					if got, want := plainLen(data), slowPlainLen(data); got != want {
						t.Fatalf("byte %#x at %d of %d before %#x: %d plain bytes in place of %d", c, at, size, next, got, want)
					}
				}
			}
		}
	}
}

func BenchmarkPlainLen(b *testing.B) {
	data := make([]byte, 1024)
	for i := range data {
		data[i] = byte('a' + i%26)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if plainLen(data) != len(data) {
			b.Fatal("not plain")
		}
	}
}
