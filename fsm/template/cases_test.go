package template

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"testing"
)

// testCase is one line of testdata/cases.json, or of found.json: what make fuzz-templates has found, made small.
type testCase struct {
	Name     string          `json:"name"`
	Tier     int             `json:"tier"`
	Tags     []string        `json:"tags"`
	Template string          `json:"template"`
	Data     json.RawMessage `json:"data"`
	Options  struct {
		Start string `json:"start"`
		End   string `json:"end"`
	} `json:"options"`
	Expected *string `json:"expected"`
	Error    *struct {
		Phase string `json:"phase"`
		Kind  string `json:"kind"`
		Line  int    `json:"line"`
	} `json:"error"`
}

func (c testCase) options() Options { return Options{Start: c.Options.Start, End: c.Options.End} }

func loadCases(t testing.TB) []testCase {
	t.Helper()
	var cases []testCase
	for _, name := range []string{"testdata/cases.json", "testdata/found.json"} {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var some []testCase
		if err := json.Unmarshal(raw, &some); err != nil {
			t.Fatal(err)
		}
		cases = append(cases, some...)
	}
	if len(cases) < 300 {
		t.Fatalf("only %d cases", len(cases))
	}
	return cases
}

// renderText parses and renders with JSON data.
func renderText(t testing.TB, src, data string, o Options) (string, error) {
	t.Helper()
	v, err := DecodeJSON([]byte(data))
	if err != nil {
		t.Fatalf("data: %v", err)
	}
	tmpl, err := Parse("case", src, o)
	if err != nil {
		return "", err
	}
	return tmpl.Render(context.Background(), v)
}

func TestCases(t *testing.T) {
	for _, c := range loadCases(t) {
		t.Run(string(rune('0'+c.Tier))+"/"+c.Name, func(t *testing.T) {
			data := string(c.Data)
			if data == "" {
				data = "{}"
			}
			got, err := renderText(t, c.Template, data, c.options())
			var e *Error
			if err != nil && !errors.As(err, &e) {
				t.Fatalf("the error is no *Error: %v", err)
			}
			switch {
			case c.Expected != nil && err != nil && slices.Contains(c.Tags, "lenient"):
				t.Logf("refused: %v", err)
			case c.Expected != nil && err != nil:
				t.Errorf("got error %v, want %q", err, *c.Expected)
			case c.Expected != nil:
				if got != *c.Expected {
					t.Errorf("got %q, want %q", got, *c.Expected)
				}
			case err == nil:
				t.Errorf("got %q, want an error in line %d", got, c.Error.Line)
			case got != "":
				t.Errorf("output %q beside the error %v", got, err)
			case c.Error.Line != 0 && e.Line != c.Error.Line:
				t.Errorf("the error %v is not in line %d", err, c.Error.Line)
			}
		})
	}
}
