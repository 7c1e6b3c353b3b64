package api

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// The limits of an idempotency key, in bytes, and of an answer that is kept under one.
const (
	minKey     = 16
	maxKey     = 128
	maxReplays = 32 << 10
)

// idempotency is the key that a write was sent under: what was done under it once is answered, not done, the next time.
// All methods do nothing on nil, which is a write without a key.
//
// The row of it is named, its request's digest is keyed, and its answer is sealed with the key, which is kept nowhere.
// So neither a disk nor a snapshot tells a token that was answered, or lets a password that was sent be tried.
type idempotency struct {
	id       string // of the row
	secret   []byte // made of the key
	request  string // digest
	replayed bool
	caused   string // what the write set in motion, as a token
}

// keyed reads the key of a write; nil when it has none.
func (c *call) keyed() (*idempotency, error) {
	values := c.req.Header.Values(spec.HeaderIdempotencyKey)
	if len(values) == 0 {
		return nil, nil
	}
	key := values[0]
	bad := len(values) > 1 || len(key) < minKey || len(key) > maxKey
	for _, b := range []byte(key) {
		bad = bad || b <= ' ' || b > '~'
	}
	if bad {
		return nil, model.Errorf(model.Invalid, "%s: give one random text of %d to %d visible ASCII characters, such as a UUID", spec.HeaderIdempotencyKey, minKey, maxKey)
	}
	sender := ""
	if c.caller.user != nil {
		sender = "user\x00" + c.caller.user.ID
	} else {
		sender = "key\x00" + c.caller.key.ID
	}
	id := sha256.Sum256([]byte("request\x00" + sender + "\x00" + key))
	secret, err := hkdf.Key(sha256.New, []byte(key), id[:], "muster idempotency 1", 64)
	if err != nil {
		return nil, fmt.Errorf("deriving the secret of a request: %w", err)
	}
	return &idempotency{id: hex.EncodeToString(id[:]), secret: secret}, nil
}

// digest notes what the request is: method, path, query and body. Of an upload only the content counts, since the form
// around it differs each time.
func (k *idempotency) digest(c *call) {
	if k == nil {
		return
	}
	mac := hmac.New(sha256.New, k.secret[32:])
	write := func(s string) { fmt.Fprintf(mac, "%d:%s", len(s), s) }
	write(c.req.Method)
	for _, seg := range c.segs {
		write(seg)
	}
	write("?" + c.query.Encode())
	mac.Write(c.body)
	k.request = hex.EncodeToString(mac.Sum(nil))
}

// known tells whether something was done under the key.
func (k *idempotency) known(r state.Reader) bool {
	if k == nil {
		return false
	}
	_, ok := orchestrate.Request(r, k.id)
	return ok
}

// recall gives what was answered under the key, as far as mayHear has no objection; false when nothing was.
func (k *idempotency) recall(r state.Reader, mayHear func(*model.RequestRow) error) (reply, bool, error) {
	if k == nil {
		return reply{}, false, nil
	}
	k.replayed = false
	row, ok := orchestrate.Request(r, k.id)
	if !ok {
		return reply{}, false, nil
	}
	if !hmac.Equal([]byte(row.Digest), []byte(k.request)) {
		return reply{}, true, &statusError{http.StatusUnprocessableEntity, model.Errorf(model.Invalid,
			"%s: another request was sent under this key: make a new key for each request, and repeat one only with the same method, path and body", spec.HeaderIdempotencyKey)}
	}
	if row.Large {
		return reply{}, true, model.Errorf(model.Conflict, "this was done when it was sent before; its answer was too large to be kept: read what came of it")
	}
	answer := reply{status: row.Status}
	if len(row.Answer) == 0 {
		k.replayed, k.caused = true, row.Caused
		return answer, true, nil
	}
	if err := mayHear(row); err != nil {
		return reply{}, true, err
	}
	k.replayed, k.caused = true, row.Caused
	plain, err := k.open(row.Answer)
	if err != nil {
		return reply{}, true, err
	}
	kind, body, _ := bytes.Cut(plain, []byte{0})
	answer.kind, answer.body = string(kind), body
	return answer, true, nil
}

// keep puts the answer beside what was done, and what its sender is allowed where it was done.
func (k *idempotency) keep(tx *state.Tx, answer reply, c *call, at scope) error {
	if k == nil {
		return nil
	}
	row := model.RequestRow{ID: k.id, Digest: k.request, Status: answer.status, Caused: c.caused.Token()}
	if at.org != nil {
		row.OrgID = at.org.ID
	}
	row.Rights = k.rights(tx, c.caller, row.OrgID)
	switch {
	case len(answer.body) > maxReplays:
		row.Large = true
	case answer.kind != "":
		sealed, err := k.seal(append(append([]byte(answer.kind), 0), answer.body...))
		if err != nil {
			return err
		}
		row.Answer = sealed
	}
	return orchestrate.KeepRequest(tx, row)
}

// rights digests what a caller is allowed in an organization, or without one at the site: its groups at every level, by
// ids, so that they are the same after a rename.
func (k *idempotency) rights(r state.Reader, who caller, orgID string) string {
	mac := hmac.New(sha256.New, k.secret[32:])
	if orgID == "" {
		admin := false
		if who.user != nil {
			user, ok := state.Get[model.UserRow](r, who.user.ID)
			admin = ok && user.Admin
		}
		fmt.Fprintf(mac, "site %t", admin)
		return hex.EncodeToString(mac.Sum(nil))
	}
	groups := who.grantsOf(r, orgID).at
	fmt.Fprintf(mac, "organization %q", orgID)
	for _, id := range slices.Sorted(maps.Keys(groups)) {
		fmt.Fprintf(mac, "%q%q", id, slices.Sorted(slices.Values(groups[id])))
	}
	return hex.EncodeToString(mac.Sum(nil))
}

// mayHear tells why an answer that is kept is not told again: its sender has other rights than when it was given, and it
// may hold what those of now do not show. What it was sent to may be gone or have another name, which is no reason.
func (c *call) mayHear(r state.Reader, end endpoint, key *idempotency, row *model.RequestRow) error {
	if row.Rights != "" && hmac.Equal([]byte(row.Rights), []byte(key.rights(r, c.caller, row.OrgID))) {
		return nil
	}
	if _, err := c.scope(r, end); err != nil || row.Rights == "" {
		return err
	}
	return model.Errorf(model.Conflict, "this was done when it was sent before; your groups have changed since, so its answer is not told again: read what came of it")
}

func (k *idempotency) cipher() (cipher.AEAD, error) {
	block, err := aes.NewCipher(k.secret[:32])
	if err != nil {
		return nil, fmt.Errorf("the cipher of kept answers: %w", err)
	}
	return cipher.NewGCM(block)
}

func (k *idempotency) seal(plain []byte) ([]byte, error) {
	aead, err := k.cipher()
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails: crypto/rand ends the program instead
	return aead.Seal(nonce, nonce, plain, []byte(k.request)), nil
}

func (k *idempotency) open(sealed []byte) ([]byte, error) {
	aead, err := k.cipher()
	if err != nil {
		return nil, err
	}
	if len(sealed) < aead.NonceSize() {
		return nil, errors.New("a kept answer is cut off")
	}
	n := aead.NonceSize()
	plain, err := aead.Open(nil, sealed[:n], sealed[n:], []byte(k.request))
	if err != nil {
		return nil, fmt.Errorf("a kept answer does not open: %w", err)
	}
	return plain, nil
}
