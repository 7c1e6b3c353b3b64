package transfer

import (
	"encoding/json"
	"testing"

	"filippo.io/age"

	"github.com/muster-hq/muster/fsm/model"
)

// FuzzUnseal opens what pretends to be the sealed part of an organization's file.
func FuzzUnseal(f *testing.F) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		f.Fatal(err)
	}
	good, err := Seal{Recipients: []string{id.Recipient().String()}}.seal([]json.RawMessage{[]byte(`"secret"`), []byte(`{"a":1}`)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, id.String())
	f.Add([]byte("age-encryption.org/v1\n-> X25519 x\n"), id.String())
	f.Add(good, "AGE-SECRET-KEY-1X")
	f.Add([]byte("age-encryption.org/v1\n-> scrypt c2FsdA 63\nx\n--- x\n"), "passphrase")
	f.Fuzz(func(t *testing.T, sealed []byte, key string) {
		secrets, err := unseal(sealed, key)
		if err != nil && model.CodeOf(err) != model.Invalid {
			t.Fatal(err)
		}
		for _, s := range secrets {
			if err == nil && !json.Valid(s) {
				t.Fatalf("a secret is %q", s)
			}
		}
	})
}
