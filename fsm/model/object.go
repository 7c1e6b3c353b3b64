package model

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// ObjectField is a field of a JSON object: its name, and its value as it is written.
type ObjectField struct {
	Name  string
	Value json.RawMessage
}

// ObjectFields gives the fields of a JSON object by name, as json.Unmarshal puts them into a map of json.RawMessage: of a
// name that is there twice the last one. The data must be valid JSON, as what is stored is; it is read once, and not checked.
// Names and values are parts of it, so nobody may change it. False where it is no object.
func ObjectFields(data []byte) ([]ObjectField, bool) {
	return ReadObjectFields(make([]ObjectField, 0, 10), data)
}

// ReadObjectFields is ObjectFields in the memory of list, of which it overwrites what there is.
func ReadObjectFields(list []ObjectField, data []byte) ([]ObjectField, bool) {
	list, ok := scanFields(list[:0], data)
	if !ok {
		return decodeFields(data)
	}
	for i := 1; i < len(list); i++ { // most objects have few fields, and many are in order
		for j := i; j > 0 && list[j].Name < list[j-1].Name; j-- {
			list[j], list[j-1] = list[j-1], list[j]
		}
	}
	out := list[:0]
	for i, f := range list {
		if i+1 < len(list) && list[i+1].Name == f.Name {
			continue
		}
		out = append(out, f)
	}
	return out, true
}

// scanManyFields is from how many fields on an object is left to encoding/json, which sorts better.
const scanManyFields = 64

// scanFields gives the fields as they stand; false for what it leaves to encoding/json: names with escapes, too.
func scanFields(list []ObjectField, data []byte) ([]ObjectField, bool) {
	i := plainSpace(data, 0)
	if i >= len(data) || data[i] != '{' {
		return nil, false
	}
	if i = plainSpace(data, i+1); i < len(data) && data[i] == '}' {
		return list, true
	}
	for len(list) < scanManyFields {
		n := plainEnd(data[min(i, len(data)):])
		if n == 0 {
			return nil, false
		}
		name := textOf(data[i+1 : i+n-1])
		if i = plainSpace(data, i+n); i >= len(data) || data[i] != ':' {
			return nil, false
		}
		i = plainSpace(data, i+1)
		end := scanValue(data, i)
		if end <= i {
			return nil, false
		}
		list = append(list, ObjectField{Name: name, Value: data[i:end:end]})
		if i = plainSpace(data, end); i >= len(data) {
			return nil, false
		}
		switch data[i] {
		case ',':
			i = plainSpace(data, i+1)
		case '}':
			return list, true
		default:
			return nil, false
		}
	}
	return nil, false
}

// scanValue gives the place after the value at i; -1 where it does not end.
func scanValue(data []byte, i int) int {
	for depth := 0; i < len(data); {
		switch data[i] {
		case '"':
			if i = EndOfText(data, i); i < 0 {
				return -1
			}
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return -1
}

// EndOfText gives the place after the JSON text whose opening quote is at i; -1 where it does not end.
func EndOfText(data []byte, i int) int {
	for i++; ; i++ {
		n := bytes.IndexByte(data[i:], '"')
		if n < 0 {
			return -1
		}
		i += n
		slashes := 0
		for data[i-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return i + 1
		}
	}
}

// decodeFields is ObjectFields by encoding/json.
func decodeFields(data []byte) ([]ObjectField, bool) {
	if t := bytes.TrimLeft(data, " \n\t\r"); len(t) == 0 || t[0] != '{' {
		return nil, false
	}
	var m map[string]json.RawMessage
	if json.Unmarshal(data, &m) != nil {
		return nil, false
	}
	list := make([]ObjectField, 0, len(m))
	for name, value := range m {
		list = append(list, ObjectField{Name: name, Value: value})
	}
	slices.SortFunc(list, func(a, b ObjectField) int { return strings.Compare(a.Name, b.Name) })
	return list, true
}

// FieldOf finds a field by its name; nil when there is none.
func FieldOf(list []ObjectField, name string) json.RawMessage {
	for i := range list {
		if list[i].Name == name {
			return list[i].Value
		}
	}
	return nil
}

// Sends says whether a body, a JSON object, has a field.
func Sends(body []byte, name string) bool {
	list, ok := ObjectFields(body)
	return ok && FieldOf(list, name) != nil
}

// RawText reads a JSON text; nil and null are an empty one. False where it is something else.
func RawText(raw json.RawMessage) (string, bool) {
	if len(raw) == 0 {
		return "", true
	}
	if plainEnd(raw) == len(raw) {
		return textOf(raw[1 : len(raw)-1]), true
	}
	var s string
	return s, json.Unmarshal(raw, &s) == nil
}
