package state

import (
	"encoding/json"
	"strings"
	"testing"
)

type carried struct {
	Name   string          `json:"name"`
	HostID string          `json:"hostId"`
	Deep   json.RawMessage `json:"deep,omitempty"`
}

func knownOfCarried() *knownFields {
	return fieldsKnown(&carried{})
}

func TestCoverOfWhatIsWritten(t *testing.T) {
	k := knownOfCarried()
	for _, object := range []string{
		`{}`, ` { } `, `{"name":"a","hostId":"b"}`, `{"name":"}\",\"other\":\\"}`, "{ \"name\" :\n1 , \"deep\": [1, {\"x\": \"]\"}] }",
		`{"deep":{"other":{"x":[]}},"name":null}`,
	} {
		if !json.Valid([]byte(object)) || !k.cover([]byte(object)) {
			t.Errorf("%s is not covered", object)
		}
	}
	for _, object := range []string{
		``, `[1]`, `{"other":1}`, `{"name":1,"other":2}`, `{"deep":{"name":1},"other":2}`, `{"name":"\\","other":"\""}`, `{"n\u0061me":1}`,
		`{"name":"`, `{"name"`, `{"name":1`, `{"name":1}x`, `{"name":1]`, `{"name":`,
	} {
		if k.cover([]byte(object)) {
			t.Errorf("%s is covered", object)
		}
	}
}

// FuzzCover: of what is JSON, only an object of known fields is covered.
func FuzzCover(f *testing.F) {
	for _, s := range []string{`{"name":"a","hostId":1}`, `{"other":{}}`, `{"name":"\\\"","deep":[{}]}`, `{"name":[],"NAME":2}`} {
		f.Add([]byte(s))
	}
	k := knownOfCarried()
	f.Fuzz(func(t *testing.T, object []byte) {
		covered := k.cover(object)
		var fields map[string]json.RawMessage
		if json.Unmarshal(object, &fields) != nil || !covered {
			return
		}
		if fields == nil {
			t.Fatalf("%s is no object", object)
		}
		for name := range fields {
			if _, ok := k.names[strings.ToLower(name)]; !ok {
				t.Errorf("%s is covered in spite of %q", object, name)
			}
		}
	})
}

func BenchmarkCarry(b *testing.B) {
	k := knownOfCarried()
	old, err := json.Marshal(carried{Name: strings.Repeat("x", 1024), HostID: "h"})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := carry(old, old, k); err != nil {
			b.Fatal(err)
		}
	}
}
