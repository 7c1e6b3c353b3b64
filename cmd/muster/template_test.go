package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// buildMuster builds the command once for a test.
func buildMuster(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "muster")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

func TestTemplateRenderBuilt(t *testing.T) {
	t.Parallel()
	bin := buildMuster(t)
	dir := t.TempDir()
	put := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := put("good", "port=${port}\n<#list l as x>${x};</#list>")
	marked := put("marked", "##port## ${HOME}\n")
	bad := put("bad", "a\nb\n  ${nope}\n")
	data := put("data", `{"port": 3306, "l": ["a", "b"]}`)
	noJSON := put("nojson", "{\n \"a\": hunter2}")
	cases := []struct {
		name, stdin string
		args        []string
		out, errs   string
		status      int
	}{
		{"text", "", []string{"--template", good, "--data", data}, "port=3306\na;b;", "", 0},
		{"marks", "", []string{"--template", marked, "--data", data, "--start", "##", "--end", "##"}, "3306 ${HOME}\n", "", 0},
		{"template on stdin", "${port}", []string{"--template", "-", "--data", data}, "3306", "", 0},
		{"data on stdin", `{"port": 1, "l": []}`, []string{"--template", good, "--data", "-"}, "port=1\n", "", 0},
		{"missing", "", []string{"--template", bad, "--data", data}, "", "line 3, column 5: the variable nope is missing", 1},
		{"syntax", "${x", []string{"--template", "-", "--data", data}, "", "line 1, column 3: ", 1},
		{"data is no JSON", "", []string{"--template", good, "--data", noJSON}, "", "line 2, column 7: ", 1},
		{"data is a list", "[]", []string{"--template", good, "--data", "-"}, "", "must be a JSON object", 1},
		{"one mark", "", []string{"--template", good, "--data", data, "--start", "##"}, "", "both delimiters", 1},
		{"mark like a tag", "", []string{"--template", good, "--data", data, "--start", "<#x", "--end", ">"}, "", "may not begin with", 1},
		{"empty mark", "", []string{"--template", good, "--data", data, "--start", "", "--end", "}"}, "", "may not be empty", 64},
		{"no data", "", []string{"--template", good}, "", "--data", 64},
		{"both on stdin", "", []string{"--template", "-", "--data", "-"}, "", "only one", 64},
		{"absent file", "", []string{"--template", good + ".absent", "--data", data}, "", "no such file", 64},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.Command(bin, append([]string{"template", "render"}, c.args...)...)
			cmd.Stdin = strings.NewReader(c.stdin)
			var out, errs bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errs
			err := cmd.Run()
			status := 0
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				status = exit.ExitCode()
			} else if err != nil {
				t.Fatal(err)
			}
			if status != c.status || out.String() != c.out || !strings.Contains(errs.String(), c.errs) {
				t.Errorf("status %d, stdout %q, stderr %q; want %d, %q, %q", status, out.String(), errs.String(), c.status, c.out, c.errs)
			}
			if c.status == 1 && strings.Count(errs.String(), "\n") != 1 {
				t.Errorf("stderr %q is not one line", errs.String())
			}
			if c.status == 0 && errs.Len() > 0 {
				t.Errorf("stderr %q on success", errs.String())
			}
			if strings.HasPrefix(c.errs, "line") && c.name != "data is no JSON" && !strings.HasPrefix(errs.String(), "line ") {
				t.Errorf("stderr %q does not begin with the line", errs.String())
			}
			if strings.Contains(errs.String(), "hunter2") {
				t.Errorf("stderr quotes a value: %q", errs.String())
			}
		})
	}
}
