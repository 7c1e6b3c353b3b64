package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/argon2"
)

// The cost of a new hash: 19 MiB and two passes, the smallest setting of RFC 9106's successors' advice
// (OWASP) that two cores carry while they also run raft. A stored hash carries its own cost.
const (
	argonMemory = 19 * 1024 // KiB
	argonTime   = 2
	argonLanes  = 1
	argonKey    = 32
	maxMemory   = 256 * 1024 // KiB; a stored hash beyond it is refused, not computed
)

// HashPassword makes the text to store for a password: argon2id in PHC form.
func HashPassword(password string) string {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails: crypto/rand ends the program instead
	return encodePHC(salt, argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonLanes, argonKey))
}

func encodePHC(salt, key []byte) string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonLanes,
		b64.EncodeToString(salt), b64.EncodeToString(key))
}

// VerifyPassword tells whether password is the one of a stored hash. A text that is not a hash of ours
// matches nothing.
func VerifyPassword(stored, password string) bool {
	salt, want, memory, passes, lanes, ok := parsePHC(stored)
	if !ok {
		return false
	}
	got := argon2.IDKey([]byte(password), salt, passes, memory, lanes, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1
}

func parsePHC(s string) (salt, key []byte, memory, passes uint32, lanes uint8, ok bool) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return nil, nil, 0, 0, 0, false
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &passes, &lanes); n != 3 || err != nil {
		return nil, nil, 0, 0, 0, false
	}
	b64 := base64.RawStdEncoding
	salt, err1 := b64.DecodeString(parts[4])
	key, err2 := b64.DecodeString(parts[5])
	ok = err1 == nil && err2 == nil && len(salt) >= 8 && len(key) >= 16 && len(key) <= 64 &&
		memory >= 8 && memory <= maxMemory && passes >= 1 && passes <= 16 && lanes >= 1
	return salt, key, memory, passes, lanes, ok
}

// remembered is how long a password that matched is not computed again.
const remembered = time.Minute

// Passwords verifies passwords and remembers a match for a minute, under a hash keyed with a secret of
// this process; neither password nor a plain hash of it is kept. At most two are computed at a time, as
// each takes 19 MiB and tens of milliseconds. Safe for concurrent use.
type Passwords struct {
	secret []byte
	decoy  string
	slots  chan struct{}
	now    func() time.Time

	mu   sync.Mutex
	seen map[[sha256.Size]byte]time.Time // until when
}

// NewPasswords makes a verifier. now is the clock of the memory; nil means time.Now.
func NewPasswords(now func() time.Time) *Passwords {
	if now == nil {
		now = time.Now
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	salt, key := make([]byte, 16), make([]byte, argonKey)
	_, _ = rand.Read(salt)
	_, _ = rand.Read(key)
	return &Passwords{
		secret: secret, decoy: encodePHC(salt, key), slots: make(chan struct{}, 2), now: now,
		seen: map[[sha256.Size]byte]time.Time{},
	}
}

// Remembers tells whether password was found to match the stored hash of user within the last minute.
func (p *Passwords) Remembers(user, stored, password string) bool {
	return stored != "" && p.recall(p.id(user, stored, password))
}

// Until is when a match that Remembers knows of is forgotten; the zero time when it knows of none.
func (p *Passwords) Until(user, stored, password string) time.Time {
	if stored == "" {
		return time.Time{}
	}
	id := p.id(user, stored, password)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[id]
}

// Verify tells whether password matches the stored hash of user. An empty stored hash means that there
// is no such user: the work is done all the same, so that the time of a refusal tells nothing. The error
// is that of ctx, when it ended while waiting for a turn.
func (p *Passwords) Verify(ctx context.Context, user, stored, password string) (bool, error) {
	id := p.id(user, stored, password)
	if stored != "" && p.recall(id) {
		return true, nil
	}
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return false, fmt.Errorf("waiting to verify a password: %w", ctx.Err())
	}
	against := stored
	if stored == "" {
		against = p.decoy
	}
	if !VerifyPassword(against, password) || stored == "" {
		return false, nil
	}
	p.remember(id)
	return true, nil
}

// id names a match: changing the stored hash makes an old one unreachable.
func (p *Passwords) id(user, stored, password string) [sha256.Size]byte {
	mac := hmac.New(sha256.New, p.secret)
	for _, s := range []string{user, stored, password} {
		_, _ = fmt.Fprintf(mac, "%d:%s", len(s), s)
	}
	return [sha256.Size]byte(mac.Sum(nil))
}

func (p *Passwords) recall(id [sha256.Size]byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	until, ok := p.seen[id]
	return ok && p.now().Before(until)
}

func (p *Passwords) remember(id [sha256.Size]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if len(p.seen) >= 1024 {
		for k, until := range p.seen {
			if !now.Before(until) {
				delete(p.seen, k)
			}
		}
		if len(p.seen) >= 1024 {
			clear(p.seen)
		}
	}
	p.seen[id] = now.Add(remembered)
}
