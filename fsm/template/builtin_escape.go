package template

import (
	"fmt"
	"strings"
)

func escapeBuiltin(name string) (builtin, bool) {
	const basic = `<|&lt;|>|&gt;|&|&amp;|"|&quot;`
	entities := func(pairs string) (builtin, bool) {
		return onText(strings.NewReplacer(strings.Split(pairs, "|")...).Replace), true
	}
	switch name {
	case "html", "web_safe":
		return entities(basic)
	case "xml":
		return entities(basic + "|'|&apos;")
	case "xhtml":
		return entities(basic + "|'|&#39;")
	case "js_string":
		return onText(func(s string) string { return scriptText(s, false) }), true
	case "json_string":
		return onText(func(s string) string { return scriptText(s, true) }), true
	case "j_string":
		return onText(javaText), true
	case "url", "url_path":
		return builtin{max: 1, fn: (*call).url}, true
	}
	return builtin{}, false
}

// scriptText escapes for a JavaScript text (either quote) or a JSON text, safe inside <script>.
func scriptText(s string, isJSON bool) string {
	var b strings.Builder
	runes := []rune(s)
	at := func(i int) rune {
		if i < 0 || i >= len(runes) {
			return -1
		}
		return runes[i]
	}
	code := func(c rune) {
		if isJSON {
			fmt.Fprintf(&b, `\u%04X`, c)
		} else {
			fmt.Fprintf(&b, `\x%02X`, c)
		}
	}
	for i, c := range runes {
		plain := strings.IndexRune("\"\\\n\r\t\b\f", c)
		switch {
		case plain >= 0:
			b.WriteByte('\\')
			b.WriteByte(`"\nrtbf`[plain])
		case c == '\'' && !isJSON:
			b.WriteString(`\'`)
		case c == '/' && (i == 0 || at(i-1) == '<'):
			b.WriteString(`\/`)
		case c == '<' && (i == len(runes)-1 || at(i+1) == '!' || at(i+1) == '?'):
			code(c)
		case c == '>' && (i == 0 || i == 1 && dashOrBracket(at(0)) || i > 1 && dashOrBracket(at(i-1)) && at(i-1) == at(i-2)):
			if isJSON {
				code(c)
			} else {
				b.WriteString(`\>`)
			}
		case c < 0x20, c >= 0x7F && c <= 0x9F:
			code(c)
		case c == 0x2028 || c == 0x2029:
			fmt.Fprintf(&b, `\u%04X`, c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

func dashOrBracket(c rune) bool { return c == '-' || c == ']' }

func javaText(s string) string {
	var b strings.Builder
	for _, c := range s {
		plain := strings.IndexRune("\"\\\n\r\t\b\f", c)
		switch {
		case plain >= 0:
			b.WriteByte('\\')
			b.WriteByte(`"\nrtbf`[plain])
		case c < 0x20:
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

func knownCharset(name string) bool {
	switch strings.ToLower(name) {
	case "utf-8", "utf8", "iso-8859-1":
		return true
	}
	return false
}

// url escapes for a part of an address, in UTF-8 unless another encoding is named.
func (c *call) url() *Value {
	s := c.text()
	charset := c.textArgOr(0, c.r.format.encoding)
	if charset != "" && !knownCharset(charset) {
		c.fail(BadValue, "only UTF-8 and ISO-8859-1 are known")
	}
	bytes := []byte(s)
	if strings.EqualFold(charset, "iso-8859-1") {
		bytes = bytes[:0:0]
		for _, r := range s {
			if r > 0xFF {
				r = '?'
			}
			bytes = append(bytes, byte(r))
		}
	}
	keep := "_-.!~'()*"
	if strings.HasSuffix(snake(c.x.name), "_path") {
		keep += "/"
	}
	var b strings.Builder
	for _, x := range bytes {
		if x >= '0' && x <= '9' || x >= 'A' && x <= 'Z' || x >= 'a' && x <= 'z' || strings.IndexByte(keep, x) >= 0 {
			b.WriteByte(x)
		} else {
			fmt.Fprintf(&b, "%%%02X", x)
		}
	}
	return Text(b.String())
}
