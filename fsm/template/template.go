// Package template renders files from FreeMarker templates, as ComodIT applications use them: the same text as the
// reference engine, or an error that names the line. A construct that is not built is an error when the template is
// parsed, never silent text. See DESIGN.md.
package template

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of one template and of one rendering. Templates are written by users.
const (
	MaxTemplateBytes = 4 << 20   // length of a template's text
	MaxOutputBytes   = 8 << 20   // length of the rendered text
	MaxTextBytes     = 8 << 20   // length of one text value
	MaxListItems     = 1_000_000 // items a built-in or + may gather
	MaxWorkBytes     = 256 << 20 // bytes of all texts and lists made while rendering
	MaxSteps         = 5_000_000 // elements, loop turns and calls
	MaxCalls         = 500       // macros and functions inside one another

	// MaxTime is how long one rendering may take.
	MaxTime = 30 * time.Second

	maxNesting = 200     // tags inside tags; brackets inside brackets
	maxNodes   = 500_000 // elements and operators of a template
	maxDepth   = 30_000  // evaluations inside one another, all calls together
)

// Options are the marks around an interpolation, both empty meaning "${" and "}", and how much a rendering may take.
type Options struct {
	Start  string
	End    string
	Limits Limits
}

// Limits bound one rendering. What is 0 or above the default has the default.
type Limits struct {
	Output int           // bytes of the rendered text; default MaxOutputBytes
	Work   int           // bytes of all texts and lists made meanwhile; default MaxWorkBytes
	Steps  int           // elements, loop turns and calls; default MaxSteps
	Calls  int           // macros and functions inside one another; default MaxCalls
	Time   time.Duration // on the clock; default MaxTime
}

// within fills in the defaults.
func (l Limits) within() Limits {
	bound := func(v, most int) int {
		if v <= 0 || v > most {
			return most
		}
		return v
	}
	return Limits{
		Output: bound(l.Output, MaxOutputBytes), Work: bound(l.Work, MaxWorkBytes), Steps: bound(l.Steps, MaxSteps),
		Calls: bound(l.Calls, MaxCalls), Time: time.Duration(bound(int(l.Time), int(MaxTime))),
	}
}

func (o Options) custom() bool { return o.Start != "" && (o.Start != "${" || o.End != "}") }

// Check says what is wrong with the marks: one is empty, or START begins a tag.
func (o Options) Check() error {
	fail := func(text string) error { return &Error{Phase: ParsePhase, Kind: BadValue, Message: text} }
	switch {
	case (o.Start == "") != (o.End == ""):
		return fail("both delimiters must be given, or neither: an empty one cannot be found in a text")
	case strings.HasPrefix(o.Start, "<#"):
		return fail("the start delimiter may not begin with \"<#\", as tags do; choose another")
	case !utf8.ValidString(o.Start) || !utf8.ValidString(o.End):
		return fail("the delimiters must be UTF-8 text")
	}
	return nil
}

// Template is a parsed template. It may be rendered by many goroutines at once.
type Template struct {
	src    *source
	limits Limits
	body   []node
	macros []*macroNode
}

// Parse reads a template; name is for the errors, which are *Error. Nothing of it runs yet, but every branch is
// checked. The text must be UTF-8.
func Parse(name, src string, o Options) (*Template, error) {
	return parse(name, src, o)
}

func parse(name, src string, o Options) (t *Template, err error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	s := &source{name: name, text: src}
	if len(src) > MaxTemplateBytes {
		return nil, s.errorAt(0, ParsePhase, Limit, "the template is %d bytes long; at most %d are allowed", len(src), MaxTemplateBytes)
	}
	if at := badUTF8(src); at >= 0 {
		return nil, s.errorAt(at, ParsePhase, Syntax, "the template is not valid UTF-8 here; save it in that encoding")
	}
	defer catch(&err)
	p := &parser{src: s, opts: o, pieces: lex(s, o)}
	stripOn := p.header()
	strip(s, p.pieces, stripOn, p.stripText)
	t = &Template{src: s, limits: o.Limits.within()}
	t.body = p.file()
	t.macros = p.macros
	return t, nil
}

func badUTF8(s string) int {
	if utf8.ValidString(s) {
		return -1
	}
	for i, c := range s {
		if c == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return i
			}
		}
	}
	return -1
}

// header reads <#ftl ...>, which takes the blanks before it and its own line break.
func (p *parser) header() (stripOn bool) {
	first := 0
	if len(p.pieces) > 1 && p.pieces[0].kind == pieceText && allBlank(p.pieces[0].text) {
		first = 1
	}
	if len(p.pieces) == 0 || p.pieces[first].kind != pieceOpen || p.pieces[first].name != "ftl" {
		return true
	}
	stripOn = true
	e := p.exprs(p.pieces[first])
	for !e.atEnd() {
		at := e.peek().start
		name := e.name("strip_whitespace or strip_text")
		if name != "strip_whitespace" && name != "strip_text" && name != "encoding" {
			panic(p.src.errorAt(at, ParsePhase, Unsupported, "the #ftl parameter %s is not supported here", name))
		}
		e.expect("=")
		var flag bool
		if v, ok := e.primary().(*literal); ok && v.value.kind == kindBool {
			flag = v.value.flag
		} else if name != "encoding" {
			e.failAt(at, "%s must be true or false", name)
		}
		switch name {
		case "strip_whitespace":
			stripOn = flag
		case "strip_text":
			p.stripText = flag
		}
	}
	p.pieces = p.pieces[first+1:]
	if len(p.pieces) > 0 && p.pieces[0].kind == pieceText && p.pieces[0].to == 0 {
		x := p.pieces[0]
		if n := firstBreak(x.text); n > 0 && allBlank(x.text[:n]) {
			x.text = x.text[n:]
			x.start += n
			if x.text == "" {
				p.pieces = p.pieces[1:] // so that what follows is the first run
			}
		}
	}
	return stripOn
}

// snippet is the text of an expression as it stands in the file, short enough for an error.
func (s *source) snippet(start, end int) string {
	if start < 0 || end > len(s.text) || start >= end {
		return ""
	}
	text := strings.Join(strings.Fields(s.text[start:end]), " ")
	if runes := []rune(text); len(runes) > 60 {
		text = string(runes[:57]) + "..."
	}
	return text
}

// Render renders with the variables of data, an object (nil means none). The error is an *Error; then there is no
// text. It ends early when ctx does. The current time is that of the clock (.now); all else depends on data alone.
func (t *Template) Render(ctx context.Context, data *Value) (string, error) {
	return t.render(ctx, data)
}

func (t *Template) render(ctx context.Context, data *Value) (text string, err error) {
	if data == nil {
		data = NewObject().Value()
	}
	if data.kind != kindObject {
		return "", &Error{Template: t.src.name, Phase: DataPhase, Kind: Type, Message: "the data must be a JSON object, name: value"}
	}
	ctx, cancel := context.WithTimeout(ctx, t.limits.Time)
	defer cancel()
	r := newRenderer(ctx, t, data)
	defer catch(&err)
	r.out.Grow(len(t.src.text)) // a text is seldom much longer than its template
	r.exec(t.body)
	return r.out.String(), nil
}
