package model_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
)

// Names that look alike and are not the same are refused, with the character to remove; what people write in any language is not.
func TestNamesThatNobodyCanTell(t *testing.T) {
	for what, c := range map[string]struct{ name, want string }{
		"right to left":       {"web\u202exe", "U+202E"},
		"isolate":             {"\u2066web\u2069", "U+2066"},
		"Arabic letter mark":  {"web\u061c", "U+061C"},
		"zero width space":    {"we\u200bb", "U+200B"},
		"zero width joiner":   {"we\u200db", "U+200D"},
		"word joiner":         {"we\u2060b", "U+2060"},
		"byte order mark":     {"\ufeffweb", "U+FEFF"},
		"soft hyphen":         {"we\u00adb", "U+00AD"},
		"grapheme joiner":     {"we\u034fb", "U+034F"},
		"Hangul filler":       {"we\u3164b", "U+3164"},
		"variant":             {"web\ufe0f", "U+FE0F"},
		"tag":                 {"web\U000e0041", "U+E0041"},
		"end of line":         {"we\u2028b", "U+2028"},
		"no-break space":      {"we\u00a0b", "ordinary space"},
		"ideographic space":   {"we\u3000b", "ordinary space"},
		"decomposed":          {"cafe\u0301", "composed form"},
		"another sign":        {"\u212b", "composed form"}, // Angstrom's sign is Å
		"C1":                  {"we\u0085b", "control character"},
		"C0":                  {"we\x1bb", "control character"},
		"blank at the end":    {"web ", "white space"},
		"no-break at the end": {"web\u00a0", "white space"},
	} {
		err := model.CheckName("host", c.name)
		if model.CodeOf(err) != model.Invalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", what, err, c.want)
		} else if strings.ContainsFunc(err.Error(), func(r rune) bool { return r == '\u202e' || r == '\u200b' || r == '\u2066' }) {
			t.Errorf("%s: the text itself turns: %q", what, err)
		}
		s := model.Setting{Key: c.name}
		if err := s.Validate(); model.CodeOf(err) != model.Invalid || !strings.Contains(err.Error(), "key ") {
			t.Errorf("%s as a key: %v", what, err)
		}
	}
	for _, name := range []string{"Web 1 (old) [x]", "café", "Größe", "日本 語", "한국어", "Việt Nam", "עברית", "العربية", "हिन्दी", "ไทย", "🐧", "a.b:c@d", "«»", "\u0600"} {
		if err := model.CheckName("host", name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What was stored before is left as it is.
	for _, name := range []string{"web\u202exe", "cafe\u0301", "we\u00a0b"} {
		if err := model.CheckStoredName("host", name); err != nil {
			t.Errorf("stored: %v", err)
		}
	}
	if err := model.CheckStoredName("host", "a/b"); model.CodeOf(err) != model.Invalid {
		t.Errorf("stored: %v", fmt.Sprint(err))
	}
}
