package seal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/seal"
)

func TestValueOpensAtItsPlaceOnly(t *testing.T) {
	key, at := seal.NewDataKey("acme"), seal.Place{Table: "setting", Key: "host/password"}
	value := key.Seal([]byte(`{"value":"tr0ub4dor"}`), at)
	if !seal.Sealed(value) || bytes.Contains(value, []byte("tr0ub4dor")) {
		t.Fatalf("the value is not sealed: %q", value)
	}
	if got, err := key.Open(value, at); err != nil || string(got) != `{"value":"tr0ub4dor"}` {
		t.Fatalf("opened %q, %v", got, err)
	}
	if again := key.Seal([]byte(`{"value":"tr0ub4dor"}`), at); bytes.Equal(again, value) {
		t.Error("the same text sealed twice gives the same bytes")
	}
	for name, to := range map[string]seal.Place{
		"another row":     {Table: "setting", Key: "host/other"},
		"another table":   {Table: "git", Key: "host/password"},
		"a shifted place": {Table: "settinghost", Key: "/password"},
	} {
		if _, err := key.Open(value, to); !errors.Is(err, seal.ErrAuth) {
			t.Errorf("%s: %v, not ErrAuth", name, err)
		}
	}
	if _, err := seal.NewDataKey("acme").Open(value, at); !errors.Is(err, seal.ErrAuth) {
		t.Errorf("another key: %v, not ErrAuth", err)
	}
	for i := range value {
		bad := bytes.Clone(value)
		bad[i] ^= 1
		if got, err := key.Open(bad, at); err == nil {
			t.Errorf("with a flipped bit in byte %d it opens: %q", i, got)
		}
	}
	for n := range value {
		if _, err := key.Open(value[:n], at); err == nil {
			t.Errorf("cut to %d bytes it opens", n)
		}
	}
}

func TestDataKeyOpensForItsDomainOnly(t *testing.T) {
	ring, k := &seal.Keyring{}, seal.NewKey()
	if !ring.Add(k) || ring.Add(k) {
		t.Fatal("a key is new once")
	}
	d := seal.NewDataKey("acme")
	w, err := ring.Wrap(d, k.ID())
	if err != nil {
		t.Fatal(err)
	}
	got, err := ring.Unwrap(w, "acme")
	if err != nil {
		t.Fatal(err)
	}
	at := seal.Place{Table: "t", Key: "k"}
	if clear, err := got.Open(d.Seal([]byte("x"), at), at); err != nil || string(clear) != "x" {
		t.Fatalf("the unwrapped key opens %q, %v", clear, err)
	}
	if _, err := ring.Unwrap(w, "other"); !errors.Is(err, seal.ErrAuth) {
		t.Errorf("of another domain: %v", err)
	}
	renamed := w
	renamed.ID = seal.NewDataKey("acme").ID()
	if _, err := ring.Unwrap(renamed, "acme"); !errors.Is(err, seal.ErrAuth) {
		t.Errorf("under another id: %v", err)
	}
	var missing *seal.MissingKeyError
	if _, err := (&seal.Keyring{}).Unwrap(w, "acme"); !errors.As(err, &missing) || missing.ID != k.ID() {
		t.Errorf("without the key: %v", err)
	}
	if _, err := ring.Wrap(d, "0011223344556677"); !errors.As(err, &missing) {
		t.Errorf("wrapped with a key that is not there: %v", err)
	}
}

func TestKeyFile(t *testing.T) {
	ring := &seal.Keyring{}
	ring.Add(seal.NewKey(), seal.NewKey())
	text := ring.Text()
	got, err := seal.ParseKeyring(text)
	if err != nil || fmt.Sprint(got.IDs()) != fmt.Sprint(ring.IDs()) {
		t.Fatalf("%v, %v", got, err)
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	head := len(lines[0])
	for i := head; i < len(text)-1; i++ {
		for bit := range 8 {
			bad := bytes.Clone(text)
			bad[i] ^= 1 << bit
			r, err := seal.ParseKeyring(bad)
			if err == nil && bytes.Equal(r.Text(), text) {
				t.Errorf("a flipped bit %d of byte %d makes no difference", bit, i)
			}
			if err == nil && bad[i] != '#' && bad[i] != '\n' && len(r.IDs()) == 2 {
				t.Errorf("bit %d of byte %d flipped is taken for keys: %v", bit, i, r)
			}
			if err != nil && strings.Contains(err.Error(), strings.TrimSpace(string(lines[1][40:60]))) {
				t.Errorf("the error shows the key: %v", err)
			}
		}
	}
	for _, text := range []string{"", "# nothing\n", "muster-key-1.", "muster-key-2.aa.bb", "x"} {
		if _, err := seal.ParseKeyring([]byte(text)); !errors.Is(err, seal.ErrForm) {
			t.Errorf("%q: %v, not ErrForm", text, err)
		}
	}
}

func TestKeysAreNotShown(t *testing.T) {
	k, d := seal.NewKey(), seal.NewDataKey("acme")
	ring := &seal.Keyring{}
	ring.Add(k)
	secret := strings.TrimPrefix(k.Text(), "muster-key-1."+k.ID()+".")
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", k, "data", d, "ring", ring)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", k, "data", d, "ring", ring)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		fmt.Fprintf(&log, verb+" "+verb, k, d)
	}
	fmt.Fprintf(&log, "%v %s", ring, ring)
	if strings.Contains(log.String(), secret) || strings.Contains(log.String(), "raw") {
		t.Errorf("a key is shown: %s", log.String())
	}
	if !strings.Contains(log.String(), k.ID()) {
		t.Errorf("the id is not shown: %s", log.String())
	}
	if _, err := json.Marshal(k); err == nil {
		t.Error("a key is written as JSON")
	}
	if _, err := json.Marshal(d); err == nil {
		t.Error("a data key is written as JSON")
	}
}

func FuzzParseKeyring(f *testing.F) {
	ring := &seal.Keyring{}
	ring.Add(seal.NewKey())
	f.Add(ring.Text())
	f.Add([]byte("muster-key-1.00.AA\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := seal.ParseKeyring(text)
		if err != nil {
			if !errors.Is(err, seal.ErrForm) {
				t.Fatalf("%v is not ErrForm", err)
			}
			return
		}
		again, err := seal.ParseKeyring(r.Text())
		if err != nil || fmt.Sprint(again.IDs()) != fmt.Sprint(r.IDs()) {
			t.Fatalf("written again it reads %v, %v", again, err)
		}
	})
}

func FuzzParseHead(f *testing.F) {
	key, at := seal.NewDataKey("acme"), seal.Place{Table: "t", Key: "k"}
	f.Add(key.Seal([]byte("x"), at))
	f.Add([]byte{0xA5, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, value []byte) {
		h, err := seal.ParseHead(value)
		if domain, ok := seal.DomainOf(value); ok != (err == nil) || string(domain) != h.Domain {
			t.Fatalf("the domain is %q, %v; the head is %+v, %v", domain, ok, h, err)
		}
		if err != nil {
			if !errors.Is(err, seal.ErrForm) {
				t.Fatalf("%v is not ErrForm", err)
			}
			return
		}
		if len(h.Domain) > len(value) || len(h.KeyID) != 16 {
			t.Fatalf("%+v", h)
		}
		_, _ = key.Open(value, at)
	})
}

func BenchmarkSealAndOpen(b *testing.B) {
	key, at, text := seal.NewDataKey("acme"), seal.Place{Table: "setting", Key: "o/k"}, bytes.Repeat([]byte("x"), 1024)
	for b.Loop() {
		if _, err := key.Open(key.Seal(text, at), at); err != nil {
			b.Fatal(err)
		}
	}
}
