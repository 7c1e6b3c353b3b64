package orchestrate

import (
	"fmt"
	"strconv"
	"strings"

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

// maxCaused bounds what a text names: it travels in a header and in a path.
const maxCaused = 256

// Token is a text that ParseCaused reads, so that the work can be followed on any node, whatever became of the one that did the
// write; "" where there is nothing to follow, or too much to be named.
func (c Caused) Token() string {
	if c.Nothing() || len(c.changes)+len(c.intents) > maxCaused {
		return ""
	}
	var parts []string
	for _, key := range c.intents {
		_, sequence, _ := strings.Cut(key, "/")
		parts = append(parts, "i"+strings.TrimLeft(sequence, "0"))
	}
	for _, id := range c.changes {
		parts = append(parts, "c"+id)
	}
	return strings.Join(parts, ".")
}

// ParseCaused reads a Token for an organization. That there are such changes is not looked at. Error: NotFound.
func ParseCaused(orgID, token string) (Caused, error) {
	var c Caused
	parts := strings.Split(token, ".")
	for _, p := range parts {
		sequence, err := strconv.ParseUint(strings.TrimPrefix(p, "i"), 16, 64)
		switch {
		case len(parts) > maxCaused:
			return Caused{}, errNoToken()
		case strings.HasPrefix(p, "c") && len(p) > 1 && len(p) <= 65:
			c.changes = append(c.changes, p[1:])
		case strings.HasPrefix(p, "i") && err == nil && sequence > 0:
			row := model.IntentRow{OrgID: orgID, Sequence: sequence}
			c.intents = append(c.intents, row.Key())
		default:
			return Caused{}, errNoToken()
		}
	}
	return c, nil
}

// Follow tells how far the work is that a Token names, on hosts of an organization that may sees. whole is whether the caller may
// know of writes that concern hosts which it may not see. What the caller may see nothing of is as what never was. Error: NotFound.
func Follow(r state.Reader, orgID, token string, whole bool, may func(*model.HostRow) bool) (CausedState, error) {
	c, err := ParseCaused(orgID, token)
	if err != nil {
		return CausedState{}, err
	}
	counter, ok := state.Get[model.IntentCounter](r, orgID)
	known := false
	for _, key := range c.intents {
		known = known || ok && whole && key <= (&model.IntentRow{OrgID: orgID, Sequence: counter.Last}).Key()
	}
	s := StateOf(r, orgID, c, func(h *model.HostRow) bool {
		sees := may(h)
		known = known || sees
		return sees
	})
	if !known {
		return CausedState{}, errNoToken()
	}
	return s, nil
}

func errNoToken() error {
	return model.Errorf(model.NotFound, "there is nothing to follow: this names no changes that are still there, as the header X-Muster-Plan of a write does")
}

// CausedState is how far the work is that a write set in motion. A change that was deleted counts as processed.
type CausedState = model.PlanProgress

// maxFailures is how many failed changes are told one by one.
const maxFailures = 50

// StateOf tells how far work is, as far as it is on hosts of an organization that may sees.
func StateOf(r state.Reader, orgID string, c Caused, may func(*model.HostRow) bool) CausedState {
	s := CausedState{Failures: []model.PlanFailure{}}
	ids := c.changes
	for _, key := range c.intents {
		if _, ok := state.Get[model.IntentRow](r, key); ok {
			s.Pending++
		}
		ids = append(ids[:len(ids):len(ids)], state.Keys[model.Change](r, model.ChangesOfIntent(key))...)
	}
	hosts := map[string]*model.HostRow{} // nil: not to be seen
	for _, id := range ids {
		row, ok := state.Get[model.Change](r, id)
		if !ok {
			s.Processed++
			continue
		}
		h, known := hosts[row.HostID]
		if !known {
			h, ok = state.Get[model.HostRow](r, row.HostID)
			if ok && h.OrgID != orgID {
				s.Processed++ // as one that is not there
				continue
			}
			if !ok || !may(h) {
				h = nil
			}
			hosts[row.HostID] = h
		}
		switch {
		case h == nil:
		case !row.Done:
			s.Pending++
		case row.Failed():
			s.Processed, s.Failed = s.Processed+1, s.Failed+1
			if len(s.Failures) < maxFailures {
				s.Failures = append(s.Failures, failureOf(r, h, row))
			}
		default:
			s.Processed++
		}
	}
	return s
}

// failureOf tells of a change that failed, with the first task that did.
func failureOf(r state.Reader, h *model.HostRow, row *model.Change) model.PlanFailure {
	f := model.PlanFailure{Host: h.Name, OrderNum: row.OrderNum, Description: row.Description}
	if e, ok := state.Get[model.EnvironmentRow](r, h.EnvID); ok {
		f.Environment = e.Name
	}
	for i := range row.Tasks {
		if t := &row.Tasks[i]; t.Status == model.TaskError {
			f.Error = fmt.Sprintf("task %d, %s: %s", t.OrderNum, t.Description, t.Error)
			break
		}
	}
	return f
}
