package main

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/api/client"
)

// operation is a verb that does one operation, with its arguments as the values of the operation's pattern, and prints the
// answer.
type operation struct {
	use, short string // the use begins with the verb; then come the arguments, in the order of ids
	row, level string // the operation, and its level in the table
	below      string // what it is below, as in cli.params: its arguments come after that
	ids        []string
	cols       []column
	list       bool // the answer is a list
	raw        bool // the answer is printed as it is
	body       any
}

// plainVerb makes the command. The host of operations on a host is its first argument, unless a flag names it.
func (c *cli) plainVerb(v operation) *cobra.Command {
	words := argumentsOf(v.use)
	return c.verb(v.use, v.short, exactly(words...), func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
		if v.below == "host" && c.host == "" && len(words) > 0 && words[0] == "HOST" {
			c.host, args = args[0], args[1:]
		}
		p, err := c.params(v.below)
		if err != nil {
			return err
		}
		for i, id := range v.ids {
			p[id] = args[i]
		}
		return c.do(ctx, cl, cmd, v, client.Op{Name: v.row, Level: v.level, Params: p, Body: v.body})
	})
}

// do does the operation and prints its answer.
func (c *cli) do(ctx context.Context, cl *client.Client, cmd *cobra.Command, v operation, op client.Op) error {
	out := cmd.OutOrStdout()
	if v.raw {
		var b []byte
		if err := cl.Call(ctx, op, &b); err != nil {
			return err
		}
		_, err := out.Write(b)
		return err
	}
	if v.list {
		items, err := client.List[json.RawMessage](ctx, cl, op)
		if err != nil {
			return err
		}
		return c.printList(out, items, v.cols)
	}
	var doc json.RawMessage
	if err := cl.Call(ctx, op, &doc); err != nil || v.cols == nil || len(doc) == 0 {
		return err
	}
	return c.printOne(out, doc, v.cols)
}

// plainVerbs makes several.
func (c *cli) plainVerbs(vs ...operation) []*cobra.Command {
	var all []*cobra.Command
	for _, v := range vs {
		all = append(all, c.plainVerb(v))
	}
	return all
}

func sessionColumns() []column {
	return columns("ID", "uuid", "KIND", "kind", "FROM", "address", "BEGAN", "created", "ENDS", "expires", "WHAT", "description")
}

// userVerbs are what administrators of the site do with users beside creating them.
func userVerbs(c *cli) []*cobra.Command {
	return c.plainVerbs(
		operation{use: "sessions NAME", short: "List a user's sessions", row: "users.sessions.list", ids: []string{"name"}, cols: sessionColumns(), list: true},
		operation{use: "logout NAME", short: "End all sessions of a user", row: "users.sessions.delete", ids: []string{"name"}},
		operation{use: "reset-codes NAME", short: "Turn off a user's one-time codes, when the device that makes them is lost", row: "users.totp.delete", ids: []string{"name"}},
	)
}

// codesCommand is one-time codes of one's own account.
func codesCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "codes", Short: "One-time codes (TOTP) of your account",
		Example: "  muster account codes begin      # prints the secret and an address for an authenticator\n  muster account codes confirm    # asks for the first code; from then on logins need one\n  muster account codes off        # asks for the present one"}
	cmd.AddCommand(c.plainVerbs(
		operation{use: "begin", short: "Make a secret for an authenticator; it is shown this once", row: "account.totp.begin", cols: columns("SECRET", "secret", "URI", "uri")},
	)...)
	cmd.AddCommand(c.verb("confirm", "Need codes from now on, once a first one is right: it is asked for, or read from standard input", noArgs,
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, _ []string) error {
			code, err := askCode(cmd)
			if err != nil {
				return err
			}
			return cl.Call(ctx, client.Op{Name: "account.totp.confirm", Body: map[string]string{"code": code}}, nil)
		}), c.verb("off", "Need no codes any more; the present one is asked for, or read from standard input", noArgs,
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, _ []string) error {
			code, err := askCode(cmd)
			if err != nil {
				return err
			}
			return cl.Call(ctx, client.Op{Name: "account.totp.delete", Code: code}, nil)
		}))
	return cmd
}

// askCode asks for a one-time code; there must be one.
func askCode(cmd *cobra.Command) (string, error) {
	code, err := askSecret(cmd.Context(), cmd.InOrStdin(), cmd.ErrOrStderr(), "Code")
	if err == nil && code == "" {
		err = usagef("there is no code on standard input: type it, or send it there")
	}
	return code, err
}

// groupTree, settings and others that show more than one object.
func settingVerbs(c *cli) []*cobra.Command {
	tree := c.plainVerb(operation{use: "tree", short: "Show all settings of an organization, wherever they are", row: "tree.settings.list", below: "organization",
		cols: columns("ORGANIZATION", "organization", "SETTINGS", "settings", "ENVIRONMENTS", "environments", "PLATFORMS", "platforms", "DISTRIBUTIONS", "distributions")})
	impact := c.atSettings("impact KEY", "Show what a change of a setting would touch: handlers on hosts, and links and files that no handler writes", "settings.impact.show",
		operation{cols: columns("HANDLERS", "settingHandlerContexts", "OTHERS", "otherResources", "ORCHESTRATIONS", "orchestrationHandlerExecution")})
	properties := c.atSettings("properties", "List the properties of packages and modules", "application_properties.list",
		operation{list: true, cols: columns("ID", "id", "VALUE", "value")})
	return []*cobra.Command{tree, impact, properties}
}

// atSettings is a verb at the place that the flags of settings name.
func (c *cli) atSettings(use, short, row string, v operation) *cobra.Command {
	words := argumentsOf(use)
	return c.verb(use, short, exactly(words...), func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
		p, level, err := settingPlace(c)
		if err != nil {
			return err
		}
		if len(args) == 1 {
			p["key"] = args[0]
		}
		op := client.Op{Name: row, Level: level, Params: p}
		if level == hostgroupLevel {
			op.Name, op.Level = "hostgroups."+row, ""
		}
		return c.do(ctx, cl, cmd, v, op)
	})
}

func quotaCommand(c *cli) *cobra.Command {
	n := noun{
		word: "quota", short: "Quotas of organizations, and what they have of them",
		example: "  muster quota mine -O acme\n  muster quota update acme -f quota.yaml      # administrators of the site\n  muster quota delete acme                    # the default holds again",
		rows:    "quotas", id: "name", idField: "organization",
		cols: columns("ORGANIZATION", "organization", "HOSTS", "used.hosts", "OF", "quota.hosts", "APPLICATIONS", "used.applications", "OF", "quota.applications",
			"BYTES", "used.bytes", "OF", "quota.bytes", "CHANGES", "used.changesInFlight", "OF", "quota.changesInFlight", "DEFAULT", "default"),
	}
	cmd := n.command(c, "list", "show", "update", "delete")
	for _, sub := range cmd.Commands() { // what is shown is not what is updated
		if sub.Name() == "edit" {
			cmd.RemoveCommand(sub)
		}
	}
	cmd.AddCommand(c.plainVerb(operation{use: "mine", short: "Show that of the organization", row: "quota.show", below: "organization", cols: n.cols}))
	return c.scoped(cmd, "organization")
}

// logCommand are the other logs of the contract.
func logCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "log", Short: "Logs of an organization, an environment or a host: agents, notifications, others",
		Example: "  muster log agent -O acme\n  muster log other -O acme -E Dev --host web1"}
	for _, kind := range [][2]string{{"agent", "What agents said"}, {"notification", "Who was notified"}, {"other", "What else happened"}} {
		cmd.AddCommand(c.verb(kind[0], kind[1], noArgs, func(ctx context.Context, cl *client.Client, cmd *cobra.Command, _ []string) error {
			row, p, err := groupRows(c)
			if err != nil {
				return err
			}
			if row = row[:len(row)-len("groups")] + kind[0] + ".list"; row == "host.agent.list" {
				return usagef("agents are told of by environment: leave out --host")
			}
			return c.do(ctx, cl, cmd, operation{list: true, cols: columns("TIME", "timestamp", "MESSAGE", "message")}, client.Op{Name: row, Params: p})
		}))
	}
	cmd.PersistentFlags().StringVar(&c.host, "host", "", "host")
	return c.scoped(cmd, "host")
}
