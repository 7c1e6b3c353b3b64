package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// step is a block of the tutorial: commands, and lines that they must print.
type step struct{ commands, want string }

// steps reads the blocks that are marked sh, each with the block marked text that follows it.
func steps(t *testing.T, page string) (out []step) {
	t.Helper()
	block, kind := "", ""
	for _, line := range strings.SplitAfter(page, "\n") {
		mark, fence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case fence && kind == "":
			kind, block = "an example", ""
			if mark != "" {
				kind = mark
			}
		case fence && kind == "sh":
			out, kind = append(out, step{commands: block}), ""
		case fence && kind == "text":
			if len(out) == 0 || out[len(out)-1].want != "" {
				t.Fatalf("this belongs to no commands:\n%s", block)
			}
			out[len(out)-1].want, kind = block, ""
		case fence:
			kind = ""
		default:
			block += line
		}
	}
	return out
}

// The tutorial can be typed as it stands.
func TestTutorial(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/tutorial.md")
	if err != nil {
		t.Fatal(err)
	}
	all := steps(t, string(page))
	if len(all) < 9 {
		t.Fatalf("the tutorial has %d steps: is it read as it is written?", len(all))
	}
	bin := buildMuster(t)
	dir := t.TempDir()
	_, info := startDev(t, filepath.Join(dir, "muster-dev"), "--http", testPorts(t, 1)[0], "--simulate")
	env := append(os.Environ(), "PATH="+filepath.Dir(bin)+":"+os.Getenv("PATH"), "HOME="+dir, "MUSTER_API="+info.API, "MUSTER_USER="+info.Admin.Username,
		"MUSTER_PASSWORD_FILE="+info.Admin.PasswordFile, "MUSTER_ORGANIZATION="+info.Organization, "MUSTER_ENVIRONMENT="+info.Environment)
	for _, s := range all {
		shell := exec.CommandContext(t.Context(), "bash", "-e", "-o", "pipefail", "-c", s.commands)
		shell.Dir, shell.Env = dir, env
		printed, err := shell.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s\nprints\n%s", err, s.commands, printed)
		}
		for _, line := range strings.Split(strings.TrimSpace(s.want), "\n") {
			if !strings.Contains(string(printed), line) {
				t.Errorf("%s\nprints\n%s\nand not %q", s.commands, printed, line)
			}
		}
	}
}
