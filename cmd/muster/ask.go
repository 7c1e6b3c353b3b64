package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// errGivenUp is that of a question which Ctrl-C or SIGTERM answered.
var errGivenUp = errors.New("given up, and nothing was done")

// askPassword asks for a user's password; there must be one.
func askPassword(ctx context.Context, in io.Reader, prompt io.Writer, user string) (string, error) {
	line, err := askSecret(ctx, in, prompt, "Password of "+user)
	if err == nil && line == "" {
		err = usagef("there is no password on standard input: type it, or give --password-file")
	}
	return line, err
}

// askSecret asks without showing what is typed, or reads the first line of what is not a terminal. It gives up when ctx
// ends; since a read cannot be ended, the process is to end then.
func askSecret(ctx context.Context, in io.Reader, prompt io.Writer, what string) (string, error) {
	type answer struct {
		b   []byte
		err error
	}
	read, leave := func() ([]byte, error) { return io.ReadAll(io.LimitReader(in, 4096)) }, func() {}
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		before, err := term.GetState(int(f.Fd()))
		if err != nil {
			return "", fmt.Errorf("look at the terminal: %w", err)
		}
		fmt.Fprintf(prompt, "%s: ", what)
		defer fmt.Fprintln(prompt)
		read, leave = func() ([]byte, error) { return term.ReadPassword(int(f.Fd())) }, func() { _ = term.Restore(int(f.Fd()), before) }
	}
	got := make(chan answer, 1)
	go func() {
		b, err := read()
		got <- answer{b, err}
	}()
	select {
	case <-ctx.Done():
		leave()
		return "", errGivenUp
	case a := <-got:
		if a.err != nil {
			return "", fmt.Errorf("read from standard input: %w", a.err)
		}
		line, _, _ := strings.Cut(string(a.b), "\n")
		return strings.TrimSuffix(line, "\r"), nil
	}
}
