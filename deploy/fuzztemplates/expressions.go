package main

import (
	"fmt"
)

// kind is what an expression yields.
type kind int

const (
	text kind = iota
	num
	boolean
	listText
	listNum
	listObj
	object
)

// variable is a name in sight.
type variable struct {
	name string
	kind kind
	loop bool
}

func known() []variable {
	return []variable{
		{"s", text, false}, {"t", text, false}, {"empty", text, false}, {"n", num, false}, {"m", num, false}, {"b", boolean, false}, {"c", boolean, false},
		{"ls", listText, false}, {"lt", listText, false}, {"none", listText, false}, {"ln", listNum, false}, {"lo", listObj, false}, {"h", object, false},
	}
}

// variable gives the name of one of a kind, most often; now and then one that is absent or of another kind.
func (g *generator) variable(k kind) string {
	if g.c.oneIn(120) {
		return g.c.pick("nil", "absent", "h.absent", "k")
	}
	if g.c.oneIn(120) {
		k = kind(g.c.below(int(object) + 1))
	}
	var names []string
	for _, v := range g.vars {
		if v.kind == k {
			names = append(names, v.name)
		}
	}
	switch k {
	case text:
		names = append(names, "h.name", "k['a-b']", "k.z")
	case num:
		names = append(names, "h.port")
	case boolean:
		names = append(names, "h.on")
	case listText:
		names = append(names, "h.tags")
	}
	return names[g.c.below(len(names))]
}

// expr makes an expression of a kind.
func (g *generator) expr(k kind) string {
	g.depth++
	defer func() { g.depth-- }()
	if g.depth > 4 || g.c.below(3) == 0 {
		return g.leaf(k)
	}
	if g.c.oneIn(12) {
		return "(" + g.expr(k) + ")"
	}
	if g.c.oneIn(25) {
		return fmt.Sprintf("(%s)!%s", g.c.pick("nil", "absent", "h.absent", "absent.more", g.variable(k)), g.bracket(k))
	}
	switch k {
	case text:
		return g.textExpr()
	case num:
		return g.numExpr()
	case boolean:
		return g.flagExpr()
	case listText:
		return g.listTextExpr()
	case listNum:
		return g.listNumExpr()
	case listObj:
		return g.listObjExpr()
	}
	return g.objectExpr()
}

// bracket makes an expression that a built-in or operator may follow.
func (g *generator) bracket(k kind) string {
	e := g.expr(k)
	for _, c := range e {
		if c != '_' && (c < 'a' || c > 'z') {
			return "(" + e + ")"
		}
	}
	return e
}

func (g *generator) leaf(k kind) string {
	if g.c.below(3) < 2 {
		return g.variable(k)
	}
	switch k {
	case text:
		return g.literal(g.c.pick(texts()...))
	case num:
		return g.c.pick("1", "0", "2", "3", "10", "1.5", "0.25", "100", "-1")
	case boolean:
		return g.c.pick("true", "false")
	case listText:
		return "['b', 'a', 'C']"
	case listNum:
		return g.c.pick("[3, 1, 2]", "1..3", "[0.5]", "3..1", "0..<2", "2..*3")
	case listObj:
		return "[{'name': 'x', 'port': 2, 'on': true, 'tags': []}, {'name': 'b', 'port': 1, 'on': false, 'tags': ['q']}]"
	}
	return "{'name': 'lit', 'port': 80, 'on': true, 'tags': ['x', 'y']}"
}

// leafOf is a leaf that an index may follow. The reference slices an empty lazy list (of ?map) to a text.
func (g *generator) leafOf(k kind) string { return "(" + g.leaf(k) + ")" }

func (g *generator) small() string { return g.c.pick("0", "1", "2", "3", "5") }

func (g *generator) textExpr() string {
	part := func() string {
		return g.literal(g.c.pick("a", "b", "e", "", "-", ",", ".", "l", " ", "/", "1", "AB", "${s}", "\n"))
	}
	e := g.bracket
	switch g.c.below(26) {
	case 20:
		return fmt.Sprintf("%s?%s(%s, 'r')", e(text), g.c.pick("keep_before", "keep_after", "keep_before_last", "keep_after_last"), "r'"+g.regex()+"'")
	case 21:
		return fmt.Sprintf("%s?string(%s)", e(num), g.literal(g.c.pick("00", "#,##0", "#,###.00", "$0.0", "0%", "#", ".00", "0.0#", "'n'0", "-0;(0)", "##0.##", "0000000.0", "#,####.#", "currency", "percent", "number", "computer")))
	case 22:
		return fmt.Sprintf("%s?switch(%s, %s, %s, %s, %s)", e(num), g.leaf(num), g.expr(text), g.leaf(num), g.expr(text), g.expr(text))
	case 23:
		return fmt.Sprintf("%s?ensure_starts_with(%s, %s)", e(text), "'[a-z]+:'", g.literal(g.c.pick("http://", "x", "")))
	case 24:
		return fmt.Sprintf("%s?truncate%s(%s, %s)", e(text), g.c.pick("", "_c", "_w"), g.c.pick("2", "5", "6", "9"), g.literal(g.c.pick("...", "", "…", "--")))
	case 25:
		return e(text) + g.c.pick("?keep_before('a')?upper_case", "?split('a')?join('b')", "?trim?length + ''", "?word_list?join('_')", "?eval_json!''", "?url?url", "?html?html", "[1]?upper_case", "?contains('a')?c",
			"?right_pad(6, '-=')", "?left_pad(6)", "?index_of('a') + 'x'", "?last_index_of('a', 2) + 'x'", "?starts_with('a')?string('y', 'n')", "?replace('a', 'aa')?replace('aa', 'a')", "?matches('a')?string")
	case 0:
		return e(text) + " + " + e(text)
	case 1:
		return e(text) + "?" + g.c.pick("upper_case", "lower_case", "cap_first", "uncap_first", "capitalize", "trim", "chop_linebreak", "string")
	case 2:
		return e(text) + "?" + g.c.pick("html", "xml", "xhtml", "js_string", "json_string", "url", "url_path", "j_string")
	case 3:
		return e(num) + "?" + g.c.pick("c", "string", "string.computer", "string('0')", "string('0.00')", "string('#,##0.##')", "string['000.#']", "string('0.###')")
	case 4:
		return e(boolean) + "?" + g.c.pick("c", "string('yes', 'no')", "string", "then('on', 'off')", "string('', 'x')")
	case 5:
		return fmt.Sprintf("%s?%s(%s, %s)", e(text), g.c.pick("left_pad", "right_pad"), g.c.pick("0", "3", "8", "12"), g.literal(g.c.pick(" ", ".", "ab", "-=")))
	case 6:
		return fmt.Sprintf("%s?replace(%s, %s%s)", e(text), part(), part(), g.c.pick("", ", 'f'", ", 'i'", ", 'if'"))
	case 7:
		return fmt.Sprintf("%s?replace(r'%s', '%s', 'r')", e(text), g.regex(), g.c.pick("", "x", "<$0>", "[$1]", "\\\\$"))
	case 8:
		return fmt.Sprintf("%s?%s(%s)", e(text), g.c.pick("keep_before", "keep_after", "keep_before_last", "keep_after_last", "remove_beginning", "remove_ending",
			"ensure_starts_with", "ensure_ends_with"), part())
	case 9:
		return fmt.Sprintf("%s?%s(%s)", e(text), g.c.pick("truncate", "truncate_c", "truncate_w"), g.c.pick("5", "8", "3", "20"))
	case 10:
		return fmt.Sprintf("%s?join(%s%s)", e(g.list()), part(), g.c.pick("", ", 'none'", ", '-', '.'"))
	case 11:
		return e(listText) + g.c.pick("?first!'z'", "?last!'z'", "[0]!'z'", "[1]!", "?min!'-'")
	case 12:
		return e(object) + g.c.pick(".name", "['name']", "['na' + 'me']", ".name!")
	case 13:
		return fmt.Sprintf("%s?substring(%s%s)", e(text), g.c.pick("0", "1", "2"), g.c.pick("", ", 1", ", 2", ", 3"))
	case 14:
		return e(text) + g.c.pick("[0]", "[0..1]", "[1..]", "[0..*3]", "[1..*2]", "[0..<1]", "[2..*100]")
	case 15:
		return "\"" + g.c.pick("", "x", "é ") + "${" + g.variable(g.printable()) + "}" + g.c.pick("", "y", "$") + "\""
	case 16:
		return fmt.Sprintf("%s?switch('a', 'first', %s, 'second', 'other')", e(text), g.literal(g.c.pick(texts()...)))
	case 17:
		return e(num) + "?" + g.c.pick("lower_abc", "upper_abc")
	case 18:
		return fmt.Sprintf("%s + %s", e(num), e(text))
	}
	return g.call(text)
}

// list is one of the kinds of lists whose items can be printed.
func (g *generator) list() kind {
	if g.c.oneIn(3) {
		return listNum
	}
	return listText
}

// printable is a kind that ${} takes.
func (g *generator) printable() kind {
	if g.c.oneIn(3) {
		return num
	}
	return text
}

// regex is an expression that Java and RE2 read alike, and that never fits the empty text.
func (g *generator) regex() string {
	return g.c.pick("[0-9]+", "a|b", "[^a-z]", "(.)b", "([a-z])([0-9])", "[aeiou]", "^.", "l+", "(\\w)\\.", "-(\\d)", "\\s+", "(?i)W")
}

func (g *generator) call(k kind) string {
	for _, f := range g.functions {
		if f.kind == k && g.c.below(2) == 0 {
			return fmt.Sprintf("%s(%s, %s)", f.name, g.expr(text), g.expr(num))
		}
	}
	return g.leaf(k)
}

func (g *generator) numExpr() string {
	e := g.bracket
	switch g.c.below(17) {
	case 14:
		return g.c.pick("0.1", "3000", "123456789.123456789", "0.0000001", "999999999999999") + g.c.pick("", " * 3", " / 3", " + 0.25", " - 0.0000001")
	case 15:
		return fmt.Sprintf("(%s %s %s) %s %s", e(num), g.c.pick("/", "*", "%"), g.c.pick("3", "7", "0.3", "-2"), g.c.pick("*", "+", "/", "%"), g.c.pick("3", "11", "-1.5"))
	case 16:
		return fmt.Sprintf("%s?switch(%s, %s, %s)", e(text), g.expr(text), g.expr(num), g.expr(num))
	case 0:
		return e(num) + g.c.pick(" + ", " - ", " * ", " / ", " % ") + e(num)
	case 1:
		return e(text) + "?length"
	case 2:
		return e(kind(int(listText)+g.c.below(3))) + "?size"
	case 3:
		return e(num) + "?" + g.c.pick("abs", "round", "floor", "ceiling", "int", "long")
	case 4:
		return g.c.pick("'12'", "'1.50'", "'-3'", "'1e2'", "'x1'", "'+4'", "' 5'") + "?number"
	case 5:
		return fmt.Sprintf("%s?%s(%s%s)", e(text), g.c.pick("index_of", "last_index_of"), g.literal(g.c.pick("a", "b", "", "1", "e")), g.c.pick("", ", 1", ", 3", ", 100", ", -1"))
	case 6:
		return fmt.Sprintf("%s?%s(%s)", e(listText), g.c.pick("seq_index_of", "seq_last_index_of"), g.expr(text))
	case 7:
		return e(listNum) + g.c.pick("?first!0", "?last!0", "[0]!1", "?min!0", "?max!0")
	case 8:
		return e(object) + ".port"
	case 9:
		return "-" + e(num)
	case 10, 11:
		for i := len(g.vars) - 1; i >= 0; i-- {
			if g.vars[i].loop {
				return g.vars[i].name + g.c.pick("?index", "?counter", "_index")
			}
		}
		return e(object) + "?size"
	case 12:
		return fmt.Sprintf("%s?then(%s, %s)", e(boolean), g.expr(num), g.expr(num))
	}
	return g.call(num)
}

func (g *generator) flagExpr() string {
	e := g.bracket
	switch g.c.below(19) {
	case 16:
		return fmt.Sprintf("(%s)?matches(r'%s', '%s')", e(text), g.regex(), g.c.pick("i", "m", "s", "ism"))
	case 17:
		return fmt.Sprintf("%s?is_%s", g.c.pick("(s?matches('a'))", "1..2", "1..", "nil!", "(h?keys)", "ls?map(x -> x)", "'x'?datetime('x')!1", ".data_model", ".main", ".now"), g.c.pick("string", "number", "boolean", "sequence", "hash", "hash_ex", "enumerable", "indexable", "collection", "collection_ex", "date_like", "macro"))
	case 18:
		return e(text) + g.c.pick(" < ", " lt ", " == 1 || b && ", " != ") + e(text)
	case 0:
		return e(text) + g.c.pick(" == ", " != ", " = ") + e(text)
	case 1:
		return e(num) + g.c.pick(" == ", " != ", " lt ", " lte ", " gt ", " gte ", " < ", " <= ") + e(num)
	case 2:
		return "(" + e(num) + g.c.pick(" > ", " >= ", " < ") + e(num) + ")"
	case 3:
		return e(boolean) + g.c.pick(" && ", " || ", " == ", " != ") + e(boolean)
	case 4:
		return "!" + e(boolean)
	case 5:
		return g.c.pick("nil", "absent", "h.absent", "s", "h.name", "(absent.x)", "none", "h.tags[0]", "lo[0]", "(lo[1].name)") + g.c.pick("??", "?has_content", "?exists")
	case 6:
		return e(kind(g.c.below(int(object)+1))) + "?has_content"
	case 7:
		return fmt.Sprintf("%s?%s(%s)", e(text), g.c.pick("contains", "starts_with", "ends_with"), g.literal(g.c.pick("a", "", "b", "1")))
	case 8:
		return fmt.Sprintf("%s?seq_contains(%s)", e(listText), g.expr(text))
	case 9:
		return fmt.Sprintf("%s?seq_contains(%s)", e(listNum), g.expr(num))
	case 10:
		return e(kind(g.c.below(int(object)+1))) + "?" + g.c.pick("is_string", "is_number", "is_boolean", "is_sequence", "is_hash", "is_hash_ex", "is_enumerable", "is_indexable",
			"is_date", "is_macro", "is_method", "is_directive", "is_collection", "is_node")
	case 11:
		for i := len(g.vars) - 1; i >= 0; i-- {
			if g.vars[i].loop {
				return g.vars[i].name + g.c.pick("?has_next", "?is_first", "?is_last", "?is_even_item", "?is_odd_item", "_has_next")
			}
		}
		return e(object) + ".on"
	case 12:
		return fmt.Sprintf("%s?matches(r'%s')", e(text), g.regex())
	case 13:
		return g.c.pick("'true'", "'false'", "'yes'") + "?boolean"
	case 14:
		return e(object) + ".on"
	}
	return fmt.Sprintf("%s?then(%s, %s)", e(boolean), g.expr(boolean), g.expr(boolean))
}

func (g *generator) listTextExpr() string {
	e := g.bracket
	switch g.c.below(17) {
	case 13:
		return fmt.Sprintf("%s?sort_by(['name'])?map(o -> o.name)", e(listObj))
	case 14:
		return fmt.Sprintf("(%s + %s)?sort", e(listText), g.c.pick("['é', 'E', 'e']", "['web-10', 'web2', 'web 1']", "['_a', 'a', 'A', '1']", "['a', '', ' ']"))
	case 15:
		return g.leafOf(listText) + g.c.pick("?filter(x -> x?has_content)", "?filter(x -> x != 'a')?map(x -> x?upper_case)", "?take_while(x -> x?length lt 3)", "?drop_while(x -> x == 'a')") + g.c.pick("", "?reverse", "?sort", "[0..*1]")
	case 16:
		return fmt.Sprintf("%s?split(%s)", e(text), g.literal(g.c.pick("", "aa", "\n", "  ")))
	case 0:
		return "[" + g.expr(text) + ", " + g.expr(text) + "]"
	case 1:
		return e(listText) + "?" + g.c.pick("sort", "reverse", "sort?reverse")
	case 2:
		return fmt.Sprintf("%s?split(%s%s)", e(text), g.literal(g.c.pick(",", "a", ".", " ", "b", ";")), g.c.pick("", ", 'i'"))
	case 3:
		return fmt.Sprintf("%s?split(r'%s', 'r')", e(text), g.regex())
	case 4:
		return e(listText) + " + " + e(listText)
	case 5:
		return e(object) + "?keys"
	case 6:
		return g.leafOf(listText) + g.c.pick("[0..*2]", "[1..]", "[0..<1]", "[0..0]", "[1..0]", "[1..*9]")
	case 7:
		v := g.fresh()
		return fmt.Sprintf("%s?map(%s -> %s)", e(listText), v, g.plain(v, text, text))
	case 8:
		v := g.fresh()
		return fmt.Sprintf("%s?%s(%s -> %s)", e(listText), g.c.pick("filter", "take_while", "drop_while"), v, g.plain(v, text, boolean))
	case 9:
		return e(listObj) + "?map(o -> o.name)"
	case 10:
		return "k?values"
	case 11:
		return e(text) + "?word_list"
	}
	return e(object) + ".tags"
}

func (g *generator) listNumExpr() string {
	e := g.bracket
	switch g.c.below(8) {
	case 0:
		return "[" + g.expr(num) + ", " + g.expr(num) + "]"
	case 1:
		return e(listNum) + "?" + g.c.pick("sort", "reverse")
	case 2:
		return g.small() + g.c.pick("..", "..<", "..*", "..!") + g.small()
	case 3:
		return e(listNum) + " + " + e(listNum)
	case 4:
		v := g.fresh()
		return fmt.Sprintf("%s?map(%s -> %s)", e(listNum), v, g.plain(v, num, num))
	case 5:
		v := g.fresh()
		return fmt.Sprintf("%s?filter(%s -> %s)", e(listNum), v, g.plain(v, num, boolean))
	case 6:
		return e(listObj) + "?map(o -> o.port)"
	}
	return e(listText) + "?map(x -> x?length)"
}

func (g *generator) listObjExpr() string {
	e := g.bracket
	switch g.c.below(5) {
	case 0:
		return "[" + g.expr(object) + "]"
	case 1:
		return fmt.Sprintf("%s?sort_by('%s')", e(listObj), g.c.pick("name", "port", "on"))
	case 2:
		return e(listObj) + "?reverse"
	case 3:
		v := g.fresh()
		return fmt.Sprintf("%s?filter(%s -> %s)", e(listObj), v, g.plain(v, object, boolean))
	}
	return e(listObj) + " + " + e(listObj)
}

func (g *generator) objectExpr() string {
	e := g.bracket
	switch g.c.below(3) {
	case 0:
		return fmt.Sprintf("{'name': %s, 'port': %s, 'on': %s, 'tags': %s}", g.expr(text), g.expr(num), g.expr(boolean), g.expr(listText))
	case 1:
		return e(object) + " + {'name': " + g.expr(text) + "}"
	}
	return e(listObj) + "?first!" + "h"
}

// plain makes the body of a lambda on v, one that cannot fail: the reference works lazily, and so may never come to an
// item that fails.
func (g *generator) plain(v string, from, to kind) string {
	switch {
	case from == text && to == text:
		return v + g.c.pick(" + 'x'", "?upper_case", "?trim", "?length + s", "", " + n")
	case from == text:
		return g.c.pick(v+" == 'a'", v+"?has_content", v+"?length gt 2", v+"?contains('e')", v+" != s", "b", "ls?seq_contains("+v+")")
	case from == num && to == num:
		return v + g.c.pick(" * 2", " + 1", "", " - n", "?abs")
	case from == num:
		return g.c.pick(v+" == 1", v+" gt 2", v+" lte n", "c", v+" % 2 == 0")
	}
	return g.c.pick(v+".on", v+".port gt 5", v+".name == 'a'", v+".tags?has_content", "!"+v+".on")
}

func (g *generator) fresh() string {
	g.names++
	return fmt.Sprintf("v%d", g.names)
}
