package api

import (
	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// seen are the roles of a caller on the environments and hosts of an organization, by their names.
type seen struct {
	env    map[string]auth.Role    // by environment
	host   map[[2]string]auth.Role // by environment and host
	secret bool                    // the caller may see secrets in all that it sees
}

func (c *call) seen(r state.Reader, at scope) seen {
	g := c.caller.grantsOf(r, at.org.ID)
	s := seen{env: map[string]auth.Role{}, host: map[[2]string]auth.Role{}, secret: at.role.May(auth.ReadSecret)}
	for _, e := range orchestrate.Environments(r, at.org.ID) {
		role := g.env(at.org.ID, e.ID)
		s.env[e.Name] = role
		s.secret = s.secret && (role.May(auth.ReadSecret) || !role.May(auth.Read))
		for _, h := range orchestrate.Hosts(r, at.org.ID, e.ID) {
			role := g.host(at.org.ID, e.ID, h.ID)
			s.host[[2]string{e.Name, h.Name}] = role
			s.secret = s.secret && (role.May(auth.ReadSecret) || !role.May(auth.Read))
		}
	}
	return s
}

// settingTree is the tree of an organization's settings, without what the caller may not read. Secrets
// are in it only for who may see them everywhere in it.
func settingTree(c *call, r state.Reader, at scope) (any, error) {
	s := c.seen(r, at)
	show := c.show(at.role)
	show.Key = c.query.Get("key")
	show.NoSecret = show.NoSecret || !s.secret
	tree, err := orchestrate.Tree(r, at.org.ID, show)
	if err != nil {
		return nil, err
	}
	envs := []model.EnvironmentSetting{}
	for _, e := range tree.Environments {
		hosts := []model.HostSetting{}
		for _, h := range e.Hosts {
			if s.host[[2]string{e.Environment, h.Host}].May(auth.Read) {
				hosts = append(hosts, h)
			}
		}
		if !s.env[e.Environment].May(auth.Read) {
			if len(hosts) == 0 {
				continue
			}
			e.Settings = []model.Setting{}
		}
		e.Hosts = hosts
		envs = append(envs, e)
	}
	tree.Environments = envs
	return tree, nil
}

// settingImpact tells what a change of a setting would touch; what the caller may not read is left out, and that something
// was is told.
func settingImpact(c *call, r state.Reader, at scope) (any, error) {
	// A secret setting does not exist for who may not see it.
	if _, err := orchestrate.GetSetting(r, at.owner, c.params["key"], unread(c.show(at.role))); err != nil {
		return nil, err
	}
	g := c.caller.grantsOf(r, at.org.ID)
	return orchestrate.Impact(r, at.owner, c.params["key"], func(o model.Owner) (orchestrate.Show, bool) {
		role := g.org(at.org.ID)
		switch o.Level {
		case model.LevelEnvironment:
			role = g.env(at.org.ID, o.ID)
		case model.LevelHost:
			h, ok := state.Get[model.HostRow](r, o.ID)
			if !ok {
				return orchestrate.Show{}, false
			}
			role = g.host(at.org.ID, h.EnvID, o.ID)
		}
		return unread(c.show(role)), role.May(auth.Read)
	})
}

// unread shows no value in clear: only names are told.
func unread(s orchestrate.Show) orchestrate.Show {
	s.Obfuscate = true
	return s
}
