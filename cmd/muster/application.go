package main

import (
	"context"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/api/client"
)

func applicationCommand(c *cli) *cobra.Command {
	n := noun{
		word: "application", short: "Applications: packages, files, services, users and handlers that belong together",
		example: "  muster application create -f nginx.yaml -O acme\n  muster application show nginx -o yaml > nginx.yaml\n" +
			"  muster file upload nginx.conf ./nginx.conf.ftl --application nginx",
		rows: "applications", level: "organization", id: "app", fields: withDescription(),
		cols: columns("NAME", "name", "LOCKED", "locked", "PACKAGES", "packages", "SERVICES", "services", "DESCRIPTION", "description"),
	}
	cmd := n.command(c, "list", "show", "create", "update", "delete")
	cmd.Aliases = []string{"app"}
	cmd.AddCommand(n.clone(c), n.act(c, "lock", "applications.lock", "Refuse changes until it is unlocked"),
		n.act(c, "unlock", "applications.unlock", "Allow changes again"), thumbCommand(c, "application", "app"),
		moduleCommand(c), gitCommand(c))
	return c.scoped(cmd, "organization")
}

func fileCommand(c *cli) *cobra.Command {
	n := noun{
		word: "file", short: "Files of applications, platforms and distributions, and their templates",
		example: "  muster file list --application nginx -O acme\n" +
			"  muster file upload nginx.conf ./nginx.conf.ftl --application nginx\n" +
			"  muster file download nginx.conf - --application nginx\n" +
			"  muster file upload ks.cfg ./ks.cfg --distribution centos",
		rows: "files", id: "file", place: func() (map[string]string, string, error) { return kitPlace(c) },
		fields: []field1{{"path", "path", "where it lies on the machine", false}, {"owner", "owner", "owner", false},
			{"group", "group", "group", false}, {"mode", "mode", "mode in octal, like 644", false}},
		cols: columns("NAME", "name", "PATH", "path", "OWNER", "owner", "GROUP", "group", "MODE", "mode"),
	}
	cmd := n.command(c, "list", "show", "create", "update", "delete")
	cmd.AddCommand(n.completes(c, fileUpload(c)), n.completes(c, fileDownload(c)))
	kitFlags(c, cmd)
	return c.scoped(cmd, "organization")
}

func fileUpload(c *cli) *cobra.Command {
	return c.verb("upload FILE PATH", "Upload a file's template (- reads standard input)", exactly("FILE", "PATH"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			p, level, err := kitPlace(c)
			if err != nil {
				return err
			}
			content, err := readInput(cmd, args[1])
			if err != nil {
				return err
			}
			op := client.Op{Name: "files.content.set", Level: level, Params: with(p, "file", args[0])}
			return cl.Upload(ctx, op, filepath.Base(args[1]), content)
		})
}

func fileDownload(c *cli) *cobra.Command {
	return c.verb("download FILE PATH", "Write a file's template to a path (- writes standard output)", exactly("FILE", "PATH"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			p, level, err := kitPlace(c)
			if err != nil {
				return err
			}
			var b []byte
			op := client.Op{Name: "files.content.show", Level: level, Params: with(p, "file", args[0])}
			if err := cl.Call(ctx, op, &b); err != nil {
				return err
			}
			return writeOutput(cmd, args[1], b)
		})
}

func parameterCommand(c *cli) *cobra.Command {
	n := noun{
		word: "parameter", short: "Parameters of applications, platforms and distributions: the settings they take, with defaults",
		example: "  muster parameter list --application nginx -O acme\n  muster parameter create 'Listen port' -f port.yaml --application nginx",
		rows:    "parameters", id: "param", place: func() (map[string]string, string, error) { return kitPlace(c) },
		fields: withDescription(field1{"key", "key", "key of the setting", false}),
		cols:   columns("NAME", "name", "KEY", "key", "DEFAULT", "value", "DESCRIPTION", "description"),
	}
	cmd := n.command(c, "list", "show", "create", "update", "delete")
	kitFlags(c, cmd)
	return c.scoped(cmd, "organization")
}
