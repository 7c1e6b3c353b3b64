package model

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestNamesOfFieldsAreExact(t *testing.T) {
	type inner struct {
		Name string         `json:"name"`
		More map[string]any `json:"more"`
	}
	type base struct {
		Kept string `json:"kept"`
	}
	type doc struct {
		base
		ClassName string           `json:"className"`
		Inner     *inner           `json:"inner"`
		List      []inner          `json:"list"`
		ByName    map[string]inner `json:"byName"`
		Value     json.RawMessage  `json:"value"`
		Hidden    string           `json:"-"`
		Plain     int
	}
	for _, c := range []struct{ body, want string }{
		{`{"className": "a", "inner": {"name": "b", "more": {"Name": 1, "name": 2}}, "list": [{"name": "c"}, {}], "byName": {"Name": {"name": "d"}, "NAME": {}}}`, ""},
		{`{"value": {"Name": 1, "name": 2, "ClassName": 3}, "unknown": {"Name": 1}, "unKnown": [], "hidden": "x", "Hidden": "y", "Plain": 1}`, ""},
		{`{"inner": null, "list": null, "byName": null, "value": null}`, ""},
		{`{"classname": "a"}`, `the body has the key "classname", which is "className" but for its case`},
		{`{"className": "a", "ClassName": "b"}`, `the key "ClassName"`},
		{`{"Kept": "a"}`, `"kept"`},
		{`{"plain": 1}`, `"Plain"`},
		{`{"inner": {"Name": "b"}}`, `inner has the key "Name"`},
		{`{"list": [ {"name": "b"} , {"nAme": "b"}]}`, `list[1] has the key "nAme"`},
		{`{"byName": {"x": {"NAME": "b"}}}`, `byName.x has the key "NAME"`},
		{`{"\u0049nner": {}}`, `the key "Inner"`},
		{`{"li` + "\u017f" + `t": []}`, `which is "list"`}, // the long s, which counts as an s where case does not
	} {
		_, err := Decode[doc]([]byte(c.body))
		if c.want == "" && err != nil || c.want != "" && (CodeOf(err) != Invalid || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.body, err, c.want)
		}
		if _, err := Reread[doc]([]byte(c.body)); err != nil {
			t.Errorf("%s, stored: %v", c.body, err)
		}
		if _, err := Merge(doc{}, []byte(c.body)); c.want != "" && CodeOf(err) != Invalid {
			t.Errorf("merging %s: %v", c.body, err)
		}
	}
}

// What was stored with a name of another case before names were exact can still be changed.
func TestMergeOverAStoredNameOfAnotherCase(t *testing.T) {
	app, err := Reread[Application]([]byte(`{"name": "web", "Name": "theirs"}`))
	if err != nil {
		t.Fatal(err)
	}
	if app, err = Merge(app, []byte(`{"description": "d"}`)); err != nil || app.Description != "d" {
		t.Errorf("%+v, %v", app, err)
	}
}

func TestSchemaWordsAreExact(t *testing.T) {
	for _, schema := range []string{`{"Secret": true}`, `{"type": "string", "secret": false, "SECRET": true}`} {
		for what, err := range map[string]error{
			"setting":   (&Setting{Key: "k", Value: json.RawMessage("1"), Schema: json.RawMessage(schema)}).Validate(),
			"parameter": (&Application{Name: "a", Parameters: []Parameter{{Name: "p", Key: "k", Schema: json.RawMessage(schema)}}}).Validate(),
		} {
			if CodeOf(err) != Invalid || !strings.Contains(err.Error(), `"secret"`) {
				t.Errorf("%s with %s: %v", what, schema, err)
			}
		}
	}
}

// FuzzNames: whatever a document holds, looking at its names comes to an end, and what is let through has at the top only
// fields of ours by their exact names, or others.
func FuzzNames(f *testing.F) {
	for _, seed := range objects() {
		f.Add([]byte(seed))
	}
	f.Add([]byte(`{"name": "a", "Files": [{"Name": 1}], "files": [{"name": "f", "PATH": ""}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, of := range []reflect.Type{reflect.TypeFor[Application](), reflect.TypeFor[SettingBulk](), reflect.TypeFor[[]Host](), reflect.TypeFor[map[string]Group]()} {
			_ = checkNames(data, of) // of what is no JSON, nothing is told
		}
		if _, err := Decode[Setting](data); err != nil {
			return
		}
		var all map[string]json.RawMessage
		if json.Unmarshal(data, &all) != nil {
			return
		}
		for key := range all {
			for name := range fieldsOf(&Setting{}) {
				if key != name && strings.EqualFold(key, name) {
					t.Errorf("%q was taken beside %q", key, name)
				}
			}
		}
	})
}
