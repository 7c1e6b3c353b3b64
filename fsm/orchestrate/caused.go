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
	group   string   // id of the changes of one write, when they are many
}

// maxSingly is how many changes of a write are named one by one. More are a group: a range of their own costs memory for each of
// them, and a text that names each of them grows with the hosts.
const maxSingly = 4

// Cause gives what a transaction sets in motion, once all else is written. Changes that hosts get with it for earlier writes are
// not the work of this one.
func Cause(tx *state.Tx) (Caused, error) {
	var c Caused
	var direct []*model.Change
	for _, row := range state.Fresh[model.Change](tx) {
		if row.Intent == "" {
			direct = append(direct, row)
			c.changes = append(c.changes, row.ID)
		}
	}
	for _, row := range state.Fresh[model.IntentRow](tx) {
		c.intents = append(c.intents, row.Key())
	}
	if len(direct) <= maxSingly {
		return c, nil
	}
	c.changes, c.group = nil, newID()
	for _, row := range direct {
		edit, ok := state.Edit[model.Change](tx, row.ID)
		if !ok {
			continue
		}
		edit.Intent = groupKey(domainOfHost(tx.Quiet(), row.HostID), c.group)
		if err := state.Put(tx, edit); err != nil {
			return Caused{}, err
		}
	}
	return c, nil
}

// groupKey stands in a change for the key of an intent, which it is never equal to. It begins with the organization, so that no
// name of a group leads to changes of another one.
func groupKey(orgID, id string) string { return orgID + "/w" + id }

// Nothing says that no host has anything to do.
func (c Caused) Nothing() bool { return len(c.changes)+len(c.intents) == 0 && c.group == "" }

// The bounds of what is read from a text.
const (
	maxParts   = 256  // older nodes named so many changes
	maxIntents = 4096 // of ranges
)

// Token is a text that ParseCaused reads, so that the work can be followed on any node, whatever became of the one that did the
// write; "" where there is nothing to follow. It is short however many hosts have work, since it travels in a header and in a path.
func (c Caused) Token() string {
	var parts []string
	for i := 0; i < len(c.intents); {
		first := sequenceOf(c.intents[i])
		n := 1 // those of one write follow one another
		for i+n < len(c.intents) && sequenceOf(c.intents[i+n]) == first+uint64(n) {
			n++
		}
		part := "i" + strconv.FormatUint(first, 16)
		if n > 1 {
			part += "-" + strconv.FormatUint(first+uint64(n)-1, 16)
		}
		parts = append(parts, part)
		i += n
	}
	if c.group != "" {
		parts = append(parts, "w"+c.group)
	}
	for _, id := range c.changes {
		parts = append(parts, "c"+id)
	}
	return strings.Join(parts, ".")
}

// sequenceOf is the number of the intent with a key.
func sequenceOf(key string) uint64 {
	_, text, _ := strings.Cut(key, "/")
	n, _ := strconv.ParseUint(text, 16, 64) // keys are made of numbers
	return n
}

// ParseCaused reads a Token for an organization. That there are such changes is not looked at. Error: NotFound.
func ParseCaused(orgID, token string) (Caused, error) {
	var c Caused
	parts := strings.Split(token, ".")
	for _, p := range parts {
		kind, rest := p[:min(len(p), 1)], p[min(len(p), 1):]
		named := rest != "" && len(rest) <= 64
		first, last, ok := sequences(rest)
		switch {
		case len(parts) > maxParts:
			return Caused{}, errNoToken()
		case kind == "c" && named:
			c.changes = append(c.changes, rest)
		case kind == "w" && named && c.group == "":
			c.group = rest
		case kind == "i" && ok && last-first < uint64(maxIntents-len(c.intents)):
			for n := range last - first + 1 {
				row := model.IntentRow{OrgID: orgID, Sequence: first + n}
				c.intents = append(c.intents, row.Key())
			}
		default:
			return Caused{}, errNoToken()
		}
	}
	return c, nil
}

// sequences reads one number of an intent, or the first and the last of several.
func sequences(text string) (first, last uint64, ok bool) {
	from, to, several := strings.Cut(text, "-")
	if !several {
		to = from
	}
	first, err := strconv.ParseUint(from, 16, 64)
	if err != nil {
		return 0, 0, false
	}
	last, err = strconv.ParseUint(to, 16, 64)
	return first, last, err == nil && first > 0 && first <= last
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
	if c.group != "" {
		ids = append(ids[:len(ids):len(ids)], state.Keys[model.Change](r, model.ChangesOfIntent(groupKey(orgID, c.group)))...)
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
