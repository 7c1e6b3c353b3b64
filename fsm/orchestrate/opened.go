package orchestrate

import (
	"encoding/json"
	"reflect"
	"slices"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// Opened names a setting whose value stops to be a secret by what a transaction does to parameters: one was renamed,
// deleted, or got another schema. It is "" when there is none. The transaction notes no read of it.
func Opened(tx *state.Tx, orgID string) string {
	r := tx.Quiet()
	lost := map[string]bool{}
	for _, e := range kitEdits(tx) {
		for key := range lostSecrets(e.was, e.is) {
			lost[key] = true
			if at := openedBelow(r, e.was.Base().ID, key); e.is != nil && at != "" {
				return at
			}
		}
	}
	if len(lost) == 0 {
		return ""
	}
	owners := organizationOwners(r, orgID)
	for key := range lost {
		if isSecret(parameterSchema(r, ownerOfOrganizationID(orgID), key)) {
			continue // another parameter with the key is secret
		}
		for _, o := range owners {
			if openSetting(r, o.ID, key) {
				return ownerPath(r, o) + "/settings/" + key
			}
		}
	}
	return ""
}

// kitEdit is an application, platform or distribution before and after; is is nil when it was deleted.
type kitEdit struct{ was, is model.Furnished }

func kitEdits(tx *state.Tx) (out []kitEdit) {
	return append(append(editsOf[model.ApplicationRow](tx), editsOf[model.PlatformRow](tx)...), editsOf[model.DistributionRow](tx)...)
}

func editsOf[T any, P interface {
	*T
	model.Furnished
	state.Row
}](tx *state.Tx) (out []kitEdit) {
	for _, e := range state.Edits[T, P](tx) {
		if e.Old == nil {
			continue
		}
		k := kitEdit{was: P(e.Old)}
		if e.New != nil {
			k.is = P(e.New)
		}
		out = append(out, k)
	}
	return out
}

// lostSecrets are the keys of parameters that were secret and are not.
func lostSecrets(was, is model.Furnished) map[string]bool {
	out := map[string]bool{}
	for _, p := range *was.ParameterList() {
		if isSecret(p.Schema) {
			out[p.Key] = true
		}
	}
	if is == nil {
		return out
	}
	for _, p := range *is.ParameterList() {
		if isSecret(p.Schema) {
			delete(out, p.Key)
		}
	}
	return out
}

// openedBelow is the address of a setting with the key at an application, platform or distribution itself, or where it is
// on a host.
func openedBelow(r state.Reader, kitID, key string) string {
	if openSetting(r, kitID, key) {
		return "settings/" + key
	}
	for _, c := range state.List[model.ContextRow](r, model.ContextsOfApplication(kitID)) {
		if openSetting(r, c.ID, key) {
			return ownerPath(r, OwnerOfContext(c)) + "/settings/" + key
		}
	}
	for _, c := range state.List[model.PlatformContextRow](r, model.AttachmentsOf(kitID)) {
		if openSetting(r, c.ID, key) {
			return ownerPath(r, OwnerOfPlatformContext(c)) + "/settings/" + key
		}
	}
	for _, c := range state.List[model.DistributionContextRow](r, model.AttachmentsOf(kitID)) {
		if openSetting(r, c.ID, key) {
			return ownerPath(r, OwnerOfDistributionContext(c)) + "/settings/" + key
		}
	}
	return ""
}

// organizationOwners are those whose settings may stand for a parameter of any application, platform or distribution.
func organizationOwners(r state.Reader, orgID string) []model.Owner {
	out := []model.Owner{ownerOfOrganizationID(orgID)}
	for _, g := range Hostgroups(r, orgID) {
		out = append(out, OwnerOfHostgroup(g))
	}
	for _, e := range Environments(r, orgID) {
		out = append(out, OwnerOfEnvironment(e))
		for _, h := range Hosts(r, orgID, e.ID) {
			out = append(out, OwnerOfHost(h))
		}
	}
	return out
}

// openSetting tells whether an owner has a setting with a value that its own schema does not keep secret.
func openSetting(r state.Reader, ownerID, key string) bool {
	row, ok := state.Get[model.SettingRow](r, model.SettingKey(ownerID, key))
	return ok && len(row.Value) > 0 && !isSecret(row.Schema)
}

// sameJSON tells whether two documents mean the same; none is the same as none.
func sameJSON(a, b json.RawMessage) bool {
	var x, y any
	if len(a) == 0 || len(b) == 0 {
		return len(a) == len(b)
	}
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

// AddedLinks are the link settings that a transaction creates, or makes lead elsewhere.
func AddedLinks(tx *state.Tx) []state.Edited[model.SettingRow] {
	return slices.DeleteFunc(state.Edits[model.SettingRow](tx), func(e state.Edited[model.SettingRow]) bool {
		return e.New == nil || e.New.Kind() != model.SettingLink || e.Old != nil && e.Old.Link == e.New.Link && e.Old.Kind() == model.SettingLink
	})
}
