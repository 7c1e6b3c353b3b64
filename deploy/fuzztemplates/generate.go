package main

import (
	"fmt"
	"strings"
)

// generator makes a template and its data from choices. The template is written twice: with its own marks, and, for the
// reference engine that knows no other, with ${ and }.
type generator struct {
	c          *choices
	ours       strings.Builder
	reference  strings.Builder
	start, end string // marks; empty: the usual ones
	vars       []variable
	functions  []function
	macros     []macro
	depth      int // of expressions
	nest       int // of directives
	loops      int
	escapes    int
	names      int
	size       int
	newline    string
}

type function struct {
	name string
	kind kind
}

type macro struct {
	name  string
	block bool // it has <#nested>
}

// sample is one template with its data.
type sample struct {
	ours, reference, data, start, end string
	made                              []uint32
}

func generate(c *choices) sample {
	g := &generator{c: c, vars: known(), newline: "\n"}
	s := sample{data: g.data()}
	if c.oneIn(6) {
		marks := [][2]string{{"##", "##"}, {"{{", "}}"}, {"@{", "}"}, {"<%", "%>"}, {"[[", "]]"}}
		m := marks[c.below(len(marks))]
		g.start, g.end = m[0], m[1]
	}
	if c.oneIn(8) {
		g.newline = "\r\n"
	}
	if c.oneIn(25) {
		g.raw("<#ftl strip_whitespace=" + c.pick("true", "false") + ">" + g.newline)
	}
	if g.start != "" {
		g.interpolation("t") // the first run of a file has a rule of its own, and is a shorter one for the reference
	}
	for range 1 + c.below(6) {
		g.element()
	}
	s.ours, s.reference, s.start, s.end, s.made = g.ours.String(), g.reference.String(), g.start, g.end, c.made
	return s
}

// raw writes what is alike with all marks: tags and comments.
func (g *generator) raw(s string) {
	g.size += len(s)
	g.ours.WriteString(s)
	g.reference.WriteString(s)
}

// text writes text. With marks of its own a template may hold ${.
func (g *generator) text(s string) {
	g.size += len(s)
	g.ours.WriteString(s)
	if g.start != "" {
		s = strings.ReplaceAll(s, "${", `${r"${"}`)
	}
	g.reference.WriteString(s)
}

func (g *generator) interpolation(e string) {
	if g.start != "" && outsideQuotes(e, g.end) {
		e = "s" // an end mark within the expression would end it
	}
	g.size += len(e)
	g.reference.WriteString("${" + e + "}")
	if g.start == "" {
		g.ours.WriteString("${" + e + "}")
		return
	}
	g.ours.WriteString(g.start + e + g.end)
}

// value writes an interpolation of something that can be printed.
func (g *generator) value() {
	g.interpolation(g.expr(g.printable()))
}

func outsideQuotes(e, mark string) bool {
	var quote byte
	size := len(e)
	e += mark // an expression that ends with half a mark
	for i := 0; i < size; i++ {
		switch {
		case quote != 0 && e[i] == '\\':
			i++
		case quote != 0:
			if e[i] == quote {
				quote = 0
			}
		case e[i] == '\'' || e[i] == '"':
			quote = e[i]
		case strings.HasPrefix(e[i:], mark):
			return true
		}
	}
	return false
}

// tag writes a tag, alone on its line most often, which is what white space rules are about.
func (g *generator) tag(s string) {
	switch g.c.below(5) {
	case 0:
		g.raw(s + g.newline)
	case 1:
		g.raw(g.c.pick("  ", "\t", "    ") + s + g.newline)
	case 2:
		g.raw(s)
	case 3:
		g.raw(s + g.c.pick(" ", "  ") + g.newline)
	case 4:
		g.raw(s + " ")
	}
}

func (g *generator) body() {
	g.nest++
	mark := len(g.vars)
	for range g.c.below(4) {
		g.element()
	}
	g.vars = g.vars[:mark]
	g.nest--
}

func (g *generator) element() {
	if g.size > 3000 || g.nest > 4 {
		g.line()
		return
	}
	switch g.c.below(30) {
	case 0, 1, 2, 3, 4, 5:
		g.line()
	case 6, 7, 8:
		g.value()
	case 9, 10, 11:
		g.ifTag()
	case 12, 13, 14, 15:
		g.listTag()
	case 16, 17, 18:
		g.assign()
	case 19:
		g.switchTag()
	case 20, 21:
		g.define()
	case 22, 23:
		g.callMacro()
	case 24:
		g.tag("<#-- " + g.c.pick("note", "${s}", "<#if>", "two\nlines") + " -->")
	case 25:
		g.tag(g.c.pick("<#t>", "<#lt>", "<#rt>", "<#nt>"))
	case 26:
		g.wrapped()
	case 27:
		g.noparse()
	case 28:
		g.blankLines()
	case 29:
		g.rare()
	}
}

// line is a line of a configuration file.
func (g *generator) line() {
	g.text(g.c.pick("", "  ", "\t", "    "))
	g.text(g.c.pick("x", "key = ", "server ", "# note", "$HOME ", "a > b", "}", "é", "{ ", "100% "))
	if g.start != "" && g.c.oneIn(4) {
		g.text("${X}")
	}
	if g.c.below(3) > 0 {
		g.value()
		g.text(g.c.pick("", ";", " ", "}"))
	}
	if g.c.below(6) < 5 {
		g.text(g.newline)
	}
}

func (g *generator) blankLines() {
	g.text(g.c.pick(" ", g.newline, g.newline+g.newline, "  "+g.newline, "\t"))
}

func (g *generator) ifTag() {
	g.tag("<#if " + g.condition() + ">")
	g.body()
	for range g.c.below(2) {
		g.tag("<#elseif " + g.condition() + ">")
		g.body()
	}
	if g.c.below(2) == 1 {
		g.tag("<#else>")
		g.body()
	}
	g.tag("</#if>")
}

// condition is a boolean that has no free >.
func (g *generator) condition() string { return "(" + g.expr(boolean) + ")" }

func (g *generator) listTag() {
	if g.loops >= 2 {
		g.line()
		return
	}
	mark := len(g.vars)
	item := g.fresh()
	k := []kind{listText, listNum, listObj}[g.c.below(3)]
	of := map[kind]kind{listText: text, listNum: num, listObj: object}[k]
	loop := variable{item, of, true}
	g.loops++
	framed := false
	switch g.c.below(6) {
	case 0, 1, 2:
		g.tag(fmt.Sprintf("<#list %s as %s>", g.bracket(k), item))
	case 3:
		g.tag(fmt.Sprintf("<#list (%s) as %s>", g.expr(k), item))
	case 4:
		key := item + "k"
		g.tag(fmt.Sprintf("<#list %s as %s, %s>", g.c.pick("k", "h.tags?chunk(2)", "k + {'q': s}"), key, item))
		loop = variable{key, text, true}
	case 5:
		framed = true
		g.tag(fmt.Sprintf("<#list %s>", g.bracket(k)))
		g.body()
		g.tag("<#items as " + item + ">")
	}
	g.vars = append(g.vars, loop, loop)
	g.body()
	if g.c.oneIn(6) {
		g.raw(fmt.Sprintf("<#if %s?counter == %s><#%s></#if>", loop.name, g.small(), g.c.pick("break", "continue")))
		g.body()
	}
	if g.c.oneIn(4) {
		g.raw("<#sep>" + g.c.pick(",", ", ", ","+g.newline) + g.c.pick("</#sep>", "</#sep>"+g.newline))
	}
	if framed {
		g.tag("</#items>")
		g.vars = g.vars[:mark]
		g.body()
	}
	g.vars = g.vars[:mark]
	if g.c.oneIn(4) {
		g.tag("<#else>")
		g.body()
	}
	g.tag("</#list>")
	g.loops--
}
