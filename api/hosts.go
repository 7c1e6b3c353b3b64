package api

import (
	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

func hostEndpoints() map[string]endpoint {
	return map[string]endpoint{
		"hosts.list": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			g := c.caller.grantsOf(r, at.org.ID)
			docs := []model.Host{}
			for _, row := range orchestrate.Hosts(r, at.org.ID, at.env.ID) {
				if role := g.host(at.org.ID, at.env.ID, row.ID); role.May(auth.Read) {
					docs = append(docs, orchestrate.HostDoc(r, row, c.show(role)))
				}
			}
			return list(docs), nil
		}),
		"hosts.create": changing(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
			doc, err := model.Decode[model.Host](c.body)
			if err != nil {
				return nil, err
			}
			row, err := orchestrate.CreateHost(tx, at.org.ID, at.env.ID, doc)
			return c.host(tx, at, row, err)
		}),
		"hosts.show": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			return c.host(r, at, at.host, nil)
		}),
		"hosts.update": changing(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
			if err := c.mayMove(tx, at); err != nil {
				return nil, err
			}
			row, err := orchestrate.UpdateHost(tx, at.org.ID, at.host.ID, c.body)
			return c.host(tx, at, row, err)
		}),
		"hosts.delete": acting(auth.Operate, func(_ *call, tx *state.Tx, at scope) (any, error) {
			return nil, orchestrate.DeleteHost(tx, at.org.ID, at.host.ID)
		}),
		"hosts.clone": acting(auth.ReadSecret, func(c *call, tx *state.Tx, at scope) (any, error) {
			row, err := orchestrate.CloneHost(tx, at.org.ID, at.host.ID)
			return c.host(tx, at, row, err)
		}),
	}
}

func (c *call) host(r state.Reader, at scope, row *model.HostRow, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return orchestrate.HostDoc(r, row, c.show(at.role)), nil
}

// mayMove checks the other end of a move: a host may only go where the caller may make one. An environment that is
// not there or not visible is a wrong value: of a 404 the published client says that the host was not found.
func (c *call) mayMove(r state.Reader, at scope) error {
	fields, _ := model.ObjectFields(c.body)
	to, ok := model.RawText(model.FieldOf(fields, "environment"))
	if !ok || to == "" || to == at.env.Name {
		return nil // a wrong kind of value is refused with the rest of the document
	}
	var role auth.Role
	if env, err := orchestrate.EnvironmentByName(r, at.org.ID, to); err == nil {
		role = c.caller.grantsOf(r, at.org.ID).env(at.org.ID, env.ID)
	}
	switch {
	case !role.May(auth.Enter):
		return model.Errorf(model.Invalid, "environment %q does not exist: the host cannot move there", to)
	case !role.May(auth.Operate):
		return forbidden()
	}
	return nil
}

func contextEndpoints() map[string]endpoint {
	return map[string]endpoint{
		"host.applications.list": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			docs := []model.ApplicationContext{}
			for _, row := range orchestrate.Contexts(r, at.org.ID, at.host.ID) {
				docs = append(docs, orchestrate.ContextDoc(r, row, c.show(at.role)))
			}
			return list(docs), nil
		}),
		"host.applications.create": changing(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
			doc, err := model.Decode[model.ApplicationContext](c.body)
			if err != nil {
				return nil, err
			}
			row, err := orchestrate.InstallApplication(tx, at.org.ID, at.host.ID, doc)
			return c.context(tx, at, row, err)
		}),
		"host.applications.show": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			row, _, err := orchestrate.ContextByName(r, at.org.ID, at.host.ID, c.params["app"])
			return c.context(r, at, row, err)
		}),
		"host.applications.update": changing(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
			row, err := orchestrate.UpdateContext(tx, at.org.ID, at.host.ID, c.params["app"], c.body, c.trigger())
			return c.context(tx, at, row, err)
		}),
		"host.applications.delete": acting(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
			return nil, orchestrate.UninstallApplication(tx, at.org.ID, at.host.ID, c.params["app"], c.trigger())
		}),
		// A rendered file may hold the value of any secret setting.
		"host.applications.files.show": reading(auth.ReadSecret, func(c *call, r state.Reader, at scope) (any, error) {
			b, err := orchestrate.RenderHostFile(r, at.org.ID, at.host.ID, c.params["app"], c.params["file"])
			c.clear = true
			return raw(b), err
		}),
		"host.applications.origin-settings.show": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			o, err := orchestrate.Origin(r, at.org.ID, at.host.ID, c.params["app"], c.params["key"])
			if err != nil {
				return nil, err
			}
			if o.Secret && !at.role.May(auth.ReadSecret) {
				return nil, forbidden()
			}
			if o.Owner.ID != "" && !c.seesOwner(r, at)(o.Owner) {
				o.Value = nil // it stands where the caller may not read
				return o, nil
			}
			c.clear = o.Secret
			return o, nil
		}),
	}
}

func (c *call) context(r state.Reader, at scope, row *model.ContextRow, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return orchestrate.ContextDoc(r, row, c.show(at.role)), nil
}
