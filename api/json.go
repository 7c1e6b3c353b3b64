package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
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

// opens is what it begins with.
func (k kind) opens() byte {
	if k == aList {
		return '['
	}
	return '{'
}

// checkJSON says whether body is one strict JSON document of the kind: in UTF-8, nothing behind it, no
// key twice in one object. The errors are Invalid and say where and what was expected. What the fields
// must be is told by who decodes the document; keys that nobody knows are ignored, as exported documents
// carry many (contract section 1.6).
func checkJSON(body []byte, want kind) error {
	if utf8.Valid(body) && model.Strict(body, want.opens()) {
		return nil
	}
	return inspectJSON(body, want)
}

// inspectJSON is checkJSON for what a glance does not tell: it finds what is wrong, and where.
func inspectJSON(body []byte, want kind) error {
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
		return notJSON(body, want)
	}
	if d, ok := first.(json.Delim); !ok || d == '[' && want != aList || d == '{' && want != anObject {
		return model.Errorf(model.Invalid, "the body is %s, but %s was expected", describe(first), want)
	}
	if err := walk(dec, first, "", 1); err != nil {
		var e *model.Error
		if errors.As(err, &e) {
			return err
		}
		return notJSON(body, want)
	}
	end := dec.InputOffset()
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return model.Errorf(model.Invalid, "the body goes on after its end: remove what follows byte %d", end)
	}
	if at := halfCharacter(body); at >= 0 {
		return model.Errorf(model.Invalid, "the body has half of an escaped character at byte %d: %s stands for no text alone", at, body[at:at+6])
	}
	return nil
}

// halfCharacter finds an escape such as \ud800 without its other half in valid JSON, or answers -1. A decoder
// would put another character in its place without a word.
func halfCharacter(body []byte) int {
	for i := 0; i < len(body); i++ {
		if body[i] != '\\' {
			continue
		}
		r := escaped(body[i:])
		switch {
		case r >= 0xDC00 && r <= 0xDFFF:
			return i
		case r >= 0xD800 && r <= 0xDBFF:
			if low := escaped(body[i+6:]); low < 0xDC00 || low > 0xDFFF {
				return i
			}
			i += 11
		default:
			i++ // what is escaped may be a backslash
		}
	}
	return -1
}

// escaped is the number of the \u escape that b begins with, or 0.
func escaped(b []byte) rune {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	if err != nil {
		return 0
	}
	return rune(n)
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

// notJSON tells where the syntax is broken. The decoder that walks does not know the place, so the body
// is checked once more as a whole.
func notJSON(body []byte, want kind) error {
	var any json.RawMessage
	err := json.Unmarshal(body, &any)
	var syntax *json.SyntaxError
	switch {
	case err == nil: // cannot be: the walk found a fault
		return model.Errorf(model.Invalid, "the body is not JSON; %s was expected", want)
	case errors.As(err, &syntax) && syntax.Offset < int64(len(body)):
		return model.Errorf(model.Invalid, "the body is not JSON: at byte %d: %s; %s was expected", syntax.Offset, syntax, want)
	case errors.As(err, &syntax) && !strings.Contains(syntax.Error(), "unexpected end"):
		return model.Errorf(model.Invalid, "the body is not JSON: at byte %d: %s; %s was expected", syntax.Offset, syntax, want)
	}
	return model.Errorf(model.Invalid, "the body is not JSON: it ends too early, at byte %d; %s was expected", len(body), want)
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
		switch v := t.(type) {
		case json.Delim:
			err = walk(dec, t, at, depth+1)
		case json.Number:
			err = checkNumber(v, at)
		}
		if err != nil {
			return err
		}
	}
	_, err := dec.Token()
	return err
}

// checkNumber refuses what programs that read numbers as doubles, which are most, take for infinite or for 0. Within
// that a number is kept digit by digit as it was written, integers past 2^53 too.
func checkNumber(n json.Number, at string) error {
	f, err := n.Float64()
	if err == nil && (f != 0 || strings.Trim(mantissa(string(n)), "-0.") == "") {
		return nil
	}
	shown := string(n)
	if len(shown) > 40 {
		shown = shown[:40] + "..."
	}
	return model.Errorf(model.Invalid, "%s: the number %s is outside of what a double holds (5e-324 to 1.8e308): write it as a text", at, shown)
}

// mantissa is a number without its exponent.
func mantissa(n string) string {
	if i := strings.IndexAny(n, "eE"); i >= 0 {
		return n[:i]
	}
	return n
}

func inside(path string) string {
	if path == "" {
		return ""
	}
	return " in " + path
}
