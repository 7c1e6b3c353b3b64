package orchestrate

import (
	"slices"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

func keyDoc(r state.Reader, k *model.ApplicationKeyRow) model.ApplicationKey {
	return model.ApplicationKey{
		UUID: k.ID, Version: k.Version, Name: k.Name, Description: k.Description, Organization: organizationName(r, k.OrgID),
		Creator: k.Creator, Created: model.FormatTime(k.Created), Method: k.Method, Group: k.Group,
		ExpirationDate: model.FormatTime(k.Expires), AccessKey: k.AccessKey, LastUsed: lastUsed(r, k.ID),
	}
}

// ApplicationKeys lists the application keys of an organization by name, without their secrets.
func ApplicationKeys(r state.Reader, orgID string) []model.ApplicationKey {
	out := []model.ApplicationKey{}
	rows := state.List[model.ApplicationKeyRow](r, model.ApplicationKeysOf(orgID))
	for _, k := range byName(rows, func(k *model.ApplicationKeyRow) string { return k.Name }) {
		out = append(out, keyDoc(r, k))
	}
	return out
}

// GetApplicationKey is one application key, without its secrets. Error: NotFound.
func GetApplicationKey(r state.Reader, orgID, name string) (model.ApplicationKey, error) {
	k, err := keyNamed(r, orgID, name)
	if err != nil {
		return model.ApplicationKey{}, err
	}
	return keyDoc(r, k), nil
}

func keyNamed(r state.Reader, orgID, name string) (*model.ApplicationKeyRow, error) {
	k, ok := state.Find[model.ApplicationKeyRow](r, model.ApplicationKeyNamed(orgID, name))
	if !ok {
		return nil, model.Errorf(model.NotFound, "application key %q not found", name)
	}
	return k, nil
}

// CreateApplicationKey makes an application key. The answer holds its secret, which is kept nowhere.
// Errors: NotFound (the organization), Invalid, Conflict (the name is taken).
func CreateApplicationKey(tx *state.Tx, orgID string, doc model.ApplicationKey, creator string) (model.ApplicationKey, error) {
	none := model.ApplicationKey{}
	if _, err := OrganizationByID(tx, orgID); err != nil {
		return none, err
	}
	if err := model.CheckName("application key", doc.Name); err != nil {
		return none, err
	}
	if doc.Method != model.KeyToken && doc.Method != model.KeyBasicAuth {
		return none, model.Errorf(model.Invalid, "method is %q: use TOKEN or BASIC_AUTH", doc.Method)
	}
	if !slices.Contains(model.GroupNames(), doc.Group) {
		return none, model.Errorf(model.Invalid, "group is %q: use admin, users, auditors, readonly, no access or architects", doc.Group)
	}
	if _, err := keyNamed(tx, orgID, doc.Name); err == nil {
		return none, taken409("application key", doc.Name)
	}
	expires, err := expiryOf(tx, doc.ExpirationDate)
	if err != nil {
		return none, err
	}
	k := &model.ApplicationKeyRow{
		ID: newID(), OrgID: orgID, Version: 1, Name: doc.Name, Description: doc.Description, Creator: creator, Created: tx.Now(),
		Method: doc.Method, Group: doc.Group, Expires: expires,
	}
	return newKeySecret(tx, k)
}

// expiryOf reads when a key is to end; zero is never. Error: Invalid (it is past: the key would be dead from the start).
func expiryOf(tx *state.Tx, text string) (time.Time, error) {
	at, err := model.ParseTime("expirationDate", text)
	if err == nil && !at.IsZero() && !at.After(tx.Now()) {
		err = model.Errorf(model.Invalid, "expirationDate is %s, which is past: give a time to come, or leave it out", text)
	}
	return at, err
}

// newKeySecret gives a key a new secret, writes it, and answers the document that shows it.
func newKeySecret(tx *state.Tx, k *model.ApplicationKeyRow) (model.ApplicationKey, error) {
	secret := newSecret()
	if k.Method == model.KeyToken {
		k.TokenHash = model.HashSecret(secret)
	} else {
		k.AccessKey, k.SecretHash = newSecret(), model.HashSecret(secret)
	}
	if err := state.Put(tx, k); err != nil {
		return model.ApplicationKey{}, err
	}
	doc := keyDoc(tx, k)
	if k.Method == model.KeyToken {
		doc.Token = secret
	} else {
		doc.SecretKey = secret
	}
	return doc, nil
}

// UpdateApplicationKey changes name, description and expiry of an application key. Errors: NotFound, Invalid, Conflict.
func UpdateApplicationKey(tx *state.Tx, orgID, name string, patch []byte) (model.ApplicationKey, error) {
	none := model.ApplicationKey{}
	found, err := keyNamed(tx, orgID, name)
	if err != nil {
		return none, err
	}
	k, _ := state.Edit[model.ApplicationKeyRow](tx, found.ID)
	doc, err := model.Merge(keyDoc(tx, k), patch)
	if err != nil {
		return none, err
	}
	if doc.Method != k.Method || doc.Group != k.Group {
		return none, model.Errorf(model.Invalid, "method and group of an application key cannot change: make another key")
	}
	if doc.Name != k.Name {
		if err := model.CheckName("application key", doc.Name); err != nil {
			return none, err
		}
		if _, err := keyNamed(tx, orgID, doc.Name); err == nil {
			return none, taken409("application key", doc.Name)
		}
	}
	if doc.ExpirationDate != model.FormatTime(k.Expires) { // a key that has expired can still be renamed
		if k.Expires, err = expiryOf(tx, doc.ExpirationDate); err != nil {
			return none, err
		}
	}
	k.Name, k.Description = doc.Name, doc.Description
	k.Version++
	return keyDoc(tx, k), state.Put(tx, k)
}

// ResetApplicationKey gives an application key a new secret, which the answer holds; the old one ends at once.
// Error: NotFound.
func ResetApplicationKey(tx *state.Tx, orgID, name string) (model.ApplicationKey, error) {
	found, err := keyNamed(tx, orgID, name)
	if err != nil {
		return model.ApplicationKey{}, err
	}
	k, _ := state.Edit[model.ApplicationKeyRow](tx, found.ID)
	k.Version++
	return newKeySecret(tx, k)
}

// DeleteApplicationKey deletes an application key. Error: NotFound.
func DeleteApplicationKey(tx *state.Tx, orgID, name string) error {
	k, err := keyNamed(tx, orgID, name)
	if err != nil {
		return err
	}
	dropKey(tx, k.ID)
	return nil
}

func dropKey(tx *state.Tx, id string) {
	state.Delete[model.ApplicationKeyRow](tx, id)
	state.Delete[model.LastUseRow](tx, id)
}
