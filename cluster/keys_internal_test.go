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
