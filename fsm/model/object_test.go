package model

import (
	"encoding/json"
	"reflect"
	"testing"
)

// objects are JSON values, of which some are objects.
func objects() []string {
	return []string{`{}`, ` { } `, `{"b":1,"a":"x"}`, `{"a":1,"a":2}`, `{"a":1,"b":3,"a":{"c":[1,"]}",{"d":"\""}]}}`, `{"a" : [ ] , "b":null}`,
		`{"\u0061":1,"a":2}`, `{"ä":1}`, `{"a":"\\"}`, `{"a":"\\\"","b":-1.5e3 }`, `[1]`, `"{}"`, `null`, `1`, ``, `{"":{"":{}}}`, `{"a":true,"b":false}`,
		"{\"a\":\n1\n}", `{"x":1,"w":1,"v":1,"u":1,"t":1,"s":1,"r":1,"q":1,"p":1,"o":1,"n":1,"m":1}`}
}

// checkObject compares with encoding/json.
func checkObject(t *testing.T, data []byte) {
	t.Helper()
	if !json.Valid(data) {
		ObjectFields(data) // it must come to an end
		return
	}
	want, wantOK := decodeFields(data)
	got, ok := ObjectFields(data)
	if ok != wantOK || len(got) != len(want) {
		t.Fatalf("%s: %v %q in place of %v %q", data, ok, got, wantOK, want)
	}
	for i := range got {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("%s: field %d is %s: %s in place of %s: %s", data, i, got[i].Name, got[i].Value, want[i].Name, want[i].Value)
		}
		if string(FieldOf(got, got[i].Name)) != string(got[i].Value) {
			t.Errorf("%s: field %q is not found", data, got[i].Name)
		}
		var s string
		err := json.Unmarshal(got[i].Value, &s)
		if text, ok := RawText(got[i].Value); ok != (err == nil) || ok && text != s {
			t.Errorf("%s reads as the text %q, %v in place of %q, %v", got[i].Value, text, ok, s, err)
		}
	}
}

func TestObjectFields(t *testing.T) {
	for _, s := range objects() {
		checkObject(t, []byte(s))
	}
	for _, s := range []string{`{"b":1,"a":"x"}`, `{"a":1,"b":3,"a":{"c":[1,"]}",{"d":"\""}]}}`} {
		if _, ok := scanFields(nil, []byte(s)); !ok {
			t.Errorf("%s is not read at a glance", s)
		}
	}
	if FieldOf(nil, "a") != nil {
		t.Error("a field of nothing")
	}
}

func FuzzObjectFields(f *testing.F) {
	for _, s := range objects() {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) { checkObject(t, data) })
}

func TestSends(t *testing.T) {
	for body, want := range map[string]bool{`{"value": null}`: true, `{"Value": 1}`: false, `{"v\u0061lue": 1}`: true, `{"a": {"value": 1}}`: false, `[]`: false, ``: false, `{"value":1}`: true} {
		if Sends([]byte(body), "value") != want {
			t.Errorf("%s: %v", body, !want)
		}
	}
}
