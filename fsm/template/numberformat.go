package template

import (
	"errors"
	"strings"
)

// pattern is a Java decimal pattern such as #,##0.00 (java.text.DecimalFormat), for the locale en_US.
type pattern struct {
	prefix, suffix         string
	negPrefix, negSuffix   string
	negative               bool // has a pattern of its own for negative numbers
	minWhole               int
	minDecimal, maxDecimal int
	group                  int // digits of a group, 0 for none
	shift                  int // decimals moved: 2 for %, 3 for per mille
}

const maxPattern = 300 // digits a pattern may ask for

// numberPattern is for patterns of our own.
func numberPattern(s string) *pattern {
	p, err := parsePattern(s)
	if err != nil {
		return &pattern{maxDecimal: printFraction, minWhole: 1}
	}
	return p
}

func parsePattern(s string) (*pattern, error) {
	positive, negative, has := cutQuoted(s, ';')
	p := &pattern{}
	body, err := p.affixes(positive, &p.prefix, &p.suffix)
	if err != nil {
		return nil, err
	}
	if has {
		p.negative = true
		var other pattern
		if _, err := other.affixes(negative, &p.negPrefix, &p.negSuffix); err != nil {
			return nil, err
		}
	}
	return p, p.digits(body)
}

// cutQuoted cuts at the first sep outside quotes.
func cutQuoted(s string, sep byte) (before, after string, found bool) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\'':
			quoted = !quoted
		case s[i] == sep && !quoted:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// affixes splits a pattern into what stands before the digits, the digits, and what stands behind.
func (p *pattern) affixes(s string, prefix, suffix *string) (body string, err error) {
	var out [3]strings.Builder
	part, quoted := 0, false
	for i, c := range s {
		isDigit := !quoted && strings.ContainsRune("#0,.", c)
		switch {
		case c == '\'':
			if strings.HasPrefix(s[i+1:], "'") && !quoted {
				out[max(part, 0)&2].WriteByte('\'')
			}
			quoted = !quoted
			continue
		case isDigit && part == 0:
			part = 1
		case !isDigit && part == 1:
			part = 2
		case isDigit && part == 2:
			return "", errors.New("digits stand in two places")
		}
		if !quoted && part != 1 {
			switch c {
			case '%':
				p.shift = 2
			case '‰':
				p.shift = 3
			case '¤':
				out[part].WriteByte('$')
				continue
			case 'E':
				return "", errors.New("exponents are not supported")
			}
		}
		out[part].WriteRune(c)
	}
	*prefix, *suffix = out[0].String(), out[2].String()
	return out[1].String(), nil
}

func (p *pattern) digits(body string) error {
	whole, frac, dotted := strings.Cut(body, ".")
	switch {
	case strings.Contains(frac, "."), strings.Contains(frac, ","):
		return errors.New("a point or comma is out of place")
	case strings.Contains(strings.ReplaceAll(whole, ",", ""), "0#"), strings.Contains(frac, "#0"):
		return errors.New("# and 0 are out of order")
	case len(body) > maxPattern:
		return errors.New("it is too long")
	}
	if i := strings.LastIndexByte(whole, ','); i >= 0 {
		p.group = len(whole) - i - 1
		if p.group == 0 {
			return errors.New("a comma is out of place")
		}
	}
	p.minWhole = strings.Count(whole, "0")
	p.minDecimal = strings.Count(frac, "0")
	p.maxDecimal = len(frac)
	if dotted && !strings.Contains(body, "0") {
		if whole != "" {
			p.minWhole = 1
		} else {
			p.minDecimal = 1
		}
	}
	return nil
}

// format rounds half even, as Java does.
func (p *pattern) format(d decimal) string {
	if p.shift > 0 {
		d = decimal{d.big(), d.scale - p.shift}
		if d.scale < 0 {
			d = decimal{d.big(), 0}.scaled(-d.scale)
		}
	}
	positive := d.sign() >= 0 // before it is rounded: Java writes -0
	d = d.round(p.maxDecimal, halfEven)
	digits := strings.TrimPrefix(d.fixed(), "-")
	whole, frac, _ := strings.Cut(digits, ".")
	whole = strings.TrimLeft(whole, "0")
	frac = strings.TrimRight(frac, "0")
	if len(frac) < p.minDecimal {
		frac += strings.Repeat("0", p.minDecimal-len(frac))
	}
	if len(whole) < p.minWhole {
		whole = strings.Repeat("0", p.minWhole-len(whole)) + whole
	}
	if whole == "" && frac == "" {
		whole = "0"
	}
	if p.group > 0 {
		for i := len(whole) - p.group; i > 0; i -= p.group {
			whole = whole[:i] + "," + whole[i:]
		}
	}
	if frac != "" {
		whole += "." + frac
	}
	switch {
	case positive:
		return p.prefix + whole + p.suffix
	case p.negative:
		return p.negPrefix + whole + p.negSuffix
	}
	return "-" + p.prefix + whole + p.suffix
}

// scaled multiplies by 10^n.
func (d decimal) scaled(n int) decimal {
	return d.mul(decimal{pow10(n), 0})
}
