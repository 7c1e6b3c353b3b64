package api

import (
	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

func invitationEndpoints() map[string]endpoint {
	return map[string]endpoint{
		"invitations.list": reading(auth.Manage, func(_ *call, r state.Reader, at scope) (any, error) {
			return list(orchestrate.Invitations(r, at.org.ID)), nil
		}),
		"invitations.confirm": acting(auth.Manage, func(c *call, tx *state.Tx, at scope) (any, error) {
			return orchestrate.ConfirmInvitation(tx, at.org.ID, c.params["id"])
		}),
		"invitations.delete": acting(auth.Manage, func(c *call, tx *state.Tx, at scope) (any, error) {
			return nil, orchestrate.DeleteInvitation(tx, at.org.ID, c.params["id"])
		}),
	}
}
