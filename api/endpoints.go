package api

import (
	"maps"

	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

type (
	readFunc  = func(c *call, r state.Reader, at scope) (any, error)
	writeFunc = func(c *call, tx *state.Tx, at scope) (any, error)
)

// endpoints are the handlers by the names of the table's rows.
func endpoints() map[string]endpoint {
	all := map[string]endpoint{}
	for _, some := range []map[string]endpoint{
		accountEndpoints(), oidcEndpoints(), invitationEndpoints(), organizationEndpoints(), groupEndpoints(), keyEndpoints(), settingEndpoints(), environmentEndpoints(),
		hostEndpoints(), contextEndpoints(), liveEndpoints(), instanceEndpoints(), changeEndpoints(), complianceEndpoints(),
		applicationEndpoints(), fileEndpoints(), parameterEndpoints(), userEndpoints(), enrolEndpoints(), clusterEndpoints(), eventEndpoints(), snapshotEndpoints(), previewEndpoints(), auditEndpoints(), quotaEndpoints(), documentationEndpoints(),
		platformEndpoints(), imageEndpoints(), distributionEndpoints(), attachmentEndpoints(), linkEndpoints(), hostgroupEndpoints(), orchestrationEndpoints(), orchestrationHandlerEndpoints(),
		definitionEndpoints(), webhookEndpoints(), transferEndpoints(), jobEndpoints(), agentEndpoints(),
	} {
		maps.Copy(all, some)
	}
	// A rename is an update with another name: a final slash, all that parts them, does not count.
	for _, noun := range []string{"organizations", "environments", "hosts", "applications", "platforms", "distributions"} {
		all[noun+".rename"] = all[noun+".update"]
	}
	return all
}

func reading(need auth.Action, f readFunc) endpoint { return endpoint{need: need, read: f} }

// changing takes a JSON object.
func changing(need auth.Action, f writeFunc) endpoint {
	return endpoint{need: need, body: objectBody, write: f}
}

// acting takes no body.
func acting(need auth.Action, f writeFunc) endpoint { return endpoint{need: need, write: f} }

// show is what of settings the caller asked for and may see: without the right, secret ones are left out.
func (c *call) show(role auth.Role) orchestrate.Show {
	s := orchestrate.Show{
		SecretOnly: c.flag("secret_only", false), NoSecret: c.flag("no_secret", false),
		Obfuscate: c.masked || c.flag("obfuscate", false), Key: "", Clear: &c.clear,
	}
	if !role.May(auth.ReadSecret) {
		s.NoSecret = true
	}
	return s
}

// trigger is what a change of a setting sets off.
func (c *call) trigger() orchestrate.Trigger {
	return orchestrate.Trigger{Handlers: c.flag("trigger_application_handler", true), Force: c.flag("force", false)}
}

// done is the answer where the contract wants JSON and says nothing of its content.
type done struct {
	Done bool `json:"done"`
}

// filled makes lists that must not be null.
func filled(texts []string) []string {
	if texts == nil {
		return []string{}
	}
	return texts
}

func organizationEndpoints() map[string]endpoint {
	return map[string]endpoint{
		"organizations.list": reading(auth.Enter, listOrganizations),
		"organizations.create": {need: auth.Enter, site: true, body: objectBody, write: func(c *call, tx *state.Tx, _ scope) (any, error) {
			doc, err := model.Decode[model.Organization](c.body)
			if err != nil {
				return nil, err
			}
			row, err := orchestrate.CreateOrganization(tx, doc, c.caller.user.ID, c.flag("populate", false))
			if err != nil {
				return nil, err
			}
			return orchestrate.OrganizationDoc(tx, row, c.show(auth.Admin)), nil
		}},
		"organizations.show": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			return c.organization(r, at.org), nil
		}),
		"organizations.update": changing(auth.Manage, func(c *call, tx *state.Tx, at scope) (any, error) {
			doc, err := model.Decode[struct {
				Name *string `json:"name"`
			}](c.body)
			if err != nil {
				return nil, err
			}
			// The names are the site's: who could give one would find out which others there are.
			if doc.Name != nil && *doc.Name != at.org.Name && !c.caller.admin() {
				return nil, model.Errorf(model.Forbidden, "name: only an administrator of the site gives an organization another name")
			}
			row, err := orchestrate.UpdateOrganization(tx, at.org.ID, c.body)
			if err != nil {
				return nil, err
			}
			return c.organization(tx, row), nil
		}),
		"organizations.delete": {need: auth.Manage, leave: leaveOrganization, write: func(_ *call, tx *state.Tx, at scope) (any, error) {
			return nil, orchestrate.DeleteOrganization(tx, at.org.ID)
		}},
		"access.set": acting(auth.Manage, func(_ *call, tx *state.Tx, at scope) (any, error) {
			return orchestrate.ResetAccess(tx, at.org.ID)
		}),
		"organizations.key.show": reading(auth.Manage, func(_ *call, r state.Reader, at scope) (any, error) {
			return orchestrate.SealKeyOf(r, at.org.ID)
		}),
		"organizations.key.rotate": acting(auth.Manage, func(_ *call, tx *state.Tx, at scope) (any, error) {
			return orchestrate.RotateSealKey(tx, at.org.ID)
		}),
	}
}

// organization is the document of an organization as the caller may see it: the names of hidden
// environments, secret settings and the access pair are left out for those without the right, and a
// passer-by sees the way through only.
func (c *call) organization(r state.Reader, row *model.OrganizationRow) model.Organization {
	g := c.caller.grantsOf(r, row.ID)
	role := g.org(row.ID)
	doc := orchestrate.OrganizationDoc(r, row, c.show(role))
	c.clear = c.clear || role.May(auth.Manage) && doc.Access != nil && !c.masked
	if c.masked {
		doc.Access = nil
	}
	if !role.May(auth.Manage) {
		doc.Access = nil
		var visible []string
		for _, e := range orchestrate.Environments(r, row.ID) {
			if g.env(row.ID, e.ID).May(auth.Enter) {
				visible = append(visible, e.Name)
			}
		}
		doc.Environments = filled(visible)
	}
	if !role.May(auth.Read) {
		doc.Settings, doc.Description = []model.Setting{}, ""
	}
	return doc
}

func listOrganizations(c *call, r state.Reader, _ scope) (any, error) {
	docs := []model.Organization{}
	for _, row := range orchestrate.Organizations(r) {
		if c.caller.grantsOf(r, row.ID).org(row.ID).May(auth.Enter) {
			c.clear = false
			docs = append(docs, c.organization(r, row))
			if c.clear {
				c.bare = append(c.bare, row.ID)
			}
		}
	}
	c.clear = len(c.bare) > 0
	return list(docs), nil
}

func environmentEndpoints() map[string]endpoint {
	return map[string]endpoint{
		"environments.list": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			g := c.caller.grantsOf(r, at.org.ID)
			docs := []model.Environment{}
			for _, row := range orchestrate.Environments(r, at.org.ID) {
				if g.env(at.org.ID, row.ID).May(auth.Enter) {
					docs = append(docs, c.environment(r, g, row))
				}
			}
			return list(docs), nil
		}),
		"environments.create": changing(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
			doc, err := model.Decode[model.Environment](c.body)
			if err != nil {
				return nil, err
			}
			row, err := orchestrate.CreateEnvironment(tx, at.org.ID, doc)
			return c.environmentAnswer(tx, at, row, err)
		}),
		"environments.show": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			return c.environment(r, c.caller.grantsOf(r, at.org.ID), at.env), nil
		}),
		"environments.update": changing(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
			row, err := orchestrate.UpdateEnvironment(tx, at.org.ID, at.env.ID, c.body)
			return c.environmentAnswer(tx, at, row, err)
		}),
		"environments.delete": {need: auth.Operate, leave: leaveEnvironment, write: func(_ *call, tx *state.Tx, at scope) (any, error) {
			return nil, orchestrate.DeleteEnvironment(tx, at.org.ID, at.env.ID)
		}},
		"environments.clone": acting(auth.ReadSecret, func(c *call, tx *state.Tx, at scope) (any, error) {
			name, err := c.cloneName()
			if err != nil {
				return nil, err
			}
			row, err := orchestrate.CloneEnvironment(tx, at.org.ID, at.env.ID, name)
			return c.environmentAnswer(tx, at, row, err)
		}),
	}
}

func (c *call) environmentAnswer(r state.Reader, at scope, row *model.EnvironmentRow, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return c.environment(r, c.caller.grantsOf(r, at.org.ID), row), nil
}

// environment is the document of an environment as the caller may see it.
func (c *call) environment(r state.Reader, g grants, row *model.EnvironmentRow) model.Environment {
	role := g.env(row.OrgID, row.ID)
	doc := orchestrate.EnvironmentDoc(r, row, c.show(role))
	if !role.May(auth.Manage) {
		var visible []string
		for _, h := range orchestrate.Hosts(r, row.OrgID, row.ID) {
			if g.host(row.OrgID, row.ID, h.ID).May(auth.Enter) {
				visible = append(visible, h.Name)
			}
		}
		doc.Hosts = filled(visible)
	}
	if !role.May(auth.Read) {
		doc.Settings, doc.Description = []model.Setting{}, ""
	}
	return doc
}

// cloneName is the name that a clone gets.
func (c *call) cloneName() (string, error) {
	if name := c.query.Get("name"); name != "" {
		return name, nil
	}
	return "", model.Errorf(model.Invalid, "the name of the clone is missing: give it in the query, as ?name=")
}
