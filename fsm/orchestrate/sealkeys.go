package orchestrate

import (
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// SealKeyOf tells of the key that seals what an organization has stored. Error: NotFound (the organization).
func SealKeyOf(r state.Reader, orgID string) (model.SealKey, error) {
	if _, err := OrganizationByID(r, orgID); err != nil {
		return model.SealKey{}, err
	}
	d, ok := state.DataKeysOf(r, orgID)
	if !ok {
		return model.SealKey{}, nil
	}
	newest := d.Versions[len(d.Versions)-1]
	return model.SealKey{ID: newest.ID, Created: model.FormatTime(newest.Created), ClusterKey: newest.By, Rotating: len(d.Versions) > 1}, nil
}

// RotateSealKey gives an organization another key: what it stores from now on is sealed with it, and a duty seals anew
// what there is. Errors: NotFound (the organization, or it has no key yet), Conflict (a rotation is under way).
func RotateSealKey(tx *state.Tx, orgID string) (model.SealKey, error) {
	if _, err := OrganizationByID(tx, orgID); err != nil {
		return model.SealKey{}, err
	}
	if err := state.RotateDataKey(tx, orgID); err != nil {
		return model.SealKey{}, err
	}
	return SealKeyOf(tx, orgID)
}
