package folder

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/internal/ordered"
)

// kind is a sort of object that has a place in the layout.
type kind struct {
	word   string // for people: "application"
	dir    string // folder of its collection: "applications"; "" for what there is one of
	file   string // its document below its own folder; "" for one file NAME.json in the collection's folder
	rows   string // prefix of its operations: "applications"
	param  string // what the operations call its name: "app"
	id     string // field of the document that names it
	level  string // level of its settings in the table; "" where it has none
	rowsOf string // prefix of the operations of its settings; "settings" but for host groups
	kit    string // level of its files, parameters and picture; "" where it has none
	thumb  bool   // it may have a picture
	set    bool   // there is one at most: it is put by "set"
	// skip are fields that are never sent in an update nor compared: they are collections of their own, or the server's.
	skip  []string
	under []*kind
}

const definition = "definition.json"

// organizationKind is the top of the layout (contract section 4.5), with what lies below it, in the order in which
// things are created: what others refer to comes first.
func organizationKind() *kind {
	named := func(word, dir, rows, param string, skip ...string) *kind {
		return &kind{word: word, dir: dir, file: definition, rows: rows, param: param, id: "name", rowsOf: "settings", skip: skip}
	}
	app := named("application", "applications", "applications", "app")
	app.kit, app.thumb = "application", true
	app.under = []*kind{named("module", "rpmmodules", "applications.rpmmodules", "mod"), named("git", "gits", "applications.gits", "git")}
	dist := named("distribution", "distributions", "distributions", "dist")
	dist.kit, dist.level, dist.thumb = "distribution", "distribution", true
	plat := named("platform", "platforms", "platforms", "plat")
	plat.kit, plat.level = "platform", "platform"
	host := named("host", "hosts", "hosts", "host", "platform", "distribution", "applications", "environment", "state", "instance")
	host.level = "host"
	host.under = []*kind{
		{word: "application on host", dir: "applications", rows: "host.applications", param: "app", id: "application", level: "context",
			rowsOf: "settings", skip: []string{"application", "environment", "host"}},
		single("platform"), single("distribution"),
	}
	env := named("environment", "environments", "environments", "env", "hosts")
	env.level, env.under = "environment", []*kind{host}
	group := named("hostgroup", "hostgroups", "hostgroups", "hg")
	group.level, group.rowsOf = "hostgroup", "hostgroups.settings"
	orch := named("orchestration", "orchestrations", "orchestrations", "orch")
	orch.under = []*kind{named("handler", "handlers", "orchestrations.handlers", "handler")}
	org := named("organization", "", "organizations", "org", "environments", "groups", "access")
	org.level = "organization"
	org.under = []*kind{app, dist, plat, env, group, orch, named("job", "jobs", "jobs", "job"),
		named("webhook", "webhooks", "webhooks", "hook"), named("notification", "notifications", "notifications", "chan")}
	return org
}

// single is the platform or the distribution of a host.
func single(what string) *kind {
	return &kind{word: what + " of host", file: what + ".json", rows: "host." + what, id: what, level: what + " context", rowsOf: "settings", set: true,
		skip: []string{"environment", "host"}}
}

// Object is one object of an organization: its document, and the contents that belong to it.
type Object struct {
	Doc      *ordered.Object
	Contents map[string][]byte // of its files, by name
	Thumb    []byte            // its picture; nil none
	Instance *ordered.Object   // of a host that has one; written, never read
	raw      []byte            // the document as the server answered it
	kind     *kind
	names    []string // from below the organization: "Dev", "web1"; none for the organization itself
	parent   *Object
	tag      string // of the answer
	clear    bool   // it was read with secrets
}

// Kind is the word for what it is: "application", "host".
func (o *Object) Kind() string { return o.kind.word }

// Path is its place in the layout without what the files are called: "environments/Dev/hosts/web1", "" for the
// organization. Names hold no slash.
func (o *Object) Path() string {
	if o.parent == nil {
		return ""
	}
	last := o.kind.dir + "/" + o.name()
	if o.kind.set {
		last = strings.TrimSuffix(o.kind.file, ".json")
	}
	return strings.TrimPrefix(o.parent.Path()+"/"+last, "/")
}

// Title is what people read: "host Dev/web1".
func (o *Object) Title() string {
	if len(o.names) == 0 {
		return o.kind.word
	}
	return o.kind.word + " " + strings.Join(o.names, "/")
}

func (o *Object) name() string {
	if len(o.names) == 0 {
		return ""
	}
	return o.names[len(o.names)-1]
}

// params are what the operations on it need, its own name included.
func (o *Object) params(org string) map[string]string {
	if o.parent == nil {
		return map[string]string{"org": org}
	}
	p := o.parent.params(org)
	if o.kind.param != "" {
		p[o.kind.param] = o.name()
	}
	return p
}

// place is like params without its own name: where it is created.
func (o *Object) place(org string) map[string]string {
	if o.parent == nil {
		return map[string]string{}
	}
	return o.parent.params(org)
}

// op is an operation on it.
func (o *Object) op(verb, org string) client.Op {
	return client.Op{Name: o.kind.rows + "." + verb, Params: o.params(org)}
}

// kitOp is an operation on its files, parameters or picture.
func (o *Object) kitOp(name, org, param, value string) client.Op {
	p := o.params(org)
	if param != "" {
		p[param] = value
	}
	return client.Op{Name: name, Level: o.kind.kit, Params: p}
}

// settingsOp is an operation on its settings.
func (o *Object) settingsOp(verb, org string) client.Op {
	op := client.Op{Name: o.kind.rowsOf + "." + verb, Level: o.kind.level, Params: o.params(org)}
	if o.kind.rowsOf != "settings" {
		op.Level = ""
	}
	return op
}

// collection names the collection that it is in.
func (o *Object) collection() string { return collectionOf(o.parent, o.kind) }

func collectionOf(parent *Object, k *kind) string {
	dir := k.dir
	if k.set {
		dir = k.file
	}
	if parent == nil {
		return dir
	}
	return strings.TrimPrefix(parent.Path()+"/"+dir, "/")
}

// Tree is an organization, or a part of one.
type Tree struct {
	Organization string
	Objects      []*Object       // in the order in which they are created
	whole        map[string]bool // the collections that the tree speaks of: what is not in them does not exist
}

func newTree(org string) *Tree { return &Tree{Organization: org, whole: map[string]bool{}} }

// byPath are the objects by their paths.
func (t *Tree) byPath() map[string]*Object {
	all := make(map[string]*Object, len(t.Objects))
	for _, o := range t.Objects {
		all[o.Path()] = o
	}
	return all
}

// Only leaves the objects at the paths and below them. Without paths it leaves all.
func (t *Tree) Only(paths ...string) *Tree {
	if len(paths) == 0 {
		return t
	}
	out := newTree(t.Organization)
	within := func(path string) bool {
		return slices.ContainsFunc(paths, func(p string) bool {
			p = strings.Trim(p, "/")
			return path == p || strings.HasPrefix(path, p+"/")
		})
	}
	for _, o := range t.Objects {
		if within(o.Path()) {
			out.Objects = append(out.Objects, o)
		}
	}
	maps.Copy(out.whole, t.whole)
	maps.DeleteFunc(out.whole, func(path string, _ bool) bool { return !within(path) })
	return out
}

// Rename makes it a tree of another organization: its links and the inputs of its jobs that name the old one name the new.
func (t *Tree) Rename(org string) {
	was := "organizations/" + t.Organization + "/"
	follow := func(o *ordered.Object, key string) {
		if text, ok := o.Get(key).(string); ok && t.Organization != "" && strings.HasPrefix(text, was) {
			o.SetValueForKey(key, "organizations/"+org+"/"+text[len(was):])
		}
	}
	for _, o := range t.Objects {
		for _, s := range embedded(o.Doc, "settings") {
			follow(s, "link")
		}
		if o.kind.word == "job" {
			follow(o.Doc, "input")
		}
		if o.parent == nil {
			o.Doc.SetValueForKey("name", org)
		}
	}
	t.Organization = org
}

// MayHoldSecrets tells whether a document tells the value of a secret: then only a reading with secrets can be compared
// with it.
func (t *Tree) MayHoldSecrets() bool {
	for _, o := range t.Objects {
		for _, list := range []string{"settings", "parameters"} {
			for _, s := range embedded(o.Doc, list) {
				if v, ok := s.ValueForKey("value"); ok && secret(s) && v != Mask {
					return true
				}
			}
		}
	}
	return false
}

// Masked names the secrets whose values the tree does not tell: "environments/Dev settings/password".
func (t *Tree) Masked() []string {
	var out []string
	for _, o := range t.Objects {
		for _, name := range order(o.Doc, "settings") {
			if untold("settings", embedded(o.Doc, "settings")[name]) {
				out = append(out, strings.TrimSpace(o.Path()+" settings/"+name))
			}
		}
		for _, key := range o.Doc.Keys() {
			if key == "settings" {
				continue
			}
			for _, at := range masks(key, o.Doc.Get(key)) {
				out = append(out, strings.TrimSpace(o.Path()+" "+at))
			}
		}
	}
	return out
}

// masks names where masks stand in a value: "token", "parameters/Password", "headers/Authorization".
func masks(at string, v any) (out []string) {
	switch v := v.(type) {
	case string:
		if v == Mask {
			return []string{strings.TrimSuffix(at, "/value")}
		}
	case []any:
		for i, it := range v {
			name, ok := field(it, "name").(string)
			if !ok {
				name = strconv.Itoa(i)
			}
			out = append(out, masks(at+"/"+name, it)...)
		}
	case *ordered.Object:
		for _, key := range v.Keys() {
			out = append(out, masks(at+"/"+key, v.Get(key))...)
		}
	}
	return out
}
