package model_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/fsm/model"
)

// part is one entity of an application: how it stands in a document, and a change of it.
type part struct {
	list, given string
	change      func(a *model.Application)
	changed     string
}

func parts() []part {
	return []part{
		{"packages", `{"name":"p","version":"1","pin":null}`, func(a *model.Application) { a.Packages[0].Name = "q" }, `"name":"q"`},
		{"services", `{"name":"s","enabled":false,"runlevel":[]}`, func(a *model.Application) { a.Services[0].Enabled = true }, `"enabled":true`},
		{"files", `{"name":"f","path":"/f","owner":"","x":{"y":1}}`, func(a *model.Application) { a.Files[0].Owner = "root" }, `"owner":"root"`},
		{"directories", `{"name":"d","path":"/d","mode":"","sticky":false}`, func(a *model.Application) { a.Directories[0].Mode = "755" }, `"mode":"755"`},
		{"users", `{"name":"u","uid":0,"groups":[],"gecos":""}`, func(a *model.Application) { a.Users[0].Home = "/h" }, `"home":"/h"`},
		{"groups", `{"name":"g","gid":0,"members":["a"]}`, func(a *model.Application) { a.Groups[0].Name = "h" }, `"name":"h"`},
		{"repositories", `{"name":"r","components":[],"gpg":null}`, func(a *model.Application) { a.Repositories[0].Location = "l" }, `"location":"l"`},
		{"parameters", `{"name":"p","key":"k","value":false,"unit":"s"}`, func(a *model.Application) { a.Parameters[0].Description = "d" }, `"description":"d"`},
		{"handlers", `{"on":[],"do":[],"when":0}`, func(a *model.Application) { a.Handlers[0].Name = "n" }, `"name":"n"`},
		{"handlers", `{"on":["k"],"do":[{"action":"update","resource":"file://f","args":[1]}]}`, func(a *model.Application) { a.Handlers[0].Do[0].Action = "execute" }, `"action":"execute"`},
		{"compatibility", `{"type":"debian","version":"","arch":"any"}`, func(a *model.Application) { a.Compatibility[0].Version = "13" }, `"version":"13"`},
		{"files", `{"name":"f","path":"/f","template":{"delimiter":{"start":"<","end":"","z":1},"parameters":[],"lang":"ftl"}}`,
			func(a *model.Application) { a.Files[0].Template.Delimiter.End = "%" }, `"end":"%"`},
	}
}

func document(t *testing.T, p part) model.Application {
	t.Helper()
	a, err := model.Decode[model.Application]([]byte(`{"name":"x","` + p.list + `":[` + p.given + `]}`))
	if err != nil {
		t.Fatalf("%s: %v", p.given, err)
	}
	return a
}

// listed is the first entity of a list of a document.
func listed(t *testing.T, a model.Application, list string) string {
	t.Helper()
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]json.RawMessage
	var entities []json.RawMessage
	if err := errors.Join(json.Unmarshal(text, &all), json.Unmarshal(all[list], &entities)); err != nil || len(entities) != 1 {
		t.Fatalf("%s: %v", text, err)
	}
	return string(entities[0])
}

// TestPartsComeBackAsGiven: unknown fields and empty values included; what is changed shows, and nothing else moves.
func TestPartsComeBackAsGiven(t *testing.T) {
	for _, p := range parts() {
		t.Run(p.list+" "+p.changed, func(t *testing.T) {
			a := document(t, p)
			var given, got map[string]any
			back := listed(t, a, p.list)
			if err := errors.Join(json.Unmarshal([]byte(p.given), &given), json.Unmarshal([]byte(back), &got)); err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(given) != fmt.Sprint(got) {
				t.Errorf("given %s\ncame back %s", p.given, back)
			}
			p.change(&a)
			after := listed(t, a, p.list)
			if !strings.Contains(after, p.changed) {
				t.Errorf("the change does not show: %s", after)
			}
			again, err := model.Decode[model.Application]([]byte(`{"name":"x","` + p.list + `":[` + after + `]}`))
			if err != nil || listed(t, again, p.list) != after {
				t.Errorf("%s is not stable: %v", after, err)
			}
		})
	}
}

// TestWrongTypesAreNamed: a field of the wrong type is told by its place.
func TestWrongTypesAreNamed(t *testing.T) {
	for _, c := range []struct{ doc, text string }{
		{`{"name":1}`, "name must be a text"},
		{`{"packages":{}}`, "packages must be a list"},
		{`{"packages":[1]}`, "must be an object"},
		{`{"services":[{"enabled":"yes"}]}`, "enabled must be true or false, not a text"},
		{`{"users":[{"uid":"0"}]}`, "uid must be a whole number"},
		{`{"users":[{"uid":1.5}]}`, "uid must be a whole number"},
		{`{"users":[{"groups":"a"}]}`, "groups must be a list, not a text"},
		{`{"handlers":[{"do":[true]}]}`, "must be an object, not true or false"},
		{`{"files":[{"template":{"delimiter":[]}}]}`, "must be an object, not a list"},
		{`{"locked":0}`, "locked must be true or false"},
		{`[]`, "must be an object, not a list"},
		{`"x"`, "must be an object, not a text"},
		{``, "the body is empty"},
		{"{\n \"name\": \"x\",\n}", "line 3, column 1"},
		{`{"name":"x"`, "not JSON"},
		{`{"name":"x"} {}`, "one value only"},
		{"{\"name\":\"x\"}\x00", "one value only"},
	} {
		_, err := model.Decode[model.Application]([]byte(c.doc))
		if model.CodeOf(err) != model.Invalid || !strings.Contains(fmt.Sprint(err), c.text) {
			t.Errorf("%s:\n got %v\nwant a text with %q", c.doc, err, c.text)
		}
	}
}

func TestMergeRefuses(t *testing.T) {
	doc := model.Setting{Key: "k", Value: []byte("1")}
	for patch, text := range map[string]string{
		`null`: "not null", `[]`: "an object", ``: "empty", `{"key":1}`: "key must be a text", `{"version":"x"}`: "version must be a whole number", `{`: "not JSON",
	} {
		if got, err := model.Merge(doc, []byte(patch)); model.CodeOf(err) != model.Invalid || !strings.Contains(fmt.Sprint(err), text) {
			t.Errorf("%s: %+v, %v; want a text with %q", patch, got, err, text)
		}
	}
	got, err := model.Merge(doc, []byte(`{"link":"l","value":null}`))
	if err != nil || got.Key != "k" || got.Link != "l" || string(got.Value) != "null" && got.Value != nil {
		t.Errorf("%+v %v", got, err)
	}
	if doc.Link != "" || string(doc.Value) != "1" {
		t.Errorf("the document that was merged into is changed: %+v", doc)
	}
}

func TestHandlersAndActions(t *testing.T) {
	h := model.Handler{On: []string{"port", "_install"}}
	for key, want := range map[string]bool{"port": true, "_install": true, "por": false, "": false, "Port": false} {
		if h.Triggers(key) != want {
			t.Errorf("key %q: %v", key, !want)
		}
	}
	for resource, want := range map[string]string{
		"file://a": "file a true", "service://b": "service b true", "file://a://b": "file a://b true", "file://": "file  false", "package://a": "package a false", "a": "a  false", "": "  false",
	} {
		do := model.Action{Resource: resource}
		kind, name, ok := do.Target()
		if got := fmt.Sprint(kind, " ", name, " ", ok); got != want {
			t.Errorf("%q: %q, want %q", resource, got, want)
		}
	}
}

func TestFindingParts(t *testing.T) {
	a, err := model.Decode[model.Application]([]byte(`{"name":"x","files":[{"name":"f"}],"services":[{"name":"s"}],"packages":[{"name":"p"}],
		"handlers":[{"on":["a"]},{"name":"h"}],"parameters":[{"name":"Port","key":"port"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if a.File("f") != &a.Files[0] || a.Service("s") != &a.Services[0] || a.Package("p") != &a.Packages[0] || a.Handler("h") != &a.Handlers[1] || a.Parameter("port") != &a.Parameters[0] {
		t.Error("a part that is there is not found")
	}
	if a.File("g") != nil || a.Service("") != nil || a.Package("f") != nil || a.Handler("") != nil || a.Parameter("Port") != nil {
		t.Error("a part is found that is not there; handlers without a name have none, parameters are known by key")
	}
}

func TestMarks(t *testing.T) {
	for template, want := range map[string]string{
		`null`: "${ }", `{}`: "${ }", `{"delimiter":null}`: "${ }", `{"delimiter":{}}`: "${ }", `{"delimiter":{"start":"<%"}}`: "<% }",
		`{"delimiter":{"end":"%>"}}`: "${ %>", `{"delimiter":{"start":"@","end":"@"}}`: "@ @",
	} {
		f, err := model.Decode[model.File]([]byte(`{"name":"f","template":` + template + `}`))
		if err != nil {
			t.Fatal(err)
		}
		start, end := f.Marks()
		if got := start + " " + end; got != want {
			t.Errorf("%s: %q, want %q", template, got, want)
		}
	}
}

// TestPlacesOnAMachine: paths, modes and owners that no machine could have.
func TestPlacesOnAMachine(t *testing.T) {
	for _, c := range []struct{ file, text string }{
		{`{"name":"f","path":"/f"}`, ""},
		{`{"name":"f","path":"/a b/ü","mode":"4755","owner":"0","group":"www-data"}`, ""},
		{`{"name":"f","path":"/"}`, "a directory"},
		{`{"name":"f","path":"/etc/f/"}`, "a directory"},
		{`{"name":"f","path":"//f"}`, "as /f"},
		{`{"name":"f","path":"/./f"}`, "as /f"},
		{`{"name":"f","path":"/a\nb"}`, "line end"},
		{`{"name":"f","path":"/a\u0000b"}`, "zero byte"},
		{`{"name":"f","path":"~/f"}`, "absolute"},
		{`{"name":"f","path":"/f","mode":"07555"}`, "octal"},
		{`{"name":"f","path":"/f","mode":"rwx"}`, "octal"},
		{`{"name":"f","path":"/f","mode":"-755"}`, "octal"},
		{`{"name":"f","path":"/f","mode":" 755"}`, "octal"},
		{`{"name":"f","path":"/f","group":"a b"}`, "plain names"},
		{`{"name":"f","path":"/f","owner":"a\nb"}`, "plain names"},
		{`{"path":"/f"}`, "name is missing"},
		{`{"name":"a/b","path":"/f"}`, "cannot carry"},
	} {
		f, err := model.Decode[model.File]([]byte(c.file))
		if err != nil {
			t.Fatal(err)
		}
		err = f.Validate()
		if c.text == "" && err != nil || c.text != "" && (model.CodeOf(err) != model.Invalid || !strings.Contains(fmt.Sprint(err), c.text)) {
			t.Errorf("%s: %v, want a text with %q", c.file, err, c.text)
		}
	}
}

// TestNamesThatBecomeArguments: what would be an option, a path or two lines of a system file.
func TestNamesThatBecomeArguments(t *testing.T) {
	for _, kind := range []string{"packages", "services", "users", "groups"} {
		for _, name := range []string{"-x", "--root=/", "a b", "a\nb", "a/b", "../a", "a;b", "$(a)", "ä", "a\x00", ".", "a,b", "a:b:c\n"} {
			doc := fmt.Sprintf(`{"name":"x",%q:[{"name":%s}]}`, kind, mustJSON(t, name))
			a, err := model.Decode[model.Application]([]byte(doc))
			if err != nil {
				t.Fatal(err)
			}
			if err := a.Validate(); model.CodeOf(err) != model.Invalid {
				t.Errorf("%s %q was taken: %v", kind, name, err)
			}
		}
	}
	for doc, ok := range map[string]bool{
		`{"packages":[{"name":"libstdc++6"},{"name":"python3.11"},{"name":"a:amd64"},{"name":"b~1"}]}`: true,
		`{"services":[{"name":"getty@tty1.service"},{"name":"systemd-fsck@dev-disk\\x2d1.service"}]}`:  true,
		`{"users":[{"name":"www-data"},{"name":"_apt"},{"name":"host$"}]}`:                             true,
		`{"users":[{"name":"a$b"}]}`: false,
	} {
		a, err := model.Decode[model.Application]([]byte(`{"name":"x",` + doc[1:]))
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Validate(); (err == nil) != ok {
			t.Errorf("%s: %v", doc, err)
		}
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestAllFaultsAtOnce: a person who uploads an application is told everything that is wrong with it.
func TestAllFaultsAtOnce(t *testing.T) {
	a, err := model.Decode[model.Application]([]byte(`{"name":"","packages":[{"name":"-"}],"files":[{"name":"f"}],"users":[{"name":"u","gid":-5}],
		"handlers":[{"do":[{"action":"update","resource":"file://gone"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	var e *model.Error
	if err := a.Validate(); !errors.As(err, &e) || len(e.Messages) != 5 {
		t.Errorf("%d texts: %v", len(e.Messages), err)
	}
}

func TestSettingsThatCannotHold(t *testing.T) {
	for _, c := range []struct {
		s    model.Setting
		text string
	}{
		{model.Setting{Key: "a.b[c]"}, ""}, {model.Setting{Key: "k", Link: "organizations/o/settings/k"}, ""},
		{model.Setting{Key: "k", Link: "nonsense", Property: "p"}, ""}, // with both it is simple
		{model.Setting{}, "key is missing"}, {model.Setting{Key: "_k"}, "reserved"}, {model.Setting{Key: "a/b"}, "key"},
		{model.Setting{Key: strings.Repeat("k", 300)}, "300 bytes"}, {model.Setting{Key: "k", Link: "nonsense"}, "not the path of a setting"},
		{model.Setting{Key: "k", Schema: []byte(`[]`)}, "an object"}, {model.Setting{Key: "k", Schema: []byte(`{"final":"x"}`)}, "final must be true or false"},
	} {
		err := c.s.Validate()
		if c.text == "" && err != nil || c.text != "" && (model.CodeOf(err) != model.Invalid || !strings.Contains(fmt.Sprint(err), c.text)) {
			t.Errorf("%+v: %v, want a text with %q", c.s, err, c.text)
		}
	}
}

func TestSchemas(t *testing.T) {
	for raw, want := range map[string]string{
		``: "false false", `null`: "false false", `{}`: "false false", `{"secret":true}`: "true false", `{"password":true}`: "true false",
		`{"final":true,"secret":false}`: "false true", `{"enum":["a",1],"pattern":"^a$","later":{}}`: "false false",
	} {
		s, err := model.ParseSchema([]byte(raw))
		if got := fmt.Sprint(s.Secret, " ", s.Final); err != nil || got != want {
			t.Errorf("%s: %s %v", raw, got, err)
		}
	}
}

func TestErrors(t *testing.T) {
	cause := io.ErrUnexpectedEOF
	e := &model.Error{Code: model.Conflict, Messages: []string{"one", "two"}, Err: cause}
	wrapped := fmt.Errorf("while testing: %w", e)
	if model.CodeOf(wrapped) != model.Conflict || !errors.Is(wrapped, cause) || e.Error() != "one; two: unexpected EOF" {
		t.Errorf("%s %v", model.CodeOf(wrapped), e)
	}
	if model.CodeOf(nil) != "" || model.CodeOf(cause) != model.Internal {
		t.Errorf("nil is %q, any error %q", model.CodeOf(nil), model.CodeOf(cause))
	}
	if got := (&model.Error{Code: model.Gone}).Error(); got != "gone" {
		t.Errorf("without a text: %q", got)
	}
	inner := model.Errorf(model.NotFound, "x")
	if outer := fmt.Errorf("%w: %w", model.Errorf(model.Unknown, "y"), inner); model.CodeOf(outer) != model.Unknown {
		t.Errorf("the first code counts, not %s", model.CodeOf(outer))
	}
}

func TestUUIDNeedsRandomness(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("an id without randomness was made")
		}
	}()
	model.NewUUID(strings.NewReader("short"))
}

// FuzzName: a name that is taken can stand in a link, and comes back from it.
func FuzzName(f *testing.F) {
	for _, s := range []string{"web", "a b", "..", "a/b", "é", "%", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if err := model.CheckName("host", name); err != nil {
			if model.CodeOf(err) != model.Invalid {
				t.Fatalf("code of %v", err)
			}
			return
		}
		link := model.LinkTarget{Organization: "o", Environment: "e", Host: name, Key: "k"}
		if got, err := model.ParseLink(link.String()); err != nil || got != link {
			t.Fatalf("%q: %+v %v", name, got, err)
		}
	})
}

// FuzzTime: what is read is written such that it reads the same.
func FuzzTime(f *testing.F) {
	for _, s := range []string{"", "2018-04-04T15:37:30.612+0200", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05+0000", "9999-12-31T23:59:59.999-1200"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		at, err := model.ParseTime("date", s)
		if err != nil {
			if model.CodeOf(err) != model.Invalid {
				t.Fatalf("code of %v", err)
			}
			return
		}
		again, err := model.ParseTime("date", model.FormatTime(at))
		if err != nil || !again.Equal(at.Truncate(time.Millisecond)) {
			t.Fatalf("%q is %v, then %v: %v", s, at, again, err)
		}
	})
}

// FuzzSchema: any JSON is read or refused with a text.
func FuzzSchema(f *testing.F) {
	f.Add([]byte(`{"secret":true,"enum":[1]}`))
	f.Add([]byte(`{"type":1}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, err := model.ParseSchema(raw); err != nil && model.CodeOf(err) != model.Invalid {
			t.Fatalf("code of %v", err)
		}
	})
}
