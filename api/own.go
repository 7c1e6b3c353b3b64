package api

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// The limits of a password, in characters and in bytes.
const (
	minPassword = 8
	maxPassword = 512
)

func checkPassword(p string) error {
	if utf8.RuneCountInString(p) < minPassword || len(p) > maxPassword {
		return model.Errorf(model.Invalid, "password: give at least %d characters, and at most %d bytes", minPassword, maxPassword)
	}
	return nil
}

// stagePassword hashes the password of the body once, before a transaction that may run many times.
func stagePassword(c *call) error {
	doc, err := model.Decode[spec.Password](c.body)
	if err != nil {
		return err
	}
	if err := checkPassword(doc.Password); err != nil {
		return err
	}
	c.hash = auth.HashPassword(doc.Password)
	return nil
}

// stageNewPassword is stagePassword for a password that replaces one. In a session the old one is asked for, so that who
// finds an open browser cannot take the account.
func stageNewPassword(c *call) error {
	if err := c.maySetPassword(); err != nil {
		return err
	}
	if u := c.caller.user; c.caller.session != nil && u.Username == c.params["name"] && u.PasswordHash != "" {
		doc, err := model.Decode[spec.Password](c.body)
		if err != nil {
			return err
		}
		a, err := c.srv.guard.Enter(c.req.Context(), u.Username, c.address)
		if err != nil {
			return delayed(err)
		}
		right, err := c.srv.passwords.Verify(c.req.Context(), u.Username, u.PasswordHash, doc.Current)
		if err != nil {
			return err
		}
		a.Done(right)
		if !right {
			return model.Errorf(model.Forbidden, "current: it is not your present password")
		}
	}
	return stagePassword(c)
}

func userEndpoints() map[string]endpoint {
	return map[string]endpoint{
		"users.list": {site: true, read: func(_ *call, r state.Reader, _ scope) (any, error) {
			docs := []model.User{}
			for _, row := range orchestrate.Users(r) {
				docs = append(docs, orchestrate.UserDoc(row))
			}
			return list(docs), nil
		}},
		"users.create": {site: true, body: objectBody, stage: stagePassword, write: func(c *call, tx *state.Tx, _ scope) (any, error) {
			doc, err := model.Decode[model.User](c.body)
			if err != nil {
				return nil, err
			}
			if strings.Contains(doc.Username, ":") {
				return nil, model.Errorf(model.Invalid, "username: it cannot hold a colon, which parts user and password at login")
			}
			row, err := orchestrate.CreateUser(tx, doc, c.hash)
			if err != nil {
				return nil, err
			}
			return orchestrate.UserDoc(row), nil
		}},
		"users.show": {site: true, read: func(c *call, r state.Reader, _ scope) (any, error) {
			row, err := orchestrate.UserByName(r, c.params["name"])
			if err != nil {
				return nil, err
			}
			return orchestrate.UserDoc(row), nil
		}},
		"users.update": {site: true, body: objectBody, write: func(c *call, tx *state.Tx, _ scope) (any, error) {
			row, err := orchestrate.UserByName(tx, c.params["name"])
			if err == nil {
				row, err = orchestrate.UpdateUser(tx, row.ID, c.body)
			}
			if err != nil {
				return nil, err
			}
			return orchestrate.UserDoc(row), nil
		}},
		"users.totp.delete": {site: true, write: func(c *call, tx *state.Tx, _ scope) (any, error) {
			row, err := orchestrate.UserByName(tx, c.params["name"])
			if err != nil {
				return nil, err
			}
			return nil, orchestrate.EndTOTP(tx, row.ID)
		}},
		"users.sessions.list": {site: true, read: func(c *call, r state.Reader, _ scope) (any, error) {
			row, err := orchestrate.UserByName(r, c.params["name"])
			if err != nil {
				return nil, err
			}
			return list(orchestrate.Sessions(r, row.ID)), nil
		}},
		"users.sessions.delete": {site: true, write: func(c *call, tx *state.Tx, _ scope) (any, error) {
			row, err := orchestrate.UserByName(tx, c.params["name"])
			if err == nil {
				orchestrate.DeleteSessions(tx, row.ID, "")
			}
			return nil, err
		}},
		"users.password": {body: objectBody, stage: stageNewPassword, write: setPassword},
		"users.delete": {site: true, write: func(c *call, tx *state.Tx, _ scope) (any, error) {
			row, err := orchestrate.UserByName(tx, c.params["name"])
			if err != nil {
				return nil, err
			}
			if row.ID == c.caller.user.ID {
				return nil, model.Errorf(model.Conflict, "you cannot delete yourself: let another administrator do it")
			}
			return nil, orchestrate.DeleteUser(tx, row.ID)
		}},
	}
}

// maySetPassword refuses who is neither the user of the path nor an administrator of the site.
func (c *call) maySetPassword() error {
	if c.caller.admin() || c.caller.user != nil && c.caller.user.Username == c.params["name"] {
		return nil
	}
	return model.Errorf(model.Forbidden, "only an administrator of the site may set another user's password")
}

// setPassword is for administrators of the site, and for everybody's own.
func setPassword(c *call, tx *state.Tx, _ scope) (any, error) {
	if err := c.maySetPassword(); err != nil {
		return nil, err
	}
	row, err := orchestrate.UserByName(tx, c.params["name"])
	if err != nil {
		return nil, err
	}
	return done{true}, orchestrate.SetPassword(tx, row.ID, c.hash)
}

// The limits of what a token's maker may ask for.
const (
	maxTokenLife = 365 * 24 * time.Hour
	maxTokenUses = 100_000
)

// tokenLife reads how long a token holds.
func tokenLife(s string, missing time.Duration) (time.Duration, error) {
	if s == "" {
		return missing, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 || d > maxTokenLife {
		return 0, model.Errorf(model.Invalid, "expires: give a time from now like 30m or 24h, up to 8760h, not %q", s)
	}
	return d, nil
}

func enrolEndpoints() map[string]endpoint {
	return map[string]endpoint{
		"enroltokens.list": reading(auth.Manage, func(_ *call, r state.Reader, at scope) (any, error) {
			docs := []spec.EnrolToken{}
			for _, t := range state.List[model.EnrolToken](r, model.EnrolTokensOf(at.env.ID)) {
				docs = append(docs, enrolToken(at, t))
			}
			return list(docs), nil
		}),
		"enroltokens.create": changing(auth.Manage, createEnrolToken),
		"enroltokens.delete": acting(auth.Manage, func(c *call, tx *state.Tx, at scope) (any, error) {
			t, ok := state.Get[model.EnrolToken](tx, c.params["id"])
			if !ok || t.EnvID != at.env.ID {
				return nil, model.Errorf(model.NotFound, "there is no enrolment token %q in environment %q", c.params["id"], at.env.Name)
			}
			state.Delete[model.EnrolToken](tx, t.ID)
			return nil, nil
		}),
	}
}

func createEnrolToken(c *call, tx *state.Tx, at scope) (any, error) {
	if c.srv.cfg.EnrolToken == nil {
		return nil, notBuilt(c.route)
	}
	doc, err := model.Decode[spec.EnrolTokenRequest](c.body)
	if err != nil {
		return nil, err
	}
	if doc.Uses == 0 {
		doc.Uses = 1
	}
	if doc.Uses < 1 || doc.Uses > maxTokenUses {
		return nil, model.Errorf(model.Invalid, "uses: give a number from 1 to %d", maxTokenUses)
	}
	life, err := tokenLife(doc.Expires, 24*time.Hour)
	if err != nil {
		return nil, err
	}
	id, token, err := c.srv.cfg.EnrolToken(tx, at.org.ID, at.env.ID, doc.Uses, tx.Now().Add(life))
	if err != nil {
		return nil, err
	}
	row, ok := state.Get[model.EnrolToken](tx, id)
	if !ok {
		return nil, model.Errorf(model.Internal, "enrolment token %s was not kept", id)
	}
	answer := enrolToken(at, row)
	answer.Token = token
	return answer, nil
}

func enrolToken(at scope, t *model.EnrolToken) spec.EnrolToken {
	return spec.EnrolToken{ID: t.ID, Organization: at.org.Name, Environment: at.env.Name, Uses: t.Uses, Used: t.Used,
		Expires: model.FormatTime(t.Expires)}
}

func clusterEndpoints() map[string]endpoint {
	// Without a cluster there is nothing to tell or ask.
	of := func(body bodyKind, f func(c *call, cl Cluster) (any, error)) endpoint {
		return endpoint{site: true, body: body, free: func(c *call) (any, error) {
			if c.srv.cfg.Cluster == nil {
				return nil, notBuilt(c.route)
			}
			return f(c, c.srv.cfg.Cluster)
		}}
	}
	// What changes the cluster is recorded once it is done; before that where this node is out of the cluster then.
	after := func(body bodyKind, f func(c *call, cl Cluster) (any, error)) endpoint {
		return of(body, func(c *call, cl Cluster) (any, error) {
			value, err := f(c, cl)
			if err == nil {
				c.auditAfter()
			}
			return value, err
		})
	}
	before := func(body bodyKind, f func(c *call, cl Cluster) (any, error)) endpoint {
		return of(body, func(c *call, cl Cluster) (any, error) {
			if err := c.auditAlone(c.req.Context()); err != nil {
				return nil, err
			}
			return f(c, cl)
		})
	}
	return map[string]endpoint{
		"cluster.show":  of(noBody, func(c *call, cl Cluster) (any, error) { return cl.Status(c.req.Context()) }),
		"cluster.token": after(objectBody, joinToken),
		"cluster.tokens.list": of(noBody, func(c *call, cl Cluster) (any, error) {
			tokens, err := cl.Tokens(c.req.Context())
			return list(tokens), err
		}),
		"cluster.tokens.delete": after(noBody, func(c *call, cl Cluster) (any, error) {
			return done{true}, cl.RevokeToken(c.req.Context(), c.params["id"])
		}),
		"cluster.transfer": after(objectBody, func(c *call, cl Cluster) (any, error) {
			doc, err := model.Decode[spec.LeaderRequest](c.body)
			if err != nil {
				return nil, err
			}
			return done{true}, cl.Transfer(c.req.Context(), doc.To)
		}),
		"cluster.rotate":     after(noBody, func(c *call, cl Cluster) (any, error) { return done{true}, cl.RotateGossipKey(c.req.Context()) }),
		"cluster.key.rotate": after(noBody, func(c *call, cl Cluster) (any, error) { return done{true}, cl.RotateClusterKey(c.req.Context()) }),
		"cluster.leave":      before(noBody, func(c *call, cl Cluster) (any, error) { return done{true}, cl.Leave(c.req.Context()) }),
		"cluster.remove": after(noBody, func(c *call, cl Cluster) (any, error) {
			return done{true}, cl.Remove(c.req.Context(), c.params["name"])
		}),
		"cluster.join": of(objectBody, joinCluster),
	}
}

// joinToken makes a token with which nodes join.
func joinToken(c *call, cl Cluster) (any, error) {
	doc, err := model.Decode[spec.JoinTokenRequest](c.body)
	if err != nil {
		return nil, err
	}
	life, err := tokenLife(doc.Expires, time.Hour)
	if err != nil {
		return nil, err
	}
	uses := 1
	if doc.Uses != nil {
		uses = *doc.Uses
	}
	if uses < 0 || uses > maxTokenUses {
		return nil, model.Errorf(model.Invalid, "uses: give a number up to %d, 0 for any number of nodes", maxTokenUses)
	}
	return cl.Token(c.req.Context(), life, uses)
}

// joinCluster makes this node a member of another's cluster.
func joinCluster(c *call, cl Cluster) (any, error) {
	doc, err := model.Decode[spec.JoinRequest](c.body)
	if err != nil {
		return nil, err
	}
	if doc.Address == "" || doc.Token == "" {
		return nil, model.Errorf(model.Invalid, "give the address of a member and a join token")
	}
	if err := c.auditAlone(c.req.Context()); err != nil {
		return nil, err
	}
	return done{true}, cl.Join(c.req.Context(), doc.Address, doc.Token)
}
