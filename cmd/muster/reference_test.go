package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

//go:generate go test -count=1 -run TestCommandReferenceIsInSync . -args write

// page is the reference of a command and those below it, in Markdown. The heading is that of a page on its own.
func page(cmd *cobra.Command) string {
	var b strings.Builder
	section(&b, cmd, 1)
	return b.String()
}

func section(b *strings.Builder, cmd *cobra.Command, depth int) {
	fmt.Fprintf(b, "%s %s\n\n%s.\n\n", strings.Repeat("#", min(depth, 4)), cmd.CommandPath(), strings.TrimRight(cmd.Short, "."))
	if cmd.Long != "" && cmd.Long != cmd.Short {
		fmt.Fprintf(b, "%s\n\n", prose(cmd.Long))
	}
	if cmd.Runnable() && !cmd.HasSubCommands() {
		fmt.Fprintf(b, "```\n%s\n```\n\n", cmd.UseLine())
	}
	if cmd.Example != "" {
		fmt.Fprintf(b, "Examples:\n\n```\n%s\n```\n\n", undent(cmd.Example))
	}
	flags := pflag.NewFlagSet("", pflag.ContinueOnError) // all but --help
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" && !f.Hidden {
			flags.AddFlag(f)
		}
	})
	if usages := flags.FlagUsages(); usages != "" {
		fmt.Fprintf(b, "Flags%s:\n\n```\n%s\n```\n\n", map[bool]string{true: ", of all commands below, too"}[cmd.HasSubCommands()], undent(usages))
	}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			section(b, sub, depth+1)
		}
	}
}

// prose is a text of the help: what is indented there stays as it is.
func prose(text string) string {
	var out []string
	code := false
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		indented := strings.HasPrefix(line, "  ")
		if line != "" && indented != code {
			out = append(out, "```")
			code = indented
		}
		out = append(out, line)
	}
	if code {
		out = append(out, "```")
	}
	return strings.ReplaceAll(strings.Join(out, "\n"), "\n\n```\n\n", "\n```\n\n")
}

// undent drops the indent that all lines have.
func undent(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	indent := 80
	for _, l := range lines {
		if strings.TrimSpace(l) != "" {
			indent = min(indent, len(l)-len(strings.TrimLeft(l, " ")))
		}
	}
	for i, l := range lines {
		lines[i] = strings.TrimRight(l[min(indent, len(l)):], " ")
	}
	return strings.Join(lines, "\n")
}

// reference is every file of the reference by its path below docs/reference.
func reference(t *testing.T) map[string]string {
	t.Helper()
	root := rootCommand(func(string) string { return "" })
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	files := map[string]string{}
	var index strings.Builder
	index.WriteString("# muster: the commands\n\nMade from the commands themselves (`go generate ./cmd/muster`). The same as man pages: `docs/reference/man`.\n\n")
	for _, g := range append(root.Groups(), &cobra.Group{Title: "More:"}) {
		fmt.Fprintf(&index, "## %s\n\n", strings.TrimRight(g.Title, ":"))
		for _, cmd := range root.Commands() {
			topic := !cmd.Runnable() && !cmd.HasSubCommands()
			if cmd.GroupID != g.ID || !cmd.IsAvailableCommand() && !topic || cmd.Name() == "help" {
				continue
			}
			text := page(cmd)
			fmt.Fprintf(&index, "* [muster %s](muster-%s.md): %s\n", cmd.Name(), cmd.Name(), cmd.Short)
			files["cli/muster-"+cmd.Name()+".md"] = text
			files["man/muster-"+cmd.Name()+".1"] = man("muster-"+cmd.Name(), cmd.Short, text)
		}
		index.WriteString("\n")
	}
	files["cli/README.md"] = strings.TrimRight(index.String(), "\n") + "\n"
	files["man/muster.1"] = man("muster", root.Short, "# muster\n\n"+prose(root.Long)+"\n\n"+strings.ReplaceAll(index.String(), ".md)", ".1)"))
	return files
}

// man is a page as man wants it. It has no date, so that it is the same whenever it is made.
func man(name, short, text string) string {
	_, body, _ := strings.Cut(text, "\n")
	head := fmt.Sprintf("%% %q \"1\" \"\" \"Muster\" \"Muster\"\n\n# NAME\n\n%s - %s\n\n# DESCRIPTION\n", strings.ToUpper(name), name, short)
	return string(md2man.Render([]byte(head + body)))
}

// TestCommandReferenceIsInSync holds docs/reference against the commands.
func TestCommandReferenceIsInSync(t *testing.T) {
	dir := filepath.Join("..", "..", "docs", "reference")
	files := reference(t)
	if slices.Contains(flag.Args(), "write") {
		for _, sub := range []string{"cli", "man"} {
			if err := os.RemoveAll(filepath.Join(dir, sub)); err != nil {
				t.Fatal(err)
			}
		}
		for name, text := range files {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, text := range files {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Equal(b, []byte(text)) {
			t.Errorf("docs/reference/%s is not what the commands say (%v): run go generate ./cmd/muster", name, err)
		}
	}
	for _, sub := range []string{"cli", "man"} {
		have, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range have {
			if _, ok := files[sub+"/"+e.Name()]; !ok {
				t.Errorf("docs/reference/%s/%s is of no command: run go generate ./cmd/muster", sub, e.Name())
			}
		}
	}
}

// Every command can be found in the reference, with each of its flags.
func TestReferenceIsWhole(t *testing.T) {
	var all strings.Builder
	files := reference(t)
	for name, text := range files {
		if strings.HasPrefix(name, "cli/") {
			all.WriteString(text)
		} else if !strings.Contains(text, ".TH") || strings.Contains(text, "```") {
			t.Errorf("%s is no man page: %.300s", name, text)
		}
	}
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
		if !cmd.HasParent() || !cmd.IsAvailableCommand() || slices.Contains([]string{"help"}, cmd.Name()) {
			return
		}
		if !strings.Contains(all.String(), "# "+cmd.CommandPath()+"\n") {
			t.Errorf("%s is not in the reference", cmd.CommandPath())
		}
	}
	walk(rootCommand(func(string) string { return "" }))
}
