package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/muster-hq/muster/fsm/state"
)

// sealPause is between two looks while something in clear is on its way out.
const sealPause = 200 * time.Millisecond

// sealRows is a duty: rows and contents that are in clear, or sealed with an old key of their domain, are sealed anew, and
// then the old keys go.
func (n *Node) sealRows(ctx context.Context, lead *Lead) error {
	for first := true; ctx.Err() == nil; {
		ws := state.NewWatchSet()
		v := n.Local().Watched(ws)
		k := state.ClusterKeysOf(v)
		// Also when it was done before: a version of before may have written meanwhile.
		due := k.Active != "" && (first || k.Sealing || k.Form < state.SealedForm && state.SchemaOf(v) >= state.SchemaContents)
		var old []string
		for _, d := range state.AllDataKeys(v) {
			if len(d.Versions) > 1 {
				old = append(old, d.Domain)
			}
		}
		if !due && len(old) == 0 {
			_ = ws.Wait(ctx)
			continue
		}
		clean, err := n.sealOnce(ctx, lead, old)
		if err != nil {
			return err
		}
		if first = first && !clean; clean {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(sealPause):
		}
	}
	return ctx.Err()
}

// sealOnce seals what a view shows to be stale; clean says that nothing was, and the old keys are gone.
func (n *Node) sealOnce(ctx context.Context, lead *Lead, old []string) (clean bool, err error) {
	v, err := lead.View(ctx)
	if err != nil {
		return false, err
	}
	rows, err := state.Stale(v)
	if err != nil {
		return false, fmt.Errorf("looking for rows to be sealed: %w", err)
	}
	if len(rows) > 0 {
		return false, n.reseal(ctx, lead, rows)
	}
	for _, domain := range old {
		if err := lead.Update(ctx, func(tx *state.Tx) error { return state.DropOldDataKeys(tx, v, domain) }); err != nil {
			return false, fmt.Errorf("dropping the old keys of %s: %w", domain, err)
		}
		n.log.Info("all is sealed with the new key: the old one is gone", "domain", domain)
	}
	if state.SchemaOf(v) < state.SchemaContents {
		return true, nil
	}
	contents, err := state.ClearContents(ctx, v)
	if err != nil {
		return false, fmt.Errorf("looking for contents to be sealed: %w", err)
	}
	if len(contents) > 0 {
		return false, n.sealContents(ctx, lead, v, contents)
	}
	if k := state.ClusterKeysOf(v); k.Form >= state.SealedForm && !k.Sealing {
		return true, nil
	}
	if err := lead.Update(ctx, state.NoteSealed); err != nil {
		return false, fmt.Errorf("noting that all is sealed: %w", err)
	}
	n.log.Info("all that is to be sealed is")
	return true, nil
}

// reseal seals rows anew, in small commits.
func (n *Node) reseal(ctx context.Context, lead *Lead, rows []state.RowName) error {
	n.log.Info("rows are being sealed", "number", len(rows))
	if slices.ContainsFunc(rows, func(r state.RowName) bool { return r.Clear }) {
		if err := lead.Update(ctx, state.NoteSealing); err != nil {
			return fmt.Errorf("noting that something is in clear: %w", err)
		}
	}
	for len(rows) > 0 {
		done := 0
		if err := lead.Update(ctx, func(tx *state.Tx) (err error) { done, err = state.Reseal(tx, rows); return err }); err != nil {
			return fmt.Errorf("sealing rows: %w", err)
		}
		if done == 0 {
			return fmt.Errorf("sealing rows: the row %s %q cannot be", rows[0].Table, rows[0].Key)
		}
		rows = rows[done:]
	}
	return nil
}

// sealContents stores contents in clear once more, sealed, and removes those that are in clear.
func (n *Node) sealContents(ctx context.Context, lead *Lead, v *state.View, contents []state.ClearContent) error {
	n.log.Info("contents are being sealed", "number", len(contents))
	if err := lead.Update(ctx, state.NoteSealing); err != nil {
		return fmt.Errorf("noting that something is in clear: %w", err)
	}
	for _, c := range contents {
		if err := state.SealContent(ctx, lead, v, c); err != nil {
			return err
		}
	}
	for range 2 { // marked, then removed
		v, err := lead.View(ctx)
		if err != nil {
			return err
		}
		if _, err := state.CollectContents(ctx, lead, v, n.cfg.Timing.ContentAge); err != nil {
			return fmt.Errorf("removing contents in clear: %w", err)
		}
	}
	return nil
}
