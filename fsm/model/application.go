package model

import (
	"encoding/json"
	"strings"
)

// Application is the document of contract section 3.5. The whole document comes back as it was given,
// apart from the fields that the server sets.
type Application struct {
	UUID          string          `json:"uuid"`
	Version       int             `json:"version"`
	Name          string          `json:"name"`
	Description   string          `json:"description"`
	Organization  string          `json:"organization"`
	Locked        bool            `json:"locked"`
	Packages      []Package       `json:"packages"`
	Services      []Service       `json:"services"`
	Files         []File          `json:"files"`
	Directories   []Directory     `json:"directories"`
	Users         []UserResource  `json:"users"`
	Groups        []GroupResource `json:"groups"`
	Repositories  []Repository    `json:"repositories"`
	Parameters    []Parameter     `json:"parameters"`
	Handlers      []Handler       `json:"handlers"`
	Compatibility []Compatibility `json:"compatibility"`

	carried carried
}

type applicationFields Application

// UnmarshalJSON reads the document and carries the rest along.
func (a *Application) UnmarshalJSON(data []byte) error {
	var f applicationFields
	rest, err := readCarried(data, &f)
	f.carried = rest
	*a = Application(f)
	return err
}

// MarshalJSON writes the document with what it carries. The lists and the fields of every entity are always there.
func (a Application) MarshalJSON() ([]byte, error) {
	f := applicationFields(a)
	always := carried{
		"description": json.RawMessage(`""`), "locked": json.RawMessage("false"),
		"canPull": json.RawMessage("false"), "canPush": json.RawMessage("false"),
	}
	for _, list := range []string{"packages", "services", "files", "directories", "users", "groups", "repositories", "parameters", "handlers"} {
		always[list] = json.RawMessage("[]")
	}
	for k, v := range a.carried {
		if _, fixed := always[k]; !fixed {
			always[k] = v
		}
	}
	return writeCarried(&f, always)
}

// ClearServerFields drops what only the server sets (contract section 1.6), at all depths.
func (a *Application) ClearServerFields() {
	a.UUID, a.Version, a.Organization, a.Locked = "", 0, "", false
	for _, k := range []string{"uuid", "version", "organization", "locked", "canPull", "canPush", "publishedAs", "purchasedAs"} {
		delete(a.carried, k)
	}
	clearParts(a.Files, a.Parameters)
}

// File finds a file by name; nil when there is none.
func (a *Application) File(name string) *File {
	for i := range a.Files {
		if a.Files[i].Name == name {
			return &a.Files[i]
		}
	}
	return nil
}

// Service finds a service by name; nil when there is none.
func (a *Application) Service(name string) *Service {
	for i := range a.Services {
		if a.Services[i].Name == name {
			return &a.Services[i]
		}
	}
	return nil
}

// Package finds a package by name; nil when there is none.
func (a *Application) Package(name string) *Package {
	for i := range a.Packages {
		if a.Packages[i].Name == name {
			return &a.Packages[i]
		}
	}
	return nil
}

// Handler finds a handler by name; nil when there is none.
func (a *Application) Handler(name string) *Handler {
	for i := range a.Handlers {
		if name != "" && a.Handlers[i].Name == name {
			return &a.Handlers[i]
		}
	}
	return nil
}

// Parameter finds a parameter by its key, not its name; nil when there is none.
func (a *Application) Parameter(key string) *Parameter {
	for i := range a.Parameters {
		if a.Parameters[i].Key == key {
			return &a.Parameters[i]
		}
	}
	return nil
}

// Triggers says whether the handler names the key in its on list.
func (h *Handler) Triggers(key string) bool {
	for _, on := range h.On {
		if on == key {
			return true
		}
	}
	return false
}

// Target splits the resource of an action, file://NAME or service://NAME; ok is false for any other text.
func (a *Action) Target() (kind, name string, ok bool) {
	kind, name, ok = strings.Cut(a.Resource, "://")
	return kind, name, ok && name != "" && (kind == "file" || kind == "service")
}

// Marks are the interpolation marks of the file: its delimiter, or ${ and }.
func (f *File) Marks() (start, end string) {
	start, end = "${", "}"
	d := f.Delimiter // of platforms and distributions
	if f.Template != nil && f.Template.Delimiter != nil {
		d = f.Template.Delimiter
	}
	if d != nil {
		if d.Start != "" {
			start = d.Start
		}
		if d.End != "" {
			end = d.End
		}
	}
	return start, end
}

// FileState is what is kept of a file beside its part of the document.
type FileState struct {
	ID      string `json:"id"`
	Version int    `json:"version"`
	Content string `json:"content,omitempty"` // digest; "" when nothing was uploaded yet
}

// ApplicationRow is what is kept of an application: its document without what the server sets, and the
// state of its files by name. Parameters keep their ids by name.
type ApplicationRow struct {
	Kit
	Document Application `json:"document"`
}

// Table names the table of applications.
func (*ApplicationRow) Table() string { return "application" }

// ApplicationsOf is the range of an organization's applications.
func ApplicationsOf(orgID string) string { return KitsOf(orgID) }

// ApplicationNamed is the unique range of a name in an organization.
func ApplicationNamed(orgID, name string) string { return KitNamed(orgID, name) }
