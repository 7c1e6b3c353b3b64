package resource_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/muster-hq/muster/agent/resource"
)

type sample struct {
	Name *string  `json:"name"`
	N    int      `json:"n,omitempty"`
	List []string `json:"list"`
	own  int
}

func TestDecode(t *testing.T) {
	for in, text := range map[string]string{
		`{"x":1}`:                    `unknown attribute "x"; known are list, n, name`,
		`{"Name":"a"}`:               `unknown attribute "Name"`,
		`{"own":1}`:                  `unknown attribute "own"`,
		`{"n":"a"}`:                  `attribute "n" cannot be a string`,
		`{"list":[1]}`:               `attribute "list`,
		`null`:                       "not a JSON object",
		`[]`:                         "not a JSON object",
		`{"n":1} {"n":2}`:            "not a JSON object",
		`{"n":1,"n":`:                "not a JSON object",
		`{"n":99999999999999999999}`: `attribute "n"`,
	} {
		var s sample
		if err := resource.Decode(json.RawMessage(in), &s); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("Decode(%s) = %v, want %q", in, err, text)
		}
	}
	var s sample
	if err := resource.Decode(json.RawMessage(`{"name":null,"n":3,"list":["a"]}`), &s); err != nil || s.Name != nil || s.N != 3 || len(s.List) != 1 || s.own != 0 {
		t.Errorf("Decode = %+v, %v", s, err)
	}
	for _, empty := range []string{"", "  ", "{}"} {
		if err := resource.Decode(json.RawMessage(empty), &s); err != nil {
			t.Errorf("Decode(%q) = %v", empty, err)
		}
	}
}

func TestEnsure(t *testing.T) {
	if w, err := resource.Ensure("", "present"); w != "present" || err != nil {
		t.Errorf("default = %q, %v", w, err)
	}
	if _, err := resource.Ensure("gone", "present", "absent"); err == nil || !strings.Contains(err.Error(), "present, absent") {
		t.Errorf("unknown word = %v", err)
	}
}

func TestExitErrorTellsCodeAndLastWords(t *testing.T) {
	if got := (&resource.ExitError{Code: 3, Stderr: " no\n"}).Error(); got != "ended with status 3: no" {
		t.Error(got)
	}
	if got := (&resource.ExitError{Code: 3}).Error(); got != "ended with status 3" {
		t.Error(got)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"name":"a","n":1}`))
	f.Add([]byte(`{"name":null,"list":[]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		var s sample
		if resource.Decode(in, &s) != nil || len(strings.TrimSpace(string(in))) == 0 {
			return
		}
		var any map[string]any
		if err := json.Unmarshal(in, &any); err != nil {
			t.Fatalf("took %q, which is no object", in)
		}
		for key := range any {
			if key != "name" && key != "n" && key != "list" {
				t.Errorf("took attribute %q", key)
			}
		}
	})
}
