package template

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzParse checks that no text makes the parser panic, and that its errors have a place in the text.
func FuzzParse(f *testing.F) {
	for _, c := range loadCases(f) {
		f.Add(c.Template, c.Options.Start, c.Options.End)
	}
	f.Fuzz(func(t *testing.T, src, start, end string) {
		_, err := Parse("fuzz", src, Options{Start: start, End: end})
		if err == nil {
			return
		}
		var e *Error
		if !errors.As(err, &e) || e.Phase != ParsePhase || e.Message == "" {
			t.Fatalf("not an error of parsing: %#v", err)
		}
		if lines := strings.Count(src, "\n") + strings.Count(src, "\r") + 1; e.Line > lines {
			t.Fatalf("line %d of %d: %v", e.Line, lines, err)
		}
	})
}

// FuzzRender checks that rendering ends, with text or with an error, never both; that a second rendering gives the
// same; and that no error quotes the secret in the data.
func FuzzRender(f *testing.F) {
	for _, c := range loadCases(f) {
		data := string(c.Data)
		if data == "" {
			data = "{}"
		}
		f.Add(c.Template, data)
	}
	const secret = "hunter2hunter2"
	f.Fuzz(func(t *testing.T, src, data string) {
		if strings.Contains(src, "hunter2") || strings.Contains(src, ".now") || strings.Contains(data, "hunter2") {
			return
		}
		v, err := DecodeJSON([]byte(data))
		if err != nil || v == nil || v.kind != kindObject {
			return
		}
		withSecret := NewObject()
		for _, k := range v.obj.keys {
			withSecret.Set(k, v.obj.get(k))
		}
		withSecret.Set("secret", Text(secret))
		tmpl, err := Parse("fuzz", src, Options{})
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		text, err := tmpl.Render(ctx, withSecret.Value())
		if ctx.Err() != nil {
			t.Fatal("the rendering did not end")
		}
		again, err2 := tmpl.Render(ctx, withSecret.Value())
		if text != again || (err == nil) != (err2 == nil) {
			t.Fatalf("two renderings differ: %q %v, %q %v", text, err, again, err2)
		}
		if err != nil && (text != "" || strings.Contains(err.Error(), secret)) {
			t.Fatalf("text %q beside error %v", text, err)
		}
		if err == nil && !utf8.ValidString(text) {
			t.Fatalf("not UTF-8: %q", text)
		}
	})
}

// FuzzDecodeJSON compares with encoding/json: what one takes the other takes, but for our limits and double keys.
func FuzzDecodeJSON(f *testing.F) {
	for _, c := range loadCases(f) {
		f.Add([]byte(c.Data))
	}
	f.Add([]byte(`[1, -0.5e3, 1e-7, "é\u00e9", null, true, {"b": 1, "a": {}}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := DecodeJSON(data)
		if err == nil {
			if !json.Valid(data) {
				t.Fatalf("took what is no JSON: %q", data)
			}
			_ = v
			return
		}
		var e *Error
		if !errors.As(err, &e) || e.Line < 1 || e.Message == "" {
			t.Fatalf("not an error with a place: %#v", err)
		}
		limits := e.Kind == Limit || e.Kind == BadValue || strings.Contains(e.Message, "twice")
		if json.Valid(data) && utf8.Valid(data) && !limits {
			t.Fatalf("refused %q: %v", data, err)
		}
	})
}
