package orchestrate

import (
	"crypto/ed25519"
	"crypto/rand"
	"strings"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// CreateOrganization creates an organization with its settings and its signing key. creatorID, a user's id,
// becomes a member of the admin group unless it is "". filled adds an environment, a platform, a
// distribution and an application to begin with.
// Errors: Invalid, Conflict (the name is taken).
func CreateOrganization(tx *state.Tx, doc model.Organization, creatorID string, filled bool) (*model.OrganizationRow, error) {
	if err := model.CheckName("organization", doc.Name); err != nil {
		return nil, err
	}
	if _, taken := state.Find[model.OrganizationRow](tx, model.OrganizationNamed(doc.Name)); taken {
		return nil, taken409("organization", doc.Name)
	}
	o := &model.OrganizationRow{
		ID: newID(), Version: 1, Name: doc.Name, Description: doc.Description,
		AccessKey: newSecret(), SecretKey: newSecret(), Created: tx.Now(),
	}
	if err := state.Put(tx, o); err != nil {
		return nil, err
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, model.Errorf(model.Internal, "no signing key could be made: %v", err)
	}
	if err := PutSigningKey(tx, o.ID, key); err != nil {
		return nil, err
	}
	owner := OwnerOfOrganization(o)
	if err := createSettings(tx, owner, doc.Settings); err != nil {
		return nil, err
	}
	if creatorID != "" {
		g := &model.GroupRow{Owner: owner, Name: model.GroupAdmin, Version: 1, Users: []string{creatorID}}
		if err := state.Put(tx, g); err != nil {
			return nil, err
		}
	}
	if filled {
		return o, populate(tx, o.ID)
	}
	return o, nil
}

func taken409(kind, name string) error {
	return model.Errorf(model.Conflict, "the %s name %q is taken already: choose another", kind, name)
}

// newSecret makes an access key or secret of 32 characters, upper-case letters and digits: 160 random bits.
func newSecret() string { return rand.Text() + rand.Text()[:6] }

// named is what an update of a named entity may change beside its own fields.
type named struct {
	Name        string `json:"name"`
	Description string `json:"description"`
}

// mergeNamed lays a patch over name and description, and says whether the name is another one.
func mergeNamed(kind, name, description string, patch []byte) (n named, renamed bool, err error) {
	n, err = model.Merge(named{Name: name, Description: description}, patch)
	if err != nil {
		return n, false, err
	}
	if n.Name == name {
		return n, false, nil
	}
	return n, true, model.CheckName(kind, n.Name)
}

// UpdateOrganization changes name and description. Errors: NotFound, Invalid, Conflict (the name is taken).
func UpdateOrganization(tx *state.Tx, orgID string, patch []byte) (*model.OrganizationRow, error) {
	o, ok := state.Edit[model.OrganizationRow](tx, orgID)
	if !ok {
		return nil, model.Errorf(model.NotFound, "organization not found")
	}
	n, renamed, err := mergeNamed("organization", o.Name, o.Description, patch)
	if err != nil {
		return nil, err
	}
	if renamed {
		if _, taken := state.Find[model.OrganizationRow](tx, model.OrganizationNamed(n.Name)); taken {
			return nil, taken409("organization", n.Name)
		}
		if err := moveLinks(tx, orgID, "organizations/"+o.Name, "organizations/"+n.Name); err != nil {
			return nil, err
		}
	}
	o.Name, o.Description = n.Name, n.Description
	o.Version++
	return o, state.Put(tx, o)
}

// ResetAccess gives an organization a new secret key. Error: NotFound.
func ResetAccess(tx *state.Tx, orgID string) (model.Access, error) {
	o, ok := state.Edit[model.OrganizationRow](tx, orgID)
	if !ok {
		return model.Access{}, model.Errorf(model.NotFound, "organization not found")
	}
	o.SecretKey = newSecret()
	o.Version++
	return model.Access{AccessKey: o.AccessKey, SecretKey: o.SecretKey}, state.Put(tx, o)
}

// DeleteOrganization deletes an organization with all that it holds, in one transaction. Errors: NotFound, Conflict (a host
// still has an instance).
func DeleteOrganization(tx *state.Tx, orgID string) error {
	o, err := OrganizationByID(tx, orgID)
	if err != nil {
		return err
	}
	if err := mayGo(tx, o, nil); err != nil {
		return err
	}
	dropAll(tx).organization(orgID)
	return nil
}

// CreateEnvironment creates an environment with its settings. Errors: NotFound, Invalid, Conflict.
func CreateEnvironment(tx *state.Tx, orgID string, doc model.Environment) (*model.EnvironmentRow, error) {
	if _, err := OrganizationByID(tx, orgID); err != nil {
		return nil, err
	}
	if err := model.CheckName("environment", doc.Name); err != nil {
		return nil, err
	}
	if _, taken := state.Find[model.EnvironmentRow](tx, model.EnvironmentNamed(orgID, doc.Name)); taken {
		return nil, taken409("environment", doc.Name)
	}
	e := &model.EnvironmentRow{ID: newID(), OrgID: orgID, Version: 1, Name: doc.Name, Description: doc.Description}
	if err := state.Put(tx, e); err != nil {
		return nil, err
	}
	return e, createSettings(tx, OwnerOfEnvironment(e), doc.Settings)
}

// UpdateEnvironment changes name and description. Errors: NotFound, Invalid, Conflict (the name is taken).
func UpdateEnvironment(tx *state.Tx, orgID, envID string, patch []byte) (*model.EnvironmentRow, error) {
	if _, err := environmentByID(tx, orgID, envID); err != nil {
		return nil, err
	}
	e, _ := state.Edit[model.EnvironmentRow](tx, envID)
	n, renamed, err := mergeNamed("environment", e.Name, e.Description, patch)
	if err != nil {
		return nil, err
	}
	if renamed {
		if _, taken := state.Find[model.EnvironmentRow](tx, model.EnvironmentNamed(orgID, n.Name)); taken {
			return nil, taken409("environment", n.Name)
		}
		was := ownerPath(tx, OwnerOfEnvironment(e))
		if err := moveLinks(tx, orgID, was, strings.TrimSuffix(was, e.Name)+n.Name); err != nil {
			return nil, err
		}
	}
	e.Name, e.Description = n.Name, n.Description
	e.Version++
	return e, state.Put(tx, e)
}

// DeleteEnvironment deletes an environment with its hosts, all of which are DEFINED, in one transaction. Errors: NotFound,
// Conflict (InUse: hosts with an instance).
func DeleteEnvironment(tx *state.Tx, orgID, envID string) error {
	e, err := environmentByID(tx, orgID, envID)
	if err != nil {
		return err
	}
	if err := mayGo(tx, nil, e); err != nil {
		return err
	}
	dropAll(tx).environment(e)
	return nil
}

// CloneEnvironment copies an environment and its hosts, which come out DEFINED (contract section 4.1).
// Errors: NotFound, Invalid, Conflict.
func CloneEnvironment(tx *state.Tx, orgID, envID, name string) (*model.EnvironmentRow, error) {
	from, err := environmentByID(tx, orgID, envID)
	if err != nil {
		return nil, err
	}
	to, err := CreateEnvironment(tx, orgID, model.Environment{
		Name: name, Description: from.Description, Settings: ownSettings(tx, OwnerOfEnvironment(from)),
	})
	if err != nil {
		return nil, err
	}
	for _, h := range Hosts(tx, orgID, envID) {
		if _, err := copyHost(tx, h, to.ID, h.Name); err != nil {
			return nil, err
		}
	}
	return to, nil
}
