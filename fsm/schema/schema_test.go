package schema

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	const user = `{"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string", "index": true, "required": true},
		"age": {"type": "integer", "minimum": 0}, "kind": {"enum": ["a", "b"]}}}}`
	for _, c := range []struct{ schema, value, want string }{
		{``, `{"a": 1}`, ""},
		{`null`, `1`, ""},
		{`{"secret": true, "final": true}`, `1`, ""},
		{`{"type": "integer"}`, `8080`, ""},
		{`{"type": "integer"}`, `9007199254740993`, ""},
		{`{"type": "integer", "maximum": 9007199254740992}`, `9007199254740993`, "it must be at most 9007199254740992"},
		{`{"type": "integer"}`, `8080.5`, "it is a number, and an integer is wanted"},
		{`{"type": "integer"}`, `"8080"`, ""}, // as the published client types it
		{`{"type": "integer"}`, `"eighty"`, "it is a text, and an integer is wanted"},
		{`{"type": "integer"}`, `null`, ""},
		{`{"type": "integer"}`, `1e400`, "a number in it is out of range"},
		{`{"type": "boolean"}`, `"true"`, ""},
		{`{"type": "boolean"}`, `"yes"`, "it is a text, and a boolean is wanted"},
		{`{"type": "string"}`, `8080`, ""}, // as a command line types it
		{`{"type": "string"}`, `[8080]`, "it is a list, and a text is wanted"},
		{`{"type": "string", "maxLength": 3}`, `8080`, "it is a number, and a text is wanted"},
		{`{"type": ["string", "array"]}`, `{}`, "it is an object, and a text or a list is wanted"},
		{`{"type": "string", "required": true, "pattern": "\\S+@\\S+"}`, `"a@b"`, ""},
		{`{"type": "string", "pattern": "\\S+@\\S+"}`, `"s3cret"`, `it does not match the pattern \S+@\S+`},
		{`{"enum": [1, "two"]}`, `"s3cret"`, `it is none of [1,"two"]`},
		{`{"enum": ["s3cret-a"], "secret": true}`, `"s3cret"`, "it is none of the values that are possible"},
		{`{"type": "string", "minLength": 3, "maxLength": 4}`, `"s3cret"`, "it has 6 characters, and at most 4 are possible"},
		{user, `[{"name": "n", "age": 3, "kind": "a"}]`, ""},
		{user, `[{"age": 3}]`, "at /0: it lacks name"},
		{user, `[{"name": "n", "age": -3}]`, "at /0/age: it must be at least 0"},
		{user, `[{"name": 3}]`, "at /0/name: it is a number, and a text is wanted"}, // within a list types are exact
		{user, `"s3cret"`, "it is a text, and a list is wanted"},
	} {
		s, err := Compile(json.RawMessage(c.schema))
		if err != nil {
			t.Errorf("%s: %v", c.schema, err)
			continue
		}
		got := ""
		if err := s.Check(json.RawMessage(c.value)); err != nil {
			got = err.Error()
		}
		if got != c.want || strings.Contains(got, "s3cret") {
			t.Errorf("%s of %s: %q, want %q", c.value, c.schema, got, c.want)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	for schema, want := range map[string]string{
		`[]`:                              "a schema is a JSON object",
		`{"type": "text"}`:                `schema: type "text" is unknown`,
		`{"items": {"type": "text"}}`:     `schema.items: type "text" is unknown`,
		`{"$ref": "file:///etc/passwd"}`:  "schema: $ref is not possible here",
		`{"allOf": [{"$ref": "#"}]}`:      "schema.allOf[0]: $ref is not possible here",
		`{"pattern": "("}`:                "/pattern: it is not of the format regex",
		`{"minLength": "x"}`:              "/minLength: ",
		`{"maximum": 1e999}`:              "a number in it is out of range",
		`{"$schema": "http://x.example"}`: "$schema is not possible here",
	} {
		if _, err := Compile(json.RawMessage(schema)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", schema, err, want)
		}
	}
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte(`{"type": "integer", "minimum": 3}`), []byte(`"12"`))
	f.Add([]byte(`{"properties": {"a": {"required": true, "pattern": "^x"}}, "anyOf": [{}, {"not": {}}]}`), []byte(`{"a": "y"}`))
	f.Add([]byte(`{"items": [1], "uniqueItems": true}`), []byte(`[1, 1]`))
	f.Fuzz(func(t *testing.T, schema, value []byte) {
		s, err := Compile(schema)
		if err != nil {
			if err.Error() == "" {
				t.Error("a refusal without a text")
			}
			return
		}
		if err := s.Check(value); err != nil && err.Error() == "" {
			t.Error("a refusal without a text")
		}
	})
}
