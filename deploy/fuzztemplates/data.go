package main

import (
	"encoding/json"
	"fmt"
	"strings"
)

// texts are values with what templates stumble over: markup, marks, blanks, letters of other alphabets.
func texts() []string {
	return []string{
		"a", "b", "", "web-1", "10.0.0.1", "Hello World", "a,b,,c", "  pad ", "é", "Straße", "日本", "x😀y", "line 1\nline 2\n",
		"tab\there", "<b>&\"'</b>", "${s}", "<#if s>", "x=1;y=2", "/etc/a b/c", "CamelCase", "ÀÉ", "foo.bar.baz", "100%",
		"ab12cd345", " ", "true", "12.5", "-3", "b_c", "Web-10", "web2", "A", "a\r\nb\r\n", "--]]>", "</script>", "\\d$1",
	}
}

func numbers() []string {
	return []string{
		"0", "1", "2", "3", "-1", "7", "10", "12", "3306", "65535", "1.5", "-2.5", "0.1", "0.125", "2.675", "1000000", "1234567890123456",
		"0.000001", "99.995", "-0.5", "1e3", "1.50",
	}
}

// data makes the settings. The names are always the same; see generator.known.
func (g *generator) data() string {
	text := func() string { return quote(g.c.pick(texts()...)) }
	number := func() string { return g.c.pick(numbers()...) }
	flag := func() string { return g.c.pick("true", "false") }
	list := func(item func() string) string {
		var items []string
		for range g.c.below(5) {
			items = append(items, item())
		}
		return "[" + strings.Join(items, ",") + "]"
	}
	object := func() string {
		return fmt.Sprintf(`{"name":%s,"port":%s,"on":%s,"tags":%s}`, text(), number(), flag(), list(text))
	}
	return fmt.Sprintf(`{"s":%s,"t":%s,"n":%s,"m":%s,"b":%s,"c":%s,"ls":%s,"lt":%s,"ln":%s,"lo":%s,"h":%s,"k":{"z":%s,"a-b":%s,"M":%s},"nil":null,"none":[],"empty":""}`,
		text(), text(), number(), number(), flag(), flag(), list(text), list(text), list(number), list(object), object(), text(), text(), text())
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a text always has a JSON form
	}
	return string(b)
}

// literal is a text as a template writes it, in either quotes or raw.
func (g *generator) literal(s string) string {
	if !strings.ContainsAny(s, "'\"\n\r\\") && g.c.oneIn(8) {
		return "r'" + s + "'"
	}
	s = strings.NewReplacer("\\", "\\\\", "\n", "\\n", "\r", "\\r", "\t", "\\t", "\"", "\\\"", "'", "\\'", "${", "$\\{").Replace(s)
	if g.c.oneIn(3) {
		return "\"" + s + "\""
	}
	return "'" + s + "'"
}
