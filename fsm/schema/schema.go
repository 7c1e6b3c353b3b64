// Package schema checks values against JSON Schema as parameters and settings have it: draft 2020-12, with the words that
// are the contract's own (section 3.2) beside it. It is pure, and bounded by the size of schema and value: references
// are refused, and patterns are RE2.
package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// Schema is a schema that values can be checked against. It never changes.
type Schema struct {
	compiled *jsonschema.Schema
	types    []string
	secret   bool // what it lists may be told to nobody
}

// location names the schema within the library; errors never show it.
const location = "urn:muster:schema"

// Compile reads a schema. None, null and an object without rules accept every value. The error says what to change.
func Compile(raw json.RawMessage) (*Schema, error) {
	if len(bytes.TrimSpace(raw)) == 0 || string(bytes.TrimSpace(raw)) == "null" {
		return &Schema{}, nil
	}
	doc, err := decode(raw)
	if err != nil {
		return nil, err
	}
	object, ok := doc.(map[string]any)
	if !ok {
		return nil, errors.New("a schema is a JSON object")
	}
	if err := ours(object, "schema"); err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(nowhere{})
	if err := c.AddResource(location, object); err != nil {
		return nil, errors.New("it cannot be read as a JSON Schema")
	}
	compiled, err := c.Compile(location)
	if err != nil {
		return nil, errors.New(compileError(err))
	}
	return &Schema{compiled: compiled, types: typesOf(object["type"]), secret: object["secret"] == true || object["password"] == true}, nil
}

// nowhere loads no schema from elsewhere.
type nowhere struct{}

// Load refuses.
func (nowhere) Load(string) (any, error) {
	return nil, errors.New("schemas are not loaded from elsewhere")
}

// decode reads JSON with numbers as they are written, and refuses those that no double holds: they could take any room.
func decode(raw json.RawMessage) (any, error) {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, errors.New("it is not JSON")
	}
	return v, finite(v)
}

func finite(v any) error {
	switch v := v.(type) {
	case json.Number:
		if _, err := strconv.ParseFloat(v.String(), 64); err != nil {
			return errors.New("a number in it is out of range")
		}
	case []any:
		for _, e := range v {
			if err := finite(e); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, e := range v {
			if err := finite(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// ours makes a schema in the words of the contract one of the standard: "required": true of a property is the standard's
// list at the object around it. What cannot be had is refused; path says where.
func ours(s map[string]any, path string) error {
	for _, word := range []string{"$ref", "$dynamicRef", "$recursiveRef", "$schema", "$id"} {
		if _, ok := s[word]; ok {
			return fmt.Errorf("%s: %s is not possible here: write out what it refers to", path, word)
		}
	}
	for _, t := range typesOf(s["type"]) {
		if !slices.Contains([]string{"string", "integer", "number", "boolean", "array", "object", "null"}, t) {
			return fmt.Errorf("%s: type %q is unknown: use string, integer, number, boolean, array or object", path, t)
		}
	}
	if _, old := s["required"].(bool); old {
		delete(s, "required")
	}
	if props, ok := s["properties"].(map[string]any); ok {
		needed, _ := s["required"].([]any)
		names := make([]string, 0, len(props))
		for name := range props {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			if p, ok := props[name].(map[string]any); ok && p["required"] == true {
				needed = append(needed, name)
			}
		}
		if len(needed) > 0 {
			s["required"] = unique(needed)
		}
	}
	return within(s, path)
}

// within goes on to the schemas in a schema.
func within(s map[string]any, path string) error {
	for word, v := range s {
		at := path + "." + word
		switch word {
		case "enum", "const", "default", "examples", "required", "type":
			continue
		case "properties", "patternProperties", "$defs", "definitions", "dependentSchemas":
			if members, ok := v.(map[string]any); ok {
				for name, m := range members {
					if o, ok := m.(map[string]any); ok {
						if err := ours(o, at+"."+name); err != nil {
							return err
						}
					}
				}
			}
			continue
		}
		switch v := v.(type) {
		case map[string]any:
			if err := ours(v, at); err != nil {
				return err
			}
		case []any:
			for i, e := range v {
				if o, ok := e.(map[string]any); ok {
					if err := ours(o, at+"["+strconv.Itoa(i)+"]"); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

func unique(list []any) []any {
	var out []any
	for _, v := range list {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// typesOf reads a type, or a list of them.
func typesOf(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, e := range v {
			if s, ok := e.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

// Check refuses a value that the schema does not accept: the error says where and why, and shows nothing of the value. A
// null is no value, and accepted. So is a text that reads as the number or boolean that is wanted, and a number or boolean
// where a text is: what is typed on a command line is the one or the other, and files come out the same.
func (s *Schema) Check(value json.RawMessage) error {
	if s.compiled == nil || len(value) == 0 || string(value) == "null" {
		return nil
	}
	v, err := decode(value)
	if err != nil {
		return err
	}
	err = s.compiled.Validate(v)
	if err == nil {
		return nil
	}
	if s.reads(v) {
		return nil
	}
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return errors.New("it does not fit its schema")
	}
	at := leaf(invalid)
	if _, listed := at.ErrorKind.(*kind.Enum); listed && s.secret {
		return errors.New("it is none of the values that are possible")
	}
	return errors.New(explain(at))
}

// reads says whether a text fits as the number or boolean that it reads as, or a number or boolean as its text.
func (s *Schema) reads(v any) bool {
	wants := func(types ...string) bool {
		return slices.ContainsFunc(s.types, func(t string) bool { return slices.Contains(types, t) })
	}
	switch v := v.(type) {
	case string:
		typed, err := decode(json.RawMessage(strings.TrimSpace(v)))
		return err == nil && typed != nil && wants("integer", "number", "boolean") && s.compiled.Validate(typed) == nil
	case json.Number:
		return wants("string") && s.compiled.Validate(v.String()) == nil
	case bool:
		return wants("string") && s.compiled.Validate(strconv.FormatBool(v)) == nil
	}
	return false
}

// leaf is the first error that has none below it.
func leaf(e *jsonschema.ValidationError) *jsonschema.ValidationError {
	for len(e.Causes) > 0 {
		e = e.Causes[0]
	}
	return e
}

// explain says where and why, without the value.
func explain(e *jsonschema.ValidationError) string {
	at := ""
	if len(e.InstanceLocation) > 0 {
		at = "at /" + strings.Join(e.InstanceLocation, "/") + ": "
	}
	return at + reason(e.ErrorKind)
}

func reason(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Type:
		return fmt.Sprintf("it is %s, and %s is wanted", article(k.Got), strings.Join(articles(k.Want), " or "))
	case *kind.Enum:
		b, err := json.Marshal(k.Want)
		if err != nil || len(b) > 200 {
			return "it is none of the values that are possible"
		}
		return "it is none of " + string(b)
	case *kind.Const:
		return "it is not the one value that is possible"
	case *kind.Required:
		return "it lacks " + strings.Join(k.Missing, ", ")
	case *kind.AdditionalProperties:
		return "it has properties that are not possible"
	case *kind.Pattern:
		return "it does not match the pattern " + k.Want
	case *kind.Format:
		return "it is not of the format " + k.Want
	case *kind.MinLength:
		return fmt.Sprintf("it has %d characters, and at least %d are wanted", k.Got, k.Want)
	case *kind.MaxLength:
		return fmt.Sprintf("it has %d characters, and at most %d are possible", k.Got, k.Want)
	case *kind.MinItems:
		return fmt.Sprintf("it has %d elements, and at least %d are wanted", k.Got, k.Want)
	case *kind.MaxItems:
		return fmt.Sprintf("it has %d elements, and at most %d are possible", k.Got, k.Want)
	case *kind.UniqueItems:
		return fmt.Sprintf("elements %d and %d are equal", k.Duplicates[0], k.Duplicates[1])
	case *kind.Minimum:
		return "it must be at least " + k.Want.RatString()
	case *kind.Maximum:
		return "it must be at most " + k.Want.RatString()
	case *kind.ExclusiveMinimum:
		return "it must be more than " + k.Want.RatString()
	case *kind.ExclusiveMaximum:
		return "it must be less than " + k.Want.RatString()
	case *kind.MultipleOf:
		return "it must be a multiple of " + k.Want.RatString()
	}
	if path := k.KeywordPath(); len(path) > 0 {
		return "it does not fit " + strings.Join(path, "/") + " of its schema"
	}
	return "it does not fit its schema"
}

func articles(types []string) []string {
	out := make([]string, 0, len(types))
	for _, t := range types {
		out = append(out, article(t))
	}
	return out
}

// article puts a type into a sentence.
func article(t string) string {
	switch t {
	case "string":
		return "a text"
	case "integer":
		return "an integer"
	case "array":
		return "a list"
	case "object":
		return "an object"
	case "null":
		return "null"
	}
	return "a " + t
}

// compileError says which rule of a schema is wrong.
func compileError(err error) string {
	var invalid *jsonschema.SchemaValidationError
	var e *jsonschema.ValidationError
	if errors.As(err, &invalid) && errors.As(invalid.Err, &e) {
		at := leaf(e)
		return "/" + strings.Join(at.InstanceLocation, "/") + ": " + reason(at.ErrorKind)
	}
	var pattern *jsonschema.InvalidRegexError
	if errors.As(err, &pattern) {
		return fmt.Sprintf("the pattern %q cannot be used: %v", pattern.Regex, pattern.Err)
	}
	return "it is no JSON Schema of draft 2020-12"
}
