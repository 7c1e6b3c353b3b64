package api

import (
	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// scope is the innermost organization, environment or host that a path names, and what the caller is there.
type scope struct {
	org   *model.OrganizationRow
	env   *model.EnvironmentRow
	host  *model.HostRow
	role  auth.Role
	owner model.Owner // of settings and groups; of a context only where the route is one's
}

func (s scope) hostID() string {
	if s.host == nil {
		return ""
	}
	return s.host.ID
}

// grants are the groups that a caller is in, within one organization.
type grants struct {
	at    map[string][]string // group names by the id of the organization, environment or host
	inEnv map[string]bool     // environments with a host that names the caller
	any   bool                // some level names the caller
}

// grantsOf reads the caller's groups in an organization.
func (c caller) grantsOf(r state.Reader, orgID string) grants {
	g := grants{at: map[string][]string{}, inEnv: map[string]bool{}}
	if c.key != nil {
		if c.key.OrgID == orgID {
			g.at[orgID], g.any = []string{c.key.Group}, true
		}
		return g
	}
	for _, m := range orchestrate.Memberships(r, c.user.ID) {
		if m.Owner.OrgID != orgID {
			continue
		}
		g.at[m.Owner.ID] = append(g.at[m.Owner.ID], m.Group)
		if m.Group == model.GroupNoAccess {
			continue
		}
		g.any = true
		if m.Owner.Level == model.LevelHost {
			if host, err := orchestrate.HostByID(r, orgID, m.Owner.ID); err == nil {
				g.inEnv[host.EnvID] = true
			}
		}
	}
	return g
}

func (g grants) org(id string) auth.Role {
	return passing(auth.Resolve(g.at[id]), g.any)
}

func (g grants) env(orgID, envID string) auth.Role {
	return passing(auth.Resolve(g.at[orgID], g.at[envID]), g.inEnv[envID])
}

func (g grants) host(orgID, envID, hostID string) auth.Role {
	return auth.Resolve(g.at[orgID], g.at[envID], g.at[hostID])
}

// passing lets a caller through to what is below.
func passing(role auth.Role, below bool) auth.Role {
	if role == auth.Nobody && below {
		return auth.PasserBy
	}
	return role
}

// scope finds what the path names and checks what the endpoint needs. What the caller may not see
// answers as what is not there does.
func (c *call) scope(r state.Reader, end endpoint) (scope, error) {
	var at scope
	if c.params["org"] == "" {
		return at, nil
	}
	name := c.params["org"]
	org, err := orchestrate.OrganizationByName(r, name)
	if err != nil && model.CodeOf(err) != model.NotFound {
		return at, err
	}
	if err != nil {
		return at, model.Errorf(model.NotFound, "there is no organization %q", name)
	}
	g := c.caller.grantsOf(r, org.ID)
	at.org, at.role, at.owner = org, g.org(org.ID), orchestrate.OwnerOfOrganization(org)
	if !at.role.May(auth.Enter) {
		return at, model.Errorf(model.NotFound, "there is no organization %q", name)
	}
	if err := c.charge(r, org.ID); err != nil {
		return at, err
	}
	if err := c.envScope(r, &at, g); err != nil {
		return at, err
	}
	if !at.role.May(c.needed(end)) && !(at.role == auth.PasserBy && mayPass(c.route.Name)) {
		return at, forbidden()
	}
	return at, c.ownerScope(r, &at)
}

// needed is what the caller must be allowed: settings of platforms and distributions are a part of these.
func (c *call) needed(end endpoint) auth.Action {
	if end.need == auth.Operate && (c.route.Level == "platform" || c.route.Level == "distribution") {
		return auth.Design
	}
	return end.need
}

// ownerScope finds the owner of settings that is neither organization, environment nor host.
func (c *call) ownerScope(r state.Reader, at *scope) error {
	switch c.route.Level {
	case "context":
		row, _, err := orchestrate.ContextByName(r, at.org.ID, at.hostID(), c.params["app"])
		if err != nil {
			return err
		}
		at.owner = orchestrate.OwnerOfContext(row)
	case "platform context":
		row, _, err := orchestrate.PlatformOf(r, at.org.ID, at.hostID())
		if err != nil {
			return err
		}
		at.owner = orchestrate.OwnerOfPlatformContext(row)
	case "distribution context":
		row, _, err := orchestrate.DistributionOf(r, at.org.ID, at.hostID())
		if err != nil {
			return err
		}
		at.owner = orchestrate.OwnerOfDistributionContext(row)
	case "platform", "distribution":
		k, err := c.kit(r, *at)
		if err != nil {
			return err
		}
		at.owner = orchestrate.OwnerOfKit(k)
	}
	if name, ok := c.params["hg"]; ok {
		g, err := orchestrate.HostgroupByName(r, at.org.ID, name)
		if err != nil {
			return err
		}
		at.owner = orchestrate.OwnerOfHostgroup(g)
	}
	return nil
}

// mayPass tells the routes that a passer-by may ask on the way to what is below.
func mayPass(route string) bool {
	switch route {
	case "organizations.show", "environments.list", "environments.show", "hosts.list", "applications.list", "applications.show":
		return true
	}
	return false
}

// envScope goes on to the environment and the host that the path names.
func (c *call) envScope(r state.Reader, at *scope, g grants) error {
	name, ok := c.params["env"]
	if !ok {
		return nil
	}
	env, err := orchestrate.EnvironmentByName(r, at.org.ID, name)
	if err != nil && model.CodeOf(err) != model.NotFound {
		return err
	}
	unknown := model.Errorf(model.NotFound, "there is no environment %q in organization %q", name, at.org.Name)
	if err != nil {
		return unknown
	}
	at.env, at.role, at.owner = env, g.env(at.org.ID, env.ID), orchestrate.OwnerOfEnvironment(env)
	if !at.role.May(auth.Enter) {
		return unknown
	}
	name, ok = c.params["host"]
	if !ok {
		return nil
	}
	host, err := orchestrate.HostByName(r, at.org.ID, env.ID, name)
	if err != nil && model.CodeOf(err) != model.NotFound {
		return err
	}
	unknown = model.Errorf(model.NotFound, "there is no host %q in environment %q", name, env.Name)
	if err != nil {
		return unknown
	}
	at.host, at.role, at.owner = host, g.host(at.org.ID, env.ID, host.ID), orchestrate.OwnerOfHost(host)
	if !at.role.May(auth.Enter) {
		return unknown
	}
	return nil
}

func forbidden() error {
	return model.Errorf(model.Forbidden, "your groups do not allow this: ask an administrator of the organization")
}
