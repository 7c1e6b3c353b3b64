package api

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"net/http"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// Provider logs people in elsewhere: an OpenID provider. It is called by many requests at a time.
type Provider interface {
	// Begin is where a browser is sent; it comes back to redirect with a code.
	Begin(ctx context.Context, f auth.Flow, redirect string) (address string, err error)
	// Redeem says whose code it is. Errors: Unauthenticated, Unavailable.
	Redeem(ctx context.Context, code, redirect string, f auth.Flow) (auth.Subject, error)
}

// flowLife is how long a person may take at the provider.
const flowLife = 10 * time.Minute

// The names of the cookie with a flow, as with sessions.
const (
	secureFlowCookie = "__Host-muster_login"
	plainFlowCookie  = "muster_login"
)

func (s *Server) flowCookie() string {
	if s.secure() {
		return secureFlowCookie
	}
	return plainFlowCookie
}

func oidcEndpoints() map[string]endpoint {
	return map[string]endpoint{
		"login.oidc.begin":    {open: beginLogin},
		"login.oidc.callback": {open: finishLogin},

		"account.identities.list": {read: func(c *call, r state.Reader, _ scope) (any, error) {
			user, err := c.person()
			if err != nil {
				return nil, err
			}
			return list(orchestrate.Identities(r, user.ID)), nil
		}},
		"account.identities.link": {live: beginLink},
		"account.identities.delete": {write: func(c *call, tx *state.Tx, _ scope) (any, error) {
			user, err := c.person()
			if err != nil {
				return nil, err
			}
			return nil, orchestrate.DeleteIdentity(tx, user.ID, c.params["id"])
		}},
		"users.identities.list": {site: true, read: func(c *call, r state.Reader, _ scope) (any, error) {
			user, err := orchestrate.UserByName(r, c.params["name"])
			if err != nil {
				return nil, err
			}
			return list(orchestrate.Identities(r, user.ID)), nil
		}},
		"users.identities.create": {site: true, body: objectBody, write: func(c *call, tx *state.Tx, _ scope) (any, error) {
			user, err := orchestrate.UserByName(tx, c.params["name"])
			if err != nil {
				return nil, err
			}
			doc, err := model.Decode[model.Identity](c.body)
			if err != nil {
				return nil, err
			}
			return orchestrate.LinkIdentity(tx, user.ID, doc.Issuer, doc.Subject)
		}},
		"users.identities.delete": {site: true, write: func(c *call, tx *state.Tx, _ scope) (any, error) {
			user, err := orchestrate.UserByName(tx, c.params["name"])
			if err != nil {
				return nil, err
			}
			return nil, orchestrate.DeleteIdentity(tx, user.ID, c.params["id"])
		}},
	}
}

// provider is the OpenID provider. Error: NotFound, when there is none.
func (c *call) provider() (Provider, string, error) {
	p := c.srv.cfg.Login.OIDC
	if p == nil {
		return nil, "", model.Errorf(model.NotFound, "this server has no OpenID provider: log in with your password")
	}
	return p, c.srv.cfg.Login.PublicURL + "/login/oidc/callback", nil
}

// beginLogin sends a browser to the provider.
func beginLogin(c *call) (reply, error) {
	address, err := c.beginFlow(c.query.Get("return"), "")
	if err != nil {
		return reply{}, err
	}
	c.header.Set("Location", address)
	return reply{status: http.StatusFound}, nil
}

// beginLink answers where the browser of a session goes so that its user can log in at the provider from then on. It
// is no redirect: a page of another site could have sent the browser here for one.
func beginLink(c *call, _ *state.View, _ endpoint) (reply, error) {
	if _, err := c.person(); err != nil {
		return reply{}, err
	}
	if c.caller.session == nil {
		return reply{}, model.Errorf(model.Forbidden, "a login is linked in a session of a browser: begin one first")
	}
	if err := c.readBody(objectBody); err != nil {
		return reply{}, err
	}
	doc, err := model.Decode[spec.IdentityLink](c.body)
	if err != nil {
		return reply{}, err
	}
	address, err := c.beginFlow(doc.Return, c.caller.session.ID)
	if err != nil {
		return reply{}, err
	}
	return c.encode(spec.IdentityLink{Return: doc.Return, Address: address})
}

// beginFlow gives the browser the cookie of a flow, and the provider's address for it.
func (c *call) beginFlow(back, link string) (string, error) {
	p, redirect, err := c.provider()
	if err != nil {
		return "", err
	}
	if back == "" {
		back = "/"
	}
	// "//host" and "/\host" are addresses of other sites to a browser.
	if len(back) > 500 || back[0] != '/' || strings.HasPrefix(back, "//") || strings.ContainsAny(back, "\\\r\n\t\x00") {
		return "", model.Errorf(model.Invalid, "return: give a path of this site that begins with one slash, at most 500 bytes")
	}
	f := auth.Flow{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Return: back, Link: link}
	address, err := p.Begin(c.req.Context(), f, redirect)
	if err != nil {
		c.providerFault(err)
		return "", err
	}
	key, now, err := c.signingKey()
	if err != nil {
		return "", err
	}
	token, err := auth.FlowToken(key, f, now, flowLife)
	if err != nil {
		return "", err
	}
	c.setCookie(c.srv.flowCookie(), token, int(flowLife/time.Second))
	return address, nil
}

// signingKey is the login key to sign with; only when there is no young one, that is a commit.
func (c *call) signingKey() (key model.LoginKey, now time.Time, err error) {
	local := c.srv.cfg.Store.Local()
	if key, ok := orchestrate.YoungLoginKey(local); ok {
		return key, local.Now(), nil
	}
	err = c.srv.cfg.Store.Update(c.req.Context(), func(tx *state.Tx) error {
		tx.SetActor("login")
		now = tx.Now()
		key, err = orchestrate.SigningLoginKey(tx)
		return err
	})
	return key, now, err
}

// providerFault logs what is wrong with the provider, which its own error does not tell people.
func (c *call) providerFault(err error) {
	c.srv.cfg.Log.Warn("a login at the OpenID provider failed", "id", c.id, "error", err)
}

// finishLogin takes the browser that comes back from the provider.
func finishLogin(c *call) (reply, error) {
	p, redirect, err := c.provider()
	if err != nil {
		return reply{}, err
	}
	f, err := c.flow()
	if err != nil {
		return reply{}, err
	}
	if c.query.Has("error") {
		return reply{}, model.Errorf(model.Unauthenticated, "the OpenID provider did not log you in%s: begin again", providerCode(c.query.Get("error")))
	}
	guarded, err := c.srv.guard.EnterAddress(c.req.Context(), c.address)
	if err != nil {
		return reply{}, delayed(err)
	}
	who, err := p.Redeem(c.req.Context(), c.query.Get("code"), redirect, f)
	if err != nil {
		guarded.Done(false)
		c.providerFault(err)
		return reply{}, err
	}
	token, err := c.loggedIn(who, f)
	if err != nil {
		return reply{}, err
	}
	c.setCookie(c.srv.flowCookie(), "", -1)
	if token != "" {
		c.setCookie(c.srv.cookieName(), token, int(sessionLife/time.Second))
	}
	c.header.Set("Location", f.Return)
	return reply{status: http.StatusFound}, nil
}

// flow is the flow that this browser began and the provider answers to. Error: Unauthenticated.
func (c *call) flow() (auth.Flow, error) {
	notBegun := model.Errorf(model.Unauthenticated, "this login was not begun in this browser, or took too long: begin again")
	cookie, err := c.req.Cookie(c.srv.flowCookie())
	if err != nil {
		return auth.Flow{}, notBegun
	}
	local := c.srv.cfg.Store.Local()
	find := func(id string) (model.LoginKey, bool) { return orchestrate.LoginKey(local, id) }
	f, err := auth.FlowOf(cookie.Value, find, local.Now())
	if err != nil {
		// This node may not have seen the key that another one has just made.
		view, viewErr := c.srv.cfg.Store.View(c.req.Context())
		if viewErr != nil {
			return auth.Flow{}, viewErr
		}
		find = func(id string) (model.LoginKey, bool) { return orchestrate.LoginKey(view, id) }
		if f, err = auth.FlowOf(cookie.Value, find, view.Now()); err != nil {
			return auth.Flow{}, err
		}
	}
	if subtle.ConstantTimeCompare([]byte(f.State), []byte(c.query.Get("state"))) != 1 {
		return auth.Flow{}, notBegun
	}
	return f, nil
}

// providerCode is a code of RFC 6749 section 4.1.2.1 as it may be shown; anybody can write the address it stands in.
func providerCode(code string) string {
	if len(code) > 40 || strings.Trim(code, "abcdefghijklmnopqrstuvwxyz_") != "" || code == "" {
		return ""
	}
	return " (" + code + ")"
}

// loggedIn begins the session of who logged in, or links it to the user who asked for that, who has a session.
func (c *call) loggedIn(who auth.Subject, f auth.Flow) (token string, err error) {
	var row *model.SessionRow
	var key model.LoginKey
	err = c.srv.cfg.Store.Update(c.req.Context(), func(tx *state.Tx) error {
		row = nil
		if f.Link != "" {
			_, user, err := orchestrate.OpenSession(tx, f.Link)
			if err != nil {
				return err
			}
			tx.SetActor(user.Username)
			if _, err = orchestrate.LinkIdentity(tx, user.ID, who.Issuer, who.Subject); err != nil {
				return err
			}
			return c.recordLogin(tx, user)
		}
		user, known := orchestrate.UserOfIdentity(tx, who.Issuer, who.Subject)
		if !known {
			if !c.srv.cfg.Login.OIDCRegister {
				return model.Errorf(model.Forbidden, "no account is linked to this login of the provider: log in with your password and link it, or ask the administrator of the site")
			}
			tx.SetActor("registration")
			var err error
			if user, err = orchestrate.RegisterIdentity(tx, who.Issuer, who.Subject, accountOf(who)); err != nil {
				return err
			}
		}
		tx.SetActor(user.Username)
		var err error
		row, key, err = orchestrate.CreateSession(tx, user.ID, model.SessionBrowser, c.req.UserAgent(), addressText(c), sessionLife)
		if err != nil {
			return err
		}
		return c.recordLogin(tx, user)
	})
	if err != nil || row == nil {
		return "", err
	}
	return auth.SessionToken(key, row)
}

// accountOf is the account that a provider's user gets. An address that the provider has not verified is nobody's.
func accountOf(who auth.Subject) model.User {
	doc := model.User{Username: who.Username, Fullname: who.Fullname}
	if who.EmailVerified {
		doc.Email = who.Email
	}
	return doc
}
