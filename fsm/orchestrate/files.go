package orchestrate

import (
	"encoding/json"
	"slices"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// The verbs of this file serve applications, platforms and distributions alike: ofID is the id of any of them.

// fileDoc shows a file. A file of a platform or distribution always tells its delimiter (contract section 3.4).
func fileDoc(k model.Furnished, f *model.File) model.File {
	doc := *f
	st := k.Base().Files[f.Name]
	doc.UUID, doc.Version = st.ID, st.Version
	if _, app := k.(*model.ApplicationRow); !app && doc.Delimiter == nil {
		start, end := f.Marks()
		doc.Delimiter = &model.Delimiter{Start: start, End: end}
	}
	return doc
}

// Files lists the files in their order. Error: NotFound.
func Files(r state.Reader, orgID, ofID string) ([]model.File, error) {
	k, err := kitByID(r, orgID, ofID)
	if err != nil {
		return nil, err
	}
	out := []model.File{}
	for i := range *k.FileList() {
		out = append(out, fileDoc(k, &(*k.FileList())[i]))
	}
	return out, nil
}

func findFile(k model.Furnished, name string) (*model.File, error) {
	f := model.FileNamed(k, name)
	if f == nil {
		return nil, model.Errorf(model.NotFound, "%s %q has no file %q", k.Table(), k.Base().Name, name)
	}
	return f, nil
}

// GetFile is one file. Error: NotFound.
func GetFile(r state.Reader, orgID, ofID, name string) (model.File, error) {
	k, err := kitByID(r, orgID, ofID)
	if err != nil {
		return model.File{}, err
	}
	f, err := findFile(k, name)
	if err != nil {
		return model.File{}, err
	}
	return fileDoc(k, f), nil
}

// clearFile drops what only the server sets.
func clearFile(doc model.File) model.File {
	a := model.Application{Files: []model.File{doc}}
	a.ClearServerFields()
	return a.Files[0]
}

// CreateFile adds a file. Hosts that have the application get it with its content, which is uploaded by itself: until then it
// would be an empty one.
// Errors: NotFound, Invalid, Conflict (the name is taken, it is locked).
func CreateFile(tx *state.Tx, orgID, ofID string, doc model.File) (model.File, error) {
	k, err := editKit(tx, orgID, ofID)
	if err != nil {
		return model.File{}, err
	}
	if model.FileNamed(k, doc.Name) != nil {
		return model.File{}, taken409("file", doc.Name)
	}
	*k.FileList() = append(*k.FileList(), clearFile(doc))
	if err := putKit(tx, k); err != nil {
		return model.File{}, err
	}
	return fileDoc(k, model.FileNamed(k, doc.Name)), nil
}

// putFiles stores a row whose files were changed. What that comes to is queued on the hosts that have the application; files of
// platforms and distributions are read when a machine is made.
func putFiles(tx *state.Tx, orgID string, k model.Furnished) error {
	if a, ok := k.(*model.ApplicationRow); ok {
		return applyEdit(tx, orgID, a.ID, false, func() error { return putKit(tx, a) })
	}
	return putKit(tx, k)
}

// UpdateFile changes a file. With another name, its content and the handlers that name it follow. Hosts that have its application
// get what differs.
// Errors: NotFound, Invalid (also when the content is no template with the new delimiter), Conflict.
func UpdateFile(tx *state.Tx, orgID, ofID, name string, patch []byte) (model.File, error) {
	k, err := editKit(tx, orgID, ofID)
	if err != nil {
		return model.File{}, err
	}
	f, err := findFile(k, name)
	if err != nil {
		return model.File{}, err
	}
	doc, err := model.Merge(*f, patch)
	if err != nil {
		return model.File{}, err
	}
	st := k.Base().Files[name]
	st.Version++
	if doc.Name != name {
		if model.FileNamed(k, doc.Name) != nil {
			return model.File{}, taken409("file", doc.Name)
		}
		delete(k.Base().Files, name)
		if a, ok := k.(*model.ApplicationRow); ok {
			followFile(&a.Document, name, doc.Name)
		}
	}
	if err := checkTemplate(&doc, contentOf(tx, orgID, st)); err != nil {
		return model.File{}, err
	}
	*f = clearFile(doc)
	k.Base().Files[doc.Name] = st
	if err := putFiles(tx, orgID, k); err != nil {
		return model.File{}, err
	}
	return fileDoc(k, f), nil
}

func contentOf(r state.Reader, orgID string, st model.FileState) []byte {
	if st.Content == "" {
		return nil
	}
	content, _ := state.Content(r, orgID, st.Content)
	return content
}

// DeleteFile removes a file, from the hosts that have its application as well, unless another application declares it.
// Errors: NotFound, Conflict (a handler names it, it is locked).
func DeleteFile(tx *state.Tx, orgID, ofID, name string) error {
	k, err := editKit(tx, orgID, ofID)
	if err != nil {
		return err
	}
	if _, err := findFile(k, name); err != nil {
		return err
	}
	if a, ok := k.(*model.ApplicationRow); ok {
		if err := unnamed(a, name); err != nil {
			return err
		}
	}
	*k.FileList() = slices.DeleteFunc(*k.FileList(), func(f model.File) bool { return f.Name == name })
	return putFiles(tx, orgID, k)
}

// unnamed refuses to take a file away that a handler names. Error: Conflict.
func unnamed(a *model.ApplicationRow, name string) error {
	for i, h := range a.Document.Handlers {
		for _, do := range h.Do {
			if kind, file, _ := do.Target(); kind == "file" && file == name {
				return model.Errorf(model.Conflict, "handler %d of application %q names the file %q: change the handler first", i+1, a.Name, name)
			}
		}
	}
	return nil
}

// FileContent is the content of a file as it was uploaded, empty before that (contract section 4.5). Error: NotFound.
func FileContent(r state.Reader, orgID, ofID, name string) ([]byte, error) {
	k, err := kitByID(r, orgID, ofID)
	if err != nil {
		return nil, err
	}
	if _, err := findFile(k, name); err != nil {
		return nil, err
	}
	return contentOf(r, orgID, k.Base().Files[name]), nil
}

// PutFileContent replaces the content of a file. A text must be a template that can be read. A content that is too
// large for a commit is staged before (state.StageContent). Hosts that have its application get the file, rendered for each.
// Errors: NotFound, Invalid (the template's error, with line and column), Conflict (locked), TooLarge.
func PutFileContent(tx *state.Tx, orgID, ofID, name string, content []byte) error {
	k, err := editKit(tx, orgID, ofID)
	if err != nil {
		return err
	}
	f, err := findFile(k, name)
	if err != nil {
		return err
	}
	if err := checkTemplate(f, content); err != nil {
		return err
	}
	st := k.Base().Files[name]
	if st.Content == state.Digest(content) {
		return nil
	}
	if st.Content, err = state.PutContent(tx, orgID, content); err != nil {
		return err
	}
	st.Version++
	k.Base().Files[name] = st
	return putFiles(tx, orgID, k)
}

// parameterDoc masks a secret default for whom secret settings are left out: the parameter itself is no secret.
func parameterDoc(k model.Furnished, p *model.Parameter, show Show) model.Parameter {
	doc := *p
	if len(doc.Value) > 0 && isSecret(doc.Schema) {
		if show.NoSecret || show.Obfuscate {
			doc.Value = json.RawMessage(mask)
		} else {
			show.clear()
		}
	}
	doc.UUID = k.Base().Parameters[p.Name].ID
	return doc
}

func findParameter(k model.Furnished, name string) (*model.Parameter, error) {
	list := *k.ParameterList()
	for i := range list {
		if list[i].Name == name {
			return &list[i], nil
		}
	}
	return nil, model.Errorf(model.NotFound, "%s %q has no parameter %q", k.Table(), k.Base().Name, name)
}

// Parameters lists the parameters in their order, secret defaults as show says. Error: NotFound.
func Parameters(r state.Reader, orgID, ofID string, show Show) ([]model.Parameter, error) {
	k, err := kitByID(r, orgID, ofID)
	if err != nil {
		return nil, err
	}
	out := []model.Parameter{}
	for i := range *k.ParameterList() {
		out = append(out, parameterDoc(k, &(*k.ParameterList())[i], show))
	}
	return out, nil
}

// GetParameter is one parameter by its name, not its key, a secret default as show says. Error: NotFound.
func GetParameter(r state.Reader, orgID, ofID, name string, show Show) (model.Parameter, error) {
	k, err := kitByID(r, orgID, ofID)
	if err != nil {
		return model.Parameter{}, err
	}
	p, err := findParameter(k, name)
	if err != nil {
		return model.Parameter{}, err
	}
	return parameterDoc(k, p, show), nil
}

// clearParameter drops what only the server sets.
func clearParameter(doc model.Parameter, version int) model.Parameter {
	a := model.Application{Parameters: []model.Parameter{doc}}
	a.ClearServerFields()
	a.Parameters[0].Version = version
	return a.Parameters[0]
}

// CreateParameter adds a parameter. Handlers on its key run where its default now holds.
// Errors: NotFound, Invalid, Conflict (the name is taken, it is locked).
func CreateParameter(tx *state.Tx, orgID, ofID string, doc model.Parameter) (model.Parameter, error) {
	k, err := editKit(tx, orgID, ofID)
	if err != nil {
		return model.Parameter{}, err
	}
	if _, err := findParameter(k, doc.Name); err == nil {
		return model.Parameter{}, taken409("parameter", doc.Name)
	}
	if err := checkParameter(&doc); err != nil {
		return model.Parameter{}, err
	}
	*k.ParameterList() = append(*k.ParameterList(), clearParameter(doc, 1))
	if err := putDefaults(tx, k, doc.Key); err != nil {
		return model.Parameter{}, err
	}
	return GetParameter(tx, orgID, ofID, doc.Name, Show{})
}

// putDefaults writes a thing whose parameter with the key changed, and queues what that sets off.
func putDefaults(tx *state.Tx, k model.Furnished, keys ...string) error {
	all := model.Owner{Level: model.LevelOrganization, OrgID: k.Base().OrgID, ID: k.Base().OrgID}
	return withHandlers(tx, all, keys, Trigger{Handlers: true}, func() error { return putKit(tx, k) })
}

// UpdateParameter changes a parameter, found by its name. Handlers on its key run where its
// default holds and changes. The mask of a secret default leaves it as it is; with another schema the default must be
// sent, so that nobody opens a secret that he may not see, or finds it out by what fits. Errors: NotFound, Invalid, Conflict.
func UpdateParameter(tx *state.Tx, orgID, ofID, name string, patch []byte) (model.Parameter, error) {
	k, err := editKit(tx, orgID, ofID)
	if err != nil {
		return model.Parameter{}, err
	}
	p, err := findParameter(k, name)
	if err != nil {
		return model.Parameter{}, err
	}
	doc, err := model.Merge(*p, patch)
	if err != nil {
		return model.Parameter{}, err
	}
	if isSecret(p.Schema) && len(p.Value) > 0 && (string(doc.Value) == mask || !model.Sends(patch, "value")) {
		if doc.Value = p.Value; !isSecret(doc.Schema) {
			return model.Parameter{}, model.Errorf(model.Invalid, "parameter %q is secret: give its value, another one or none, with a schema that is not", name)
		}
		if !sameJSON(doc.Schema, p.Schema) { // whether the default fits would tell of it
			return model.Parameter{}, model.Errorf(model.Invalid, "parameter %q has a secret default: give it again, another one or none, with another schema", name)
		}
	}
	if doc.Name != name {
		if _, err := findParameter(k, doc.Name); err == nil {
			return model.Parameter{}, taken409("parameter", doc.Name)
		}
		k.Base().Parameters[doc.Name] = k.Base().Parameters[name]
	}
	if err := checkParameter(&doc); err != nil {
		return model.Parameter{}, err
	}
	key := p.Key
	*p = clearParameter(doc, p.Version+1)
	if err := putDefaults(tx, k, key, doc.Key); err != nil {
		return model.Parameter{}, err
	}
	return GetParameter(tx, orgID, ofID, doc.Name, Show{})
}

// DeleteParameter removes a parameter. Errors: NotFound, Conflict (locked).
func DeleteParameter(tx *state.Tx, orgID, ofID, name string) error {
	k, err := editKit(tx, orgID, ofID)
	if err != nil {
		return err
	}
	p, err := findParameter(k, name)
	if err != nil {
		return err
	}
	key := p.Key
	*k.ParameterList() = slices.DeleteFunc(*k.ParameterList(), func(o model.Parameter) bool { return o.Name == name })
	return putDefaults(tx, k, key)
}
