package template

import (
	"errors"
	"strings"
	"time"
)

// datePart says what a date value holds.
type datePart int

const (
	dateOnly datePart = iota
	timeOnly
	dateTime
)

// date is a point in time, always in UTC.
type date struct {
	at   time.Time
	part datePart
}

func dateBuiltin(name string) (builtin, bool) {
	part, known := map[string]datePart{"date": dateOnly, "time": timeOnly, "datetime": dateTime}[name]
	if known {
		return builtin{max: 1, keyed: true, fn: func(c *call) *Value { return c.toDate(part) }}, true
	}
	switch name {
	case "iso_utc", "iso_utc_ms", "iso_utc_nz":
		return builtin{fn: func(c *call) *Value {
			d := c.theDate()
			if name != "iso_utc_ms" {
				d.at = d.at.Truncate(time.Second)
			}
			return Text(d.iso(name != "iso_utc_nz"))
		}}, true
	case "number_to_datetime":
		return builtin{fn: func(c *call) *Value {
			ms, ok := c.num().int64()
			if !ok || ms > 1e15 || ms < -1e15 {
				c.fail(BadValue, "the number is too large for a date")
			}
			return &Value{kind: kindDate, more: date{time.UnixMilli(ms).UTC(), dateTime}}
		}}, true
	}
	return builtin{}, false
}

func (c *call) theDate() date {
	if c.v.kind != kindDate {
		c.wrong("dates")
	}
	return c.v.more.(date)
}

// toDate reads a text by a Java pattern or as ISO 8601, or takes a part of a date. The error does not quote the text.
func (c *call) toDate(part datePart) *Value {
	if c.v.kind == kindDate {
		d := c.theDate()
		switch {
		case d.part == part:
		case d.part != dateTime:
			c.fail(Type, "?%s: the value has no such part", c.x.name)
		case part == dateOnly:
			y, m, day := d.at.Date()
			d.at = time.Date(y, m, day, 0, 0, 0, 0, time.UTC)
		default:
			d.at = time.Date(1970, 1, 1, d.at.Hour(), d.at.Minute(), d.at.Second(), d.at.Nanosecond(), time.UTC)
		}
		return &Value{kind: kindDate, more: date{d.at, part}}
	}
	s := c.text()
	if !c.has(0) {
		c.fail(BadValue, "?%s needs a pattern here, such as ?%s('yyyy-MM-dd') or ?%s.iso", c.x.name, c.x.name, c.x.name)
	}
	format := c.textArg(0)
	layouts, ok := isoLayouts(part), true
	if format != "iso" && format != "xs" {
		var layout string
		layout, ok = javaLayout(format)
		layouts = []string{layout}
	}
	if !ok {
		c.fail(BadValue, "?%s: the date pattern has letters that are not supported; known are y M d H h m s S E a X Z z", c.x.name)
	}
	for _, layout := range layouts {
		t, err := time.Parse(layout, s)
		var extra *time.ParseError
		if errors.As(err, &extra) && strings.HasPrefix(extra.Message, ": extra text") {
			t, err = time.Parse(layout, strings.TrimSuffix(s, extra.ValueElem)) // Java reads as far as the pattern goes
		}
		if err == nil {
			if part == timeOnly {
				t = time.Date(1970, 1, 1, t.UTC().Hour(), t.UTC().Minute(), t.UTC().Second(), t.UTC().Nanosecond(), time.UTC)
			}
			return &Value{kind: kindDate, more: date{t.UTC(), part}}
		}
	}
	c.fail(BadValue, "the text %s does not fit the date pattern", c.r.code(c.x.of))
	return nil
}

func isoLayouts(part datePart) []string {
	switch part {
	case dateOnly:
		return []string{"2006-01-02", "20060102"}
	case timeOnly:
		return []string{"15:04:05.999999999Z07:00", "15:04:05.999999999", "15:04Z07:00", "15:04"}
	}
	return []string{"2006-01-02T15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999", "2006-01-02T15:04Z07:00", "2006-01-02T15:04"}
}

// javaLayout turns a Java date pattern into one of Go.
func javaLayout(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); {
		c := s[i]
		if c == '\'' {
			end := strings.IndexByte(s[i+1:], '\'')
			switch {
			case end < 0:
				return "", false
			case end == 0:
				b.WriteByte('\'')
			case strings.ContainsAny(s[i+1:i+1+end], "0123456789_"):
				return "", false
			}
			b.WriteString(s[i+1 : i+1+end])
			i += end + 2
			continue
		}
		n := 1
		for i+n < len(s) && s[i+n] == c {
			n++
		}
		if c >= '0' && c <= '9' || c == '_' {
			return "", false
		}
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			layout, ok := javaField(c, n)
			if !ok {
				return "", false
			}
			b.WriteString(layout)
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String(), true
}

func javaField(c byte, n int) (string, bool) {
	pick := func(forms ...string) (string, bool) { return forms[min(n, len(forms))-1], true }
	switch c {
	case 'y':
		return pick("2006", "06", "2006")
	case 'M':
		return pick("1", "01", "Jan", "January")
	case 'd':
		return pick("2", "02")
	case 'H':
		return "15", true
	case 'h':
		return pick("3", "03")
	case 'm':
		return pick("4", "04")
	case 's':
		return pick("5", "05")
	case 'S':
		return "000", n == 3
	case 'E':
		return pick("Mon", "Mon", "Mon", "Monday")
	case 'a':
		return "PM", true
	case 'X':
		return pick("Z07", "Z0700", "Z07:00")
	case 'Z':
		return "-0700", true
	case 'z':
		return "MST", true
	}
	return "", false
}

func (d date) iso(zone bool) string {
	layout := map[datePart]string{dateOnly: "2006-01-02", timeOnly: "15:04:05.999", dateTime: "2006-01-02T15:04:05.999"}[d.part]
	if zone && d.part != dateOnly {
		layout += "Z07:00"
	}
	return d.at.Format(layout)
}

// named is short, medium, long or full, as Java writes them for en_US.
func (d date) named(name string) (string, bool) {
	days := map[string]string{"short": "1/2/06", "medium": "Jan 2, 2006", "long": "January 2, 2006", "full": "Monday, January 2, 2006"}
	times := map[string]string{"short": "3:04 PM", "medium": "3:04:05 PM", "long": "3:04:05 PM MST", "full": "3:04:05 PM MST"}
	first, second, two := strings.Cut(name, "_")
	if !two {
		second = first
	}
	day, ok1 := days[first]
	clock, ok2 := times[second]
	if !ok1 || !ok2 {
		return "", false
	}
	switch d.part {
	case dateOnly:
		return d.at.Format(day), true
	case timeOnly:
		return d.at.Format(clock), true
	}
	return d.at.Format(day + ", " + clock), true
}

// defaultText is what ${date} prints.
func (d date) defaultText() string {
	s, _ := d.named("medium")
	return s
}

// dateText is ?string with a pattern or the name of a format.
func (c *call) dateText(format string) string {
	d := c.theDate()
	if s, ok := d.named(format); ok {
		return s
	}
	switch format {
	case "iso", "xs", "iso_utc":
		return d.iso(true)
	case "iso_nz":
		return d.iso(false)
	}
	text, ok := javaDate(format, d.at)
	if !ok {
		c.fail(BadValue, "?string: the date pattern has an open quote, or letters that stand for nothing; letters that stand for themselves are quoted")
	}
	return text
}
