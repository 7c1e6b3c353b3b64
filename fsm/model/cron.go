package model

import (
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// Cron is a time table of five fields as crontab(5) has them: minute, hour, day of the month, month, day of the week. All
// times are UTC.
type Cron struct {
	minute, hour, dom, month, dow uint64 // bit sets
	anyDom, anyDow                bool   // the field is *: the other day field decides alone
}

// cronField is a field of a time table.
type cronField struct {
	word     string
	min, max int
	names    []string // of the values from min on
}

func cronFields() [5]cronField {
	return [5]cronField{
		{"minute", 0, 59, nil}, {"hour", 0, 23, nil}, {"day of the month", 1, 31, nil},
		{"month", 1, 12, []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
		{"day of the week", 0, 7, []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
	}
}

// maxCron bounds the text of a time table, in bytes.
const maxCron = 256

// ParseCron reads a time table: numbers, names of months and days, ranges, lists, steps and *. A day of the month and one of
// the week that are both given mean either, as crontab(5) says. Errors are Invalid and name the field.
func ParseCron(text string) (Cron, error) {
	if len(text) > maxCron {
		return Cron{}, Errorf(Invalid, "cron has %d bytes: give at most %d", len(text), maxCron)
	}
	parts := strings.Fields(text)
	if len(parts) != 5 {
		return Cron{}, Errorf(Invalid, "cron is %q, which has %d fields: give five, minute, hour, day of the month, month and day of the week, such as \"30 4 * * mon\"", text, len(parts))
	}
	var sets [5]uint64
	for i, f := range cronFields() {
		for part := range strings.SplitSeq(parts[i], ",") {
			set, ok := f.parse(strings.ToLower(part))
			if !ok {
				return Cron{}, Errorf(Invalid, "cron: the %s %q is not usable: give numbers from %d to %d, ranges as 1-5, lists as 1,3, steps as */10, or *", f.word, part, f.min, f.max)
			}
			sets[i] |= set
		}
	}
	if sets[4]&(1<<7) != 0 { // Sunday has two numbers
		sets[4] = sets[4]&^(1<<7) | 1
	}
	c := Cron{sets[0], sets[1], sets[2], sets[3], sets[4], strings.HasPrefix(parts[2], "*"), strings.HasPrefix(parts[4], "*")}
	if c.Next(time.Unix(0, 0).UTC()).IsZero() {
		return Cron{}, Errorf(Invalid, "cron is %q: that day never comes", text)
	}
	return c, nil
}

// parse reads one part of a field.
func (f cronField) parse(part string) (set uint64, ok bool) {
	spread, stepText, stepped := strings.Cut(part, "/")
	step := 1
	if stepped {
		n, err := strconv.Atoi(stepText)
		if err != nil || n < 1 || n > f.max {
			return 0, false
		}
		step = n
	}
	from, to := f.min, f.max
	if spread != "*" {
		a, b, isRange := strings.Cut(spread, "-")
		if from, ok = f.value(a); !ok {
			return 0, false
		}
		switch {
		case isRange:
			if to, ok = f.value(b); !ok || to < from {
				return 0, false
			}
		case !stepped:
			to = from
		}
	}
	for v := from; v <= to; v += step {
		set |= 1 << v
	}
	return set, true
}

func (f cronField) value(s string) (int, bool) {
	for i, name := range f.names {
		if s == name {
			return f.min + i, true
		}
	}
	if s == "" || len(s) > 2 || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= f.min && n <= f.max
}

// cronYears is how far ahead is looked: the 29th of February is eight years away at most, once in a century.
const cronYears = 9

// Next is the first minute after t that the table names; the zero time when none comes.
func (c Cron) Next(t time.Time) time.Time {
	t = t.UTC().Truncate(time.Minute).Add(time.Minute)
	last := t.Year() + cronYears
	for day := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC); day.Year() <= last; day = day.AddDate(0, 0, 1) {
		if c.month&(1<<int(day.Month())) == 0 {
			day = time.Date(day.Year(), day.Month()+1, 0, 0, 0, 0, 0, time.UTC) // its last day: the loop goes to the next month
			continue
		}
		if !c.onDay(day) {
			continue
		}
		for hour := range 24 {
			if c.hour&(1<<hour) == 0 {
				continue
			}
			at := day.Add(time.Duration(hour) * time.Hour)
			from := 0
			if sameHour := at.Equal(t.Truncate(time.Hour)); sameHour {
				from = t.Minute()
			} else if at.Before(t) {
				continue
			}
			if m := bits.TrailingZeros64(c.minute >> from << from); m < 60 {
				return at.Add(time.Duration(m) * time.Minute)
			}
		}
	}
	return time.Time{}
}

// onDay says whether the table names a day of its month.
func (c Cron) onDay(day time.Time) bool {
	dom, dow := c.dom&(1<<day.Day()) != 0, c.dow&(1<<int(day.Weekday())) != 0
	if c.anyDom || c.anyDow {
		return dom && dow
	}
	return dom || dow
}
