package orchestrate

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// LogsKept says how much is kept of what is logged.
type LogsKept struct {
	AuditBytes int           // of an organization's audit, compressed
	AuditAge   time.Duration // of its records
}

// The bounds of the other logs, of each.
const (
	linesBytes      = 512 << 10
	linesAge        = 30 * 24 * time.Hour
	deliveriesBytes = 256 << 10
	deliveriesAge   = 14 * 24 * time.Hour
)

// KeepOf says how much is kept of each log. The audit of an organization that is gone stays until its last record is too
// old; all else of it goes with it, and what a webhook or channel delivered goes with that.
func (k LogsKept) KeepOf(r state.Reader) func(log string) state.LogKeep {
	return func(log string) state.LogKeep {
		kind, orgID, hookID := model.LogOwner(log)
		gone := false
		if _, ok := state.Get[model.OrganizationRow](r, orgID); !ok && log != model.AuditSite {
			gone = true
		}
		if hookID != "" {
			_, ok := state.Get[model.WebhookRow](r, hookID)
			_, channel := state.Get[model.NotificationRow](r, hookID)
			gone = gone || !ok && !channel
		}
		switch kind {
		case "audit":
			return state.LogKeep{Bytes: k.AuditBytes, Age: k.AuditAge, Gone: gone && r.Now().Sub(lastRecord(r, log)) > k.AuditAge}
		case "delivery":
			return state.LogKeep{Bytes: deliveriesBytes, Age: deliveriesAge, Gone: gone}
		}
		return state.LogKeep{Bytes: linesBytes, Age: linesAge, Gone: gone}
	}
}

func lastRecord(r state.Reader, log string) (at time.Time) {
	state.ReadLogBack(r, log, state.LogRange{}, func(l state.LogRecord) bool { at = l.Time; return false })
	return at
}

// Tell appends a line to a log that is no audit. envID and hostID say whom it is about, "" for none: who may see those
// sees it.
func Tell(tx *state.Tx, log, envID, hostID, message string) error {
	b, err := json.Marshal(model.LogRecord{Message: message, EnvID: envID, HostID: hostID})
	if err != nil {
		return fmt.Errorf("write a line of a log: %w", err)
	}
	return state.AppendLog(tx, log, b)
}
