// Command muster-agent makes one machine be as the orchestrator described it. Wiring only: the work is
// done by package agent and its collections.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/muster-hq/muster/agent"
)

// version is set by the build: -ldflags "-X main.version=1.2.3".
var version string

// The exit codes.
const (
	exitOK      = 0
	exitFailed  = 1 // it was tried and did not work; the text is on stderr
	exitUsage   = 2 // the command line is wrong
	exitRefused = 1 // the organization refused the enrolment
)

const usage = `muster-agent keeps this machine as your Muster orchestrator describes it.

Usage:
  muster-agent run --bus URL [--bus URL ...] --token-file FILE --state DIR
      Become a member with an enrolment token, then work until stopped. After the
      first time the token is not needed: the state directory says who this is.
  muster-agent status --state DIR [-o table|json]
      Tell who this machine is and what it still has to do or to tell.
  muster-agent version
      Print the version.

"muster-agent COMMAND --help" explains the flags of a command.

A first start, as root:
  muster-agent run --bus amqps://muster.example.com:5671 \
      --token-file /root/web.token --state /var/lib/muster-agent

A trial without root, confined to a folder:
  muster-agent run --bus amqps://127.0.0.1:5671 --token-file t --state ./s --root ./machine

Exit status: 0 stopped as asked; 1 failed, with the reason on standard error; 2 wrong usage.
`

func main() {
	os.Exit(command(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// command runs one subcommand and returns the exit status.
func command(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return exitUsage
	}
	var err error
	switch args[0] {
	case "run":
		err = runCommand(ctx, args[1:], stderr)
	case "status":
		err = statusCommand(args[1:], stdout, stderr)
	case "version", "--version", "-version":
		fmt.Fprintln(stdout, "muster-agent", versionText())
	case "help", "--help", "-help", "-h":
		fmt.Fprint(stdout, usage)
	default:
		err = usageError(fmt.Sprintf("unknown command %q; the commands are run, status, version", args[0]))
	}
	return exitCode(err, stderr)
}

// usageError is a mistake on the command line. An empty one was told by the flag package already.
type usageError string

func (e usageError) Error() string { return string(e) }

// errHelp ends a command that only explained itself.
var errHelp = errors.New("help was asked for")

func exitCode(err error, stderr io.Writer) int {
	var wrong usageError
	var refused *agent.RefusedError
	switch {
	case err == nil, errors.Is(err, errHelp):
		return exitOK
	case errors.As(err, &wrong):
		if wrong != "" {
			fmt.Fprintln(stderr, "muster-agent:", string(wrong))
			fmt.Fprintln(stderr, `Run "muster-agent --help" for help.`)
		}
		return exitUsage
	case errors.As(err, &refused):
		fmt.Fprintln(stderr, "muster-agent:", refused.Error())
		return exitRefused
	default:
		fmt.Fprintln(stderr, "muster-agent:", err)
		return exitFailed
	}
}

// versionText is what the build says, or the commit that it was built from.
func versionText() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}
