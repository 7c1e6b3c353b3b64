package api

import (
	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

func groupEndpoints() map[string]endpoint {
	listed := reading(auth.Read, func(_ *call, r state.Reader, at scope) (any, error) {
		return list(orchestrate.Groups(r, at.owner)), nil
	})
	show := reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
		return orchestrate.GetGroup(r, at.owner, c.params["group"])
	})
	update := changing(auth.Manage, func(c *call, tx *state.Tx, at scope) (any, error) {
		return orchestrate.UpdateGroup(tx, at.owner, c.params["group"], c.body)
	})
	// The tree tells of environments and hosts that a reader may not see.
	tree := reading(auth.Manage, func(_ *call, r state.Reader, at scope) (any, error) {
		return orchestrate.GroupTree(r, at.owner)
	})
	all := map[string]endpoint{}
	for _, level := range []string{"", "environment.", "host."} {
		all[level+"groups.list"] = listed
		all[level+"groups.show"] = show
		all[level+"groups.update"] = update
		all[level+"groups.tree.show"] = tree
	}
	return all
}

func keyEndpoints() map[string]endpoint {
	return map[string]endpoint{
		"applicationkeys.list": reading(auth.Read, func(_ *call, r state.Reader, at scope) (any, error) {
			return list(orchestrate.ApplicationKeys(r, at.org.ID)), nil
		}),
		"applicationkeys.create": changing(auth.Manage, func(c *call, tx *state.Tx, at scope) (any, error) {
			doc, err := model.Decode[model.ApplicationKey](c.body)
			if err != nil {
				return nil, err
			}
			return orchestrate.CreateApplicationKey(tx, at.org.ID, doc, c.caller.name)
		}),
		"applicationkeys.show": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			return orchestrate.GetApplicationKey(r, at.org.ID, c.params["key"])
		}),
		"applicationkeys.update": changing(auth.Manage, func(c *call, tx *state.Tx, at scope) (any, error) {
			return orchestrate.UpdateApplicationKey(tx, at.org.ID, c.params["key"], c.body)
		}),
		"applicationkeys.reset": acting(auth.Manage, func(c *call, tx *state.Tx, at scope) (any, error) {
			return orchestrate.ResetApplicationKey(tx, at.org.ID, c.params["key"])
		}),
		"applicationkeys.delete": acting(auth.Manage, func(c *call, tx *state.Tx, at scope) (any, error) {
			return nil, orchestrate.DeleteApplicationKey(tx, at.org.ID, c.params["key"])
		}),
	}
}
