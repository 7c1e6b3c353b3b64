package auth

import (
	"errors"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/muster-hq/muster/fsm/model"
)

// The audiences of what is signed with a login key: one is never taken for the other.
const (
	audienceSession = "muster session"
	audienceOIDC    = "muster oidc"
)

// maxToken bounds a token in bytes, before anything of it is decoded.
const maxToken = 4096

// KeyFinder finds a login key by its id; false when there is none (any more).
type KeyFinder func(id string) (model.LoginKey, bool)

// SessionToken is the text that a session sends: a JWT that names the session. It says nothing else, since the rights
// are looked up at each request.
func SessionToken(key model.LoginKey, s *model.SessionRow) (string, error) {
	return sign(key, jwt.RegisteredClaims{
		Audience: jwt.ClaimStrings{audienceSession}, Subject: s.UserID, ID: s.ID,
		IssuedAt: jwt.NewNumericDate(s.Created), ExpiresAt: jwt.NewNumericDate(s.Expires),
	})
}

// SessionOf is the session that a token names, and the id of the login key that signed it: one of ours, for this use, and
// not expired at now. That the session and the key still hold later must be looked up. Error: Unauthenticated, and no word
// of why.
func SessionOf(token string, find KeyFinder, now time.Time) (id, key string, err error) {
	var claims jwt.RegisteredClaims
	noted := func(id string) (model.LoginKey, bool) {
		key = id
		return find(id)
	}
	if err := verify(token, noted, now, audienceSession, &claims); err != nil || claims.ID == "" {
		return "", "", model.Errorf(model.Unauthenticated, "the session is over: log in again")
	}
	return claims.ID, key, nil
}

// Flow is what a browser keeps between the two halves of a login at an OpenID provider.
type Flow struct {
	State    string `json:"state"`
	Nonce    string `json:"nonce"`
	Verifier string `json:"verifier"` // of PKCE
	Return   string `json:"return"`   // path to go on to
	Link     string `json:"link"`     // session of the user to whom the login is linked; "" logs in
}

type flowClaims struct {
	Flow
	jwt.RegisteredClaims
}

// FlowToken is the text of a flow, which holds for life from now.
func FlowToken(key model.LoginKey, f Flow, now time.Time, life time.Duration) (string, error) {
	return sign(key, flowClaims{f, jwt.RegisteredClaims{Audience: jwt.ClaimStrings{audienceOIDC}, ExpiresAt: jwt.NewNumericDate(now.Add(life))}})
}

// FlowOf reads the text of a flow. Error: Unauthenticated.
func FlowOf(token string, find KeyFinder, now time.Time) (Flow, error) {
	var claims flowClaims
	if err := verify(token, find, now, audienceOIDC, &claims); err != nil || claims.State == "" {
		return Flow{}, model.Errorf(model.Unauthenticated, "this login was not begun here, or took too long: begin again")
	}
	return claims.Flow, nil
}

func sign(key model.LoginKey, claims jwt.Claims) (string, error) {
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, claims)
	t.Header["kid"] = key.ID
	return t.SignedString(key.Secret)
}

var errNoKey = errors.New("the token names no key of ours")

// verify pins the algorithm: what a token says of it counts only in that nothing else is taken.
func verify(token string, find KeyFinder, now time.Time, audience string, claims jwt.Claims) error {
	if len(token) > maxToken {
		return jwt.ErrTokenMalformed
	}
	_, err := jwt.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		id, _ := t.Header["kid"].(string)
		key, ok := find(id)
		if !ok || len(key.Secret) < 32 {
			return nil, errNoKey
		}
		return key.Secret, nil
	}, jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithAudience(audience), jwt.WithExpirationRequired(),
		jwt.WithTimeFunc(func() time.Time { return now }), jwt.WithStrictDecoding()) // else a changed last letter of the signature may pass
	return err
}
