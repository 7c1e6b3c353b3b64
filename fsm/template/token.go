package template

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tokName tokenKind = iota
	tokNumber
	tokText  // a quoted text
	tokRaw   // r'...': never has ${} inside
	tokOp    // an operator or bracket, normalised: &gt; and gt are ">"
	tokEnd   // the end of the tag or interpolation
	tokError // the lexer gave up here; err says why
)

// token is a piece of an expression.
type token struct {
	kind   tokenKind
	spaced bool // blanks stand before it
	quoted bool // a name written with a backslash is never a keyword
	text   string
	start  int
	end    int
	braces []int // offsets in a quoted text of { that came as \{
	err    *Error
}

// ending says how a run of expression tokens ends.
type ending int

const (
	endTag   ending = iota // at a free > or />
	endBrace               // at a free }
	endLimit               // at a given offset
)

// exprLexer cuts an expression into tokens.
type exprLexer struct {
	src   *source
	text  string
	pos   int
	limit int
	fixed int // when not negative every token is placed here: expressions inside quoted texts
	base  int // where text begins in the file
	end   ending
	nest  []byte // open brackets
}

// operators, longest first. Words for operators are names until here.
func operators() []string {
	return []string{
		"&amp;&amp;", "&lt;=", "&gt;=", "..&lt;", "-&gt;", "&lt;", "&gt;", "..<", "..!", "..*", "...", "..", "??", "!=", "==", "<=", ">=", "&&", "||", "->",
		"+=", "-=", "*=", "/=", "%=", "++", "--", "?", "!", "=", "<", ">", "&", "|", "+", "-", "*", "/", "%", ".", ",", ":", ";",
		"(", ")", "[", "]", "{", "}",
	}
}

// operatorAt is the operator at the start of a text, "" when there is none. The common ones do not search the list.
func operatorAt(text string) string {
	second := byte(0)
	if len(text) > 1 {
		second = text[1]
	}
	switch text[0] {
	case '(', ')', '[', ']', '{', '}', ',', ':', ';':
		return text[:1]
	case '.':
		if second != '.' {
			return text[:1]
		}
	case '?':
		if second != '?' {
			return text[:1]
		}
		return text[:2]
	case '=', '!':
		if second != '=' {
			return text[:1]
		}
		return text[:2]
	}
	for _, op := range operators() {
		if strings.HasPrefix(text, op) {
			return op
		}
	}
	return ""
}

func normalise(op string) string {
	switch op {
	case "&amp;&amp;", "&":
		return "&&"
	case "|":
		return "||"
	case "&lt;", "lt":
		return "<"
	case "&lt;=", "lte":
		return "<="
	case "&gt;", "gt":
		return ">"
	case "&gt;=", "gte":
		return ">="
	case "..!", "..&lt;":
		return "..<"
	case "-&gt;":
		return "->"
	}
	return op
}

func (l *exprLexer) at(pos int) int {
	if l.fixed >= 0 {
		return l.fixed
	}
	return l.base + pos
}

func (l *exprLexer) failed(pos int, format string, args ...any) token {
	at := l.at(pos)
	return token{kind: tokError, start: at, end: at, err: l.src.errorAt(at, ParsePhase, Syntax, format, args...)}
}

// all reads to the end; the last token is tokEnd or tokError, and pos is behind it.
func (l *exprLexer) all(room *arena[token]) []token {
	out := room.open()
	for {
		t := l.next()
		out = append(out, t)
		if t.kind == tokEnd || t.kind == tokError {
			return room.close(out)
		}
	}
}

// blanks skips white space and comments.
func (l *exprLexer) blanks() (skipped bool, bad *token) {
	for l.pos < l.limit {
		c := l.text[l.pos]
		if c == ' ' || c == '\t' || c == '\n' || c == '\r' {
			l.pos++
			skipped = true
			continue
		}
		rest := l.text[l.pos:l.limit]
		if !strings.HasPrefix(rest, "<#--") && !strings.HasPrefix(rest, "<!--") {
			break
		}
		end := strings.Index(rest, "-->")
		if end < 0 {
			t := l.failed(l.pos, "the comment that begins here has no -->")
			return skipped, &t
		}
		l.pos += end + 3
		skipped = true
	}
	return skipped, nil
}

func (l *exprLexer) next() token {
	spaced, bad := l.blanks()
	if bad != nil {
		return *bad
	}
	start := l.pos
	if start >= l.limit {
		if l.end == endLimit {
			return token{kind: tokEnd, start: l.at(start), end: l.at(start), spaced: spaced}
		}
		return l.failed(max(start-1, 0), "the file ends inside %s", map[ending]string{endTag: "a tag; its > is missing", endBrace: "an interpolation; its } is missing"}[l.end])
	}
	t := l.scan()
	t.spaced = spaced
	t.start, t.end = l.at(start), l.at(l.pos)
	return t
}

func (l *exprLexer) scan() token {
	rest := l.text[l.pos:l.limit]
	c, _ := utf8.DecodeRuneInString(rest)
	switch {
	case c == '"' || c == '\'':
		return l.quoted(false)
	case c == 'r' && len(rest) > 1 && (rest[1] == '"' || rest[1] == '\''):
		l.pos++
		return l.quoted(true)
	case c >= '0' && c <= '9':
		return l.number()
	case nameStart(c) || c == '\\':
		return l.name()
	}
	if len(l.nest) == 0 {
		switch {
		case l.end == endTag && strings.HasPrefix(rest, "/>"):
			l.pos += 2
			return token{kind: tokEnd, text: "/>"}
		case l.end == endTag && c == '>':
			l.pos++
			return token{kind: tokEnd, text: ">"}
		case l.end == endBrace && c == '}':
			l.pos++
			return token{kind: tokEnd, text: "}"}
		}
	}
	if op := operatorAt(rest); op != "" {
		return l.operator(op)
	}
	return l.failed(l.pos, "unexpected character %s", strconv.QuoteRune(c))
}

func (l *exprLexer) operator(op string) token {
	switch op {
	case "(", "[", "{":
		l.nest = append(l.nest, op[0])
	case ")", "]", "}":
		open := map[string]byte{")": '(', "]": '[', "}": '{'}[op]
		if len(l.nest) == 0 || l.nest[len(l.nest)-1] != open {
			return l.failed(l.pos, "unexpected %q: %s", op, unclosed(l.nest))
		}
		l.nest = l.nest[:len(l.nest)-1]
	}
	l.pos += len(op)
	return token{kind: tokOp, text: normalise(op)}
}

func unclosed(nest []byte) string {
	if len(nest) == 0 {
		return "nothing is open that it could close"
	}
	return strconv.Quote(string(nest[len(nest)-1])) + " is still open"
}

func (l *exprLexer) number() token {
	start := l.pos
	digits := func() {
		for l.pos < l.limit && l.text[l.pos] >= '0' && l.text[l.pos] <= '9' {
			l.pos++
		}
	}
	digits()
	if l.pos+1 < l.limit && l.text[l.pos] == '.' && l.text[l.pos+1] >= '0' && l.text[l.pos+1] <= '9' {
		l.pos++
		digits()
	}
	return token{kind: tokNumber, text: l.text[start:l.pos]}
}

func nameStart(c rune) bool {
	return c == '_' || c == '$' || c == '@' || c != utf8.RuneError && unicode.IsLetter(c)
}

func (l *exprLexer) name() token {
	start := l.pos
	for l.pos < l.limit && (l.text[l.pos] >= 'a' && l.text[l.pos] <= 'z' || l.text[l.pos] == '_') {
		l.pos++
	}
	if l.pos < l.limit && l.text[l.pos] < utf8.RuneSelf && l.text[l.pos] != '\\' && !nameStart(rune(l.text[l.pos])) && !unicode.IsDigit(rune(l.text[l.pos])) {
		return token{kind: tokName, text: l.text[start:l.pos]}
	}
	l.pos = start
	var b strings.Builder
	t := token{kind: tokName}
	for l.pos < l.limit {
		c, n := utf8.DecodeRuneInString(l.text[l.pos:l.limit])
		if c == '\\' {
			if l.pos+1 < l.limit && strings.IndexByte("-.:#", l.text[l.pos+1]) >= 0 {
				b.WriteByte(l.text[l.pos+1])
				l.pos += 2
				t.quoted = true
				continue
			}
			return l.failed(l.pos, `unexpected \: in a name it may stand before - . : and # only`)
		}
		if !nameStart(c) && !unicode.IsDigit(c) {
			break
		}
		b.WriteString(l.text[l.pos : l.pos+n])
		l.pos += n
	}
	t.text = b.String()
	return t
}

func (l *exprLexer) quoted(raw bool) token {
	start, q := l.pos, l.text[l.pos]
	kind := tokText
	if raw {
		kind = tokRaw
	}
	l.pos++
	var b strings.Builder
	var braces []int
	for l.pos < l.limit {
		c := l.text[l.pos]
		l.pos++
		switch {
		case c == q:
			return token{kind: kind, text: b.String(), braces: braces}
		case c == '\\' && !raw:
			if l.pos < l.limit && l.text[l.pos] == '{' {
				braces = append(braces, b.Len())
			}
			if bad := l.escape(&b); bad != nil {
				return *bad
			}
		default:
			b.WriteByte(c)
		}
	}
	line, column := l.src.position(l.at(start))
	return l.failed(max(l.pos-1, start), "the text that begins in line %d, column %d has no closing %s", line, column, string(q))
}

// escape reads what follows a backslash in a quoted text.
func (l *exprLexer) escape(b *strings.Builder) *token {
	if l.pos >= l.limit {
		return nil
	}
	c := l.text[l.pos]
	l.pos++
	const from, to = `ntrbf\"'{lga`, "\n\t\r\b\f\\\"'{<>&"
	if i := strings.IndexByte(from, c); i >= 0 {
		b.WriteByte(to[i])
		return nil
	}
	if c == 'x' {
		n := 0
		for n < 4 && l.pos+n < l.limit && strings.IndexByte("0123456789abcdefABCDEF", l.text[l.pos+n]) >= 0 {
			n++
		}
		if n > 0 {
			code, _ := strconv.ParseUint(l.text[l.pos:l.pos+n], 16, 32)
			l.pos += n
			b.WriteRune(rune(code))
			return nil
		}
	}
	t := l.failed(l.pos-2, `unknown escape in a text; known are \n \t \r \b \f \\ \" \' \{ \l \g \a and \xHHHH`)
	return &t
}
