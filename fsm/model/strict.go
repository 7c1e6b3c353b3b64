package model

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// The bounds of what is looked at quickly.
const (
	strictKeys   = 16  // of one object
	strictDepth  = 32  // of objects and lists
	strictDigits = 300 // of a number, which a double holds then, as it has no exponent
)

// Strict says that data surely is one JSON object or list, first of which is '{' or '[', in which no object has a key twice,
// no text half of an escaped character and no number is beyond a double. It is false for whatever takes a closer look,
// such as many keys, escapes in keys, and numbers with exponents. Data must be valid UTF-8.
func Strict(data []byte, first byte) bool {
	i := plainSpace(data, 0)
	if i >= len(data) || data[i] != first || first != '{' && first != '[' {
		return false
	}
	end := strictValue(data, i, 1)
	return end > 0 && plainSpace(data, end) == len(data)
}

// strictValue gives the place after the value at i; -1 where that is not sure.
func strictValue(data []byte, i, depth int) int {
	if i >= len(data) || depth > strictDepth {
		return -1
	}
	switch data[i] {
	case '{':
		return strictObject(data, i, depth)
	case '[':
		return strictList(data, i, depth)
	case '"':
		return strictText(data, i)
	case 'n':
		if bytes.HasPrefix(data[i:], []byte("null")) {
			return i + 4
		}
		return -1
	case 't', 'f':
		if n := plainValue(data[i:]); n > 0 {
			return i + n
		}
		return -1
	}
	return strictNumber(data, i)
}

func strictObject(data []byte, i, depth int) int {
	if i = plainSpace(data, i+1); i < len(data) && data[i] == '}' {
		return i + 1
	}
	var room [strictKeys][]byte
	seen := room[:0]
	for {
		n := plainEnd(data[min(i, len(data)):])
		if n == 0 {
			return -1
		}
		name := data[i : i+n]
		if len(seen) == strictKeys || slices.ContainsFunc(seen, func(s []byte) bool { return bytes.Equal(s, name) }) {
			return -1
		}
		seen = append(seen, name)
		if i = plainSpace(data, i+n); i >= len(data) || data[i] != ':' {
			return -1
		}
		if i = strictValue(data, plainSpace(data, i+1), depth+1); i < 0 {
			return -1
		}
		if i = plainSpace(data, i); i >= len(data) {
			return -1
		}
		switch data[i] {
		case ',':
			i = plainSpace(data, i+1)
		case '}':
			return i + 1
		default:
			return -1
		}
	}
}

func strictList(data []byte, i, depth int) int {
	if i = plainSpace(data, i+1); i < len(data) && data[i] == ']' {
		return i + 1
	}
	for {
		if i = strictValue(data, i, depth+1); i < 0 {
			return -1
		}
		if i = plainSpace(data, i); i >= len(data) {
			return -1
		}
		switch data[i] {
		case ',':
			i = plainSpace(data, i+1)
		case ']':
			return i + 1
		default:
			return -1
		}
	}
}

// strictText is strictValue for a text: any, but for escapes by number. Most texts end at the next quote: to find it, to find no
// backslash before it, and to look for control characters is a third of what it takes to tell plain bytes.
func strictText(data []byte, i int) int {
	i++
	n := bytes.IndexByte(data[i:], '"')
	if n < 0 {
		return -1
	}
	if text := data[i : i+n]; bytes.IndexByte(text, '\\') < 0 && !hasControl(text) {
		return i + n + 1
	}
	for i < len(data) {
		if i += plainLen(data[i:]); i == len(data) {
			return -1
		}
		switch c := data[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			if i+1 == len(data) || bytes.IndexByte([]byte(`"\/bfnrt`), data[i+1]) < 0 {
				return -1
			}
			i += 2
		case c < 0x20:
			return -1
		default:
			i++
		}
	}
	return -1
}

// hasControl says whether data has a byte less than a space.
func hasControl(data []byte) bool {
	for len(data) >= 8 {
		x := binary.LittleEndian.Uint64(data)
		// A byte's high bit is set where it is less than a space; a borrow may set that of the byte above such a one, too.
		if (x-0x20*eachByte)&^x&highBits != 0 {
			return true
		}
		data = data[8:]
	}
	for _, c := range data {
		if c < 0x20 {
			return true
		}
	}
	return false
}

// strictNumber is strictValue for a number without exponent.
func strictNumber(data []byte, start int) int {
	i := start
	if data[i] == '-' {
		i++
	}
	digits := func() int {
		from := i
		for i < len(data) && data[i] >= '0' && data[i] <= '9' {
			i++
		}
		return i - from
	}
	leads := i < len(data) && data[i] == '0'
	if n := digits(); n == 0 || leads && n > 1 {
		return -1
	}
	if i < len(data) && data[i] == '.' {
		i++
		if digits() == 0 {
			return -1
		}
	}
	if i < len(data) && (data[i] == 'e' || data[i] == 'E') || i-start > strictDigits {
		return -1
	}
	return i
}
