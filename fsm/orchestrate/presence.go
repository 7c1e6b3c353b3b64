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
	Journal string // id of its journal; "" when it did not say, or is too old to
}

// News says whether the row of the agent's presence does not tell this yet.
func (t Transition) News(p *model.Presence) bool {
	return p.Up != t.Up || t.Version != "" && (p.Version != t.Version || p.Resyncs != (t.Journal != ""))
}

// RecordPresence writes transitions, many in one commit; what is so already is left alone.
func RecordPresence(tx *state.Tx, ts []Transition) error {
	for _, t := range ts {
		p, ok := state.Edit[model.Presence](tx, t.AgentID)
		if !ok || !t.News(p) {
			continue
		}
		if p.Up != t.Up {
			p.Since = tx.Now()
			if err := tellPresence(tx, t.AgentID, t.Up); err != nil {
				return err
			}
		}
		p.Up = t.Up
		if t.Version != "" {
			p.Version, p.Resyncs = t.Version, t.Journal != ""
		}
		if err := state.Put(tx, p); err != nil {
			return err
		}
	}
	return recordJournals(tx, ts)
}

// recordJournals keeps which journal each agent works with. While an agent is not in step, what is known stays: it is
// what tells that a journal was lost since.
func recordJournals(tx *state.Tx, ts []Transition) error {
	for _, t := range ts {
		a, ok := state.Get[model.Agent](tx, t.AgentID)
		if !ok || !JournalIsNews(tx, t.AgentID, t.Journal) {
			continue
		}
		lanes, ok := state.Edit[model.Lanes](tx, t.AgentID)
		if !ok || !InStep(tx, a, lanes) {
			continue
		}
		lanes.Journal = t.Journal
		if err := state.Put(tx, lanes); err != nil {
			return err
		}
	}
	return nil
}

// JournalIsNews says whether it is to be recorded that an agent works with a journal.
func JournalIsNews(r state.Reader, agentID, journal string) bool {
	if journal == "" {
		return false
	}
	lanes, ok := state.Get[model.Lanes](r, agentID)
	if !ok || lanes.Journal == journal {
		return false
	}
	a, ok := state.Get[model.Agent](r, agentID)
	return ok && InStep(r, a, lanes)
}
