package main

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/api/client"
)

func organizationCommand(c *cli) *cobra.Command {
	n := noun{
		word: "organization", short: "Organizations: who owns environments, applications and groups",
		example: "  muster organization create acme --description 'ACME Ltd'\n  muster organization list -o name",
		rows:    "organizations", id: "org", fields: withDescription(),
		cols: columns("NAME", "name", "ENVIRONMENTS", "environments", "DESCRIPTION", "description"),
	}
	cmd := n.command(c, "list", "show", "create", "update", "delete")
	cmd.Aliases = []string{"org"}
	if create, _, err := cmd.Find([]string{"create"}); err == nil {
		create.Flags().Bool("populate", false, "begin with an environment, a platform, a distribution and an application")
	}
	cmd.AddCommand(organizationExport(c), organizationImport(c))
	cmd.AddCommand(c.verb("reset-access ORGANIZATION", "Make a new secret key for agents and boot media", exactly("ORGANIZATION"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			var doc json.RawMessage
			if err := cl.Call(ctx, client.Op{Name: "access.set", Params: map[string]string{"org": args[0]}}, &doc); err != nil {
				return err
			}
			return c.printOne(cmd.OutOrStdout(), doc, columns("ACCESS KEY", "accessKey", "SECRET KEY", "secretKey"))
		}))
	cmd.AddCommand(organizationKey(c))
	return cmd
}

func environmentCommand(c *cli) *cobra.Command {
	n := noun{
		word: "environment", short: "Environments: groups of hosts with settings of their own",
		example: "  muster environment create Dev -O acme\n  muster environment clone Dev Test -O acme",
		rows:    "environments", level: "organization", id: "env", fields: withDescription(),
		cols: columns("NAME", "name", "HOSTS", "hosts", "DESCRIPTION", "description"),
	}
	cmd := n.command(c, "list", "show", "create", "update", "delete")
	cmd.Aliases = []string{"env"}
	cmd.AddCommand(n.clone(c))
	return c.scoped(cmd, "organization")
}

func keyCommand(c *cli) *cobra.Command {
	n := noun{
		word: "key", short: "Application keys: credentials for programs, with the rights of a group",
		example: "  muster key create ci --group users -O acme -o json\n  muster key reset ci -O acme",
		rows:    "applicationkeys", level: "organization", id: "key",
		fields: withDescription(field1{"group", "group", "group whose rights the key has", false},
			field1{"method", "method", "TOKEN or BASIC_AUTH", false},
			field1{"expires", "expirationDate", "when it ends, like 2018-04-04T15:37:30.612+0200", false}),
		cols: columns("NAME", "name", "GROUP", "group", "METHOD", "method", "CREATOR", "creator", "EXPIRES", "expirationDate", "TOKEN", "token"),
	}
	cmd := n.command(c, "list", "show", "create", "update", "delete")
	cmd.AddCommand(c.verb("reset KEY", "Make a new token", exactly("KEY"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			p, err := c.params("organization")
			if err != nil {
				return err
			}
			var doc json.RawMessage
			if err := cl.Call(ctx, client.Op{Name: "applicationkeys.reset", Params: with(p, "key", args[0])}, &doc); err != nil {
				return err
			}
			return c.printOne(cmd.OutOrStdout(), doc, n.cols)
		}))
	return c.scoped(cmd, "organization")
}

func userCommand(c *cli) *cobra.Command {
	n := noun{
		word: "user", short: "Users of the site (for its administrators)",
		example: "  muster user create anna --new-password-file /run/anna.pw\n  muster user password anna --new-password-file /run/anna.pw\n  muster group add users anna -O acme",
		rows:    "users", id: "name", idField: "username",
		fields: []field1{{"fullname", "fullname", "the person's name", false}, {"email", "email", "mail address", false}},
		cols:   columns("NAME", "username", "FULL NAME", "fullname", "EMAIL", "email", "ADMIN", "admin"),
	}
	cmd := n.command(c, "list", "show", "update", "delete")
	cmd.AddCommand(userVerbs(c)...)
	cmd.AddCommand(userCreate(c, n), userPassword(c))
	cmd.AddCommand(userIdentityVerbs(c)...)
	return cmd
}

func userCreate(c *cli, n noun) *cobra.Command {
	var file, full, email string
	var admin bool
	cmd := c.verb("create NAME", "Create a user", exactly("NAME"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			if file == "" {
				return usagef("give the new user's password in a file: --new-password-file")
			}
			password, err := readSecret(file)
			if err != nil {
				return err
			}
			body := map[string]any{"username": args[0], "password": password, "fullname": full, "email": email, "admin": admin}
			var doc json.RawMessage
			if err := cl.Call(ctx, client.Op{Name: "users.create", Body: body}, &doc); err != nil {
				return err
			}
			return c.printOne(cmd.OutOrStdout(), doc, n.cols)
		})
	cmd.Flags().StringVar(&file, "new-password-file", "", "file holding the new user's password")
	cmd.Flags().StringVar(&full, "fullname", "", "the person's name")
	cmd.Flags().StringVar(&email, "email", "", "mail address")
	cmd.Flags().BoolVar(&admin, "admin", false, "of the site: may make users and organizations and manage the cluster")
	return cmd
}

func userPassword(c *cli) *cobra.Command {
	var file string
	cmd := c.verb("password NAME", "Set a user's password", exactly("NAME"),
		func(ctx context.Context, cl *client.Client, _ *cobra.Command, args []string) error {
			if file == "" {
				return usagef("give the new password in a file: --new-password-file")
			}
			password, err := readSecret(file)
			if err != nil {
				return err
			}
			return cl.Call(ctx, client.Op{Name: "users.password", Params: map[string]string{"name": args[0]},
				Body: map[string]string{"password": password}}, nil)
		})
	cmd.Flags().StringVar(&file, "new-password-file", "", "file holding the new password")
	return cmd
}
