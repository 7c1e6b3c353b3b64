package api

import (
	"context"

	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// maker is the caller as jobs remember it.
func (c caller) maker() model.JobMaker {
	m := model.JobMaker{Name: c.name}
	switch {
	case c.user != nil:
		m.UserID = c.user.ID
	case c.key != nil:
		m.KeyID = c.key.ID
	}
	return m
}

// MayOperate says whether who a job acts for may change a host, by the groups that hold now. One that was deleted, or whose key
// has expired, may nothing.
func MayOperate(r state.Reader, m model.JobMaker, h *model.HostRow) bool {
	var c caller
	if m.UserID != "" {
		c.user, _ = state.Get[model.UserRow](r, m.UserID)
	} else if k, ok := state.Get[model.ApplicationKeyRow](r, m.KeyID); ok && (k.Expires.IsZero() || r.Now().Before(k.Expires)) {
		c.key = k
	}
	if c.user == nil && c.key == nil {
		return false
	}
	return c.grantsOf(r, h.OrgID).host(h.OrgID, h.EnvID, h.ID).May(auth.Operate)
}

func jobEndpoints() map[string]endpoint {
	answer := func(r state.Reader, row *model.JobRow, err error) (any, error) {
		if err != nil {
			return nil, err
		}
		return orchestrate.JobDoc(r, row), nil
	}
	return map[string]endpoint{
		"jobs.list": reading(auth.Read, func(_ *call, r state.Reader, at scope) (any, error) {
			docs := []model.Job{}
			for _, row := range orchestrate.Jobs(r, at.org.ID) {
				docs = append(docs, orchestrate.JobDoc(r, row))
			}
			return list(docs), nil
		}),
		"jobs.create": changing(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
			doc, err := model.Decode[model.Job](c.body)
			if err != nil {
				return nil, err
			}
			row, err := orchestrate.CreateJob(tx, at.org.ID, doc, c.caller.maker())
			return answer(tx, row, err)
		}),
		"jobs.show": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			row, err := orchestrate.JobByName(r, at.org.ID, c.params["job"])
			return answer(r, row, err)
		}),
		"jobs.update": changing(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
			row, err := orchestrate.UpdateJob(tx, at.org.ID, c.params["job"], c.body, c.caller.maker())
			return answer(tx, row, err)
		}),
		"jobs.delete": acting(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
			return nil, orchestrate.DeleteJob(tx, at.org.ID, c.params["job"])
		}),
		"jobs.run": {need: auth.Operate, write: runJob, after: awaitJob},
	}
}

func runJob(c *call, tx *state.Tx, at scope) (any, error) {
	row, err := orchestrate.JobByName(tx, at.org.ID, c.params["job"])
	if err != nil {
		return nil, err
	}
	c.target = ""
	if h := orchestrate.JobTarget(tx, row); h != nil {
		c.target = h.ID
	}
	world := orchestrate.JobWorld{Driver: c.srv.cfg.Machines.Driver, May: MayOperate}
	return done{true}, orchestrate.RunJob(tx, at.org.ID, row.Name, c.caller.maker(), world)
}

// awaitJob answers a job that was run only once what it began is over, when that is asked for (contract section 2.1, wait).
func awaitJob(c *call) error {
	if !c.flag("wait", false) || c.target == "" {
		return nil
	}
	ctx, cancel := context.WithCancel(c.req.Context())
	defer cancel()
	if c.srv.cfg.Stop != nil {
		defer context.AfterFunc(c.srv.cfg.Stop, cancel)()
	}
	if _, err := c.srv.cfg.Store.View(ctx); err != nil { // this node has the write by then
		return err
	}
	for {
		ws := state.NewWatchSet()
		if !orchestrate.Busy(c.srv.cfg.Store.Local().Watched(ws), c.target) {
			return nil
		}
		if err := ws.Wait(ctx); err != nil {
			return model.Errorf(model.Unknown, "the job was run, and what it began is still under way: look at the host")
		}
	}
}
