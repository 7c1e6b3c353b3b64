package main

import (
	"context"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/api/client"
)

// kitFlags add the flags that name what files and parameters belong to.
func kitFlags(c *cli, cmd *cobra.Command) {
	f := cmd.PersistentFlags()
	f.StringVar(&c.application, "application", "", "application that it belongs to")
	f.StringVar(&c.platform, "platform", "", "platform that it belongs to")
	f.StringVar(&c.distribution, "distribution", "", "distribution that it belongs to")
}

// kitPlace is the application, platform or distribution that a flag names.
func kitPlace(c *cli) (params map[string]string, level string, err error) {
	named := 0
	id, name := "", ""
	for _, f := range [][3]string{{"application", "app", c.application}, {"platform", "plat", c.platform}, {"distribution", "dist", c.distribution}} {
		if f[2] != "" {
			named++
			level, id, name = f[0], f[1], f[2]
		}
	}
	if named != 1 {
		return nil, "", usagef("whose? give one of --application, --platform and --distribution")
	}
	p, err := c.params("organization")
	p, err = with1(p, err, id, name)
	return p, level, err
}

// writeOutput writes to a path, or to standard output for -.
func writeOutput(cmd *cobra.Command, path string, b []byte) error {
	if path == "-" {
		_, err := cmd.OutOrStdout().Write(b)
		return err
	}
	return os.WriteFile(path, b, 0o600)
}

// with1 adds one value to params that may not be there because of an error.
func with1(p map[string]string, err error, key, value string) (map[string]string, error) {
	if err != nil {
		return nil, err
	}
	return with(p, key, value), nil
}

func platformCommand(c *cli) *cobra.Command {
	n := noun{
		word: "platform", short: "Platforms: where machines can be made, with driver, settings, parameters and files",
		example: "  muster platform create cloud -f cloud.yaml -O acme\n  muster setting set zone eu-1 --platform cloud -O acme\n" +
			"  muster file upload boot.ipxe ./boot.ipxe --platform cloud",
		rows: "platforms", level: "organization", id: "plat", fields: withDescription(),
		cols: columns("NAME", "name", "DRIVER", "driver", "SETTINGS", "settings", "FILES", "files", "DESCRIPTION", "description"),
	}
	cmd := n.command(c, "list", "show", "create", "update", "delete")
	if create, _, err := cmd.Find([]string{"create"}); err == nil {
		create.Flags().Bool("default", false, "let the driver add the files, parameters and settings that it needs")
		create.Flags().Bool("test", false, "let the driver try the settings")
	}
	cmd.AddCommand(n.clone(c), imagesCommand(c), c.plainVerb(operation{use: "image-parameters PLATFORM", short: "List what its driver wants to know of an image",
		row: "platforms.driver.image_parameters.show", below: "organization", ids: []string{"plat"}, list: true, cols: columns("KEY", "key", "NAME", "name", "DEFAULT", "value")}))
	return c.scoped(cmd, "organization")
}

func imagesCommand(c *cli) *cobra.Command {
	return c.verb("images PLATFORM", "List the images that a platform has", exactly("PLATFORM"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			p, err := c.params("organization")
			if err != nil {
				return err
			}
			items, err := client.List[json.RawMessage](ctx, cl, client.Op{Name: "platforms.images.show", Params: with(p, "plat", args[0])})
			if err != nil {
				return err
			}
			return c.printList(cmd.OutOrStdout(), items, columns("ID", "id", "NAME", "name"))
		})
}

func distributionCommand(c *cli) *cobra.Command {
	n := noun{
		word: "distribution", short: "Distributions: operating systems, with settings, parameters and files for their installers",
		example: "  muster distribution create os --flavor debian -O acme\n  muster file upload preseed.cfg ./preseed.cfg --distribution os\n" +
			"  muster flavor show debian",
		rows: "distributions", level: "organization", id: "dist", fields: withDescription(),
		cols: columns("NAME", "name", "LOCKED", "locked", "SETTINGS", "settings", "FILES", "files", "DESCRIPTION", "description"),
	}
	cmd := n.command(c, "list", "show", "create", "update", "delete")
	if create, _, err := cmd.Find([]string{"create"}); err == nil {
		create.Flags().String("flavor", "", "begin with the settings of a flavor: see muster flavor list")
	}
	cmd.AddCommand(n.clone(c), n.act(c, "lock", "distributions.lock", "Refuse changes until it is unlocked"),
		n.act(c, "unlock", "distributions.unlock", "Allow changes again"), thumbCommand(c, "distribution", "dist"))
	return c.scoped(cmd, "organization")
}

func flavorCommand(c *cli) *cobra.Command {
	n := noun{
		word: "flavor", short: "Flavors: kinds of distributions, and the settings that their installers take",
		example: "  muster flavor list\n  muster flavor show debian -o yaml", rows: "flavors", id: "flavor",
		cols: columns("NAME", "name", "DESCRIPTION", "description", "PARAMETERS", "parameters"),
	}
	return n.command(c, "list", "show")
}

// thumbCommand is the picture of an application or a distribution.
func thumbCommand(c *cli, level, id string) *cobra.Command {
	cmd := &cobra.Command{Use: "thumb", Short: "The picture of one"}
	arg := argName(id)
	cmd.AddCommand(c.verb("upload "+arg+" PATH", "Upload its picture (- reads standard input)", exactly(arg, "PATH"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			p, err := c.params("organization")
			if err != nil {
				return err
			}
			content, err := readInput(cmd, args[1])
			if err != nil {
				return err
			}
			return cl.Upload(ctx, client.Op{Name: "thumb.set", Level: level, Params: with(p, id, args[0])}, filepath.Base(args[1]), content)
		}))
	cmd.AddCommand(c.verb("download "+arg+" PATH", "Write its picture to a path (- writes standard output)", exactly(arg, "PATH"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			p, err := c.params("organization")
			if err != nil {
				return err
			}
			var b []byte
			if err := cl.Call(ctx, client.Op{Name: "thumb.show", Level: level, Params: with(p, id, args[0])}, &b); err != nil {
				return err
			}
			return writeOutput(cmd, args[1], b)
		}))
	return cmd
}

// hostAttachment is the platform or the distribution of a host.
func hostAttachment(c *cli, what string) *cobra.Command {
	cmd := &cobra.Command{Use: what, Short: "The " + what + " of a host: its context, settings and rendered files"}
	cols := columns("HOST", "host", "NAME", what, "SETTINGS", "settings")
	onHost := func(use, short string, names []string, do func(ctx context.Context, cl *client.Client, cmd *cobra.Command, p map[string]string, args []string) error) *cobra.Command {
		return c.verb(use, short, exactly(names...), func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			c.host = args[0]
			p, err := c.params("host")
			if err != nil {
				return err
			}
			return do(ctx, cl, cmd, p, args)
		})
	}
	var file string
	set := onHost("set HOST NAME", "Give a host its "+what+", or another one", []string{"HOST", "NAME"},
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, p map[string]string, args []string) error {
			doc := map[string]any{}
			if file != "" {
				var err error
				if doc, err = readDocument(file, cmd.InOrStdin()); err != nil {
					return err
				}
			}
			doc[what] = args[1]
			var answer json.RawMessage
			if err := cl.Call(ctx, client.Op{Name: "host." + what + ".set", Params: p, Body: doc}, &answer); err != nil {
				return err
			}
			return c.printOne(cmd.OutOrStdout(), answer, cols)
		})
	set.Flags().StringVarP(&file, "file", "f", "", "document of the context (its settings) in JSON or YAML")
	cmd.AddCommand(set,
		onHost("show HOST", "Show it", []string{"HOST"}, func(ctx context.Context, cl *client.Client, cmd *cobra.Command, p map[string]string, _ []string) error {
			var doc json.RawMessage
			if err := cl.Call(ctx, client.Op{Name: "host." + what + ".show", Params: p}, &doc); err != nil {
				return err
			}
			return c.printOne(cmd.OutOrStdout(), doc, cols)
		}),
		onHost("delete HOST", "Take it off the host", []string{"HOST"}, func(ctx context.Context, cl *client.Client, _ *cobra.Command, p map[string]string, _ []string) error {
			return cl.Call(ctx, client.Op{Name: "host." + what + ".delete", Params: p}, nil)
		}),
		onHost("render HOST FILE", "Print a file of it as it is for the host", []string{"HOST", "FILE"},
			func(ctx context.Context, cl *client.Client, cmd *cobra.Command, p map[string]string, args []string) error {
				var b []byte
				if err := cl.Call(ctx, client.Op{Name: "host." + what + ".files.show", Params: with(p, "file", args[1])}, &b); err != nil {
					return err
				}
				return writeOutput(cmd, "-", b)
			}),
		linkCommand(c, "link HOST FILE", []string{"HOST", "FILE"}, "host."+what+".files.link.show", func(p map[string]string, args []string) {
			p["file"] = args[1]
		}))
	return cmd
}

// linkCommand asks for a one-time address of a rendered file.
func linkCommand(c *cli, use string, names []string, row string, fill func(p map[string]string, args []string)) *cobra.Command {
	var short bool
	cmd := c.verb(use, "Print an address of the rendered file that works once, within an hour, without a login", exactly(names...),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			c.host = args[0]
			p, err := c.params("host")
			if err != nil {
				return err
			}
			fill(p, args)
			var doc json.RawMessage
			if err := cl.Call(ctx, client.Op{Name: row, Params: p, Query: url.Values{"short": {strconv.FormatBool(short)}}}, &doc); err != nil {
				return err
			}
			return c.printOne(cmd.OutOrStdout(), doc, columns("URL", "url", "EXPIRES", "expires"))
		})
	cmd.Flags().BoolVar(&short, "short", false, "without the file's name at its end")
	return cmd
}
