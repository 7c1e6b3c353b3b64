package orchestrate

import (
	"slices"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// DistributionByName finds a distribution of an organization. Error: NotFound.
func DistributionByName(r state.Reader, orgID, name string) (*model.DistributionRow, error) {
	d, ok := state.Find[model.DistributionRow](r, model.KitNamed(orgID, name))
	if !ok {
		return nil, model.Errorf(model.NotFound, "distribution %q not found", name)
	}
	return d, nil
}

// Distributions lists the distributions of an organization by name.
func Distributions(r state.Reader, orgID string) []*model.DistributionRow {
	return byName(state.List[model.DistributionRow](r, model.KitsOf(orgID)), func(d *model.DistributionRow) string { return d.Name })
}

// DistributionDoc is the document of a distribution: as it was given, with what the server sets.
func DistributionDoc(r state.Reader, d *model.DistributionRow, show Show) model.Distribution {
	doc := d.Document
	doc.UUID, doc.Version, doc.Organization, doc.Locked = d.ID, d.Version, organizationName(r, d.OrgID), d.Locked
	doc.Settings = Settings(r, OwnerOfKit(d), show)
	doc.Files, doc.Parameters = shownParts(d, show)
	return doc
}

// CreateDistribution creates a distribution with its settings, files and parameters. A flavor adds the settings that
// it names and that the document does not give; "" is none. Errors: NotFound (the organization), Invalid (one text
// per fault), Conflict (the name is taken).
func CreateDistribution(tx *state.Tx, orgID string, doc model.Distribution, flavor string) (*model.DistributionRow, error) {
	if _, err := OrganizationByID(tx, orgID); err != nil {
		return nil, err
	}
	doc, err := cloneOf(doc)
	if err != nil {
		return nil, err
	}
	settings, err := flavored(doc.Settings, flavor)
	if err != nil {
		return nil, err
	}
	doc.Settings = nil
	doc.ClearServerFields()
	d := &model.DistributionRow{Kit: newKit(orgID, doc.Name), Document: doc}
	if err := d.Check(); err != nil {
		return nil, err
	}
	if err := checkParameters(d.Document.Parameters); err != nil {
		return nil, err
	}
	if _, taken := state.Find[model.DistributionRow](tx, model.KitNamed(orgID, doc.Name)); taken {
		return nil, taken409("distribution", doc.Name)
	}
	firstVersions(d.Document.Parameters)
	completeParts(d)
	if err := state.Put(tx, d); err != nil {
		return nil, err
	}
	return d, createSettings(tx, OwnerOfKit(d), settings)
}

// flavored adds the settings of a flavor. Error: Invalid (there is no such flavor).
func flavored(settings []model.Setting, flavor string) ([]model.Setting, error) {
	if flavor == "" {
		return settings, nil
	}
	f, ok := model.FlavorNamed(flavor)
	if !ok {
		return nil, model.Errorf(model.Invalid, "there is no flavor %q: choose one of %s", flavor, model.FlavorNames())
	}
	for _, p := range f.Parameters {
		if !slices.ContainsFunc(settings, func(s model.Setting) bool { return s.Key == p.Key }) {
			settings = append(settings, model.Setting{Key: p.Key, Value: p.Value, Schema: p.Schema})
		}
	}
	return settings, nil
}

// UpdateDistribution changes name, description and the like; settings, files and parameters have collections of their
// own (contract section 1.6). Errors: NotFound, Invalid, Conflict (the name is taken, it is locked).
func UpdateDistribution(tx *state.Tx, orgID, id string, patch []byte) (*model.DistributionRow, error) {
	k, err := editKit(tx, orgID, id)
	if err != nil {
		return nil, err
	}
	d, ok := k.(*model.DistributionRow)
	if !ok {
		return nil, model.Errorf(model.NotFound, "distribution not found")
	}
	was := d.Document
	doc, err := model.Merge(was, patch)
	if err != nil {
		return nil, err
	}
	doc.ClearServerFields()
	doc.Settings, doc.Files, doc.Parameters = nil, was.Files, was.Parameters
	if doc.Name != d.Name {
		if _, taken := state.Find[model.DistributionRow](tx, model.KitNamed(orgID, doc.Name)); taken {
			return nil, taken409("distribution", doc.Name)
		}
		at := "organizations/" + organizationName(tx, orgID) + "/distributions/"
		if err := moveLinks(tx, orgID, at+d.Name, at+doc.Name); err != nil {
			return nil, err
		}
	}
	d.Name, d.Document = doc.Name, doc
	return d, putKit(tx, d)
}

// DeleteDistribution deletes a distribution that no host has. Errors: NotFound, Conflict (InUse, it is locked).
func DeleteDistribution(tx *state.Tx, orgID, id string) error {
	d, ok := state.Get[model.DistributionRow](tx, id)
	if !ok || d.OrgID != orgID {
		return model.Errorf(model.NotFound, "distribution not found")
	}
	if err := unlocked(d); err != nil {
		return err
	}
	var hosts []string
	for _, c := range state.List[model.DistributionContextRow](tx, model.AttachmentsOf(id)) {
		hosts = append(hosts, c.HostID)
	}
	if err := inUse(tx, hosts, "distribution %q is that of %d host(s): detach it there first", d.Name, len(hosts)); err != nil {
		return err
	}
	dropOwned(tx, id)
	state.Delete[model.DistributionRow](tx, id)
	return nil
}

// CloneDistribution copies a distribution with its settings, parameters, picture and files with their contents.
// Errors: NotFound, Invalid, Conflict.
func CloneDistribution(tx *state.Tx, orgID, id, name string) (*model.DistributionRow, error) {
	from, ok := state.Get[model.DistributionRow](tx, id)
	if !ok || from.OrgID != orgID {
		return nil, model.Errorf(model.NotFound, "distribution not found")
	}
	doc := from.Document
	doc.Name, doc.Settings = name, ownSettings(tx, OwnerOfKit(from))
	to, err := CreateDistribution(tx, orgID, doc, "")
	if err != nil {
		return nil, err
	}
	copyParts(&from.Kit, &to.Kit)
	return to, state.Put(tx, to)
}

// LockDistribution protects a distribution with its files and parameters from changes, or ends that. Error: NotFound.
func LockDistribution(tx *state.Tx, orgID, id string, locked bool) error {
	if d, ok := state.Get[model.DistributionRow](tx, id); !ok || d.OrgID != orgID {
		return model.Errorf(model.NotFound, "distribution not found")
	}
	return lockKit(tx, orgID, id, locked)
}
