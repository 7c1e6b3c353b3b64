package orchestrate

import (
	"slices"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

func fileDoc(a *model.ApplicationRow, f *model.File) model.File {
	doc := *f
	st := a.Files[f.Name]
	doc.UUID, doc.Version = st.ID, st.Version
	return doc
}

// Files lists the files of an application in its order. Error: NotFound.
func Files(r state.Reader, orgID, appID string) ([]model.File, error) {
	a, err := applicationByID(r, orgID, appID)
	if err != nil {
		return nil, err
	}
	out := []model.File{}
	for i := range a.Document.Files {
		out = append(out, fileDoc(a, &a.Document.Files[i]))
	}
	return out, nil
}

func findFile(a *model.ApplicationRow, name string) (*model.File, error) {
	f := a.Document.File(name)
	if f == nil {
		return nil, model.Errorf(model.NotFound, "application %q has no file %q", a.Name, name)
	}
	return f, nil
}

// GetFile is one file of an application. Error: NotFound.
func GetFile(r state.Reader, orgID, appID, name string) (model.File, error) {
	a, err := applicationByID(r, orgID, appID)
	if err != nil {
		return model.File{}, err
	}
	f, err := findFile(a, name)
	if err != nil {
		return model.File{}, err
	}
	return fileDoc(a, f), nil
}

// clearFile drops what only the server sets.
func clearFile(doc model.File) model.File {
	a := model.Application{Files: []model.File{doc}}
	a.ClearServerFields()
	return a.Files[0]
}

// CreateFile adds a file to an application; hosts get it by the live action, or when they install the application.
// Errors: NotFound, Invalid, Conflict (the name is taken, the application is locked).
func CreateFile(tx *state.Tx, orgID, appID string, doc model.File) (model.File, error) {
	a, err := editApplication(tx, orgID, appID)
	if err != nil {
		return model.File{}, err
	}
	if a.Document.File(doc.Name) != nil {
		return model.File{}, taken409("file", doc.Name)
	}
	a.Document.Files = append(a.Document.Files, clearFile(doc))
	if err := putApplication(tx, a); err != nil {
		return model.File{}, err
	}
	return fileDoc(a, a.Document.File(doc.Name)), nil
}

// UpdateFile changes a file of an application. With another name, its content and the handlers that name it follow.
// Errors: NotFound, Invalid (also when the content is no template with the new delimiter), Conflict.
func UpdateFile(tx *state.Tx, orgID, appID, name string, patch []byte) (model.File, error) {
	a, err := editApplication(tx, orgID, appID)
	if err != nil {
		return model.File{}, err
	}
	f, err := findFile(a, name)
	if err != nil {
		return model.File{}, err
	}
	doc, err := model.Merge(*f, patch)
	if err != nil {
		return model.File{}, err
	}
	st := a.Files[name]
	st.Version++
	if doc.Name != name {
		if a.Document.File(doc.Name) != nil {
			return model.File{}, taken409("file", doc.Name)
		}
		delete(a.Files, name)
		followFile(&a.Document, name, doc.Name)
	}
	if err := checkTemplate(&doc, contentOf(tx, st)); err != nil {
		return model.File{}, err
	}
	*f = clearFile(doc)
	a.Files[doc.Name] = st
	if err := putApplication(tx, a); err != nil {
		return model.File{}, err
	}
	return fileDoc(a, f), nil
}

func contentOf(r state.Reader, st model.FileState) []byte {
	if st.Content == "" {
		return nil
	}
	content, _ := state.Content(r, st.Content)
	return content
}

// DeleteFile removes a file from an application; it stays on the hosts that have it. Errors: NotFound, Conflict (a
// handler names it, the application is locked).
func DeleteFile(tx *state.Tx, orgID, appID, name string) error {
	a, err := editApplication(tx, orgID, appID)
	if err != nil {
		return err
	}
	if _, err := findFile(a, name); err != nil {
		return err
	}
	for i, h := range a.Document.Handlers {
		for _, do := range h.Do {
			if kind, file, _ := do.Target(); kind == "file" && file == name {
				return model.Errorf(model.Conflict, "handler %d of application %q names the file %q: change the handler first", i+1, a.Name, name)
			}
		}
	}
	a.Document.Files = slices.DeleteFunc(a.Document.Files, func(f model.File) bool { return f.Name == name })
	return putApplication(tx, a)
}

// FileContent is the content of a file as it was uploaded, empty before that (contract section 4.5). Error: NotFound.
func FileContent(r state.Reader, orgID, appID, name string) ([]byte, error) {
	a, err := applicationByID(r, orgID, appID)
	if err != nil {
		return nil, err
	}
	if _, err := findFile(a, name); err != nil {
		return nil, err
	}
	return contentOf(r, a.Files[name]), nil
}

// PutFileContent replaces the content of a file. A text must be a template that can be read. A content that is too
// large for a commit is staged before (state.StageContent). Hosts get it by the live action or a handler.
// Errors: NotFound, Invalid (the template's error, with line and column), Conflict (locked), TooLarge.
func PutFileContent(tx *state.Tx, orgID, appID, name string, content []byte) error {
	a, err := editApplication(tx, orgID, appID)
	if err != nil {
		return err
	}
	f, err := findFile(a, name)
	if err != nil {
		return err
	}
	if err := checkTemplate(f, content); err != nil {
		return err
	}
	st := a.Files[name]
	if st.Content == state.Digest(content) {
		return nil
	}
	if st.Content, err = state.PutContent(tx, content); err != nil {
		return err
	}
	st.Version++
	a.Files[name] = st
	return putApplication(tx, a)
}

func parameterDoc(a *model.ApplicationRow, p *model.Parameter) model.Parameter {
	doc := *p
	doc.UUID = a.Parameters[p.Name].ID
	return doc
}

func findParameter(a *model.ApplicationRow, name string) (*model.Parameter, error) {
	for i := range a.Document.Parameters {
		if a.Document.Parameters[i].Name == name {
			return &a.Document.Parameters[i], nil
		}
	}
	return nil, model.Errorf(model.NotFound, "application %q has no parameter %q", a.Name, name)
}

// Parameters lists the parameters of an application in its order. Error: NotFound.
func Parameters(r state.Reader, orgID, appID string) ([]model.Parameter, error) {
	a, err := applicationByID(r, orgID, appID)
	if err != nil {
		return nil, err
	}
	out := []model.Parameter{}
	for i := range a.Document.Parameters {
		out = append(out, parameterDoc(a, &a.Document.Parameters[i]))
	}
	return out, nil
}

// GetParameter is one parameter of an application by its name, not its key. Error: NotFound.
func GetParameter(r state.Reader, orgID, appID, name string) (model.Parameter, error) {
	a, err := applicationByID(r, orgID, appID)
	if err != nil {
		return model.Parameter{}, err
	}
	p, err := findParameter(a, name)
	if err != nil {
		return model.Parameter{}, err
	}
	return parameterDoc(a, p), nil
}

// clearParameter drops what only the server sets.
func clearParameter(doc model.Parameter, version int) model.Parameter {
	a := model.Application{Parameters: []model.Parameter{doc}}
	a.ClearServerFields()
	a.Parameters[0].Version = version
	return a.Parameters[0]
}

// CreateParameter adds a parameter to an application. Handlers on its key run where its default now holds.
// Errors: NotFound, Invalid, Conflict (the name is taken, the application is locked).
func CreateParameter(tx *state.Tx, orgID, appID string, doc model.Parameter) (model.Parameter, error) {
	a, err := editApplication(tx, orgID, appID)
	if err != nil {
		return model.Parameter{}, err
	}
	if _, err := findParameter(a, doc.Name); err == nil {
		return model.Parameter{}, taken409("parameter", doc.Name)
	}
	a.Document.Parameters = append(a.Document.Parameters, clearParameter(doc, 1))
	if err := putDefaults(tx, a, doc.Key); err != nil {
		return model.Parameter{}, err
	}
	return GetParameter(tx, orgID, appID, doc.Name)
}

// putDefaults writes an application whose parameter with the key changed, and queues what that sets off.
func putDefaults(tx *state.Tx, a *model.ApplicationRow, keys ...string) error {
	all := model.Owner{Level: model.LevelOrganization, OrgID: a.OrgID, ID: a.OrgID}
	return withHandlers(tx, all, keys, Trigger{Handlers: true}, func() error { return putApplication(tx, a) })
}

// UpdateParameter changes a parameter of an application, found by its name. Handlers on its key run where its
// default holds and changes. Errors: NotFound, Invalid, Conflict.
func UpdateParameter(tx *state.Tx, orgID, appID, name string, patch []byte) (model.Parameter, error) {
	a, err := editApplication(tx, orgID, appID)
	if err != nil {
		return model.Parameter{}, err
	}
	p, err := findParameter(a, name)
	if err != nil {
		return model.Parameter{}, err
	}
	doc, err := model.Merge(*p, patch)
	if err != nil {
		return model.Parameter{}, err
	}
	if doc.Name != name {
		if _, err := findParameter(a, doc.Name); err == nil {
			return model.Parameter{}, taken409("parameter", doc.Name)
		}
		a.Parameters[doc.Name] = a.Parameters[name]
	}
	key := p.Key
	*p = clearParameter(doc, p.Version+1)
	if err := putDefaults(tx, a, key, doc.Key); err != nil {
		return model.Parameter{}, err
	}
	return GetParameter(tx, orgID, appID, doc.Name)
}

// DeleteParameter removes a parameter from an application. Errors: NotFound, Conflict (locked).
func DeleteParameter(tx *state.Tx, orgID, appID, name string) error {
	a, err := editApplication(tx, orgID, appID)
	if err != nil {
		return err
	}
	p, err := findParameter(a, name)
	if err != nil {
		return err
	}
	key := p.Key
	a.Document.Parameters = slices.DeleteFunc(a.Document.Parameters, func(o model.Parameter) bool { return o.Name == name })
	return putDefaults(tx, a, key)
}
