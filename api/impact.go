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

// settingImpact tells what a change of a setting would touch; hosts that the caller may not read are left
// out, and that some were is told.
func settingImpact(c *call, r state.Reader, at scope) (any, error) {
	// A secret setting does not exist for who may not see it.
	if _, err := orchestrate.GetSetting(r, at.owner, c.params["key"], c.show(at.role)); err != nil {
		return nil, err
	}
	impact, err := orchestrate.Impact(r, at.owner, c.params["key"])
	if err != nil {
		return nil, err
	}
	s := c.seen(r, at)
	for i, h := range impact.SettingHandlerContexts {
		hosts := []model.ImpactedHost{}
		for _, host := range h.Hosts {
			if s.host[[2]string{host.Environment, host.Name}].May(auth.Read) {
				hosts = append(hosts, host)
			}
		}
		impact.SettingHandlerContexts[i].NoAccessToAllResources = h.NoAccessToAllResources || len(hosts) < len(h.Hosts)
		impact.SettingHandlerContexts[i].Hosts = hosts
	}
	return impact, nil
}
