package model_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/fsm/model"
)

func TestUUIDHasTheContractsForm(t *testing.T) {
	id := model.NewUUID(bytes.NewReader(bytes.Repeat([]byte{0xab, 0x01}, 8)))
	if id != strings.Repeat("AB01", 8) || !regexp.MustCompile(`^[0-9A-F]{32}$`).MatchString(id) {
		t.Errorf("id %q", id)
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct{ name, text string }{
		{"Web 1", ""}, {"DB (Master)", ""}, {"a[b].c", ""}, {"é", ""}, {"...", ""},
		{"", "missing"}, {"a/b", "cannot carry"}, {"50%", "cannot carry"}, {" a", "white space"}, {"a\n", "white space"}, {"a\x01b", "control"},
		{".", "cannot stand"}, {"..", "cannot stand"}, {strings.Repeat("x", 256), "256 bytes"}, {"a\xff", "UTF-8"},
	} {
		err := model.CheckName("host", c.name)
		switch {
		case c.text == "" && err != nil:
			t.Errorf("%q: %v", c.name, err)
		case c.text != "" && (model.CodeOf(err) != model.Invalid || !strings.Contains(err.Error(), c.text)):
			t.Errorf("%q: got %v, want a text with %q", c.name, err, c.text)
		}
	}
}

func TestTimes(t *testing.T) {
	at, err := model.ParseTime("date", "2018-04-04T15:37:30.612+0200")
	if err != nil || model.FormatTime(at) != "2018-04-04T13:37:30.612+0000" {
		t.Errorf("got %v %v", model.FormatTime(at), err)
	}
	if _, err := model.ParseTime("date", "tomorrow"); model.CodeOf(err) != model.Invalid || !strings.Contains(err.Error(), "date") {
		t.Errorf("got %v", err)
	}
	if none, err := model.ParseTime("date", ""); err != nil || model.FormatTime(none) != "" {
		t.Errorf("no time: %v %v", none, err)
	}
	if at, err := model.ParseTime("date", time.Unix(0, 0).UTC().Format(time.RFC3339)); err != nil || at.Unix() != 0 {
		t.Errorf("RFC 3339: %v %v", at, err)
	}
}

func TestDecodeSaysWhatToChange(t *testing.T) {
	for _, c := range []struct{ body, text string }{
		{"", "empty"}, {"{", "ends too early"}, {"{\"name\":\n x}", "line 2, column 2"}, {`{"name":1}`, "name must be a text"},
		{`[]`, "must be an object"}, {`{} {}`, "one value only"}, {`{"settings":{}}`, "settings must be a list"},
		{`{"applications":[1]}`, "a text"},
	} {
		_, err := model.Decode[model.Host]([]byte(c.body))
		if model.CodeOf(err) != model.Invalid || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %v, want a text with %q", c.body, err, c.text)
		}
	}
	if _, err := model.Decode[model.Application]([]byte(`{"files":[{"mode":644}]}`)); err == nil || !strings.Contains(err.Error(), "mode must be a text") {
		t.Errorf("a number for a mode: %v", err)
	}
}

func TestMergeKeepsWhatIsAbsent(t *testing.T) {
	doc := model.Setting{Key: "k", Value: json.RawMessage(`{"a":1}`), Link: "l"}
	got, err := model.Merge(doc, []byte(`{"value":[],"link":null}`))
	if err != nil || got.Key != "k" || string(got.Value) != "[]" || got.Link != "" {
		t.Errorf("got %+v %v", got, err)
	}
	if string(doc.Value) != `{"a":1}` {
		t.Error("the original was changed")
	}
	app := model.Application{Packages: []model.Package{{Name: "a"}, {Name: "b"}}}
	merged, err := model.Merge(app, []byte(`{"packages":[{"name":"c"}]}`))
	if err != nil || len(merged.Packages) != 1 || merged.Packages[0].Name != "c" {
		t.Errorf("a list must replace the old one: %+v %v", merged.Packages, err)
	}
	for _, bad := range []string{"null", "[]", "{", ""} {
		if _, err := model.Merge(doc, []byte(bad)); model.CodeOf(err) != model.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

const odd = `{"name":"x","description":"d","custom":{"deep":[1,null]},"packages":[{"name":"p","arch":"x86"}],"services":[{"name":"s","enabled":false}],
"files":[{"name":"f","path":"/f","owner":"","mode":"644","template":{"name":"f","delimiter":{"start":"##","end":"##"},"parameters":[]},"note":null}],
"directories":[{"name":"d","path":"/d","extra":true}],"users":[{"name":"u","uid":-1,"gid":0,"groups":[],"system":false}],"groups":[{"name":"g","gid":-1}],
"repositories":[{"name":"r","location":"l","components":["a"]}],"parameters":[{"name":"P","key":"k","value":null,"schema":{"type":"string","advanced":true},"version":1}],
"handlers":[{"on":["k"],"do":[{"action":"update","resource":"file://f","delay":3}]}],"compatibility":[{"type":"debian","version":"12"}],"price":"0.00","url":""}`

func TestApplicationComesBackAsGiven(t *testing.T) {
	sameAsGiven(t, []byte(odd))
}

// sameAsGiven fails unless a document survives decoding and encoding, but for what the server adds.
func sameAsGiven(t *testing.T, given []byte) {
	t.Helper()
	app, err := model.Decode[model.Application](given)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(app)
	if err != nil {
		t.Fatal(err)
	}
	var want, got map[string]any
	if err := json.Unmarshal(given, &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	for k, v := range want {
		if !reflect.DeepEqual(got[k], v) {
			t.Errorf("%s: got %v, want %v", k, got[k], v)
		}
	}
	added := map[string]bool{"locked": true, "canPull": true, "canPush": true, "description": true}
	for k, v := range got {
		if _, ok := want[k]; !ok && !added[k] && !reflect.DeepEqual(v, []any{}) {
			t.Errorf("%s: %v was added", k, v)
		}
	}
}

func TestDemoApplicationsComeBackAsGiven(t *testing.T) {
	for _, name := range []string{"lb", "web", "db"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "demo-apps", name, "definition.json"))
		if err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skipf("the demo applications are not here: %v", err)
		}
		t.Run(name, func(t *testing.T) {
			sameAsGiven(t, text)
			app, err := model.Decode[model.Application](text)
			if err != nil {
				t.Fatal(err)
			}
			if err := app.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestServerFieldsAreDropped(t *testing.T) {
	app, err := model.Decode[model.Application]([]byte(`{"name":"x","uuid":"U","version":7,"organization":"o","locked":true,"canPull":true,"publishedAs":"P",
		"files":[{"name":"f","path":"/f","uuid":"F","version":3}],"parameters":[{"name":"p","key":"k","uuid":"Q","version":9}]}`))
	if err != nil {
		t.Fatal(err)
	}
	app.ClearServerFields()
	text, err := json.Marshal(app)
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{`"uuid"`, `"version"`, `"organization"`, `"locked":true`, `"canPull":true`, "publishedAs"} {
		if bytes.Contains(text, []byte(gone)) {
			t.Errorf("%s is still there: %s", gone, text)
		}
	}
}

func TestValidateApplication(t *testing.T) {
	const ok = `"files":[{"name":"f","path":"/f"}],"services":[{"name":"s"}]`
	for _, c := range []struct{ doc, text string }{
		{`{"name":"x",` + ok + `}`, ""},
		{`{` + ok + `}`, "name is missing"},
		{`{"name":"x","handlers":[{"on":["k"],"do":[{"action":"update","resource":"file://g"}]}],` + ok + `}`, `handler 1 names the file "g", which the application does not have`},
		{`{"name":"x","handlers":[{"name":"H","do":[{"action":"restart","resource":"service://t"}]}],` + ok + `}`, `handler "H" names the service "t"`},
		{`{"name":"x","handlers":[{"do":[{"action":"explode","resource":"file://f"}]}],` + ok + `}`, `action is "explode"`},
		{`{"name":"x","handlers":[{"do":[{"action":"execute","resource":"service://s"}]}],` + ok + `}`, "execute goes with a file"},
		{`{"name":"x","handlers":[{"do":[{"action":"reload","resource":"file://f"}]}],` + ok + `}`, "reload goes with a service"},
		{`{"name":"x","handlers":[{"do":[{"action":"update","resource":"f"}]}],` + ok + `}`, "write file://NAME"},
		{`{"name":"x","handlers":[{"on":[""],"do":[]}]}`, "on holds an empty text"},
		{`{"name":"x","files":[{"name":"f","path":"etc/f"}]}`, "must be absolute"},
		{`{"name":"x","files":[{"name":"f"}]}`, "path is missing"},
		{`{"name":"x","files":[{"name":"f","path":"/etc/../f"}]}`, "as /f"},
		{`{"name":"x","files":[{"name":"f","path":"/f","mode":"8"}]}`, "octal"},
		{`{"name":"x","files":[{"name":"f","path":"/f","mode":"0648"}]}`, "octal"},
		{`{"name":"x","files":[{"name":"f","path":"/f"},{"name":"f","path":"/g"}]}`, `file name "f" is there twice`},
		{`{"name":"x","files":[{"name":"f","path":"/f"}],"directories":[{"name":"d","path":"/f"}]}`, `path "/f" is there twice`},
		{`{"name":"x","files":[{"name":"f","path":"/f","owner":"a:b"}]}`, "owner and group"},
		{`{"name":"x","packages":[{"name":"--force"}]}`, "cannot contain"},
		{`{"name":"x","packages":[{"name":"a"},{"name":"a"}]}`, "twice"},
		{`{"name":"x","services":[{"name":"a b"}]}`, "cannot contain"},
		{`{"name":"x","users":[{"name":"u","home":"home"}]}`, "must be absolute"},
		{`{"name":"x","users":[{"name":"u","uid":-2}]}`, "uid is -2"},
		{`{"name":"x","users":[{"name":"u","shell":"/bin/sh\nroot::0:0"}]}`, "colon or a line end"},
		{`{"name":"x","groups":[{"name":""}]}`, "group: name is missing"},
		{`{"name":"x","parameters":[{"name":"p","key":"_p"}]}`, "reserved"},
		{`{"name":"x","parameters":[{"name":"p","key":"k"},{"name":"q","key":"k"}]}`, `parameter key "k" is there twice`},
		{`{"name":"x","parameters":[{"name":"p","key":"k","schema":{"secret":"yes"}}]}`, "true or false"},
	} {
		app, err := model.Decode[model.Application]([]byte(c.doc))
		if err != nil {
			t.Fatalf("%s: %v", c.doc, err)
		}
		err = app.Validate()
		switch {
		case c.text == "" && err != nil:
			t.Errorf("%s: %v", c.doc, err)
		case c.text != "" && (model.CodeOf(err) != model.Invalid || !strings.Contains(err.Error(), c.text)):
			t.Errorf("%s:\n got %v\nwant a text with %q", c.doc, err, c.text)
		}
	}
}

func TestLinks(t *testing.T) {
	for _, ok := range []string{
		"organizations/o/settings/k", "organizations/o/environments/e/settings/k", "organizations/o/environments/e/hosts/h/settings/k.l",
		"organizations/o/environments/e/hosts/h/applications/a b/settings/k",
	} {
		l, err := model.ParseLink(ok)
		if err != nil || l.String() != ok {
			t.Errorf("%s: %v %v", ok, l, err)
		}
	}
	for _, bad := range []string{"", "settings/k", "/organizations/o/settings/k", "organizations//settings/k", "organizations/o/hosts/h/settings/k", "organizations/o/settings/", "organizations/o"} {
		if _, err := model.ParseLink(bad); model.CodeOf(err) != model.Invalid {
			t.Errorf("%q was taken: %v", bad, err)
		}
	}
}

func TestSettingKinds(t *testing.T) {
	for _, c := range []struct {
		s    model.Setting
		want model.SettingKind
	}{
		{model.Setting{}, model.SettingSimple}, {model.Setting{Link: "l"}, model.SettingLink}, {model.Setting{Property: "p"}, model.SettingProperty},
		{model.Setting{Link: "l", Property: "p"}, model.SettingSimple},
	} {
		if got := c.s.Kind(); got != c.want {
			t.Errorf("%+v: %s, want %s", c.s, got, c.want)
		}
	}
	if err := (&model.Setting{Key: "_application[x].y"}).Validate(); model.CodeOf(err) != model.Invalid {
		t.Errorf("a reserved key: %v", err)
	}
}

func TestRangesOfAChange(t *testing.T) {
	c := &model.Change{ID: "C", HostID: "H", OrderNum: 4}
	if got := c.Ranges(); !reflect.DeepEqual(got, []string{"host/H", "num/H/4", "open", "openhost/H"}) {
		t.Errorf("open: %v", got)
	}
	c.Done = true
	if got := c.Ranges(); !reflect.DeepEqual(got, []string{"host/H", "num/H/4"}) {
		t.Errorf("done: %v", got)
	}
	c.Tasks = []model.Task{{Status: model.TaskError}}
	if got := c.Ranges(); !reflect.DeepEqual(got, []string{"host/H", "num/H/4", "failed/H"}) {
		t.Errorf("failed: %v", got)
	}
}

func FuzzApplication(f *testing.F) {
	f.Add([]byte(odd))
	f.Add([]byte(`{"name":"x","handlers":[{"do":[{"action":"update","resource":"file://"}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		app, err := model.Decode[model.Application](data)
		if err != nil {
			if model.CodeOf(err) != model.Invalid {
				t.Fatalf("code of %v", err)
			}
			return
		}
		_ = app.Validate()
		text, err := json.Marshal(app)
		if err != nil {
			t.Fatal(err)
		}
		again, err := model.Decode[model.Application](text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if text2, err := json.Marshal(again); err != nil || !bytes.Equal(text, text2) {
			t.Fatalf("not stable:\n%s\n%s\n%v", text, text2, err)
		}
	})
}

func FuzzLink(f *testing.F) {
	for _, link := range []string{"organizations/o/environments/e/hosts/h/applications/a/settings/k", "organizations/o/platforms/p/settings/k",
		"organizations/o/environments/e/hosts/h/platform/settings/k", "organizations/o/hostgroups/g/settings/k"} {
		f.Add(link)
	}
	f.Fuzz(func(t *testing.T, link string) {
		if l, err := model.ParseLink(link); err == nil && l.String() != link {
			t.Fatalf("%q became %q", link, l.String())
		}
	})
}

func FuzzMerge(f *testing.F) {
	f.Add([]byte(`{"key":"a","value":1}`))
	f.Fuzz(func(t *testing.T, patch []byte) {
		got, err := model.Merge(model.Setting{Key: "k", Link: "l"}, patch)
		if err != nil && model.CodeOf(err) != model.Invalid {
			t.Fatalf("code of %v", err)
		}
		if err == nil {
			_ = got.Validate()
		}
	})
}
