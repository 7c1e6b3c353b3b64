package api

import (
	"context"
	"sync"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// uses bounds how last uses are written: each at most once in a while by this node, few at a time.
type uses struct {
	slots chan struct{}
	mu    sync.Mutex
	tried map[string]time.Time
}

// recent tells whether something was noted within the last minute.
func (u *uses) recent(id string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	at, ok := u.tried[id]
	return ok && time.Since(at) < time.Minute
}

// note notes something.
func (u *uses) note(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.tried) >= 4096 {
		clear(u.tried)
	}
	u.tried[id] = time.Now()
}

func newUses() *uses { return &uses{slots: make(chan struct{}, 2), tried: map[string]time.Time{}} }

// due tells whether this node has not tried lately to write the use of something, and notes that it does.
func (u *uses) due(id string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	if now.Sub(u.tried[id]) < time.Minute {
		return false
	}
	if len(u.tried) >= 4096 {
		clear(u.tried)
	}
	u.tried[id] = now
	return true
}

// noteUse writes, beside the request, that a key or a session is in use, when that was written last long enough ago.
// A use that cannot be written is no failure of the request: a later one tries again.
func (s *Server) noteUse(c *call, r state.Reader) {
	id := ""
	switch {
	case c.caller.key != nil:
		id = c.caller.key.ID
	case c.caller.session != nil:
		id = c.caller.session.ID
	}
	if id == "" || s.uses.recent(id) || !orchestrate.LastUseDue(r, id) || !s.uses.due(id) {
		return
	}
	select {
	case s.uses.slots <- struct{}{}:
	default:
		return
	}
	address := addressText(c)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.req.Context()), s.cfg.Timeout)
	go func() {
		defer func() { cancel(); <-s.uses.slots }()
		err := s.cfg.Store.Update(ctx, func(tx *state.Tx) error { return orchestrate.NoteUse(tx, id, address) })
		if err != nil && model.CodeOf(err) != model.Unavailable {
			s.cfg.Log.Debug("the last use of a key or session was not written", "error", err)
		}
	}()
}

// addressText is where the caller is, "" when that is not known.
func addressText(c *call) string {
	if !c.address.IsValid() {
		return ""
	}
	return c.address.String()
}
