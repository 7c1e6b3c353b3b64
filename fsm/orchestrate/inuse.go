package orchestrate

import (
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// InUse refuses to delete what hosts refer to. Its own text tells how many they are; whoever shows the error names those
// that its reader may see.
type InUse struct {
	Refused *model.Error
	Hosts   []*model.HostRow // by environment and name
}

// Error tells how many hosts there are.
func (e *InUse) Error() string { return e.Refused.Error() }

// Unwrap gives the error with its code, which is Conflict.
func (e *InUse) Unwrap() error { return e.Refused }

// inUse is nil when there are no hosts.
func inUse(r state.Reader, hostIDs []string, format string, args ...any) error {
	if len(hostIDs) == 0 {
		return nil
	}
	e := &InUse{Refused: model.Errorf(model.Conflict, format, args...)}
	for _, id := range hostIDs {
		if h, ok := state.Get[model.HostRow](r, id); ok {
			e.Hosts = append(e.Hosts, h)
		}
	}
	e.Hosts = byName(e.Hosts, func(h *model.HostRow) string { return canonicalName(r, h) })
	return e
}

// canonicalName is ENVIRONMENT/HOST.
func canonicalName(r state.Reader, h *model.HostRow) string {
	if e, ok := state.Get[model.EnvironmentRow](r, h.EnvID); ok {
		return e.Name + "/" + h.Name
	}
	return h.Name
}
