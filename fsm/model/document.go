package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
)

// Decode reads one JSON object that somebody sent into T. Names of fields are exact: one that differs by case only is refused.
// Errors are Invalid and say where the text is wrong.
func Decode[T any](data []byte) (T, error) {
	v, err := Reread[T](data)
	if err != nil {
		return v, err
	}
	if t := reflect.TypeFor[T](); hasNames(t) {
		if err := checkNames(data, t); err != nil {
			var zero T
			return zero, err
		}
	}
	return v, nil
}

// Reread is Decode for what was checked when it was stored: names that differ by case only are no error.
func Reread[T any](data []byte) (T, error) {
	var v T
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&v); err != nil {
		return v, decodeError(data, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return v, Errorf(Invalid, "the body goes on after the JSON value: send one value only")
	}
	return v, nil
}

// decodeError tells people what encoding/json found.
func decodeError(data []byte, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	var ours *Error
	switch {
	case errors.As(err, &ours):
		return ours
	case len(bytes.TrimSpace(data)) == 0:
		return Errorf(Invalid, "the body is empty: send a JSON document")
	case errors.As(err, &syntax):
		line, col := position(data, syntax.Offset)
		return Errorf(Invalid, "the body is not JSON: line %d, column %d: %s", line, col, syntax.Error())
	case errors.Is(err, io.ErrUnexpectedEOF):
		return Errorf(Invalid, "the body is not JSON: it ends too early")
	case errors.As(err, &kind):
		if kind.Field == "" {
			return Errorf(Invalid, "the document must be %s, not %s", jsonWord(kind.Type), article(kind.Value))
		}
		return Errorf(Invalid, "%s must be %s, not %s", kind.Field, jsonWord(kind.Type), article(kind.Value))
	}
	return Errorf(Invalid, "the body cannot be read: %v", err)
}

func position(data []byte, offset int64) (line, col int) {
	before := data[:min(max(offset-1, 0), int64(len(data)))]
	return bytes.Count(before, []byte("\n")) + 1, len(before) - bytes.LastIndexByte(before, '\n')
}

// jsonWord names in JSON's words what a Go type takes.
func jsonWord(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a text"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return "a whole number"
	case reflect.Pointer:
		return jsonWord(t.Elem())
	}
	return "a number"
}

func article(v string) string {
	switch {
	case v == "string":
		return "a text"
	case v == "array":
		return "a list"
	case v == "object":
		return "an object"
	case v == "bool":
		return "true or false"
	case strings.HasPrefix(v, "number "):
		return "the " + v
	}
	return "a " + v
}

// Merge lays the fields that patch has over doc and answers the result: a field that is absent keeps its
// value, one that is present replaces it (contract section 1.6). doc is not touched. Errors are Invalid, as of Decode.
func Merge[T any](doc T, patch []byte) (T, error) {
	var zero T
	over, err := Reread[map[string]json.RawMessage](patch)
	if err != nil {
		return zero, err
	}
	if over == nil {
		return zero, Errorf(Invalid, "the document must be an object, not null")
	}
	if err := checkNames(patch, reflect.TypeFor[T]()); err != nil {
		return zero, err
	}
	text, err := json.Marshal(doc)
	if err != nil {
		return zero, Errorf(Internal, "document cannot be written: %v", err)
	}
	all, err := Reread[map[string]json.RawMessage](text)
	if err != nil {
		return zero, err
	}
	for k, v := range over {
		all[k] = v
	}
	if text, err = json.Marshal(all); err != nil {
		return zero, Errorf(Internal, "document cannot be written: %v", err)
	}
	return Reread[T](text)
}

// carried holds what a document had beside, or instead of, what its type models, so that it comes back
// as it was: unknown fields as they are, and known fields that were given with an empty value.
type carried map[string]json.RawMessage

// readCarried decodes data into v, a pointer to a struct without methods.
func readCarried(data []byte, v any) (carried, error) {
	if err := json.Unmarshal(data, v); err != nil {
		return nil, within(v, data, decodeError(data, err))
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, decodeError(data, err)
	}
	rest := carried{}
	known := fieldsOf(v)
	for name, raw := range all {
		if f, ok := known[name]; !ok || f.IsZero() {
			rest[name] = slices.Clone(raw)
		}
	}
	if len(rest) == 0 {
		return nil, nil
	}
	return rest, nil
}

// writeCarried encodes v with what it carries. A known field with a zero value is written only when it
// was carried, and as it was carried if that is an empty value too.
func writeCarried(v any, rest carried) ([]byte, error) {
	out := make(map[string]json.RawMessage, len(rest)+8)
	known := fieldsOf(v)
	for name, raw := range rest {
		if _, ok := known[name]; !ok || isEmptyJSON(raw) {
			out[name] = raw
		}
	}
	for name, f := range known {
		if f.IsZero() {
			continue
		}
		raw, err := json.Marshal(f.Interface())
		if err != nil {
			return nil, err
		}
		out[name] = raw
	}
	return json.Marshal(out)
}

// within says in which part of an application a fault is: file "a": mode must be a text.
func within(v any, data []byte, err error) error {
	kind := strings.TrimSuffix(strings.TrimSuffix(reflect.TypeOf(v).Elem().Name(), "Fields"), "Resource")
	var e *Error
	if kind == "application" || !errors.As(err, &e) {
		return err
	}
	var part struct {
		Name json.RawMessage `json:"name"`
	}
	if json.Unmarshal(data, &part) == nil && len(part.Name) > 0 && part.Name[0] == '"' {
		kind += " " + string(part.Name)
	}
	return Errorf(e.Code, "%s: %s", kind, strings.Join(e.Messages, ", "))
}

func isEmptyJSON(raw json.RawMessage) bool {
	switch string(raw) {
	case "null", `""`, "[]", "{}", "false", "0":
		return true
	}
	return false
}

// fieldsOf lists the fields of the struct that v points to, by their JSON names.
func fieldsOf(v any) map[string]reflect.Value {
	s := reflect.ValueOf(v).Elem()
	m := make(map[string]reflect.Value, s.NumField())
	for i := range s.NumField() {
		f := s.Type().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.IsExported() && name != "" && name != "-" {
			m[name] = s.Field(i)
		}
	}
	return m
}
