package orchestrate

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/muster-hq/muster/fsm/model"
)

// A change is one row, so what it says and what comes to be said of it must fit one commit together
// (state.MaxCommit, 256 KiB). All in bytes of JSON.
const (
	maxPlanned   = 128 << 10 // a change as it is queued
	maxSaid      = 64 << 10  // outputs and errors of a change
	maxOutput    = 16 << 10  // of one task
	maxError     = 4 << 10   // of one task
	leastError   = 60        // what an error keeps when maxSaid is used up
	maxAlertName = 4096      // of a path or name in an alert
	maxObserved  = 8 << 10   // of one side of a compliance error
	maxAttribute = 1 << 10   // of one attribute of it
)

// fit cuts the texts of a task so that those of its change stay within maxSaid.
func fit(c *model.Change, t *model.Task) {
	room := maxSaid
	for i := range c.Tasks {
		if o := &c.Tasks[i]; o != t {
			room -= jsonLen(o.Output) + jsonLen(o.Error)
		}
	}
	t.Error = clip(t.Error, max(min(maxError, room), leastError))
	t.Output = clip(t.Output, max(min(maxOutput, room-jsonLen(t.Error)), 0))
}

// jsonLen is how many bytes a text takes as JSON, without its quotes.
func jsonLen(s string) int {
	if s == "" {
		return 0
	}
	b, err := json.Marshal(s)
	if err != nil { // a string can always be written
		return len(s)
	}
	return len(b) - 2
}

// clip cuts a text to its head and tail so that it takes at most limit bytes of JSON, and says how much is left out.
func clip(s string, limit int) string {
	if len(s) <= limit && jsonLen(s) <= limit {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	for keep := min(len(s), limit); keep > 1; keep = keep * 3 / 4 {
		head, tail := s[:keep/2], s[len(s)-keep/2:]
		out := strings.ToValidUTF8(head, "") + fmt.Sprintf("\n... %d bytes left out ...\n", len(s)-len(head)-len(tail)) + strings.ToValidUTF8(tail, "")
		if jsonLen(out) <= limit {
			return out
		}
	}
	if limit >= len(leftOut) {
		return leftOut
	}
	return ""
}

const leftOut = "... left out ..."

// shorten cuts long attributes of an object, and drops those that do not fit.
func shorten(raw json.RawMessage) json.RawMessage {
	if len(raw) <= maxAttribute {
		return raw
	}
	var attrs map[string]json.RawMessage
	if err := json.Unmarshal(raw, &attrs); err != nil {
		return nil
	}
	out, size := map[string]json.RawMessage{}, 0
	for _, key := range slices.Sorted(maps.Keys(attrs)) {
		value := attrs[key]
		if len(value) > maxAttribute {
			var text string
			if json.Unmarshal(value, &text) != nil {
				text = string(value)
			}
			value = toJSON(clip(text, maxAttribute))
		}
		if size += jsonLen(key) + len(value) + 4; size > maxObserved {
			break
		}
		out[key] = value
	}
	return toJSON(out)
}
