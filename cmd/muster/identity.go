package main

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/api/client"
)

func identityColumns() []column {
	return columns("ID", "uuid", "ISSUER", "issuer", "SUBJECT", "subject", "SINCE", "created")
}

// identityVerbs are for one's own logins at OpenID providers. Linking one needs a browser: it starts at the provider.
func identityVerbs(c *cli) []*cobra.Command {
	return []*cobra.Command{
		c.verb("identities", "List the logins at OpenID providers that are yours", noArgs,
			func(ctx context.Context, cl *client.Client, cmd *cobra.Command, _ []string) error {
				items, err := client.List[json.RawMessage](ctx, cl, client.Op{Name: "account.identities.list"})
				if err != nil {
					return err
				}
				return c.printList(cmd.OutOrStdout(), items, identityColumns())
			}),
		c.verb("unlink ID", "Give up a login at an OpenID provider; ends your sessions", exactly("ID"),
			func(ctx context.Context, cl *client.Client, _ *cobra.Command, args []string) error {
				return cl.Call(ctx, client.Op{Name: "account.identities.delete", Params: map[string]string{"id": args[0]}}, nil)
			}),
	}
}

// userIdentityVerbs are the same for administrators of the site.
func userIdentityVerbs(c *cli) []*cobra.Command {
	var issuer, subject string
	link := c.verb("link NAME", "Let somebody of an OpenID provider log in as a user", exactly("NAME"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			if issuer == "" || subject == "" {
				return usagef("give --issuer and --subject, as the provider's tokens have them (iss and sub)")
			}
			var doc json.RawMessage
			err := cl.Call(ctx, client.Op{Name: "users.identities.create", Params: map[string]string{"name": args[0]},
				Body: map[string]string{"issuer": issuer, "subject": subject}}, &doc)
			if err != nil {
				return err
			}
			return c.printOne(cmd.OutOrStdout(), doc, identityColumns())
		})
	link.Flags().StringVar(&issuer, "issuer", "", "the provider, as it names itself")
	link.Flags().StringVar(&subject, "subject", "", "whom the provider means; not a name or mail address, which may change hands")
	return []*cobra.Command{
		link,
		c.verb("identities NAME", "List the logins at OpenID providers that are a user's", exactly("NAME"),
			func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
				items, err := client.List[json.RawMessage](ctx, cl, client.Op{Name: "users.identities.list", Params: map[string]string{"name": args[0]}})
				if err != nil {
					return err
				}
				return c.printList(cmd.OutOrStdout(), items, identityColumns())
			}),
		c.verb("unlink NAME ID", "Take a login at an OpenID provider from a user; ends the user's sessions", exactly("NAME", "ID"),
			func(ctx context.Context, cl *client.Client, _ *cobra.Command, args []string) error {
				return cl.Call(ctx, client.Op{Name: "users.identities.delete", Params: map[string]string{"name": args[0], "id": args[1]}}, nil)
			}),
	}
}
