package template

import (
	"math"
	"math/big"
	"strings"
)

func numberBuiltin(name string) (builtin, bool) {
	rounded := func(how rounding) (builtin, bool) {
		return builtin{fn: func(c *call) *Value { return number(c.num().round(0, how)) }}, true
	}
	switch name {
	case "round":
		return rounded(halfCeiling)
	case "floor":
		return rounded(toFloor)
	case "ceiling":
		return rounded(toCeiling)
	case "int", "long":
		return builtin{fn: func(c *call) *Value {
			if d, ok := c.v.more.(date); ok && c.v.kind == kindDate && name == "long" {
				return Int(d.at.UnixMilli())
			}
			return c.wrapped(name)
		}}, true
	case "abs":
		return builtin{fn: func(c *call) *Value {
			return number(decimal{new(big.Int).Abs(c.num().big()), c.v.num.scale})
		}}, true
	case "number":
		return builtin{fn: (*call).toNumber}, true
	case "boolean":
		return builtin{fn: (*call).toBoolean}, true
	case "c":
		return builtin{fn: (*call).computer}, true
	case "string":
		return builtin{max: 2, keyed: true, fn: (*call).toText}, true
	case "lower_abc", "upper_abc":
		return builtin{fn: (*call).letters}, true
	}
	return builtin{}, false
}

// wrapped is ?int and ?long: the whole part, and beyond 32 or 64 bits what is left of it there, as in Java.
func (c *call) wrapped(name string) *Value {
	if name == "int" {
		return number(c.num().wrap(32))
	}
	return number(c.num().wrap(64))
}

// wrap is the whole part in so many bits.
func (d decimal) wrap(bits uint) decimal {
	whole := d.round(0, towardsZero).big()
	span := new(big.Int).Lsh(big.NewInt(1), bits)
	half := new(big.Int).Rsh(span, 1)
	whole = new(big.Int).Mod(new(big.Int).Add(whole, half), span)
	return decimal{whole.Sub(whole, half), 0}
}

// toNumber reads a text; the error does not quote it, as it may be a secret.
func (c *call) toNumber() *Value {
	if c.v.kind == kindNumber {
		return c.v
	}
	d, err := parseDecimal(c.text())
	if err != nil {
		c.fail(Type, "the text %s is not a number that ?number can read, such as 12, -1.5 or 1e3", c.r.code(c.x.of))
	}
	return number(d)
}

func (c *call) toBoolean() *Value {
	if c.v.isBool() {
		return c.v
	}
	switch s := c.text(); {
	case s == "true", c.r.format.yes != "" && s == c.r.format.yes:
		return Bool(true)
	case s == "false", c.r.format.yes != "" && s == c.r.format.no:
		return Bool(false)
	}
	c.fail(Type, "the text %s is neither \"true\" nor \"false\"", c.r.code(c.x.of))
	return nil
}

func (c *call) computer() *Value {
	switch c.v.kind {
	case kindNumber:
		return Text(c.v.num.String())
	case kindBool, kindMatch, kindEmpty:
		if c.v.kind == kindEmpty && nothing(c.v) == nil {
			break
		}
		if c.v.flag {
			return Text("true")
		}
		return Text("false")
	}
	c.wrong("numbers and booleans")
	return nil
}

// toText is ?string with its arguments.
func (c *call) toText() *Value {
	switch {
	case c.v.isBool():
		return c.boolText()
	case c.has(1):
		c.fail(BadValue, "?string takes two texts on booleans only, and %s is %s", c.r.code(c.x.of), c.v.kindName())
	case !c.has(0):
		return Text(c.r.text(c.x.of, c.v))
	case c.v.kind == kindNumber:
		return Text(c.formatted(c.textArg(0)))
	case c.v.kind == kindDate:
		return Text(c.dateText(c.textArg(0)))
	case c.v.isText() && c.x.byKey:
		return c.r.eval(&indexExpr{c.x.place, &literal{c.x.place, c.v}, c.x.args[0]})
	}
	c.wrong("numbers, booleans and dates, when it has an argument")
	return nil
}

func (c *call) boolText() *Value {
	switch {
	case c.has(1):
		yes, no := c.textArg(0), c.textArg(1)
		if c.v.flag {
			return Text(yes)
		}
		return Text(no)
	case c.has(0):
		c.fail(BadValue, "?string on a boolean takes two texts, for true and for false")
	case c.r.format.yes != "" || c.r.format.no != "":
		return Text(c.r.text(c.x.of, c.v))
	}
	return c.computer()
}

// formatted prints a number by a named format or a pattern.
func (c *call) formatted(format string) string {
	switch format {
	case "computer", "c":
		return c.v.num.String()
	case "number":
		return numberPattern("#,##0.###").format(c.v.num)
	case "percent":
		return numberPattern("#,##0%").format(c.v.num)
	case "currency":
		return numberPattern("$#,##0.00").format(c.v.num)
	}
	p, err := parsePattern(format)
	if err != nil {
		c.fail(BadValue, "the format of ?string is not a number pattern: %v", err)
	}
	return p.format(c.v.num)
}

// letters counts a, b, ..., z, aa, ab.
func (c *call) letters() *Value {
	n, ok := c.num().int64()
	if !ok || n < 1 || n > math.MaxInt32 || !c.v.num.isWhole() {
		c.fail(BadValue, "?%s is for whole numbers from 1", c.x.name)
	}
	out := letters(int32(n))
	if strings.HasPrefix(snake(c.x.name), "upper") {
		return Text(strings.ToUpper(string(out)))
	}
	return Text(string(out))
}

// letters counts as the reference does, overflow beyond 26^6 included.
func letters(n int32) (out []byte) {
	reached, weight := int32(1), int32(1)
	for {
		next := weight * 26
		if reached+next > n {
			break
		}
		weight = next
		reached += next
	}
	for ; weight != 0; weight /= 26 {
		more := (n - reached) / weight
		out = append(out, 'a'+byte(more))
		reached += more * weight
	}
	return out
}
