package state

import (
	"errors"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// FuzzLogChunk: a row of a log reads as records or as an error, and what reads is written the same again.
func FuzzLogChunk(f *testing.F) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		f.Fatal(err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(1<<20))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{logOpen, 0, 0, 0, 0, 0, 0, 0, 7, 4, 1, 2, 'a', 'b', 3, 2, 2, 'c'})
	c, err := decodeChunk([]byte{logOpen, 0, 0, 0, 0, 0, 0, 0, 7, 4, 1, 2, 'a', 'b', 3, 2, 2, 'c'}, nil)
	if err != nil || c.n != 2 || c.first != 7 || !c.from.Equal(time.Unix(0, 1)) {
		f.Fatalf("%+v, %v", c, err)
	}
	f.Add(c.encode(logPlain, c.body))
	f.Add(c.encode(logZstd, enc.EncodeAll(c.body, nil)))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := decodeChunk(data, dec)
		if err != nil {
			if !errors.Is(err, ErrDecode) {
				t.Errorf("error %v", err)
			}
			return
		}
		again, err := decodeChunk(c.encode(logZstd, enc.EncodeAll(c.body, nil)), dec)
		if err != nil || again.n != c.n || again.first != c.first || string(again.body) != string(c.body) {
			t.Errorf("%+v became %+v, %v", c, again, err)
		}
	})
}
