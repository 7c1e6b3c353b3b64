package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/template"
)

// templatePreviewCommand is `muster template preview`.
func templatePreviewCommand(c *cli) *cobra.Command {
	var file, app string
	var opts template.Options
	cmd := c.verb("preview --host HOST --template FILE [--application NAME] [--start S --end E]", "Render a template with the settings of a host", noArgs,
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usagef("which template? give --template FILE, or - for standard input")
			}
			p, err := c.params("host")
			if err != nil {
				return err
			}
			src, err := readLimited(cmd.InOrStdin(), file, template.MaxTemplateBytes)
			if err != nil {
				return err
			}
			doc := spec.Preview{Template: string(src), Application: app}
			if opts.Start != "" || opts.End != "" {
				doc.Delimiter = &model.Delimiter{Start: opts.Start, End: opts.End}
			}
			var out []byte
			if err := cl.Call(ctx, client.Op{Name: "host.preview", Params: p, Body: doc}, &out); err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(out)
			return err
		})
	cmd.Long = "Render a template on the server, with the settings that hold for a host, or for an application on it.\n" +
		"Nothing is written. Who may not see secrets gets ******** in their place."
	cmd.Example = "  muster template preview --host web1 --template nginx.conf --application nginx"
	f := cmd.Flags()
	f.StringVar(&c.host, "host", "", "host whose settings count")
	f.StringVar(&app, "application", "", "application on the host whose settings count")
	f.StringVar(&file, "template", "", "the template, or - for standard input")
	f.StringVar(&opts.Start, "start", "", "what opens an interpolation (default ${)")
	f.StringVar(&opts.End, "end", "", "what closes it (default })")
	return c.scoped(cmd, "environment")
}
