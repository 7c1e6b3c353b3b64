package folder

import (
	"bytes"
	"encoding/json"
	"maps"
	"math/big"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/internal/ordered"
	"github.com/muster-hq/muster/internal/textdiff"
)

// Mask stands for the value of a secret (docs/api-contract.md, section 1.3). In a folder it says that the value is not
// told: it is neither compared nor sent.
const Mask = "********"

// The actions of a Difference.
const (
	Create = "create" // the folder has it, the server does not
	Update = "update" // they differ
	Delete = "delete" // the server has it, the folder's collection does not
)

// Difference is what makes one object of the server another than that of the folder.
type Difference struct {
	Action string  `json:"action"`
	Kind   string  `json:"kind"`
	Path   string  `json:"path"`
	Fields []Field `json:"fields,omitempty"` // of an update

	local, server *Object
}

// Field is one difference in an object. Of secrets no value is told.
type Field struct {
	Name   string `json:"field"` // "description", "settings/port", "files/nginx.conf content"
	Server any    `json:"server,omitempty"`
	Folder any    `json:"folder,omitempty"`
	Diff   string `json:"diff,omitempty"` // of a text with lines, from the server's to the folder's

	part, name string // the embedded list or the content, and the name in it; none for a field of the document
	extra      bool   // only the server has it: it goes when things are deleted, too
}

// Title is what people read: "host Dev/web1".
func (d *Difference) Title() string {
	if d.local != nil {
		return d.local.Title()
	}
	return d.server.Title()
}

// Extra tells whether the difference is of something that only the server has: only deleting ends it.
func (d *Difference) Extra() bool {
	return d.Action == Delete || d.Action == Update && !slices.ContainsFunc(d.Fields, func(f Field) bool { return !f.extra })
}

// Compare tells a folder from a server, nil where the organization does not exist. The differences are in the order in
// which they can be made good: what is created and changed, then what is deleted, innermost first.
func Compare(local, server *Tree) []Difference {
	have := map[string]*Object{}
	if server != nil {
		have = server.byPath()
	}
	want := local.byPath()
	var out []Difference
	for _, o := range local.Objects {
		d := Difference{Kind: o.kind.word, Path: o.Path(), local: o, server: have[o.Path()]}
		if d.server == nil {
			d.Action = Create
			out = append(out, d)
		} else if d.Fields = fields(o, d.server); len(d.Fields) > 0 {
			d.Action = Update
			out = append(out, d)
		}
	}
	if server == nil {
		return out
	}
	gone := map[*Object]bool{}
	var deleted []Difference
	for _, o := range server.Objects {
		if o.parent == nil || want[o.Path()] != nil {
			continue
		}
		if gone[o.parent] { // goes with what it lies in
			gone[o] = true
		} else if local.whole[o.collection()] {
			gone[o] = true
			deleted = append(deleted, Difference{Action: Delete, Kind: o.kind.word, Path: o.Path(), server: o})
		}
	}
	slices.Reverse(deleted)
	return append(out, deleted...)
}

// embeddedLists are the collections that a document holds.
func embeddedLists() []string { return []string{"settings", "files", "parameters"} }

// serverFields are set by the server alone, wherever they are.
func serverFields() []string {
	return []string{"uuid", "version", "organization", "canonicalName", "created", "creator", "canPull", "canPush", "publishedAs", "purchasedAs", "locked"}
}

// sent tells whether a field of an object's document is compared and sent.
func (o *Object) sent(field string) bool {
	return !slices.Contains(o.kind.skip, field) && !slices.Contains(serverFields(), field) && !o.embeds(field)
}

// embeds tells whether a field is a collection of its own.
func (o *Object) embeds(field string) bool {
	switch field {
	case "settings":
		return o.kind.level != ""
	case "files", "parameters":
		return o.kind.kit != ""
	}
	return false
}

// fields are the differences of one object.
func fields(local, server *Object) []Field {
	var out []Field
	for _, key := range local.Doc.Keys() {
		if !local.sent(key) {
			continue
		}
		a, b := local.plain(key, server.Doc.Get(key)), local.plain(key, local.Doc.Get(key))
		if !covers(a, b) {
			out = append(out, newField(key, a, b))
		}
	}
	for _, list := range embeddedLists() {
		if local.embeds(list) && local.Doc.Get(list) != nil {
			out = append(out, items(list, server, local)...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(local.Contents)) {
		out = appendContent(out, "files", name, server.Contents[name], local.Contents[name])
	}
	if local.Thumb != nil {
		out = appendContent(out, "thumb", "", server.Thumb, local.Thumb)
	}
	return out
}

// plain is a field's value as it counts: of the host groups of an orchestration only the names.
func (o *Object) plain(key string, v any) any {
	list, ok := v.([]any)
	if o.kind.word != "orchestration" || key != "orderedHostGroup" || !ok {
		return v
	}
	var names []any
	for _, it := range list {
		names = append(names, field(field(it, "hostGroup"), "name"))
	}
	return names
}

func newField(name string, server, local any) Field {
	if isCredential(name) {
		return Field{Name: name, Server: hidden(server), Folder: hidden(local)}
	}
	f := Field{Name: name, Server: redacted(server), Folder: redacted(local)}
	a, okA := server.(string)
	b, okB := local.(string)
	if okA && okB && strings.Contains(a+b, "\n") {
		f.Server, f.Folder, f.Diff = nil, nil, textdiff.Unified("server", "folder", a, b)
	}
	return f
}

// isCredential tells whether a field of a webhook, a repository or a user is a secret.
func isCredential(name string) bool {
	return slices.Contains([]string{"token", "password", "secretKey", "signingSecret"}, name)
}

// hidden is a secret as it is shown: whether there is one.
func hidden(v any) any {
	if void(v) {
		return nil
	}
	return Mask
}

// hiddenPair tells whether an object is a header or parameter of a webhook whose value is a secret.
func hiddenPair(v *ordered.Object) bool {
	name, _ := v.Get("name").(string)
	marked, pair := v.Get("secret").(bool)
	return pair && model.Pair{Name: name, Secret: marked}.Hidden()
}

// redacted is a value without the secrets in it.
func redacted(v any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = redacted(v[i])
		}
		return out
	case *ordered.Object:
		out := ordered.New()
		for _, k := range v.Keys() {
			if isCredential(k) || k == "value" && hiddenPair(v) {
				out.SetValueForKey(k, hidden(v.Get(k)))
			} else {
				out.SetValueForKey(k, redacted(v.Get(k)))
			}
		}
		return out
	}
	return v
}

// items compares an embedded list item by item.
func items(list string, server, local *Object) []Field {
	var out []Field
	was, is := embedded(server.Doc, list), embedded(local.Doc, list)
	for _, name := range order(local.Doc, list) {
		a, b := was[name], is[name]
		switch {
		case untold(list, b) || a != nil && untold(list, a):
		case a == nil:
			out = append(out, Field{Name: list + "/" + name, Folder: shown(b), part: list, name: name})
		case !sameItem(list, a, b):
			out = append(out, itemField(list, name, a, b))
		}
	}
	for _, name := range order(server.Doc, list) {
		if is[name] == nil {
			out = append(out, Field{Name: list + "/" + name, Server: shown(was[name]), part: list, name: name, extra: true})
		}
	}
	return out
}

func itemField(list, name string, a, b *ordered.Object) Field {
	f := Field{Name: list + "/" + name, Server: shown(a), Folder: shown(b), part: list, name: name}
	va, okA := a.Get("value").(string)
	vb, okB := b.Get("value").(string)
	if list == "settings" && okA && okB && strings.Contains(va+vb, "\n") && !secret(a) && !secret(b) {
		f.Server, f.Folder, f.Diff = nil, nil, textdiff.Unified("server", "folder", va, vb)
	}
	return f
}

// untold tells whether an item holds a secret whose value is not told.
func untold(list string, item *ordered.Object) bool {
	v, ok := item.ValueForKey("value")
	return list == "settings" && (v == Mask || secret(item) && !ok)
}

// secret tells whether a setting or parameter is one.
func secret(item *ordered.Object) bool {
	return field(item.Get("schema"), "secret") == true || field(item.Get("schema"), "password") == true
}

// shown is an item as people are told of it: a plain setting by its value, all else whole.
func shown(item *ordered.Object) any {
	value, ok := item.ValueForKey("value")
	if secret(item) && ok {
		return Mask
	}
	if item.Has("key") && item.Get("link") == nil && item.Get("property") == nil && !item.Has("name") && ok {
		return value
	}
	out := ordered.New()
	for _, k := range item.Keys() {
		if !slices.Contains(serverFields(), k) {
			out.SetValueForKey(k, item.Get(k))
		}
	}
	return out
}

// sameItem compares items. What is the value of a setting or parameter is compared exactly, all else as covers does.
func sameItem(list string, server, local *ordered.Object) bool {
	for _, key := range local.Keys() {
		a, b := server.Get(key), local.Get(key)
		switch {
		case slices.Contains(serverFields(), key):
		case key == "schema" && list == "settings" && a == nil: // it comes from a parameter, here or there
		case (key == "value" || key == "schema") && list != "files":
			if !equal(a, b) && !(key == "value" && b == Mask) {
				return false
			}
		case !covers(a, b):
			return false
		}
	}
	return true
}

// covers tells whether the server's value says what the folder's does: fields that the folder's lacks do not count, and
// nothing, false, 0 and empty are one.
func covers(server, local any) bool {
	if local == Mask {
		return true
	}
	if void(local) {
		return void(server)
	}
	switch b := local.(type) {
	case *ordered.Object:
		a, ok := server.(*ordered.Object)
		if !ok {
			return false
		}
		return !slices.ContainsFunc(b.Keys(), func(k string) bool {
			return !slices.Contains(serverFields(), k) && !covers(a.Get(k), b.Get(k))
		})
	case []any:
		a, ok := server.([]any)
		return ok && slices.EqualFunc(a, b, covers)
	}
	return equal(server, local)
}

func void(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case bool:
		return !v
	case json.Number:
		return equal(v, json.Number("0"))
	case []any:
		return len(v) == 0
	case *ordered.Object:
		return len(v.Keys()) == 0
	}
	return false
}

// equal compares values exactly; numbers by what they are worth, objects without regard to the order of keys.
func equal(a, b any) bool {
	switch a := a.(type) {
	case json.Number:
		b, ok := b.(json.Number)
		return ok && (a == b || sameNumber(a.String(), b.String()))
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, equal)
	case *ordered.Object:
		b, ok := b.(*ordered.Object)
		if !ok || len(a.Keys()) != len(b.Keys()) {
			return false
		}
		return !slices.ContainsFunc(a.Keys(), func(k string) bool { return !b.Has(k) || !equal(a.Get(k), b.Get(k)) })
	}
	switch b.(type) {
	case []any, *ordered.Object:
		return false
	}
	return a == b
}

// maxExponent keeps 1e999999999 from becoming a number of that many digits.
const maxExponent = 400

func sameNumber(a, b string) bool {
	if len(a) > maxExponent || len(b) > maxExponent || strings.ContainsAny(a+b, "eE") {
		fa, _, errA := big.ParseFloat(a, 10, 512, big.ToNearestEven)
		fb, _, errB := big.ParseFloat(b, 10, 512, big.ToNearestEven)
		return errA == nil && errB == nil && !fa.IsInf() && fa.Cmp(fb) == 0
	}
	ra, okA := new(big.Rat).SetString(a)
	rb, okB := new(big.Rat).SetString(b)
	return okA && okB && ra.Cmp(rb) == 0
}

func appendContent(out []Field, part, name string, server, local []byte) []Field {
	if bytes.Equal(server, local) {
		return out
	}
	f := Field{Name: strings.TrimPrefix(part+"/"+name+" content", "thumb/ "), part: part + " content", name: name}
	if part == "thumb" {
		f.Name = "thumb"
	}
	if utf8.Valid(server) && utf8.Valid(local) {
		f.Diff = textdiff.Unified("server", "folder", string(server), string(local))
	} else {
		f.Server, f.Folder = len(server), len(local) // bytes
	}
	return append(out, f)
}

// field is a field of what should be an object; nil where it is none.
func field(v any, key string) any {
	if o, ok := v.(*ordered.Object); ok {
		return o.Get(key)
	}
	return nil
}

// embedded are the items of a list of a document, by name.
func embedded(doc *ordered.Object, list string) map[string]*ordered.Object {
	out := map[string]*ordered.Object{}
	all, _ := doc.Get(list).([]any)
	for _, it := range all {
		o, ok := it.(*ordered.Object)
		name, named := field(it, idOf(list)).(string)
		if ok && named {
			out[name] = o
		}
	}
	return out
}

// order are the names of the items of a list, in its order.
func order(doc *ordered.Object, list string) []string {
	var out []string
	all, _ := doc.Get(list).([]any)
	for _, it := range all {
		if name, ok := field(it, idOf(list)).(string); ok {
			out = append(out, name)
		}
	}
	return out
}
