package main

import (
	"context"
	"encoding/json"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/api/client"
)

func hostCommand(c *cli) *cobra.Command {
	n := noun{
		word: "host", short: "Hosts: what runs on them, and what to do on them now",
		example: "  muster host list -O acme -E Dev\n  muster host install web1 nginx --wait -O acme -E Dev\n" +
			"  muster host run web1 nginx reload --wait\n  muster host render web1 nginx nginx.conf",
		rows: "hosts", level: "environment", id: "host",
		fields: withDescription(field1{"install", "applications", "application to install; may be repeated (create only)", true},
			field1{"platform", "platform", "its platform (create only)", false}, field1{"distribution", "distribution", "its distribution (create only)", false},
			field1{"move-to", "environment", "another environment to move it to (update only)", false}),
		cols: columns("NAME", "name", "STATE", "state", "APPLICATIONS", "applications", "DESCRIPTION", "description"),
	}
	cmd := n.command(c, "list", "show", "create", "update", "delete")
	cmd.AddCommand(c.verb("clone HOST", "Copy one; the server names the copy", exactly("HOST"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			p, err := c.params("environment")
			if err != nil {
				return err
			}
			var doc json.RawMessage
			if err := cl.Call(ctx, client.Op{Name: "hosts.clone", Params: with(p, "host", args[0])}, &doc); err != nil {
				return err
			}
			return c.printOne(cmd.OutOrStdout(), doc, n.cols)
		}))
	cmd.AddCommand(hostApplications(c)...)
	cmd.AddCommand(hostActions(c)...)
	cmd.AddCommand(hostMachine(c)...)
	cmd.AddCommand(c.onHost("forget HOST", "Drop the record of a host's machine and leave the machine alone", []string{"HOST"},
		func(p map[string]string, _ []string) client.Op {
			return client.Op{Name: "host.instance.forget", Params: p}
		}))
	cmd.AddCommand(hostRender(c), hostInstance(c), hostContexts(c), hostAttachment(c, "platform"), hostAttachment(c, "distribution"))
	cmd.AddCommand(linkCommand(c, "link HOST APPLICATION FILE", []string{"HOST", "APPLICATION", "FILE"}, "host.applications.files.link.show",
		func(p map[string]string, args []string) { p["app"], p["file"] = args[1], args[2] }))
	cmd.AddCommand(hostMore(c)...)
	return c.scoped(cmd, "environment")
}

func hostApplications(c *cli) []*cobra.Command {
	var file string
	install := c.verb("install HOST APPLICATION", "Install an application on a host", exactly("HOST", "APPLICATION"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			c.host = args[0]
			p, err := c.params("host")
			if err != nil {
				return err
			}
			doc := map[string]any{}
			if file != "" {
				if doc, err = readDocument(file, cmd.InOrStdin()); err != nil {
					return err
				}
			}
			doc["application"] = args[1]
			after, host, err := c.before(ctx, cl, p)
			if err != nil {
				return err
			}
			if err := cl.Call(ctx, client.Op{Name: "host.applications.create", Params: p, Body: doc}, nil); err != nil {
				return err
			}
			return c.follow(ctx, cl, cmd, host, after)
		})
	install.Flags().StringVarP(&file, "file", "f", "", "document of the context (settings, services) in JSON or YAML")
	c.waiting(install)
	uninstall := c.onHost("uninstall HOST APPLICATION", "Uninstall an application from a host", []string{"HOST", "APPLICATION"},
		func(p map[string]string, args []string) client.Op {
			return client.Op{Name: "host.applications.delete", Params: with(p, "app", args[1])}
		})
	return []*cobra.Command{install, uninstall}
}

// hostActions are the live actions (contract section 2.1).
func hostActions(c *cli) []*cobra.Command {
	cmds := []*cobra.Command{c.onHost("run HOST APPLICATION HANDLER", "Run a handler of an application", []string{"HOST", "APPLICATION", "HANDLER"},
		func(p map[string]string, args []string) client.Op {
			return client.Op{Name: "host.applications.handler.run", Params: with(with(p, "app", args[1]), "handler", args[2])}
		})}
	for _, a := range []struct{ verb, row, param, arg, short string }{
		{"update-file", "files.update", "file", "FILE", "Write a file again"},
		{"restart-service", "services.restart", "svc", "SERVICE", "Restart a service"},
		{"update-service", "services.update", "svc", "SERVICE", "Bring a service into the described state"},
		{"enable-service", "services.enable", "svc", "SERVICE", "Enable a service, and start it"},
		{"disable-service", "services.disable", "svc", "SERVICE", "Disable a service, and stop it"},
	} {
		cmds = append(cmds, c.onHost(a.verb+" HOST APPLICATION "+a.arg, a.short, []string{"HOST", "APPLICATION", a.arg},
			func(p map[string]string, args []string) client.Op {
				return client.Op{Name: "host.applications." + a.row, Params: with(with(p, "app", args[1]), a.param, args[2])}
			}))
	}
	for _, verb := range []string{"install", "update"} {
		var release string
		cmd := c.onHost(verb+"-package HOST APPLICATION PACKAGE", "Make a package "+verb+"ed", []string{"HOST", "APPLICATION", "PACKAGE"},
			func(p map[string]string, args []string) client.Op {
				q := url.Values{}
				if release != "" {
					q.Set("release", release)
				}
				return client.Op{Name: "host.applications.packages." + verb, Params: with(with(p, "app", args[1]), "pkg", args[2]), Query: q}
			})
		cmd.Short = map[string]string{"install": "Install a package", "update": "Bring a package to its newest version"}[verb]
		cmd.Flags().StringVar(&release, "release", "", "version of the package")
		cmds = append(cmds, cmd)
	}
	return cmds
}

func hostRender(c *cli) *cobra.Command {
	return c.verb("render HOST APPLICATION FILE", "Print a file as it is written on the host", exactly("HOST", "APPLICATION", "FILE"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			c.host = args[0]
			p, err := c.params("host")
			if err != nil {
				return err
			}
			var b []byte
			op := client.Op{Name: "host.applications.files.show", Params: with(with(p, "app", args[1]), "file", args[2])}
			if err := cl.Call(ctx, op, &b); err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(b)
			return err
		})
}

func hostInstance(c *cli) *cobra.Command {
	return c.verb("instance HOST", "Show the machine of a host", exactly("HOST"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			c.host = args[0]
			p, err := c.params("host")
			if err != nil {
				return err
			}
			var doc json.RawMessage
			if err := cl.Call(ctx, client.Op{Name: "host.instance.show", Params: p}, &doc); err != nil {
				return err
			}
			return c.printOne(cmd.OutOrStdout(), doc, columns("HOST", "host", "STATE", "state", "AGENT", "synapseState", "HOSTNAME", "hostname", "WAITS", "waiting", "ERROR", "error"))
		})
}

func hostContexts(c *cli) *cobra.Command {
	return c.verb("applications HOST", "List the applications on a host", exactly("HOST"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			c.host = args[0]
			p, err := c.params("host")
			if err != nil {
				return err
			}
			items, err := client.List[json.RawMessage](ctx, cl, client.Op{Name: "host.applications.list", Params: p})
			if err != nil {
				return err
			}
			return c.printList(cmd.OutOrStdout(), items, columns("APPLICATION", "application", "SETTINGS", "settings"))
		})
}
