package folder

import (
	"strings"
	"testing"

	"github.com/muster-hq/muster/internal/ordered"
)

// as makes an object of a kind from a document.
func as(t testing.TB, word, doc string) *Object {
	t.Helper()
	o, err := ordered.DecodeObject([]byte(doc))
	if err != nil {
		t.Skip("no document")
	}
	top := organizationKind()
	for _, k := range append(top.under, top) {
		if k.word == word {
			return &Object{kind: k, Doc: o, raw: []byte(doc), names: []string{"x"}, parent: &Object{kind: top, Doc: ordered.New()}}
		}
	}
	t.Fatalf("there is no kind %s", word)
	return nil
}

func TestFieldsThatDiffer(t *testing.T) {
	for name, c := range map[string]struct{ kind, server, local, want string }{
		"the same":              {"environment", `{"name":"x","description":"a","uuid":"1","version":3}`, `{"name":"x","description":"a","uuid":"2"}`, ""},
		"absent stays":          {"environment", `{"name":"x","description":"a"}`, `{"name":"x"}`, ""},
		"empty is nothing":      {"webhook", `{"name":"x","headers":[],"body":""}`, `{"name":"x","headers":null,"port":0}`, ""},
		"another text":          {"environment", `{"description":"a"}`, `{"description":"b"}`, "description"},
		"numbers by worth":      {"environment", `{"settings":[{"key":"a","value":1.50}]}`, `{"settings":[{"key":"a","value":1.5}]}`, ""},
		"numbers beyond 2^53":   {"environment", `{"settings":[{"key":"a","value":9007199254740993}]}`, `{"settings":[{"key":"a","value":9007199254740992}]}`, "settings/a"},
		"a huge exponent":       {"environment", `{"settings":[{"key":"a","value":1e999999999}]}`, `{"settings":[{"key":"a","value":1e999999998}]}`, "settings/a"},
		"false is a value":      {"environment", `{"settings":[{"key":"a","value":false}]}`, `{"settings":[{"key":"a","value":null}]}`, "settings/a"},
		"values exactly":        {"environment", `{"settings":[{"key":"a","value":{"x":1,"y":2}}]}`, `{"settings":[{"key":"a","value":{"x":1}}]}`, "settings/a"},
		"order does not count":  {"environment", `{"settings":[{"key":"a","value":1},{"key":"b","value":2}]}`, `{"settings":[{"key":"b","value":2},{"key":"a","value":1}]}`, ""},
		"a setting more":        {"environment", `{"settings":[{"key":"a","value":1}]}`, `{"settings":[]}`, "settings/a"},
		"no settings told":      {"environment", `{"settings":[{"key":"a","value":1}]}`, `{}`, ""},
		"a masked secret":       {"environment", `{"settings":[{"key":"a","value":"x","schema":{"secret":true}}]}`, `{"settings":[{"key":"a","value":"********"}]}`, ""},
		"a secret left out":     {"environment", `{"settings":[{"key":"a","value":"x"}]}`, `{"settings":[{"key":"a","schema":{"secret":true}}]}`, ""},
		"a file's mode":         {"application", `{"files":[{"name":"f","mode":"644","owner":"root"}]}`, `{"files":[{"name":"f","mode":"600"}]}`, "files/f"},
		"a parameter's default": {"application", `{"parameters":[{"name":"p","key":"k","value":1}]}`, `{"parameters":[{"name":"p","key":"k","value":2}]}`, "parameters/p"},
		"a list within":         {"application", `{"packages":[{"name":"a"},{"name":"b"}]}`, `{"packages":[{"name":"a"}]}`, "packages"},
		"lists are ordered":     {"application", `{"packages":[{"name":"a"},{"name":"b"}]}`, `{"packages":[{"name":"b"},{"name":"a"}]}`, "packages"},
		"only the group's name": {"orchestration", `{"orderedHostGroup":[{"hostGroup":{"name":"G","hosts":[1]}}]}`, `{"orderedHostGroup":[{"hostGroup":{"name":"G"}}]}`, ""},
		"another group":         {"orchestration", `{"orderedHostGroup":[{"hostGroup":{"name":"G"}}]}`, `{"orderedHostGroup":[{"hostGroup":{"name":"H"}}]}`, "orderedHostGroup"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, f := range fields(as(t, c.kind, c.local), as(t, c.kind, c.server)) {
				got = append(got, f.Name)
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// No difference tells a secret.
func TestDifferencesTellNoSecret(t *testing.T) {
	const server = `{"token":"planted1","headers":[{"name":"h","value":"planted2","secret":true},{"name":"g","value":"plain"}]}`
	got := fields(as(t, "webhook", strings.ReplaceAll(server, "planted", "planted-new")), as(t, "webhook", server))
	got = append(got, fields(as(t, "environment", `{"settings":[{"key":"a","value":"planted3\n","schema":{"secret":true}}]}`),
		as(t, "environment", `{"settings":[{"key":"a","value":"planted4\n","schema":{"secret":true}}]}`))...)
	got = append(got, fields(as(t, "application", `{"users":[{"name":"u","password":"planted5"}]}`), as(t, "application", `{"users":[]}`))...)
	if len(got) != 4 {
		t.Errorf("%d fields differ: %+v", len(got), got)
	}
	for _, f := range got {
		var text strings.Builder
		writeAny(&text, f.Server)
		writeAny(&text, f.Folder)
		if strings.Contains(text.String()+f.Diff, "planted") {
			t.Errorf("%s tells %s %s", f.Name, &text, f.Diff)
		}
	}
}

func writeAny(b *strings.Builder, v any) {
	o := ordered.New()
	o.SetValueForKey("v", v)
	text, _ := o.MarshalJSON()
	b.Write(text)
}

// Two documents can always be compared; one is the same as itself.
func FuzzCompare(f *testing.F) {
	f.Add(`{"name":"x","settings":[{"key":"a","value":{"b":[1,2.0,null]}}],"files":[{"name":"f"}]}`, `{"settings":1,"files":[null,{"name":1}],"parameters":[{}]}`)
	f.Add(`{"users":[{"password":"x"}],"orderedHostGroup":[1]}`, `{"users":{"password":1e99}}`)
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, kind := range []string{"application", "environment", "orchestration"} {
			x, y := as(t, kind, a), as(t, kind, b)
			_ = fields(x, y)
			_ = fields(y, x)
			if got := fields(x, x); len(got) > 0 {
				t.Errorf("%s differs from itself in %+v", a, got)
			}
		}
	})
}
