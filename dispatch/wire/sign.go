package wire

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// MaxSize is the largest envelope, in bytes, that Sign writes and Open reads.
const MaxSize = 16 << 20

// domain begins the signed bytes, so that a signature made for anything else never fits here.
const domain = "muster-wire-v1"

// What can be wrong with an envelope. Errors of Open, OpenEnrol and VerifyLogin wrap exactly one of them.
var (
	// ErrMalformed: not an envelope, too large, or its body does not fit the type asked for.
	ErrMalformed = errors.New("malformed message")
	// ErrVersion: an envelope of another version.
	ErrVersion = errors.New("message of another version")
	// ErrKind: an envelope that carries another kind than the one asked for.
	ErrKind = errors.New("message of another kind")
	// ErrSignature: altered, or signed with another key.
	ErrSignature = errors.New("signature does not verify")
	// ErrUser: a login statement made for another user.
	ErrUser = errors.New("login statement of another user")
	// ErrWindow: a login statement too far in the past or in the future.
	ErrWindow = errors.New("login statement outside its time window")
)

// envelope is the outer form of everything on the bus. The body travels as base64 of the exact bytes
// that were signed: JSON has no canonical form, so it must not be written anew on the way.
type envelope struct {
	Version int    `json:"v"`
	Kind    Kind   `json:"kind"`
	Key     string `json:"key"`
	Body    []byte `json:"body"`
	Sig     []byte `json:"sig"`
}

// KeyID names a public key: the first 32 hex digits of its SHA-256.
func KeyID(pub ed25519.PublicKey) string {
	sum := sha256.Sum256(pub)
	return hex.EncodeToString(sum[:16])
}

// AgentID is the id of the agent that holds the private half of pub. It is the key's id, so an agent
// cannot claim another's.
func AgentID(pub ed25519.PublicKey) string { return KeyID(pub) }

// signed returns the bytes that a signature covers.
func signed(kind Kind, body []byte) []byte {
	b := make([]byte, 0, len(domain)+len(kind)+len(body)+2)
	b = append(b, domain...)
	b = append(b, 0)
	b = append(b, kind...)
	b = append(b, 0)
	return append(b, body...)
}

// Sign writes body as JSON into an envelope of the kind, signed with key. Errors: a key of the wrong
// length, a body that is no JSON value, an envelope above MaxSize.
func Sign(kind Kind, key ed25519.PrivateKey, body any) ([]byte, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("sign %s: private key has %d bytes, want %d", kind, len(key), ed25519.PrivateKeySize)
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", kind, err)
	}
	pub, _ := key.Public().(ed25519.PublicKey)
	data, err := json.Marshal(envelope{
		Version: Version, Kind: kind, Key: KeyID(pub), Body: raw, Sig: ed25519.Sign(key, signed(kind, raw)),
	})
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", kind, err)
	}
	if len(data) > MaxSize {
		return nil, fmt.Errorf("sign %s: message of %d bytes, the limit is %d", kind, len(data), MaxSize)
	}
	return data, nil
}

// Open verifies an envelope with pub and reads its body into the value that into points to. Nothing is
// read from the body before the signature holds. Fields that this version does not know are ignored.
// Errors wrap ErrMalformed, ErrVersion, ErrKind or ErrSignature; into is then unchanged, except after a
// well-signed body that does not fit it.
func Open(data []byte, kind Kind, pub ed25519.PublicKey, into any) error {
	body, err := verify(data, kind, pub)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("open %s: %w: %w", kind, ErrMalformed, err)
	}
	return nil
}

// verify returns the signed bytes of an envelope.
func verify(data []byte, kind Kind, pub ed25519.PublicKey) ([]byte, error) {
	env, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", kind, err)
	}
	if env.Kind != kind {
		return nil, fmt.Errorf("open %s: %w: %.32q", kind, ErrKind, env.Kind)
	}
	if len(pub) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("open %s: %w: public key has %d bytes, want %d", kind, ErrSignature, len(pub), ed25519.PublicKeySize)
	}
	if want := KeyID(pub); env.Key != want {
		return nil, fmt.Errorf("open %s: %w: signed with key %.32q, want %s", kind, ErrSignature, env.Key, want)
	}
	if !ed25519.Verify(pub, signed(kind, env.Body), env.Sig) {
		return nil, fmt.Errorf("open %s: %w", kind, ErrSignature)
	}
	return env.Body, nil
}

// parse reads the outer form and checks its version.
func parse(data []byte) (envelope, error) {
	var env envelope
	if len(data) > MaxSize {
		return env, fmt.Errorf("%w: %d bytes, the limit is %d", ErrMalformed, len(data), MaxSize)
	}
	if err := json.Unmarshal(data, &env); err != nil {
		return env, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if env.Version == 0 {
		return env, fmt.Errorf("%w: no version", ErrMalformed)
	}
	if env.Version != Version {
		return env, fmt.Errorf("%w: %d, this program reads %d", ErrVersion, env.Version, Version)
	}
	return env, nil
}

// PeekKeyID tells which key an envelope says it is signed with. Nothing is verified: use it only to
// find the key to Open with. Errors wrap ErrMalformed or ErrVersion.
func PeekKeyID(data []byte) (string, error) {
	env, err := parse(data)
	if err != nil {
		return "", fmt.Errorf("peek: %w", err)
	}
	return env.Key, nil
}

// PeekKind tells which kind an envelope says it carries. Nothing is verified: use it only to choose
// what to Open it as. Errors wrap ErrMalformed or ErrVersion.
func PeekKind(data []byte) (Kind, error) {
	env, err := parse(data)
	if err != nil {
		return "", fmt.Errorf("peek: %w", err)
	}
	return env.Kind, nil
}
