package main

import (
	"fmt"
	"strings"
)

func (g *generator) assign() {
	scope := "assign"
	if g.c.oneIn(5) {
		scope = "global"
	}
	k := kind(g.c.below(int(object) + 1))
	name := g.fresh()
	if g.c.oneIn(5) {
		name = g.c.pick("s", "n", "ls")
		k = map[string]kind{"s": text, "n": num, "ls": listText}[name]
	}
	switch g.c.below(8) {
	case 0, 1, 2, 3:
		g.tag(fmt.Sprintf("<#%s %s = (%s)>", scope, name, g.expr(k)))
	case 4:
		other := g.fresh()
		g.tag(fmt.Sprintf("<#%s %s = (%s), %s = (%s)>", scope, name, g.expr(k), other, g.expr(text)))
		g.vars = append(g.vars, variable{other, text, false})
	case 5:
		if k != text {
			name = g.fresh()
		}
		k = text
		g.tag(fmt.Sprintf("<#%s %s>", scope, name))
		g.body()
		g.tag("</#" + scope + ">")
	case 6:
		k, name = num, g.fresh()
		g.tag(fmt.Sprintf("<#assign %s = %s>", name, g.small()))
		g.tag(fmt.Sprintf("<#assign %s%s>", name, g.c.pick("++", "--", " += 2", " -= 1", " *= 3", " /= 2", " %= 2")))
	case 7:
		k, name = text, g.fresh()
		g.tag(fmt.Sprintf("<#assign %s = 'p'>", name))
		g.tag(fmt.Sprintf("<#assign %s += (%s)>", name, g.expr(g.printable())))
	}
	g.vars = append(g.vars, variable{name, k, false})
}

func (g *generator) switchTag() {
	k := g.printable()
	g.tag("<#switch (" + g.expr(k) + ")>")
	for range g.c.below(3) {
		g.tag("<#case (" + g.leaf(k) + ")>")
		g.body()
		if g.c.below(3) < 2 {
			g.raw("<#break>" + g.c.pick("", g.newline))
		}
	}
	if g.c.below(2) == 1 {
		g.tag("<#default>")
		g.body()
		if g.c.below(2) == 1 {
			g.raw("<#break>" + g.c.pick("", g.newline))
		}
	}
	g.tag("</#switch>")
}

// define makes a macro or function. It sees the data and its parameters only, so that it may be called anywhere.
func (g *generator) define() {
	if g.nest > 0 || g.loops > 0 {
		g.line()
		return
	}
	vars := g.vars
	g.vars = append(known(), variable{"p", text, false}, variable{"p", text, false}, variable{"q", num, false}, variable{"q", num, false})
	name := g.fresh()
	defer func() { g.vars = vars }()
	if g.c.below(2) == 1 {
		k := []kind{text, num}[g.c.below(2)]
		g.tag(fmt.Sprintf("<#function %s p q>", name))
		if g.c.oneIn(3) {
			g.tag("<#local loc = (" + g.expr(text) + ")>")
			g.vars = append(g.vars, variable{"loc", text, false})
		}
		g.raw(fmt.Sprintf("<#if %s><#return (%s)></#if>", g.condition(), g.expr(k)))
		g.tag(fmt.Sprintf("<#return (%s)>", g.expr(k)))
		g.tag("</#function>")
		g.functions = append(g.functions, function{name, k})
		return
	}
	m := macro{name: name, block: g.c.below(2) == 1}
	g.tag(fmt.Sprintf("<#macro %s p q=%s%s>", name, g.small(), g.c.pick("", " rest...")))
	g.body()
	if m.block {
		g.tag(g.c.pick("<#nested>", "<#nested p, q>", "<#nested 1>"))
		g.body()
	}
	if g.c.oneIn(5) {
		g.tag("<#if " + g.condition() + "><#return></#if>")
		g.body()
	}
	g.tag("</#macro>")
	g.macros = append(g.macros, m)
}

func (g *generator) callMacro() {
	if len(g.macros) == 0 {
		g.line()
		return
	}
	m := g.macros[g.c.below(len(g.macros))]
	args := ""
	switch g.c.below(4) {
	case 0:
		args = " " + g.bracket(text)
	case 1:
		args = " " + g.bracket(text) + " " + g.bracket(num)
	case 2:
		args = fmt.Sprintf(" p=%s", g.bracket(text))
	case 3:
		args = fmt.Sprintf(" q=%s p=%s", g.bracket(num), g.bracket(text))
	}
	if !m.block {
		g.tag("<@" + m.name + args + g.c.pick("/>", " />"))
		return
	}
	a := g.fresh()
	if g.c.below(2) == 1 {
		g.tag(fmt.Sprintf("<@%s%s; %s>", m.name, args, a))
		g.text(g.c.pick("in ", ""))
		g.interpolation(a + "!'-'")
	} else {
		g.tag("<@" + m.name + args + ">")
	}
	g.body()
	g.tag(g.c.pick("</@>", "</@"+m.name+">"))
}

// wrapped is a block that changes what it holds.
func (g *generator) wrapped() {
	switch g.c.below(4) {
	case 0:
		g.tag("<#compress>")
		g.line() // an empty block counts as nothing for the reference's white space
		g.body()
		g.tag("</#compress>")
	case 1:
		g.tag("<#attempt>")
		g.body()
		if g.c.below(2) == 1 {
			g.interpolation(g.c.pick("absent", "s?number", "1 / 0"))
		}
		g.tag("<#recover>")
		g.body()
		g.tag("</#attempt>")
	case 2:
		g.tag("<#escape e as e?" + g.c.pick("html", "upper_case", "xml", "js_string") + ">")
		g.escapes++
		g.body()
		if g.c.oneIn(3) {
			g.raw("<#noescape>")
			g.escapes--
			g.value()
			g.escapes++
			g.raw("</#noescape>")
		}
		g.escapes--
		g.tag("</#escape>")
	case 3:
		g.tag("<#attempt>")
		g.body()
		g.tag("<#recover>")
		g.raw("failed")
		g.tag("</#recover>")
	}
}

func (g *generator) noparse() {
	g.raw("<#noparse>")
	g.raw(g.c.pick("${X}", "<#if>", "$x", g.newline, " "+g.newline, "${VAR:-x}"+g.newline))
	g.raw("</#noparse>")
	g.raw(g.c.pick("", g.newline))
}

// rare is what few templates use.
func (g *generator) rare() {
	switch g.c.below(14) {
	case 0:
		g.tag(fmt.Sprintf("<#setting %s>", g.c.pick("number_format='0.00'", "number_format='computer'", "number_format='#,##0.#'", "boolean_format='y,n'", "boolean_format='c'")))
	case 1:
		if g.start == "" {
			g.raw("#{" + g.expr(num) + g.c.pick("", "; m2", "; M1", "; m1M3") + "}")
		}
	case 2:
		if g.c.oneIn(4) {
			g.tag("<#stop" + g.c.pick("", " 'enough'") + ">")
		}
	case 3:
		g.interpolation(g.c.pick("'1 + 2'?eval", "'s'?eval", "\"[1, 2]\"?eval?size", "'{\"a\": [1, true]}'?eval_json.a[0]", "'x' + (nil!'d')", "(.data_model.s)", ".main?is_hash?c"))
	case 4:
		g.raw(g.c.pick("<@'$\\{s} <#if b>x</#if>'?interpret />", "<#assign it = '[$\\{n}]'?interpret><@it/>"))
	case 5:
		g.interpolation(g.bracket(listText) + "?chunk(2)?size")
	case 6:
		g.raw("<#list lo?sort_by('name') as o>")
		g.interpolation("o.name")
		g.interpolation("o?item_cycle('r', 'w')")
		g.raw("</#list>")
	case 8:
		g.nestedMacros()
	case 9:
		g.interpolation(g.date())
	case 10:
		g.raw("<#list " + g.bracket(listText) + "?chunk(" + g.c.pick("1", "2", "3") + g.c.pick("", ", '-'") + ") as row>")
		g.text(g.newline)
		g.raw("<#list row as cell>")
		g.interpolation("cell")
		g.raw("<#sep>|</#list>")
		g.text(g.newline)
		g.raw("</#list>")
		g.text(g.newline)
	case 11: // white space around what leaves nothing
		g.tag(g.c.pick("<#flush>", "<#noparse></#noparse>", "<#comment> x </#comment>", "<#assign w1 = 1, w2 = 2>", "<#assign w1 = 1\n w2 = 2>", "<#global w1 = 1>",
			"<#if b></#if>", "<#list none as w></#list>", "<#compress></#compress>", "<#attempt><#recover></#attempt>", "<#switch s><#-- c --></#switch>"))
	case 12:
		g.tag("<#foreach w in " + g.bracket(listText) + ">")
		g.interpolation("w")
		g.body()
		g.tag("</#foreach>")
	case 13:
		g.tag("<#list " + g.bracket(listText) + " as w>")
		g.line()
		g.tag("<#sep>")
		g.body()
		if g.c.below(2) == 1 {
			g.tag("</#sep>")
			g.body()
		}
		if g.c.below(3) == 0 {
			g.tag("<#else>")
			g.body()
		}
		g.tag("</#list>")
	case 7:
		g.raw("<#list s?matches(r'" + g.regex() + "') as mm>")
		g.interpolation("mm")
		g.interpolation("mm?groups?size")
		g.raw("</#list>")
	}
}

// nestedMacros calls one macro within the content of another, or of itself.
func (g *generator) nestedMacros() {
	var blocks []string
	for _, m := range g.macros {
		if m.block {
			blocks = append(blocks, m.name)
		}
	}
	if len(blocks) == 0 || g.nest > 3 {
		g.line()
		return
	}
	outer, inner := blocks[g.c.below(len(blocks))], blocks[g.c.below(len(blocks))]
	g.tag("<@" + outer + " 'o'; a, c>")
	g.tag("<@" + inner + " p=(" + g.expr(text) + ") q=1; d>")
	g.interpolation("a!'-'")
	g.interpolation("d!'-'")
	g.body()
	g.tag("</@>")
	g.interpolation("(c!'c')")
	g.tag("</@" + outer + ">")
}

// date is an expression on a time in UTC.
func (g *generator) date() string {
	at := g.c.pick("'2024-02-29 23:59:01'?datetime('yyyy-MM-dd HH:mm:ss')", "1700000000123?number_to_datetime", "'2023-01-01'?date('yyyy-MM-dd')", "'07:05:03 PM'?time('hh:mm:ss a')",
		"(n?abs % 100000000 * 1000)?long?number_to_datetime", "'29.02.24'?date('dd.MM.yy')")
	format := g.c.pick("yyyy-MM-dd", "HH:mm:ss", "EEE, d MMM yyyy", "yyyy-MM-dd'T'HH:mm:ss.SSS", "hh 'o''clock' a", "yy/M/d H:m:s", "EEEE MMMM", "D", "yyyyMMddHHmmss", "Z", "XXX", "k:K")
	switch g.c.below(5) {
	case 0:
		return at + "?string.iso"
	case 1:
		return at + "?long"
	case 2:
		return "(" + at + ")?string['" + strings.ReplaceAll(format, "'", "\\'") + "']"
	case 3:
		return "(" + at + ")?iso_utc"
	}
	return at + "?string('" + strings.ReplaceAll(format, "'", "\\'") + "')"
}
