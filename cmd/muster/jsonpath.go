package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/ohler55/ojg/jp"
)

// jsonPath is what -o jsonpath=... prints of a document: texts and expressions in turns.
type jsonPath struct {
	parts []pathPart
	lines bool // one expression without braces: a line for each value
}

// pathPart is an expression, or where that is nil a text.
type pathPart struct {
	text string
	expr jp.Expr
}

// parseJSONPath reads an expression ($.name, .name, [*].name), or a text with expressions in braces ({.name}: {.state}),
// where {"\n"} is a text with escapes. The error is a usageError.
func parseJSONPath(s string) (*jsonPath, error) {
	if s == "" {
		return nil, usagef("-o jsonpath= needs an expression, like jsonpath='[*].name': see muster help output")
	}
	if !strings.Contains(s, "{") {
		e, err := parseExpression(s)
		return &jsonPath{parts: []pathPart{{expr: e}}, lines: true}, err
	}
	p := &jsonPath{}
	for s != "" {
		text, rest, found := strings.Cut(s, "{")
		if text != "" {
			p.parts = append(p.parts, pathPart{text: text})
		}
		if !found {
			break
		}
		inside, after, closed := cutBrace(rest)
		if !closed {
			return nil, usagef("-o jsonpath: a { is not closed in %q", "{"+rest)
		}
		part, err := parsePart(strings.TrimSpace(inside))
		if err != nil {
			return nil, err
		}
		p.parts = append(p.parts, part)
		s = after
	}
	return p, nil
}

// cutBrace cuts at the closing brace, over those within quotes.
func cutBrace(s string) (inside, after string, ok bool) {
	var quote byte
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quote != 0 && c == '\\':
			i++
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case quote == 0 && c == '}':
			return s[:i], s[i+1:], true
		}
	}
	return "", "", false
}

func parsePart(s string) (pathPart, error) {
	if strings.HasPrefix(s, `"`) {
		text, err := strconv.Unquote(s)
		if err != nil {
			return pathPart{}, usagef("-o jsonpath: %s is not a text in quotes", s)
		}
		return pathPart{text: text}, nil
	}
	e, err := parseExpression(s)
	return pathPart{expr: e}, err
}

func parseExpression(s string) (e jp.Expr, err error) {
	defer func() { // the parser is somebody else's, and the text the user's
		if r := recover(); r != nil {
			err = usagef("-o jsonpath: %q cannot be read", s)
		}
	}()
	switch {
	case strings.HasPrefix(s, "$") || strings.HasPrefix(s, "@"):
	case strings.HasPrefix(s, ".") || strings.HasPrefix(s, "["):
		s = "$" + s
	default:
		s = "$." + s
	}
	if e, err = jp.ParseString(s); err != nil {
		return nil, usagef("-o jsonpath: %q is not a JSONPath (RFC 9535): %s", s, err)
	}
	return e, nil
}

// print prints what the expressions find in a document.
func (p *jsonPath) print(w io.Writer, doc []byte) error {
	v, err := decodeOrdered(doc)
	if err != nil {
		return fmt.Errorf("printing by JSONPath: %w", err)
	}
	var out strings.Builder
	for _, part := range p.parts {
		if part.expr == nil {
			out.WriteString(part.text)
			continue
		}
		for i, found := range part.expr.Get(v) {
			text, err := pathText(found)
			if err != nil {
				return err
			}
			if i > 0 && !p.lines {
				out.WriteByte(' ')
			}
			out.WriteString(text)
			if p.lines {
				out.WriteByte('\n')
			}
		}
	}
	text := out.String()
	if !p.lines && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	if isTerminal(w) { // no name of somebody else draws there
		lines := strings.Split(text, "\n")
		for i := range lines {
			lines[i] = oneLine(lines[i])
		}
		text = strings.Join(lines, "\n")
	}
	_, err = io.WriteString(w, text)
	return err
}

// pathText is a value as printed: a text as it is, all else as JSON.
func pathText(v any) (string, error) {
	if s, ok := v.(string); ok {
		return s, nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("printing by JSONPath: %w", err)
	}
	return string(b), nil
}

// object is a JSON object that keeps the order of its keys. It is a jp.Keyed.
type object struct {
	keys   []string
	values map[string]any
}

// ValueForKey gives a value.
func (o *object) ValueForKey(key string) (any, bool) { v, ok := o.values[key]; return v, ok }

// Keys are the keys as the document has them.
func (o *object) Keys() []string { return o.keys }

// SetValueForKey adds or replaces a value.
func (o *object) SetValueForKey(key string, value any) {
	if _, ok := o.values[key]; !ok {
		o.keys = append(o.keys, key)
	}
	o.values[key] = value
}

// RemoveValueForKey does nothing: documents are only read.
func (o *object) RemoveValueForKey(string) {}

// MarshalJSON keeps the order.
func (o *object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, k := range o.keys {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(k)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(o.values[k])
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// decodeOrdered decodes JSON with the order of keys, whole numbers as int64 where they fit, others as they are written.
func decodeOrdered(doc []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	return decodeValue(dec)
}

func decodeValue(dec *json.Decoder) (any, error) {
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := tok.(type) {
	case json.Number:
		if n, err := t.Int64(); err == nil {
			return n, nil
		}
		if strings.ContainsAny(t.String(), ".eE") {
			return t.Float64()
		}
		return t, nil
	case json.Delim:
		if t == '[' {
			list := []any{}
			for dec.More() {
				v, err := decodeValue(dec)
				if err != nil {
					return nil, err
				}
				list = append(list, v)
			}
			_, err := dec.Token()
			return list, err
		}
		if t != '{' {
			return nil, errors.New("the document is not whole")
		}
		o := &object{values: map[string]any{}}
		for dec.More() {
			key, err := dec.Token()
			if err != nil {
				return nil, err
			}
			v, err := decodeValue(dec)
			if err != nil {
				return nil, err
			}
			o.SetValueForKey(fmt.Sprint(key), v)
		}
		_, err := dec.Token()
		return o, err
	}
	return tok, nil
}
