package api

import (
	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

func settingEndpoints() map[string]endpoint {
	return map[string]endpoint{
		"settings.impact.show":  reading(auth.Read, settingImpact),
		"tree.settings.list":    reading(auth.Read, settingTree),
		"settings.explain.show": reading(auth.Read, explainSetting),
		"settings.list": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			show := c.show(at.role)
			show.Key = c.query.Get("key")
			return list(orchestrate.Settings(r, at.owner, show)), nil
		}),
		"settings.create": changing(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
			doc, err := model.Decode[model.Setting](c.body)
			if err != nil {
				return nil, err
			}
			made, err := orchestrate.CreateSetting(tx, at.owner, doc, c.trigger())
			return c.setting(tx, at, made, err)
		}),
		"settings.show": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			return orchestrate.GetSetting(r, at.owner, c.params["key"], c.show(at.role))
		}),
		"settings.update": changing(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
			doc, err := orchestrate.UpdateSetting(tx, at.owner, c.params["key"], c.body, c.trigger())
			return c.setting(tx, at, doc, err)
		}),
		"settings.delete": acting(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
			return nil, orchestrate.DeleteSetting(tx, at.owner, c.params["key"], c.trigger())
		}),
		"settings.bulk": changing(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
			doc, err := model.DecodeBulk(c.body)
			if err != nil {
				return nil, err
			}
			if doc.Settings == nil {
				return nil, model.Errorf(model.Invalid, "newOrUpdatedSettings is missing: give the list of settings, [] to delete all")
			}
			// Whoever cannot see secret settings would delete them unknowingly.
			noDelete := c.flag("no_delete", false)
			if !noDelete && !at.role.May(auth.ReadSecret) {
				return nil, model.Errorf(model.Forbidden, "you do not see secret settings, so you may not replace the whole list: use no_delete=true")
			}
			if err := orchestrate.BulkSettings(tx, at.owner, *doc.Settings, noDelete, c.trigger()); err != nil {
				return nil, err
			}
			return list(orchestrate.Settings(tx, at.owner, c.show(at.role))), nil
		}),
	}
}

// setting is the answer to a change of a setting: what was sent may be echoed, except to those who may
// not see secret values.
func (c *call) setting(r state.Reader, at scope, doc model.Setting, err error) (any, error) {
	if err != nil || len(doc.Value) == 0 {
		return doc, err
	}
	sees, sent := at.role.May(auth.ReadSecret), model.Sends(c.body, "value")
	if sees && sent {
		return doc, nil
	}
	_, err = orchestrate.GetSetting(r, at.owner, doc.Key, orchestrate.Show{NoSecret: true})
	if secret := model.CodeOf(err) == model.NotFound; secret && !sees {
		doc.Value = nil
	} else if secret {
		c.clear = true // what it was before is shown to who did not send it
	} else if err != nil {
		return nil, err
	}
	return doc, nil
}

// explainSetting tells why a setting has the value that it has. A secret is masked for who may not see it, and what stands
// where the caller may not read is told without its value.
func explainSetting(c *call, r state.Reader, at scope) (any, error) {
	e, err := orchestrate.Explain(r, at.owner, c.params["key"], c.seesOwner(r, at))
	if err != nil {
		return nil, err
	}
	if e.Secret && (!at.role.May(auth.ReadSecret) || c.flag("obfuscate", false)) {
		return orchestrate.Masked(e), nil
	}
	c.clear = e.Secret
	return e, nil
}
