package model

import (
	"path"
	"strings"
)

// Validate refuses a document that no machine could be made to match. Every fault found is one message of
// the error, which is Invalid.
func (a *Application) Validate() error {
	var c checker
	c.check(CheckName("application", a.Name))
	a.validateParts(&c)
	a.validateParameters(&c)
	for i := range a.Handlers {
		a.validateHandler(&c, i)
	}
	if len(c.texts) == 0 {
		return nil
	}
	return &Error{Code: Invalid, Messages: c.texts}
}

// checker gathers faults and finds names that come twice.
type checker struct {
	texts []string
	seen  map[[2]string]bool
}

func (c *checker) fail(format string, args ...any) {
	c.texts = append(c.texts, Errorf(Invalid, format, args...).Messages...)
}

func (c *checker) check(err error) {
	if err != nil {
		c.texts = append(c.texts, err.Error())
	}
}

// once refuses the second of the same value; what is the word for both in the text: "file name".
func (c *checker) once(what, value string) {
	if c.seen == nil {
		c.seen = map[[2]string]bool{}
	}
	if k := [2]string{what, value}; c.seen[k] {
		c.fail("%s %q is there twice: keep one", what, value)
	} else {
		c.seen[k] = true
	}
}

func (a *Application) validateParts(c *checker) {
	for i := range a.Packages {
		p := &a.Packages[i]
		c.system("package", p.Name, "+-._:@~", "")
		c.once("package", p.Name)
	}
	for i := range a.Services {
		c.system("service", a.Services[i].Name, "+-._:@\\", "")
		c.once("service", a.Services[i].Name)
	}
	for i := range a.Files {
		f := &a.Files[i]
		c.check(f.Validate())
		c.once("file name", f.Name)
		c.once("path", f.Path)
	}
	for i := range a.Directories {
		d := &a.Directories[i]
		c.check(checkPlaced("directory", d.Name, d.Path, d.Mode, d.Owner, d.Group))
		c.once("directory name", d.Name)
		c.once("path", d.Path)
	}
	for i := range a.Users {
		u := &a.Users[i]
		c.system("user", u.Name, "-._", "$")
		c.once("user", u.Name)
		if u.Home != "" {
			c.check(checkPath("user", u.Name, "home", u.Home))
		}
		if strings.ContainsAny(u.FullName+u.Shell+u.Password+u.Home, ":\n") {
			c.fail("user %q: full name, shell, home and password cannot contain a colon or a line end", u.Name)
		}
		c.number("user", u.Name, "uid", u.UID)
		c.number("user", u.Name, "gid", u.GID)
	}
	for i := range a.Groups {
		c.system("group", a.Groups[i].Name, "-._", "$")
		c.once("group", a.Groups[i].Name)
		c.number("group", a.Groups[i].Name, "gid", a.Groups[i].GID)
	}
	for i := range a.Repositories {
		c.check(CheckName("repository", a.Repositories[i].Name))
		c.once("repository", a.Repositories[i].Name)
	}
}

// maxID is the highest id of a user or group on Linux; the one above means "none" to the system's calls.
const maxID = 1<<32 - 2

// number refuses an id that no machine has; -1 means unset.
func (c *checker) number(kind, name, field string, v *int) {
	if v != nil && (*v < -1 || *v > maxID) {
		c.fail("%s %q: %s is %d: give a number from 0 to %d, or -1 to leave it to the machine", kind, name, field, *v, maxID)
	}
}

// system checks a name that becomes a word of a command or of a system file: it begins with a letter,
// digit or underscore, and goes on with those and the punctuation given.
func (c *checker) system(kind, name, punctuation, last string) {
	if name == "" {
		c.fail("%s: name is missing: give one", kind)
		return
	}
	for i, r := range strings.TrimSuffix(name, last) {
		word := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_'
		if !word && (i == 0 || !strings.ContainsRune(punctuation, r)) {
			c.fail("%s: name %q cannot contain %q there: use letters, digits and %s", kind, name, r, strings.Join(strings.Split(punctuation, ""), " "))
			return
		}
	}
}

// Validate refuses a file that cannot be put on a machine. Errors are Invalid.
func (f *File) Validate() error {
	if strings.HasSuffix(f.Path, "/") {
		return Errorf(Invalid, "file %q: path is %q, which is a directory: name the file in it", f.Name, f.Path)
	}
	return checkPlaced("file", f.Name, f.Path, f.Mode, f.Owner, f.Group)
}

func checkPlaced(kind, name, where, mode, owner, group string) error {
	if err := CheckName(kind, name); err != nil {
		return err
	}
	if err := checkPath(kind, name, "path", where); err != nil {
		return err
	}
	if strings.ContainsAny(owner+group, ": \n\x00") {
		return Errorf(Invalid, "%s %q: owner and group are plain names or numbers, without blanks and colons", kind, name)
	}
	if mode == "" {
		return nil
	}
	if len(mode) < 3 || len(mode) > 4 || strings.Trim(mode, "01234567") != "" {
		return Errorf(Invalid, "%s %q: mode is %q: write three or four octal digits, such as 644", kind, name, mode)
	}
	return nil
}

func checkPath(kind, name, field, where string) error {
	switch {
	case where == "":
		return Errorf(Invalid, "%s %q: %s is missing: give an absolute path", kind, name, field)
	case !path.IsAbs(where):
		return Errorf(Invalid, "%s %q: %s is %q: it must be absolute, beginning with /", kind, name, field, where)
	case path.Clean(where) != where && path.Clean(where)+"/" != where:
		return Errorf(Invalid, "%s %q: %s is %q: write it without . .. and double slashes, as %s", kind, name, field, where, path.Clean(where))
	case strings.ContainsAny(where, "\x00\n"):
		return Errorf(Invalid, "%s %q: %s contains a line end or a zero byte: remove it", kind, name, field)
	}
	return nil
}

func (a *Application) validateParameters(c *checker) {
	for i := range a.Parameters {
		p := &a.Parameters[i]
		c.check(p.Validate())
		c.once("parameter name", p.Name)
		c.once("parameter key", p.Key)
	}
}

// Validate refuses a parameter without name or key, or with a broken schema. Errors are Invalid.
func (p *Parameter) Validate() error {
	if err := CheckName("parameter", p.Name); err != nil {
		return err
	}
	if err := checkKey("parameter", p.Key); err != nil {
		return err
	}
	if err := checkSchema(p.Schema); err != nil {
		return Errorf(Invalid, "parameter %q: %v", p.Name, err)
	}
	return nil
}

func (a *Application) validateHandler(c *checker, i int) {
	h := &a.Handlers[i]
	label := Errorf(Invalid, "handler %d", i+1).Error()
	if h.Name != "" {
		label = Errorf(Invalid, "handler %q", h.Name).Error()
		c.check(CheckName("handler", h.Name))
		c.once("handler name", h.Name)
	}
	for _, on := range h.On {
		if on == "" {
			c.fail("%s: on holds an empty text: name a setting key, _install or _uninstall", label)
		}
	}
	for _, do := range h.Do {
		a.validateAction(c, label, do)
	}
}

func (a *Application) validateAction(c *checker, label string, do Action) {
	kind, name, ok := do.Target()
	if !ok {
		c.fail("%s: resource is %q: write file://NAME or service://NAME", label, do.Resource)
		return
	}
	allowed := map[string]string{"execute": "file", "update": "file or service", "restart": "service", "reload": "service"}
	with, known := allowed[do.Action]
	switch {
	case !known:
		c.fail("%s: action is %q: use execute, update, restart or reload", label, do.Action)
	case !strings.Contains(with, kind):
		c.fail("%s: action %s goes with a %s, not with %s", label, do.Action, with, do.Resource)
	case kind == "file" && a.File(name) == nil:
		c.fail("%s names the file %q, which the application does not have: add the file or correct the name", label, name)
	case kind == "service" && a.Service(name) == nil:
		c.fail("%s names the service %q, which the application does not have: add the service or correct the name", label, name)
	}
}
