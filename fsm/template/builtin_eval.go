package template

func evalBuiltin(name string) (builtin, bool) {
	switch name {
	case "eval":
		return builtin{fn: (*call).evalText}, true
	case "eval_json":
		return builtin{fn: func(c *call) *Value {
			s := c.text()
			c.r.charge(c.x.start, len(s))
			v, err := DecodeJSON([]byte(s))
			if err != nil {
				c.fail(BadValue, "the text %s is not valid JSON", c.r.code(c.x.of))
			}
			return v
		}}, true
	case "interpret":
		return builtin{fn: (*call).interpret}, true
	}
	return builtin{}, false
}

// evalText evaluates a text as an expression. Its errors are placed at the ?eval and do not quote the text, which may
// come from a setting.
func (c *call) evalText() *Value {
	s := c.text()
	c.r.charge(c.x.start, 8*len(s))
	c.r.spend(c.x.start, 20+len(s)/8)
	x, err := c.parseText(s)
	if err != nil {
		c.fail(BadValue, "the text %s is not an expression", c.r.code(c.x.of))
	}
	c.r.called(c.x.start)
	defer func() {
		if p := recover(); p != nil {
			if e, ok := p.(*Error); ok {
				c.fail(e.Kind, "the expression in the text %s fails (%s)", c.r.code(c.x.of), e.Kind)
			}
			panic(p)
		}
	}()
	v := c.r.eval(x)
	c.r.calls--
	return v
}

func (c *call) parseText(s string) (x expr, err error) {
	defer catch(&err)
	p := &parser{src: c.r.t.src}
	at := c.x.start
	l := &exprLexer{src: p.src, text: s, limit: len(s), fixed: at, end: endLimit}
	e := &exprParser{p: p, toks: l.all(&arena[token]{})}
	x = e.expression()
	e.end()
	return x, nil
}

// interpret parses a text as a template, for <@...> to run.
func (c *call) interpret() *Value {
	s := c.text()
	c.r.charge(c.x.start, 8*len(s))
	c.r.spend(c.x.start, 20+len(s)/8)
	t, err := parse(c.r.t.src.name, s, Options{})
	if err != nil {
		c.fail(BadValue, "the text %s is not a template", c.r.code(c.x.of))
	}
	return &Value{kind: kindMarkup, more: t}
}

// interpreted runs what ?interpret made, with the variables of the template around it. Its errors are placed at the
// call and do not quote the text.
func (r *renderer) interpreted(n *callNode, v *Value) (s signal) {
	t := v.more.(*Template)
	r.called(n.start)
	outer := r.t
	defer func() {
		if p := recover(); p != nil {
			if e, ok := p.(*Error); ok && r.t == t {
				r.t = outer
				kind := e.Kind
				r.failAt(n.start, kind, "the interpreted template %s fails (%s)", r.code(n.macro), kind)
			}
			panic(p)
		}
	}()
	r.t = t
	for _, m := range t.macros {
		r.main.Set(m.name, &Value{kind: kindMacro, more: m})
	}
	r.exec(t.body)
	r.t = outer
	r.calls--
	return sigNone
}
