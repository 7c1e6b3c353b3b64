package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/internal/ordered"
)

// edit makes the verb that changes one in an editor.
func (n noun) edit(c *cli) *cobra.Command {
	cmd := c.verb("edit "+argName(n.id), "Change one in an editor", exactly(argName(n.id)),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			p, level, err := n.where(c)
			if err != nil {
				return err
			}
			e := &editing{n: n, c: c, cl: cl, cmd: cmd, op: n.op(".update", level, client.Op{Params: with(p, n.id, args[0]), Query: n.query(cmd)}), name: args[0]}
			return e.run(ctx, n.op(".show", level, client.Op{Params: p}))
		})
	cmd.Long = `Change one in an editor: $VISUAL, else $EDITOR, else vi. It gets the document as YAML. When it ends, what it leaves
is sent, unless it is as it was. A text that is wrong, or that the server refuses, is edited again with the reason above it. When
somebody else changed the object meanwhile, nothing is done, the status is 6, and the text is kept in a file.`
	return n.completes(c, cmd)
}

// editing is one edit.
type editing struct {
	n    noun
	c    *cli
	cl   *client.Client
	cmd  *cobra.Command
	op   client.Op // the update
	name string
	path string // of the file that is edited
}

func (e *editing) run(ctx context.Context, show client.Op) error {
	var doc json.RawMessage
	tag, err := e.cl.CallTagged(ctx, show, &doc)
	if err != nil {
		return err
	}
	e.op.IfMatch = tag
	text, err := e.n.editable(doc)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "muster-edit-") // its owner's alone: a document may hold secrets
	if err != nil {
		return fmt.Errorf("make room for the text: %w", err)
	}
	e.path = filepath.Join(dir, "document.yaml")
	err = e.rounds(ctx, text)
	var kept *keptError
	if errors.As(err, &kept) {
		return err
	}
	return errors.Join(err, os.RemoveAll(dir))
}

// keptError is an error after which the text is still in its file.
type keptError struct {
	err  error
	path string
}

func (e *keptError) Error() string { return fmt.Sprintf("%s; your text is kept in %s", e.err, e.path) }
func (e *keptError) Unwrap() error { return e.err }

// rounds lets the text be edited until it is taken, or left as it was.
func (e *editing) rounds(ctx context.Context, text []byte) error {
	was, fault := text, error(nil)
	for {
		now, err := e.editor(ctx, was, fault)
		if err != nil {
			return err
		}
		if bytes.Equal(bytes.TrimSpace(now), bytes.TrimSpace(was)) {
			if fault != nil {
				return &keptError{fault, e.path}
			}
			_, err := fmt.Fprintln(e.cmd.ErrOrStderr(), "nothing was changed")
			return err
		}
		if len(bytes.TrimSpace(now)) == 0 {
			_, err := fmt.Fprintln(e.cmd.ErrOrStderr(), "the text is empty: nothing was changed")
			return err
		}
		var answer json.RawMessage
		if fault = e.send(ctx, now, &answer); fault == nil {
			return e.c.printOne(e.cmd.OutOrStdout(), answer, e.n.cols)
		}
		var plan *client.PlanError
		if errors.As(fault, &plan) {
			return fault
		}
		var usage *usageError
		if !errors.As(fault, &usage) && model.CodeOf(fault) != model.Invalid {
			return &keptError{fault, e.path}
		}
		was = now
	}
}

// send sends the text as the new document.
func (e *editing) send(ctx context.Context, text []byte, answer *json.RawMessage) error {
	v, err := decodeYAML(text)
	if err != nil {
		return &usageError{err}
	}
	doc, ok := v.(*ordered.Object)
	if !ok {
		return usagef("the text must be one object, with a line for each field")
	}
	op := e.op
	op.Body = doc
	return e.cl.Call(ctx, op, answer)
}

// editor lets a person edit the text, below what is wrong with it, and gives what is left without comments at its top.
func (e *editing) editor(ctx context.Context, text []byte, fault error) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s %s\n", e.n.word, oneLine(e.name))
	if fault != nil {
		fmt.Fprintf(&b, "#\n# It was not taken:\n#   %s\n# Mend it, or leave it as it is to give up.\n", oneLine(fault.Error()))
	} else {
		b.WriteString("# Fields that you remove keep their values. Leave the text as it is, or empty, to change nothing.\n")
		if list := e.n.elsewhere(); len(list) > 0 {
			fmt.Fprintf(&b, "# Not here, as they have commands of their own: %s.\n", strings.Join(list, ", "))
		}
	}
	b.WriteString("#\n")
	b.Write(text)
	if err := os.WriteFile(e.path, b.Bytes(), 0o600); err != nil {
		return nil, fmt.Errorf("write the text: %w", err)
	}
	if err := e.start(ctx); err != nil {
		return nil, &keptError{err, e.path}
	}
	now, err := readBounded(e.path, 16<<20)
	if err != nil {
		return nil, err
	}
	for bytes.HasPrefix(now, []byte("#")) {
		_, now, _ = bytes.Cut(now, []byte("\n"))
	}
	return now, nil
}

// start runs the editor on the file, with the terminal.
func (e *editing) start(ctx context.Context) error {
	editor := e.c.getenv("VISUAL")
	if editor == "" {
		editor = e.c.getenv("EDITOR")
	}
	if editor == "" {
		editor = "vi"
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", editor+` "$1"`, "sh", e.path) // it may have arguments, as with git
	if runtime.GOOS == "windows" {
		words := append(strings.Fields(editor), e.path)
		cmd = exec.CommandContext(ctx, words[0], words[1:]...)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = e.cmd.InOrStdin(), e.cmd.OutOrStdout(), e.cmd.ErrOrStderr()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("the editor %q failed: set EDITOR to another one: %w", editor, err)
	}
	return nil
}

// readBounded reads a file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the text: %w", err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = model.Errorf(model.TooLarge, "the text has more than %d bytes", limit)
	}
	return b, err
}

// elsewhere are the fields of a document that only commands of their own change.
func (n noun) elsewhere() []string {
	return map[string][]string{
		"organizations": {"settings", "environments", "groups", "access"}, "environments": {"settings", "hosts"},
		"hosts": {"settings", "applications", "platform", "distribution"}, "applications": {"files", "parameters"},
		"platforms": {"settings", "files", "parameters"}, "distributions": {"settings", "files", "parameters"}, "hostgroups": {"settings"},
	}[n.rows]
}

// editable is the document as YAML, without what the server sets and what an update does not change.
func (n noun) editable(doc json.RawMessage) ([]byte, error) {
	o, err := ordered.DecodeObject(doc)
	if err != nil {
		return nil, fmt.Errorf("reading the document: %w", err)
	}
	fixed := append([]string{"uuid", "version", "organization", "state", "created", "creator", "canPull", "canPush", "publishedAs", "purchasedAs",
		"locked", "token", "accessKey", "secretKey", "lastUsed"}, n.elsewhere()...)
	if n.rows != "applicationkeys" { // elsewhere a token is a field like others
		fixed = slices.DeleteFunc(fixed, func(f string) bool { return f == "token" })
	}
	for _, f := range fixed {
		o.RemoveValueForKey(f)
	}
	b, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("writing the document: %w", err)
	}
	var out bytes.Buffer
	err = (&cli{output: "yaml"}).printDocument(&out, b)
	return out.Bytes(), err
}
