package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// editor makes a script the editor: it is run with the file's name.
func (sh *shell) editor(script string) {
	sh.t.Helper()
	sh.env["EDITOR"] = "sh " + sh.file("editor", script)
}

func TestEdit(t *testing.T) {
	sh := newShell(t).furnish()
	t.Setenv("TMPDIR", sh.dir)
	seen := filepath.Join(sh.dir, "seen")
	sh.editor(`cat "$1" >> ` + seen + `; sed -i 's/^description: x$/description: edited/' "$1"`)
	if got := sh.ok("environment edit Dev -o name"); got != "Dev\n" {
		t.Errorf("edit prints %q", got)
	}
	if got := sh.ok("environment show Dev"); !strings.Contains(got, "edited") {
		t.Errorf("afterwards: %s", got)
	}
	b, err := os.ReadFile(seen)
	if err != nil || !strings.HasPrefix(string(b), "# environment Dev\n") || !strings.Contains(string(b), "name: Dev\n") || strings.Contains(string(b), "uuid") {
		t.Errorf("the editor gets %v:\n%s", err, b)
	}
	before := sh.db.Local().Index()
	for script, want := range map[string]string{"true": "nothing was changed", `: > "$1"`: "nothing was changed"} {
		sh.editor(script)
		if _, errs, code := sh.run("environment edit Dev"); code != exitDone || !strings.Contains(errs, want) {
			t.Errorf("%s: %d %s", script, code, errs)
		}
	}
	if now := sh.db.Local().Index(); now != before {
		t.Error("something was written")
	}
	// A text that is wrong comes back with the reason, then it is taken.
	sh.editor(`if grep -q "was not taken" "$1"; then grep -A1 "was not taken" "$1" >> ` + seen + `2; sed -i 's/^oops$/description: mended/; s/^name: .*/name: Dev/' "$1"
else sed -i 's/^description: .*/oops/' "$1"; fi`)
	sh.ok("environment edit Dev")
	if got := sh.ok("environment show Dev"); !strings.Contains(got, "mended") {
		t.Errorf("mended: %s", got)
	}
	// So does one that the server refuses; left as it is, the edit is given up.
	sh.editor(`grep -q "was not taken" "$1" || sed -i 's/^name: .*/name: a\/b/' "$1"`)
	_, errs, code := sh.run("environment edit Dev")
	if code != exitFailed || !strings.Contains(errs, "contains /") || !strings.Contains(errs, "your text is kept in ") {
		t.Errorf("given up: %d %s", code, errs)
	}
	kept, err := filepath.Glob(filepath.Join(sh.dir, "muster-edit-*"))
	if err != nil || len(kept) != 1 {
		t.Errorf("folders that are left: %q %v", kept, err)
	}
	if info, err := os.Stat(filepath.Join(kept[0], "document.yaml")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the text is kept as %v, %v", info, err)
	}
	sh.editor("exit 3")
	if _, errs, code := sh.run("environment edit Dev"); code != exitFailed || !strings.Contains(errs, "set EDITOR") {
		t.Errorf("an editor that fails: %d %s", code, errs)
	}
	// Names in the address of the file, and in the shell's line, do no harm.
	sh.editor("true")
	if _, _, code := sh.runArgs("environment", "edit", "$(touch "+seen+"3);#"); code != exitFailed {
		t.Errorf("no such environment: %d", code)
	}
}

// Who edits what somebody else changes meanwhile loses nothing: neither change is written over.
func TestEditOfWhatChanges(t *testing.T) {
	sh := newShell(t).furnish()
	t.Setenv("TMPDIR", sh.dir)
	gate := filepath.Join(sh.dir, "gate")
	sh.editor(`touch ` + gate + `; while [ -e ` + gate + ` ]; do sleep 0.05; done; sed -i 's/^description: .*/description: mine/' "$1"`)
	type result struct {
		errs string
		code int
	}
	done := make(chan result, 1)
	go func() {
		_, errs, code := sh.run("environment edit Dev")
		done <- result{errs, code}
	}()
	eventually(t, "the editor runs", func() bool { _, err := os.Stat(gate); return err == nil })
	sh.ok("environment update Dev --description theirs")
	if err := os.Remove(gate); err != nil {
		t.Fatal(err)
	}
	if r := <-done; r.code != exitConflict || !strings.Contains(r.errs, "has changed") || !strings.Contains(r.errs, "your text is kept") {
		t.Errorf("%d %s", r.code, r.errs)
	}
	if got := sh.ok("environment show Dev"); !strings.Contains(got, "theirs") {
		t.Errorf("afterwards: %s", got)
	}
}

func TestDecodeYAML(t *testing.T) {
	for text, want := range map[string]string{
		"a: 9007199254740993\nb: 1.50\nc: 0x10\nd: 644\n":    `{"a":9007199254740993,"b":1.50,"c":16,"d":644}`,
		"z: 1\na: [x, null, true, ~]\n":                      `{"z":1,"a":["x",null,true,null]}`,
		"on: [a]\nyes: no\nmode: '0644'\nwhen: 2020-01-01\n": `{"on":["a"],"yes":"no","mode":"0644","when":"2020-01-01"}`,
		"base: &b {x: 1, y: 2}\nd: {<<: *b, y: 3}\ne: *b\n":  `{"base":{"x":1,"y":2},"d":{"y":3,"x":1},"e":{"x":1,"y":2}}`,
		"": `null`,
	} {
		v, err := decodeYAML([]byte(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if b, err := json.Marshal(v); err != nil || string(b) != want {
			t.Errorf("%q: %s, %v; want %s", text, b, err, want)
		}
	}
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += string(c) + ": &" + string(c) + " [" + strings.TrimSuffix(strings.Repeat("*"+string(c-1)+",", 10), ",") + "]\n"
	}
	for text, want := range map[string]string{
		"a: 1\na: 2\n": `line 2: the key "a" is there twice`,
		"a: [":         "line 1",
		"? [x]\n: 1\n": "line 1: a key must be a text",
		"a: .inf\n":    "line 1: .inf is no number",
		bomb:           "too large",
	} {
		if _, err := decodeYAML([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30q: %v, want %s", text, err, want)
		}
	}
}

func FuzzDecodeYAML(f *testing.F) {
	for _, s := range []string{"a: 1", "a: &x [1]\nb: *x", "<<: {a: 1}", "- 1e5\n- .nan", "a: !!binary aGk=", "? {}\n: 1"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := decodeYAML(text)
		if err != nil {
			return
		}
		if _, err := json.Marshal(v); err != nil {
			t.Errorf("%q became what is no JSON: %v", text, err)
		}
	})
}
