package template

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// decimal is an exact decimal number: unscaled / 10^scale, scale never below 0. The zero value is 0.
type decimal struct {
	unscaled *big.Int
	scale    int
}

const (
	// MaxDigits is how many digits a number may have on either side of its point.
	MaxDigits = 1000

	fraction      = 12 // decimals kept by * and at least by /
	printFraction = 16 // decimals printed
)

type rounding int

const (
	halfUp rounding = iota
	halfEven
	toFloor
	toCeiling
	halfCeiling
	towardsZero
)

func decimalInt(i int64) decimal { return decimal{unscaled: big.NewInt(i)} }

func (d decimal) big() *big.Int {
	if d.unscaled == nil {
		return new(big.Int)
	}
	return d.unscaled
}

func pow10(n int) *big.Int {
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
}

// parseDecimal reads [+-]digits[.digits][e[+-]digits]; strict about digits on both sides of the point.
func parseDecimal(s string) (decimal, error) {
	mantissa, exponent := s, 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		mantissa = s[:i]
		e := strings.TrimPrefix(s[i+1:], "+")
		digits := strings.TrimPrefix(e, "-")
		if !allDigits(digits) {
			return decimal{}, fmt.Errorf("not a number")
		}
		digits = strings.TrimLeft(digits, "0")
		if len(digits) > 4 {
			return decimal{}, fmt.Errorf("the exponent is too large (at most %d digits are kept)", MaxDigits)
		}
		for _, c := range digits {
			exponent = exponent*10 + int(c-'0')
		}
		if strings.HasPrefix(e, "-") {
			exponent = -exponent
		}
	}
	sign, rest := "", mantissa
	if strings.HasPrefix(rest, "+") || strings.HasPrefix(rest, "-") {
		sign, rest = rest[:1], rest[1:]
	}
	whole, frac, dotted := strings.Cut(rest, ".")
	if !allDigits(whole) || dotted && !allDigits(frac) {
		return decimal{}, fmt.Errorf("not a number")
	}
	if len(whole) > MaxDigits || len(frac) > MaxDigits {
		return decimal{}, fmt.Errorf("the number has more than %d digits", MaxDigits)
	}
	u, ok := new(big.Int).SetString(strings.TrimPrefix(sign, "+")+whole+frac, 10)
	if !ok {
		return decimal{}, fmt.Errorf("not a number")
	}
	d := decimal{u, len(frac) - exponent}
	if d.scale > 2*MaxDigits || d.scale < -MaxDigits {
		return decimal{}, fmt.Errorf("the number has more than %d digits", MaxDigits)
	}
	if d.scale < 0 {
		d.unscaled.Mul(d.unscaled, pow10(-d.scale))
		d.scale = 0
	}
	return d, nil
}

func allDigits(s string) bool {
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}

// tooLong says that a number has outgrown the limit.
func (d decimal) tooLong() bool {
	return d.big().BitLen() > MaxDigits*2*10/3 || d.scale > 2*MaxDigits
}

func align(a, b decimal) (*big.Int, *big.Int, int) {
	x, y := a.big(), b.big()
	switch {
	case a.scale < b.scale:
		return new(big.Int).Mul(x, pow10(b.scale-a.scale)), y, b.scale
	case a.scale > b.scale:
		return x, new(big.Int).Mul(y, pow10(a.scale-b.scale)), a.scale
	}
	return x, y, a.scale
}

func (d decimal) cmp(o decimal) int {
	x, y, _ := align(d, o)
	return x.Cmp(y)
}

func (d decimal) add(o decimal) decimal {
	x, y, s := align(d, o)
	return decimal{new(big.Int).Add(x, y), s}
}

func (d decimal) neg() decimal { return decimal{new(big.Int).Neg(d.big()), d.scale} }

func (d decimal) sign() int { return d.big().Sign() }

func (d decimal) mul(o decimal) decimal {
	return decimal{new(big.Int).Mul(d.big(), o.big()), d.scale + o.scale}.round(fraction, halfUp)
}

// quo divides; the caller has refused a divisor of zero.
func (d decimal) quo(o decimal) decimal {
	scale := max(fraction, d.scale, o.scale)
	num := new(big.Int).Mul(d.big(), pow10(scale+o.scale))
	den := new(big.Int).Mul(o.big(), pow10(d.scale))
	return decimal{divide(num, den, halfUp), scale}
}

// rem is the remainder of the whole parts, with the sign of d.
func (d decimal) rem(o decimal) decimal {
	return decimal{new(big.Int).Rem(d.whole(), o.whole()), 0}
}

// whole drops the decimals.
func (d decimal) whole() *big.Int { return d.round(0, towardsZero).big() }

// isWhole says that there is nothing after the point.
func (d decimal) isWhole() bool { return d.cmp(decimal{d.whole(), 0}) == 0 }

// int64 gives the whole part if it fits.
func (d decimal) int64() (int64, bool) {
	w := d.whole()
	return w.Int64(), w.IsInt64()
}

// round gives d with at most scale decimals.
func (d decimal) round(scale int, how rounding) decimal {
	if d.scale <= scale {
		return d
	}
	return decimal{divide(d.big(), pow10(d.scale-scale), how), scale}
}

// divide is num / den as a whole number.
func divide(num, den *big.Int, how rounding) *big.Int {
	q, r := new(big.Int).QuoRem(num, den, new(big.Int))
	if r.Sign() == 0 {
		return q
	}
	sign := int64(num.Sign() * den.Sign())
	twice := new(big.Int).Mul(r, big.NewInt(2))
	half := twice.CmpAbs(den)
	var away bool
	switch how {
	case halfUp:
		away = half >= 0
	case halfEven:
		away = half > 0 || half == 0 && q.Bit(0) == 1
	case halfCeiling:
		away = half > 0 || half == 0 && sign > 0
	case toFloor:
		away = sign < 0
	case toCeiling:
		away = sign > 0
	}
	if away {
		q.Add(q, big.NewInt(sign))
	}
	return q
}

// fixed writes d with exactly d.scale decimals.
func (d decimal) fixed() string {
	digits := new(big.Int).Abs(d.big()).String()
	if pad := d.scale + 1 - len(digits); pad > 0 {
		digits = strings.Repeat("0", pad) + digits
	}
	if d.scale > 0 {
		digits = digits[:len(digits)-d.scale] + "." + digits[len(digits)-d.scale:]
	}
	if d.sign() < 0 {
		digits = "-" + digits
	}
	return digits
}

// String prints as number_format "computer" does: no grouping, no exponent, at most 16 decimals, no trailing zeros.
func (d decimal) String() string {
	if d.scale == 0 && d.big().IsInt64() {
		return strconv.FormatInt(d.big().Int64(), 10)
	}
	s := d.round(printFraction, halfEven).fixed()
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	if s == "-0" {
		return "0"
	}
	return s
}
