package template

import "regexp"

func (p *parser) assign(x *piece) node {
	e := p.exprs(x)
	if x.name == "local" && p.macro == nil {
		p.fail(x.start, "#local belongs into a #macro or #function")
	}
	target := func() string {
		if t := e.peek(); t.kind == tokText || t.kind == tokRaw {
			return e.take().text
		}
		return e.name("a name")
	}
	first := target()
	if e.atEnd() {
		if e.peek().text == "/>" {
			e.unexpected("\"=\"")
		}
		n := &captureNode{place: place{x.start, x.end}, scope: x.name, name: first}
		n.body = p.block(x)
		p.close(x)
		return n
	}
	var out nodes
	for name := first; ; name = target() {
		n := &assignNode{place: place{x.start, x.end}, scope: x.name, name: name}
		op := e.peek()
		if op.kind != tokOp {
			e.unexpected("\"=\"")
		}
		switch op.text {
		case "++", "--":
			n.op = op.text[:1]
			n.value = &literal{place{op.start, op.end}, Int(1)}
			e.take()
		case "=", "+=", "-=", "*=", "/=", "%=":
			e.take()
			n.op = op.text[:len(op.text)-1]
			n.value = e.expression()
		default:
			e.unexpected("\"=\"")
		}
		out = append(out, n)
		e.accept(",")
		if e.atEnd() {
			break
		}
		if e.isWord("in") {
			panic(p.src.errorAt(e.peek().start, ParsePhase, Unsupported, "#assign ... in a namespace is not supported here"))
		}
	}
	return out
}

// nodes is several nodes in place of one.
type nodes []node

func (p *parser) switchTag(x *piece) node {
	e := p.exprs(x)
	n := &switchNode{of: e.expression(), place: place{x.start, x.end}}
	e.end()
	p.inSwitch++
	defer func() { p.inSwitch-- }()
	for _, before := range p.block(x) {
		if t, ok := before.(*textNode); !ok || !allBlank(t.text) {
			p.fail(x.start, "nothing may stand between <#switch> and its first <#case>")
		}
	}
	defaults := 0
	for p.at("case") || p.at("default") {
		tag := p.pieces[p.i]
		p.i++
		c := switchCase{place: place{tag.start, tag.end}}
		if tag.name == "case" {
			e := p.exprs(tag)
			c.value = e.expression()
			e.end()
		} else {
			p.bare(tag)
			if defaults++; defaults > 1 {
				p.fail(tag.start, "a #switch has only one #default")
			}
		}
		c.body = p.block(x)
		if p.i < len(p.pieces) && p.pieces[p.i].kind == pieceClose && (p.pieces[p.i].name == "case" || p.pieces[p.i].name == "default") {
			p.fail(p.pieces[p.i].start, "</#%s> closes nothing", p.pieces[p.i].name)
		}
		n.cases = append(n.cases, c)
	}
	p.close(x)
	return n
}

func (p *parser) define(x *piece) node {
	if p.macro != nil {
		p.fail(x.start, "a #%s may not be defined inside another", x.name)
	}
	e := p.exprs(x)
	m := &macroNode{place: place{x.start, x.end}, function: x.name == "function"}
	if t := e.peek(); t.kind == tokText || t.kind == tokRaw {
		m.name = e.take().text
	} else {
		m.name = e.name("a name")
	}
	parens := e.accept("(")
	seen := map[string]bool{}
	for !e.atEnd() && !e.isOp(")") {
		at := e.peek().start
		a := param{name: e.name("the name of a parameter")}
		if seen[a.name] || m.rest != "" {
			e.failAt(at, "the parameter %q is there twice, or follows the one that takes the rest", a.name)
		}
		seen[a.name] = true
		switch {
		case e.accept("..."):
			m.rest = a.name
		case e.accept("="):
			a.fallback = e.expression()
			fallthrough
		default:
			m.params = append(m.params, a)
		}
		e.accept(",")
	}
	if parens {
		e.expect(")")
	}
	e.end()
	m.body = p.isolated(m, x)
	p.close(x)
	p.macros = append(p.macros, m)
	return m
}

func (p *parser) nested(x *piece) node {
	if p.macro == nil || p.macro.function {
		p.fail(x.start, "#nested belongs into a #macro")
	}
	e := p.exprs(x)
	n := &nestedNode{place: place{x.start, x.end}}
	for !e.atEnd() {
		n.args = append(n.args, e.expression())
		if !e.accept(",") && !e.atEnd() && !e.startsExpression() {
			e.unexpected("the end")
		}
	}
	return n
}

func (p *parser) returnTag(x *piece) node {
	if p.macro == nil {
		p.fail(x.start, "#return belongs into a #macro or #function")
	}
	e := p.exprs(x)
	if e.atEnd() {
		if p.macro.function {
			e.unexpected("the value that the #function returns")
		}
		return &returnNode{}
	}
	if !p.macro.function {
		p.fail(x.start, "a #macro returns no value; make it a #function")
	}
	n := &returnNode{value: e.expression()}
	e.end()
	return n
}

func (p *parser) call(x *piece) node {
	e := p.exprs(x)
	e.narrow, e.tight = true, true
	n := &callNode{place: place{x.start, x.end}}
	n.macro = e.unary()
	e.tight = false
	for !e.atEnd() && !e.isOp(";") {
		t := e.peek()
		if t.kind == tokName && e.toks[e.i+1].kind == tokOp && e.toks[e.i+1].text == "=" {
			e.i += 2
			e.narrow = false
			value := e.expression()
			n.named = append(n.named, namedArg{place{t.start, t.end}, t.text, value})
			continue
		}
		if len(n.named) > 0 {
			e.unexpected("name=value, or the end")
		}
		if len(n.args) > 0 {
			e.accept(",")
		}
		n.args = append(n.args, e.expression())
	}
	if e.accept(";") {
		for !e.atEnd() {
			n.vars = append(n.vars, e.name("the name of a loop variable"))
			e.accept(",")
		}
	}
	closed := e.peek().text == "/>"
	e.end()
	if closed {
		return n
	}
	n.block = true
	inList, inSwitch := p.inList, p.inSwitch
	n.body = p.block(x)
	p.inList, p.inSwitch = inList, inSwitch
	p.closeCall(x, n)
	return n
}

func (p *parser) closeCall(x *piece, n *callNode) {
	if p.i >= len(p.pieces) {
		p.unclosed(x)
	}
	end := p.pieces[p.i]
	line, _ := p.src.position(x.start)
	if end.kind != pieceCallEnd {
		if clause(end) {
			p.stray(end)
		}
		p.fail(end.start, "</@> was expected here, as the <@...> of line %d is still open", line)
	}
	e := p.exprs(end)
	if !e.atEnd() {
		start, stop := n.macro.span()
		from := e.peek().start
		for !e.atEnd() && e.peek().kind != tokError {
			e.take()
		}
		e.end()
		if got := p.src.snippet(from, e.lastEnd()); got != p.src.snippet(start, stop) {
			p.fail(end.start, "</@%s> does not fit the <@...> of line %d", got, line)
		}
	}
	p.i++
}

func (p *parser) stop(x *piece) node {
	e := p.exprs(x)
	n := &stopNode{place: place{x.start, x.end}}
	if !e.atEnd() {
		n.text = e.expression()
		e.end()
	}
	return n
}

func (p *parser) setting(x *piece) node {
	e := p.exprs(x)
	at := e.peek().start
	n := &settingNode{place: place{x.start, x.end}, name: e.name("the name of a setting")}
	switch n.name {
	case "number_format", "boolean_format", "locale", "time_zone", "url_escaping_charset":
	default:
		panic(p.src.errorAt(at, ParsePhase, Unsupported, "the setting %s is not supported here", n.name))
	}
	e.expect("=")
	n.value = e.expression()
	e.end()
	return n
}

func (p *parser) attempt(x *piece) node {
	p.bare(x)
	n := &attemptNode{body: p.block(x)}
	if !p.at("recover") {
		p.fail(p.pieces[min(p.i, len(p.pieces)-1)].start, "#attempt needs a #recover")
	}
	p.bare(p.pieces[p.i])
	p.i++
	n.recover = p.block(x)
	if p.i < len(p.pieces) && p.pieces[p.i].kind == pieceClose && p.pieces[p.i].name == "recover" {
		p.i++
		return n
	}
	p.close(x)
	return n
}

func (p *parser) escape(x *piece) node {
	before := p.escapes
	if x.name == "escape" {
		e := p.exprs(x)
		rule := escapeRule{name: e.name("a name")}
		if !e.isWord("as") {
			e.unexpected("\"as\"")
		}
		e.take()
		rule.body = p.escaped(e.expression())
		e.end()
		p.escapes = append(before[:len(before):len(before)], rule)
	} else {
		p.bare(x)
		if len(before) == 0 {
			p.fail(x.start, "#noescape belongs into #escape")
		}
		p.escapes = before[:len(before)-1]
	}
	body := nodes(p.block(x))
	p.escapes = before
	p.close(x)
	return body
}

// escaped puts an interpolation's expression into the rule of the #escape around it.
func (p *parser) escaped(of expr) expr {
	if len(p.escapes) == 0 {
		return of
	}
	rule := p.escapes[len(p.escapes)-1]
	start, end := of.span()
	return &escapedExpr{place: place{start, end}, name: rule.name, body: rule.body, of: of}
}

// escapedExpr is body with of in place of name.
type escapedExpr struct {
	place
	name     string
	body, of expr
}

// numberInterp reads #{n} and #{n; m1M2}.
func (p *parser) numberInterp(x *piece) node {
	e := p.exprs(x)
	e.shell = true
	n := &interpNode{place: place{x.start, x.end}, of: e.expression(), format: &hashFormat{0, -1}}
	if e.accept(";") {
		t := e.peek()
		m := regexp.MustCompile(`^(?:m(\d))?(?:M(\d))?$`).FindStringSubmatch(t.text)
		if t.kind != tokName || m == nil {
			e.unexpected("a format such as m2 or m1M3")
		}
		e.take()
		n.format.max = 50
		if m[1] != "" {
			n.format.min = int(m[1][0] - '0')
			n.format.max = n.format.min
		}
		if m[2] != "" {
			n.format.max = int(m[2][0] - '0')
		}
		if n.format.min > n.format.max {
			e.failAt(t.start, "the least number of decimals is above the most")
		}
	}
	e.end()
	return n
}
