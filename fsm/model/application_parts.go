package model

import "encoding/json"

// The types of this file come back as they were given, unknown fields and empty values included
// (contract section 3.5): that is what their carried fields are for.

// Delimiter marks what a template replaces; the default is ${ and }.
type Delimiter struct {
	Start string `json:"start"`
	End   string `json:"end"`

	carried carried
}

type delimiterFields Delimiter

// UnmarshalJSON reads the document and carries the rest along.
func (d *Delimiter) UnmarshalJSON(data []byte) error {
	var got delimiterFields
	rest, err := readCarried(data, &got)
	got.carried = rest
	*d = Delimiter(got)
	return err
}

// MarshalJSON writes the document with what it carries.
func (d Delimiter) MarshalJSON() ([]byte, error) {
	given := delimiterFields(d)
	return writeCarried(&given, d.carried)
}

// Template says how the content of a file is read.
type Template struct {
	Name       string      `json:"name"`
	Delimiter  *Delimiter  `json:"delimiter"`
	Parameters []Parameter `json:"parameters"`

	carried carried
}

type templateFields Template

// UnmarshalJSON reads the document and carries the rest along.
func (t *Template) UnmarshalJSON(data []byte) error {
	var got templateFields
	rest, err := readCarried(data, &got)
	got.carried = rest
	*t = Template(got)
	return err
}

// MarshalJSON writes the document with what it carries.
func (t Template) MarshalJSON() ([]byte, error) {
	given := templateFields(t)
	return writeCarried(&given, t.carried)
}

// File is a file of an application (contract section 3.5), a platform or a distribution (section 3.4): the last two
// give name and delimiter only.
type File struct {
	UUID     string    `json:"uuid"`
	Version  int       `json:"version"`
	Name     string    `json:"name"`
	Path     string    `json:"path"`
	Owner    string    `json:"owner"`
	Group    string    `json:"group"`
	Mode     string    `json:"mode"`
	Template *Template `json:"template"`
	// Delimiter is that of a file of a platform or distribution, which has no template.
	Delimiter *Delimiter `json:"delimiter"`

	carried carried
}

type fileFields File

// UnmarshalJSON reads the document and carries the rest along.
func (f *File) UnmarshalJSON(data []byte) error {
	var got fileFields
	rest, err := readCarried(data, &got)
	got.carried = rest
	*f = File(got)
	return err
}

// MarshalJSON writes the document with what it carries.
func (f File) MarshalJSON() ([]byte, error) {
	given := fileFields(f)
	return writeCarried(&given, f.carried)
}

// Package is a package of an application.
type Package struct {
	Name string `json:"name"`

	carried carried
}

type packageFields Package

// UnmarshalJSON reads the document and carries the rest along.
func (p *Package) UnmarshalJSON(data []byte) error {
	var got packageFields
	rest, err := readCarried(data, &got)
	got.carried = rest
	*p = Package(got)
	return err
}

// MarshalJSON writes the document with what it carries.
func (p Package) MarshalJSON() ([]byte, error) {
	given := packageFields(p)
	return writeCarried(&given, p.carried)
}

// Service is a service of an application.
type Service struct {
	Name    string `json:"name"`
	Enabled bool   `json:"enabled"`

	carried carried
}

type serviceFields Service

// UnmarshalJSON reads the document and carries the rest along.
func (s *Service) UnmarshalJSON(data []byte) error {
	var got serviceFields
	rest, err := readCarried(data, &got)
	got.carried = rest
	*s = Service(got)
	return err
}

// MarshalJSON writes the document with what it carries.
func (s Service) MarshalJSON() ([]byte, error) {
	given := serviceFields(s)
	return writeCarried(&given, s.carried)
}

// Directory is a directory of an application.
type Directory struct {
	Name  string `json:"name"`
	Path  string `json:"path"`
	Owner string `json:"owner"`
	Group string `json:"group"`
	Mode  string `json:"mode"`

	carried carried
}

type directoryFields Directory

// UnmarshalJSON reads the document and carries the rest along.
func (d *Directory) UnmarshalJSON(data []byte) error {
	var got directoryFields
	rest, err := readCarried(data, &got)
	got.carried = rest
	*d = Directory(got)
	return err
}

// MarshalJSON writes the document with what it carries.
func (d Directory) MarshalJSON() ([]byte, error) {
	given := directoryFields(d)
	return writeCarried(&given, d.carried)
}

// UserResource is a user of the machine that an application declares.
type UserResource struct {
	Name       string   `json:"name"`
	Password   string   `json:"password"`
	LoginGroup string   `json:"loginGroup"`
	Groups     []string `json:"groups"`
	UID        *int     `json:"uid"`
	GID        *int     `json:"gid"`
	Home       string   `json:"home"`
	FullName   string   `json:"fullName"`
	Shell      string   `json:"shell"`
	System     bool     `json:"system"`
	CreateHome bool     `json:"createHome"`

	carried carried
}

type userResourceFields UserResource

// UnmarshalJSON reads the document and carries the rest along.
func (u *UserResource) UnmarshalJSON(data []byte) error {
	var got userResourceFields
	rest, err := readCarried(data, &got)
	got.carried = rest
	*u = UserResource(got)
	return err
}

// MarshalJSON writes the document with what it carries.
func (u UserResource) MarshalJSON() ([]byte, error) {
	given := userResourceFields(u)
	return writeCarried(&given, u.carried)
}

// GroupResource is a group of the machine that an application declares.
type GroupResource struct {
	Name string `json:"name"`
	GID  *int   `json:"gid"`

	carried carried
}

type groupResourceFields GroupResource

// UnmarshalJSON reads the document and carries the rest along.
func (g *GroupResource) UnmarshalJSON(data []byte) error {
	var got groupResourceFields
	rest, err := readCarried(data, &got)
	got.carried = rest
	*g = GroupResource(got)
	return err
}

// MarshalJSON writes the document with what it carries.
func (g GroupResource) MarshalJSON() ([]byte, error) {
	given := groupResourceFields(g)
	return writeCarried(&given, g.carried)
}

// Repository is a package repository of an application.
type Repository struct {
	Name       string   `json:"name"`
	Location   string   `json:"location"`
	Components []string `json:"components"`

	carried carried
}

type repositoryFields Repository

// UnmarshalJSON reads the document and carries the rest along.
func (r *Repository) UnmarshalJSON(data []byte) error {
	var got repositoryFields
	rest, err := readCarried(data, &got)
	got.carried = rest
	*r = Repository(got)
	return err
}

// MarshalJSON writes the document with what it carries.
func (r Repository) MarshalJSON() ([]byte, error) {
	given := repositoryFields(r)
	return writeCarried(&given, r.carried)
}

// Action is one step of a handler.
type Action struct {
	Action   string `json:"action"`
	Resource string `json:"resource"`

	carried carried
}

type actionFields Action

// UnmarshalJSON reads the document and carries the rest along.
func (a *Action) UnmarshalJSON(data []byte) error {
	var got actionFields
	rest, err := readCarried(data, &got)
	got.carried = rest
	*a = Action(got)
	return err
}

// MarshalJSON writes the document with what it carries.
func (a Action) MarshalJSON() ([]byte, error) {
	given := actionFields(a)
	return writeCarried(&given, a.carried)
}

// Handler runs its actions in order when a setting that it names changes, and at _install or _uninstall.
type Handler struct {
	Name string   `json:"name"`
	On   []string `json:"on"`
	Do   []Action `json:"do"`

	carried carried
}

type handlerFields Handler

// UnmarshalJSON reads the document and carries the rest along.
func (h *Handler) UnmarshalJSON(data []byte) error {
	var got handlerFields
	rest, err := readCarried(data, &got)
	got.carried = rest
	*h = Handler(got)
	return err
}

// MarshalJSON writes the document with what it carries.
func (h Handler) MarshalJSON() ([]byte, error) {
	given := handlerFields(h)
	return writeCarried(&given, h.carried)
}

// Parameter declares a setting of an application, with its default and schema.
type Parameter struct {
	UUID        string          `json:"uuid"`
	Version     int             `json:"version"`
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Key         string          `json:"key"`
	Value       json.RawMessage `json:"value"`
	Schema      json.RawMessage `json:"schema"`

	carried carried
}

type parameterFields Parameter

// UnmarshalJSON reads the document and carries the rest along.
func (p *Parameter) UnmarshalJSON(data []byte) error {
	var got parameterFields
	rest, err := readCarried(data, &got)
	got.carried = rest
	*p = Parameter(got)
	return err
}

// MarshalJSON writes the document with what it carries.
func (p Parameter) MarshalJSON() ([]byte, error) {
	given := parameterFields(p)
	return writeCarried(&given, p.carried)
}

// Compatibility names an operating system that an application is made for.
type Compatibility struct {
	Type    string `json:"type"`
	Version string `json:"version"`

	carried carried
}

type compatibilityFields Compatibility

// UnmarshalJSON reads the document and carries the rest along.
func (c *Compatibility) UnmarshalJSON(data []byte) error {
	var got compatibilityFields
	rest, err := readCarried(data, &got)
	got.carried = rest
	*c = Compatibility(got)
	return err
}

// MarshalJSON writes the document with what it carries.
func (c Compatibility) MarshalJSON() ([]byte, error) {
	given := compatibilityFields(c)
	return writeCarried(&given, c.carried)
}
