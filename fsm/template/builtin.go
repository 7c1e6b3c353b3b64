package template

import (
	"strings"
	"unicode"
)

// builtin is what stands behind ?name.
type builtin struct {
	min, max int // arguments
	fn       func(c *call) *Value
	lambda   bool   // arguments may be x -> y
	keyed    bool   // the argument may come as .name or [...]
	loop     bool   // for loop variables only
	maybe    bool   // takes a missing value
	refused  string // why it is not supported
}

// call is one use of a built-in.
type call struct {
	r *renderer
	x *builtinExpr
	v *Value // what it is used on; nil only when the built-in takes missing values
}

// findBuiltin finds a built-in by its name, written like_this or likeThis.
func findBuiltin(name string) (builtin, bool) {
	name = snake(name)
	for _, find := range []func(string) (builtin, bool){
		missingBuiltin, loopBuiltin, kindBuiltin, textBuiltin, partBuiltin, escapeBuiltin, regexBuiltin, numberBuiltin, listBuiltin, lambdaBuiltin,
		dateBuiltin, evalBuiltin, refusedBuiltin,
	} {
		if b, ok := find(name); ok {
			return b, true
		}
	}
	return builtin{}, false
}

func snake(name string) string {
	var b strings.Builder
	for i, c := range name {
		if unicode.IsUpper(c) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}

func (x *builtinExpr) eval(r *renderer) *Value {
	c := &call{r: r, x: x}
	switch {
	case x.spec.loop:
	case x.spec.maybe:
		c.v = r.maybe(x.of)
	default:
		c.v = r.need(x.of)
	}
	v := x.spec.fn(c)
	if v != nil && v.kind == kindText {
		r.charge(x.start, len(v.text))
	}
	return v
}

func (c *call) fail(kind Kind, format string, args ...any) {
	c.r.fail(c.x, kind, format, args...)
}

// wrong fails as the value is of the wrong kind.
func (c *call) wrong(want string) {
	c.r.fail(c.x.of, Type, "?%s is for %s, and %s is %s", c.x.name, want, c.r.code(c.x.of), c.v.kindName())
}

// text is the value as text; a number is printed first.
func (c *call) text() string {
	if !c.v.isText() && c.v.kind != kindNumber && (c.v.kind != kindBool || c.r.format.yes == "") {
		c.wrong("texts")
	}
	return c.r.text(c.x.of, c.v)
}

func (c *call) num() decimal {
	if c.v.kind != kindNumber {
		c.wrong("numbers")
	}
	return c.v.num
}

func (c *call) list() *Value {
	if !c.v.isList() {
		c.wrong("lists")
	}
	return c.v
}

// items are the items of the list, which is counted as made.
func (c *call) items() []*Value {
	v := c.list()
	n := v.size()
	c.r.tooMany(c.x.start, n)
	if v.rng == nil {
		return v.items
	}
	out := make([]*Value, n)
	for i := range n {
		out[i] = v.at(i)
	}
	return out
}

func (c *call) has(i int) bool { return i < len(c.x.args) }

func (c *call) arg(i int) *Value { return c.r.need(c.x.args[i]) }

func (c *call) textArg(i int) string {
	v := c.arg(i)
	if !v.isText() && v.kind != kindNumber {
		c.r.fail(c.x.args[i], Type, "?%s needs a text here, and %s is %s", c.x.name, c.r.code(c.x.args[i]), v.kindName())
	}
	return c.r.text(c.x.args[i], v)
}

// textArgOr is textArg with a default.
func (c *call) textArgOr(i int, other string) string {
	if c.has(i) {
		return c.textArg(i)
	}
	return other
}

func (c *call) intArg(i int) int { return int(c.r.whole(c.x.args[i])) }

// onText makes a built-in without arguments of a function of a text.
func onText(f func(string) string) builtin {
	return builtin{fn: func(c *call) *Value { return Text(f(c.text())) }}
}

func missingBuiltin(name string) (builtin, bool) {
	switch name {
	case "has_content":
		return builtin{maybe: true, fn: func(c *call) *Value { return Bool(hasContent(c.v)) }}, true
	case "exists":
		return builtin{maybe: true, fn: func(c *call) *Value { return Bool(c.v != nil) }}, true
	case "if_exists":
		return builtin{maybe: true, fn: func(c *call) *Value {
			if c.v == nil {
				return &Value{kind: kindEmpty, more: struct{}{}}
			}
			return c.v
		}}, true
	case "default":
		return builtin{maybe: true, min: 1, max: 9, fn: func(c *call) *Value {
			for i := 0; c.v == nil && c.has(i); i++ {
				c.v = c.r.maybe(c.x.args[i])
			}
			return c.v
		}}, true
	}
	return builtin{}, false
}

func hasContent(v *Value) bool {
	switch {
	case v == nil, v.kind == kindEmpty:
		return false
	case v.kind == kindText, v.kind == kindGroups:
		return v.text != ""
	case v.kind == kindList, v.kind == kindObject, v.kind == kindMatch:
		return v.size() > 0
	}
	return true
}

func loopBuiltin(name string) (builtin, bool) {
	of := func(f func(l *loop) *Value) (builtin, bool) {
		return builtin{loop: true, fn: func(c *call) *Value { return f(c.loop()) }}, true
	}
	switch name {
	case "index":
		return of(func(l *loop) *Value { return Int(l.index) })
	case "counter":
		return of(func(l *loop) *Value { return Int(l.index + 1) })
	case "has_next":
		return of(func(l *loop) *Value { return Bool(!l.last()) })
	case "is_first":
		return of(func(l *loop) *Value { return Bool(l.index == 0) })
	case "is_last":
		return of(func(l *loop) *Value { return Bool(l.last()) })
	case "is_even_item":
		return of(func(l *loop) *Value { return Bool(l.index%2 == 1) })
	case "is_odd_item":
		return of(func(l *loop) *Value { return Bool(l.index%2 == 0) })
	case "item_parity":
		return of(func(l *loop) *Value { return Text([]string{"odd", "even"}[l.index%2]) })
	case "item_parity_cap":
		return of(func(l *loop) *Value { return Text([]string{"Odd", "Even"}[l.index%2]) })
	case "item_cycle":
		return builtin{loop: true, min: 1, max: 100, fn: func(c *call) *Value {
			return c.arg(int(c.loop().index % int64(len(c.x.args))))
		}}, true
	}
	return builtin{}, false
}

// loop is the loop of the variable the built-in is used on; the parser has seen that there is one.
func (c *call) loop() *loop {
	l := c.r.loopOf(c.x.of.(*nameExpr).name)
	if l == nil {
		c.fail(Type, "?%s is for the loop variable of a list only", c.x.name)
	}
	return l
}

func kindBuiltin(name string) (builtin, bool) {
	is := func(f func(v *Value) bool) (builtin, bool) {
		return builtin{fn: func(c *call) *Value { return Bool(f(c.v)) }}, true
	}
	switch name {
	case "is_string":
		return is((*Value).isText)
	case "is_number":
		return is(func(v *Value) bool { return v.kind == kindNumber })
	case "is_boolean":
		return is(func(v *Value) bool { return v.isBool() })
	case "is_sequence", "is_enumerable", "is_indexable":
		return is((*Value).isList)
	case "is_hash", "is_hash_ex":
		return is((*Value).isObject)
	case "is_date", "is_date_like":
		return is(func(v *Value) bool { return v.kind == kindDate })
	case "is_macro":
		return is(func(v *Value) bool { return v.kind == kindMacro && !v.more.(*macroNode).function })
	case "is_method", "is_directive":
		return is(func(v *Value) bool {
			return v.kind == kindMacro && (v.more.(*macroNode).function == (name == "is_method"))
		})
	case "is_infinite", "is_nan", "is_node", "is_collection_ex":
		return is(func(*Value) bool { return false })
	case "is_collection":
		return is(func(v *Value) bool { return v.coll || v.kind == kindMatch })
	case "then":
		return builtin{min: 2, max: 2, fn: func(c *call) *Value {
			if !c.v.isBool() {
				c.wrong("booleans")
			}
			if c.v.flag {
				return c.arg(0)
			}
			return c.arg(1)
		}}, true
	case "switch":
		return builtin{min: 2, max: 99, fn: (*call).choose}, true
	}
	return builtin{}, false
}

// choose is ?switch(case, result, ..., default).
func (c *call) choose() *Value {
	args := c.x.args
	for len(args) >= 2 {
		if c.r.compare(&binaryExpr{c.x.place, "==", c.x.of, args[0]}, c.v, c.r.need(args[0])) {
			return c.r.need(args[1])
		}
		args = args[2:]
	}
	if len(args) == 1 {
		return c.r.need(args[0])
	}
	c.fail(BadValue, "no case of ?switch fits, and it has no default")
	return nil
}

// refusedBuiltin names what FreeMarker has and this package has not.
func refusedBuiltin(name string) (builtin, bool) {
	switch name {
	case "new", "api", "has_api":
		return builtin{refused: "it reaches into the engine's own objects"}, true
	case "parent", "children", "root", "ancestors", "node_name", "node_type", "node_namespace", "previous_sibling", "next_sibling":
		return builtin{refused: "there are no XML nodes"}, true
	case "esc", "no_esc", "markup_string", "is_markup_output":
		return builtin{refused: "there are no output formats"}, true
	case "rtf", "namespace", "is_transform", "is_unknown_date_like", "absolute_template_name", "with_args", "with_args_last", "byte", "short", "float", "double",
		"number_to_date", "number_to_time", "date_if_unknown", "time_if_unknown", "datetime_if_unknown", "truncate_m", "truncate_c_m", "truncate_w_m",
		"sequence", "iso", "iso_ms", "iso_h", "iso_m", "iso_nz", "iso_local", "cn", "blank_to_null", "empty_to_null", "trim_to_null", "has_loop_content", "resolve_uri":
		return builtin{refused: "it is not built"}, true
	}
	return builtin{}, false
}
