package template

import (
	"strings"
)

type pieceKind int

const (
	pieceText    pieceKind = iota
	pieceInterp            // ${...}, or between other marks
	pieceNumber            // #{...}
	pieceOpen              // <#name ...>
	pieceClose             // </#name>
	pieceCall              // <@... >
	pieceCallEnd           // </@...>
	pieceComment
	pieceBad // the lexer gave up; the only token says why
)

// piece is a part of the file as it stands there: a run of text, a tag, a comment or an interpolation.
type piece struct {
	kind   pieceKind
	start  int
	end    int
	name   string  // of a directive
	text   string  // of a run; white space stripping shortens it
	tokens []token // of a tag or interpolation, the end included
	from   int     // of the text in a <#noparse>: where its tag begins, and to: where the closing one ends
	to     int
}

// empty says that the tag has nothing after its name.
func (p *piece) empty() bool { return len(p.tokens) > 0 && p.tokens[0].kind == tokEnd }

type lexer struct {
	src    *source
	text   string
	opts   Options
	pos    int
	pieces []*piece
	parts  arena[piece]
	tokens arena[token]
}

// piece gives room for one.
func (l *lexer) piece(p piece) *piece {
	to := l.parts.next()
	*to = p
	return to
}

// directives are the names that make a tag; the unsupported ones are known so that the error can say so.
func directiveKnown(name string) (known, supported bool) {
	switch name {
	case "if", "elseif", "else", "list", "items", "sep", "break", "continue", "assign", "global", "local", "switch",
		"case", "default", "macro", "nested", "function", "return", "t", "lt", "rt", "nt", "stop", "setting", "escape",
		"noescape", "attempt", "recover", "compress", "ftl", "flush", "foreach", "noparse", "comment":
		return true, true
	case "include", "import", "visit", "recurse", "fallback", "outputformat", "autoesc", "noautoesc", "on", "call", "transform":
		return true, false
	}
	return false, false
}

// lex cuts the file into pieces. It stops at the first piece it cannot read, which is then the last.
func lex(src *source, o Options) []*piece {
	l := &lexer{src: src, text: src.text, opts: o}
	for l.pos < len(l.text) {
		p := l.special()
		if p == nil {
			l.plain()
			continue
		}
		l.pos = p.end
		if p.kind == pieceOpen && (p.name == "noparse" || p.name == "comment") && p.empty() {
			if !l.verbatim(p) {
				break
			}
			continue
		}
		l.pieces = append(l.pieces, p)
		if p.kind == pieceBad || p.tokens != nil && p.tokens[len(p.tokens)-1].kind == tokError {
			break
		}
	}
	return l.pieces
}

// plain takes text, up to where something else may begin.
func (l *lexer) plain() {
	n := len(l.text) - l.pos
	if next := l.candidate(l.text[l.pos+1:]); next >= 0 {
		n = next + 1
	}
	if last := len(l.pieces) - 1; last >= 0 && l.pieces[last].kind == pieceText && l.pieces[last].end == l.pos {
		l.pieces[last].end += n
		l.pieces[last].text = l.text[l.pieces[last].start:l.pieces[last].end]
	} else {
		l.pieces = append(l.pieces, l.piece(piece{kind: pieceText, start: l.pos, end: l.pos + n, text: l.text[l.pos : l.pos+n]}))
	}
	l.pos += n
}

// candidate is the first byte in text at which a tag, comment or interpolation may begin, -1 when there is none.
func (l *lexer) candidate(text string) int {
	if !l.opts.custom() {
		for i := 0; i < len(text); i++ {
			if c := text[i]; c == '<' || c == '$' || c == '#' {
				return i
			}
		}
		return -1
	}
	for i := 0; i < len(text); i++ {
		if c := text[i]; c == '<' || c == l.opts.Start[0] {
			return i
		}
	}
	return -1
}

// special reads what begins here, nil when it is text.
func (l *lexer) special() *piece {
	rest := l.text[l.pos:]
	switch {
	case strings.HasPrefix(rest, "<#--"):
		end := strings.Index(rest[4:], "-->")
		if end < 0 {
			return l.bad(l.pos, Syntax, "the comment that begins here has no -->")
		}
		return l.piece(piece{kind: pieceComment, start: l.pos, end: l.pos + 4 + end + 3})
	case strings.HasPrefix(rest, "<#"), strings.HasPrefix(rest, "</#"):
		return l.tag(rest)
	case strings.HasPrefix(rest, "<@"):
		p := l.piece(piece{kind: pieceCall, start: l.pos})
		l.expression(p, l.pos+2, endTag)
		return p
	case strings.HasPrefix(rest, "</@"):
		p := l.piece(piece{kind: pieceCallEnd, start: l.pos})
		l.expression(p, l.pos+3, endTag)
		return p
	case !l.opts.custom() && strings.HasPrefix(rest, "${"):
		p := l.piece(piece{kind: pieceInterp, start: l.pos})
		l.expression(p, l.pos+2, endBrace)
		return p
	case !l.opts.custom() && strings.HasPrefix(rest, "#{"):
		p := l.piece(piece{kind: pieceNumber, start: l.pos})
		l.expression(p, l.pos+2, endBrace)
		return p
	case l.opts.custom() && strings.HasPrefix(rest, l.opts.Start):
		return l.marked()
	}
	return nil
}

func (l *lexer) bad(at int, kind Kind, format string, args ...any) *piece {
	err := l.src.errorAt(at, ParsePhase, kind, format, args...)
	return l.piece(piece{kind: pieceBad, start: at, end: at, tokens: []token{{kind: tokError, start: at, end: at, err: err}}})
}

// expression reads the expression tokens of p up to its end.
func (l *lexer) expression(p *piece, from int, how ending) {
	e := &exprLexer{src: l.src, text: l.text, pos: from, limit: len(l.text), fixed: -1, end: how}
	p.tokens = e.all(&l.tokens)
	p.end = e.pos
}

// marked reads an interpolation between the file's own marks.
func (l *lexer) marked() *piece {
	from := l.pos + len(l.opts.Start)
	var quote byte
	for i := from; i < len(l.text); i++ {
		c := l.text[i]
		switch {
		case quote != 0 && c == '\\':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case strings.HasPrefix(l.text[i:], l.opts.End):
			p := l.piece(piece{kind: pieceInterp, start: l.pos, end: i + len(l.opts.End)})
			e := &exprLexer{src: l.src, text: l.text, pos: from, limit: i, fixed: -1, end: endLimit}
			p.tokens = e.all(&l.tokens)
			return p
		case c == '\'' || c == '"':
			quote = c
		}
	}
	return l.bad(l.pos, Syntax, "the interpolation that begins here with %s has no %s", l.opts.Start, l.opts.End)
}

// tag reads <#name ...> or </#name>.
func (l *lexer) tag(rest string) *piece {
	p := l.piece(piece{kind: pieceOpen, start: l.pos})
	skip := 2
	if rest[1] == '/' {
		p.kind, skip = pieceClose, 3
	}
	n := skip
	for n < len(rest) && (rest[n] >= 'a' && rest[n] <= 'z' || rest[n] >= 'A' && rest[n] <= 'Z' || rest[n] == '_') {
		n++
	}
	if n == skip || rest[skip] >= 'A' && rest[skip] <= 'Z' {
		return nil
	}
	p.name = rest[skip:n]
	known, supported := directiveKnown(p.name)
	switch {
	case !known:
		return l.bad(l.pos+1, Syntax, "unknown directive #%s; text that looks like a tag must stand in <#noparse>", p.name)
	case !supported:
		return l.bad(l.pos, Unsupported, "the directive #%s is not supported here", p.name)
	}
	l.expression(p, l.pos+n, endTag)
	if p.kind == pieceClose && !p.empty() {
		return l.bad(p.tokens[0].start, Syntax, "</#%s takes nothing but >", p.name)
	}
	if p.tokens[0].kind == tokEnd || p.tokens[0].kind == tokError || p.tokens[0].spaced || p.tokens[0].kind == tokOp {
		return p
	}
	return l.bad(l.pos+1, Syntax, "a blank is missing after #%s", p.name)
}

// verbatim takes what <#noparse> or <#comment> holds, up to its closing tag. The tags of <#noparse> leave no piece:
// white space stripping does not see them.
func (l *lexer) verbatim(open *piece) bool {
	from := l.pos
	closing := "</#" + open.name
	for at := from; ; {
		i := strings.Index(l.text[at:], closing)
		if i < 0 {
			l.pieces = append(l.pieces, l.bad(open.start, Syntax, "<#%s> has no </#%s>", open.name, open.name))
			return false
		}
		at += i
		end := at + len(closing)
		for end < len(l.text) && blank(l.text[end]) {
			end++
		}
		if end >= len(l.text) || l.text[end] != '>' {
			at += len(closing)
			continue
		}
		if open.name == "comment" {
			open.kind, open.end = pieceComment, end+1
			l.pieces = append(l.pieces, open)
		} else {
			l.pieces = append(l.pieces, l.piece(piece{kind: pieceText, start: from, end: at, text: l.text[from:at], from: open.start, to: end + 1}))
		}
		l.pos = end + 1
		return true
	}
}

func blank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
