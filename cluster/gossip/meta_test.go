package gossip

import "testing"

func FuzzDecodeMeta(f *testing.F) {
	f.Add([]byte(`{"c":"x","a":"h:1"}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := decodeMeta(b); err == nil && m.ClusterAddr == "" {
			t.Error("took metadata without an address")
		}
	})
}
