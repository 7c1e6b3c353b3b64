package api

import (
	"context"
	"net/http"

	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// Hooks calls addresses that organizations give. It is safe for concurrent use.
type Hooks interface {
	// Check says whether a webhook can be run. The error is Invalid.
	Check(w *model.Webhook) error
	// Run calls a webhook under an id, more than once where that may help, and tells each attempt. Errors: Conflict (nothing
	// was sent), Unknown; they name no secret.
	Run(ctx context.Context, w *model.Webhook, id string) (model.WebhookResult, []model.DeliveryRecord, error)
}

// webhookRun is a run that the audit log has already.
type webhookRun struct {
	row *model.WebhookRow
	id  string
}

func webhookEndpoints() map[string]endpoint {
	return map[string]endpoint{
		"webhooks.run": {need: auth.Operate, write: beginRun, result: runWebhook},
		"notifications.run": acting(auth.Operate, func(c *call, tx *state.Tx, at scope) (any, error) {
			return done{true}, orchestrate.TestChannel(tx, at.org.ID, c.params["chan"])
		}),
		"notifications.deliveries.list": reading(auth.Read, func(c *call, r state.Reader, at scope) (any, error) {
			id, waiting, health, err := orchestrate.ChannelStanding(r, at.org.ID, c.params["chan"])
			if err != nil {
				return nil, err
			}
			return c.deliveries(r, at, id, waiting, health)
		}),
	}
}

// beginRun commits that somebody runs a webhook, before it is called.
func beginRun(c *call, tx *state.Tx, at scope) (any, error) {
	row, id, err := orchestrate.RunOf(tx, at.org.ID, c.params["hook"])
	if err != nil {
		return nil, err
	}
	if c.srv.cfg.Hooks != nil {
		if err := c.srv.cfg.Hooks.Check(&row.Document); err != nil {
			return nil, err
		}
	}
	c.run = &webhookRun{row, id}
	return model.WebhookResult{Properties: []model.PropertyResult{}}, nil
}

// runWebhook calls the webhook and answers what came of it. The attempts are in the log of its deliveries, also when who
// asked has gone.
func runWebhook(c *call) (any, error) {
	if c.srv.cfg.Hooks == nil {
		return nil, model.Errorf(model.Unavailable, "this server calls no webhooks")
	}
	res, records, err := c.srv.cfg.Hooks.Run(c.req.Context(), &c.run.row.Document, c.run.id)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.req.Context()), c.srv.cfg.Timeout)
	defer cancel()
	for i := range records {
		records[i].Object = "webhooks/" + c.run.row.Name
	}
	bad := c.srv.cfg.Store.Update(ctx, func(tx *state.Tx) error {
		tx.SetActor(c.caller.name)
		return orchestrate.Ran(tx, c.run.row, records)
	})
	if bad != nil {
		c.srv.cfg.Log.Error("what came of running a webhook was not written down", "id", c.id, "run", c.run.id, "status", http.StatusText(res.ReturnCode), "error", bad)
	}
	return res, err
}
