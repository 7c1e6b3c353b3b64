package template

import (
	"slices"
	"strings"
)

func listBuiltin(name string) (builtin, bool) {
	switch name {
	case "size":
		return builtin{fn: func(c *call) *Value {
			if !c.v.isList() && !c.v.isObject() {
				c.wrong("lists and objects")
			}
			return Int(c.v.size())
		}}, true
	case "first":
		return builtin{fn: func(c *call) *Value {
			if l := c.list(); l.size() > 0 {
				return l.at(0)
			}
			return nil
		}}, true
	case "last":
		return builtin{fn: func(c *call) *Value { return c.list().at(c.v.size() - 1) }}, true
	case "join":
		return builtin{min: 1, max: 3, fn: (*call).join}, true
	case "reverse":
		return builtin{fn: func(c *call) *Value {
			items := slices.Clone(c.items())
			slices.Reverse(items)
			return List(items...)
		}}, true
	case "sort":
		return builtin{fn: func(c *call) *Value { return c.sorted(nil) }}, true
	case "sort_by":
		return builtin{min: 1, max: 1, fn: func(c *call) *Value { return c.sorted(c.path()) }}, true
	case "seq_contains", "seq_index_of", "seq_last_index_of":
		return builtin{min: 1, max: 2, fn: (*call).find}, true
	case "min", "max":
		return builtin{fn: (*call).extreme}, true
	case "keys", "values":
		return builtin{fn: (*call).fields}, true
	case "chunk":
		return builtin{min: 1, max: 2, fn: (*call).chunk}, true
	}
	return builtin{}, false
}

// join puts items together; null items are left out.
func (c *call) join() *Value {
	items, sep := c.items(), c.textArg(0)
	var b strings.Builder
	for i, v := range items {
		if v == nil {
			continue
		}
		if b.Len() > MaxTextBytes {
			c.r.charge(c.x.start, b.Len())
		}
		switch v.kind {
		case kindBool:
			if c.r.format.yes == "" {
				c.fail(Type, "item %d of %s is a boolean, which ?join cannot print; write ?map(x -> x?c) before it", i+1, c.r.code(c.x.of))
			}
		case kindList, kindObject, kindMacro, kindMatch, kindMarkup:
			c.fail(Type, "item %d of %s is %s, which ?join cannot print", i+1, c.r.code(c.x.of), v.kindName())
		}
		if b.Len() > 0 || i > 0 && slices.ContainsFunc(items[:i], func(v *Value) bool { return v != nil }) {
			b.WriteString(sep)
		}
		b.WriteString(c.r.text(c.x.of, v))
	}
	if slices.ContainsFunc(items, func(v *Value) bool { return v != nil }) {
		return Text(b.String() + c.textArgOr(2, ""))
	}
	return Text(c.textArgOr(1, ""))
}

// path is the argument of ?sort_by: a key, or a list of keys.
func (c *call) path() []string {
	v := c.arg(0)
	if v.isText() {
		return []string{v.text}
	}
	if !v.isList() || v.size() == 0 || v.rng != nil {
		c.fail(BadValue, "?sort_by needs the name of a field, or a list of names")
	}
	var path []string
	for _, p := range v.items {
		if p == nil || !p.isText() {
			c.fail(BadValue, "?sort_by needs names that are texts")
		}
		path = append(path, p.text)
	}
	return path
}

// sorted sorts by the items, or by a field of them.
func (c *call) sorted(path []string) *Value {
	type pair struct {
		key  *Value
		item *Value
		rank []int
	}
	items := c.items()
	pairs := make([]pair, len(items))
	for i, v := range items {
		key := v
		for _, p := range path {
			if key != nil && key.kind == kindObject {
				key = key.obj.get(p)
			} else {
				key = nil
			}
		}
		switch {
		case key == nil:
			c.fail(BadValue, "?%s: item %d of %s has nothing to sort by", c.x.name, i+1, c.r.code(c.x.of))
		case key.kind != kindText && key.kind != kindNumber && key.kind != kindBool && key.kind != kindDate:
			c.fail(BadValue, "?%s: item %d of %s is %s, which has no order", c.x.name, i+1, c.r.code(c.x.of), key.kindName())
		case i > 0 && key.kind != pairs[0].key.kind:
			c.fail(BadValue, "?%s: %s mixes %s and %s", c.x.name, c.r.code(c.x.of), pairs[0].key.kindName(), key.kindName())
		}
		pairs[i] = pair{key: key, item: v}
		if key.kind == kindText {
			pairs[i].rank = collationKey(key.text)
			c.r.charge(c.x.start, 24*len(key.text))
		}
	}
	slices.SortStableFunc(pairs, func(a, b pair) int {
		switch a.key.kind {
		case kindNumber:
			return a.key.num.cmp(b.key.num)
		case kindDate:
			return a.key.more.(date).at.Compare(b.key.more.(date).at)
		case kindBool:
			switch {
			case a.key.flag == b.key.flag:
				return 0
			case b.key.flag:
				return -1
			}
			return 1
		}
		return slices.Compare(a.rank, b.rank)
	})
	out := make([]*Value, len(pairs))
	for i, p := range pairs {
		out[i] = p.item
	}
	return List(out...)
}

// find is ?seq_contains and ?seq_index_of: values of another kind are not equal to what is sought.
func (c *call) find() *Value {
	items, want, name := c.items(), c.r.eval(c.x.args[0]), snake(c.x.name)
	at := -1
	same := func(v *Value) bool {
		switch {
		case v == nil || want == nil:
			return false
		case v.kind == kindNumber && want.kind == kindNumber:
			return v.num.cmp(want.num) == 0
		case v.isText() && want.isText():
			return v.text == want.text
		case v.isBool() && want.isBool():
			return v.flag == want.flag
		case v.kind == kindDate && want.kind == kindDate:
			return v.more.(date).at.Equal(want.more.(date).at)
		}
		return false
	}
	from, to := 0, len(items)-1
	if c.has(1) && name == "seq_last_index_of" {
		to = min(c.intArg(1), to)
	} else if c.has(1) {
		from = max(c.intArg(1), 0)
	}
	for i := from; i <= to; i++ {
		if same(items[i]) {
			at = i
			if name != "seq_last_index_of" {
				break
			}
		}
	}
	if name == "seq_contains" {
		return Bool(at >= 0)
	}
	return Int(int64(at))
}

func (c *call) extreme() *Value {
	var best *Value
	op := map[string]string{"min": "<", "max": ">"}[c.x.name]
	for _, v := range c.items() {
		if v == nil {
			continue
		}
		if best == nil || c.r.compare(&binaryExpr{c.x.place, op, c.x.of, c.x.of}, v, best) {
			best = v
		}
	}
	return best
}

func (c *call) fields() *Value {
	if !c.v.isObject() {
		c.wrong("objects")
	}
	if c.v.obj == nil {
		return List()
	}
	c.r.tooMany(c.x.start, c.v.size())
	if c.x.name == "keys" {
		v := textList(c.v.obj.keys)
		v.coll = true
		return v
	}
	out := make([]*Value, 0, len(c.v.obj.keys))
	for _, k := range c.v.obj.keys {
		out = append(out, c.v.obj.get(k))
	}
	return &Value{kind: kindList, items: out, coll: true}
}

// chunk cuts a list into rows of n, the last filled up when there is something to fill with.
func (c *call) chunk() *Value {
	items, n := c.items(), c.intArg(0)
	if n < 1 {
		c.fail(BadValue, "?chunk needs a size of at least 1")
	}
	var rows []*Value
	for row := range slices.Chunk(items, n) {
		row = slices.Clone(row)
		if c.has(1) {
			c.r.tooMany(c.x.start, int64(n))
			for fill := c.arg(1); len(row) < n; {
				row = append(row, fill)
			}
		}
		rows = append(rows, List(row...))
	}
	return List(rows...)
}

func lambdaBuiltin(name string) (builtin, bool) {
	switch name {
	case "filter", "map", "take_while", "drop_while":
		return builtin{min: 1, max: 1, lambda: true, fn: (*call).each}, true
	}
	return builtin{}, false
}

// apply calls the argument, a lambda or a function, with v.
func (c *call) apply(v *Value) *Value {
	r := c.r
	r.step(c.x.start)
	if l, ok := c.x.args[0].(*lambda); ok {
		before := r.scope
		r.scope = &scope{parent: before, name: l.name, value: v, solid: true}
		out := r.need(l.body)
		r.scope = before
		return out
	}
	start, end := c.x.args[0].span()
	out := r.eval(&callExpr{place{start, end}, c.x.args[0], []expr{&literal{place{start, end}, v}}})
	if out == nil {
		r.missing(c.x.args[0])
	}
	return out
}

// each is ?filter, ?map, ?take_while and ?drop_while.
func (c *call) each() *Value {
	name := snake(c.x.name)
	var out []*Value
	dropping := true
	for _, v := range c.items() {
		got := c.apply(v)
		if name == "map" {
			out = append(out, got)
			continue
		}
		if !got.isBool() {
			c.r.fail(c.x.args[0], Type, "?%s needs a condition, and %s is %s", c.x.name, c.r.code(c.x.args[0]), got.kindName())
		}
		if name == "take_while" && !got.flag {
			break
		}
		dropping = dropping && got.flag
		if name == "drop_while" && !dropping || name != "drop_while" && got.flag {
			out = append(out, v)
		}
	}
	c.r.tooMany(c.x.start, int64(len(out)))
	return List(out...)
}
