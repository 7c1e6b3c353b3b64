package api

import (
	"bytes"
	"encoding/json"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
)

// bodies are of all sorts, right and wrong.
func bodies() []string {
	list := []string{`{}`, `[]`, `{"a":{"b":[1,2]}}`, `{"a":1,"a":2}`, `{"a":1}x`, `{"a`, "\xff", `null`, ``, ` {"a":"\ud800"} `,
		`{"a":[{"b":1,"b":2}]}`, `{"a":{"b":1,"b":2}}`, `[{"a":1},{"a":1}]`, `{"a":1,"\u0061":2}`, `{"a":"\n\"\\\/"}`, `{"a":"\x"}`, `{"a":"\`, `{"a":"\"`,
		`{"a":"\u12"}`, `{"a":"ä<>&` + "\x7f" + `"}`, "{\"a\":\"\x00\"}", "{\"a\":\"\n\"}", `{"a":1e999}`, `{"a":1e5}`, `{"a":0.5}`, `{"a":-0.0}`, `{"a":01}`, `{"a":-}`,
		`{"a":1.}`, `{"a":.5}`, `{"a":+1}`, `{"a":1,}`, `[1,]`, `[,1]`, `[1 2]`, `{"a":nul}`, `{"a":null}`, `{"a":truefalse}`, `{"a" 1}`, `{"a":}`, `{"a":1 "b":2}`, `{a:1}`,
		"\ufeff{}", "{}\n\t\r ", "{}\v", `{} {}`, `[[[]]]`, `{"a":[}`, `{"a":{]`, `[`, `{`, `{"a":[1`, `[1]]`,
		`{"a":0.` + strings.Repeat("0", 400) + `1}`, `{"a":` + strings.Repeat("9", 400) + `}`, `{"a":` + strings.Repeat("9", 300) + `}`,
		strings.Repeat(`{"a":`, 70) + `1` + strings.Repeat(`}`, 70), strings.Repeat(`[`, 64) + strings.Repeat(`]`, 64), strings.Repeat(`[`, 65) + strings.Repeat(`]`, 65),
		strings.Repeat(`[`, 31) + strings.Repeat(`]`, 31), strings.Repeat(`[`, 40) + strings.Repeat(`]`, 40)}
	for _, n := range []int{16, 17} {
		var keys []string
		for i := range n {
			keys = append(keys, `"`+strings.Repeat("k", i)+`":1`)
		}
		list = append(list, `{`+strings.Join(keys, ",")+`}`)
	}
	return list
}

// checkGlance compares what a glance tells with what a close look does.
func checkGlance(t *testing.T, body []byte) {
	t.Helper()
	for _, want := range []kind{anObject, aList} {
		err := checkJSON(body, want)
		if slow := inspectJSON(body, want); (err == nil) != (slow == nil) || err != nil && err.Error() != slow.Error() {
			t.Fatalf("%q as %s: %v in place of %v", body, want, err, slow)
		}
	}
}

func TestBodiesAtAGlance(t *testing.T) {
	for _, s := range bodies() {
		checkGlance(t, []byte(s))
	}
	for _, s := range []string{`{}`, `{"a":{"b":[1,2,null,true,-1.5]},"c":"ä<\n"}`, `{"newOrUpdatedSettings":[{"key":"a","value":"b"},{"key":"c","value":{"d":[]}}]}`} {
		if !model.Strict([]byte(s), '{') {
			t.Errorf("%s takes a closer look", s)
		}
	}
}

// What checkJSON accepts is JSON of the kind, and reads the same for whoever decodes it.
func FuzzCheckJSON(f *testing.F) {
	for _, s := range bodies() {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		checkGlance(t, body)
		err := checkJSON(body, anObject)
		if err != nil {
			if model.CodeOf(err) != model.Invalid || len(err.Error()) < 10 {
				t.Fatalf("error %v", err)
			}
			return
		}
		var doc map[string]any
		if err := json.Unmarshal(body, &doc); err != nil || !utf8.Valid(body) {
			t.Fatalf("accepted %q: %v", body, err)
		}
	})
}

// Valid objects without a key twice are accepted, whatever they hold.
func FuzzCheckJSONAccepts(f *testing.F) {
	f.Add("key", "value", 3)
	f.Fuzz(func(t *testing.T, key, value string, n int) {
		body, err := json.Marshal(map[string]any{key: value, key + "2": []any{n, nil, true, map[string]any{"x": value}}})
		if err != nil {
			t.Skip()
		}
		if err := checkJSON(body, anObject); err != nil {
			t.Fatalf("%s is refused: %v", body, err)
		}
	})
}

// Whatever the form, reading it ends with the content of its part or with an error for the sender.
func FuzzReadUpload(f *testing.F) {
	f.Add([]byte("--B\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nx\r\n--B--\r\n"), []byte("content"))
	f.Add([]byte("--B--"), []byte("--B"))
	f.Fuzz(func(t *testing.T, form, content []byte) {
		r := httptest.NewRequest("POST", "/", bytes.NewReader(form))
		r.Header.Set("Content-Type", "multipart/form-data; boundary=B")
		if _, err := readUpload(r, 1000); err != nil && model.CodeOf(err) != model.Invalid && model.CodeOf(err) != model.TooLarge {
			t.Fatalf("error %v", err)
		}
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		part, err := w.CreateFormFile("file", "name")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write(content); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		r = httptest.NewRequest("POST", "/", &b)
		r.Header.Set("Content-Type", w.FormDataContentType())
		got, err := readUpload(r, 1000)
		if len(content) <= 1000 && (err != nil || !bytes.Equal(got, content)) {
			t.Fatalf("%q came as %q, %v", content, got, err)
		}
		if len(content) > 1000 && model.CodeOf(err) != model.TooLarge {
			t.Fatalf("%d bytes are accepted: %v", len(content), err)
		}
	})
}

// Whatever the address, it is a route with names in UTF-8 or an error for its sender.
func FuzzFind(f *testing.F) {
	for _, s := range []string{"/api/organizations/a", "/api//x", "/api/organizations/%2e%2e/environments/%00", "/apix", "/api/organizations/%ff", "/api/flavors?a=%zz", "*"} {
		f.Add("GET", s)
	}
	s := &Server{cfg: Config{Root: "/api"}, matcher: spec.NewMatcher(spec.Routes()), kept: newKept()}
	f.Fuzz(func(t *testing.T, method, address string) {
		u, err := url.ParseRequestURI(address)
		if err != nil {
			t.Skip()
		}
		c := &call{srv: s, req: &http.Request{Method: method, URL: u}, header: http.Header{}}
		if err := s.find(c); err != nil {
			if code := model.CodeOf(err); code != model.Invalid && code != model.NotFound {
				t.Fatalf("error %v", err)
			}
			return
		}
		for name, v := range c.params {
			if c.route.Name == "" || v == "" || !utf8.ValidString(v) {
				t.Fatalf("%q: the route %q with %s=%q", address, c.route.Name, name, v)
			}
		}
	})
}
