package template

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// javaDate writes t, which is in UTC, by a Java date pattern in en_US; false when the pattern is none.
func javaDate(pattern string, t time.Time) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(pattern); {
		c := pattern[i]
		if c == '\'' {
			n, ok := quoted(&b, pattern[i:])
			if !ok {
				return "", false
			}
			i += n
			continue
		}
		n := 1
		for i+n < len(pattern) && pattern[i+n] == c {
			n++
		}
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			s, ok := dateField(c, n, t)
			if !ok {
				return "", false
			}
			b.WriteString(s)
		default:
			b.WriteString(pattern[i : i+n])
		}
		i += n
	}
	return b.String(), true
}

// quoted copies the quoted text that s begins with, and gives its length; ” is a quote.
func quoted(b *strings.Builder, s string) (int, bool) {
	if strings.HasPrefix(s, "''") {
		b.WriteByte('\'')
		return 2, true
	}
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] != '\'':
			b.WriteByte(s[i])
		case strings.HasPrefix(s[i:], "''"):
			b.WriteByte('\'')
			i++
		default:
			return i + 1, true
		}
	}
	return 0, false
}

// dateField is one field of a date pattern: letter c, n times.
func dateField(c byte, n int, t time.Time) (string, bool) {
	if name, ok := dateName(c, n, t); ok {
		return name, true
	}
	value, ok := dateNumber(c, t)
	if (c == 'y' || c == 'Y') && n == 2 {
		value %= 100
	}
	return fmt.Sprintf("%0*d", n, value), ok
}

// dateName is a field that is a text.
func dateName(c byte, n int, t time.Time) (string, bool) {
	pick := func(short, long string) (string, bool) {
		if n >= 4 {
			return long, true
		}
		return short, true
	}
	switch c {
	case 'G':
		return "AD", true
	case 'M', 'L':
		if n >= 3 {
			return pick(t.Format("Jan"), t.Format("January"))
		}
	case 'E':
		return pick(t.Format("Mon"), t.Format("Monday"))
	case 'a':
		return t.Format("PM"), true
	case 'z':
		return pick("UTC", "Coordinated Universal Time")
	case 'Z':
		return "+0000", true
	case 'X':
		return "Z", n <= 3
	}
	return "", false
}

// dateNumber is a field that is a number. Weeks begin on Sundays, and the first of a year holds its first day.
func dateNumber(c byte, t time.Time) (int, bool) {
	first := time.Date(t.Year(), 1, 1, 0, 0, 0, 0, time.UTC)
	week := (t.YearDay()-1+int(first.Weekday()))/7 + 1
	year := t.Year()
	if next := first.AddDate(1, 0, 0); t.AddDate(0, 0, 6-int(t.Weekday())).Year() > year && next.Weekday() != time.Sunday {
		week, year = 1, year+1
	}
	switch c {
	case 'y':
		return t.Year(), true
	case 'Y':
		return year, true
	case 'M', 'L':
		return int(t.Month()), true
	case 'w':
		return week, true
	case 'W':
		month := time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
		return (t.Day()-1+int(month.Weekday()))/7 + 1, true
	case 'D':
		return t.YearDay(), true
	case 'd':
		return t.Day(), true
	case 'F':
		return (t.Day()-1)/7 + 1, true
	case 'u':
		return (int(t.Weekday())+6)%7 + 1, true
	case 'H':
		return t.Hour(), true
	case 'k':
		return (t.Hour()+23)%24 + 1, true
	case 'K':
		return t.Hour() % 12, true
	case 'h':
		return (t.Hour()+11)%12 + 1, true
	case 'm':
		return t.Minute(), true
	case 's':
		return t.Second(), true
	case 'S':
		ms, err := strconv.Atoi(t.Format(".000")[1:])
		return ms, err == nil
	}
	return 0, false
}
