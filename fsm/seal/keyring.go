package seal

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
)

// Keyring holds the cluster keys that a node has. It is safe for concurrent use.
type Keyring struct {
	mu   sync.RWMutex
	keys []*Key // in the order in which they came
}

// Add puts keys in; those that are there already are passed over. It says whether one was new.
func (r *Keyring) Add(keys ...*Key) (added bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range keys {
		if !slices.ContainsFunc(r.keys, func(o *Key) bool { return o.id == k.id }) {
			r.keys = append(slices.Clip(r.keys), k)
			added = true
		}
	}
	return added
}

// Get gives a key. The error is a *MissingKeyError.
func (r *Keyring) Get(id string) (*Key, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, k := range r.keys {
		if k.id == id {
			return k, nil
		}
	}
	return nil, &MissingKeyError{ID: id}
}

// Has says whether a key is there.
func (r *Keyring) Has(id string) bool { _, err := r.Get(id); return err == nil }

// Keys are all keys, in the order in which they came.
func (r *Keyring) Keys() []*Key {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Clone(r.keys)
}

// IDs are the ids of all keys, in the order in which they came.
func (r *Keyring) IDs() []string {
	var ids []string
	for _, k := range r.Keys() {
		ids = append(ids, k.id)
	}
	return ids
}

// String shows the ids.
func (r *Keyring) String() string { return "cluster keys " + strings.Join(r.IDs(), " ") }

// LogValue shows the ids.
func (r *Keyring) LogValue() slog.Value { return slog.StringValue(r.String()) }

// fileHead is the first line of a file of keys.
const fileHead = "# Keys of a Muster cluster. Whoever has them opens its backups: keep them apart from those, and from everybody."

// maxKeys bounds a file of keys.
const maxKeys = 10_000

// Text is the file of keys, one a line, as ParseKeyring reads it. It is a secret.
func (r *Keyring) Text() []byte {
	var b bytes.Buffer
	b.WriteString(fileHead + "\n")
	for _, k := range r.Keys() {
		b.WriteString(k.Text() + "\n")
	}
	return b.Bytes()
}

// ParseKeyring reads a file of keys: one a line, and lines that begin with #. Errors wrap ErrForm and name the line, and
// nothing of what it holds. A file without a key is an error, too.
func ParseKeyring(text []byte) (*Keyring, error) {
	r := &Keyring{}
	for n, line := range strings.Split(string(text), "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		k, err := ParseKey(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
		if r.Add(k); len(r.keys) > maxKeys {
			return nil, fmt.Errorf("%w: over %d keys", ErrForm, maxKeys)
		}
	}
	if len(r.keys) == 0 {
		return nil, fmt.Errorf("%w: it holds no cluster key", ErrForm)
	}
	return r, nil
}

// Wrapped is a data key, encrypted with a cluster key.
type Wrapped struct {
	ID  string `json:"id"`  // of the data key: 16 hex digits, random
	By  string `json:"by"`  // id of the cluster key
	Key []byte `json:"key"` // sealed: it opens for its domain and id only
}

// DataKey seals the values of one domain. It is safe for concurrent use. Printed or logged it shows its id only.
type DataKey struct {
	id     [idSize]byte
	domain string
	raw    [keySize]byte
	aead   interface {
		Seal(dst, nonce, plaintext, additionalData []byte) []byte
		Open(dst, nonce, ciphertext, additionalData []byte) ([]byte, error)
	}
}

// NewDataKey makes a random data key for a domain.
func NewDataKey(domain string) *DataKey {
	d := &DataKey{domain: domain}
	_, _ = rand.Read(d.id[:])
	_, _ = rand.Read(d.raw[:])
	d.aead = gcm(d.raw[:])
	return d
}

// ID names the data key.
func (d *DataKey) ID() string { return hex.EncodeToString(d.id[:]) }

// Domain is what it seals for.
func (d *DataKey) Domain() string { return d.domain }

// String shows the id.
func (d *DataKey) String() string { return "data key " + d.ID() }

// Format shows the id, whatever the verb.
func (d *DataKey) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, d.String()) }

// LogValue shows the id.
func (d *DataKey) LogValue() slog.Value { return slog.StringValue(d.String()) }

// MarshalJSON refuses.
func (d *DataKey) MarshalJSON() ([]byte, error) {
	return nil, errors.New("a data key is not written as JSON")
}

// wrapPlace binds a wrapped key to its domain, its id and the cluster key.
func wrapPlace(domain, id, by string) []byte { return bind("muster data key 1", domain, id, by) }

// Wrap encrypts a data key with the cluster key by. Errors: *MissingKeyError.
func (r *Keyring) Wrap(d *DataKey, by string) (Wrapped, error) {
	k, err := r.Get(by)
	if err != nil {
		return Wrapped{}, err
	}
	return Wrapped{ID: d.ID(), By: by, Key: k.aead.Seal(nil, nil, d.raw[:], wrapPlace(d.domain, d.ID(), by))}, nil
}

// Unwrap opens a data key of a domain. Errors: *MissingKeyError, and others that wrap ErrAuth or ErrForm.
func (r *Keyring) Unwrap(w Wrapped, domain string) (*DataKey, error) {
	k, err := r.Get(w.By)
	if err != nil {
		return nil, err
	}
	id, err := hex.DecodeString(w.ID)
	if err != nil || len(id) != idSize {
		return nil, fmt.Errorf("the data key of %q: %w: its id", domain, ErrForm)
	}
	raw, err := k.aead.Open(nil, nil, w.Key, wrapPlace(domain, w.ID, w.By))
	if err != nil || len(raw) != keySize {
		return nil, fmt.Errorf("the data key %s of %q: %w", w.ID, domain, ErrAuth)
	}
	return &DataKey{id: [idSize]byte(id), domain: domain, raw: [keySize]byte(raw), aead: gcm(raw)}, nil
}
