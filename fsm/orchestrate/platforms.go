package orchestrate

import (
	"strings"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// PlatformByName finds a platform of an organization. Error: NotFound.
func PlatformByName(r state.Reader, orgID, name string) (*model.PlatformRow, error) {
	p, ok := state.Find[model.PlatformRow](r, model.KitNamed(orgID, name))
	if !ok {
		return nil, model.Errorf(model.NotFound, "platform %q not found", name)
	}
	return p, nil
}

// Platforms lists the platforms of an organization by name.
func Platforms(r state.Reader, orgID string) []*model.PlatformRow {
	return byName(state.List[model.PlatformRow](r, model.KitsOf(orgID)), func(p *model.PlatformRow) string { return p.Name })
}

// PlatformDoc is the document of a platform: as it was given, with what the server sets.
func PlatformDoc(r state.Reader, p *model.PlatformRow, show Show) model.Platform {
	doc := p.Document
	doc.UUID, doc.Version, doc.Organization = p.ID, p.Version, organizationName(r, p.OrgID)
	doc.Driver.Name, doc.Driver.Description = driverWords(doc.Driver.ClassName)
	doc.Settings = Settings(r, OwnerOfKit(p), show)
	doc.Files, doc.Parameters = shownParts(p, show)
	return doc
}

// driverWords are the name and description of a driver's class.
func driverWords(class string) (name, description string) {
	name = class[strings.LastIndexByte(class, '.')+1:]
	if class == model.FreeDriver {
		return name, "machines that somebody else made"
	}
	return name, "this server has no driver of that class"
}

// CreatePlatform creates a platform with its settings, files and parameters. Any class of driver is stored. Errors:
// NotFound (the organization), Invalid (one text per fault), Conflict (the name is taken).
func CreatePlatform(tx *state.Tx, orgID string, doc model.Platform) (*model.PlatformRow, error) {
	if _, err := OrganizationByID(tx, orgID); err != nil {
		return nil, err
	}
	doc, err := cloneOf(doc)
	if err != nil {
		return nil, err
	}
	settings := doc.Settings
	doc.Settings = nil
	doc.ClearServerFields()
	p := &model.PlatformRow{Kit: newKit(orgID, doc.Name), Document: doc}
	if err := p.Check(); err != nil {
		return nil, err
	}
	if err := checkParameters(p.Document.Parameters); err != nil {
		return nil, err
	}
	if _, taken := state.Find[model.PlatformRow](tx, model.KitNamed(orgID, doc.Name)); taken {
		return nil, taken409("platform", doc.Name)
	}
	firstVersions(p.Document.Parameters)
	completeParts(p)
	if err := state.Put(tx, p); err != nil {
		return nil, err
	}
	return p, createSettings(tx, OwnerOfKit(p), settings)
}

// cloneOf copies so deeply that the copy can be changed: through its JSON, which loses nothing.
func cloneOf[T any](doc T) (T, error) { return model.Reread[T](toJSON(doc)) }

// UpdatePlatform changes name, description and driver; settings, files and parameters have collections of their own
// (contract section 1.6). Errors: NotFound, Invalid, Conflict (the name is taken).
func UpdatePlatform(tx *state.Tx, orgID, id string, patch []byte) (*model.PlatformRow, error) {
	k, err := editKit(tx, orgID, id)
	if err != nil {
		return nil, err
	}
	p, ok := k.(*model.PlatformRow)
	if !ok {
		return nil, model.Errorf(model.NotFound, "platform not found")
	}
	was := p.Document
	doc, err := model.Merge(was, patch)
	if err != nil {
		return nil, err
	}
	doc.ClearServerFields()
	doc.Settings, doc.Files, doc.Parameters = nil, was.Files, was.Parameters
	if doc.Name != p.Name {
		if _, taken := state.Find[model.PlatformRow](tx, model.KitNamed(orgID, doc.Name)); taken {
			return nil, taken409("platform", doc.Name)
		}
		at := "organizations/" + organizationName(tx, orgID) + "/platforms/"
		if err := moveLinks(tx, orgID, at+p.Name, at+doc.Name); err != nil {
			return nil, err
		}
	}
	p.Name, p.Document = doc.Name, doc
	return p, putKit(tx, p)
}

// DeletePlatform deletes a platform that no host has. Errors: NotFound, Conflict (InUse).
func DeletePlatform(tx *state.Tx, orgID, id string) error {
	p, ok := state.Get[model.PlatformRow](tx, id)
	if !ok || p.OrgID != orgID {
		return model.Errorf(model.NotFound, "platform not found")
	}
	var hosts []string
	for _, c := range state.List[model.PlatformContextRow](tx, model.AttachmentsOf(id)) {
		hosts = append(hosts, c.HostID)
	}
	if err := inUse(tx, hosts, "platform %q is that of %d host(s): detach it there first", p.Name, len(hosts)); err != nil {
		return err
	}
	if n := len(state.Keys[model.MachineWork](tx, model.MachineWorkOfPlatform(id))); n > 0 {
		return model.Errorf(model.Conflict, "%d machine(s) of platform %q are still to be destroyed: look at the organization's machines, and delete those there that are to be left alone", n, p.Name)
	}
	dropOwned(tx, id)
	state.Delete[model.PlatformRow](tx, id)
	return nil
}

// ClonePlatform copies a platform with its settings, parameters and files with their contents. Errors: NotFound,
// Invalid, Conflict.
func ClonePlatform(tx *state.Tx, orgID, id, name string) (*model.PlatformRow, error) {
	from, ok := state.Get[model.PlatformRow](tx, id)
	if !ok || from.OrgID != orgID {
		return nil, model.Errorf(model.NotFound, "platform not found")
	}
	doc := from.Document
	doc.Name, doc.Settings = name, ownSettings(tx, OwnerOfKit(from))
	to, err := CreatePlatform(tx, orgID, doc)
	if err != nil {
		return nil, err
	}
	copyParts(&from.Kit, &to.Kit)
	return to, state.Put(tx, to)
}
