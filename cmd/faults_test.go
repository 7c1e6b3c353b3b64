package cmd_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestFaultsNameTests: each test that docs/faults.md names is there, and each row of its table names one. A name that ends in dots
// stands for all that begin so.
func TestFaultsNameTests(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "docs", "faults.md"))
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	head := regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range head.FindAllStringSubmatch(string(b), -1) {
			there[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`\bTest[A-Z]\w*(\.\.\.)?`)
	seen := 0
	for _, line := range strings.Split(string(doc), "\n") {
		names := name.FindAllString(line, -1)
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| fault") && !strings.HasPrefix(line, "| what") && !strings.HasPrefix(line, "| variable") &&
			!strings.HasPrefix(line, "| `MUSTER_") && len(names) == 0 {
			t.Errorf("no test is named in %q", line)
		}
		for _, n := range names {
			seen++
			found := there[n]
			if begin, many := strings.CutSuffix(n, "..."); many {
				for have := range there {
					found = found || strings.HasPrefix(have, begin)
				}
			}
			if !found {
				t.Errorf("docs/faults.md names %s, which is nowhere", n)
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d names were found", seen)
	}
}
