package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// caller is who sent a request: a user, by password or in a session, or an application key.
type caller struct {
	name    string // for the audit and the log
	user    *model.UserRow
	key     *model.ApplicationKeyRow
	session *model.SessionRow // nil: the user sent the password
	signed  string            // id of the login key that signed the session's token
	codes   bool              // the user has one-time codes, which a password alone does not replace
}

// admin tells whether the caller is an administrator of the site. Keys never are.
func (c caller) admin() bool { return c.user != nil && c.user.Admin }

// still tells whether the caller is who it was when its credentials were verified, so that a write does
// not take effect after its sender was removed, has another password, or needs one-time codes.
func (c caller) still(r state.Reader) error {
	if c.session != nil {
		if _, ok := orchestrate.LoginKey(r, c.signed); !ok {
			return model.Errorf(model.Unauthenticated, "the session is over: log in again")
		}
		_, _, err := orchestrate.OpenSession(r, c.session.ID)
		return err
	}
	if c.user != nil {
		if now, ok := state.Get[model.UserRow](r, c.user.ID); !ok || now.PasswordHash != c.user.PasswordHash {
			return unauthenticated()
		}
		if _, codes := orchestrate.TOTP(r, c.user.ID); codes && !c.codes {
			return codeNeeded()
		}
		return nil
	}
	now, ok := state.Get[model.ApplicationKeyRow](r, c.key.ID)
	if !ok || now.TokenHash != c.key.TokenHash || now.SecretHash != c.key.SecretHash || now.Group != c.key.Group ||
		!now.Expires.IsZero() && !r.Now().Before(now.Expires) || !orchestrate.OrganizationThere(r, now.OrgID) {
		return unauthenticated()
	}
	return nil
}

// unauthenticated is the one answer to credentials that are not right, whatever is wrong with them.
func unauthenticated() error {
	return model.Errorf(model.Unauthenticated, "the user and password, or the application key, are not known")
}

// codeNeeded is the answer to a password alone, where there are one-time codes.
func codeNeeded() error {
	return model.Errorf(model.Unauthenticated, "a one-time code is needed: send it in %s to /account/_verify, and go on with the JWT of the answer", spec.HeaderTOTP)
}

// authenticate finds the caller, and the view that a reading endpoint goes on with. What this node has is
// asked first; only credentials that it does not know are looked for in the newest state.
func (s *Server) authenticate(c *call) (*state.View, error) {
	if c.stale() {
		c.tellAge() // before the state is read: that is then no older
	}
	local := s.cfg.Store.Local()
	id, remembered := s.kept.credentialsID(c.req.Header)
	if remembered {
		if view, err := s.recall(c, local, id); view != nil || err != nil {
			return view, err
		}
	}
	creds, err := auth.FromRequest(c.req.Header, s.cookieName())
	if err != nil {
		return nil, err
	}
	if creds.Cookie && !c.reads() && c.req.Header.Get("Sec-Fetch-Site") == "" && c.req.Header.Get("Origin") == "" {
		return nil, model.Errorf(model.Forbidden, "a cookie is taken only from a browser that says which page asks: send Origin, or a JWT in %s", spec.HeaderJWT)
	}
	attempt, err := s.admit(c, local, creds)
	if err != nil {
		return nil, err
	}
	ws := state.NewWatchSet()
	view, err := s.recognise(c, local, creds, ws)
	attempt.done(err)
	if err != nil {
		return nil, err
	}
	if remembered {
		s.remember(id, c.caller, ws, s.verifiedUntil(c.caller, creds))
	}
	if c.caller.codes && (c.req.Header.Get(spec.HeaderTOTP) == "" || !takesCode(c.route.Name)) {
		return nil, codeNeeded()
	}
	s.noteUse(c, view)
	return view, nil
}

// verifiedUntil is how long the password of a caller need not be computed again; the zero time where there is none.
func (s *Server) verifiedUntil(who caller, creds auth.Credentials) (until time.Time) {
	if who.user == nil {
		return until
	}
	for _, login := range creds.Users {
		if t := s.passwords.Until(login.User, who.user.PasswordHash, login.Password); t.After(until) {
			until = t
		}
	}
	return until
}

// wantsNewest tells whether a request goes on with a state that is no older than the request.
func (s *Server) wantsNewest(c *call) bool {
	end := s.endpoints[c.route.Name]
	return !c.stale() && (end.read != nil || end.live != nil || c.route.State != spec.Built)
}

// recognise identifies the caller. What it reads for that of the state that knew the caller is noted in ws.
func (s *Server) recognise(c *call, local *state.View, creds auth.Credentials, ws *state.WatchSet) (*state.View, error) {
	ctx := c.req.Context()
	var err error
	c.caller, err = s.identify(ctx, local.Watched(ws), creds)
	if err != nil && model.CodeOf(err) != model.Unauthenticated || c.stale() {
		return local, err
	}
	if err == nil && !s.wantsNewest(c) {
		return local, nil
	}
	view, viewErr := s.cfg.Store.View(ctx)
	if viewErr != nil {
		return nil, viewErr
	}
	if err == nil {
		return view, c.caller.still(view)
	}
	if view.Index() == local.Index() && view.Epoch() == local.Epoch() {
		return nil, err
	}
	c.caller, err = s.identify(ctx, view.Watched(ws), creds) // ws saw two states now, and what is seen once more is of no use to it
	return view, err
}

// takesCode tells the routes that take a one-time code beside a password.
func takesCode(route string) bool {
	return route == "account.verify" || route == "account.sessions.create"
}

// attempt is a try to log in that is watched; nil is one that is not.
type attempt struct{ *auth.Attempt }

func (a *attempt) done(err error) {
	if a == nil {
		return
	}
	if code := model.CodeOf(err); code == "" || code == model.Unauthenticated {
		a.Done(err == nil)
	}
}

// admit makes who guesses wait. What is known to be right already does not wait.
func (s *Server) admit(c *call, r state.Reader, creds auth.Credentials) (*attempt, error) {
	if len(creds.Users) == 0 {
		return nil, nil
	}
	for _, login := range creds.Users {
		if _, err := orchestrate.KeyByAccess(r, login.User, login.Password); err == nil {
			return nil, nil
		}
		if u, err := orchestrate.UserByName(r, login.User); err == nil && s.passwords.Remembers(login.User, u.PasswordHash, login.Password) {
			return nil, nil
		}
	}
	a, err := s.guard.Enter(c.req.Context(), creds.Users[0].User, c.address)
	return &attempt{a}, delayed(err)
}

// delayed is the answer to who tries too often.
func delayed(err error) error {
	var late *auth.DelayError
	if !errors.As(err, &late) {
		return err
	}
	e := model.Errorf(model.Unavailable, "%s", late.Error())
	e.RetryAfter = late.After
	return &statusError{http.StatusTooManyRequests, e}
}

// identify verifies credentials against a state. Unknown users cost the same as wrong passwords.
func (s *Server) identify(ctx context.Context, r state.Reader, creds auth.Credentials) (caller, error) {
	if creds.Token != "" {
		key, err := orchestrate.KeyByToken(r, creds.Token)
		return keyCaller(key, err)
	}
	if creds.JWT != "" {
		find := func(id string) (model.LoginKey, bool) { return orchestrate.LoginKey(r, id) }
		id, signed, err := auth.SessionOf(creds.JWT, find, r.Now())
		if err != nil {
			return caller{}, err
		}
		session, user, err := orchestrate.OpenSession(r, id)
		if err != nil {
			return caller{}, err
		}
		return caller{name: user.Username, user: user, session: session, signed: signed}, nil
	}
	for _, login := range creds.Users {
		if key, err := orchestrate.KeyByAccess(r, login.User, login.Password); err == nil {
			return keyCaller(key, nil)
		}
	}
	var found *model.UserRow
	for _, login := range creds.Users {
		user, err := orchestrate.UserByName(r, login.User)
		if err != nil && model.CodeOf(err) != model.NotFound {
			return caller{}, err
		}
		hash := ""
		if err == nil {
			hash = user.PasswordHash
		}
		ok, err := s.passwords.Verify(ctx, login.User, hash, login.Password)
		if err != nil {
			return caller{}, err
		}
		if ok && found == nil {
			found = user
		}
	}
	if found == nil {
		return caller{}, unauthenticated()
	}
	_, codes := orchestrate.TOTP(r, found.ID)
	return caller{name: found.Username, user: found, codes: codes}, nil
}

func keyCaller(key *model.ApplicationKeyRow, err error) (caller, error) {
	var e *model.Error
	switch {
	case err == nil:
		return caller{name: "key " + key.Name, key: key}, nil
	case errors.As(err, &e) && (e.Code == model.Unauthenticated || e.Code == model.NotFound):
		return caller{}, unauthenticated()
	}
	return caller{}, err
}
