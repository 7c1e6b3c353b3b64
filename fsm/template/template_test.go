package template

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// failure renders and gives the error it must end with.
func failure(t *testing.T, src, data string) *Error {
	t.Helper()
	text, err := renderText(t, src, data, Options{})
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%q gives %q and %v, want an *Error", src, text, err)
	}
	if text != "" {
		t.Fatalf("%q gives text %q beside an error", src, text)
	}
	return e
}

func TestMissingVariableExplains(t *testing.T) {
	e := failure(t, "a\n  ${db.port}\n", `{"db": {}}`)
	for _, want := range []string{"line 2, column 5: ", "the variable port in db is missing", "neither a setting nor a default", "db.port!default", "<#if db.port??>"} {
		if !strings.Contains(e.Error(), want) {
			t.Errorf("%q does not say %q", e, want)
		}
	}
	if e.Template != "case" || e.Phase != RenderPhase || e.Kind != Missing {
		t.Errorf("got %+v", e)
	}
}

func TestErrorsNameTheConstruct(t *testing.T) {
	cases := []struct {
		src, data, want string
		kind            Kind
		phase           Phase
		line            int
	}{
		{"a\n<#include 'x'>", "{}", "#include is not supported", Unsupported, ParsePhase, 2},
		{"<#if false>\n<#import 'x' as y></#if>", "{}", "#import is not supported", Unsupported, ParsePhase, 2},
		{"${x?api}", "{}", "?api is not supported", Unsupported, ParsePhase, 1},
		{"${x?new()}", "{}", "?new is not supported", Unsupported, ParsePhase, 1},
		{"${x?esc}", "{}", "?esc is not supported", Unsupported, ParsePhase, 1},
		{"\n${x?shout}", "{}", "unknown built-in ?shout", Syntax, ParsePhase, 2},
		{"<#setting output_format='x'>", "{}", "the setting output_format", Unsupported, ParsePhase, 1},
		{"<#ftl output_format='HTML'>x", "{}", "#ftl parameter output_format", Unsupported, ParsePhase, 1},
		{"x\n<#ftl>", "{}", "must be the first thing", Syntax, ParsePhase, 2},
		{"<#noparse>\n${x}", "{}", "has no </#noparse>", Syntax, ParsePhase, 1},
		{"a\n<#-- b", "{}", "has no -->", Syntax, ParsePhase, 2},
		{"echo ${VAR:-x}", "{}", "<#noparse>", Syntax, ParsePhase, 1},
		{"<#list l as x>\n<#if x>\n</#list>", `{"l": [true]}`, "the <#if> of line 2 is still open", Syntax, ParsePhase, 3},
		{"<@m>x</@n><#macro m></#macro>", "{}", "does not fit", Syntax, ParsePhase, 1},
		{"${x?replace('(?=a)', '', 'r')}", `{"x": "a"}`, "look-around", BadValue, RenderPhase, 1},
		{"<#setting locale='fr_BE'>", "{}", "always en_US", BadValue, RenderPhase, 1},
		{"${b}", `{"b": true}`, "b?c", Type, RenderPhase, 1},
		{"<#list h as x></#list>", `{"h": {"a": 1}}`, "<#list h as key, value>", Type, RenderPhase, 1},
		{"<#stop 'no port'>", "{}", "stops here: no port", Stop, RenderPhase, 1},
		{"<#function f x><#return f(x)></#function>\n${f(1)}", "{}", "endless recursion", Limit, RenderPhase, 1},
		{"<#macro m><@m/></#macro><@m/>", "{}", "endless recursion", Limit, RenderPhase, 1},
	}
	for _, c := range cases {
		e := failure(t, c.src, c.data)
		if !strings.Contains(e.Message, c.want) || e.Kind != c.kind || e.Phase != c.phase || e.Line != c.line {
			t.Errorf("%q: got %s, %s: %v; want %s, %s, line %d: %s", c.src, e.Phase, e.Kind, e, c.phase, c.kind, c.line, c.want)
		}
	}
}

func TestErrorsKeepSecrets(t *testing.T) {
	const data = `{"s": "hunter2", "o": {"k": "hunter2"}, "l": ["hunter2"], "e": "hunter2.x", "m": "${hunter2}", "b": "${hunter2"}`
	for _, src := range []string{
		"${s?number}", "${s?boolean}", "${s?date('yyyy')}", "<#stop s>", "<#stop 'a ${s}'>", "${s * 2}", "<#if s></#if>", "${o}", "${l}", "${l[s]}", "${o[s]}",
		"${s?eval}", "${e?eval}", "<@m?interpret/>", "<@b?interpret/>", "${s?eval_json}", "${s[99]}", "${s[1..99]}", "${s?string('a')}", "${'a'?replace('a', s, s)}",
		"${'a'?matches('(' + s)}", "${l?sort_by(s)}", "<#setting number_format=s>${1.5?string('0')}<#stop>", "<#setting locale=s>", "${s()}", "<@s/>", "${s.x}",
		"<#attempt>${s?number}<#recover>${.error}<#stop .error></#attempt>", "${s?url(s)}", "${s?switch('x', 1)}", "${s?substring(50)}", "<#list s as x></#list>",
	} {
		if e := failure(t, src, data); strings.Contains(e.Error(), "hunter2") {
			t.Errorf("%q: the error quotes the value: %v", src, e)
		}
	}
}

func TestLimits(t *testing.T) {
	for name, src := range map[string]string{
		"steps":         "<#list 1..2000000000 as i></#list>",
		"output":        "<#list 1..2000000000 as i>xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx</#list>",
		"text":          "<#assign x='xxxxxxxxxxxxxxxx'><#list 1..100 as i><#assign x = x + x></#list>",
		"list":          "<#assign x=[1]><#list 1..100 as i><#assign x = x + x></#list>",
		"range":         "${(1..2000000000)?join(',')}",
		"digits":        "<#assign x=99><#list 1..100 as i><#assign x = x * x></#list>",
		"pad":           "${''?left_pad(2000000000)}",
		"replace":       "<#assign x='a'?left_pad(100000, 'a')>${x?replace('a', x)}",
		"brackets":      "${" + strings.Repeat("(", 5000) + "1" + strings.Repeat(")", 5000) + "}",
		"unary":         "${" + strings.Repeat("!", 100000) + "true}",
		"tags":          strings.Repeat("<#if true>", 5000) + strings.Repeat("</#if>", 5000),
		"caught limits": "<#attempt><#list 1..2000000000 as i></#list><#recover>x</#attempt>",
		"chain":         "<#function f x><#return f(x)" + strings.Repeat("+1", 1000) + "></#function>${f(1)}",
	} {
		if e := failure(t, src, "{}"); e.Kind != Limit {
			t.Errorf("%s: got %s: %v", name, e.Kind, e)
		}
	}
}

func TestCancelledContextEnds(t *testing.T) {
	tmpl, err := Parse("t", "<#list 1..2000000000 as i></#list>", Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := tmpl.Render(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestOptionsRefused(t *testing.T) {
	for _, o := range []Options{{Start: "##"}, {End: "##"}, {Start: "<#x", End: ">"}, {Start: "\xff", End: "}"}} {
		if _, err := Parse("t", "x", o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
	if _, err := Parse("t", "ok \xff", Options{}); err == nil || !strings.Contains(err.Error(), "column 4") {
		t.Errorf("a template that is not UTF-8: %v", err)
	}
}

func TestRenderConcurrently(t *testing.T) {
	tmpl, err := Parse("t", "<#assign n = 0><#list l as x><#assign n = n + x></#list>${n} ${_host.name}", Options{})
	if err != nil {
		t.Fatal(err)
	}
	host := NewObject()
	host.Set("name", Text("web1"))
	data := NewObject()
	data.Set("l", List(Int(1), Int(2), Int(3)))
	data.Set("_host", host.Value())
	v := data.Value()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got, err := tmpl.Render(context.Background(), v); err != nil || got != "6 web1" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	wg.Wait()
}

// TestDemoMySQL gives the database's application the settings its schema describes.
func TestDemoMySQL(t *testing.T) {
	demos := demoFolder(t)
	if demos == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("../shared/demo-apps, beside the repository, is absent")
		}
		t.Skip("../shared/demo-apps, beside the repository, is absent")
	}
	const data = `{"root_pass": "r", "dbs": ["a", "b"], "users": [{"name": "u", "password": "p"}, {"name": "v", "password": "q", "host": "h"}],
		"grants": [{"priv_type": "ALL", "db": "a", "tab": "*", "user": "u", "host": "h"}], "mysql_port": 3306}`
	for name, want := range map[string][]string{
		"add_dbs.sh":    {"\nCREATE DATABASE a ;", "\nCREATE DATABASE b ;", "--password=r <"},
		"add_users.sh":  {"CREATE USER 'u'@localhost IDENTIFIED BY 'p' ;", "CREATE USER 'v'@'h' IDENTIFIED BY 'q' ;"},
		"add_grants.sh": {"GRANT ALL ON a.* TO 'u'@'h' ;"},
		"my.cnf":        {"port=3306\n"},
	} {
		src, err := os.ReadFile(filepath.Join(demos, "db", "files", name))
		if err != nil {
			t.Fatal(err)
		}
		text, err := renderText(t, string(src), data, Options{Start: "${", End: "}"})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: %q does not hold %q", name, text, w)
			}
		}
	}
}

// demoFolder is where the demo applications lie, "" when they are absent.
func demoFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for dir != filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			demos := filepath.Join(dir, "..", "shared", "demo-apps")
			if _, err := os.Stat(demos); err == nil {
				return demos
			}
			return ""
		}
		dir = filepath.Dir(dir)
	}
	return ""
}

// TestDemoApplications renders each file of the demo applications with the defaults of its parameters, and a text
// for one that is required and has none.
func TestDemoApplications(t *testing.T) {
	demos := demoFolder(t)
	if demos == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("../shared/demo-apps, beside the repository, is absent")
		}
		t.Skip("../shared/demo-apps, beside the repository, is absent")
	}
	definitions, err := filepath.Glob(filepath.Join(demos, "*", "definition.json"))
	if err != nil || len(definitions) == 0 {
		t.Fatalf("no definition.json under %s: %v", demos, err)
	}
	rendered := 0
	for _, d := range definitions {
		rendered += demoApplication(t, d)
	}
	if rendered == 0 {
		t.Error("no file of a demo application was rendered")
	}
}

func demoApplication(t *testing.T, path string) (rendered int) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var app struct {
		Files []struct {
			Name     string
			Template struct {
				Name      string
				Delimiter struct{ Start, End string }
			}
		}
		Parameters []struct {
			Key    string
			Value  json.RawMessage
			Schema struct{ Required bool }
		}
	}
	if err := json.Unmarshal(raw, &app); err != nil {
		t.Fatal(err)
	}
	host := NewObject()
	host.Set("name", Text("web1"))
	data := NewObject()
	data.Set("_host", host.Value())
	for _, p := range app.Parameters {
		if p.Value == nil {
			if p.Schema.Required {
				data.Set(p.Key, Text("given"))
			}
			continue
		}
		v, err := DecodeJSON(p.Value)
		if err != nil {
			t.Fatal(err)
		}
		data.Set(p.Key, v)
	}
	for _, f := range app.Files {
		src, err := os.ReadFile(filepath.Join(filepath.Dir(path), "files", f.Template.Name))
		if err != nil {
			t.Fatal(err)
		}
		tmpl, err := Parse(f.Name, string(src), Options{Start: f.Template.Delimiter.Start, End: f.Template.Delimiter.End})
		if err != nil {
			t.Errorf("%s: %s: %v", path, f.Name, err)
			continue
		}
		text, err := tmpl.Render(context.Background(), data.Value())
		switch {
		case err != nil:
			t.Errorf("%s: %s: %v", path, f.Name, err)
		case strings.Contains(text, "<#"):
			t.Errorf("%s: %s: a tag is left in the text", path, f.Name)
		default:
			rendered++
		}
	}
	return rendered
}
