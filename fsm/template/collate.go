package template

import (
	"strings"
	"unicode"
)

// firstOrder is the order of ASCII characters that count at first; blanks, controls and "-" do not.
const firstOrder = "_,;:!?/.`^~'\"()[]{}@$*\\&#%+<=>|0123456789abcdefghijklmnopqrstuvwxyz"

// collationKey gives what texts are compared by: letters first, then accents, then case (lower before upper),
// then what was ignored. Each level ends with -1, so that a shorter text comes first.
func collationKey(s string) []int {
	var first, second, third, fourth []int
	for _, c := range s {
		base, accent := unaccent(c)
		lower := unicode.ToLower(base)
		if lower == '-' || base <= ' ' || base == 0x7F {
			fourth = append(fourth, len(first)+1, int(c))
			continue
		}
		weight := strings.IndexRune(firstOrder, lower)
		if weight < 0 {
			weight = len(firstOrder) + int(lower)
		}
		upper := 0
		if unicode.IsUpper(base) {
			upper = 1
		}
		first, second, third = append(first, weight), append(second, accent), append(third, upper)
	}
	key := append(first, -1)
	key = append(append(key, second...), -1)
	key = append(append(key, third...), -1)
	return append(key, fourth...)
}

// unaccent gives the letter under an accent of the Latin-1 and Latin Extended-A blocks, and a number for the accent.
func unaccent(c rune) (base rune, accent int) {
	const plain = "AAAAAA\x00CEEEEIIII\x00NOOOOO\x00\x00UUUUY\x00\x00aaaaaa\x00ceeeeiiii\x00nooooo\x00\x00uuuuy\x00y" +
		"AaAaAaCcCcCcCcDdDdEeEeEeEeEeGgGgGgGgHhHhIiIiIiIiIi\x00\x00JjKk\x00LlLlLlLlLlNnNnNn\x00\x00\x00OoOoOo\x00\x00RrRrRrSsSsSsSsTtTtTtUuUuUuUuUuUuWwYyYZzZzZz\x00"
	if i := int(c) - 0xC0; i >= 0 && i < len(plain) && plain[i] != 0 {
		return rune(plain[i]), int(unicode.ToLower(c))
	}
	return c, 0
}
