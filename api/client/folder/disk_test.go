package folder

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
)

// put writes a file of a folder, and the folders that it lies in.
func put(t testing.TB, dir, file, content string) {
	t.Helper()
	path := filepath.Join(dir, file)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// small is a folder with an application and a host.
func small(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	put(t, dir, "definition.json", `{"name": "acme", "settings": [{"key": "a", "value": 1}]}`)
	put(t, dir, "applications/web/definition.json", `{"name": "web", "files": [{"name": "motd"}]}`)
	put(t, dir, "applications/web/files/motd", "hello")
	put(t, dir, "environments/Dev/definition.json", `{"name": "Dev"}`)
	put(t, dir, "environments/Dev/hosts/h/definition.json", `{"name": "h", "platform": null}`)
	put(t, dir, "environments/Dev/hosts/h/applications/web.json", `{"application": "web"}`)
	return dir
}

func TestReadFolder(t *testing.T) {
	dir := small(t)
	for _, left := range []string{".git/config", "applications/.DS_Store", "applications/web/files/.gitkeep", "applications/.svn/entries", "README.md"} {
		put(t, dir, left, "of others")
	}
	tree, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	var titles []string
	for _, o := range tree.Objects {
		titles = append(titles, o.Title()+" at "+o.Path())
	}
	want := "organization at |application web at applications/web|environment Dev at environments/Dev|" +
		"host Dev/h at environments/Dev/hosts/h|application on host Dev/h/web at environments/Dev/hosts/h/applications/web"
	if got := strings.Join(titles, "|"); got != want || tree.Organization != "acme" {
		t.Errorf("%s: %s, want %s", tree.Organization, got, want)
	}
	if got := string(tree.Objects[1].Contents["motd"]); got != "hello" {
		t.Errorf("the content is %q", got)
	}
}

// A folder from somebody else is refused with the file, and the line, before anything is sent.
func TestHostileFolders(t *testing.T) {
	link := func(target, name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			path := filepath.Join(dir, name)
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(target, path); err != nil {
				t.Skipf("no symbolic links here: %v", err)
			}
		}
	}
	with := func(file, content string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { t.Helper(); put(t, dir, file, content) }
	}
	for name, c := range map[string]struct {
		make func(*testing.T, string)
		want string
	}{
		"a content that is a link":    {link("/etc/passwd", "applications/web/files/motd"), "applications/web/files/motd: this must be a plain file, not a symbolic link"},
		"a link within the folder":    {link("definition.json", "applications/web/definition.json"), "symbolic link"},
		"an object that is a link":    {link("../applications/web", "applications/two"), "applications/two: this must be a folder with definition.json, not a symbolic link"},
		"a collection that is a link": {link("applications", "distributions"), "distributions: this must be a folder, not a symbolic link"},
		"a folder that leads outside": {link("/etc", "platforms"), "symbolic link"},
		"a picture that is a link":    {link("/etc/passwd", "applications/web/thumb"), "symbolic link"},
		"wrong JSON":                  {with("applications/web/definition.json", "{\n  \"name\": \"web\",\n  oops\n}"), "applications/web/definition.json: line 3, column 3"},
		"a key twice":                 {with("environments/Dev/definition.json", "{\"name\": \"Dev\",\n\"name\": \"Prod\"}"), "line 2, column 7: the key \"name\" is there twice"},
		"not UTF-8":                   {with("definition.json", "{\"name\": \"\xff\"}"), "not UTF-8"},
		"no object":                   {with("definition.json", "[]"), "begin with {"},
		"deep JSON":                   {with("definition.json", `{"name": "x", "a": `+strings.Repeat("[", 100_000)), "deeper than"},
		"no name":                     {with("applications/web/definition.json", `{"files": []}`), `"name" is missing`},
		"a name that climbs":          {with("applications/web/definition.json", `{"name": ".."}`), "cannot stand in an address"},
		"a name with a slash":         {with("applications/web/definition.json", `{"name": "../../etc"}`), "contains /"},
		"a name with a NUL":           {with("applications/web/definition.json", `{"name": "a\u0000b"}`), "control character"},
		"a file without an entry":     {with("applications/web/files/more", "x"), `application web has no file of this name`},
		"no document":                 {with("applications/two/files/x", "x"), "applications/two/definition.json"},
		"the same object twice":       {with("applications/two/definition.json", `{"name": "web"}`), "another file describes application web"},
		"the same setting twice":      {with("definition.json", `{"name": "acme", "settings": [{"key": "a"}, {"key": "a"}]}`), `item 2 of "settings"`},
		"a setting without a key":     {with("definition.json", `{"name": "acme", "settings": [1]}`), `item 1 of "settings"`},
		"settings that are no list":   {with("definition.json", `{"name": "acme", "settings": {}}`), `"settings" must be a list`},
		"a stranger among contexts":   {with("environments/Dev/hosts/h/applications/x.yaml", ""), "only files NAME.json"},
		"a plain file for a folder":   {with("platforms", "x"), "platforms: this must be a folder, not a plain file"},
		"a huge document": {func(t *testing.T, dir string) {
			t.Helper()
			huge(t, filepath.Join(dir, "definition.json"), maxDocument+1)
		}, "more than"},
		"a huge content": {func(t *testing.T, dir string) {
			t.Helper()
			huge(t, filepath.Join(dir, "applications/web/files/motd"), maxContent+1)
		}, "more than"},
		"a folder of one's own name": {func(t *testing.T, dir string) {
			t.Helper()
			must(t, os.RemoveAll(filepath.Join(dir, "definition.json")), os.MkdirAll(filepath.Join(dir, "definition.json"), 0o700))
		}, "not a folder"},
		"nothing that we know": {func(t *testing.T, dir string) {
			t.Helper()
			for _, n := range []string{"definition.json", "applications", "environments"} {
				must(t, os.RemoveAll(filepath.Join(dir, n)))
			}
		}, "holds nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := small(t)
			c.make(t, dir)
			_, err := Read(dir)
			if model.CodeOf(err) != model.Invalid || !strings.Contains(err.Error(), c.want) {
				if name == "no document" && err != nil && strings.Contains(err.Error(), c.want) && strings.Contains(err.Error(), "is missing") {
					return
				}
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// huge makes a file with a hole, which takes no room.
func huge(t *testing.T, path string, size int64) {
	t.Helper()
	must(t, os.Truncate(path, size))
}

// Every legal name becomes a file, another one for each name.
func TestFileNames(t *testing.T) {
	long := strings.Repeat("ü", 127) + "x"
	for _, c := range []struct{ system, name, ending, want string }{
		{"linux", "Web 1 (a) [b].json", "", "Web 1 (a) [b].json"},
		{"linux", `a\b:c*"<>|?`, "", `a\b:c*"<>|?`},
		{"windows", `a\b:c*.`, "", `a%5Cb%3Ac%2A%2E`},
		{"windows", "con", ".json", "%63on.json"},
		{"windows", "Com1.txt", "", "%43om1.txt"},
		{"windows", "console", "", "console"},
		{"linux", long, "", long},
	} {
		if got := fileNameOn(c.system, c.name, c.ending); got != c.want {
			t.Errorf("%q on %s: %q, want %q", c.name, c.system, got, c.want)
		}
	}
	a, b := fileNameOn("linux", long, ".json"), fileNameOn("linux", long[:len(long)-1]+"y", ".json")
	if len(a) > maxFileName || a == b || !strings.HasSuffix(a, ".json") || !strings.Contains(a, "%") {
		t.Errorf("long names become %q and %q", a, b)
	}
}

func FuzzFileName(f *testing.F) {
	for _, s := range []string{"web", "a:b", "nul", "x.", strings.Repeat("é", 127)} {
		f.Add(s, s+"x")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if model.CheckName("x", a) != nil || model.CheckName("x", b) != nil {
			return
		}
		for _, system := range []string{"linux", "windows"} {
			x, y := fileNameOn(system, a, ".json"), fileNameOn(system, b, ".json")
			if a != b && x == y || strings.ContainsAny(x, "/\x00") || x == "." || x == ".." || len(x) > maxFileName {
				t.Errorf("%q and %q are called %q and %q on %s", a, b, x, y, system)
			}
		}
	})
}
