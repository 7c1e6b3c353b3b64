package orchestrate

import (
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// kitByID finds an application, a platform or a distribution of an organization. Error: NotFound.
func kitByID(r state.Reader, orgID, id string) (model.Furnished, error) {
	var k model.Furnished
	if a, ok := state.Get[model.ApplicationRow](r, id); ok {
		k = a
	} else if p, ok := state.Get[model.PlatformRow](r, id); ok {
		k = p
	} else if d, ok := state.Get[model.DistributionRow](r, id); ok {
		k = d
	}
	if k == nil || k.Base().OrgID != orgID {
		return nil, model.Errorf(model.NotFound, "application, platform or distribution not found")
	}
	return k, nil
}

// editKit finds one that may be changed. Errors: NotFound, Conflict (it is locked).
func editKit(tx *state.Tx, orgID, id string) (model.Furnished, error) {
	k, err := kitByID(tx, orgID, id)
	if err != nil {
		return nil, err
	}
	switch k.(type) {
	case *model.ApplicationRow:
		k, _ = state.Edit[model.ApplicationRow](tx, id)
	case *model.PlatformRow:
		k, _ = state.Edit[model.PlatformRow](tx, id)
	case *model.DistributionRow:
		k, _ = state.Edit[model.DistributionRow](tx, id)
	}
	return k, unlocked(k)
}

// unlocked refuses what is locked. Error: Conflict.
func unlocked(k model.Furnished) error {
	if k.Base().Locked {
		return model.Errorf(model.Conflict, "%s %q is locked: unlock it first", k.Table(), k.Base().Name)
	}
	return nil
}

// putKit validates and writes what became of an application, a platform or a distribution.
func putKit(tx *state.Tx, k model.Furnished) error {
	if err := k.Check(); err != nil {
		return err
	}
	k.Base().Version++
	completeParts(k)
	return storeKit(tx, k)
}

func storeKit(tx *state.Tx, k model.Furnished) error {
	switch row := k.(type) {
	case *model.ApplicationRow:
		return state.Put(tx, row)
	case *model.PlatformRow:
		return state.Put(tx, row)
	case *model.DistributionRow:
		return state.Put(tx, row)
	}
	return model.Errorf(model.Internal, "there is no table for %T", k)
}

// newKit is the base of a new row.
func newKit(orgID, name string) model.Kit {
	return model.Kit{ID: newID(), OrgID: orgID, Version: 1, Name: name}
}

// completeParts gives files and parameters their ids, and forgets those that are gone.
func completeParts(k model.Furnished) {
	base := k.Base()
	files := map[string]model.FileState{}
	for _, f := range *k.FileList() {
		st, ok := base.Files[f.Name]
		if !ok {
			st = model.FileState{ID: newID(), Version: 1}
		}
		files[f.Name] = st
	}
	params := map[string]model.FileState{}
	for _, p := range *k.ParameterList() {
		st, ok := base.Parameters[p.Name]
		if !ok {
			st = model.FileState{ID: newID()}
		}
		st.Version = p.Version
		params[p.Name] = st
	}
	base.Files, base.Parameters = files, params
}

// firstVersions numbers the parameters of a new document.
func firstVersions(params []model.Parameter) {
	for i := range params {
		params[i].Version = 1
	}
}

// copyParts gives a clone the contents of the files and the picture.
func copyParts(from, to *model.Kit) {
	for file, st := range from.Files {
		copied := to.Files[file]
		copied.Content = st.Content
		to.Files[file] = copied
	}
	to.Thumb = from.Thumb
}

// shownParts are the files and parameters of a document with what the server sets, and secret defaults as show says.
func shownParts(k model.Furnished, show Show) (files []model.File, params []model.Parameter) {
	files, params = []model.File{}, []model.Parameter{}
	for i := range *k.FileList() {
		files = append(files, fileDoc(k, &(*k.FileList())[i]))
	}
	for i := range *k.ParameterList() {
		params = append(params, parameterDoc(k, &(*k.ParameterList())[i], show))
	}
	return files, params
}

// OwnerOfKit names a platform or distribution as the owner of settings.
func OwnerOfKit(k model.Furnished) model.Owner {
	return model.Owner{Level: model.Level(k.Table()), OrgID: k.Base().OrgID, ID: k.Base().ID}
}

// lockKit protects from changes, files and parameters included, or ends that. Error: NotFound.
func lockKit(tx *state.Tx, orgID, id string, locked bool) error {
	k, err := editKit(tx, orgID, id)
	if k == nil {
		return err
	}
	k.Base().Locked = locked
	k.Base().Version++
	return storeKit(tx, k)
}

// Thumb is the picture of an application or a distribution. Error: NotFound.
func Thumb(r state.Reader, orgID, ofID string) ([]byte, error) {
	k, err := kitByID(r, orgID, ofID)
	if err != nil {
		return nil, err
	}
	if thumb := k.Base().Thumb; thumb != "" {
		if content, ok := state.Content(r, orgID, thumb); ok {
			return content, nil
		}
	}
	return nil, model.Errorf(model.NotFound, "%s %q has no picture", k.Table(), k.Base().Name)
}

// PutThumb replaces the picture of an application or a distribution. Errors: NotFound, Conflict (locked), TooLarge.
func PutThumb(tx *state.Tx, orgID, ofID string, content []byte) error {
	k, err := editKit(tx, orgID, ofID)
	if err != nil {
		return err
	}
	if k.Base().Thumb, err = state.PutContent(tx, orgID, content); err != nil {
		return err
	}
	k.Base().Version++
	return storeKit(tx, k)
}
