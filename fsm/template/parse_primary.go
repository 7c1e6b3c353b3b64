package template

import "slices"

// primary reads what an expression is made of.
func (e *exprParser) primary() expr {
	t := e.peek()
	at := place{t.start, t.end}
	switch t.kind {
	case tokNumber:
		e.take()
		d, err := parseDecimal(t.text)
		if err != nil {
			e.failAt(t.start, "%v", err)
		}
		return &literal{at, number(d)}
	case tokRaw:
		e.take()
		return &literal{at, Text(t.text)}
	case tokText:
		e.take()
		return e.p.textLiteral(t)
	case tokName:
		if t.quoted || !reserved(t.text) {
			e.take()
			return &nameExpr{at, t.text}
		}
		if t.text == "true" || t.text == "false" {
			e.take()
			return &literal{at, Bool(t.text == "true")}
		}
	case tokOp:
		switch t.text {
		case "(":
			e.take()
			x := e.inner()
			e.expect(")")
			return &parenExpr{place{t.start, e.lastEnd()}, x}
		case "[":
			return e.listLiteral()
		case "{":
			return e.objectLiteral()
		case ".":
			return e.special()
		}
	}
	e.unexpected("an expression")
	return nil
}

func (e *exprParser) special() expr {
	start := e.take().start
	t := e.peek()
	if t.kind != tokName {
		e.unexpected("the name of a special variable")
	}
	e.take()
	switch t.text {
	case "data_model", "globals", "main", "vars", "now", "locale", "error", "namespace", "lang", "locals":
		return &special{place{start, t.end}, t.text}
	}
	e.failAt(t.start, "unknown special variable .%s", t.text)
	return nil
}

func (e *exprParser) listLiteral() expr {
	start := e.take().start
	narrow, tight := e.narrow, e.tight
	e.narrow, e.tight = false, false
	x := &listLiteral{}
	for !e.accept("]") {
		if len(x.items) > 0 {
			e.accept(",")
		}
		x.items = append(x.items, e.expression())
		if !e.isOp("]") && !e.isOp(",") && !e.startsExpression() {
			e.unexpected("\",\" or \"]\"")
		}
	}
	e.narrow, e.tight = narrow, tight
	x.place = place{start, e.lastEnd()}
	return x
}

func (e *exprParser) objectLiteral() expr {
	start := e.take().start
	narrow, tight := e.narrow, e.tight
	e.narrow, e.tight = false, false
	x := &objectLiteral{}
	for !e.accept("}") {
		if len(x.keys) > 0 {
			e.expect(",")
		}
		x.keys = append(x.keys, e.expression())
		if !e.accept(",") {
			e.expect(":")
		}
		x.values = append(x.values, e.expression())
	}
	e.narrow, e.tight = narrow, tight
	x.place = place{start, e.lastEnd()}
	return x
}

// textLiteral makes a quoted text, with the interpolations in it.
func (p *parser) textLiteral(t *token) expr {
	at := place{t.start, t.end}
	if utf16Length(t.text) <= 3 { // too short for an interpolation; the reference does not look for one
		return &literal{at, Text(t.text)}
	}
	parts, plain := p.textParts(t)
	if plain {
		return &literal{at, Text(t.text)}
	}
	return &mixedText{at, parts}
}

// textParts cuts a quoted text at its interpolations. Their expressions have places of their own, unless escapes in the
// text have moved them; then they are placed where the text begins.
func (p *parser) textParts(t *token) (parts []expr, plain bool) {
	text, at, braces := t.text, t.start, t.braces
	fixed := at
	if t.end-t.start == len(t.text)+2 {
		fixed = -1
	}
	here := place{at, at}
	plain = true
	for whole := text; text != ""; {
		i := nextInterpolation(text, len(whole)-len(text), braces)
		if i < 0 {
			break
		}
		plain = false
		if i > 0 {
			parts = append(parts, &literal{here, Text(text[:i])})
		}
		l := &exprLexer{src: p.src, text: text, pos: i + 2, limit: len(text), fixed: fixed, base: at + 1 + len(whole) - len(text), end: endBrace}
		e := &exprParser{p: p, toks: l.all(&arena[token]{}), depth: p.textDepth}
		p.textDepth += 10
		if p.textDepth > maxNesting {
			panic(p.src.errorAt(at, ParsePhase, Limit, "texts nest too deep"))
		}
		x := e.expression()
		e.end()
		p.textDepth -= 10
		start, end := x.span()
		parts = append(parts, &parenExpr{place{start, end}, x})
		text = text[l.pos:]
	}
	if text != "" {
		parts = append(parts, &literal{here, Text(text)})
	}
	return parts, plain
}

// nextInterpolation finds ${ or #{ in text, which begins at an offset; a { that came as \{ opens nothing.
func nextInterpolation(text string, offset int, braces []int) int {
	for i := 0; i+1 < len(text); i++ {
		if (text[i] == '$' || text[i] == '#') && text[i+1] == '{' && !slices.Contains(braces, offset+i+1) {
			return i
		}
	}
	return -1
}
