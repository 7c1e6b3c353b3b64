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

// printToken prints the token alone, so that it can go to a file, or the whole answer as JSON or YAML.
func (c *cli) printToken(cmd *cobra.Command, doc json.RawMessage) error {
	if c.output == "json" || c.output == "yaml" {
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

func clusterCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "cluster", Short: "The cluster of orchestrator nodes",
		Example: "  muster cluster status\n  muster cluster token > token\n  muster cluster join 10.0.0.1:8001 --token-file token --api http://10.0.0.2:8000/api",
	}
	cmd.AddCommand(
		c.verb("status", "Show members, leader and health", noArgs, func(ctx context.Context, cl *client.Client, cmd *cobra.Command, _ []string) error {
			var doc json.RawMessage
			if err := cl.Call(ctx, client.Op{Name: "cluster.show"}, &doc); err != nil {
				return err
			}
			return c.printCluster(cmd, doc)
		}),
		clusterToken(c), clusterJoin(c),
		c.verb("remove NAME", "Take a member that is dead out of the cluster; it can join again with an empty data folder", exactly("NAME"),
			func(ctx context.Context, cl *client.Client, _ *cobra.Command, args []string) error {
				return cl.Call(ctx, client.Op{Name: "cluster.remove", Params: map[string]string{"name": args[0]}}, nil)
			}),
		c.verb("leave", "Make the asked node leave its cluster", noArgs, func(ctx context.Context, cl *client.Client, _ *cobra.Command, _ []string) error {
			return cl.Call(ctx, client.Op{Name: "cluster.leave"}, nil)
		}))
	cmd.AddCommand(clusterRecover(c))
	return cmd
}

func (c *cli) printCluster(cmd *cobra.Command, doc json.RawMessage) error {
	if c.output == "json" || c.output == "yaml" {
		return c.printDocument(cmd.OutOrStdout(), doc)
	}
	var s struct {
		Members []json.RawMessage `json:"members"`
	}
	if err := json.Unmarshal(doc, &s); err != nil {
		return fmt.Errorf("reading the status: %w", err)
	}
	cols := columns("NAME", "name", "STATE", "state", "VOTER", "voter", "ADDRESS", "address", "APPLIED", "applied", "CONTACT MS", "lastContactMs", "VERSION", "version")
	if c.output == "table" {
		err := c.printOne(cmd.OutOrStdout(), doc, columns("NODE", "node", "LEADER", "leader", "TERM", "term", "EPOCH", "epoch",
			"MAY LOSE", "failureTolerance", "BUS", "bus"))
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(cmd.OutOrStdout()); err != nil {
			return err
		}
	}
	return c.printList(cmd.OutOrStdout(), s.Members, cols)
}

func clusterToken(c *cli) *cobra.Command {
	var expires string
	cmd := c.verb("token", "Print a token that lets a node join", noArgs, func(ctx context.Context, cl *client.Client, cmd *cobra.Command, _ []string) error {
		var doc json.RawMessage
		if err := cl.Call(ctx, client.Op{Name: "cluster.token", Body: spec.JoinTokenRequest{Expires: expires}}, &doc); err != nil {
			return err
		}
		return c.printToken(cmd, doc)
	})
	cmd.Flags().StringVar(&expires, "expires", "1h", "how long it holds")
	return cmd
}

func clusterJoin(c *cli) *cobra.Command {
	var file string
	cmd := c.verb("join ADDRESS", "Make the asked node, which must hold nothing yet, a member of the cluster at ADDRESS", exactly("ADDRESS"),
		func(ctx context.Context, cl *client.Client, _ *cobra.Command, args []string) error {
			if file == "" {
				return usagef("give the join token in a file: --token-file (muster cluster token makes one)")
			}
			token, err := readSecret(file)
			if err != nil {
				return err
			}
			return cl.Call(ctx, client.Op{Name: "cluster.join", Body: spec.JoinRequest{Address: args[0], Token: token}}, nil)
		})
	cmd.Flags().StringVar(&file, "token-file", "", "file holding the join token")
	return cmd
}
