// Command muster is the orchestrator and its client: `muster server` runs a node, `muster dev` a whole
// installation to try things out, and every other command talks to the REST API.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set when the program is built.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// execute is the whole program but for the process around it; it gives the exit status.
func execute(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := rootCommand(os.Getenv)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var printed *printedError
	if err != nil && !errors.As(err, &printed) && !errors.Is(err, errDifferences) {
		fmt.Fprintln(stderr, "muster: "+oneLine(err.Error()))
	}
	return exitCode(err)
}

func rootCommand(getenv func(string) string) *cobra.Command {
	root := &cobra.Command{
		Use:   "muster",
		Short: "keep machines in the state that their owners described",
		Long: `Muster keeps machines in the state that their owners described.

  Try it out:      muster dev                      (one process; prints what to type next)
  Run a node:      muster server --help
  Use one:         muster login --api http://HOST:8000/api --user NAME
                   muster host list --organization ORGANIZATION --environment ENVIRONMENT`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q: see muster --help", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return typeFirst(cmd.OutOrStdout(), getenv) },
	}
	root.SetVersionTemplate("muster {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.AddCommand(serverCommand(), devCommand())
	root.AddCommand(newNouns(getenv)...)
	root.AddCommand(helpTopics()...)
	sorted(root)
	refuseUnknown(root)
	addCompletion(root, getenv)
	addExamples(root)
	return root
}
