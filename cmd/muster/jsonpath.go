package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/ohler55/ojg/jp"

	"github.com/muster-hq/muster/internal/ordered"
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
	v, err := forPaths(doc)
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

// forPaths decodes a document for JSONPath: whole numbers as int64 where they fit, so that filters can compare them.
func forPaths(doc []byte) (any, error) {
	v, err := ordered.Decode(doc)
	return filterable(v), err
}

func filterable(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		if f, err := v.Float64(); err == nil && strings.ContainsAny(v.String(), ".eE") {
			return f
		}
	case []any:
		for i := range v {
			v[i] = filterable(v[i])
		}
	case *ordered.Object:
		for _, k := range v.Keys() {
			v.SetValueForKey(k, filterable(v.Get(k)))
		}
	}
	return v
}
