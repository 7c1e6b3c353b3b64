package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/api/spec"
)

func enrolTokenCommand(c *cli) *cobra.Command {
	n := noun{
		word: "enrol-token", short: "Enrolment tokens: what lets an agent become a host of an environment",
		example: "  muster enrol-token create --uses 2 --expires 1h -O acme -E Dev > token\n" +
			"  muster-agent run --bus amqps://orchestrator:5671 --token-file token --state /var/lib/muster-agent",
		rows: "enroltokens", level: "environment", id: "id", idField: "id",
		cols: columns("ID", "id", "USES", "uses", "USED", "used", "EXPIRES", "expires"),
	}
	cmd := n.command(c, "list", "delete")
	var uses int
	var expires string
	create := c.verb("create", "Make one; the token is printed this once", noArgs,
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, _ []string) error {
			p, err := c.params("environment")
			if err != nil {
				return err
			}
			var doc json.RawMessage
			op := client.Op{Name: "enroltokens.create", Params: p, Body: spec.EnrolTokenRequest{Uses: uses, Expires: expires}}
			if err := cl.Call(ctx, op, &doc); err != nil {
				return err
			}
			return c.printToken(cmd, doc)
		})
	create.Flags().IntVar(&uses, "uses", 1, "how many agents may enrol with it")
	create.Flags().StringVar(&expires, "expires", "24h", "how long it holds")
	cmd.AddCommand(create)
	return c.scoped(cmd, "environment")
}

// printToken prints the token alone, so that it can go to a file, or what -o asks for.
func (c *cli) printToken(cmd *cobra.Command, doc json.RawMessage) error {
	if c.whole() {
		return c.printDocument(cmd.OutOrStdout(), doc)
	}
	var t struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(doc, &t); err != nil {
		return fmt.Errorf("reading the token: %w", err)
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), t.Token)
	return err
}
