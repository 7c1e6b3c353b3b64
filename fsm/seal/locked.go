package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// MinPassphrase is the shortest passphrase of a file of keys, in bytes.
const MinPassphrase = 12

// The cost of a passphrase as a power of two: 128 MiB for what is written; what is read may cost up to 1 GiB.
const (
	lockWork    = 17
	maxLockWork = 20
	maxLocked   = 4 << 20 // bytes of an opened file
)

// ErrPassphrase says that a passphrase cannot be used, or does not open a file of keys. Errors that wrap it hold no part of it.
var ErrPassphrase = errors.New("the passphrase")

// Locked is the file of keys encrypted with a passphrase, in the format of age (armored, scrypt): age -d opens it, too.
// Errors wrap ErrPassphrase.
func (r *Keyring) Locked(passphrase string) ([]byte, error) {
	if len(passphrase) < MinPassphrase {
		return nil, fmt.Errorf("%w is too short: at least %d characters", ErrPassphrase, MinPassphrase)
	}
	to, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, fmt.Errorf("%w cannot be used", ErrPassphrase)
	}
	to.SetWorkFactor(lockWork)
	var out bytes.Buffer
	text := armor.NewWriter(&out)
	w, err := age.Encrypt(text, to)
	if err == nil {
		_, err = w.Write(r.Text())
	}
	if err == nil {
		err = errors.Join(w.Close(), text.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("encrypting the keys: %w", err)
	}
	return out.Bytes(), nil
}

// IsLocked says whether a file of keys is encrypted with a passphrase.
func IsLocked(text []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(text), []byte(armor.Header)) || bytes.HasPrefix(text, []byte("age-encryption.org/"))
}

// ParseLocked reads what Locked wrote. Errors wrap ErrPassphrase or ErrForm.
func ParseLocked(text []byte, passphrase string) (*Keyring, error) {
	id, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return nil, fmt.Errorf("%w is empty", ErrPassphrase)
	}
	id.SetMaxWorkFactor(maxLockWork)
	var in io.Reader = bytes.NewReader(text)
	if !strings.HasPrefix(string(text), "age-encryption.org/") {
		in = armor.NewReader(bytes.NewReader(bytes.TrimSpace(text)))
	}
	r, err := age.Decrypt(in, id)
	var other *age.NoIdentityMatchError
	switch {
	case errors.As(err, &other):
		return nil, fmt.Errorf("%w is another one than the file was encrypted with, or the file was changed", ErrPassphrase)
	case err != nil: // its text may quote the file, never the passphrase
		return nil, fmt.Errorf("%w: it is no file that age can open with a passphrase: %w", ErrForm, err)
	}
	clear, err := io.ReadAll(io.LimitReader(r, maxLocked))
	if err != nil {
		return nil, fmt.Errorf("%w: the file was cut or changed", ErrForm)
	}
	return ParseKeyring(clear)
}
