package state_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
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
	for magic, db := range map[string]*statetest.DB{"musterS1": oldDB(t), "musterS2": newDB(t)} {
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

// TestBrokenSegments: every length that cannot be is refused, and nothing that was begun for a snapshot goes on after
// it, or the bubble would not end.
func TestBrokenSegments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDB(t)
		manySegments(t, db)
		good := snapshotOf(t, db).Bytes()
		body := good[8 : len(good)-sha256.Size]
		first := 4 + int(binary.LittleEndian.Uint32(body))
		again := func(parts ...[]byte) []byte { // with a checksum that holds
			all := bytes.Join(append([][]byte{[]byte("musterS2")}, parts...), nil)
			sum := sha256.Sum256(all)
			return append(all, sum[:]...)
		}
		long := func(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }
		bomb := s2.Encode(nil, make([]byte, 16<<20))
		for name, data := range map[string][]byte{
			"nothing":            again(),
			"cut in a length":    again(body[:2]),
			"cut in a segment":   again(body[:first+100]),
			"cut between two":    again(body[:first]),
			"a segment twice":    again(body[:first], body),
			"more than the end":  again(body, body[:first]),
			"far too long":       again(long(1<<31), body),
			"of no bytes":        again(long(0), body),
			"of what is not S2":  again(long(8), []byte("\x10garbage"), body),
			"holds far too much": again(long(uint32(len(bomb))), bomb, body),
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
