package state_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/klauspost/compress/s2"

	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

// manySegments fills a state whose snapshot has many segments, and rows longer than one.
func manySegments(t *testing.T, db *statetest.DB) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	for i, size := range []int{0, 1, 100, 64 << 10, 128 << 10, 129 << 10, 200 << 10, 5, 180 << 10, 90 << 10, 90 << 10, 200 << 10} {
		text := make([]byte, size)
		for n := range text {
			text[n] = 'a' + byte(r.UintN(26))
		}
		put(t, db, &item{ID: fmt.Sprint(i), Env: "e", Name: fmt.Sprint(i), Log: []string{string(text)}})
	}
}

// TestFormsOfSegments: what a cluster of the first schema writes, older nodes read; every node reads both forms.
func TestFormsOfSegments(t *testing.T) {
	for magic, db := range map[string]*statetest.DB{"musterS1": oldDB(t), "musterS3": newDB(t)} {
		manySegments(t, db)
		data := snapshotOf(t, db).Bytes()
		if string(data[:8]) != magic {
			t.Errorf("a snapshot that begins with %q, not %q", data[:8], magic)
		}
		for name, r := range map[string]io.Reader{"at once": bytes.NewReader(data), "byte by byte": iotest.OneByteReader(bytes.NewReader(data)),
			"end with data": iotest.DataErrReader(bytes.NewReader(data))} {
			st, err := state.NewStore(state.Options{Tables: tables(t)})
			if err != nil {
				t.Fatal(err)
			}
			if err := st.Restore(r); err != nil || st.Fingerprint() != db.Store().Fingerprint() {
				t.Errorf("%s, %s: another state came out: %v", magic, name, err)
			}
		}
		c, err := state.Inspect(bytes.NewReader(data), nil)
		if err != nil || c.Tables["items"].Rows != 12 || int(c.Bytes) != len(data) {
			t.Errorf("%s: %+v, %v", magic, c, err)
		}
	}
}

// block makes one with a checksum that holds.
func block(data []byte) []byte {
	table := crc32.MakeTable(crc32.Castagnoli)
	head := binary.LittleEndian.AppendUint32(nil, uint32(len(data)))
	sum := crc32.Update(crc32.Update(0, table, head), table, data)
	return append(binary.LittleEndian.AppendUint32(head, sum), data...)
}

// blocksOf cuts a snapshot into its blocks.
func blocksOf(snapshot []byte) (out [][]byte) {
	for rest := snapshot[8:]; len(rest) > 8; {
		n := 8 + binary.LittleEndian.Uint32(rest)
		out, rest = append(out, rest[:n]), rest[n:]
	}
	return out
}

// withoutARow packs anew what blocks hold, without the last row: each checksum holds.
func withoutARow(t *testing.T, blocks [][]byte) [][]byte {
	t.Helper()
	var plain []byte
	for _, b := range blocks {
		part, err := s2.Decode(nil, b[8:])
		if err != nil {
			t.Fatal(err)
		}
		plain = append(plain, part...)
	}
	var row [2]int
	for at := 0; at < len(plain); {
		n, head := binary.Uvarint(plain[at+1:])
		end := at + 1 + head + int(n)
		if plain[at] == 2 { // its tag
			row = [2]int{at, end}
		}
		at = end
	}
	plain = slices.Delete(plain, row[0], row[1])
	var out [][]byte
	for part := range slices.Chunk(plain, 16<<10-1) {
		out = append(out, block(s2.Encode(nil, part)))
	}
	return out
}

// TestBrokenSegments: whatever cannot be is refused, and nothing that was begun for a snapshot goes on after it, or the
// bubble would not end.
func TestBrokenSegments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDB(t)
		manySegments(t, db)
		good := snapshotOf(t, db).Bytes()
		blocks := blocksOf(good)
		if len(blocks) < 50 {
			t.Fatalf("%d blocks only", len(blocks))
		}
		body := bytes.Join(blocks, nil)
		bare := func(parts ...[]byte) []byte { return bytes.Join(append([][]byte{[]byte("musterS3")}, parts...), nil) }
		again := func(parts ...[]byte) []byte { // with an end that holds
			all := bare(parts...)
			var sums []byte
			for rest := all[8:]; len(rest) >= 8; {
				sums = append(sums, rest[4:8]...)
				rest = rest[min(uint64(len(rest)), 8+uint64(binary.LittleEndian.Uint32(rest))):]
			}
			all = append(all, 0, 0, 0, 0)
			return binary.LittleEndian.AppendUint32(all, crc32.Checksum(sums, crc32.MakeTable(crc32.Castagnoli)))
		}
		long := func(n int, sum byte) []byte {
			return append(binary.LittleEndian.AppendUint32(nil, uint32(n)), 0, 0, 0, sum)
		}
		flipped := bytes.Clone(good)
		flipped[len(flipped)-1] ^= 1
		for name, data := range map[string][]byte{
			"nothing":             again(),
			"nothing at all":      bare(),
			"cut in a head":       bare(blocks[0], blocks[1][:2]),
			"cut in a block":      bare(blocks[0], blocks[1][:100]),
			"cut between two":     again(blocks[0]),
			"no end":              bare(body),
			"half an end":         good[:len(good)-4],
			"another end":         flipped,
			"a block twice":       again(blocks[0], body),
			"two the wrong way":   bare(append([][]byte{blocks[1], blocks[0]}, append(blocks[2:len(blocks):len(blocks)], good[len(good)-8:])...)...),
			"one missing":         bare(append(slices.Clone(blocks[1:]), good[len(good)-8:])...),
			"more than the end":   append(bytes.Clone(good), blocks[0]...),
			"one byte more":       append(bytes.Clone(good), 0),
			"far too long":        again(long(1<<31-9, 0), body),
			"longer than any":     again(long(s2.MaxEncodedLen(16<<10-1)+1, 0), make([]byte, 32<<10), body),
			"of what is not S2":   again(block([]byte("\x10garbage")), body),
			"holds nothing":       again(block(s2.Encode(nil, nil)), body),
			"holds too much":      again(block(s2.Encode(nil, make([]byte, 16<<10))), body),
			"holds far too much":  again(block([]byte("\xff\xff\xff\xff\x0f")), body),
			"says it holds more":  again(block(append([]byte{9}, s2.Encode(nil, []byte("12345678"))[1:]...)), body),
			"of a form of before": append([]byte("musterS2"), good[8:]...),
			"a row missing":       again(withoutARow(t, blocks)...),
		} {
			if _, err := state.Verify(bytes.NewReader(data)); !errors.Is(err, state.ErrDecode) {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := state.Inspect(bytes.NewReader(data), nil); !errors.Is(err, state.ErrDecode) {
				t.Errorf("%s: inspect: %v", name, err)
			}
		}
		if _, err := state.Verify(bytes.NewReader(again(body))); err != nil {
			t.Errorf("as it was: %v", err)
		}
		stop := errors.New("stop")
		if _, err := state.Inspect(bytes.NewReader(good), func(state.RawRow) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("who looks at the rows stops: %v", err)
		}
		for _, n := range []int{0, 4, 10, 1000, len(good) / 2, len(good) - 10} {
			_, err := state.Verify(io.MultiReader(bytes.NewReader(good[:n]), iotest.ErrReader(errors.New("the disk failed"))))
			if err == nil || !strings.Contains(err.Error(), "the disk failed") {
				t.Errorf("a disk that fails after %d bytes: %v", n, err)
			}
		}
	})
}

// TestFlippedBitsOfSegments: every bit counts, also those that S2 would not miss.
func TestFlippedBitsOfSegments(t *testing.T) {
	db := newDB(t)
	put(t, db, &item{ID: "1", Env: "e", Name: strings.Repeat("name", 100)})
	good := snapshotOf(t, db).Bytes()
	for i := range len(good) * 8 {
		data := bytes.Clone(good)
		data[i/8] ^= 1 << (i % 8)
		if _, err := state.Verify(bytes.NewReader(data)); !errors.Is(err, state.ErrDecode) {
			t.Errorf("bit %d of byte %d of %d: %v", i%8, i/8, len(good), err)
		}
	}
}

// failing takes some bytes and then no more.
type failing struct{ left int }

var errFull = errors.New("the disk is full")

func (f *failing) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

// TestWriterThatFails: wherever the disk fails, it is told, and nothing goes on.
func TestWriterThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDB(t)
		manySegments(t, db)
		size := snapshotOf(t, db).Len()
		for _, at := range []int{0, 7, 8, 1000, size / 2, size - 33, size - 1} {
			sn := db.Store().Snapshot()
			if err := sn.Write(&failing{left: at}); !errors.Is(err, errFull) {
				t.Errorf("full after %d of %d bytes: %v", at, size, err)
			}
			sn.Release()
		}
	})
}
