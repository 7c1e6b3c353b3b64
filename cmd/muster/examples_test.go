package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Every command shows how it is typed, and what it shows can be typed so.
func TestEveryCommandHasAnExample(t *testing.T) {
	root := rootCommand(func(string) string { return "" })
	var walk func(cmd *cobra.Command)
	n := 0
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
		if cmd.HasSubCommands() || !cmd.Runnable() || cmd.Name() == "help" {
			return
		}
		n++
		if cmd.Example == "" {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
		for line := range strings.Lines(cmd.Example) {
			for _, end := range []string{"#", " > ", " | ", " || ", " && ", " 3< ", "..."} {
				line, _, _ = strings.Cut(line, end)
			}
			if strings.HasPrefix(strings.TrimSpace(line), "muster ") {
				typable(t, cmd, strings.TrimSpace(line))
			}
		}
	}
	walk(root)
	if n < 200 {
		t.Errorf("only %d commands were looked at", n)
	}
}

// typable looks whether a line is one of a command, with flags and arguments that it takes.
func typable(t *testing.T, of *cobra.Command, line string) {
	t.Helper()
	root := rootCommand(func(string) string { return "" })
	cmd, rest, err := root.Find(words(line)[1:])
	if err == nil {
		err = cmd.ParseFlags(rest)
	}
	if err == nil {
		err = cmd.ValidateArgs(cmd.Flags().Args())
	}
	if err != nil {
		t.Errorf("%s shows %q: %v", of.CommandPath(), line, err)
	}
}

// words parts a line as a shell does, as far as quotes ' go.
func words(line string) []string {
	const space = "\x00" // within quotes
	parts := strings.Split(line, "'")
	for i := 1; i < len(parts); i += 2 {
		parts[i] = strings.ReplaceAll(parts[i], " ", space)
	}
	out := strings.Fields(strings.Join(parts, ""))
	for i := range out {
		out[i] = strings.ReplaceAll(out[i], space, " ")
	}
	return out
}
