package orchestrate

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// complianceRow finds the key of a compliance error by what the agent tells. An application that was renamed
// meanwhile is found by what it declares.
func complianceRow(r state.Reader, h *model.HostRow, o model.Origin) *model.ComplianceRow {
	row := &model.ComplianceRow{OrgID: h.OrgID, HostID: h.ID, Application: o.Application, Type: o.Type, Name: o.Name}
	if ctx, _, err := ContextByName(r, h.OrgID, h.ID, o.Application); err == nil {
		row.AppID = ctx.AppID
		return row
	}
	for _, ctx := range contextsByPosition(r, h.ID) {
		a, ok := state.Get[model.ApplicationRow](r, ctx.AppID)
		if !ok {
			continue
		}
		eachResource(&a.Document, func(collection, _, name string) {
			if row.AppID == "" && collection == o.Type && name == o.Name {
				row.AppID = a.ID
			}
		})
	}
	return row
}

// PutCompliance writes a compliance error of a host; the time of the first telling stays. expected and observed
// are JSON objects. A host that is gone, or has no instance any more, changes nothing; nor does a resource of
// which no application on the host knows: it was told before the agent heard that the application is gone.
func PutCompliance(tx *state.Tx, hostID string, o model.Origin, expected, observed json.RawMessage) error {
	return putCompliance(tx, hostID, o, expected, observed, 0)
}

// putCompliance also notes the agent's count of what it tells.
func putCompliance(tx *state.Tx, hostID string, o model.Origin, expected, observed json.RawMessage, told uint64) error {
	h, ok := state.Get[model.HostRow](tx, hostID)
	if !ok {
		return nil
	}
	if _, ok := state.Get[model.InstanceRow](tx, hostID); !ok {
		return nil
	}
	row := complianceRow(tx, h, o)
	if row.AppID == "" {
		return nil
	}
	row.Expected, row.Observed, row.Since, row.Told = object(expected), object(observed), tx.Now(), told
	if old, ok := state.Get[model.ComplianceRow](tx, row.Key()); ok {
		if bytes.Equal(old.Expected, row.Expected) && bytes.Equal(old.Observed, row.Observed) && old.Told == told {
			return nil
		}
		row.Since = old.Since
	} else if err := tellDrift(tx, hostID, o, false); err != nil {
		return err
	}
	return state.Put(tx, row)
}

// object is raw as a compact JSON object; anything else becomes an empty one (contract section 3.6).
func object(raw json.RawMessage) json.RawMessage {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil || m == nil {
		return json.RawMessage("{}")
	}
	return toJSON(m)
}

// ClearCompliance deletes a compliance error of a host, if there is one, and tells that in the log.
func ClearCompliance(tx *state.Tx, hostID string, o model.Origin) error {
	h, ok := state.Get[model.HostRow](tx, hostID)
	if !ok {
		return nil
	}
	key := complianceRow(tx, h, o).Key()
	if _, ok := state.Get[model.ComplianceRow](tx, key); !ok {
		return nil
	}
	state.Delete[model.ComplianceRow](tx, key)
	return tellDrift(tx, hostID, o, true)
}

// ComplianceErrors lists the compliance errors of a host by application, type and name. Error: NotFound.
func ComplianceErrors(r state.Reader, orgID, hostID string) ([]model.ComplianceError, error) {
	if _, err := HostByID(r, orgID, hostID); err != nil {
		return nil, err
	}
	out := []model.ComplianceError{}
	for _, c := range state.List[model.ComplianceRow](r, model.ComplianceOf(hostID)) {
		out = append(out, complianceDoc(r, c))
	}
	slices.SortFunc(out, func(a, b model.ComplianceError) int {
		return cmp.Or(cmp.Compare(a.Application, b.Application), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}

func complianceDoc(r state.Reader, c *model.ComplianceRow) model.ComplianceError {
	doc := model.ComplianceError{
		Application: c.Application, Type: model.ResourceType(c.Type), Name: c.Name, Since: model.FormatTime(c.Since),
	}
	doc.ExpectedState, doc.CurrentState = states(r, c)
	if c.AppID != "" {
		doc.Application = cmp.Or(applicationName(r, c.AppID), c.Application)
	}
	return doc
}

// complianceAt finds an error by the contract's identifier; typ is the collection word. Error: NotFound.
func complianceAt(r state.Reader, orgID, hostID, appName, typ, name string) (*model.ComplianceRow, error) {
	if _, err := HostByID(r, orgID, hostID); err != nil {
		return nil, err
	}
	row := &model.ComplianceRow{HostID: hostID, Application: appName, Type: typ, Name: name}
	if a, err := ApplicationByName(r, orgID, appName); err == nil {
		row.AppID = a.ID
	}
	found, ok := state.Get[model.ComplianceRow](r, row.Key())
	if !ok && typ == model.TypeFiles { // a directory shows as a file
		row.Type = model.TypeDirectories
		found, ok = state.Get[model.ComplianceRow](r, row.Key())
	}
	if !ok {
		return nil, model.Errorf(model.NotFound, "there is no compliance error applications/%s/%s/%s", appName, typ, name)
	}
	return found, nil
}

// GetComplianceError is one compliance error; typ is the collection word, such as services. Error: NotFound.
func GetComplianceError(r state.Reader, orgID, hostID, appName, typ, name string) (model.ComplianceError, error) {
	c, err := complianceAt(r, orgID, hostID, appName, typ, name)
	if err != nil {
		return model.ComplianceError{}, err
	}
	return complianceDoc(r, c), nil
}

// DeleteComplianceError deletes one compliance error. The agent tells it again when the drift changes.
// Error: NotFound.
func DeleteComplianceError(tx *state.Tx, orgID, hostID, appName, typ, name string) error {
	c, err := complianceAt(tx, orgID, hostID, appName, typ, name)
	if err != nil {
		return err
	}
	state.Delete[model.ComplianceRow](tx, c.Key())
	return nil
}

// DeleteComplianceErrors deletes all compliance errors of a host. Error: NotFound.
func DeleteComplianceErrors(tx *state.Tx, orgID, hostID string) error {
	if _, err := HostByID(tx, orgID, hostID); err != nil {
		return err
	}
	for _, k := range state.Keys[model.ComplianceRow](tx, model.ComplianceOf(hostID)) {
		state.Delete[model.ComplianceRow](tx, k)
	}
	return nil
}
