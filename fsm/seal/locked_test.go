package seal_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/seal"
)

// TestLockedKeys: a file of keys opens with its passphrase, with no other, and not after a change; no error tells either.
func TestLockedKeys(t *testing.T) {
	const pass = "twelve little characters"
	ring := &seal.Keyring{}
	ring.Add(seal.NewKey(), seal.NewKey())
	text, err := ring.Locked(pass)
	if err != nil || !seal.IsLocked(text) || seal.IsLocked(ring.Text()) {
		t.Fatal(err)
	}
	for _, k := range ring.Keys() {
		if bytes.Contains(text, []byte(k.Text())) || bytes.Contains(text, []byte(k.ID())) {
			t.Error("the encrypted file shows a key")
		}
	}
	got, err := seal.ParseLocked(text, pass)
	if err != nil || !bytes.Equal(got.Text(), ring.Text()) {
		t.Fatalf("%v, %v", got, err)
	}
	for name, c := range map[string]struct {
		text []byte
		pass string
		want error
	}{
		"another passphrase": {text, "twelve other characters", seal.ErrPassphrase},
		"no passphrase":      {text, "", seal.ErrPassphrase},
		"cut":                {text[:len(text)/2], pass, seal.ErrForm},
		"clear":              {ring.Text(), pass, seal.ErrForm},
		"empty":              {nil, pass, seal.ErrForm},
	} {
		got, err := seal.ParseLocked(c.text, c.pass)
		if got != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if err != nil && (strings.Contains(err.Error(), c.pass) && c.pass != "" || strings.Contains(err.Error(), ring.Keys()[0].Text())) {
			t.Errorf("%s: the error tells a secret: %v", name, err)
		}
	}
	if _, err := ring.Locked("too short"); !errors.Is(err, seal.ErrPassphrase) {
		t.Errorf("a short passphrase: %v", err)
	}
}

// FuzzParseLocked reads any file; what costs too much is refused.
func FuzzParseLocked(f *testing.F) {
	f.Add([]byte("-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n-----END AGE ENCRYPTED FILE-----\n"))
	f.Add([]byte("age-encryption.org/v1\n-> scrypt AAAAAAAAAAAAAAAAAAAAAA 60\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if ring, err := seal.ParseLocked(text, "a passphrase of some length"); err == nil && len(ring.IDs()) == 0 {
			t.Error("no error and no key")
		}
	})
}
