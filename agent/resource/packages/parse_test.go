package packages

import (
	"slices"
	"strings"
	"testing"
)

func TestParseStatus(t *testing.T) {
	for text, want := range map[string]status{
		"installed\t1.0\tamd64\n":                            {"installed", "1.0", "amd64"},
		"not-installed\t\tarm64\ninstalled\t1\tamd64\n":      {"installed", "1", "amd64"},
		"installed\t1\tamd64\nconfig-files\t2\ti386\n":       {"installed", "1", "amd64"},
		"config-files\t2\ti386\n":                            {"config-files", "2", "i386"},
		"half-configured\t2\ti386\nnot-installed\t\tamd64\n": {"half-configured", "2", "i386"},
		"":          {word: "not-installed"},
		"rubbish\n": {word: "not-installed"},
	} {
		if got := parseStatus(text); got != want {
			t.Errorf("parseStatus(%q) = %+v, want %+v", text, got, want)
		}
	}
}

func TestParseCandidateAndMadison(t *testing.T) {
	if v := parseCandidate("x:\n  Installed: (none)\n  Candidate: 1:2.0-3\n  Version table:\n"); v != "1:2.0-3" {
		t.Error(v)
	}
	for _, none := range []string{"", "N: Unable to locate package x\n", "x:\n  Candidate: (none)\n"} {
		if v := parseCandidate(none); v != "" {
			t.Errorf("parseCandidate(%q) = %q", none, v)
		}
	}
	if got := parseMadison(" x | 2 | a\n x | 1 | a\n x | 2 | b\nrubbish\n"); !slices.Equal(got, []string{"2", "1"}) {
		t.Error(got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("installed\t1\tamd64\n x | 2 | a\n  Candidate: 1\n")
	f.Add("\t\t\n|||\n")
	f.Fuzz(func(t *testing.T, text string) {
		if s := parseStatus(text); s.word == "" && !strings.Contains(text, "\t\t") && !strings.Contains(text, "\t") {
			t.Errorf("no word from %q", text)
		}
		for _, v := range append(parseMadison(text), parseCandidate(text)) {
			if v != strings.TrimSpace(v) || strings.Contains(v, "\n") {
				t.Errorf("version %q from %q", v, text)
			}
		}
	})
}

func FuzzWant(f *testing.F) {
	f.Add("nginx", []byte(`{"ensure":"present","version":"1.0"}`))
	f.Add("-o", []byte(`{"ensure":"latest"}`))
	f.Fuzz(func(t *testing.T, id string, want []byte) {
		w, err := parse(id, want)
		if err != nil {
			return
		}
		// What is let through is one word that apt takes for nothing but a package.
		if word := id + "=" + w.Version; strings.ContainsAny(word, " \t\n/*?;&|$`'\"\\") || id[0] == '-' || id[len(id)-1] == '-' {
			t.Errorf("%q was let through", word)
		}
	})
}
