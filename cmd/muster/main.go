// Command muster is the orchestrator and its client: `muster server`, `muster dev`, and a command for each
// noun of the API.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := rootCommand()
	err := root.ExecuteContext(ctx)
	var printed *printedError
	if err != nil && !errors.As(err, &printed) {
		fmt.Fprintln(os.Stderr, "muster: "+oneLine(err.Error()))
	}
	stop()
	os.Exit(exitCode(err)) //nolint:gocritic // stop has run
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use: "muster", Short: "Describe machines; an orchestrator and its agents make the description true",
		SilenceUsage: true, SilenceErrors: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q: see muster --help", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.AddCommand(nounCommands()...)
	root.AddCommand(templateCommand())
	return root
}
