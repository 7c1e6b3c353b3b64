package orchestrate

import (
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// Transition is an agent that came or went.
type Transition struct {
	AgentID string
	Up      bool
	Version string
}

// RecordPresence writes transitions, many in one commit; what is so already is left alone.
func RecordPresence(tx *state.Tx, ts []Transition) error {
	for _, t := range ts {
		p, ok := state.Edit[model.Presence](tx, t.AgentID)
		if !ok || p.Up == t.Up && (t.Version == "" || p.Version == t.Version) {
			continue
		}
		if p.Up != t.Up {
			p.Since = tx.Now()
		}
		p.Up = t.Up
		if t.Version != "" {
			p.Version = t.Version
		}
		if err := state.Put(tx, p); err != nil {
			return err
		}
	}
	return nil
}
