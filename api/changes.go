package api

import (
	"strconv"

	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// number is the change that the path names; what is no number names none.
func (c *call) number() (int, error) {
	n, err := strconv.Atoi(c.params["num"])
	if err != nil {
		return 0, model.Errorf(model.NotFound, "there is no change %q: changes have numbers", c.params["num"])
	}
	return n, nil
}

func changeEndpoints() map[string]endpoint {
	return map[string]endpoint{
		"plans.list": reading(auth.Read, func(_ *call, r state.Reader, at scope) (any, error) {
			pending, err := orchestrate.PendingPlans(r, at.org.ID)
			if !at.role.May(auth.Manage) { // hosts that are hidden are not counted, either
				for i := range pending {
					pending[i].Done = 0
				}
			}
			return list(pending), err
		}),
		"plans.show": reading(auth.Enter, func(c *call, r state.Reader, at scope) (any, error) {
			return orchestrate.Follow(r, at.org.ID, c.params["plan"], at.role.May(auth.Read), c.mayRead(r, at))
		}),
		"host.changes.list": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			changes, err := orchestrate.Changes(r, at.org.ID, at.host.ID, c.flag("show_processed", false))
			if err != nil {
				return nil, err
			}
			return spec.ChangeList{List: list(changes), ToCome: orchestrate.ToCome(r, at.org.ID, at.host.ID)}, nil
		}),
		"host.changes.show": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			num, err := c.number()
			if err != nil {
				return nil, err
			}
			return orchestrate.GetChange(r, at.org.ID, at.host.ID, num)
		}),
		"host.changes.delete": acting(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
			num, err := c.number()
			if err != nil {
				return nil, err
			}
			return nil, orchestrate.DeleteChange(tx, at.org.ID, at.host.ID, num)
		}),
		"host.changes.clear": acting(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
			return nil, orchestrate.DeleteChanges(tx, at.org.ID, at.host.ID, c.flag("processed_only", true))
		}),
		"host.changes.cancel": acting(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
			num, err := c.number()
			if err != nil {
				return nil, err
			}
			change, err := orchestrate.CancelChange(tx, at.org.ID, at.host.ID, num)
			return queued(tx, at, change, err)
		}),
		"host.changes.retry": acting(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
			num, err := c.number()
			if err != nil {
				return nil, err
			}
			change, err := orchestrate.RetryChange(tx, at.org.ID, at.host.ID, num, c.flag("skip_interrupted", false))
			return queued(tx, at, change, err)
		}),
	}
}

// queued is the answer to what queues a change: the change, or that there was nothing to do.
func queued(r state.Reader, at scope, change *model.Change, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	if change == nil {
		return done{true}, nil
	}
	return orchestrate.GetChange(r, at.org.ID, at.host.ID, change.OrderNum)
}

// live makes the endpoint of a live action.
func live(f func(c *call, tx *state.Tx, orgID, hostID, app string) (*model.Change, error)) endpoint {
	return acting(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
		change, err := f(c, tx, at.org.ID, at.host.ID, c.params["app"])
		return queued(tx, at, change, err)
	})
}

func liveEndpoints() map[string]endpoint {
	all := map[string]endpoint{
		// The answer is compared with the keys of changes: no quotes, no line end (contract section 2.1).
		"host.applications.handler.run": acting(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
			change, err := orchestrate.RunHandler(tx, at.org.ID, at.host.ID, c.params["app"], c.params["handler"])
			if err != nil {
				return nil, err
			}
			if change == nil {
				return text("nothing-to-do"), nil
			}
			return text(change.ID), nil
		}),
		"host.applications.files.update": live(func(c *call, tx *state.Tx, orgID, hostID, app string) (*model.Change, error) {
			return orchestrate.UpdateFileNow(tx, orgID, hostID, app, c.params["file"])
		}),
	}
	for _, verb := range []string{"restart", "update", "enable", "disable"} {
		all["host.applications.services."+verb] = live(func(c *call, tx *state.Tx, orgID, hostID, app string) (*model.Change, error) {
			return orchestrate.ServiceNow(tx, orgID, hostID, app, c.params["svc"], verb)
		})
	}
	for _, verb := range []string{"install", "update"} {
		all["host.applications.packages."+verb] = live(func(c *call, tx *state.Tx, orgID, hostID, app string) (*model.Change, error) {
			return orchestrate.PackageNow(tx, orgID, hostID, app, c.params["pkg"], verb, c.query.Get("release"))
		})
	}
	return all
}

func complianceEndpoints() map[string]endpoint {
	show := func(typ, param string) endpoint {
		return reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			t := typ
			if t == "" {
				t = c.params["type"]
			}
			return orchestrate.GetComplianceError(r, at.org.ID, at.host.ID, c.params["app"], t, c.params[param])
		})
	}
	return map[string]endpoint{
		"host.compliance.list": reading(auth.Read, func(_ *call, r state.Reader, at scope) (any, error) {
			found, err := orchestrate.ComplianceErrors(r, at.org.ID, at.host.ID)
			return list(found), err
		}),
		"host.compliance.services.show": show("services", "svc"),
		"host.compliance.files.show":    show("files", "file"),
		"host.compliance.packages.show": show("packages", "pkg"),
		"host.compliance.show":          show("", "id"),
		"host.compliance.delete": acting(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
			return nil, orchestrate.DeleteComplianceError(tx, at.org.ID, at.host.ID, c.params["app"], c.params["type"], c.params["id"])
		}),
		"host.compliance.clear": acting(auth.Operate, func(_ *call, tx *state.Tx, at scope) (any, error) {
			return nil, orchestrate.DeleteComplianceErrors(tx, at.org.ID, at.host.ID)
		}),
		"host.compliance.rebuild": acting(auth.Operate, func(_ *call, tx *state.Tx, at scope) (any, error) {
			change, err := orchestrate.Rebuild(tx, at.org.ID, at.host.ID)
			return queued(tx, at, change, err)
		}),
	}
}
