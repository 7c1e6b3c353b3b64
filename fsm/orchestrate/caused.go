package orchestrate

import (
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// Caused is the work on hosts that a write set in motion.
type Caused struct {
	changes []string // ids
	intents []string // keys: hosts are still to get their changes
}

// CausedBy is what a transaction sets in motion.
func CausedBy(tx *state.Tx) Caused {
	var c Caused
	for _, row := range state.Fresh[model.Change](tx) {
		c.changes = append(c.changes, row.ID)
	}
	for _, row := range state.Fresh[model.IntentRow](tx) {
		c.intents = append(c.intents, row.Key())
	}
	return c
}

// Nothing says that no host has anything to do.
func (c Caused) Nothing() bool { return len(c.changes)+len(c.intents) == 0 }

// CausedState is how far the work is that a write set in motion. A change that was deleted counts as processed.
type CausedState struct {
	Processed, Failed, Pending int // changes; what is still being planned counts as one that is pending
}

// StateOf tells how far work is, as far as it is on hosts that may sees.
func StateOf(r state.Reader, c Caused, may func(*model.HostRow) bool) CausedState {
	var s CausedState
	ids := c.changes
	for _, key := range c.intents {
		if _, ok := state.Get[model.IntentRow](r, key); ok {
			s.Pending++
		}
		ids = append(ids[:len(ids):len(ids)], state.Keys[model.Change](r, model.ChangesOfIntent(key))...)
	}
	seen := map[string]bool{} // may, by host
	for _, id := range ids {
		row, ok := state.Get[model.Change](r, id)
		if !ok {
			s.Processed++
			continue
		}
		visible, known := seen[row.HostID]
		if !known {
			h, ok := state.Get[model.HostRow](r, row.HostID)
			visible = ok && may(h)
			seen[row.HostID] = visible
		}
		switch {
		case !visible:
		case !row.Done:
			s.Pending++
		case row.Failed():
			s.Processed, s.Failed = s.Processed+1, s.Failed+1
		default:
			s.Processed++
		}
	}
	return s
}
