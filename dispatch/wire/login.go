package wire

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"time"
)

// maxLogin bounds a login statement, in bytes: AMQP clients and brokers speak frames of at most 4096
// bytes before they have agreed on a larger size, and the statement travels in one of them.
const maxLogin = 2048

// SignLogin makes the statement that user gives as its AMQP password: base64url text without padding.
// counter must be above every one used before. key is the agent's, or for a newcomer the enrolment
// token's. Errors: a key of the wrong length, a user name too long for the statement to fit.
func SignLogin(user string, counter uint64, at time.Time, key ed25519.PrivateKey) (string, error) {
	data, err := Sign(KindLogin, key, Login{User: user, Counter: counter, At: at.UTC()})
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString(data)
	if len(text) > maxLogin {
		return "", fmt.Errorf("sign login: user name of %d bytes is too long", len(user))
	}
	return text, nil
}

// VerifyLogin reads a statement made by SignLogin and checks its signature, that it is user's, and that
// its time is not further than window from now, on either side. Whether the counter grew is for the
// caller to judge, who knows the last one. Errors wrap ErrUser, ErrWindow or an error of Open.
func VerifyLogin(user, password string, pub ed25519.PublicKey, now time.Time, window time.Duration) (Login, error) {
	var login Login
	if len(password) > maxLogin {
		return login, fmt.Errorf("login: %w: %d bytes, the limit is %d", ErrMalformed, len(password), maxLogin)
	}
	data, err := base64.RawURLEncoding.DecodeString(password)
	if err != nil {
		return login, fmt.Errorf("login: %w: %w", ErrMalformed, err)
	}
	if err := Open(data, KindLogin, pub, &login); err != nil {
		return Login{}, err
	}
	if login.User != user {
		return Login{}, fmt.Errorf("login: %w", ErrUser)
	}
	if login.At.Before(now.Add(-window)) || login.At.After(now.Add(window)) {
		return Login{}, fmt.Errorf("login: %w: made at %s, it is %s, at most %s apart", ErrWindow,
			login.At.Format(time.RFC3339), now.UTC().Format(time.RFC3339), window)
	}
	return login, nil
}
