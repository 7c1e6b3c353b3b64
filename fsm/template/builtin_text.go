package template

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
)

func textBuiltin(name string) (builtin, bool) {
	switch name {
	case "upper_case":
		return onText(upper), true
	case "lower_case":
		return onText(strings.ToLower), true
	case "cap_first":
		return onText(func(s string) string { return changeFirst(s, unicode.ToUpper) }), true
	case "uncap_first":
		return onText(func(s string) string { return changeFirst(s, unicode.ToLower) }), true
	case "capitalize":
		return onText(capitalize), true
	case "trim":
		return onText(func(s string) string { return strings.TrimFunc(s, func(c rune) bool { return c <= ' ' }) }), true
	case "chop_linebreak":
		return onText(func(s string) string {
			if t, ok := strings.CutSuffix(s, "\r\n"); ok {
				return t
			}
			if s != "" && strings.ContainsAny(s[len(s)-1:], "\r\n") {
				return s[:len(s)-1]
			}
			return s
		}), true
	case "length":
		return builtin{fn: func(c *call) *Value { return Int(int64(utf16Length(c.text()))) }}, true
	case "word_list":
		return builtin{fn: func(c *call) *Value { return textList(strings.FieldsFunc(c.text(), javaSpaceOrControl)) }}, true
	case "left_pad", "right_pad":
		return builtin{min: 1, max: 2, fn: (*call).pad}, true
	case "contains":
		return builtin{min: 1, max: 1, fn: func(c *call) *Value { return Bool(strings.Contains(c.text(), c.textArg(0))) }}, true
	case "starts_with":
		return builtin{min: 1, max: 1, fn: func(c *call) *Value { return Bool(strings.HasPrefix(c.text(), c.textArg(0))) }}, true
	case "ends_with":
		return builtin{min: 1, max: 1, fn: func(c *call) *Value { return Bool(strings.HasSuffix(c.text(), c.textArg(0))) }}, true
	case "index_of", "last_index_of":
		return builtin{min: 1, max: 2, fn: (*call).indexOf}, true
	case "substring":
		return builtin{min: 1, max: 2, fn: (*call).substring}, true
	case "truncate", "truncate_c", "truncate_w":
		return builtin{min: 1, max: 3, fn: (*call).truncate}, true
	}
	return builtin{}, false
}

// upper is Java's toUpperCase: some letters become several.
func upper(s string) string {
	s = strings.ToUpper(s)
	if !strings.ContainsAny(s, "ßŉǰﬀﬁﬂﬃﬄﬅﬆ") {
		return s
	}
	return strings.NewReplacer("ß", "SS", "ŉ", "ʼN", "ǰ", "J̌", "ﬀ", "FF", "ﬁ", "FI", "ﬂ", "FL", "ﬃ", "FFI", "ﬄ", "FFL", "ﬅ", "ST", "ﬆ", "ST").Replace(s)
}

func textList(parts []string) *Value {
	v := &Value{kind: kindList, items: make([]*Value, len(parts))}
	for i, p := range parts {
		v.items[i] = Text(p)
	}
	return v
}

// changeFirst changes the first letter that is not a blank.
func changeFirst(s string, f func(rune) rune) string {
	runes := []rune(s)
	for i, c := range runes {
		if !javaSpaceOrControl(c) {
			runes[i] = f(c)
			break
		}
	}
	return string(runes)
}

func capitalize(s string) string {
	runes := []rune(s)
	start := true
	for i, c := range runes {
		switch {
		case javaSpaceOrControl(c):
			start = true
		case start:
			runes[i], start = unicode.ToUpper(c), false
		default:
			runes[i] = unicode.ToLower(c)
		}
	}
	return string(runes)
}

// pad fills up to a length; the filling of ?right_pad goes by the position in the whole text.
func (c *call) pad() *Value {
	s, n, fill := utf16Of(c.text()), c.intArg(0), utf16Of(c.textArgOr(1, " "))
	if len(fill) == 0 && n > len(s) {
		c.fail(BadValue, "the filling of ?%s may not be empty", c.x.name)
	}
	if n > MaxTextBytes {
		c.r.charge(c.x.start, n)
	}
	need := max(n-len(s), 0)
	c.r.charge(c.x.start, need)
	padding := make([]uint16, need)
	right := snake(c.x.name) == "right_pad"
	for i := range padding {
		if right {
			padding[i] = fill[(len(s)+i)%len(fill)]
		} else {
			padding[i] = fill[i%len(fill)]
		}
	}
	if right {
		return Text(fromUTF16(append(s, padding...)))
	}
	return Text(fromUTF16(append(padding, s...)))
}

// indexOf searches in UTF-16 units.
func (c *call) indexOf() *Value {
	s, sub := utf16Of(c.text()), utf16Of(c.textArg(0))
	fits := func(i int) bool {
		for j, u := range sub {
			if s[i+j] != u {
				return false
			}
		}
		return true
	}
	last := len(s) - len(sub)
	if snake(c.x.name) == "index_of" {
		from := 0
		if c.has(1) {
			from = min(max(c.intArg(1), 0), len(s))
		}
		c.r.charge(c.x.start, max(last-from, 0))
		for i := from; i <= last; i++ {
			if fits(i) {
				return Int(int64(i))
			}
		}
		return Int(-1)
	}
	if c.has(1) {
		last = min(c.intArg(1), last)
	}
	for i := last; i >= 0; i-- {
		if fits(i) {
			return Int(int64(i))
		}
	}
	return Int(-1)
}

func (c *call) substring() *Value {
	s, from := utf16Of(c.text()), c.intArg(0)
	to := len(s)
	if c.has(1) {
		to = c.intArg(1)
	}
	if from < 0 || to > len(s) || from > to {
		c.fail(BadValue, "?substring asks for more than the text has, or ends before it begins")
	}
	return Text(fromUTF16(s[from:to]))
}

// truncate shortens to a length, mark included: at a blank if there is one that is not far, with ?truncate_w always, with
// ?truncate_c never.
func (c *call) truncate() *Value {
	s, n, mark := utf16Of(c.text()), c.intArg(0), utf16Of(c.textArgOr(1, "[...]"))
	if n < 0 {
		c.fail(BadValue, "the length given to ?%s is negative", c.x.name)
	}
	length := len(mark)
	if c.has(2) {
		if length = c.intArg(2); length < 0 {
			c.fail(BadValue, "the length of the mark given to ?%s is negative", c.x.name)
		}
	}
	if len(s) <= n {
		return Text(fromUTF16(s))
	}
	t := truncation{s: s, max: n, mark: length, dots: len(mark) > 0 && dot(mark[0])}
	last := t.skip(t.max-t.mark-1, space)
	kept, ok := []uint16(nil), false
	if name := snake(c.x.name); last >= 0 && name != "truncate_c" {
		least := 0
		if name == "truncate" {
			least = max((3*n+3)/4-(t.mark+1)-1, 0)
		}
		kept, ok = t.word(last, least)
		ok = ok || name == "truncate_w"
	}
	if last >= 0 && !ok {
		kept = t.letter(last)
	}
	return Text(fromUTF16(append(kept, mark...)))
}

// truncation is a text to be cut; places are those of the last unit that stays, -1 when none does.
type truncation struct {
	s         []uint16
	max, mark int
	dots      bool // the mark begins with a dot, so that dots before it go
}

func space(u uint16) bool { return !utf16.IsSurrogate(rune(u)) && javaSpace(rune(u)) }

func dot(u uint16) bool { return u == '.' || u == 0x2026 }

func (t truncation) skip(at int, is func(uint16) bool) int {
	for at >= 0 && is(t.s[at]) {
		at--
	}
	return at
}

func (t truncation) wordEnds(at int) bool { return at+1 >= len(t.s) || space(t.s[at+1]) }

// word cuts behind a word, at least at a place, and leaves a blank before the mark.
func (t truncation) word(last, least int) ([]uint16, bool) {
	for at := min(t.max-t.mark-2, last); at >= least; at-- {
		if !space(t.s[at]) && t.wordEnds(at) {
			return append(slices.Clone(t.s[:at+1]), ' '), true
		}
	}
	return nil, false
}

// letter cuts anywhere, with a blank before the mark where a word ends.
func (t truncation) letter(last int) []uint16 {
	if last == t.max-t.mark-1 && t.wordEnds(last) {
		last-- // the blank needs a place
	}
	for {
		if last = t.skip(last, space); last < 0 {
			return nil
		}
		if !t.dots || !dot(t.s[last]) || t.wordEnds(last) {
			break
		}
		if last = t.skip(last, dot); last < 0 {
			return nil
		}
	}
	kept := slices.Clone(t.s[:last+1])
	if t.wordEnds(last) {
		kept = append(kept, ' ')
	}
	return kept
}

func partBuiltin(name string) (builtin, bool) {
	switch name {
	case "keep_before", "keep_after", "keep_before_last", "keep_after_last":
		return builtin{min: 1, max: 2, fn: (*call).keep}, true
	case "remove_beginning":
		return builtin{min: 1, max: 1, fn: func(c *call) *Value { return Text(strings.TrimPrefix(c.text(), c.textArg(0))) }}, true
	case "remove_ending":
		return builtin{min: 1, max: 1, fn: func(c *call) *Value { return Text(strings.TrimSuffix(c.text(), c.textArg(0))) }}, true
	case "ensure_starts_with":
		return builtin{min: 1, max: 3, fn: (*call).ensureStart}, true
	case "ensure_ends_with":
		return builtin{min: 1, max: 1, fn: func(c *call) *Value {
			s, end := c.text(), c.textArg(0)
			if strings.HasSuffix(s, end) {
				return Text(s)
			}
			return Text(s + end)
		}}, true
	}
	return builtin{}, false
}

// keep is ?keep_before and its kin; without the separator the text stays, or nothing does.
func (c *call) keep() *Value {
	s, name := c.text(), snake(c.x.name)
	var at []int
	if c.has(1) {
		re := c.pattern(c.textArg(0), c.textArg(1), "keep")
		if !strings.HasSuffix(name, "_last") {
			at = re.FindStringIndex(s)
		} else if m := last(re).FindStringSubmatchIndex(s); m != nil {
			at = m[2:4]
		}
	} else {
		sep, i := c.textArg(0), 0
		if strings.HasSuffix(name, "_last") {
			i = strings.LastIndex(s, sep)
		} else {
			i = strings.Index(s, sep)
		}
		if i >= 0 {
			at = []int{i, i + len(sep)}
		}
	}
	before := strings.HasPrefix(name, "keep_before")
	switch {
	case at == nil && before:
		return Text(s)
	case at == nil:
		return Text("")
	case before:
		return Text(s[:at[0]])
	}
	return Text(s[at[1]:])
}

// last finds the match that begins last, in its first group: also one that begins within another.
func last(re *regexp.Regexp) *regexp.Regexp {
	return regexp.MustCompile(`(?s:\A.*)((?:` + re.String() + `))`)
}

func (c *call) ensureStart() *Value {
	s, start := c.text(), c.textArg(0)
	if !c.has(1) {
		if strings.HasPrefix(s, start) {
			return Text(s)
		}
		return Text(start + s)
	}
	at := c.pattern(start, c.textArgOr(2, "r"), "r").FindStringIndex(s)
	if at != nil && at[0] == 0 {
		return Text(s)
	}
	return Text(c.textArg(1) + s)
}
