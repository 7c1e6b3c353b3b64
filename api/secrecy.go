package api

import (
	"strings"

	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// keepsSecrets refuses a write that would show its caller, later on, what the caller may not read now: a link to settings
// behind another wall of the organization, or a parameter that ends to be secret while settings stand for it.
func (c *call) keepsSecrets(tx *state.Tx, at scope) error {
	if at.org == nil {
		return nil
	}
	g := c.caller.grantsOf(tx.Quiet(), at.org.ID)
	top := g.org(at.org.ID)
	if top == auth.Admin {
		return nil
	}
	if !top.May(auth.ReadSecret) {
		if key := orchestrate.Opened(tx, at.org.ID); key != "" {
			return model.Errorf(model.Forbidden, "%s would not be a secret any more, and you may not see secrets: ask who may", key)
		}
	}
	if !g.walls(at.org.ID) || strings.HasSuffix(c.route.Name, ".clone") {
		return nil // all of the organization is one to the caller, or what is copied was there before
	}
	direct := strings.HasPrefix(c.route.Name, "settings.")
	for _, l := range orchestrate.AddedLinks(tx) {
		if l.Old != nil && !direct {
			continue // what it leads to was renamed or moved
		}
		there, err := c.roleAtLink(tx.Quiet(), at, g, l.New.Link)
		if err != nil {
			return err
		}
		if !there.May(auth.Read) || at.role.May(auth.ReadSecret) && !there.May(auth.ReadSecret) {
			return model.Errorf(model.Forbidden, "setting %q: you may not read what %s is: link to what your groups let you see", l.New.Name, l.New.Link)
		}
	}
	return nil
}

// walls tells whether the caller's groups differ within the organization.
func (g grants) walls(orgID string) bool {
	_, top := g.at[orgID]
	return len(g.at) > 1 || len(g.at) == 1 && !top
}

// roleAtLink is what the caller is where a link leads. What is not there counts as what is around it, so that a link to
// what comes later is no way around a wall.
func (c *call) roleAtLink(r state.Reader, at scope, g grants, link string) (auth.Role, error) {
	t, err := model.ParseLink(link)
	if err != nil {
		return auth.Nobody, err
	}
	role := g.org(at.org.ID)
	if t.Environment == "" {
		return role, nil
	}
	env, err := orchestrate.EnvironmentByName(r, at.org.ID, t.Environment)
	if model.CodeOf(err) == model.NotFound {
		return role, nil
	} else if err != nil {
		return auth.Nobody, err
	}
	role = g.env(at.org.ID, env.ID)
	if t.Host == "" {
		return role, nil
	}
	host, err := orchestrate.HostByName(r, at.org.ID, env.ID, t.Host)
	if model.CodeOf(err) == model.NotFound {
		return role, nil
	} else if err != nil {
		return auth.Nobody, err
	}
	return g.host(at.org.ID, env.ID, host.ID), nil
}

// seesOwner tells for each owner of settings that may count on a host whether the caller, who reads the host, may read it.
func (c *call) seesOwner(r state.Reader, at scope) func(model.Owner) bool {
	g := c.caller.grantsOf(r, at.org.ID)
	return func(o model.Owner) bool {
		switch o.Level {
		case model.LevelOrganization, model.LevelHostgroup, model.LevelPlatform, model.LevelDistribution:
			return g.org(at.org.ID).May(auth.Read)
		case model.LevelEnvironment:
			return g.env(at.org.ID, o.ID).May(auth.Read)
		}
		return true
	}
}
