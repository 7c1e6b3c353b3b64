package api

import (
	"context"
	"errors"

	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// caller is who sent a request: a user, or an application key.
type caller struct {
	name string // for the audit and the log
	user *model.UserRow
	key  *model.ApplicationKeyRow
}

// admin tells whether the caller is an administrator of the site. Keys never are.
func (c caller) admin() bool { return c.user != nil && c.user.Admin }

// still tells whether the caller is who it was when its credentials were verified, so that a write does
// not take effect after its sender was removed or has another password.
func (c caller) still(r state.Reader) error {
	if c.user != nil {
		if now, ok := state.Get[model.UserRow](r, c.user.ID); ok && now.PasswordHash == c.user.PasswordHash {
			return nil
		}
		return unauthenticated()
	}
	now, ok := state.Get[model.ApplicationKeyRow](r, c.key.ID)
	if !ok || now.TokenHash != c.key.TokenHash || now.SecretHash != c.key.SecretHash || now.Group != c.key.Group ||
		!now.Expires.IsZero() && !r.Now().Before(now.Expires) {
		return unauthenticated()
	}
	return nil
}

// unauthenticated is the one answer to credentials that are not right, whatever is wrong with them.
func unauthenticated() error {
	return model.Errorf(model.Unauthenticated, "the user and password, or the application key, are not known")
}

// authenticate finds the caller, and the view that a reading endpoint goes on with. What this node has is
// asked first; only credentials that it does not know are looked for in the newest state.
func (s *Server) authenticate(c *call) (*state.View, error) {
	ctx := c.req.Context()
	if s.needsTOTP(c) {
		return nil, model.Errorf(model.Unimplemented, "one-time codes are not built yet: use a user and password, or an application key")
	}
	creds, err := auth.FromRequest(c.req.Header)
	if err != nil {
		return nil, err
	}
	stale := c.stale()
	if stale {
		c.tellAge() // before the state is read: that is then no older
	}
	local := s.cfg.Store.Local()
	c.caller, err = s.identify(ctx, local, creds)
	if err != nil && model.CodeOf(err) != model.Unauthenticated || stale {
		return local, err
	}
	end := s.endpoints[c.route.Name]
	isRead := end.read != nil || end.live != nil || c.route.State != spec.Built
	if err == nil && !isRead {
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
	c.caller, err = s.identify(ctx, view, creds)
	return view, err
}

// needsTOTP tells whether the request wants a JWT for a one-time code.
func (s *Server) needsTOTP(c *call) bool { return c.req.Header.Get(spec.HeaderTOTP) != "" }

// identify verifies credentials against a state. Unknown users cost the same as wrong passwords.
func (s *Server) identify(ctx context.Context, r state.Reader, creds auth.Credentials) (caller, error) {
	if creds.Token != "" {
		key, err := orchestrate.KeyByToken(r, creds.Token)
		return keyCaller(key, err)
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
	return caller{name: found.Username, user: found}, nil
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
