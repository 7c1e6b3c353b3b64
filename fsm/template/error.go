package template

import "fmt"

// Phase says when an error was found.
type Phase string

// The phases: parsing ends before anything is rendered, also for branches that never run.
const (
	ParsePhase  Phase = "parse"
	RenderPhase Phase = "render"
	DataPhase   Phase = "data"
)

// Kind groups errors for machines.
type Kind string

// The kinds of errors.
const (
	Syntax      Kind = "syntax"      // the text of the template is wrong
	Unsupported Kind = "unsupported" // FreeMarker has it, this package has not
	Missing     Kind = "missing"     // a value is undefined or null
	Type        Kind = "type"        // a value is of the wrong kind
	BadValue    Kind = "value"       // a bad argument, an index out of range, a division by zero
	Stop        Kind = "stop"        // the template said <#stop>
	Limit       Kind = "limit"       // a limit of this package, or the context ended
)

// Error is what Parse, Render and DecodeJSON fail with. Its text names expressions of the template, never values
// of the data: settings may be secret.
type Error struct {
	Template string // the name given to Parse
	Line     int    // from 1; 0 when no place is known
	Column   int    // from 1, in UTF-16 units; a tab ends at the next multiple of 8
	Phase    Phase
	Kind     Kind
	Message  string
	Err      error // the cause, e.g. a context that ended; may be nil
}

// Error gives `line N, column N: message`.
func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Message
	}
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// source is a template's text and how to find places in it.
type source struct {
	name string
	text string
}

// position turns a byte offset into line and column, both from 1.
func (s *source) position(at int) (line, column int) {
	at = min(max(at, 0), len(s.text))
	line, column = 1, 1
	for i, c := range s.text[:at] {
		switch {
		case c == '\n', c == '\r' && (i+1 >= len(s.text) || s.text[i+1] != '\n'):
			line, column = line+1, 1
		case c == '\t':
			column += 8 - (column-1)%8
		case c > 0xFFFF:
			column += 2
		default:
			column++
		}
	}
	return line, column
}

// errorAt makes an error at a byte offset.
func (s *source) errorAt(at int, phase Phase, kind Kind, format string, args ...any) *Error {
	line, column := s.position(at)
	return &Error{Template: s.name, Line: line, Column: column, Phase: phase, Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// catch turns the panic of a failed parse or render into its error. Other panics go on.
func catch(err *error) {
	switch p := recover().(type) {
	case nil:
	case *Error:
		*err = p
	default:
		panic(p)
	}
}
