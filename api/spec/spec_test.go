package spec_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api/spec"
)

// contractRow is a row as the page has it.
type contractRow struct {
	part, section, method, path string
}

// contractRows reads the tables of sections 2.1 and 2.2.
func contractRows(t *testing.T) []contractRow {
	t.Helper()
	b, err := os.ReadFile("../../docs/api-contract.md")
	if err != nil {
		t.Fatalf("read the contract: %v", err)
	}
	row := regexp.MustCompile("^\\| [^|]* \\| (GET|POST|PUT|DELETE) \\| `([^`]+)` \\|")
	var rows []contractRow
	part, section := "", ""
	for line := range strings.SplitSeq(string(b), "\n") {
		switch {
		case strings.HasPrefix(line, "## 2.1"):
			part = "CORE"
		case strings.HasPrefix(line, "## 2.2"):
			part = "EXTENDED"
		case strings.HasPrefix(line, "## "):
			part = ""
		case strings.HasPrefix(line, "### "):
			section, _, _ = strings.Cut(strings.TrimPrefix(line, "### "), ". {")
		}
		if m := row.FindStringSubmatch(line); m != nil && part != "" {
			rows = append(rows, contractRow{part, section, m[1], m[2]})
		}
	}
	return rows
}

func TestTableIsTheContract(t *testing.T) {
	want := contractRows(t)
	var got []contractRow
	for _, s := range spec.Sections() {
		if s.Part == spec.Own {
			continue
		}
		for _, r := range s.Rows {
			got = append(got, contractRow{string(s.Part), s.Title, r.Method, r.Path})
		}
	}
	if len(want) != 165+98 {
		t.Errorf("the page has %d rows, but says 165 and 98", len(want))
	}
	if !slices.Equal(got, want) {
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Fatalf("row %d: table has %v, page has %v", i, got[i], want[i])
			}
		}
		t.Fatalf("table has %d rows, page has %d", len(got), len(want))
	}
}

func TestConcreteEndpointsCountAsThePageSays(t *testing.T) {
	count := map[spec.Part]int{}
	for _, r := range spec.Routes() {
		count[r.Part]++
	}
	if count[spec.Core] != 237 || count[spec.Extended] != 138 {
		t.Errorf("concrete endpoints: CORE %d, EXTENDED %d; the page says 237 and 138", count[spec.Core], count[spec.Extended])
	}
}

func TestNamesNameOneRow(t *testing.T) {
	seen := map[string]spec.Row{}
	for _, s := range spec.Sections() {
		for _, r := range s.Rows {
			if o, ok := seen[r.Name]; ok {
				t.Errorf("%s names both %s %s and %s %s", r.Name, o.Method, o.Path, r.Method, r.Path)
			}
			seen[r.Name] = r
		}
	}
}

// Every route is found by its own path, in every spelling of slashes that the page asks for, except
// where a rename or a more exact row answers in its place.
func TestEveryRouteIsFound(t *testing.T) {
	m := spec.NewMatcher(spec.Routes())
	names := regexp.MustCompile(`\{(\w+)(\.\.\.)?\}`)
	for _, r := range spec.Routes() {
		for _, path := range []string{r.Pattern, r.Pattern + "/", strings.TrimSuffix(r.Pattern, "/"), strings.ReplaceAll(r.Pattern, "/", "//")} {
			path = names.ReplaceAllString(path, "v-$1")
			segs, err := spec.SplitPath(path)
			if err != nil {
				t.Fatalf("split %s: %v", path, err)
			}
			got, params, _, ok := m.Match(r.Method, segs)
			if !ok {
				t.Errorf("%s %s is not found", r.Method, path)
				continue
			}
			same := got.Name == r.Name && got.Level == r.Level
			renamed := strings.HasSuffix(r.Name, ".rename") && got.Name == strings.TrimSuffix(r.Name, "rename")+"update"
			if !same && !renamed {
				t.Errorf("%s %s answers as %s (%s), not %s (%s)", r.Method, path, got.Name, got.Level, r.Name, r.Level)
			}
			for _, name := range names.FindAllStringSubmatch(got.Pattern, -1) {
				if params[name[1]] == "" {
					t.Errorf("%s %s: no value for %s", r.Method, path, name[1])
				}
			}
		}
	}
}

func TestMatch(t *testing.T) {
	m := spec.NewMatcher(spec.Routes())
	for _, c := range []struct{ method, path, name, param, value string }{
		{"GET", "/organizations/a%20b/", "organizations.show", "org", "a b"},
		{"GET", "/organizations/..", "organizations.show", "org", ".."},
		{"GET", "/organizations/a%2Fb", "organizations.show", "org", "a/b"},
		{"GET", "/organizations/o/groups/tree", "groups.tree.show", "org", "o"},
		{"GET", "/organizations/o/groups/trees", "groups.show", "group", "trees"},
		{"PUT", "/organizations/o/jobs/j//_run", "jobs.run", "job", "j"},
		{"GET", "/organizations/o/environments/e/hosts/h/compliance/applications/a/files/etc/nginx/x.conf", "host.compliance.files.show", "file", "etc/nginx/x.conf"},
		{"DELETE", "/organizations/o/environments/e/hosts/h/compliance/applications/a/files/etc/x", "host.compliance.delete", "type", "files"},
		{"DELETE", "/organizations/o/environments/e/hosts/h/compliance/applications/a/files/etc/x", "host.compliance.delete", "id", "etc/x"},
		{"GET", "/organizations/o/environments/e/hosts/h/compliance/applications/a/users/u", "host.compliance.show", "type", "users"},
	} {
		segs, err := spec.SplitPath(c.path)
		if err != nil {
			t.Fatalf("split %s: %v", c.path, err)
		}
		r, params, _, ok := m.Match(c.method, segs)
		if !ok || r.Name != c.name || params[c.param] != c.value {
			t.Errorf("%s %s: %s with %s=%q, want %s with %q", c.method, c.path, r.Name, c.param, params[c.param], c.name, c.value)
		}
	}
	if _, _, allowed, ok := m.Match("POST", []string{"organizations", "o"}); ok || !slices.Equal(allowed, []string{"DELETE", "GET", "PUT"}) {
		t.Errorf("POST on an organization: allowed %v", allowed)
	}
	if _, _, allowed, ok := m.Match("GET", []string{"organisations"}); ok || len(allowed) > 0 {
		t.Errorf("an unknown path is allowed %v", allowed)
	}
}

func TestStatus(t *testing.T) {
	want := map[string]int{
		"organizations.create": 201, "organizations.show": 200, "organizations.delete": 204, "access.set": 200,
		"host.instance.forget": 202, "host.instance.start": 202, "host.instance.lock": 200, "applications.unlock": 200,
		"host.applications.handler.run": 200, "files.content.set": 200, "settings.bulk": 200, "settings.create": 201,
		"host.instance.set": 201, "enroltokens.create": 201, "cluster.token": 200, "applicationkeys.reset": 200,
	}
	for _, r := range spec.Routes() {
		if s, ok := want[r.Name]; ok && r.Status != s {
			t.Errorf("%s answers %d, want %d", r.Name, r.Status, s)
		}
	}
}

func TestPathFillsAndEscapes(t *testing.T) {
	got := spec.Path("/organizations/{org}/x/{id...}", map[string]string{"org": "a b/c", "id": "etc/a b"})
	if want := "/organizations/a%20b%2Fc/x/etc/a%20b"; got != want {
		t.Errorf("path is %s, want %s", got, want)
	}
}

// Whatever Path writes, SplitPath reads back.
func FuzzSplitPath(f *testing.F) {
	for _, s := range []string{"", "a", "Web 1", "DB (Master)", "a/b", "..", "%2F", "[x]", "\xff", "é", "a?b#c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		_, _ = spec.SplitPath(name) // any text: no panic
		segs, err := spec.SplitPath(spec.Path("/organizations/{org}/", map[string]string{"org": name}))
		if err != nil {
			t.Fatalf("what Path wrote for %q cannot be read: %v", name, err)
		}
		if name != "" && (len(segs) != 2 || segs[1] != name) {
			t.Fatalf("%q came back as %q", name, segs)
		}
	})
}
