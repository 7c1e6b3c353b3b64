package api

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// writeWait is the parameter wait of a write: how long its answer waits for the changes that it causes. That of running a
// job is the contract's, and means the job.
func (c *call) writeWait() (time.Duration, error) {
	if c.route.Name == "jobs.run" || !c.query.Has("wait") {
		return 0, nil
	}
	text := c.query.Get("wait")
	switch strings.ToLower(text) {
	case "", "true":
		return defaultWait, nil
	case "false":
		return 0, nil
	}
	return parseWait(text)
}

// restCaused is the least pause between two looks at what is pending: of a write that concerns thousands of hosts, each of
// which tells its end.
const restCaused = 50 * time.Millisecond

// awaitCaused waits until what the write caused is processed, at the most for wait, and tells in a header how far it is.
// Hosts that the caller may not read are neither waited for nor counted. The write is done, so nothing that happens here is
// an error of it: where the caller may not look any more, there is no header.
func (c *call) awaitCaused(end endpoint, index uint64, wait time.Duration) {
	view, err := c.srv.cfg.Store.Local().Await(c.req.Context(), index)
	if err != nil {
		return
	}
	ctx, cancel := c.patience(view, wait)
	defer cancel()
	epoch := view.Epoch()
	for {
		began, ws := time.Now(), state.NewWatchSet()
		watched := c.srv.cfg.Store.Local().Watched(ws)
		if watched.Epoch() != epoch || c.caller.still(watched) != nil {
			return
		}
		at, err := c.scope(watched, end)
		if err != nil {
			return
		}
		s := orchestrate.CausedState{}
		if at.org != nil {
			s = orchestrate.StateOf(watched, at.org.ID, c.caused, c.mayRead(watched, at))
		}
		c.header.Set(spec.HeaderChanges, fmt.Sprintf("processed=%d, failed=%d, pending=%d", s.Processed, s.Failed, s.Pending))
		if s.Pending == 0 || ctx.Err() != nil {
			return
		}
		took := time.Since(began)
		if ws.Wait(ctx) == nil { // and once more when the wait is over, for what came at its end
			pauseFor(ctx, max(restCaused, 4*took))
		}
	}
}

// tellPlan names the work that a write set in motion, for who wants to follow it.
func (c *call) tellPlan(token string) {
	if token != "" && c.params["org"] != "" {
		c.header.Set(spec.HeaderPlan, token)
	}
}

// waitAgain waits for what a write caused that is answered again: whoever sends it again did not hear the first answer.
func (c *call) waitAgain(end endpoint, token string, index uint64, wait time.Duration) {
	c.tellPlan(token)
	if token == "" || wait <= 0 || end.after != nil {
		return
	}
	at, err := c.scope(c.srv.cfg.Store.Local(), end)
	if err != nil || at.org == nil {
		return
	}
	if c.caused, err = orchestrate.ParseCaused(at.org.ID, token); err == nil {
		c.awaitCaused(end, index, wait)
	}
}

// pauseFor waits, but not beyond ctx.
func pauseFor(ctx context.Context, d time.Duration) {
	t := time.NewTimer(min(d, time.Second))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
