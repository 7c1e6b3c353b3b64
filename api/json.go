package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/muster-hq/muster/fsm/model"
)

// maxDepth bounds how deep a document nests; the deepest that the contract knows has below ten levels.
const maxDepth = 64

// kind is what a body has to be.
type kind string

const (
	anObject kind = "a JSON object"
	aList    kind = "a JSON list"
)

// decodeJSON reads a body strictly into out: one JSON document of the kind, in UTF-8, nothing behind
// it, no key twice in one object. Keys that out does not know are ignored, as exported documents carry
// many (contract section 1.6). The errors are Invalid and say where and what was expected.
func decodeJSON(body []byte, want kind, out any) error {
	if err := checkJSON(body, want); err != nil {
		return err
	}
	err := json.Unmarshal(body, out)
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		field := wrong.Field
		if field == "" {
			field = "the document"
		}
		return model.Errorf(model.Invalid, "%s: %s was expected, not %s", field, kindOf(wrong.Type.Kind().String()), article(wrong.Value))
	}
	if err != nil {
		return model.Errorf(model.Invalid, "the body cannot be read: %s", err)
	}
	return nil
}

func kindOf(goKind string) string {
	switch goKind {
	case "string":
		return "a text"
	case "bool":
		return "true or false"
	case "slice", "array":
		return "a list"
	case "struct", "map", "ptr":
		return "an object"
	}
	if strings.HasPrefix(goKind, "int") || strings.HasPrefix(goKind, "uint") {
		return "a whole number"
	}
	if strings.HasPrefix(goKind, "float") {
		return "a number"
	}
	return "another kind of value"
}

func article(value string) string {
	switch {
	case value == "string":
		return "a text"
	case value == "array":
		return "a list"
	case value == "object":
		return "an object"
	case value == "bool":
		return "true or false"
	case strings.HasPrefix(value, "number "):
		return "the " + value
	}
	return "a " + value
}

// checkJSON says whether body is one strict JSON document of the kind.
func checkJSON(body []byte, want kind) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return model.Errorf(model.Invalid, "the body is empty: %s was expected", want)
	}
	if !utf8.Valid(body) {
		return model.Errorf(model.Invalid, "the body is not UTF-8: byte %d starts no character", badByte(body))
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	first, err := dec.Token()
	if err != nil {
		return notJSON(dec, err, want)
	}
	if d, ok := first.(json.Delim); !ok || d == '[' && want != aList || d == '{' && want != anObject {
		return model.Errorf(model.Invalid, "the body is %s, but %s was expected", describe(first), want)
	}
	if err := walk(dec, first, "", 1); err != nil {
		var e *model.Error
		if errors.As(err, &e) {
			return err
		}
		return notJSON(dec, err, want)
	}
	end := dec.InputOffset()
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return model.Errorf(model.Invalid, "the body goes on after its end: remove what follows byte %d", end)
	}
	return nil
}

func badByte(b []byte) int {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(b)
}

func describe(t json.Token) string {
	switch v := t.(type) {
	case json.Delim:
		if v == '[' {
			return "a JSON list"
		}
		return "a JSON object"
	case string:
		return "a JSON text"
	case bool:
		return "a JSON boolean"
	case nil:
		return "JSON null"
	}
	return "a JSON number"
}

func notJSON(dec *json.Decoder, err error, want kind) error {
	at := dec.InputOffset()
	text := err.Error()
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		at = syntax.Offset
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		text = "it ends too early"
	}
	return model.Errorf(model.Invalid, "the body is not JSON: at byte %d: %s; %s was expected", at, text, want)
}

// walk reads what an opened object or list holds.
func walk(dec *json.Decoder, open json.Token, path string, depth int) error {
	if depth > maxDepth {
		return model.Errorf(model.Invalid, "the body nests deeper than %d levels at %s", maxDepth, path)
	}
	isObject := open == json.Delim('{')
	var keys map[string]bool
	if isObject {
		keys = map[string]bool{}
	}
	for i := 0; dec.More(); i++ {
		at := fmt.Sprintf("%s[%d]", path, i)
		if isObject {
			t, err := dec.Token()
			if err != nil {
				return err
			}
			key, _ := t.(string)
			if keys[key] {
				return model.Errorf(model.Invalid, "the body has the key %q twice%s: keep one", key, inside(path))
			}
			keys[key] = true
			at = strings.TrimPrefix(path+"."+key, ".")
		}
		t, err := dec.Token()
		if err != nil {
			return err
		}
		if d, ok := t.(json.Delim); ok && (d == '{' || d == '[') {
			if err := walk(dec, t, at, depth+1); err != nil {
				return err
			}
		}
	}
	_, err := dec.Token()
	return err
}

func inside(path string) string {
	if path == "" {
		return ""
	}
	return " in " + path
}
