// Package seal encrypts what is kept: values with data keys of their domain (an organization, the site), and data keys
// with the cluster's keys, which never enter the log or a snapshot. It is pure: no files, no clock. See DESIGN.md.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

const (
	keySize = 32 // AES-256
	idSize  = 8
)

// ErrForm says that a text or value is not in the form that it should be in. Errors that wrap it hold no part of a key.
var ErrForm = errors.New("malformed")

// ErrAuth says that a sealed value is not what was sealed, or not at this place, or that the key is another.
var ErrAuth = errors.New("it does not open: it was changed, moved, or sealed with another key")

// MissingKeyError says that a cluster key is not in the keyring.
type MissingKeyError struct{ ID string }

// Error names the key and what to do.
func (e *MissingKeyError) Error() string {
	return fmt.Sprintf("the cluster key %s is missing here: a member gets it from the others, a restore from --key-file", e.ID)
}

// Key is a key of the cluster. Printed or logged in any way it shows its id only.
type Key struct {
	id   string
	raw  [keySize]byte
	aead cipher.AEAD
}

// NewKey makes a random key.
func NewKey() *Key {
	var raw [keySize]byte
	_, _ = rand.Read(raw[:]) // never fails: crypto/rand ends the program instead
	return keyOf(raw)
}

func keyOf(raw [keySize]byte) *Key {
	sum := sha256.Sum256(append([]byte("muster cluster key\x00"), raw[:]...))
	return &Key{id: hex.EncodeToString(sum[:idSize]), raw: raw, aead: gcm(raw[:])}
}

// gcm is AES-256-GCM with random nonces. The key has the right size.
func gcm(raw []byte) cipher.AEAD {
	block, err := aes.NewCipher(raw)
	if err == nil {
		var aead cipher.AEAD
		if aead, err = cipher.NewGCMWithRandomNonce(block); err == nil {
			return aead
		}
	}
	panic(fmt.Sprintf("a key of %d bytes: %v", len(raw), err))
}

// ID names the key: the first bytes of a digest of it, in hex. So a key whose text was changed has another id.
func (k *Key) ID() string { return k.id }

// String shows the id.
func (k *Key) String() string { return "cluster key " + k.id }

// Format shows the id, whatever the verb.
func (k *Key) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, k.String()) }

// LogValue shows the id.
func (k *Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalJSON refuses.
func (k *Key) MarshalJSON() ([]byte, error) {
	return nil, errors.New("a cluster key is not written as JSON")
}

// keyPrefix begins the text of a key; the number is the version of the form.
const keyPrefix = "muster-key-1."

// Text is the key's text: muster-key-1.ID.KEY. It is a secret.
func (k *Key) Text() string {
	return keyPrefix + k.id + "." + base64.RawURLEncoding.EncodeToString(k.raw[:])
}

// ParseKey reads what Text wrote. Errors wrap ErrForm, and hold nothing of what was read.
func ParseKey(text string) (*Key, error) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(text), keyPrefix)
	id, key, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 {
		return nil, fmt.Errorf("%w: it is no text of a cluster key, which begins with %q", ErrForm, keyPrefix)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(key)
	if err != nil || len(b) != keySize {
		return nil, fmt.Errorf("%w: the text of a cluster key was cut or changed", ErrForm)
	}
	k := keyOf([keySize]byte(b))
	if k.id != id {
		return nil, fmt.Errorf("%w: the text of a cluster key was changed: its id does not fit it", ErrForm)
	}
	return k, nil
}
