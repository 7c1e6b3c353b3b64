package state

import (
	"slices"
	"strings"
	"testing"
)

func TestDigestsInAValue(t *testing.T) {
	one, two := strings.Repeat("0123456789abcdef", 4), strings.Repeat("fe", 32)
	for value, want := range map[string][]string{
		"":                             nil,
		`{"content":"` + one + `"}`:    {one},
		one:                            {one},
		one + " " + two:                {one, two},
		one[1:]:                        nil,
		strings.ToUpper(one):           nil,
		one + "0":                      nil, // longer: nothing is named so
		strings.Repeat("a", 200<<10):   nil, // a value of hex digits only costs no look at all
		"sha256:" + one + "\x00" + one: {one, one},
	} {
		var got []string
		digestsIn([]byte(value), func(digest string) { got = append(got, digest) })
		if !slices.Equal(got, want) {
			t.Errorf("%.80q: %q, want %q", value, got, want)
		}
	}
}
