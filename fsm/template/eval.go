package template

import (
	"math"
	"time"
)

// eval gives the value of x, nil when it is missing.
func (r *renderer) eval(x expr) *Value {
	start, _ := x.span()
	r.deeper(start)
	v := x.eval(r)
	r.depth--
	return v
}

// need is eval for a place where a missing value is an error.
func (r *renderer) need(x expr) *Value {
	v := r.eval(x)
	if v == nil {
		r.missing(x)
	}
	return v
}

// maybe is eval for a place that excuses a missing value: within brackets also that of an earlier step.
func (r *renderer) maybe(x expr) (v *Value) {
	if _, ok := x.(*parenExpr); !ok {
		return r.eval(x)
	}
	c := r.checkpoint()
	defer func() {
		if p := recover(); p != nil {
			if e, ok := p.(*Error); !ok || e.Kind != Missing {
				panic(p)
			}
			r.restore(c)
			v = nil
		}
	}()
	return r.eval(x)
}

// truth evaluates a condition.
func (r *renderer) truth(x expr) bool {
	v := r.need(x)
	if !v.isBool() && nothing(v) == nil {
		r.fail(x, Type, "a condition must be true or false, and %s is %s; compare it, or test it with ?? or ?has_content", r.code(x), v.kindName())
	}
	return v.flag
}

// text gives v as text to print.
func (r *renderer) text(x expr, v *Value) string {
	switch v.kind {
	case kindText, kindGroups, kindEmpty:
		return v.text
	case kindNumber:
		return r.numberText(x, v.num)
	case kindDate:
		return v.more.(date).defaultText()
	case kindBool:
		if r.format.yes != "" || r.format.no != "" {
			if v.flag {
				return r.format.yes
			}
			return r.format.no
		}
		r.fail(x, Type, "%s is a boolean, which has no text of its own: write %s?c or %s?string('yes', 'no')", r.code(x), r.code(x), r.code(x))
	case kindList:
		r.fail(x, Type, "%s is a list: print one item, or %s?join(', '), or walk it with <#list>", r.code(x), r.code(x))
	}
	r.fail(x, Type, "%s is %s, which cannot be printed", r.code(x), v.kindName())
	return ""
}

func (r *renderer) numberText(x expr, d decimal) string {
	switch r.format.number {
	case "", "computer", "c":
		return d.String()
	case "number":
		return numberPattern("#,##0.###").format(d)
	}
	p, err := parsePattern(r.format.number)
	if err != nil {
		r.fail(x, BadValue, "%v", err)
	}
	return p.format(d)
}

func (x *literal) eval(*renderer) *Value { return x.value }

func (x *mixedText) eval(r *renderer) *Value {
	var text string
	for _, p := range x.parts {
		text += r.text(p, r.need(p))
		r.charge(x.start, len(text))
	}
	return Text(text)
}

func (x *listLiteral) eval(r *renderer) *Value {
	v := &Value{kind: kindList, items: make([]*Value, 0, len(x.items))}
	for _, item := range x.items {
		v.items = append(v.items, r.need(item))
	}
	r.charge(x.start, 8*len(v.items))
	return v
}

func (x *objectLiteral) eval(r *renderer) *Value {
	o := NewObject()
	for i, k := range x.keys {
		key := r.need(k)
		if !key.isText() {
			r.fail(k, Type, "a key must be a text, and %s is %s", r.code(k), key.kindName())
		}
		o.Set(key.text, r.need(x.values[i]))
	}
	r.charge(x.start, 32*len(o.keys))
	return o.Value()
}

// whole evaluates a number and drops its decimals.
func (r *renderer) whole(x expr) int64 {
	v := r.need(x)
	if v.kind != kindNumber {
		r.fail(x, Type, "a number is needed, and %s is %s", r.code(x), v.kindName())
	}
	n, ok := v.num.int64()
	if !ok || n > math.MaxInt32 || n < math.MinInt32 {
		r.fail(x, BadValue, "the number %s is too large here", r.code(x))
	}
	return n
}

func (x *rangeExpr) eval(r *renderer) *Value {
	from := r.whole(x.from)
	g := &numberRange{from: from, step: 1}
	v := &Value{kind: kindList, rng: g}
	if x.to == nil {
		g.open, g.fits = true, true
		return v
	}
	to := r.whole(x.to)
	switch x.op {
	case "..*":
		g.fits = true
		if g.size = to; to < 0 {
			g.size, g.step = -to, -1
		}
	default:
		if g.size = to - from; g.size < 0 {
			g.size, g.step = -g.size, -1
		}
		if x.op == ".." {
			g.size++
		}
	}
	return v
}

func (x *nameExpr) eval(r *renderer) *Value { return r.lookup(x.name) }

func (x *special) eval(r *renderer) *Value {
	switch x.name {
	case "data_model":
		return r.data
	case "globals":
		return r.merged(r.data.obj, r.globals)
	case "main", "namespace":
		return r.main.Value()
	case "vars":
		return r.merged(r.data.obj, r.globals, r.main)
	case "locals":
		if r.frame != nil {
			return r.frame.locals.Value()
		}
	case "now":
		return &Value{kind: kindDate, more: date{time.Now().UTC(), dateTime}}
	case "locale":
		return Text("en_US")
	case "lang":
		return Text("en")
	case "error":
		return Text(r.failed)
	}
	return nil
}

func (r *renderer) merged(all ...*Object) *Value {
	out := NewObject()
	for _, o := range all {
		r.charge(0, 32*len(o.keys))
		for _, k := range o.keys {
			out.Set(k, o.get(k))
		}
	}
	return out.Value()
}

func (x *member) eval(r *renderer) *Value {
	of := r.need(x.of)
	if !of.isObject() {
		r.fail(x.of, Type, "%s is %s, so it has no field %s", r.code(x.of), of.kindName(), x.name)
	}
	if of.obj == nil {
		return nil
	}
	return of.obj.get(x.name)
}

func (x *indexExpr) eval(r *renderer) *Value {
	of, index := r.need(x.of), r.need(x.index)
	switch {
	case index.rng != nil:
		return r.slice(x, of, index.rng)
	case index.kind == kindNumber:
		i, ok := index.num.int64()
		switch {
		case of.isList():
			if !ok {
				return nil
			}
			return of.at(i)
		case of.isText() || of.kind == kindNumber: // a number is indexed like its text
			units := utf16Of(r.text(x.of, of))
			if !ok || i < 0 || i >= int64(len(units)) {
				r.fail(x, BadValue, "the text %s is shorter than the index %s asks for", r.code(x.of), r.code(x.index))
			}
			return Text(fromUTF16(units[i : i+1]))
		}
		r.fail(x.of, Type, "only a list or text has numbered items, and %s is %s", r.code(x.of), of.kindName())
	case index.isText():
		if !of.isObject() {
			r.fail(x.of, Type, "%s is %s, so it has no field %s", r.code(x.of), of.kindName(), r.code(x.index))
		}
		if of.obj == nil {
			return nil
		}
		return of.obj.get(index.text)
	}
	r.fail(x.index, Type, "an index must be a number, a text or a range, and %s is %s", r.code(x.index), index.kindName())
	return nil
}

// slice cuts a range out of a list or text.
func (r *renderer) slice(x *indexExpr, of *Value, g *numberRange) *Value {
	var units []uint16
	var size int64
	text := of.isText() && of.kind != kindEmpty || of.kind == kindNumber // a number is cut like its text
	switch {
	case text:
		units = utf16Of(r.text(x.of, of))
		size = int64(len(units))
	case of.isList():
		size = of.size()
	default:
		r.fail(x.of, Type, "only a list or text has slices, and %s is %s", r.code(x.of), of.kindName())
	}
	cut := r.cut(x, g, size)
	if text {
		if g.step < 0 && cut > 1 {
			r.fail(x.index, BadValue, "a text is not sliced backwards; %s counts down", r.code(x.index))
		}
		if cut == 0 {
			return Text("")
		}
		return Text(fromUTF16(units[g.from : g.from+cut]))
	}
	r.tooMany(x.start, cut)
	v := &Value{kind: kindList, items: make([]*Value, 0, cut)}
	for i := range cut {
		v.items = append(v.items, of.at(g.from+i*g.step))
	}
	return v
}

// cut gives how many items a range takes of size.
func (r *renderer) cut(x *indexExpr, g *numberRange, size int64) int64 {
	if !g.open && g.size == 0 {
		return 0
	}
	beyond := g.from >= size
	if g.fits && g.step > 0 {
		beyond = g.from > size
	}
	if g.from < 0 || beyond {
		r.fail(x.index, BadValue, "the range %s begins outside of %s", r.code(x.index), r.code(x.of))
	}
	if g.open {
		return size - g.from
	}
	last := g.from + (g.size-1)*g.step
	if last >= 0 && last < size {
		return g.size
	}
	if !g.fits {
		r.fail(x.index, BadValue, "the range %s ends outside of %s; write start..*length to take what is there", r.code(x.index), r.code(x.of))
	}
	if last < 0 {
		return g.from + 1
	}
	return size - g.from
}

// tooMany refuses lists beyond the limit, and counts them.
func (r *renderer) tooMany(at int, n int64) {
	if n > MaxListItems {
		r.failAt(at, Limit, "this makes a list of more than %d items", MaxListItems)
	}
	r.charge(at, int(n)*8)
}

func (x *defaultExpr) eval(r *renderer) *Value {
	if v := r.maybe(x.of); v != nil {
		return v
	}
	if x.other == nil {
		return &Value{kind: kindEmpty}
	}
	return r.eval(x.other)
}

func (x *existsExpr) eval(r *renderer) *Value { return Bool(r.maybe(x.of) != nil) }

func (x *parenExpr) eval(r *renderer) *Value { return r.eval(x.of) }

func (x *lambda) eval(r *renderer) *Value {
	r.fail(x, Syntax, "a -> b may only stand as the argument of ?filter, ?map and their like")
	return nil
}

func (x *escapedExpr) eval(r *renderer) *Value {
	before := r.scope
	r.scope = &scope{parent: before, name: x.name, lazy: x.of}
	v := r.eval(x.body)
	r.scope = before
	return v
}

func (x *unaryExpr) eval(r *renderer) *Value {
	if x.op == "!" {
		return Bool(!r.truth(x.of))
	}
	v := r.need(x.of)
	if v.kind != kindNumber {
		r.fail(x.of, Type, "a number is needed after %s, and %s is %s", x.op, r.code(x.of), v.kindName())
	}
	if x.op == "-" {
		return number(v.num.neg())
	}
	return v
}
