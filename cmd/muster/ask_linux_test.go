package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Ctrl-C at the question for a password ends it, and leaves a terminal that shows what is typed.
func TestAskingIsGivenUp(t *testing.T) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatalf("a terminal to test with: %v", err)
	}
	defer master.Close() //nolint:errcheck // nothing was written that counts
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatalf("a terminal to test with: %v", err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatalf("a terminal to test with: %v", err)
	}
	// It is not closed: the read that goes on sets what was the terminal's mode at its end, by the number of the descriptor.
	pipe, open, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close() //nolint:errcheck // as above
	for name, in := range map[string]io.Reader{"a terminal": terminal, "a pipe": pipe} {
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := askSecret(ctx, in, io.Discard, "Password")
			ended <- err
		}()
		if in == terminal {
			awaitEcho(t, terminal, false)
		}
		stop()
		if err := <-ended; !errors.Is(err, errGivenUp) {
			t.Errorf("%s: %v", name, err)
		}
	}
	awaitEcho(t, terminal, true)
}

// awaitEcho waits until a terminal shows what is typed, or no longer does.
func awaitEcho(t *testing.T, terminal *os.File, want bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for {
		state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		if (state.Lflag&unix.ECHO != 0) == want {
			return
		}
		select {
		case <-late:
			t.Fatalf("the terminal shows what is typed: %v", !want)
		case <-tick.C:
		}
	}
}
