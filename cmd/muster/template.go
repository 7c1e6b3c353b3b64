package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/fsm/template"
)

// printedError is an error whose text has been written to stderr as it must stand there.
type printedError struct{ err error }

func (e *printedError) Error() string { return e.err.Error() }
func (e *printedError) Unwrap() error { return e.err }

// templateCommand is `muster template render`, which needs no server, and `preview`, which does.
func templateCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "template", Short: "Try a template, without a server or for a host",
		Example: "  muster template render --template nginx.conf --data settings.json\n  muster template preview --host web1 --template nginx.conf",
	}
	cmd.AddCommand(templateRenderCommand(), templatePreviewCommand(c))
	return cmd
}

func templateRenderCommand() *cobra.Command {
	var file, data string
	var opts template.Options
	cmd := &cobra.Command{
		Use:   "render --template FILE --data FILE [--start S --end E]",
		Short: "Render a template with the settings of a JSON file",
		Long: "Render a FreeMarker template with the settings of a JSON file, an object of name: value.\n" +
			"The text goes to standard output with nothing added. If the template or the data is wrong, nothing is\n" +
			"written there; the error goes to standard error as \"line N, column N: ...\", and the status is 1.\n" +
			"One of the files may be - for standard input.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("template render takes flags only: --template FILE --data FILE")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case file == "" || data == "":
				return usagef("give both files: --template FILE --data FILE")
			case file == "-" && data == "-":
				return usagef("only one of --template and --data may be -")
			case cmd.Flags().Changed("start") && opts.Start == "" || cmd.Flags().Changed("end") && opts.End == "":
				return usagef("a delimiter may not be empty: give --start and --end, or neither")
			}
			text, err := renderFiles(cmd.Context(), cmd.InOrStdin(), file, data, opts)
			var wrong *template.Error
			if errors.As(err, &wrong) {
				_, _ = fmt.Fprintln(cmd.ErrOrStderr(), err.Error())
				return &printedError{err}
			}
			if err != nil {
				return err
			}
			_, err = io.WriteString(cmd.OutOrStdout(), text)
			return err
		},
	}
	cmd.Flags().StringVar(&file, "template", "", "the template, or - for standard input")
	cmd.Flags().StringVar(&data, "data", "", "the JSON object of settings, or - for standard input")
	cmd.Flags().StringVar(&opts.Start, "start", "", "what opens an interpolation (default ${)")
	cmd.Flags().StringVar(&opts.End, "end", "", "what closes it (default })")
	return cmd
}

func renderFiles(ctx context.Context, stdin io.Reader, file, data string, opts template.Options) (string, error) {
	src, err := readLimited(stdin, file, template.MaxTemplateBytes)
	if err != nil {
		return "", err
	}
	raw, err := readLimited(stdin, data, template.MaxDataBytes)
	if err != nil {
		return "", err
	}
	t, err := template.Parse(file, string(src), opts)
	if err != nil {
		return "", err
	}
	values, err := template.DecodeJSON(raw)
	if err != nil {
		return "", fmt.Errorf("the data: %w", err)
	}
	return t.Render(ctx, values)
}

// readLimited reads a file, or stdin for "-", and one byte beyond the limit, so that the limit's own error names it.
func readLimited(stdin io.Reader, name string, limit int64) ([]byte, error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, &usageError{err}
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil {
		return nil, &usageError{fmt.Errorf("reading %s: %w", name, err)}
	}
	return raw, nil
}
