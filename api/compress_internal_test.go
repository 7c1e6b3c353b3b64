package api

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
)

func TestChosenCoding(t *testing.T) {
	for accept, want := range map[string]string{
		"": "", "identity": "", "gzip": "gzip", "zstd": "zstd", "gzip, zstd": "zstd", "zstd;q=0.5, gzip": "gzip", "gzip;q=0": "", "gzip;q=x": "",
		"br, deflate": "", "GZIP ; q=0.1, br": "gzip", "*": "", "zstd;q=0, gzip;q=0.001": "gzip",
	} {
		if got := chosenCoding([]string{accept}); got != want {
			t.Errorf("%q: %q, want %q", accept, got, want)
		}
	}
}

func TestNamesSecret(t *testing.T) {
	for doc, want := range map[string]bool{
		`{"schema":{"secret":true}}`: true, `{"schema":{"Secret":true}}`: true, `{"schema":{"secret":false}}`: false, `{"password":"x"}`: true,
		`{"password":""}`: false, `{"token":null}`: false, `{"access":{"secretKey":"S"}}`: true, `{"a":"token"}`: false, `{"secrets":1}`: false,
		`["a","secret":`: true, `"secret"`: false, ``: false, `{"jwtToken":"e"}`: true,
	} {
		if got := namesSecret([]byte(doc)); got != want {
			t.Errorf("%s: %t", doc, got)
		}
	}
}

// Whatever comes as a coded body, it ends with content within the limit or with an error for its sender; and what was coded
// comes back.
func FuzzDecodedBody(f *testing.F) {
	k, err := newCompressors()
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("x"), true)
	f.Add([]byte{0x1f, 0x8b, 8, 0}, true)
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd}, false)
	f.Fuzz(func(t *testing.T, body []byte, gz bool) {
		coding := "zstd"
		if gz {
			coding = "gzip"
		}
		const limit = 1 << 16
		read := func(b []byte) ([]byte, error) {
			d, err := decoded(http.Header{"Content-Encoding": {coding}}, io.NopCloser(bytes.NewReader(b)))
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close() //nolint:errcheck // a reader of bytes
			return io.ReadAll(http.MaxBytesReader(nil, d, limit))
		}
		got, err := read(body)
		var large *http.MaxBytesError
		if len(got) > limit || err != nil && !errors.As(err, &large) && model.CodeOf(err) != model.Invalid {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		small, err := k.compress(coding, body)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := read(small); len(body) <= limit && (err != nil || !bytes.Equal(got, body)) {
			t.Fatalf("%q came back as %q, %v", body, got, err)
		}
	})
}
