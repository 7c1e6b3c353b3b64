package model

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
)

// plainValues are values of settings: what is plain, and what is not.
func plainValues() []string {
	return []string{``, `"text"`, `""`, `"a b~!"`, `1`, `0`, `-7`, `true`, `false`, `"esc\n"`, `"<b>"`, `"\u00e9"`, `"é"`, `1.5`, `1e3`,
		`[1,2]`, `{"a":1}`, `null`, `99999999999999999999`}
}

func checkSetting(t *testing.T, s Setting) {
	t.Helper()
	want, err := json.Marshal(s)
	if err != nil {
		return
	}
	if got, ok := s.AppendJSON(nil); ok && !bytes.Equal(got, want) {
		t.Errorf("the document is written as %s in place of %s", got, want)
	}
	row := SettingRow{ID: s.UUID, Owner: Owner{LevelOrganization, "o1", s.Key}, Name: s.Key, Version: s.Version, Value: s.Value,
		Link: s.Link, Property: s.Property, Schema: s.Schema}
	if want, err = json.Marshal(&row); err != nil {
		t.Fatal(err)
	}
	if got, ok := row.AppendRow(nil); ok && !bytes.Equal(got, want) {
		t.Errorf("the row is written as %s in place of %s", got, want)
	}
	checkRow(t, want)
}

// checkRow reads a row both ways. What encoding/json refuses must not be read.
func checkRow(t *testing.T, data []byte) {
	t.Helper()
	var got, want SettingRow
	if !got.ReadRow(data) || !json.Valid(data) { // else it must come to an end
		return
	}
	if err := json.Unmarshal(data, &want); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s reads as %+v in place of %+v (%v)", data, got, want, err)
	}
}

func checkMerge(t *testing.T, doc Setting, patch []byte) {
	t.Helper()
	got, err := MergeSetting(doc, patch)
	want, wantErr := Merge(doc, patch)
	if (err == nil) != (wantErr == nil) || err == nil && !reflect.DeepEqual(got, want) {
		t.Errorf("%s over %+v is %+v, %v in place of %+v, %v", patch, doc, got, err, want, wantErr)
	}
}

func TestPlainSettings(t *testing.T) {
	for _, v := range plainValues() {
		for _, s := range []Setting{
			{UUID: "u", Version: 3, Key: "port", Value: json.RawMessage(v)},
			{Key: "a<b", Value: json.RawMessage(v), Link: "organizations/o/settings/k"},
			{Key: "p", Version: -1, Property: "name", Schema: json.RawMessage(v)},
		} {
			checkSetting(t, s)
			if v != "" {
				checkMerge(t, s, []byte(`{"key":"port","value":`+v+`,"schema": `+v+` }`))
			}
		}
	}
	s := Setting{UUID: "u", Version: 1, Key: "k", Value: json.RawMessage(`"v"`)}
	if _, ok := s.AppendJSON(nil); !ok {
		t.Error("a plain setting is not taken for one")
	}
	var row SettingRow
	if b, ok := (&SettingRow{ID: "1", Name: "k", Value: s.Value}).AppendRow(nil); !ok || !row.ReadRow(b) {
		t.Error("a plain row is not taken for one")
	}
	if !row.ReadRow([]byte(`{"id":"1","owner":{"level":"host","orgId":"o","id":"h"},"key":"k","version":1,"value":{"a":["\"}"]},"schema":{"type":"object"}}`)) {
		t.Error("a row with a value of several parts is not read at once")
	}
}

func TestPlainPatches(t *testing.T) {
	doc := Setting{UUID: "u", Version: 4, Key: "k", Value: json.RawMessage(`"old"`), Link: "organizations/o/settings/x"}
	for _, patch := range []string{`{}`, ` { } `, `{"value":"new"}`, `{"link":""}`, `{"link":null}`, `{"version":"x"}`, `{"version":12345678901234567890}`,
		`{"key":7}`, `{"Key":"K"}`, `{"other":1,"value":2}`, `{"value":"a","value":"b"}`, `{"value":01}`, `{"value":-}`, `{"value":tru}`,
		`{"value":"a"`, `{"value":"a",}`, `{"value":"a"} x`, `[]`, `null`, ``, `{"value" : true , "schema":false}`} {
		checkMerge(t, doc, []byte(patch))
	}
}

// checkBulk reads a bulk change both ways.
func checkBulk(t *testing.T, data []byte) {
	t.Helper()
	got, err := DecodeBulk(data)
	if !json.Valid(data) { // it must come to an end
		return
	}
	want, wantErr := Decode[SettingBulk](data)
	if (err == nil) != (wantErr == nil) || err == nil && !reflect.DeepEqual(got, want) {
		t.Errorf("%s reads as %+v, %v in place of %+v, %v", data, got, err, want, wantErr)
	}
}

func TestPlainBulk(t *testing.T) {
	for _, s := range []string{`{}`, `null`, ``, `[]`, `{"newOrUpdatedSettings":[]}`, `{"newOrUpdatedSettings":null}`, ` { "newOrUpdatedSettings" : [ ] } `,
		`{"newOrUpdatedSettings":[{}]}`, `{"newOrUpdatedSettings":[{"key":"a","value":"b"},{"key":"c","version":3,"uuid":"u","link":"l","property":"p","schema":true}]}`,
		`{"newOrUpdatedSettings":[{"key":"a"},]}`, `{"newOrUpdatedSettings":[{"key":"a"} {"key":"b"}]}`, `{"newOrUpdatedSettings":[{"key":"a"}`, `{"newOrUpdatedSettings":[`,
		`{"newOrUpdatedSettings":[{"key":"a"}],"x":1}`, `{"x":1,"newOrUpdatedSettings":[{"key":"a"}]}`, `{"NEWORUPDATEDSETTINGS":[{"KEY":"a"}]}`,
		`{"newOrUpdatedSettings":[{"key":"a"}]} x`, `{"newOrUpdatedSettings":[{"key":1}]}`, `{"newOrUpdatedSettings":[{"key":"a","value":{"b":[1]}}]}`,
		`{"newOrUpdatedSettings":[null]}`, `{"newOrUpdatedSettings":{}}`, `{"newOrUpdatedSettings"`, `{"newOrUpdatedSettings":`, `{"newOrUpdatedSettings":[{"key":"a","key":"b"}]}`,
		`{"newOrUpdatedSettings":[],"newOrUpdatedSettings":[{"key":"a"}]}`, `{`, `{"`} {
		checkBulk(t, []byte(s))
	}
	if list, ok := plainBulk([]byte(`{"newOrUpdatedSettings": [{"key":"a","value":"b"},{"key":"c","value": [1, {"x": "\n\""}] , "schema":{"type":"x"}}]}`)); !ok || len(list) != 2 {
		t.Error("a plain bulk change is not taken for one")
	}
}

func FuzzPlainSetting(f *testing.F) {
	for _, v := range plainValues() {
		f.Add([]byte(`{"id":"i","owner":{"level":"host","orgId":"o","id":"h"},"key":"k","version":1,"value":`+v+`}`), "k", v, 1)
		f.Add([]byte(`{"key":"k","value":`+v+`}`), "k\x00", v, 0)
	}
	f.Fuzz(func(t *testing.T, data []byte, text, value string, n int) {
		if got, want := plainLen(data), slowPlainLen(data); got != want {
			t.Errorf("%q: %d plain bytes in place of %d", data, got, want)
		}
		checkRow(t, data)
		checkBulk(t, data)
		checkBulk(t, []byte(`{"newOrUpdatedSettings":[`+string(data)+`]}`))
		checkMerge(t, Setting{Key: "k", Version: 1, Value: json.RawMessage(`1`)}, data)
		checkSetting(t, Setting{UUID: text, Version: n, Key: text, Value: json.RawMessage(value), Link: text, Schema: json.RawMessage(value)})
	})
}
