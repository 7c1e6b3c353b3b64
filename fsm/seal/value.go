package seal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// Place is where a sealed value is kept. A value opens nowhere else.
type Place struct{ Table, Key string }

// mark begins a sealed value: no JSON begins with it. The number behind it is the version of the form.
const (
	mark    = 0xA5
	version = 1
)

// headSize is that of what lies before the domain.
const headSize = 2 + idSize

// Head is what a sealed value tells without a key.
type Head struct {
	KeyID  string // of the data key
	Domain string // whose key it is
	size   int
	id     [idSize]byte
}

// nonceAndTag is what AES-GCM adds.
const nonceAndTag = 12 + 16

// Sealed says whether a value is a sealed one.
func Sealed(value []byte) bool { return len(value) > 0 && value[0] == mark }

// ParseHead reads the head of a sealed value. Errors wrap ErrForm.
func ParseHead(value []byte) (Head, error) {
	if !Sealed(value) || len(value) < headSize+1 {
		return Head{}, fmt.Errorf("a sealed value: %w", ErrForm)
	}
	if value[1] != version {
		return Head{}, fmt.Errorf("a sealed value: %w: it is of form %d, which this version does not know", ErrForm, value[1])
	}
	domain, size, ok := domainIn(value)
	if !ok {
		return Head{}, fmt.Errorf("a sealed value: %w", ErrForm)
	}
	h := Head{id: [idSize]byte(value[2:headSize]), Domain: string(domain), size: size}
	h.KeyID = hex.EncodeToString(h.id[:])
	return h, nil
}

// DomainOf is the domain of a sealed value, a part of it; false for another value. It does not look further.
func DomainOf(value []byte) ([]byte, bool) {
	if !Sealed(value) || len(value) < headSize+1 || value[1] != version {
		return nil, false
	}
	domain, _, ok := domainIn(value)
	return domain, ok
}

// domainIn is the domain in a value that is long enough to have one, and where the head ends.
func domainIn(value []byte) (domain []byte, end int, ok bool) {
	n, w := binary.Uvarint(value[headSize:])
	if w <= 0 || n > uint64(len(value)-headSize-w) {
		return nil, 0, false
	}
	at := headSize + w
	return value[at : at+int(n)], at + int(n), true
}

// SealedSize is how many bytes Seal makes of a clear value of a domain.
func SealedSize(domain string, clear int) int {
	n := 1
	for l := len(domain); l >= 0x80; l >>= 7 {
		n++
	}
	return headSize + n + len(domain) + clear + nonceAndTag
}

// Seal encrypts a value for its place.
func (d *DataKey) Seal(clear []byte, at Place) []byte {
	b := make([]byte, 0, headSize+binary.MaxVarintLen64+len(d.domain)+len(clear)+nonceAndTag)
	b = append(b, mark, version)
	b = append(b, d.id[:]...)
	b = binary.AppendUvarint(b, uint64(len(d.domain)))
	b = append(b, d.domain...)
	return d.aead.Seal(b, nil, clear, bind("muster value 1", d.domain, at.Table, at.Key, string(d.id[:])))
}

// Name makes a name of a text, which tells nothing of it to who has not the key: an HMAC with SHA-256, in hex. Use a key that seals
// nothing.
func (d *DataKey) Name(text string) string {
	m := hmac.New(sha256.New, d.raw[:])
	_, _ = m.Write(bind("muster name 1", text)) // a hash never fails
	return hex.EncodeToString(m.Sum(nil))
}

// Open decrypts what was sealed for this place. The result is the caller's. Errors wrap ErrForm or ErrAuth.
func (d *DataKey) Open(value []byte, at Place) ([]byte, error) {
	size, ok := d.sealed(value)
	if !ok {
		h, err := ParseHead(value)
		if err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("a sealed value of %q: %w", h.Domain, ErrAuth)
	}
	clear, err := d.aead.Open(nil, nil, value[size:], bind("muster value 1", d.domain, at.Table, at.Key, string(d.id[:])))
	if err != nil {
		return nil, fmt.Errorf("a sealed value of %q: %w", d.domain, ErrAuth)
	}
	return clear, nil
}

// Sealed says whether a value tells that it was sealed with this key.
func (d *DataKey) Sealed(value []byte) bool {
	_, ok := d.sealed(value)
	return ok
}

// sealed is Sealed that gives the size of the head, without making anything of it.
func (d *DataKey) sealed(value []byte) (size int, ok bool) {
	if !Sealed(value) || len(value) < headSize+1 || value[1] != version || [idSize]byte(value[2:headSize]) != d.id {
		return 0, false
	}
	domain, size, ok := domainIn(value)
	return size, ok && string(domain) == d.domain
}

// bind writes texts so that no two lists of them give the same bytes.
func bind(texts ...string) []byte {
	n := 0
	for _, t := range texts {
		n += len(t) + 2
	}
	b := make([]byte, 0, n)
	for _, t := range texts {
		b = binary.AppendUvarint(b, uint64(len(t)))
		b = append(b, t...)
	}
	return b
}
