package model

import (
	"encoding/json"
	"slices"
	"strconv"
)

// Most documents are plain: an object whose names and texts need no escape in JSON, beside integers and booleans. What
// is plain reads and writes at once, without reflection, to the same bytes as encoding/json; all else goes there.

// plainByte tells the bytes that stand for themselves in a JSON text, also as encoding/json writes it: ASCII but for
// control characters, the quote, the backslash, and what HTML gives a meaning.
func plainByte(c byte) bool {
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
}

// plainEnd gives the length of the plain text that data begins with, quotes included; 0 when there is none.
func plainEnd(data []byte) int {
	if len(data) < 2 || data[0] != '"' {
		return 0
	}
	if i := 1 + plainLen(data[1:]); i < len(data) && data[i] == '"' {
		return i + 1
	}
	return 0
}

func plainSpace(data []byte, i int) int {
	for i < len(data) && (data[i] == ' ' || data[i] == '\n' || data[i] == '\t' || data[i] == '\r') {
		i++
	}
	return i
}

// PlainFields gives the fields of a plain object in their order: values are texts with their quotes, integers, true or
// false. It stops when yield answers false. The result says that data is such an object and nothing else, and that
// all fields were given; on false, what was given says nothing.
func PlainFields(data []byte, yield func(name, value []byte) bool) bool {
	end, ok := plainObject(data, plainSpace(data, 0), nil, nil, yield)
	return ok && plainSpace(data, end) == len(data)
}

// plainObject reads the object at i and gives the place after it. Objects in it are handed to inner, if there is one. Values of
// which anyJSON says so, if there is one, are given whatever they are: then data must be valid JSON.
func plainObject(data []byte, i int, anyJSON func(name []byte) bool, inner func(name []byte, i int) (int, bool), yield func(name, value []byte) bool) (int, bool) {
	if i >= len(data) || data[i] != '{' {
		return 0, false
	}
	if i = plainSpace(data, i+1); i < len(data) && data[i] == '}' {
		return i + 1, true
	}
	for {
		n := plainEnd(data[i:])
		if n == 0 {
			return 0, false
		}
		name := data[i+1 : i+n-1]
		if i = plainSpace(data, i+n); i >= len(data) || data[i] != ':' {
			return 0, false
		}
		i = plainSpace(data, i+1)
		switch {
		case anyJSON != nil && anyJSON(name):
			end := scanValue(data, i)
			if end <= i || !yield(name, data[i:end]) {
				return 0, false
			}
			i = end
		case i < len(data) && data[i] == '{' && inner != nil:
			end, ok := inner(name, i)
			if !ok {
				return 0, false
			}
			i = end
		default:
			n := plainValue(data[i:])
			if n == 0 || !yield(name, data[i:i+n]) {
				return 0, false
			}
			i += n
		}
		if i = plainSpace(data, i); i >= len(data) {
			return 0, false
		}
		switch data[i] {
		case ',':
			i = plainSpace(data, i+1)
		case '}':
			return i + 1, true
		default:
			return 0, false
		}
		if i >= len(data) {
			return 0, false
		}
	}
}

// plainValue gives the length of the plain value that data begins with; 0 when there is none.
func plainValue(data []byte) int {
	if len(data) == 0 {
		return 0
	}
	switch c := data[0]; {
	case c == '"':
		return plainEnd(data)
	case c == 't' && len(data) >= 4 && string(data[:4]) == "true":
		return 4
	case c == 'f' && len(data) >= 5 && string(data[:5]) == "false":
		return 5
	}
	i := 0
	if data[0] == '-' {
		i++
	}
	first := i
	for i < len(data) && data[i] >= '0' && data[i] <= '9' {
		i++
	}
	switch {
	case i == first, data[first] == '0' && i > first+1: // no digit, or one too many
		return 0
	case i < len(data) && (data[i] == '.' || data[i] == 'e' || data[i] == 'E'):
		return 0
	}
	return i
}

// plainInto puts a plain text into s; false when value is not one.
func plainInto(s *string, value []byte) bool {
	if value[0] != '"' {
		return false
	}
	*s = string(value[1 : len(value)-1])
	return true
}

// plainPart is plainInto without a copy: the text is a part of value, which nobody may change.
func plainPart(s *string, value []byte) bool {
	if value[0] != '"' {
		return false
	}
	*s = textOf(value[1 : len(value)-1])
	return true
}

func plainInt(n *int, value []byte) bool {
	v, err := strconv.Atoi(string(value))
	*n = v
	return err == nil
}

// appendField appends a text field, with a comma before it unless it is the first; an empty one is left out. False when
// it is not plain.
func appendField(b []byte, name, value string) ([]byte, bool) {
	if value == "" {
		return b, true
	}
	return appendText(appendName(b, name), value)
}

func appendName(b []byte, name string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	return append(append(append(b, '"'), name...), `":`...)
}

func appendText(b []byte, value string) ([]byte, bool) {
	if plainLen(bytesOf(value)) < len(value) {
		return b, false
	}
	return append(append(append(b, '"'), value...), '"'), true
}

// appendRaw appends a field of any JSON; an empty one is left out. False when it is not plain.
func appendRaw(b []byte, name string, value json.RawMessage) ([]byte, bool) {
	if len(value) == 0 {
		return b, true
	}
	if plainValue(value) != len(value) {
		return b, false
	}
	return append(appendName(b, name), value...), true
}

// AppendJSON appends the setting as encoding/json writes it; false when it is not plain, and then b is of no use.
func (s Setting) AppendJSON(b []byte) ([]byte, bool) {
	b = append(slices.Grow(b, 192+len(s.Value)), '{')
	b, ok := appendField(b, "uuid", s.UUID)
	if s.Version != 0 {
		b = strconv.AppendInt(appendName(b, "version"), int64(s.Version), 10)
	}
	b, ok2 := appendText(appendName(b, "key"), s.Key)
	b, ok3 := appendRaw(b, "value", s.Value)
	b, ok4 := appendField(b, "link", s.Link)
	b, ok5 := appendField(b, "property", s.Property)
	b, ok6 := appendRaw(b, "schema", s.Schema)
	return append(b, '}'), ok && ok2 && ok3 && ok4 && ok5 && ok6
}

// AppendRow appends the row as encoding/json writes it; false when it is not plain, and then b is of no use.
func (s *SettingRow) AppendRow(b []byte) ([]byte, bool) {
	b = append(slices.Grow(b, 320+len(s.Value)), `{"id":`...)
	b, ok := appendText(b, s.ID)
	b, ok2 := appendText(append(b, `,"owner":{"level":`...), string(s.Owner.Level))
	b, ok3 := appendText(append(b, `,"orgId":`...), s.Owner.OrgID)
	b, ok4 := appendText(append(b, `,"id":`...), s.Owner.ID)
	b, ok5 := appendText(append(b, `},"key":`...), s.Name)
	b = strconv.AppendInt(append(b, `,"version":`...), int64(s.Version), 10)
	b, ok6 := appendRaw(b, "value", s.Value)
	b, ok7 := appendField(b, "link", s.Link)
	b, ok8 := appendField(b, "property", s.Property)
	b, ok9 := appendRaw(b, "schema", s.Schema)
	return append(b, '}'), ok && ok2 && ok3 && ok4 && ok5 && ok6 && ok7 && ok8 && ok9
}

// anySettingJSON tells the fields of settings that are any JSON.
func anySettingJSON(name []byte) bool { return string(name) == "value" || string(name) == "schema" }

// ReadRow reads the row from JSON, which is valid, as what is stored is; false when names and texts are not plain or there are more
// than the fields of the row, and then the row is of no use. What the row holds are parts of data, which nobody may change from then on.
func (s *SettingRow) ReadRow(data []byte) bool {
	owner := func(name, value []byte) bool {
		switch string(name) {
		case "level":
			return plainPart((*string)(&s.Owner.Level), value)
		case "orgId":
			return plainPart(&s.Owner.OrgID, value)
		case "id":
			return plainPart(&s.Owner.ID, value)
		}
		return false
	}
	inner := func(name []byte, i int) (int, bool) {
		if string(name) != "owner" {
			return 0, false
		}
		return plainObject(data, i, nil, nil, owner)
	}
	end, ok := plainObject(data, 0, anySettingJSON, inner, func(name, value []byte) bool {
		switch string(name) {
		case "id":
			return plainPart(&s.ID, value)
		case "key":
			return plainPart(&s.Name, value)
		case "version":
			return plainInt(&s.Version, value)
		case "value":
			s.Value = value[:len(value):len(value)]
			return true
		case "link":
			return plainPart(&s.Link, value)
		case "property":
			return plainPart(&s.Property, value)
		case "schema":
			s.Schema = value[:len(value):len(value)]
			return true
		}
		return false
	})
	return ok && end == len(data)
}

// MergeSetting is Merge for a setting: the same result, at once where the patch is plain.
func MergeSetting(doc Setting, patch []byte) (Setting, error) {
	out := doc
	if PlainFields(slices.Clone(patch), out.take) {
		return out, nil
	}
	return Merge(doc, patch)
}
