package wire

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
)

// enrolPrefix begins the text of an enrolment token; the digit is its version.
const enrolPrefix = "muster-enrol-1."

// maxToken bounds the text of a token, in bytes.
const maxToken = 4096

// proofDomain begins the bytes that an enrolment's proof signs.
const proofDomain = "muster-enrol-proof-v1"

// EnrolToken is what a machine is given so that it can become a member: it names its organization and
// environment, and pins whom the agent will trust. Seed is a secret. The text of the token (String) is
// one as well: it belongs into files of mode 0600, never into logs; slog gets the id only.
type EnrolToken struct {
	ID           string            `json:"id"`
	Seed         []byte            `json:"seed"` // Ed25519 seed of the token's own key
	CA           string            `json:"ca"`   // SHA-256, hex, of the DER of the bus's CA; "" where the system's CAs hold
	Key          ed25519.PublicKey `json:"key"`  // the organization's
	Organization string            `json:"organization"`
	Environment  string            `json:"environment"`
}

// LogValue implements slog.LogValuer without the secret.
func (t EnrolToken) LogValue() slog.Value { return slog.StringValue("enrolment token " + t.ID) }

// PrivateKey is the token's own key; the orchestrator knows the public half. The token must be valid,
// as it is after ParseEnrolToken.
func (t EnrolToken) PrivateKey() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(t.Seed) }

// String is the text form that ParseEnrolToken reads.
func (t EnrolToken) String() string {
	data, err := json.Marshal(t)
	if err != nil { // strings and bytes only: cannot fail
		return ""
	}
	return enrolPrefix + base64.RawURLEncoding.EncodeToString(data)
}

// validate checks the lengths and forms of a token's fields.
func (t EnrolToken) validate() error {
	switch {
	case t.ID == "":
		return fmt.Errorf("%w: it has no id", ErrMalformed)
	case len(t.Seed) != ed25519.SeedSize:
		return fmt.Errorf("%w: its seed has %d bytes, want %d", ErrMalformed, len(t.Seed), ed25519.SeedSize)
	case len(t.Key) != ed25519.PublicKeySize:
		return fmt.Errorf("%w: the organization's key has %d bytes, want %d", ErrMalformed, len(t.Key), ed25519.PublicKeySize)
	case t.CA != "" && !isSHA256(t.CA):
		return fmt.Errorf("%w: its CA is no SHA-256 in hex", ErrMalformed)
	}
	return nil
}

func isSHA256(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32
}

// ParseEnrolToken reads the text of a token; white space around it is ignored. Errors wrap ErrMalformed
// or ErrVersion and never repeat the text.
func ParseEnrolToken(text string) (EnrolToken, error) {
	var t EnrolToken
	text = strings.TrimSpace(text)
	if len(text) > maxToken {
		return t, fmt.Errorf("enrolment token: %w: %d bytes, the limit is %d", ErrMalformed, len(text), maxToken)
	}
	rest, ok := strings.CutPrefix(text, enrolPrefix)
	if !ok {
		if strings.HasPrefix(text, "muster-enrol-") {
			return t, fmt.Errorf("enrolment token: %w: this program reads tokens that begin with %q", ErrVersion, enrolPrefix)
		}
		return t, fmt.Errorf("enrolment token: %w: it does not begin with %q", ErrMalformed, enrolPrefix)
	}
	data, err := base64.RawURLEncoding.DecodeString(rest)
	if err != nil {
		return t, fmt.Errorf("enrolment token: %w: not base64url; was it copied whole?", ErrMalformed)
	}
	if err := json.Unmarshal(data, &t); err != nil {
		return EnrolToken{}, fmt.Errorf("enrolment token: %w: not JSON inside; was it copied whole?", ErrMalformed)
	}
	if err := t.validate(); err != nil {
		return EnrolToken{}, fmt.Errorf("enrolment token: %w", err)
	}
	return t, nil
}

// proofBytes is what Enrol.Proof signs. The sealing key is in it: a token has several users, and one of
// them must not be able to enrol another's agent with a sealing key of its own.
func proofBytes(e *Enrol) []byte {
	return []byte(proofDomain + "\x00" + e.Token + "\x00" + e.Agent + "\x00" + string(e.Exchange))
}

// SignEnrol completes e (Token, Agent, Key, Proof) and signs it with the token's key. Name, Exchange,
// Facts, ReplyTo and At are the caller's. Errors: a token or key that is not whole.
func SignEnrol(token EnrolToken, key ed25519.PrivateKey, e Enrol) ([]byte, error) {
	if err := token.validate(); err != nil {
		return nil, fmt.Errorf("sign enrolment: %w", err)
	}
	if len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("sign enrolment: private key has %d bytes, want %d", len(key), ed25519.PrivateKeySize)
	}
	pub, _ := key.Public().(ed25519.PublicKey)
	e.Token, e.Key, e.Agent = token.ID, pub, AgentID(pub)
	e.Proof = ed25519.Sign(key, proofBytes(&e))
	return Sign(KindEnrol, token.PrivateKey(), e)
}

// OpenEnrol verifies an enrolment with the public key of its token (see PeekEnrolToken) and checks that
// the agent holds the key that it brings. Errors wrap an error of Open; a bad proof is ErrSignature.
func OpenEnrol(data []byte, tokenKey ed25519.PublicKey) (Enrol, error) {
	var e Enrol
	if err := Open(data, KindEnrol, tokenKey, &e); err != nil {
		return Enrol{}, err
	}
	if len(e.Key) != ed25519.PublicKeySize {
		return Enrol{}, fmt.Errorf("open enrol: %w: the agent's key has %d bytes, want %d", ErrMalformed, len(e.Key), ed25519.PublicKeySize)
	}
	if e.Agent != AgentID(e.Key) {
		return Enrol{}, fmt.Errorf("open enrol: %w: the agent's id is not that of its key", ErrSignature)
	}
	if !ed25519.Verify(e.Key, proofBytes(&e), e.Proof) {
		return Enrol{}, fmt.Errorf("open enrol: %w: the proof that the agent holds its key", ErrSignature)
	}
	return e, nil
}

// PeekEnrolToken tells which token an enrolment says it was made with. Nothing is verified: use it only
// to find the key for OpenEnrol. Errors wrap ErrMalformed, ErrVersion or ErrKind.
func PeekEnrolToken(data []byte) (string, error) {
	env, err := parse(data)
	if err != nil {
		return "", fmt.Errorf("peek: %w", err)
	}
	if env.Kind != KindEnrol {
		return "", fmt.Errorf("peek: %w: %.32q", ErrKind, env.Kind)
	}
	var e Enrol
	if err := json.Unmarshal(env.Body, &e); err != nil {
		return "", fmt.Errorf("peek: %w: %w", ErrMalformed, err)
	}
	return e.Token, nil
}
