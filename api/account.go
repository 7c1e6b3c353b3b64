package api

import (
	"time"

	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// sessionLife is how long a session holds unless its maker says otherwise.
const sessionLife = 12 * time.Hour

func accountEndpoints() map[string]endpoint {
	return map[string]endpoint{
		"account.verify": {live: verifyAccount},
		"account.show":   {read: showAccount},

		"account.sessions.create": {live: createSession},
		"account.sessions.list": {read: func(c *call, r state.Reader, _ scope) (any, error) {
			user, err := c.person()
			if err != nil {
				return nil, err
			}
			docs := orchestrate.Sessions(r, user.ID)
			for i := range docs {
				docs[i].Current = c.caller.session != nil && docs[i].UUID == c.caller.session.ID
			}
			return list(docs), nil
		}},
		"account.sessions.delete": {write: deleteSession},

		"account.totp.begin":   {write: beginCodes},
		"account.totp.confirm": {body: objectBody, write: confirmCodes},
		"account.totp.delete":  {write: endCodes},

		"account.register": {open: public(register)},
		"account.confirm":  {open: public(confirmAccount)},

		"loginkeys.rotate": {site: true, write: func(_ *call, tx *state.Tx, _ scope) (any, error) {
			return done{true}, orchestrate.RotateLoginKeys(tx)
		}},
	}
}

// public takes a JSON object from everybody.
func public(f func(c *call) (any, error)) func(c *call) (reply, error) {
	return func(c *call) (reply, error) { return c.runFree(endpoint{body: objectBody, free: f}) }
}

// person is the user who calls. Error: Forbidden, for application keys.
func (c *call) person() (*model.UserRow, error) {
	if c.caller.user == nil {
		return nil, model.Errorf(model.Forbidden, "an application key has no account: log in as a user")
	}
	return c.caller.user, nil
}

// verifyAccount answers the published client (contract section 1.2): a JWT for password and one-time code; with a JWT, or
// a password where no code is needed, who the caller is.
func verifyAccount(c *call, _ *state.View, _ endpoint) (reply, error) {
	if c.req.Header.Get(spec.HeaderTOTP) == "" || c.caller.session != nil {
		return encode(200, map[string]string{"username": c.caller.name})
	}
	_, token, err := c.openSession(model.SessionClient, c.req.UserAgent(), sessionLife)
	if err != nil {
		return reply{}, err
	}
	return encode(200, map[string]string{"jwtToken": token})
}

// openSession begins a session of a caller who sent the password, and the one-time code where there are codes.
func (c *call) openSession(kind, description string, life time.Duration) (*model.SessionRow, string, error) {
	user, err := c.person()
	if err != nil {
		return nil, "", err
	}
	if c.caller.session != nil {
		return nil, "", model.Errorf(model.Forbidden, "a session begins with the password: send it, not the JWT of another session")
	}
	code := c.req.Header.Get(spec.HeaderTOTP)
	if code != "" && !c.caller.codes {
		return nil, "", model.Errorf(model.Unauthenticated, "this account has no one-time codes: leave %s out, or set codes up first", spec.HeaderTOTP)
	}
	var guarded *attempt
	if code != "" {
		a, err := c.srv.guard.EnterCode(c.req.Context(), user.ID)
		if err != nil {
			return nil, "", delayed(err)
		}
		guarded = &attempt{a}
	}
	row, token, err := c.newSession(user, kind, description, code, life)
	guarded.done(err)
	return row, token, err
}

// newSession writes the session of a user, and signs what names it.
func (c *call) newSession(user *model.UserRow, kind, description, code string, life time.Duration) (row *model.SessionRow, token string, err error) {
	var key model.LoginKey
	err = c.srv.cfg.Store.Update(c.req.Context(), func(tx *state.Tx) error {
		tx.SetActor(user.Username)
		if c.caller.user != nil {
			if err := c.caller.still(tx); err != nil {
				return err
			}
			if _, codes := orchestrate.TOTP(tx, user.ID); codes {
				step := func(secret []byte, code string) (int64, bool) { return auth.TOTPStep(secret, code, tx.Now()) }
				if err := orchestrate.UseCode(tx, user.ID, code, step); err != nil {
					return err
				}
			}
		}
		var err error
		row, key, err = orchestrate.CreateSession(tx, user.ID, kind, description, addressText(c), life)
		if err != nil {
			return err
		}
		return c.audit(tx, scope{}, reply{})
	})
	if err == nil {
		token, err = auth.SessionToken(key, row)
	}
	return row, token, err
}

// createSession begins a session: of a browser, which gets a cookie and never sees the token, or of a client.
func createSession(c *call, view *state.View, _ endpoint) (reply, error) {
	if err := c.readBody(objectBody); err != nil {
		return reply{}, err
	}
	doc, err := model.Decode[spec.SessionRequest](c.body)
	if err != nil {
		return reply{}, err
	}
	life, err := tokenLife(doc.Expires, sessionLife)
	if err != nil {
		return reply{}, err
	}
	kind := model.SessionClient
	if doc.Cookie {
		kind = model.SessionBrowser
	}
	if doc.Description == "" {
		doc.Description = c.req.UserAgent()
	}
	row, token, err := c.openSession(kind, doc.Description, life)
	if err != nil {
		return reply{}, err
	}
	answer := orchestrate.SessionDoc(view, row)
	if doc.Cookie {
		c.setCookie(c.srv.cookieName(), token, int(life/time.Second))
	} else {
		answer.Token = token
	}
	return c.encode(answer)
}

// deleteSession ends one of the caller's sessions; "current" is the one that asks.
func deleteSession(c *call, tx *state.Tx, _ scope) (any, error) {
	user, err := c.person()
	if err != nil {
		return nil, err
	}
	id, own := c.params["id"], c.caller.session
	if id == "current" {
		if own == nil {
			return nil, model.Errorf(model.NotFound, "this request is of no session: it was sent with a password")
		}
		id = own.ID
	}
	if own != nil && id == own.ID {
		c.setCookie(c.srv.cookieName(), "", -1)
	}
	return nil, orchestrate.DeleteSession(tx, user.ID, id)
}

func showAccount(c *call, r state.Reader, _ scope) (any, error) {
	user, err := c.person()
	if err != nil {
		return nil, err
	}
	_, codes := orchestrate.TOTP(r, user.ID)
	return spec.Account{User: orchestrate.UserDoc(user), TOTP: codes, Session: c.caller.session != nil}, nil
}

func beginCodes(c *call, tx *state.Tx, _ scope) (any, error) {
	user, err := c.person()
	if err != nil {
		return nil, err
	}
	secret, err := orchestrate.BeginTOTP(tx, user.ID)
	if err != nil {
		return nil, err
	}
	return spec.TOTPSecret{Secret: auth.TOTPSecret(secret), URI: auth.TOTPURI(secret, user.Username)}, nil
}

func confirmCodes(c *call, tx *state.Tx, _ scope) (any, error) {
	user, err := c.person()
	if err != nil {
		return nil, err
	}
	doc, err := model.Decode[spec.TOTPCode](c.body)
	if err != nil {
		return nil, err
	}
	step := func(secret []byte, code string) (int64, bool) { return auth.TOTPStep(secret, code, tx.Now()) }
	return done{true}, orchestrate.ConfirmTOTP(tx, user.ID, doc.Code, step)
}

// endCodes wants a code: who found an open session cannot turn them off.
func endCodes(c *call, tx *state.Tx, _ scope) (any, error) {
	user, err := c.person()
	if err != nil {
		return nil, err
	}
	if _, on := orchestrate.TOTP(tx, user.ID); on {
		step := func(secret []byte, code string) (int64, bool) { return auth.TOTPStep(secret, code, tx.Now()) }
		if err := orchestrate.UseCode(tx, user.ID, c.req.Header.Get(spec.HeaderTOTP), step); err != nil {
			return nil, model.Errorf(model.Forbidden, "send the present one-time code in %s to end them; an administrator of the site can end them without", spec.HeaderTOTP)
		}
	}
	return nil, orchestrate.EndTOTP(tx, user.ID)
}
