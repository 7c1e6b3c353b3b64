// Package users is the collection of user accounts of the local files, changed by the shadow tools. The
// id is the login name.
package users

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/agent/sys"
)

// System is what the collection needs of the machine.
type System interface {
	Confined() bool
	Users() ([]sys.User, error)
	Groups() ([]sys.Group, error)
	LookupGroup(ctx context.Context, name string) (sys.Group, bool, error)
	PasswordHash(name string) (string, error)
	LockAccounts(ctx context.Context) (func(), error)
	Run(ctx context.Context, c sys.Command) (sys.Result, error)
	Watch(ctx context.Context, names []string, changed func(name string)) error
}

// Options of New.
type Options struct{}

// Collection implements resource.Collection, resource.Watcher and resource.Lister.
type Collection struct{ sys System }

// New makes the collection on a machine.
func New(s System, _ Options) *Collection { return &Collection{sys: s} }

// Name is "users".
func (c *Collection) Name() string { return "users" }

// Want holds the attributes an owner may state. An empty text or list, and a number of -1, are not
// stated.
type Want struct {
	// Ensure is "present" or "absent". Absent leaves the home directory.
	Ensure string `json:"ensure"`
	UID    *int   `json:"uid"`
	// Group is the primary group, a name or a number. Groups are all the others: exactly these.
	Group  string   `json:"group"`
	Groups NameList `json:"groups"`
	Home   string   `json:"home"`
	Shell  string   `json:"shell"`
	Gecos  string   `json:"gecos"`
	// System and CreateHome say how a new account is made; they are not compared. CreateHome is true for
	// an account that is not a system's.
	System     bool  `json:"system"`
	CreateHome *bool `json:"createHome"`
	// PasswordHash is in the form of crypt(5); "*" or "!" lock the password. A clear password is refused.
	PasswordHash string `json:"passwordHash"`
}

// NameList is a list of names; a text with commas is a list too.
type NameList []string

// UnmarshalJSON reads either form.
func (l *NameList) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		for name := range strings.SplitSeq(text, ",") {
			if name = strings.TrimSpace(name); name != "" {
				*l = append(*l, name)
			}
		}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(l))
}

const maxID = 1<<32 - 2

// The form that Debian's tools accept without asking, with capitals.
var (
	nameForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,30}\$?$`)
	hashForm = regexp.MustCompile(`^([!*]+|!?\$[0-9a-z]+\$[./A-Za-z0-9$=,+-]+)$`)
)

func parse(id string, raw json.RawMessage) (Want, error) {
	var w Want
	if !nameForm.MatchString(id) {
		return w, fmt.Errorf("%q cannot be the name of a user; use a letter, then letters, digits and _ . - (32 at most)", id)
	}
	if err := resource.Decode(raw, &w); err != nil {
		return w, err
	}
	var err error
	if w.Ensure, err = resource.Ensure(w.Ensure, resource.Present, resource.Absent); err != nil {
		return w, err
	}
	if w.UID != nil && *w.UID == -1 {
		w.UID = nil
	}
	if w.UID != nil && (*w.UID < 0 || *w.UID > maxID) {
		return w, fmt.Errorf("uid %d is out of range", *w.UID)
	}
	for attribute, path := range map[string]string{"home": w.Home, "shell": w.Shell} {
		if path == "" {
			continue
		}
		if err := sys.CheckPath(path); err != nil && path != "/" {
			return w, fmt.Errorf("%s: %w", attribute, err)
		}
	}
	for attribute, text := range map[string]string{"home": w.Home, "shell": w.Shell, "gecos": w.Gecos} {
		if strings.ContainsAny(text, ":\n\x00") {
			return w, fmt.Errorf("%s must not contain a colon or a line break", attribute)
		}
	}
	for _, name := range append([]string{w.Group}, w.Groups...) {
		if name != "" && !nameForm.MatchString(name) {
			if _, err := strconv.ParseUint(name, 10, 32); err != nil {
				return w, fmt.Errorf("%q cannot be the name of a group", name)
			}
		}
	}
	if w.PasswordHash != "" && !hashForm.MatchString(w.PasswordHash) {
		return w, errors.New(`passwordHash is not a hash in the form of crypt(5), such as "$y$..." or "$6$..."; a clear password is not accepted`)
	}
	return w, nil
}

// plan is a Want whose groups are resolved.
type plan struct {
	Want
	gid    int // of Group; -1 is not stated
	groups []string
}

func (c *Collection) plan(ctx context.Context, id string, raw json.RawMessage) (plan, error) {
	if c.sys.Confined() {
		return plan{}, resource.ErrUnavailable
	}
	w, err := parse(id, raw)
	if err != nil {
		return plan{}, err
	}
	p := plan{Want: w, gid: -1}
	if w.Ensure == resource.Absent {
		return p, nil
	}
	group := func(name string) (sys.Group, error) {
		g, ok, err := c.sys.LookupGroup(ctx, name)
		if err == nil && !ok {
			err = fmt.Errorf("group %q does not exist on this machine; create it first or change the group", name)
		}
		return g, err
	}
	if w.Group != "" {
		g, err := group(w.Group)
		if err != nil {
			return p, err
		}
		p.gid = g.GID
	}
	for _, name := range w.Groups {
		if name == "" {
			continue
		}
		g, err := group(name)
		if err != nil {
			return p, err
		}
		p.groups = append(p.groups, g.Name)
	}
	slices.Sort(p.groups)
	p.groups = slices.Compact(p.groups)
	return p, nil
}

// Read tells name, uid, gid, group, groups, dir, shell and gecos (contract section 3.6). It never tells
// the password hash.
func (c *Collection) Read(ctx context.Context, id string) (resource.State, error) {
	if _, err := c.plan(ctx, id, nil); err != nil {
		return nil, fmt.Errorf("user %s: %w", id, err)
	}
	o, err := c.observe(id)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", id, err)
	}
	if !o.there {
		return resource.State{"present": false, "name": id}, nil
	}
	return resource.State{"present": true, "name": id, "uid": o.user.UID, "gid": o.user.GID, "group": o.group,
		"groups": o.groups, "dir": o.user.Home, "shell": o.user.Shell, "gecos": o.user.Gecos}, nil
}

type observed struct {
	there  bool
	user   sys.User
	group  string   // name of the primary group, or its number
	groups []string // the others, sorted
}

func (c *Collection) observe(id string) (observed, error) {
	users, err := c.sys.Users()
	if err != nil {
		return observed{}, err
	}
	i := slices.IndexFunc(users, func(u sys.User) bool { return u.Name == id })
	if i < 0 {
		return observed{}, nil
	}
	all, err := c.sys.Groups()
	if err != nil {
		return observed{}, err
	}
	o := observed{there: true, user: users[i], group: strconv.Itoa(users[i].GID), groups: []string{}}
	for _, g := range all {
		if g.GID == o.user.GID {
			o.group = g.Name
		}
		if slices.Contains(g.Members, id) {
			o.groups = append(o.groups, g.Name)
		}
	}
	slices.Sort(o.groups)
	return o, nil
}

// Check compares what is stated with the account files. A password hash that differs is shown as "***".
func (c *Collection) Check(ctx context.Context, id string, raw json.RawMessage) (resource.Diff, error) {
	p, err := c.plan(ctx, id, raw)
	if err != nil {
		return resource.Diff{}, fmt.Errorf("user %s: %w", id, err)
	}
	d, _, err := c.compare(id, p)
	if err != nil {
		return d, fmt.Errorf("user %s: %w", id, err)
	}
	return d, nil
}

func (c *Collection) compare(id string, p plan) (resource.Diff, observed, error) {
	var d resource.Diff
	o, err := c.observe(id)
	if err != nil {
		return d, o, err
	}
	if absent := p.Ensure == resource.Absent; absent || !o.there {
		if absent == o.there {
			d.Add("present", !absent, o.there)
		}
		return d, o, nil
	}
	if p.UID != nil && *p.UID != o.user.UID {
		d.Add("uid", *p.UID, o.user.UID)
	}
	if p.gid >= 0 && p.gid != o.user.GID {
		d.Add("group", p.Group, o.group)
	}
	// Being listed in one's primary group changes nothing.
	others := slices.DeleteFunc(slices.Clone(o.groups), func(g string) bool { return g == o.group && !slices.Contains(p.groups, g) })
	if len(p.groups) > 0 && !slices.Equal(p.groups, others) {
		d.Add("groups", p.groups, o.groups)
	}
	for _, a := range []struct{ name, want, have string }{
		{"dir", p.Home, o.user.Home}, {"shell", p.Shell, o.user.Shell}, {"gecos", p.Gecos, o.user.Gecos}} {
		if a.want != "" && a.want != a.have {
			d.Add(a.name, a.want, a.have)
		}
	}
	if p.PasswordHash != "" {
		hash, err := c.sys.PasswordHash(id)
		if err != nil {
			return d, o, err
		}
		if hash != p.PasswordHash {
			d.Add("passwordHash", "***", "***")
		}
	}
	return d, o, nil
}

// Apply makes, changes or removes the account.
func (c *Collection) Apply(ctx context.Context, id string, raw json.RawMessage) (resource.Diff, error) {
	d, err := c.apply(ctx, id, raw)
	if err != nil {
		return resource.Diff{}, fmt.Errorf("user %s: %w", id, err)
	}
	return d, nil
}

func (c *Collection) apply(ctx context.Context, id string, raw json.RawMessage) (resource.Diff, error) {
	p, err := c.plan(ctx, id, raw)
	if err != nil {
		return resource.Diff{}, err
	}
	unlock, err := c.sys.LockAccounts(ctx)
	if err != nil {
		return resource.Diff{}, err
	}
	defer unlock()
	d, o, err := c.compare(id, p)
	if err != nil || d.Empty() {
		return d, err
	}
	switch {
	case p.Ensure == resource.Absent:
		err = c.tool(ctx, nil, "userdel", "--", id)
	case !o.there:
		if err = c.add(ctx, id, p); err == nil && p.PasswordHash != "" {
			err = c.setHash(ctx, id, p.PasswordHash)
		}
	default:
		err = c.modify(ctx, id, p, d)
	}
	return d, err
}

// accountFiles are renamed into place by the tools.
func accountFiles() []string { return []string{"/etc/passwd", "/etc/group", "/etc/shadow"} }

// Watch reports every id whenever an account file was replaced.
func (c *Collection) Watch(ctx context.Context, ids []string, changed func(id string)) error {
	if c.sys.Confined() {
		return fmt.Errorf("users: %w", resource.ErrUnavailable)
	}
	return c.sys.Watch(ctx, accountFiles(), func(string) {
		for _, id := range ids {
			changed(id)
		}
	})
}

// List names the users of the account files.
func (c *Collection) List(context.Context) ([]string, error) {
	if c.sys.Confined() {
		return nil, fmt.Errorf("users: %w", resource.ErrUnavailable)
	}
	all, err := c.sys.Users()
	names := make([]string, 0, len(all))
	for _, u := range all {
		names = append(names, u.Name)
	}
	return names, err
}
