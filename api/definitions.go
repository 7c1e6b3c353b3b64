package api

import (
	"slices"

	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// mayRead says which hosts of the organization the caller may read.
func (c *call) mayRead(r state.Reader, at scope) func(*model.HostRow) bool {
	g := c.caller.grantsOf(r, at.org.ID)
	return func(h *model.HostRow) bool { return g.host(at.org.ID, h.EnvID, h.ID).May(auth.Read) }
}

func hostgroupEndpoints() map[string]endpoint {
	answer := func(c *call, r state.Reader, at scope, row *model.HostgroupRow, err error) (any, error) {
		if err != nil {
			return nil, err
		}
		return orchestrate.HostgroupDoc(r, row, c.show(at.role), c.mayRead(r, at)), nil
	}
	find := func(c *call, r state.Reader, at scope) (*model.HostgroupRow, error) {
		return orchestrate.HostgroupByName(r, at.org.ID, c.params["hg"])
	}
	all := map[string]endpoint{
		"hostgroups.list": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			may := c.mayRead(r, at)
			docs := []model.Hostgroup{}
			for _, row := range orchestrate.Hostgroups(r, at.org.ID) {
				docs = append(docs, orchestrate.HostgroupDoc(r, row, c.show(at.role), may))
			}
			return list(docs), nil
		}),
		"hostgroups.create": changing(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
			doc, err := model.Decode[model.Hostgroup](c.body)
			if err != nil {
				return nil, err
			}
			row, err := orchestrate.CreateHostgroup(tx, at.org.ID, doc, c.mayRead(tx, at))
			return answer(c, tx, at, row, err)
		}),
		"hostgroups.show": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			row, err := find(c, r, at)
			return answer(c, r, at, row, err)
		}),
		"hostgroups.update": changing(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
			row, err := find(c, tx, at)
			if err != nil {
				return nil, err
			}
			row, err = orchestrate.UpdateHostgroup(tx, at.org.ID, row.ID, c.body, c.mayRead(tx, at))
			return answer(c, tx, at, row, err)
		}),
		"hostgroups.delete": acting(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
			row, err := find(c, tx, at)
			if err != nil {
				return nil, err
			}
			return nil, orchestrate.DeleteHostgroup(tx, at.org.ID, row.ID)
		}),
	}
	settings := settingEndpoints()
	for _, verb := range []string{"list", "create", "show", "update", "delete", "bulk"} {
		all["hostgroups.settings."+verb] = settings["settings."+verb]
	}
	return all
}

func orchestrationEndpoints() map[string]endpoint {
	answer := func(c *call, r state.Reader, at scope, row *model.OrchestrationRow, err error) (any, error) {
		if err != nil {
			return nil, err
		}
		return orchestrate.OrchestrationDoc(r, row, c.show(at.role), c.mayRead(r, at)), nil
	}
	find := namedOrchestration
	docs := func(c *call, r state.Reader, at scope, rows []*model.OrchestrationRow) (any, error) {
		may, out := c.mayRead(r, at), []model.Orchestration{}
		for _, row := range rows {
			out = append(out, orchestrate.OrchestrationDoc(r, row, c.show(c.caller.grantsOf(r, at.org.ID).org(at.org.ID)), may))
		}
		return list(out), nil
	}
	return map[string]endpoint{
		"orchestrations.list": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			return docs(c, r, at, orchestrate.Orchestrations(r, at.org.ID))
		}),
		"host.orchestrations.list": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			return docs(c, r, at, orchestrate.OrchestrationsOfHost(r, at.org.ID, at.host.ID))
		}),
		"orchestrations.create": changing(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
			doc, err := model.Decode[model.Orchestration](c.body)
			if err != nil {
				return nil, err
			}
			row, err := orchestrate.CreateOrchestration(tx, at.org.ID, doc)
			return answer(c, tx, at, row, err)
		}),
		"orchestrations.show": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			row, err := find(c, r, at)
			return answer(c, r, at, row, err)
		}),
		"orchestrations.update": changingOrchestration(objectBody, func(c *call, tx *state.Tx, at scope, row *model.OrchestrationRow) (any, error) {
			row, err := orchestrate.UpdateOrchestration(tx, at.org.ID, row.ID, c.body)
			return answer(c, tx, at, row, err)
		}),
		"orchestrations.delete": changingOrchestration(noBody, func(_ *call, tx *state.Tx, at scope, row *model.OrchestrationRow) (any, error) {
			return nil, orchestrate.DeleteOrchestration(tx, at.org.ID, row.ID)
		}),
		"orchestrations.clone": changingOrchestration(noBody, func(c *call, tx *state.Tx, at scope, row *model.OrchestrationRow) (any, error) {
			name, err := c.cloneName()
			if err != nil {
				return nil, err
			}
			row, err = orchestrate.CloneOrchestration(tx, at.org.ID, row.ID, name)
			return answer(c, tx, at, row, err)
		}),
	}
}

// orchestrationHandlerEndpoints are those of the handlers of an orchestration.
func orchestrationHandlerEndpoints() map[string]endpoint {
	find := namedOrchestration
	return map[string]endpoint{
		"orchestrations.handlers.list": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			row, err := find(c, r, at)
			if err != nil {
				return nil, err
			}
			return list(row.Handlers), nil
		}),
		"orchestrations.handlers.show": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			row, err := find(c, r, at)
			if err != nil {
				return nil, err
			}
			return orchestrate.GetOrchestrationHandler(row, c.params["handler"])
		}),
		"orchestrations.handlers.create": changingOrchestration(objectBody, func(c *call, tx *state.Tx, at scope, row *model.OrchestrationRow) (any, error) {
			return orchestrate.PutOrchestrationHandler(tx, at.org.ID, row.ID, "", c.body)
		}),
		"orchestrations.handlers.update": changingOrchestration(objectBody, func(c *call, tx *state.Tx, at scope, row *model.OrchestrationRow) (any, error) {
			return orchestrate.PutOrchestrationHandler(tx, at.org.ID, row.ID, c.params["handler"], c.body)
		}),
		"orchestrations.handlers.delete": changingOrchestration(noBody, func(c *call, tx *state.Tx, at scope, row *model.OrchestrationRow) (any, error) {
			return nil, orchestrate.DeleteOrchestrationHandler(tx, at.org.ID, row.ID, c.params["handler"])
		}),
	}
}

// namedOrchestration is the orchestration that the path names. Error: NotFound.
func namedOrchestration(c *call, r state.Reader, at scope) (*model.OrchestrationRow, error) {
	return orchestrate.OrchestrationByName(r, at.org.ID, c.params["orch"])
}

// changingOrchestration is a write to the orchestration that the path names.
func changingOrchestration(body bodyKind, f func(c *call, tx *state.Tx, at scope, row *model.OrchestrationRow) (any, error)) endpoint {
	return endpoint{need: auth.Operate, body: body, write: func(c *call, tx *state.Tx, at scope) (any, error) {
		row, err := namedOrchestration(c, tx, at)
		if err != nil {
			return nil, err
		}
		return f(c, tx, at, row)
	}}
}

// stored are the verbs of a kind of definitions, as orchestrate.Kind has them.
type stored[D any] interface {
	List(r state.Reader, orgID, ownerID string, secret bool) ([]D, error)
	Get(r state.Reader, orgID, ownerID, name string, secret bool) (D, error)
	Create(tx *state.Tx, orgID, ownerID string, doc D, secret bool) (D, error)
	Update(tx *state.Tx, orgID, ownerID, name string, patch []byte, secret bool) (D, error)
	Delete(tx *state.Tx, orgID, ownerID, name string) error
	Bare(doc D) bool
}

// storedEndpoints are list, create, show, update and delete of a kind of definitions: param names one in the path.
// Those of an application need what changing the application needs. Whoever may not see secrets sees them masked.
func storedEndpoints[D any](row, param string, need auth.Action, kind stored[D]) map[string]endpoint {
	owner := func(c *call, r state.Reader, at scope) (string, error) {
		if c.params["app"] == "" {
			return at.org.ID, nil
		}
		a, err := c.application(r, at)
		if err != nil {
			return "", err
		}
		return a.ID, nil
	}
	secret := func(c *call, at scope) bool {
		return at.role.May(auth.ReadSecret) && !c.masked && !c.flag("obfuscate", false)
	}
	told := func(c *call, doc D, err error) (any, error) {
		c.clear = c.clear || kind.Bare(doc)
		return doc, err
	}
	return map[string]endpoint{
		row + ".list": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			id, err := owner(c, r, at)
			if err != nil {
				return nil, err
			}
			docs, err := kind.List(r, at.org.ID, id, secret(c, at))
			c.clear = c.clear || slices.ContainsFunc(docs, kind.Bare)
			return list(docs), err
		}),
		row + ".show": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			id, err := owner(c, r, at)
			if err != nil {
				return nil, err
			}
			doc, err := kind.Get(r, at.org.ID, id, c.params[param], secret(c, at))
			return told(c, doc, err)
		}),
		row + ".create": changing(need, func(c *call, tx *state.Tx, at scope) (any, error) {
			id, err := owner(c, tx, at)
			if err != nil {
				return nil, err
			}
			doc, err := model.Decode[D](c.body)
			if err != nil {
				return nil, err
			}
			doc, err = kind.Create(tx, at.org.ID, id, doc, secret(c, at))
			return told(c, doc, err)
		}),
		row + ".update": changing(need, func(c *call, tx *state.Tx, at scope) (any, error) {
			id, err := owner(c, tx, at)
			if err != nil {
				return nil, err
			}
			doc, err := kind.Update(tx, at.org.ID, id, c.params[param], c.body, secret(c, at))
			return told(c, doc, err)
		}),
		row + ".delete": acting(need, func(c *call, tx *state.Tx, at scope) (any, error) {
			id, err := owner(c, tx, at)
			if err != nil {
				return nil, err
			}
			return nil, kind.Delete(tx, at.org.ID, id, c.params[param])
		}),
	}
}

// definitionEndpoints are what is stored as it was given.
func definitionEndpoints() map[string]endpoint {
	all := map[string]endpoint{
		// Packages and modules have no properties of their own yet, so these lists are empty.
		"application_properties.list":            reading(auth.Read, nothing),
		"hostgroups.application_properties.list": reading(auth.Read, nothing),
	}
	for _, some := range []map[string]endpoint{
		storedEndpoints[model.Webhook]("webhooks", "hook", auth.Operate, orchestrate.Webhooks()),
		storedEndpoints[model.NotificationChannel]("notifications", "chan", auth.Operate, orchestrate.NotificationChannels()),
		storedEndpoints[model.RpmModule]("applications.rpmmodules", "mod", auth.Design, orchestrate.RpmModules()),
		storedEndpoints[model.Git]("applications.gits", "git", auth.Design, orchestrate.Gits()),
	} {
		for name, end := range some {
			all[name] = end
		}
	}
	for _, row := range []string{"webhooks.create", "webhooks.update", "notifications.create", "notifications.update"} {
		all[row] = telling(all[row])
	}
	return all
}

// telling refuses what would tell of all of an organization when some of it is hidden from who writes it.
func telling(end endpoint) endpoint {
	write := end.write
	end.write = func(c *call, tx *state.Tx, at scope) (any, error) {
		doc, err := write(c, tx, at)
		if err != nil {
			return nil, err
		}
		if w, ok := doc.(model.Webhook); ok && len(w.Events) == 0 { // it is told nothing
			return doc, nil
		}
		return doc, c.mayFollow(tx, at)
	}
	return end
}
