package model

import (
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// NewUUID makes an id in the contract's form (section 1.6): 32 upper-case hexadecimal digits, no dashes.
// random is crypto/rand.Reader outside tests; a reader that fails is a fault of the machine and panics,
// as crypto/rand itself does.
func NewUUID(random io.Reader) string {
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		panic(fmt.Sprintf("no randomness: %v", err))
	}
	return strings.ToUpper(hex.EncodeToString(b[:]))
}

// maxName is the longest name in bytes: names are path segments and row keys.
const maxName = 255

// CheckName refuses a name that cannot be a segment of an address (contract section 1.1), or that could look like another
// without being it: with characters that nobody sees, spaces of other kinds, or letters that are not in composed form. kind is the
// word for the thing in the text: "host", "organization". Errors are Invalid.
func CheckName(kind, name string) error {
	if err := CheckStoredName(kind, name); err != nil {
		return err
	}
	for _, r := range name {
		switch {
		case unseen(r):
			return Errorf(Invalid, "%s: name %+q contains U+%04X, which nobody sees, so that it looks like another name: remove it", kind, name, r)
		case r != ' ' && unicode.IsSpace(r):
			return Errorf(Invalid, "%s: name %+q contains U+%04X, a blank that looks like another one: write an ordinary space", kind, name, r)
		}
	}
	if !norm.NFC.IsNormalString(name) {
		return Errorf(Invalid, "%s: name %+q is not in composed form (NFC), so that it looks like %+q: write it so", kind, name, norm.NFC.String(name))
	}
	return nil
}

// unseen says whether a character has no look of its own: those that turn the direction of the text, of no width, fillers,
// variants of the character before, and ends of lines. Unicode calls all but the last ignorable by default.
func unseen(r rune) bool {
	if r < 0x80 {
		return false // control characters are refused before
	}
	return unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector, unicode.Zl, unicode.Zp) &&
		!unicode.Is(unicode.Prepended_Concatenation_Mark, r)
}

// CheckStoredName is CheckName for a name that was given before it refused look-alikes: it stays until somebody changes it.
func CheckStoredName(kind, name string) error {
	switch {
	case name == "":
		return Errorf(Invalid, "%s: name is missing: give one", kind)
	case !utf8.ValidString(name):
		return Errorf(Invalid, "%s: name is not valid UTF-8", kind)
	case len(name) > maxName:
		return Errorf(Invalid, "%s: name has %d bytes: shorten it to %d", kind, len(name), maxName)
	case name == "." || name == "..":
		return Errorf(Invalid, "%s: name %q cannot stand in an address: choose another", kind, name)
	case strings.ContainsAny(name, "/%"):
		return Errorf(Invalid, "%s: name %q contains / or %%, which an address cannot carry: remove it", kind, name)
	case strings.TrimSpace(name) != name:
		return Errorf(Invalid, "%s: name %q begins or ends with white space: remove it", kind, name)
	case strings.IndexFunc(name, unicode.IsControl) >= 0:
		return Errorf(Invalid, "%s: name %q contains a control character: remove it", kind, name)
	}
	return nil
}

// timeForm is the contract's form of a time (section 6).
const timeForm = "2006-01-02T15:04:05.000-0700"

// FormatTime writes a time in the contract's form, in UTC; the zero time is "".
func FormatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(timeForm)
}

// ParseTime reads a time in the contract's form, or in that of RFC 3339; "" is the zero time. Errors are
// Invalid and name the field.
func ParseTime(field, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, form := range []string{timeForm, "2006-01-02T15:04:05-0700", time.RFC3339Nano} {
		t, err := time.Parse(form, s)
		if err != nil {
			continue
		}
		if t = t.UTC(); t.Year() < 1970 || t.Year() > 9999 {
			return time.Time{}, Errorf(Invalid, "%s is %q: give a time between 1970 and 9999", field, s)
		}
		return t, nil
	}
	return time.Time{}, Errorf(Invalid, "%s is %q: write it as 2018-04-04T15:37:30.612+0200", field, s)
}
