package model

import (
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
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

// CheckName refuses a name that cannot be a segment of an address (contract section 1.1). kind is the word
// for the thing in the text: "host", "organization". Errors are Invalid.
func CheckName(kind, name string) error {
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
