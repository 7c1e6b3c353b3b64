package template

// A definition writes nothing: macros are known from the start of the file.
func (n *macroNode) exec(r *renderer) signal {
	r.main.Set(n.name, &Value{kind: kindMacro, more: n})
	return sigNone
}

func (m *macroNode) word() string {
	if m.function {
		return "function"
	}
	return "macro"
}

// called counts calls inside one another.
func (r *renderer) called(at int) {
	r.step(at)
	r.calls++
	if r.calls > r.limits.Calls {
		r.failAt(at, Limit, "macros and functions call one another more than %d deep; look for an endless recursion", r.limits.Calls)
	}
}

func (n *callNode) exec(r *renderer) signal {
	v := r.need(n.macro)
	if v.kind == kindMarkup {
		return r.interpreted(n, v)
	}
	m, ok := v.more.(*macroNode)
	if v.kind != kindMacro || !ok || m.function {
		r.failAt(n.start, Type, "<@%s> needs a macro, and it is %s", r.code(n.macro), v.kindName())
	}
	r.called(n.start)
	f := &frame{macro: m, call: n, scope: r.scope, caller: r.frame, locals: NewObject()}
	r.bind(n, f)
	scopeBefore, frameBefore := r.scope, r.frame
	r.frame, r.scope = f, &scope{frame: f}
	r.defaults(n.start, f)
	r.exec(m.body)
	r.scope, r.frame = scopeBefore, frameBefore
	r.calls--
	return sigNone
}

// bind puts the arguments of a macro call into its locals.
func (r *renderer) bind(n *callNode, f *frame) {
	m := f.macro
	if len(n.args) > 0 {
		r.positional(n.place, f, n.args)
		return
	}
	known := map[string]bool{}
	for _, p := range m.params {
		known[p.name] = true
	}
	rest := NewObject()
	for _, a := range n.named {
		v := r.eval(a.value)
		switch {
		case known[a.name]:
			f.locals.Set(a.name, v)
		case m.rest != "":
			rest.Set(a.name, v)
		default:
			line, _ := r.t.src.position(n.start)
			r.failAt(m.start, BadValue, "the macro %s has no parameter %s, which the call in line %d names", m.name, a.name, line)
		}
	}
	if m.rest != "" {
		f.locals.Set(m.rest, rest.Value())
	}
}

func (r *renderer) positional(at place, f *frame, args []expr) {
	m := f.macro
	if len(args) > len(m.params) && m.rest == "" {
		line, _ := r.t.src.position(at.start)
		r.failAt(m.start, BadValue, "the %s %s takes %d arguments, and the call in line %d gives %d", m.word(), m.name, len(m.params), line, len(args))
	}
	rest := &Value{kind: kindList}
	for i, a := range args {
		v := r.eval(a)
		if i < len(m.params) {
			f.locals.Set(m.params[i].name, v)
		} else {
			rest.items = append(rest.items, v)
		}
	}
	if m.rest != "" {
		f.locals.Set(m.rest, rest)
	}
}

// defaults fills the parameters that got nothing; a default may use other parameters, in any order.
func (r *renderer) defaults(at int, f *frame) {
	open := []param{}
	for _, p := range f.macro.params {
		if f.locals.get(p.name) != nil {
			continue
		}
		if p.fallback == nil {
			line, _ := r.t.src.position(at)
			given := "none"
			if _, ok := f.locals.values[p.name]; ok {
				given = "something that is missing: neither a setting nor a default gives it"
			}
			r.failAt(f.macro.start, BadValue, "the %s %s needs a value for its parameter %s, and the call in line %d gives %s",
				f.macro.word(), f.macro.name, p.name, line, given)
		}
		open = append(open, p)
	}
	for len(open) > 0 {
		var left []param
		for _, p := range open {
			if v := r.maybe(&parenExpr{of: p.fallback}); v != nil {
				f.locals.Set(p.name, v)
			} else {
				left = append(left, p)
			}
		}
		if len(left) == len(open) {
			r.missing(open[0].fallback)
		}
		open = left
	}
}

func (n *nestedNode) exec(r *renderer) signal {
	f := r.frame
	if f == nil || f.call == nil || !f.call.block {
		return sigNone
	}
	r.called(n.start)
	values := make([]*Value, 0, len(n.args))
	for _, a := range n.args {
		values = append(values, r.eval(a))
	}
	scopeBefore := r.scope
	r.frame, r.scope = f.caller, f.scope
	for i, name := range f.call.vars {
		if i < len(values) {
			r.push(name, values[i])
		} else {
			r.push(name, nil)
		}
	}
	s := r.exec(f.call.body)
	r.scope, r.frame = scopeBefore, f
	r.calls--
	return s
}

func (n *returnNode) exec(r *renderer) signal {
	r.result = nil
	if n.value != nil {
		r.result = r.eval(n.value)
	}
	return sigReturn
}

func (x *callExpr) eval(r *renderer) *Value {
	v := r.need(x.fn)
	m, ok := v.more.(*macroNode)
	if v.kind != kindMacro || !ok || !m.function {
		r.fail(x.fn, Type, "%s is %s and no function, so it cannot be called", r.code(x.fn), v.kindName())
	}
	r.called(x.start)
	f := &frame{macro: m, scope: r.scope, caller: r.frame, locals: NewObject()}
	r.positional(x.place, f, x.args)
	before := r.checkpoint()
	r.frame, r.scope = f, &scope{frame: f}
	r.defaults(x.start, f)
	r.result = nil
	_, s := r.capture(m.body)
	r.scope, r.frame = before.scope, before.frame
	r.calls--
	result := r.result
	r.result = nil
	if s != sigReturn {
		return nil
	}
	return result
}
