package template

import (
	"strings"
	"unicode"
	"unicode/utf16"
)

func utf16Of(s string) []uint16 { return utf16.Encode([]rune(s)) }

// utf16Length is the length of s in UTF-16 units.
func utf16Length(s string) (n int) {
	for _, c := range s {
		if n++; c > 0xFFFF {
			n++
		}
	}
	return n
}

// fromUTF16 gives the text of UTF-16 units. Half of a pair, which a cut may leave, is a question mark, as it is when the
// reference writes it out.
func fromUTF16(u []uint16) string {
	var b strings.Builder
	b.Grow(len(u))
	for i := 0; i < len(u); i++ {
		c := rune(u[i])
		if utf16.IsSurrogate(c) {
			next := rune(0)
			if i+1 < len(u) {
				next = rune(u[i+1])
			}
			if c = utf16.DecodeRune(c, next); c == unicode.ReplacementChar {
				c = '?'
			} else {
				i++
			}
		}
		b.WriteRune(c)
	}
	return b.String()
}

func (x *binaryExpr) eval(r *renderer) *Value {
	switch x.op {
	case "&&":
		return Bool(r.truth(x.a) && r.truth(x.b))
	case "||":
		return Bool(r.truth(x.a) || r.truth(x.b))
	}
	a := r.need(x.a)
	if strings.Contains("-*/%", x.op) {
		r.operand(x, x.a, a)
	}
	b := r.need(x.b)
	if strings.Contains("+-*/%", x.op) {
		return r.arithmetic(x, a, b)
	}
	return Bool(r.compare(x, a, b))
}

func (r *renderer) arithmetic(x *binaryExpr, a, b *Value) *Value {
	if a.kind == kindNumber && b.kind == kindNumber {
		return r.calculate(x, a.num, b.num)
	}
	if x.op != "+" {
		r.operand(x, x.a, a)
		r.operand(x, x.b, b)
	}
	switch {
	case a.isList() && b.isList():
		return r.joinLists(x, a, b)
	case a.kind == kindObject && b.isObject(), a.isObject() && b.kind == kindObject:
		return r.joinObjects(x, a, b)
	}
	s, t := r.text(x.a, a), r.text(x.b, b)
	r.charge(x.start, len(s)+len(t))
	return Text(s + t)
}

// operand requires a number beside - * / and %.
func (r *renderer) operand(x *binaryExpr, side expr, v *Value) {
	if v.kind != kindNumber {
		r.fail(side, Type, "%s needs numbers, and %s is %s; a text becomes a number by ?number", x.op, r.code(side), v.kindName())
	}
}

func (r *renderer) calculate(x *binaryExpr, a, b decimal) *Value {
	var d decimal
	switch x.op {
	case "+":
		d = a.add(b)
	case "-":
		d = a.add(b.neg())
	case "*":
		d = a.mul(b)
	case "/":
		if b.sign() == 0 {
			r.fail(x, BadValue, "division by zero: %s", r.code(x))
		}
		d = a.quo(b)
	case "%":
		a, b = a.wrap(64), b.wrap(64) // as Java does, which takes them for 64 bits
		if b.whole().Sign() == 0 {
			r.fail(x, BadValue, "division by zero: %s", r.code(x))
		}
		d = a.rem(b)
	}
	if d.tooLong() {
		r.fail(x, Limit, "the result of %s has more than %d digits", r.code(x), MaxDigits)
	}
	return number(d)
}

func (r *renderer) joinLists(x *binaryExpr, a, b *Value) *Value {
	n := a.size() + b.size()
	r.tooMany(x.start, n)
	out := &Value{kind: kindList, items: make([]*Value, 0, n)}
	for _, v := range []*Value{a, b} {
		for i := range v.size() {
			out.items = append(out.items, v.at(i))
		}
	}
	return out
}

func (r *renderer) joinObjects(x *binaryExpr, a, b *Value) *Value {
	out := NewObject()
	for _, v := range []*Value{a, b} {
		if v.obj == nil {
			continue
		}
		for _, k := range v.obj.keys {
			out.Set(k, v.obj.get(k))
		}
	}
	r.tooMany(x.start, int64(4*len(out.keys)))
	return out.Value()
}

// compare is == != < <= > >=.
func (r *renderer) compare(x *binaryExpr, a, b *Value) bool {
	var order int
	switch {
	case a.kind == kindNumber && b.kind == kindNumber:
		order = a.num.cmp(b.num)
	case a.kind == kindDate && b.kind == kindDate:
		da, db := a.more.(date), b.more.(date)
		if da.part != db.part {
			r.fail(x, Type, "a date, a time and a date with time do not compare with one another: %s", r.code(x))
		}
		order = da.at.Compare(db.at)
	case strings.ContainsAny(x.op, "<>"):
		r.fail(x, Type, "%s compares numbers and dates only, and here are %s and %s", x.op, a.kindName(), b.kindName())
	case a.isText() && b.isText():
		order = strings.Compare(a.text, b.text)
	case a.isBool() && b.isBool():
		if a.flag != b.flag {
			order = 1
		}
	default:
		r.fail(x, Type, "%s compares like with like, and here are %s and %s; a number becomes a text by ?c, a text a number by ?number", x.op, a.kindName(), b.kindName())
	}
	switch x.op {
	case "==", "=":
		return order == 0
	case "!=":
		return order != 0
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	}
	return order >= 0
}
