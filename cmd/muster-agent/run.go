package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/muster-hq/muster/agent"
	"github.com/muster-hq/muster/dispatch/wire"
)

// defaultMemory is the soft limit on memory where GOMEMLIMIT does not say another.
const defaultMemory = 48 << 20

// runFlags are the flags of run.
type runFlags struct {
	urls      list
	tokenFile string
	state     string
	root      string
	name      string
	interval  time.Duration
	step      time.Duration
	level     slog.Level
}

// list is a flag that may be repeated.
type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

// parse reads args into fs, which has been set up. Nothing but flags may follow.
func parse(fs *flag.FlagSet, args []string, stderr io.Writer) error {
	fs.SetOutput(stderr)
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return errHelp
	case err != nil:
		return usageError("")
	case fs.NArg() > 0:
		return usageError(fmt.Sprintf("%s takes no argument %q", fs.Name(), fs.Arg(0)))
	}
	return nil
}

func runCommand(ctx context.Context, args []string, stderr io.Writer) error {
	var f runFlags
	fs := flag.NewFlagSet("muster-agent run", flag.ContinueOnError)
	fs.Var(&f.urls, "bus", "`URL` of the bus: amqps://HOST:5671, or amqp:// without TLS; repeat it for more endpoints")
	fs.StringVar(&f.tokenFile, "token-file", "", "`FILE` with the enrolment token; needed until this machine is a member")
	fs.StringVar(&f.state, "state", "/var/lib/muster-agent", "`DIR` of the keys, the journal and the expected resources")
	fs.StringVar(&f.root, "root", "", "`DIR` that the agent is confined to, for demonstrations without root; made when absent")
	fs.StringVar(&f.name, "name", "", "`NAME` of the host to become; the machine's host name when absent")
	fs.DurationVar(&f.interval, "check-interval", agent.DefaultCheckInterval, "how often watched resources are checked besides events")
	fs.DurationVar(&f.step, "step-timeout", agent.DefaultStepTimeout, "how long one step of a change may take")
	fs.TextVar(&f.level, "log-level", slog.LevelInfo, "debug, info, warn or error")
	if err := parse(fs, args, stderr); err != nil {
		return err
	}
	if err := f.check(); err != nil {
		return err
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(defaultMemory)
	}
	log := newLog(stderr, f.level)
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := work(ctx, f, log)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return nil
	}
	return err
}

func (f *runFlags) check() error {
	if len(f.urls) == 0 {
		return usageError("--bus is missing: give the bus's address, for example --bus amqps://muster.example.com:5671")
	}
	if f.state == "" {
		return usageError("--state is empty: name the directory for the agent's keys and journal")
	}
	if f.interval < time.Second || f.step < time.Second {
		return usageError("--check-interval and --step-timeout are at least 1s")
	}
	if f.root == "" {
		return nil
	}
	abs, err := filepath.Abs(f.root)
	if err != nil {
		return fmt.Errorf("--root: %w", err)
	}
	if err := os.MkdirAll(abs, 0o755); err != nil {
		return fmt.Errorf("--root %s is not a directory, and none can be made there: %w", f.root, err)
	}
	f.root = abs
	return nil
}

// newLog writes text to a terminal and JSON to anything else.
func newLog(w io.Writer, level slog.Level) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return slog.New(slog.NewTextHandler(w, o))
	}
	return slog.New(slog.NewJSONHandler(w, o))
}

// work is the whole life of the agent.
func work(ctx context.Context, f runFlags, log *slog.Logger) error {
	state, err := agent.OpenState(f.state)
	if err != nil {
		return err
	}
	defer state.Close()
	if err := enrol(ctx, f, state, log); err != nil {
		return err
	}
	collections, closeCollections, err := collections(f.root, state.Dir)
	if err != nil {
		return err
	}
	defer closeCollections()
	a, err := agent.Open(agent.Options{
		Log: log, State: state.Dir, Identity: *state.Identity, Key: state.Key, Collections: collections,
		Version: versionText(), CheckInterval: f.interval, StepTimeout: f.step,
	})
	if err != nil {
		return err
	}
	log.Info("the agent works", "agent", state.Identity.Agent, "organization", state.Identity.Organization,
		"environment", state.Identity.Environment, "host", state.Identity.Host, "version", versionText())
	err = serve(ctx, f, a, log)
	if c := a.Close(); err == nil {
		err = c
	}
	log.Info("the agent has stopped")
	return err
}

// serve does the work and talks to the bus. When it is told to stop, the work stops first, after the
// step that is being done, then the talk ends with a goodbye.
func serve(ctx context.Context, f runFlags, a *agent.Agent, log *slog.Logger) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	talk, silence := context.WithCancel(context.WithoutCancel(ctx))
	defer silence()
	var wg sync.WaitGroup
	var connectErr error
	wg.Go(func() {
		connectErr = a.Connect(talk, f.state, f.urls)
		cancel()
	})
	err := a.Run(ctx)
	silence()
	wg.Wait()
	if err != nil {
		log.Error("the agent cannot go on", "error", err)
		return err
	}
	return connectErr
}

// enrol makes the machine a member unless it is one.
func enrol(ctx context.Context, f runFlags, state *agent.State, log *slog.Logger) error {
	var token wire.EnrolToken
	if f.tokenFile != "" {
		text, err := os.ReadFile(f.tokenFile)
		switch {
		case err == nil:
			if token, err = wire.ParseEnrolToken(string(text)); err != nil {
				return fmt.Errorf("--token-file %s: %w", f.tokenFile, err)
			}
		case state.Identity == nil:
			return fmt.Errorf("--token-file: %w", err)
		}
	}
	if id := state.Identity; id != nil {
		if token.Key != nil && !token.Key.Equal(id.Key) {
			log.Warn("the token is of another organization than this machine's; it is ignored. To move the machine, stop the agent and name a new state directory",
				"organization", id.Organization, "token", token.Organization)
		}
		return nil
	}
	if f.tokenFile == "" {
		return usageError("this machine is not a member yet: give an enrolment token with --token-file")
	}
	name := f.name
	facts := agent.Facts(f.root)
	if name == "" {
		name = facts["hostname"]
	}
	log.Info("enrolling", "organization", token.Organization, "environment", token.Environment, "name", name)
	return agent.Enrol(ctx, state, agent.EnrolOptions{Log: log, URLs: f.urls, Token: token, Name: name, Facts: facts})
}
