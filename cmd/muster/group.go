package main

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/api/client"
)

// member is a user in a group, as far as the commands need it.
type member struct {
	Username string `json:"username"`
}

func groupCommand(c *cli) *cobra.Command {
	n := noun{
		word: "group", short: "Groups: who may do what in an organization, an environment or a host",
		example: "  muster group list -O acme\n  muster group add users anna -O acme\n  muster group remove admin ben -O acme -E Dev",
		rows:    "groups", id: "group",
		cols: columns("NAME", "name", "USERS", "users", "KEYS", "applicationKeys"),
	}
	verb := func(name, short string, change func([]member, string) []member) *cobra.Command {
		return c.verb(name+" GROUP USER", short, exactly("GROUP", "USER"),
			func(ctx context.Context, cl *client.Client, _ *cobra.Command, args []string) error {
				return changeGroup(ctx, c, cl, args[0], func(m []member) []member { return change(m, args[1]) })
			})
	}
	cmd := &cobra.Command{Use: n.word, Short: n.short, Example: n.example}
	cmd.AddCommand(groupList(c, n), groupShow(c, n),
		verb("add", "Put a user into a group", func(m []member, user string) []member {
			if slices.Contains(m, member{user}) {
				return m
			}
			return append(m, member{user})
		}),
		verb("remove", "Take a user out of a group", func(m []member, user string) []member {
			return slices.DeleteFunc(m, func(x member) bool { return x.Username == user })
		}))
	cmd.AddCommand(c.verb("tree", "Show the groups of all levels that have members", noArgs,
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, _ []string) error {
			rows, p, err := groupRows(c)
			if err != nil {
				return err
			}
			return c.do(ctx, cl, cmd, operation{cols: columns("ORGANIZATION", "organization", "GROUPS", "groupViews", "ENVIRONMENTS", "environmentGroupViews")},
				client.Op{Name: rows + ".tree.show", Params: p})
		}))
	cmd.PersistentFlags().StringVar(&c.host, "host", "", "host, for its groups")
	return c.scoped(cmd, "host")
}

// groupRows is the prefix of the rows of the level that the flags name. The default environment does not
// count: who wants an environment's groups says so.
func groupRows(c *cli) (string, map[string]string, error) {
	rows, level := "groups", "organization"
	switch {
	case c.host != "":
		rows, level = "host.groups", "host"
	case c.environment != "":
		rows, level = "environment.groups", "environment"
	}
	p, err := c.params(level)
	return rows, p, err
}

func groupList(c *cli, n noun) *cobra.Command {
	return c.verb("list", "List them with their members", noArgs, func(ctx context.Context, cl *client.Client, cmd *cobra.Command, _ []string) error {
		rows, p, err := groupRows(c)
		if err != nil {
			return err
		}
		items, err := client.List[json.RawMessage](ctx, cl, client.Op{Name: rows + ".list", Params: p})
		if err != nil {
			return err
		}
		return c.printList(cmd.OutOrStdout(), items, n.cols)
	})
}

func groupShow(c *cli, n noun) *cobra.Command {
	return c.verb("show GROUP", "Show one", exactly("GROUP"), func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
		rows, p, err := groupRows(c)
		if err != nil {
			return err
		}
		var doc json.RawMessage
		if err := cl.Call(ctx, client.Op{Name: rows + ".show", Params: with(p, "group", args[0])}, &doc); err != nil {
			return err
		}
		return c.printOne(cmd.OutOrStdout(), doc, n.cols)
	})
}

func changeGroup(ctx context.Context, c *cli, cl *client.Client, group string, change func([]member) []member) error {
	rows, p, err := groupRows(c)
	if err != nil {
		return err
	}
	p = with(p, "group", group)
	var doc struct {
		Users []member `json:"users"`
	}
	if err := cl.Call(ctx, client.Op{Name: rows + ".show", Params: p}, &doc); err != nil {
		return err
	}
	users := change(doc.Users)
	if users == nil {
		users = []member{}
	}
	return cl.Call(ctx, client.Op{Name: rows + ".update", Params: p, Body: map[string]any{"users": users}}, nil)
}
