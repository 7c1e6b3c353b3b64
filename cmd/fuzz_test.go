package cmd_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestFuzzTargets compares the table of docs/fuzzing.md with the targets that there are: each target stands in it, for
// what it reads, and each one that it names exists.
func TestFuzzTargets(t *testing.T) {
	there := map[string]bool{}
	target := regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)
	err := filepath.WalkDir("..", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, "_test.go") {
			return err
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel("..", filepath.Dir(file))
		for _, m := range target.FindAllStringSubmatch(string(text), -1) {
			there[path.Join(filepath.ToSlash(dir), m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../docs/fuzzing.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	named := map[string]bool{}
	for line := range strings.Lines(string(doc)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "|") || len(cells) != 3 || strings.HasPrefix(cells[0], "---") || strings.Contains(cells[0], "What is read") {
			continue
		}
		rows++
		of := 0
		for _, group := range strings.Split(cells[2], ";") {
			words := strings.Fields(strings.NewReplacer("`", "", ",", "").Replace(group))
			if len(words) < 2 {
				t.Errorf("%q names no targets: write PACKAGE TARGET, TARGET; PACKAGE ...", group)
				continue
			}
			for _, name := range words[1:] {
				at := path.Join(words[0], name)
				if name == "*" { // all of a package
					for other := range there {
						named[other] = named[other] || path.Dir(other) == words[0]
					}
					of++
					continue
				}
				if named[at] = true; !there[at] {
					t.Errorf("%s: there is no target %s", strings.TrimSpace(cells[0]), at)
				}
				of++
			}
		}
		if of == 0 {
			t.Errorf("nothing is named for %s", cells[0])
		}
	}
	left := []string{}
	for at := range there {
		if !named[at] {
			left = append(left, at)
		}
	}
	if slices.Sort(left); len(left) > 0 || rows < 20 {
		t.Errorf("%d rows; docs/fuzzing.md does not name %s", rows, strings.Join(left, ", "))
	}
}
