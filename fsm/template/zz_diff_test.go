package template

import (
	"bufio"
	"encoding/json"
	"os"
	"testing"
)

func TestZZDiff(t *testing.T) {
	raw, err := os.ReadFile("/tmp/fm/cls/q.json")
	if err != nil {
		t.Skip(err)
	}
	var cases []testCase
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	f, _ := os.Open("/tmp/fm/cls/out.jsonl")
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<24)
	n := 0
	for i := 0; sc.Scan(); i++ {
		var r struct {
			Expected *string
			Error    *struct {
				Line           int
				Phase, Message string
			}
		}
		json.Unmarshal(sc.Bytes(), &r)
		got, err := renderText(t, cases[i].Template, string(cases[i].Data), cases[i].options())
		bad := false
		switch {
		case r.Expected != nil && (err != nil || got != *r.Expected):
			t.Logf("%q\n got %q %v\nwant %q", cases[i].Template, got, err, *r.Expected)
			bad = true
		case r.Expected == nil && err == nil:
			t.Logf("%q\n got %q\nwant error %d %.150s", cases[i].Template, got, r.Error.Line, r.Error.Message)
			bad = true
		}
		if bad {
			if n++; n > 400 {
				t.Fatal("many")
			}
		}
	}
	t.Logf("%d differ", n)
}
