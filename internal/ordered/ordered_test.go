package ordered_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/muster-hq/muster/internal/ordered"
)

// A document goes through unchanged, in its own order, with exact numbers.
func TestDecodeKeepsTheDocument(t *testing.T) {
	for _, doc := range []string{`{"b":1.50,"a":[null,true,"x<>",{}],"c":{"z":123456789012345678901234567890,"y":-1e400}}`, `[]`, `"x"`, `{}`, `null`} {
		v, err := ordered.Decode([]byte(" \n" + doc + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v); err != nil || strings.TrimSpace(b.String()) != doc {
			t.Errorf("%s became %s, %v", doc, &b, err)
		}
	}
}

func TestDecodeErrorsNameTheLine(t *testing.T) {
	for doc, want := range map[string]string{
		"":                               "line 1, column 1: the document ends too early",
		"{\n \"a\": 1,\n \"b\": x\n}":    "line 3, column 7",
		"{\n \"a\": 1\n \"b\": 2\n}":     "line 3, column 2",
		"{\"a\": 1,\n \"a\": 2}":         `line 2, column 5: the key "a" is there twice`,
		"{\"a\":\n\"\xff\"}":             "line 2, column 2: this is not UTF-8",
		"{}\n{}":                         "line 2, column 2: something follows",
		"[1,\n":                          "line 2, column 1: the document ends too early",
		strings.Repeat("[", 200):         "deeper than 100",
		strings.Repeat(`{"a":`, 100_000): "deeper than 100",
		"{1: 2}":                         "line 1",
		"]":                              "line 1, column 1",
	} {
		_, err := ordered.Decode([]byte(doc))
		var e *ordered.SyntaxError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %s", doc, err, want)
		}
	}
	if _, err := ordered.DecodeObject([]byte("[]")); err == nil || !strings.Contains(err.Error(), "begin with {") {
		t.Errorf("a list: %v", err)
	}
}

func TestObject(t *testing.T) {
	o, err := ordered.DecodeObject([]byte(`{"a":1,"b":2,"c":3}`))
	if err != nil {
		t.Fatal(err)
	}
	c := o.Clone()
	c.RemoveValueForKey("b")
	c.SetValueForKey("a", "x")
	c.SetValueForKey("d", nil)
	got, _ := json.Marshal(c) //nolint:errchkjson // plain values
	was, _ := json.Marshal(o) //nolint:errchkjson // plain values
	if string(got) != `{"a":"x","c":3,"d":null}` || string(was) != `{"a":1,"b":2,"c":3}` || c.Has("b") || !c.Has("d") || c.Get("b") != nil {
		t.Errorf("%s of %s", got, was)
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5,null,{"b":"c"}]}`, `{"a":1,"a":2}`, "\xff", "[[[[", `"\ud800"`, "1e999999"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		v, err := ordered.Decode(doc)
		if err != nil {
			var e *ordered.SyntaxError
			if !errors.As(err, &e) || e.Line < 1 || e.Column < 1 {
				t.Fatalf("%q: %v", doc, err)
			}
			return
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ordered.Decode(b); err != nil {
			t.Fatalf("%q was written as %q: %v", doc, b, err)
		}
	})
}
