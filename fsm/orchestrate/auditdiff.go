package orchestrate

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/muster-hq/muster/fsm/model"
)

// The bounds of what a record tells of one object.
const (
	maxAuditFields = 40
	maxAuditValue  = 512 // bytes of a value's JSON
	maxAuditDepth  = 6
)

// differ finds what parts two documents, field by field.
type differ struct {
	secret string // path of a field whose values are masked
	most   int
	beyond bool // what is found has no room in the record: that it is there is enough
	fields []model.AuditField
	cut    bool
}

// diff compares two values; nil is one that is absent. secret says that values below are masked.
func (d *differ) diff(path string, before, after json.RawMessage, secret bool) {
	if bytes.Equal(before, after) {
		return
	}
	depth := strings.Count(path, ".") + strings.Count(path, "[")
	if !secret && depth < maxAuditDepth && d.objects(path, before, after) {
		return
	}
	if !secret && before != nil && after != nil && depth < maxAuditDepth && d.lists(path, before, after) {
		return
	}
	if len(d.fields) == d.most {
		d.cut = true
		return
	}
	d.fields = append(d.fields, model.AuditField{Field: path, Before: shownValue(before, secret || d.beyond), After: shownValue(after, secret || d.beyond)})
}

// objects compares objects key by key; false when one is something else.
func (d *differ) objects(path string, before, after json.RawMessage) bool {
	b, okB := fieldsOf(before)
	a, okA := fieldsOf(after)
	if !okB || !okA {
		return false
	}
	d.fieldsOf(path, b, a)
	return true
}

// fieldsOf compares the fields of two objects.
func (d *differ) fieldsOf(path string, b, a []model.ObjectField) {
	hidden := secretObject(b) || secretObject(a)
	for len(b)+len(a) > 0 {
		key, before, after := nextField(&b, &a)
		if path == "" && ownField(key) || bytes.Equal(before, after) {
			continue
		}
		name := key
		if path != "" {
			name = path + "." + key
		}
		d.diff(name, before, after, name == d.secret || hidden && hiddenBeside(key) || secretName(key, before, after))
	}
}

// nextField takes the field that comes next by name off two lists; nil is one that is not in a list.
func nextField(b, a *[]model.ObjectField) (key string, before, after json.RawMessage) {
	if len(*a) == 0 || len(*b) > 0 && (*b)[0].Name <= (*a)[0].Name {
		key = (*b)[0].Name
	} else {
		key = (*a)[0].Name
	}
	for _, side := range []struct {
		list  *[]model.ObjectField
		value *json.RawMessage
	}{{b, &before}, {a, &after}} {
		if len(*side.list) > 0 && (*side.list)[0].Name == key {
			*side.value, *side.list = (*side.list)[0].Value, (*side.list)[1:]
		}
	}
	return key, before, after
}

// ownField tells what the server counts for itself.
func ownField(key string) bool {
	switch key {
	case "id", "orgId", "version", "created", "owner", "ownerId", "envId", "hostId", "appId", "ofId":
		return true
	}
	return false
}

// lists compares lists of objects by their names; false for others.
func (d *differ) lists(path string, before, after json.RawMessage) bool {
	b, okB := elementsOf(before)
	a, okA := elementsOf(after)
	if !okB || !okA {
		return false
	}
	for _, key := range keysOf(b, a) {
		d.diff(path+"["+key+"]", b[key], a[key], false)
	}
	return true
}

func keysOf(b, a map[string]json.RawMessage) []string {
	all := slices.Concat(slices.Collect(maps.Keys(b)), slices.Collect(maps.Keys(a)))
	slices.Sort(all)
	return slices.Compact(all)
}

// fieldsOf reads an object; what is absent counts as an empty one.
func fieldsOf(raw json.RawMessage) ([]model.ObjectField, bool) {
	if raw == nil {
		return nil, true
	}
	if len(raw) == 0 || raw[0] != '{' {
		return nil, false
	}
	return model.ObjectFields(raw)
}

// elementsOf reads a list of objects that have names of their own.
func elementsOf(raw json.RawMessage) (map[string]json.RawMessage, bool) {
	if len(raw) == 0 || raw[0] != '[' {
		return nil, false
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return nil, false
	}
	m := map[string]json.RawMessage{}
	for _, e := range list {
		var h struct{ Name, Key string }
		if len(e) == 0 || e[0] != '{' || json.Unmarshal(e, &h) != nil {
			return nil, false
		}
		name := orName(h.Key, h.Name)
		if _, twice := m[name]; twice || name == "" {
			return nil, false
		}
		m[name] = e
	}
	return m, true
}

// secretObject tells whether an object says of itself that its value is secret.
func secretObject(list []model.ObjectField) bool {
	marked := model.FieldOf(list, "secret")
	if string(marked) == "false" { // a header or parameter: the mark is not all that counts
		var name string
		if json.Unmarshal(model.FieldOf(list, "name"), &name) == nil && model.CredentialName(name) {
			return true
		}
	}
	return string(marked) == "true" || string(model.FieldOf(list, "password")) == "true" || isSecret(model.FieldOf(list, "schema"))
}

// hiddenBeside tells which fields of such an object are masked: the value, and what a schema may name as one.
func hiddenBeside(key string) bool {
	switch key {
	case "value", "default", "const", "enum", "examples":
		return true
	}
	return false
}

// secretName tells fields that are secret by their names. A mark that says so, true or false, is none.
func secretName(key string, values ...json.RawMessage) bool {
	switch strings.ToLower(key) {
	case "content", "thumb": // by a digest who knows the rest of a file could try what is secret in it
		return slices.ContainsFunc(values, isDigest)
	case "password", "passwordhash", "token", "tokenhash", "secret", "secrethash", "secretkey", "seed", "privatekey", "signingsecret", "sealed", "cipher":
	default:
		return false
	}
	return !slices.ContainsFunc(values, func(v json.RawMessage) bool { return string(v) == "true" || string(v) == "false" })
}

// quoted is a text as JSON, if it needs no escapes; else nothing.
func quoted(e any) json.RawMessage {
	s, ok := e.(string)
	if !ok {
		return nil
	}
	return json.RawMessage(`"` + s + `"`)
}

// isDigest says whether a value is the digest of a content.
func isDigest(v json.RawMessage) bool {
	return len(v) == 66 && v[0] == '"' && len(bytes.Trim(v[1:65], "0123456789abcdef")) == 0
}

// shownValue is a value as a record tells it.
func shownValue(raw json.RawMessage, secret bool) json.RawMessage {
	if raw == nil || string(raw) == "null" || string(raw) == `""` {
		return raw
	}
	if secret {
		return json.RawMessage(mask)
	}
	raw = maskedValue(raw)
	if bytes.Contains(raw, []byte("://")) { // few values have an address; it is masked before the value is cut, perhaps within it
		raw = json.RawMessage(model.MaskedAddresses(string(raw), maskText))
	}
	if len(raw) <= maxAuditValue {
		return raw
	}
	head := raw[:maxAuditValue/2]
	if !utf8.Valid(head) { // a character is cut
		head = bytes.ToValidUTF8(head, nil)
	}
	text := append(make([]byte, 0, maxAuditValue/2+32), head...)
	text = append(strconv.AppendInt(append(text, "... ("...), int64(len(raw)), 10), " bytes)"...)
	return model.AppendText(make([]byte, 0, len(text)+32), string(text))
}

// maskedValue masks what is secret within a value.
func maskedValue(raw json.RawMessage) json.RawMessage {
	if raw[0] != '{' && raw[0] != '[' {
		return raw
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return json.RawMessage(mask)
	}
	return toJSON(maskedDeep(v))
}

func maskedDeep(v any) any {
	switch v := v.(type) {
	case map[string]any:
		schema, _ := v["schema"].(map[string]any)
		name, _ := v["name"].(string)
		hidden := v["secret"] == true || v["secret"] == false && model.CredentialName(name) || v["password"] == true || schema["secret"] == true || schema["password"] == true
		for key, e := range v {
			_, flag := e.(bool)
			if e != nil && e != "" && (hidden && hiddenBeside(key) || !flag && secretName(key, quoted(e))) {
				v[key] = maskText
				continue
			}
			v[key] = maskedDeep(e)
		}
	case []any:
		for i := range v {
			v[i] = maskedDeep(v[i])
		}
	}
	return v
}
