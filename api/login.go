package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/muster-hq/muster/api/auth"
)

// Login is how people log in, beside the passwords and keys that are always taken.
type Login struct {
	// Proxies are those whose X-Forwarded-For is believed.
	Proxies auth.Proxies
	// Register lets everybody ask for an account.
	Register bool
	// Mail takes what confirms a registration to its address; nil writes it to the log.
	Mail Mailer
	// PublicURL is where people reach this server, without a final slash: https://muster.example.org. "" is not told.
	PublicURL string
	// TLS tells that the server is reached over TLS even where PublicURL does not say so.
	TLS bool
	// OIDC is the OpenID provider at which people log in; nil is none. It needs PublicURL.
	OIDC Provider
	// OIDCRegister gives an account to whoever logs in at the provider and has none.
	OIDCRegister bool
}

// Mailer sends letters. It is called by many requests at a time.
type Mailer interface {
	// Send sends a text to one address, or says why not. It is bounded by ctx.
	Send(ctx context.Context, to, subject, text string) error
}

// The names of the cookie with a session; the first is one that browsers take over TLS only, and from this host only.
const (
	secureCookie = "__Host-muster_session"
	plainCookie  = "muster_session"
)

func (s *Server) secure() bool {
	return s.cfg.Login.TLS || strings.HasPrefix(s.cfg.Login.PublicURL, "https://")
}

func (s *Server) cookieName() string {
	if s.secure() {
		return secureCookie
	}
	return plainCookie
}

// setCookie gives a browser a cookie for the whole of this host, which no script can read and which other sites' pages
// do not make it send; life in seconds, below 0 takes it away.
func (c *call) setCookie(name, value string, life int) {
	http.SetCookie(c.writer, &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: life, HttpOnly: true, Secure: c.srv.secure(), SameSite: http.SameSiteLaxMode,
	})
}
