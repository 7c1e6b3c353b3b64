package template

import (
	"strings"
)

// exec runs nodes until one ends them.
func (r *renderer) exec(body []node) signal {
	r.deeper(0)
	for _, n := range body {
		if s := n.exec(r); s != sigNone {
			r.depth--
			return s
		}
	}
	r.depth--
	return sigNone
}

func (r *renderer) deeper(at int) {
	r.depth++
	if r.depth > maxDepth {
		r.failAt(at, Limit, "the template nests too deep; look for an endless recursion")
	}
}

func (n nodes) exec(r *renderer) signal { return r.exec(n) }

func (n *textNode) exec(r *renderer) signal {
	r.write(n.at, n.text)
	return sigNone
}

func (n *interpNode) exec(r *renderer) signal {
	r.step(n.start)
	v := r.need(n.of)
	if n.format == nil {
		r.write(n.start, r.text(n.of, v))
		return sigNone
	}
	if v.kind != kindNumber {
		r.fail(n.of, Type, "#{...} prints numbers only, and %s is %s; write ${...}", r.code(n.of), v.kindName())
	}
	r.write(n.start, n.format.format(v.num))
	return sigNone
}

func (f *hashFormat) format(d decimal) string {
	if f.max < 0 {
		return d.String()
	}
	rounded := d.round(f.max, halfEven)
	s := rounded.fixed()
	if d.sign() < 0 && rounded.sign() == 0 {
		s = "-" + s // as Java does
	}
	for decimals := len(s) - strings.IndexByte(s, '.') - 1; strings.Contains(s, ".") && decimals > f.min && s[len(s)-1] == '0'; decimals-- {
		s = s[:len(s)-1]
	}
	s = strings.TrimSuffix(s, ".")
	whole, frac, _ := strings.Cut(s, ".")
	if len(frac) < f.min {
		return whole + "." + frac + strings.Repeat("0", f.min-len(frac))
	}
	return s
}

func (n *ifNode) exec(r *renderer) signal {
	for _, a := range n.arms {
		start, _ := a.test.span()
		r.step(start)
		if r.truth(a.test) {
			return r.exec(a.body)
		}
	}
	return r.exec(n.other)
}

func (n *listNode) exec(r *renderer) signal {
	v := r.need(n.of)
	l := r.newLoop(n.of, v, n.vars)
	if l.size == 0 {
		return r.exec(n.other)
	}
	if n.vars.first != "" {
		return r.walk(l, n.body)
	}
	before := r.scope
	r.scope = &scope{parent: before, loop: l}
	s := r.exec(n.body)
	r.scope = before
	return afterLoop(s)
}

func afterLoop(s signal) signal {
	if s == sigReturn {
		return s
	}
	return sigNone
}

// newLoop prepares to walk v.
func (r *renderer) newLoop(x expr, v *Value, vars loopVars) *loop {
	l := &loop{of: v, expr: x, vars: vars}
	switch {
	case vars.first == "" && v.kind == kindObject, vars.second != "" && v.isObject():
		if v.obj != nil {
			l.keys = v.obj.keys
		}
		l.size = int64(len(l.keys))
	case vars.second != "":
		r.fail(x, Type, "a loop with two variables walks an object, and %s is %s", r.code(x), v.kindName())
	case v.isList():
		l.size = v.size()
	case v.kind == kindObject:
		r.fail(x, Type, "%s is an object: walk it with <#list %s as key, value>, or walk %s?keys", r.code(x), r.code(x), r.code(x))
	default:
		r.fail(x, Type, "a loop walks a list, and %s is %s", r.code(x), v.kindName())
	}
	return l
}

// walk runs body for each item.
func (r *renderer) walk(l *loop, body []node) signal {
	before := r.scope
	out := sigNone
	at, _ := l.expr.span()
	for l.index = 0; l.index < l.size; l.index++ {
		r.step(at)
		if l.vars.second != "" {
			key := l.keys[l.index]
			r.scope = &scope{parent: before, name: l.vars.first, value: Text(key), loop: l}
			r.scope = &scope{parent: r.scope, name: l.vars.second, value: l.of.obj.get(key), loop: l}
		} else {
			r.scope = &scope{parent: before, name: l.vars.first, value: l.of.at(l.index), loop: l}
		}
		s := r.exec(body)
		if s == sigBreak {
			break
		}
		if s == sigReturn {
			out = s
			break
		}
	}
	r.scope = before
	return out
}

func (n *itemsNode) exec(r *renderer) signal {
	l := r.innerLoop()
	if n.vars.second == "" && l.keys != nil {
		r.fail(l.expr, Type, "%s is an object; write <#items as key, value>", r.code(l.expr))
	}
	if n.vars.second != "" && l.keys == nil {
		r.fail(l.expr, Type, "%s is no object; write <#items as item>", r.code(l.expr))
	}
	copied := *l
	copied.vars = n.vars
	return r.walk(&copied, n.body)
}

func (n *sepNode) exec(r *renderer) signal {
	if r.innerLoop().last() {
		return sigNone
	}
	return r.exec(n.body)
}

func (breakNode) exec(*renderer) signal    { return sigBreak }
func (continueNode) exec(*renderer) signal { return sigContinue }

func (n *assignNode) exec(r *renderer) signal {
	r.step(n.start)
	var v *Value
	if n.op == "" {
		v = r.need(n.value)
	} else {
		target := &nameExpr{n.place, n.name}
		old := r.variables(n.scope).get(n.name)
		if old == nil {
			r.failAt(n.start, Missing, "#%s changes %s, which it has not made before", n.scope, n.name)
		}
		v = r.arithmetic(&binaryExpr{n.place, n.op, target, n.value}, old, r.need(n.value))
	}
	r.variables(n.scope).Set(n.name, v)
	return sigNone
}

// variables is where #assign, #global or #local puts them.
func (r *renderer) variables(scope string) *Object {
	switch scope {
	case "global":
		return r.globals
	case "local":
		return r.frame.locals
	}
	return r.main
}

func (n *captureNode) exec(r *renderer) signal {
	text, s := r.capture(n.body)
	r.charge(n.start, len(text))
	r.variables(n.scope).Set(n.name, Text(text))
	return s
}

func (n *switchNode) exec(r *renderer) signal {
	var v *Value // is evaluated only when there is a case to compare it with
	from := -1
	for i, c := range n.cases {
		r.step(c.start)
		if c.value == nil {
			continue
		}
		if v == nil {
			v = r.need(n.of)
		}
		if r.compare(&binaryExpr{c.place, "==", n.of, c.value}, v, r.need(c.value)) {
			from = i
			break
		}
	}
	if from < 0 {
		for _, c := range n.cases {
			if c.value == nil {
				if s := r.exec(c.body); s != sigBreak {
					return s
				}
			}
		}
		return sigNone
	}
	for _, c := range n.cases[from:] {
		switch s := r.exec(c.body); s {
		case sigBreak:
			return sigNone
		case sigNone:
		default:
			return s
		}
	}
	return sigNone
}

func (n *stopNode) exec(r *renderer) signal {
	if n.text == nil {
		r.failAt(n.start, Stop, "the template stops here")
	}
	if lit, ok := n.text.(*literal); ok && lit.value.kind == kindText {
		r.failAt(n.start, Stop, "the template stops here: %s", lit.value.text)
	}
	r.failAt(n.start, Stop, "the template stops here (%s)", r.code(n.text))
	return sigNone
}

func (n *settingNode) exec(r *renderer) signal {
	v := r.need(n.value)
	if !v.isText() {
		r.fail(n.value, Type, "the value of a setting must be a text")
	}
	bad := func(what string) { r.fail(n.value, BadValue, "%s", what) }
	switch n.name {
	case "number_format":
		if _, err := parsePattern(v.text); v.text != "computer" && v.text != "number" && v.text != "c" && err != nil {
			bad("this is not a number format: " + err.Error())
		}
		r.format.number = v.text
	case "boolean_format":
		yes, no, ok := strings.Cut(v.text, ",")
		switch {
		case v.text == "c":
			yes, no = "true", "false"
		case !ok || yes == "" && no == "":
			bad("a boolean format is two texts with a comma between, such as \"yes,no\", or \"c\"")
		}
		r.format.yes, r.format.no = yes, no
	case "locale":
		if v.text != "en" && v.text != "en_US" {
			bad("the locale is always en_US")
		}
	case "time_zone":
		if v.text != "UTC" && v.text != "GMT" {
			bad("the time zone is always UTC")
		}
	case "url_escaping_charset":
		if !knownCharset(v.text) {
			bad("only UTF-8 and ISO-8859-1 are known")
		}
		r.format.encoding = v.text
	}
	return sigNone
}

func (n *attemptNode) exec(r *renderer) signal {
	text, s, failed := r.try(n.body)
	if failed == nil {
		r.out.WriteString(text)
		return s
	}
	before := r.failed
	r.failed = failed.Error()
	s = r.exec(n.recover)
	r.failed = before
	return s
}

// try runs body and gives its output, or its error. Limits are not caught.
func (r *renderer) try(body []node) (text string, s signal, failed *Error) {
	c := r.checkpoint()
	defer func() {
		if p := recover(); p != nil {
			e, ok := p.(*Error)
			if !ok || e.Kind == Limit {
				panic(p)
			}
			r.restore(c)
			text, failed = "", e
		}
	}()
	text, s = r.capture(body)
	return text, s, nil
}

func (n *compressNode) exec(r *renderer) signal {
	text, s := r.capture(n.body)
	r.out.WriteString(compress(text))
	return s
}

// compress makes each run of blanks one space or one line break, and trims both ends.
func compress(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); {
		j := i
		for j < len(text) && text[j] <= ' ' {
			j++
		}
		switch {
		case j == i:
			b.WriteByte(text[i])
			i++
			continue
		case b.Len() == 0, j == len(text):
		case strings.ContainsAny(text[i:j], "\r\n"): // the first one, as it is
			n := i + strings.IndexAny(text[i:j], "\r\n")
			b.WriteString(text[n : i+firstBreak(text[i:j])])
		default:
			b.WriteByte(' ')
		}
		i = j
	}
	return b.String()
}
