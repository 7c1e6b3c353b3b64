package api_test

import (
	"slices"
	"strings"
	"testing"
)

// What is hostile rather than mistaken gets an error as precise as the rest, and changes nothing.
func TestHostileInput(t *testing.T) {
	s := newSite(t).furnish()
	h := "/organizations/acme/environments/Dev/hosts/web1"
	files, apps := "/organizations/acme/applications/web/files/", "/organizations/acme/applications/"
	before := s.db.Local().Index()
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"10 MB", "POST", "/organizations/", `{"name": "` + strings.Repeat("x", 10<<20) + `"}`, 413, "larger than 1048576 bytes: it has 10485772"},
		{"too much for an account", "POST", "/users/", `{"username": "` + strings.Repeat("x", 200<<10) + `"}`, 413, "larger than 65536 bytes"},
		{"a path that is too long", "GET", "/organizations/" + strings.Repeat("x", 20<<10), "", 414, "at most 16384"},
		{"deep list", "POST", h + "/settings/", `{"key": "k", "value": ` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`, 400, "deeper than 64 levels at value[0]"},
		{"deep objects", "POST", h + "/settings/", `{"key": "k", "value": ` + strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100) + `}`, 400, "deeper than 64 levels at value.a.a"},
		{"key twice by an escape", "POST", h + "/settings/", `{"key": "k", "k\u0065y": "l", "value": 1}`, 400, `the key "key" twice: keep one`},
		{"key twice deep below", "POST", h + "/settings/", `{"key": "k", "value": {"a": {"b": [0, {"c": 1, "c": 2}]}}}`, 400, `the key "c" twice in value.a.b[1]`},
		{"not UTF-8 in a key", "POST", h + "/settings/", "{\"key\": \"k\", \"\xc0\xaf\": 1}", 400, "not UTF-8: byte 14"},
		{"not UTF-8 in a path", "GET", "/organizations/%c0%af", "", 400, `not UTF-8: "\xc0\xaf"`},
		{"NUL in a name", "POST", "/organizations/", `{"name": "a\u0000b"}`, 400, `name "a\x00b" contains a control character: remove it`},
		{"NUL in a path", "GET", "/organizations/acme%00", "", 404, `no organization "acme\x00"`},
		{"NUL in a setting's key", "POST", h + "/settings/", `{"key": "a\u0000b", "value": 1}`, 400, `key "a\x00b" contains a control character`},
		{"NUL in a file's path", "POST", files, `{"name": "f", "path": "/f\u0000"}`, 400, "zero byte: remove it"},
		{"NUL itself", "POST", "/organizations/", "{\"name\": \"a\x00b\"}", 400, `at byte 12: invalid character '\x00'`},
		{"../ in a name", "POST", "/organizations/", `{"name": "../x"}`, 400, `name "../x" contains / or %`},
		{"../ in a file's name", "POST", files, `{"name": "../../etc/passwd", "path": "/x"}`, 400, `name "../../etc/passwd" contains / or %`},
		{"../ in a file's path", "POST", files, `{"name": "f", "path": "/srv/../../etc/passwd"}`, 400, "without . .. and double slashes, as /etc/passwd"},
		{"../ escaped in a path", "GET", "/organizations/acme/applications/web/files/..%2f..%2fetc%2fpasswd/content", "", 404, "../../etc/passwd"},
		{".. in a path", "GET", "/organizations/acme/../acme", "", 404, "nothing at"},
		{"a setting's key that climbs", "POST", h + "/settings/", `{"key": "../k", "value": 1}`, 400, `key "../k" contains / or %`},
		{"past 2^53 for an id", "POST", apps, `{"name": "w", "users": [{"name": "u", "uid": 9007199254740993}]}`, 400, "uid is 9007199254740993: give a number from 0 to 4294967294"},
		{"past 2^64 for an id", "POST", apps, `{"name": "w", "users": [{"name": "u", "uid": 18446744073709551617}]}`, 400, "uid must be a whole number, not the number 18446744073709551617"},
		{"past 2^53 for a count", "POST", "/organizations/acme/environments/Dev/enroltokens/", `{"uses": 9007199254740993}`, 400, "uses: give a number from 1 to 100000"},
		{"past 2^64 in a query", "GET", "/events?limit=18446744073709551617", "", 400, "limit: give a number from 1 to 1000"},
		{"past 2^64 in a path", "GET", h + "/changes/18446744073709551617", "", 404, `no change "18446744073709551617"`},
		{"infinite", "POST", h + "/settings/", `{"key": "k", "value": {"n": [1, -1e309]}}`, 400, "value.n[1]: the number -1e309 is outside of what a double holds"},
		{"infinite by its digits", "POST", h + "/settings/", `{"key": "k", "value": ` + strings.Repeat("9", 400) + `}`, 400, "value: the number 9999999999999999999999999999999999999999... is outside"},
		{"0 but for 400 places", "POST", h + "/settings/", `{"key": "k", "value": 1e-400}`, 400, "the number 1e-400 is outside"},
	} {
		a := s.raw(c.method, c.path, c.body)
		if a.status != c.status || !strings.Contains(a.errors(t), c.want) {
			t.Errorf("%s: %d %s, want %d with %q", c.name, a.status, a.body, c.status, c.want)
		}
	}
	if now := s.db.Local().Index(); now != before {
		t.Errorf("refused requests moved the state from %d to %d", before, now)
	}
}

// Numbers come back digit by digit as they were written, in documents and in what is rendered.
func TestLargeNumbersAreKept(t *testing.T) {
	s := newSite(t).furnish()
	h := "/organizations/acme/environments/Dev/hosts/web1"
	for _, n := range []string{"9007199254740993", "-9007199254740993", "18446744073709551617", "123456789012345678901234567890", "0", "0e5", "-0.0"} {
		s.raw("DELETE", h+"/settings/n", "")
		if a := s.raw("POST", h+"/settings/", `{"key": "n", "value": `+n+`}`); a.status != 201 {
			t.Errorf("%s: %d %s", n, a.status, a.body)
		}
		if a := s.raw("GET", h+"/settings/n", ""); !strings.Contains(a.body, `"value":`+n) {
			t.Errorf("%s came back as %s", n, a.body)
		}
		if a := s.raw("POST", h+"/_preview", `{"template": "${n}"}`); a.body != n && !slices.Contains([]string{"0e5", "-0.0"}, n) {
			t.Errorf("%s is rendered as %s", n, a.body)
		}
	}
}
