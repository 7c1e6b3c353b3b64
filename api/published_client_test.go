package api_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// comodit is the published client as a command, with a home of its own.
type comodit struct {
	t         *testing.T
	dir, home string
}

// run runs one command and gives what it prints. The client's exit status says little (contract section 5).
func (c *comodit) run(args ...string) string {
	c.t.Helper()
	// Debian's own interpreter, for which the client's libraries are packaged.
	cmd := exec.CommandContext(c.t.Context(), "/usr/bin/python3", append([]string{filepath.Join(c.dir, "comodit")}, args...)...) //nolint:gosec // the test's own arguments
	cmd.Dir = c.home
	cmd.Stdin = strings.NewReader("A\n") // to where it asks: all
	cmd.Env = append(os.Environ(), "HOME="+c.home, "PYTHONPATH="+c.dir, "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.CombinedOutput()
	if len(out) == 0 && err != nil {
		c.t.Fatalf("comodit %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

// TestPublishedClient runs the published client against the API, where COMODIT_CLIENT names the folder of its
// source. It needs python3-pycurl, python3-future, python3-six and python3-progressbar.
func TestPublishedClient(t *testing.T) {
	dir := os.Getenv("COMODIT_CLIENT")
	if dir == "" {
		t.Log("COMODIT_CLIENT is not set: the recorded exchanges stand in for the client")
		return
	}
	c := newComodit(t, dir, newSite(t).furnish())
	c.play([][2]string{
		{"organizations|add|-j|{\"name\": \"Lib 2\", \"description\": \"d\"}", "Access Key: "},
		{"organizations|list", "Lib 2\nacme\n"},
		{"organizations|update|Lib 2|-j|{\"name\": \"Lib\", \"description\": \"e\"}", " Name: Lib\n Description: e\n"},
		{"organizations|show|Lib 2", "Entity not found: Lib 2"},
		{"environments|add|Lib|-j|{\"name\": \"E (1)\"}", " Name: E (1)\n"},
		{"applications|add|Lib|-f|web.json", " Name: web\n"},
		{"applications|files|set-content|Lib|web|site.conf|site.conf", ""},
		{"applications|files|show-content|Lib|web|site.conf", "listen ${port} of ${_host.name};\n"},
		{"applications|lock|Lib|web", ""},
		{"applications|update|Lib|web|-j|{\"name\": \"web\", \"description\": \"x\"}", "error 409: [application \"web\" is locked"},
		{"applications|unlock|Lib|web|--force", ""},
		{"applications|clone|Lib|web|copy", ""},
		{"applications|export|Lib|web|exported", "exporting web to exported"},
		{"applications|delete|Lib|web|--force", ""},
		{"applications|import|Lib|exported", ""},
		{"applications|list|Lib", "copy\nweb\n"},
		{"hosts|add|Lib|E (1)|-j|{\"name\": \"h.1\", \"platform\": null, \"applications\": [\"web\"]}", " State: DEFINED\n"},
		{"hosts|applications|render-file|Lib|E (1)|h.1|web|site.conf", "listen 80 of h.1;\n"},
		{"environments|settings|add|Lib|E (1)|-j|{\"key\": \"port\", \"value\": \"81\"}", " Value: 81\n"},
		{"hosts|applications|settings|show-origin|Lib|E (1)|h.1|web|port", "Value: 81\n"},
		{"organizations|settings|change|Lib|--force|-j|[{\"key\": \"a b\", \"value\": [1]}]", "- Adding setting a b\n"},
		{"organizations|settings|list|Lib", "a b\n"},
		{"organizations|settings|tree|Lib", "Environment: E (1)\n"},
		{"organizations|groups|tree|Lib", "Username: admin\n"},
		{"organizations|application-keys|add|Lib|-j|{\"name\": \"k\", \"method\": \"TOKEN\", \"group\": \"users\"}", " Token: "},
		{"organizations|export|Lib|whole", "exporting h.1 to whole/environments/E (1)/hosts/h.1"},
		{"organizations|delete|Lib|--force", ""},
		{"organizations|import|whole", "Executing 'Create application context 'web''"},
		{"hosts|applications|render-file|Lib|E (1)|h.1|web|site.conf", "listen 81 of h.1;\n"},
		{"hosts|applications|install|acme|Dev|web1|-j|{\"application\": \"web\"}", " Application: web\n"},
		{"hosts|changes|list|acme|Dev|web1", "0 - Install application web\n"},
		{"hosts|changes|show|acme|Dev|web1|0", "Description: Install package nginx\n"},
		{"environments|settings|add|acme|Dev|--non-handler|-j|{\"key\": \"port\", \"value\": \"82\"}", " Value: 82\n"},
		{"environments|settings|impact|acme|Dev|port", "restart service://nginx"},
		{"hosts|applications|actions|restart-service|acme|Dev|web1|web|nginx", ""},
		{"hosts|applications|actions|run|acme|Dev|web1|web|nope", "Error (404): [application \"web\" has no handler \"nope\"]"},
		{"hosts|changes|delete|acme|Dev|web1|1|--force", ""},
		{"hosts|changes|list-all|acme|Dev|web1", "0 - Install application web\n"},
		{"hosts|instance|show|acme|Dev|web1", " State: "},
		{"hosts|compliance|list|acme|Dev|web1", "No entities to list"},
		{"organizations|pipelines|list|acme", "pipelines.list is not built yet"},
	})
}

// newComodit gives the client a home with a configuration for the site and some files.
func newComodit(t *testing.T, dir string, s *site) *comodit {
	t.Helper()
	c := &comodit{t: t, dir: dir, home: t.TempDir()}
	if err := os.Mkdir(filepath.Join(c.home, ".comodit"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "templates"), filepath.Join(c.home, ".comodit", "templates")); err != nil {
		t.Fatal(err)
	}
	rc := fmt.Sprintf("[client]\ndefault_profile = default\n[default]\napi = %s\nusername = admin\npassword = %s\nvnc_viewer_call = echo viewer of %%%%h:%%%%p\n", s.url, adminPassword)
	for name, text := range map[string]string{".comoditrc": rc, "site.conf": "listen ${port} of ${_host.name};\n", "web.json": webApplication} {
		if err := os.WriteFile(filepath.Join(c.home, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// play runs commands: arguments parted by |; what is printed holds the second text, or is nothing for "".
func (c *comodit) play(commands [][2]string) {
	c.t.Helper()
	for _, e := range commands {
		if out := c.run(strings.Split(e[0], "|")...); !strings.Contains(out, e[1]) || e[1] == "" && strings.TrimSpace(out) != "" {
			c.t.Errorf("comodit %s\nprints %s\nwant   %s", strings.ReplaceAll(e[0], "|", " "), out, e[1])
		}
	}
}
