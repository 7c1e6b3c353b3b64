package api

import (
	"net/http"
	"strings"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// dryRun reads the parameter dry_run of a write. Unlike other flags it must be clear: who mistypes it would else write.
func (c *call) dryRun(end endpoint) (bool, error) {
	if !c.query.Has("dry_run") || !c.writes(end) {
		return false, nil
	}
	switch strings.ToLower(c.query.Get("dry_run")) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, model.Errorf(model.Invalid, "dry_run: give true or false, not %q; nothing was done", c.query.Get("dry_run"))
}

// writes tells whether a request may change something: all but reads do, and reads that are written down.
func (c *call) writes(end endpoint) bool {
	if end.harmless {
		return false
	}
	return !c.reads() || end.write != nil || end.open != nil
}

// rehearse answers what a write would do, and does nothing: the closure runs over a transaction that is thrown away.
func (c *call) rehearse(end endpoint) (reply, error) {
	view, err := c.srv.cfg.Store.View(c.req.Context())
	if err != nil {
		return reply{}, err
	}
	if err := c.caller.still(view); err != nil {
		return reply{}, err
	}
	if _, err := c.scope(view, end); err != nil {
		return reply{}, err
	}
	if err := c.readBody(end.body); err != nil {
		return reply{}, err
	}
	tx := state.Rehearse(view, c.caller.name)
	var plan model.Plan
	err = tx.Try(func(tx *state.Tx) error {
		if err := c.stageRehearsal(tx, end); err != nil {
			return err
		}
		at, err := c.scope(tx, end)
		if err != nil {
			return err
		}
		if err := c.matches(tx); err != nil {
			return err
		}
		if _, err := end.write(c, tx, at); err != nil {
			return c.namingHosts(tx, at, err)
		}
		if err := c.keepsSecrets(tx, at); err != nil {
			return err
		}
		if err := orchestrate.WithinQuota(tx); err != nil {
			return err
		}
		if err := tx.Fits(); err != nil && end.leave == nil {
			return err
		}
		may, see := func(*model.HostRow) bool { return false }, func(model.Owner) bool { return false }
		if at.org != nil {
			may, see = c.mayRead(tx, at), c.seesOwner(tx, at)
		}
		plan, err = orchestrate.Outlook(c.req.Context(), tx, may, see)
		return err
	})
	if err != nil {
		return reply{}, err
	}
	c.stamp(view.Epoch(), view.Index())
	return encode(http.StatusOK, plan)
}

// stageRehearsal does what a stage does before a transaction, without writing.
func (c *call) stageRehearsal(tx *state.Tx, end endpoint) error {
	if end.body == uploadBody {
		return state.HoldContent(tx, c.charged, c.body)
	}
	if end.stage != nil {
		return end.stage(c)
	}
	return nil
}

// untried answers a write that is no transaction over rows: it is allowed, and what it would come to is not known.
func (c *call) untried() (reply, error) {
	return encode(http.StatusOK, model.Plan{
		DryRun: true, Objects: []model.PlanObjects{}, Hosts: []model.PlanHost{},
		Untried: "nothing was done; what this request does is no change of what is described, so it was not tried, either",
	})
}
