package main

import (
	"context"
	"time"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
)

// countEvery is how often what organizations store is counted, if anything changed.
const countEvery = 30 * time.Second

// countUsage counts what organizations store, for their quotas.
func (d *duties) countUsage(ctx context.Context, lead *cluster.Lead) error {
	var last uint64
	for {
		view, err := lead.View(ctx)
		if err != nil {
			return err
		}
		if view.Index() != last {
			changed, err := orchestrate.CountUsage(ctx, lead, view)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil && model.CodeOf(err) != model.Unavailable {
				return err
			}
			if last = view.Index(); changed > 0 || err != nil {
				last = 0
			}
		}
		select {
		case <-time.After(countEvery):
		case <-ctx.Done():
			return nil
		}
	}
}
