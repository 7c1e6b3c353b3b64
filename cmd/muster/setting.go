package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/api/client"
)

func settingCommand(c *cli) *cobra.Command {
	n := noun{
		word: "setting", short: "Settings of organizations, environments, hosts, host groups, platforms, distributions, and what is on hosts",
		example: "  muster setting set domain example.org -O acme\n" +
			"  muster setting set port 8080 -O acme -E Dev --host web1 --application nginx --wait\n" +
			"  muster setting origin port -O acme -E Dev --host web1 --application nginx\n" +
			"  muster setting set zone eu-1 -O acme --platform cloud\n" +
			"  muster setting set size big -O acme -E Dev --host web1 --platform cloud",
		rows: "settings", id: "key", idField: "key",
		cols: columns("KEY", "key", "VALUE", "value", "LINK", "link", "PROPERTY", "property"),
	}
	n.place = func() (map[string]string, string, error) { return settingPlace(c) }
	cmd := n.command(c, "list", "show", "create", "update", "delete")
	cmd.AddCommand(n.completes(c, settingSet(c, n)), settingOrigin(c), settingExplain(c, n))
	cmd.AddCommand(settingVerbs(c)...)
	f := cmd.PersistentFlags()
	f.StringVar(&c.host, "host", "", "host, for its settings")
	f.StringVar(&c.application, "application", "", "application on the host, for the settings of its context")
	f.StringVar(&c.platform, "platform", "", "platform; with --host, the platform of the host, whatever its name")
	f.StringVar(&c.distribution, "distribution", "", "distribution; with --host, the distribution of the host, whatever its name")
	f.StringVar(&c.hostgroup, "hostgroup", "", "host group")
	f.Bool("no-handlers", false, "store the setting and run no handler")
	return c.scoped(cmd, "host")
}

// settingPlace is the innermost level that a flag names. The default environment counts only for a
// host: who wants an environment's settings says so.
func settingPlace(c *cli) (map[string]string, string, error) {
	level, named := "organization", 0
	for _, name := range []string{c.application, c.platform, c.distribution, c.hostgroup} {
		if name != "" {
			named++
		}
	}
	switch {
	case named > 1:
		return nil, "", usagef("give one of --application, --platform, --distribution and --hostgroup")
	case c.hostgroup != "" && c.host == "":
		p, err := c.params("organization")
		p, err = with1(p, err, "hg", c.hostgroup)
		return p, hostgroupLevel, err
	case c.hostgroup != "":
		return nil, "", usagef("--hostgroup and --host name two places: give one")
	case c.platform != "" && c.host != "":
		level = "platform context"
	case c.distribution != "" && c.host != "":
		level = "distribution context"
	case c.platform != "":
		p, err := c.params("organization")
		p, err = with1(p, err, "plat", c.platform)
		return p, "platform", err
	case c.distribution != "":
		p, err := c.params("organization")
		p, err = with1(p, err, "dist", c.distribution)
		return p, "distribution", err
	case c.host != "" && c.application != "":
		level = "context"
	case c.host != "":
		level = "host"
	case c.application != "":
		return nil, "", usagef("--application names an application on a host: give --host too")
	case c.environment != "":
		level = "environment"
	}
	p, err := c.params(level)
	return p, level, err
}

// settingSet creates a setting or changes its value, whichever it takes.
func settingSet(c *cli, n noun) *cobra.Command {
	var asText bool
	cmd := c.verb("set KEY VALUE", "Give a setting a value, and make it if it is new", exactly("KEY", "VALUE"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			p, level, err := n.where(c)
			if err != nil {
				return err
			}
			var value any = args[1]
			if !asText {
				value = parseValue(args[1])
			}
			after, host, err := c.before(ctx, cl, p)
			if err != nil {
				return err
			}
			body := map[string]any{"newOrUpdatedSettings": []any{map[string]any{"key": args[0], "value": value}}}
			q := n.query(cmd)
			q.Set("no_delete", "true")
			if err := cl.Call(ctx, n.op(".bulk", level, client.Op{Params: p, Query: q, Body: body}), nil); err != nil {
				return err
			}
			return c.follow(ctx, cl, cmd, host, after)
		})
	cmd.Flags().BoolVar(&asText, "text", false, "take the value as text even if it reads as JSON")
	c.waiting(cmd)
	return cmd
}

// settingExplain tells why a setting has its value.
func settingExplain(c *cli, n noun) *cobra.Command {
	return c.verb("explain KEY", "Show why a setting has the value that it has: all that might count, which one does, where links lead", exactly("KEY"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			p, level, err := n.where(c)
			if err != nil {
				return err
			}
			if level == hostgroupLevel {
				return usagef("a host group is no place where settings are resolved: give --host, with or without --application")
			}
			var whole json.RawMessage
			if err := cl.Call(ctx, client.Op{Name: "settings.explain.show", Level: level, Params: with(p, "key", args[0])}, &whole); err != nil {
				return err
			}
			if c.output != formTable && c.output != formWide {
				return c.printOne(cmd.OutOrStdout(), whole, columns("KEY", "key", "VALUE", "value", "FROM", "from"))
			}
			var doc struct {
				Candidates []json.RawMessage `json:"candidates"`
				Way        []string          `json:"way"`
			}
			if err := json.Unmarshal(whole, &doc); err != nil {
				return fmt.Errorf("reading the explanation: %w", err)
			}
			if err := c.printOne(cmd.OutOrStdout(), whole, columns("KEY", "key", "VALUE", "value", "FROM", "from", "LINKS TO", "way")); err != nil {
				return err
			}
			if _, err := fmt.Fprintln(cmd.OutOrStdout()); err != nil {
				return err
			}
			return c.printList(cmd.OutOrStdout(), doc.Candidates,
				columns("CANDIDATE", "from", "KIND", "kind", "VALUE", "value", "FINAL", "final", "COUNTS", "counts", "WHY NOT", "why"))
		})
}

func settingOrigin(c *cli) *cobra.Command {
	return c.verb("origin KEY", "Show the value that holds for an application on a host, and where it comes from", exactly("KEY"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			if c.host == "" || c.application == "" {
				return usagef("give --host and --application: the value depends on both")
			}
			p, err := c.params("context")
			if err != nil {
				return err
			}
			var doc json.RawMessage
			if err := cl.Call(ctx, client.Op{Name: "host.applications.origin-settings.show", Params: with(p, "key", args[0])}, &doc); err != nil {
				return err
			}
			return c.printOne(cmd.OutOrStdout(), doc, columns("KEY", "key", "VALUE", "value", "FROM", "from"))
		})
}
