package orchestrate

import (
	"context"
	"fmt"
	"slices"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// usageAtOnce is how many counts one commit writes.
const usageAtOnce = 200

// CountUsage counts the bytes of all organizations in a view, and writes down what is new. It tells how many counts changed.
func CountUsage(ctx context.Context, u state.Updater, v *state.View) (changed int, err error) {
	if state.SchemaOf(v) < state.SchemaLogs {
		return 0, nil
	}
	counts, err := state.CountStored(ctx, v)
	if err != nil {
		return 0, fmt.Errorf("count what organizations store: %w", err)
	}
	var write []model.UsageRow
	for org, n := range counts {
		if _, ok := state.Get[model.OrganizationRow](v, org); !ok {
			continue
		}
		if row, ok := state.Get[model.UsageRow](v, org); !ok || row.Bytes != n {
			write = append(write, model.UsageRow{OrgID: org, Bytes: n, Time: v.Now()})
		}
	}
	var gone []string
	for _, org := range state.Keys[model.UsageRow](v, model.AllUsage) {
		if _, ok := state.Get[model.OrganizationRow](v, org); !ok {
			gone = append(gone, org)
		}
	}
	for rows := range slices.Chunk(write, usageAtOnce) {
		if err := u.Update(ctx, func(tx *state.Tx) error {
			for i := range rows {
				if err := state.Put(tx, &rows[i]); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return changed, fmt.Errorf("write down what organizations store: %w", err)
		}
		changed += len(rows)
	}
	if len(gone) > 0 {
		err = u.Update(ctx, func(tx *state.Tx) error {
			for _, org := range gone {
				state.Delete[model.UsageRow](tx, org)
			}
			return nil
		})
	}
	return changed, err
}

// withinBytes refuses a transaction that lets an organization grow beyond its quota of bytes, by the last count and by what the
// transaction adds.
func withinBytes(tx *state.Tx) error {
	for org, more := range state.Grown(tx) {
		if more <= 0 {
			continue
		}
		q := QuotaOf(tx.Before(), org)
		has, _ := usedBytes(tx.Before(), org)
		if has+more > int64(q.Bytes) {
			return model.Errorf(model.Forbidden, "the quota bytes of the organization is %d, it has %d and this would make %d more: remove some, or ask an administrator of the site for more", q.Bytes, has, more)
		}
	}
	return nil
}

// usedBytes is the last count.
func usedBytes(r state.Reader, org string) (int64, string) {
	u, ok := state.Get[model.UsageRow](r, org)
	if !ok {
		return 0, ""
	}
	return u.Bytes, model.FormatTime(u.Time)
}
