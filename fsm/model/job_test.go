package model_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/fsm/model"
)

func TestCronNext(t *testing.T) {
	const form = "2006-01-02 15:04 Mon"
	for _, c := range []struct{ cron, after, want string }{
		{"* * * * *", "2026-03-01 10:00 Sun", "2026-03-01 10:01 Sun"},
		{"30 4 * * *", "2026-03-01 10:00 Sun", "2026-03-02 04:30 Mon"},
		{"30 4 * * *", "2026-03-01 04:29 Sun", "2026-03-01 04:30 Sun"},
		{"30 4 * * *", "2026-03-01 04:30 Sun", "2026-03-02 04:30 Mon"},
		{"*/15 9-17 * * mon-fri", "2026-03-06 17:45 Fri", "2026-03-09 09:00 Mon"},
		{"0 0 1 1 *", "2026-01-01 00:00 Thu", "2027-01-01 00:00 Fri"},
		{"0 0 29 2 *", "2026-03-01 00:00 Sun", "2028-02-29 00:00 Tue"},
		{"0 0 31 * *", "2026-04-01 00:00 Wed", "2026-05-31 00:00 Sun"},
		{"5,10 3 13 * fri", "2026-03-01 00:00 Sun", "2026-03-06 03:05 Fri"}, // either day
		{"0 12 * * 7", "2026-03-02 00:00 Mon", "2026-03-08 12:00 Sun"},
		{"0 12 * dec sun", "2026-03-02 00:00 Mon", "2026-12-06 12:00 Sun"},
		{"59 23 31 12 *", "2026-12-31 23:59 Thu", "2027-12-31 23:59 Fri"},
		{"10/20 * * * *", "2026-03-01 10:11 Sun", "2026-03-01 10:30 Sun"},
	} {
		after, err := time.Parse(form, c.after)
		if err != nil {
			t.Fatal(err)
		}
		table, err := model.ParseCron(c.cron)
		if err != nil {
			t.Errorf("%s: %v", c.cron, err)
			continue
		}
		if got := table.Next(after).Format(form); got != c.want {
			t.Errorf("%s after %s: %s, want %s", c.cron, c.after, got, c.want)
		}
		if got := table.Next(after.Add(30 * time.Second)).Format(form); got != c.want {
			t.Errorf("%s half a minute after %s: %s, want %s", c.cron, c.after, got, c.want)
		}
	}
}

func TestCronRefuses(t *testing.T) {
	for cron, what := range map[string]string{
		"": "five", "* * * *": "4 fields", "60 * * * *": "minute", "* 24 * * *": "hour", "* * 0 * *": "day of the month", "* * * 13 *": "month",
		"* * * * 8": "day of the week", "5-1 * * * *": "minute", "*/0 * * * *": "minute", "*/-1 * * * *": "minute", "1,,2 * * * *": "minute",
		"0 0 30 2 *": "never comes", "@daily": "1 fields", "a * * * *": "minute", "0 0 * foo *": "month", "+1 * * * *": "minute",
		strings.Repeat("1,", 200) + "1 * * * *": "at most 256",
	} {
		if _, err := model.ParseCron(cron); model.CodeOf(err) != model.Invalid || !strings.Contains(err.Error(), what) {
			t.Errorf("%q: %v, want %s", cron, err, what)
		}
	}
}

// A table that is read names a time after the one it is asked for, and that time is in the table.
func FuzzCron(f *testing.F) {
	for _, s := range []string{"* * * * *", "30 4 1,15 * 5", "*/15 9-17 * jan-mar mon-fri", "0 0 29 2 *"} {
		f.Add(s, int64(1_800_000_000))
	}
	f.Fuzz(func(t *testing.T, text string, at int64) {
		c, err := model.ParseCron(text)
		if err != nil {
			if model.CodeOf(err) != model.Invalid {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		after := time.Unix(at%4_000_000_000, 0)
		next := c.Next(after)
		if !next.IsZero() && (!next.After(after) || !c.Next(next.Add(-time.Minute)).Equal(next)) {
			t.Fatalf("%q after %s: %s", text, after, next)
		}
	})
}

func TestJobDocument(t *testing.T) {
	// As the published client's template has it.
	const given = `{"name":"name job","description":"d","enabled":"true","input":"organizations/Demo/environments/test/hosts/voila","action":"DELETE_HOST",
		"organization":"else","cron":"*  * * * *","date":"2018-04-04T15:37:30.612+0200","operation":{"desciption":"NONE","operation":"NONE"},"more":[1]}`
	j, err := model.Decode[model.Job]([]byte(given))
	if err != nil {
		t.Fatal(err)
	}
	j.Normalize()
	if err := j.Validate(); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"enabled":"true"`, `"cron":"* * * * *"`, `"operation":{"desciption":"NONE","operation":"NONE"}`, `"more":[1]`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%s lacks %s", b, want)
		}
	}
	if b, _ := json.Marshal(model.Job{Name: "j"}); !strings.Contains(string(b), `"cron":"","date":"","description":"","input":""`) {
		t.Errorf("an empty one: %s", b)
	}
	for change, what := range map[string]string{
		`{"enabled":"perhaps"}`: "enabled", `{"cron":"x"}`: "five", `{"date":"tomorrow"}`: "date", `{"operation":[]}`: "operation", `{"action":""}`: "action is missing",
		`{"input":"organizations/o/hosts/h"}`: "input", `{"input":"organizations/o/environments/e/hosts/h/applications/a"}`: "input", `{"name":"a/b"}`: "job",
	} {
		bad, err := model.Merge(j, []byte(change))
		if err == nil {
			bad.Normalize()
			err = bad.Validate()
		}
		if model.CodeOf(err) != model.Invalid || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v, want %s", change, err, what)
		}
	}
}
