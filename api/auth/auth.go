// Package auth says who may do what: credentials as requests carry them, passwords, and the roles of
// contract section 3.1. It is pure: it knows neither HTTP routing nor where users are kept.
package auth

import (
	"encoding/base64"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
)

// Credentials are what a request says about its sender: an application key's token, the JWT of a session, or a user and
// a password. Users holds each reading of the Basic header, as its encoding is not told: the published
// client writes Latin-1, others UTF-8.
type Credentials struct {
	Token  string
	JWT    string
	Cookie bool // the JWT came as a cookie, which browsers send by themselves
	Users  []Login
}

// Login is one reading of a Basic header.
type Login struct{ User, Password string }

// maxCredential bounds what is hashed for a caller that nobody knows yet.
const maxCredential = 1024

// FromRequest reads the credentials of a request. A token wins over a JWT, that over user and password, and a cookie
// counts only without all of them. cookie is the name of the cookie with a session. The errors have
// code Unauthenticated and say what is missing, never what was sent.
func FromRequest(h http.Header, cookie string) (Credentials, error) {
	if token := h.Get(spec.HeaderAppKey); token != "" {
		if len(token) > maxCredential {
			return Credentials{}, model.Errorf(model.Unauthenticated, "the application key is not a key of this server")
		}
		return Credentials{Token: token}, nil
	}
	if token := h.Get(spec.HeaderJWT); token != "" {
		return Credentials{JWT: token}, nil
	}
	value := h.Get("Authorization")
	if value == "" {
		if c, err := (&http.Request{Header: h}).Cookie(cookie); err == nil && c.Value != "" {
			return Credentials{JWT: c.Value, Cookie: true}, nil
		}
		return Credentials{}, model.Errorf(model.Unauthenticated, "credentials are needed: send a user and password (Basic), or an application key in %s", spec.HeaderAppKey)
	}
	scheme, encoded, _ := strings.Cut(value, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return Credentials{}, model.Errorf(model.Unauthenticated, "the Authorization header must be Basic")
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil || len(raw) > maxCredential {
		return Credentials{}, model.Errorf(model.Unauthenticated, "the Authorization header is not Basic and base64 of user:password")
	}
	c := Credentials{}
	if utf8.Valid(raw) {
		c.add(string(raw))
	}
	if latin := fromLatin1(raw); !utf8.Valid(raw) || latin != string(raw) {
		c.add(latin)
	}
	if len(c.Users) == 0 {
		return Credentials{}, model.Errorf(model.Unauthenticated, "the Authorization header holds no colon between user and password")
	}
	return c, nil
}

func (c *Credentials) add(pair string) {
	if user, password, ok := strings.Cut(pair, ":"); ok {
		c.Users = append(c.Users, Login{user, password})
	}
}

func fromLatin1(b []byte) string {
	r := make([]rune, len(b))
	for i, c := range b {
		r[i] = rune(c)
	}
	return string(r)
}
