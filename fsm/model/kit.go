package model

// Kit is what is kept alike of applications, platforms and distributions: things of an organization with a unique
// name, parameters, and files that have contents. It is embedded in their rows. Each of these also has a document,
// without what the server sets; files and parameters are in the document, their state is here, by name.
type Kit struct {
	ID         string               `json:"id"`
	OrgID      string               `json:"orgId"`
	Version    int                  `json:"version"`
	Name       string               `json:"name"`
	Locked     bool                 `json:"locked,omitempty"`
	Thumb      string               `json:"thumb,omitempty"` // digest of the picture
	Files      map[string]FileState `json:"files,omitempty"`
	Parameters map[string]FileState `json:"parameters,omitempty"`
}

// Base is the kit itself, whatever row it is embedded in.
func (k *Kit) Base() *Kit { return k }

// Key is the id.
func (k *Kit) Key() string { return k.ID }

// Ranges: those of the table in the organization, and the unique name there.
func (k *Kit) Ranges() []string {
	return []string{KitsOf(k.OrgID), KitNamed(k.OrgID, k.Name)}
}

// Parent is the organization.
func (k *Kit) Parent() (table, key string) { return "organization", k.OrgID }

// KitsOf is the range of an organization's rows in the table of a kit.
func KitsOf(orgID string) string { return "org/" + orgID }

// KitNamed is the unique range of a name in an organization, in the table of a kit.
func KitNamed(orgID, name string) string { return "name/" + orgID + "/" + name }

// Furnished is a row that embeds a Kit: *ApplicationRow, *PlatformRow, *DistributionRow.
type Furnished interface {
	// Table names the table, which is also the word for the thing.
	Table() string
	Base() *Kit
	// FileList and ParameterList are the lists of the document, to be read or replaced.
	FileList() *[]File
	ParameterList() *[]Parameter
	// Check refuses a document that is wrong, with one text per fault. Errors are Invalid.
	Check() error
}

// ParameterFor finds a parameter by its key, not its name; nil when there is none.
func ParameterFor(f Furnished, key string) *Parameter {
	list := *f.ParameterList()
	for i := range list {
		if list[i].Key == key {
			return &list[i]
		}
	}
	return nil
}

// FileNamed finds a file by name; nil when there is none.
func FileNamed(f Furnished, name string) *File {
	list := *f.FileList()
	for i := range list {
		if list[i].Name == name {
			return &list[i]
		}
	}
	return nil
}

// FileList is the list of files of the document.
func (a *ApplicationRow) FileList() *[]File { return &a.Document.Files }

// ParameterList is the list of parameters of the document.
func (a *ApplicationRow) ParameterList() *[]Parameter { return &a.Document.Parameters }

// Check validates the document.
func (a *ApplicationRow) Check() error { return a.Document.Validate() }

// clearParts drops what only the server sets of files and parameters.
func clearParts(files []File, parameters []Parameter) {
	for i := range files {
		files[i].UUID, files[i].Version = "", 0
		delete(files[i].carried, "uuid")
		delete(files[i].carried, "version")
	}
	for i := range parameters {
		parameters[i].UUID, parameters[i].Version = "", 0
		delete(parameters[i].carried, "uuid")
	}
}

// checkLists refuses the parts of a platform or a distribution: its files are templates without a place on a machine.
func (c *checker) checkLists(files []File, parameters []Parameter) {
	for i := range files {
		c.check(CheckName("file", files[i].Name))
		c.once("file name", files[i].Name)
		c.delimiter(&files[i])
	}
	for i := range parameters {
		p := &parameters[i]
		c.check(p.Validate())
		c.once("parameter name", p.Name)
		c.once("parameter key", p.Key)
	}
}

// delimiter refuses half a delimiter.
func (c *checker) delimiter(f *File) {
	if d := f.Delimiter; d != nil && (d.Start == "") != (d.End == "") {
		c.fail("file %q: delimiter needs both start and end: give both, or leave it out for ${ and }", f.Name)
	}
}

func (c *checker) err() error {
	if len(c.texts) == 0 {
		return nil
	}
	return &Error{Code: Invalid, Messages: c.texts}
}
