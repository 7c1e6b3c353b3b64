package template

import (
	"math"
	"regexp"
	"regexp/syntax"
	"strings"
)

func regexBuiltin(name string) (builtin, bool) {
	switch name {
	case "replace":
		return builtin{min: 2, max: 3, fn: (*call).replace}, true
	case "split":
		return builtin{min: 1, max: 2, fn: (*call).split}, true
	case "matches":
		return builtin{min: 1, max: 2, fn: (*call).matches}, true
	case "groups":
		return builtin{fn: func(c *call) *Value {
			if c.v.kind != kindGroups && c.v.kind != kindMatch {
				c.wrong("matches")
			}
			return c.v.more.(*Value)
		}}, true
	}
	return builtin{}, false
}

// pattern compiles a text by its flags: r says that it is a regular expression, i ignores case, m and s are as in
// Java, f is for the caller. With how "r" it is one anyhow.
func (c *call) pattern(text, flags, how string) *regexp.Regexp {
	mode, regex := "", how == "r"
	for _, f := range flags {
		switch f {
		case 'r':
			regex = true
		case 'i', 'm', 's':
			mode += string(f)
		case 'f':
		default:
			c.fail(BadValue, "?%s knows the flags r, i, m, s and f only", c.x.name)
		}
	}
	if !regex && how == "keep" && strings.ContainsAny(flags, "ms") {
		c.fail(BadValue, "the flags m and s of ?%s need r", c.x.name)
	}
	if !regex {
		text = regexp.QuoteMeta(text)
	}
	if mode != "" {
		text = "(?" + mode + ")" + text
	}
	re, err := regexp.Compile(text)
	if err == nil {
		c.r.spend(c.x.start, effort(text, len(c.text())))
	} else {
		c.fail(BadValue, "the regular expression %s is not valid here; look-around and back-references are not supported", c.r.code(c.x.args[0]))
	}
	return re
}

// effort is how many steps a regular expression counts on a text: it cannot be cut off once it runs, and takes time by the
// product of their sizes.
func effort(pattern string, text int) int {
	size := len(pattern)
	if re, err := syntax.Parse(pattern, syntax.Perl); err == nil {
		if prog, err := syntax.Compile(re.Simplify()); err == nil {
			size = len(prog.Inst)
		}
	}
	return min(100+size*text/256, math.MaxInt32)
}

func (c *call) replace() *Value {
	s, old, with, flags := c.text(), c.textArg(0), c.textArg(1), c.textArgOr(2, "")
	n := -1
	if strings.Contains(flags, "f") {
		n = 1
	}
	if !strings.ContainsAny(flags, "ri") || old == "" && !strings.Contains(flags, "r") {
		c.pattern("", flags, "")
		count := strings.Count(s, old)
		if old == "" {
			count = utf16Length(s) + 1
		}
		if n > 0 {
			count = min(count, n)
		}
		c.r.charge(c.x.start, len(s)+min(count, MaxTextBytes)*min(len(with), MaxTextBytes))
		if old == "" {
			return Text(between(s, with, count))
		}
		return Text(strings.Replace(s, old, with, n))
	}
	re := c.pattern(old, flags, "")
	var b strings.Builder
	last := 0
	for _, m := range re.FindAllStringSubmatchIndex(s, n) {
		b.WriteString(s[last:m[0]])
		if strings.Contains(flags, "r") {
			c.expand(&b, s, with, m)
		} else {
			b.WriteString(with)
		}
		last = m[1]
		if b.Len() > MaxTextBytes {
			c.r.charge(c.x.start, b.Len())
		}
	}
	b.WriteString(s[last:])
	return Text(b.String())
}

// between puts a text before the first n UTF-16 units, the end counting as one more: what a pattern of nothing finds.
func between(s, with string, n int) string {
	var out []uint16
	put := utf16Of(with)
	units := utf16Of(s)
	for i := range len(units) + 1 {
		if i < n {
			out = append(out, put...)
		}
		if i < len(units) {
			out = append(out, units[i])
		}
	}
	return fromUTF16(out)
}

// expand writes a replacement as Java does: $1 is a group, a backslash makes the next character plain.
func (c *call) expand(b *strings.Builder, s, with string, m []int) {
	groups := len(m)/2 - 1
	for i := 0; i < len(with); i++ {
		switch {
		case with[i] == '\\' && i+1 < len(with):
			i++
			b.WriteByte(with[i])
		case with[i] == '$' && i+1 < len(with) && with[i+1] >= '0' && with[i+1] <= '9':
			i++
			g := int(with[i] - '0')
			for i+1 < len(with) && with[i+1] >= '0' && with[i+1] <= '9' && g*10+int(with[i+1]-'0') <= groups {
				i++
				g = g*10 + int(with[i]-'0')
			}
			if g > groups {
				c.fail(BadValue, "the replacement names group %d, and the expression has %d", g, groups)
			}
			if m[2*g] >= 0 {
				b.WriteString(s[m[2*g]:m[2*g+1]])
			}
		case with[i] == '$' || with[i] == '\\':
			c.fail(BadValue, "a $ or \\ stands alone in the replacement; write \\$ or \\\\ for the character itself")
		default:
			b.WriteByte(with[i])
		}
	}
}

func (c *call) split() *Value {
	s, sep, flags := c.text(), c.textArg(0), c.textArgOr(1, "")
	var parts []string
	switch {
	case flags == "" && sep != "":
		parts = strings.Split(s, sep)
	case flags == "":
		if units := utf16Of(s); len(units) > 0 {
			c.r.tooMany(c.x.start, int64(len(units)))
			parts = make([]string, len(units))
			for i := range units {
				parts[i] = fromUTF16(units[i : i+1])
			}
		}
	default:
		parts = c.pattern(sep, flags, "").Split(s, -1)
		for strings.Contains(flags, "r") && len(parts) > 0 && s != "" && parts[len(parts)-1] == "" {
			parts = parts[:len(parts)-1]
		}
	}
	c.r.tooMany(c.x.start, int64(len(parts)))
	return textList(parts)
}

// matches gives a value that is true when the whole text fits, and lists the parts that fit.
func (c *call) matches() *Value {
	s, flags := c.text(), c.textArgOr(1, "")
	re := c.pattern(c.textArg(0), flags, "r")
	whole := c.pattern("^(?:"+c.textArg(0)+")$", flags, "r")
	groups := func(m []string) *Value { return textList(m) }
	out := &Value{kind: kindMatch, more: textList(nil)}
	if m := whole.FindStringSubmatch(s); m != nil {
		out.flag, out.more = true, groups(m)
	}
	for _, m := range re.FindAllStringSubmatch(s, -1) {
		out.items = append(out.items, &Value{kind: kindGroups, text: m[0], more: groups(m)})
	}
	c.r.tooMany(c.x.start, int64(len(out.items)))
	return out
}
