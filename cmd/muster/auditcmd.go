package main

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/api/client"
)

// auditFlags are what of the audit log is asked for.
type auditFlags struct {
	since, until, actor, kind, action, object, text, cursor string
	secrets                                                 bool
}

func (a *auditFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&a.since, "since", "", "only since then: a time, a day like 2026-01-31, or how long ago like 24h")
	f.StringVar(&a.until, "until", "", "only until then, in the same forms")
	f.StringVar(&a.actor, "actor", "", `only what this user did, or "key NAME"`)
	f.StringVar(&a.kind, "kind", "", "only what changed such an object: host, setting, application, ...")
	f.StringVar(&a.action, "action", "", "only this operation, or those that begin so: settings, settings.update")
	f.StringVar(&a.object, "object", "", "only what was done to this path or below it: environments/Dev")
	f.StringVar(&a.text, "text", "", "only records with this text, without regard to case")
	f.StringVar(&a.cursor, "cursor", "", "go on from this cursor of a record")
	f.BoolVar(&a.secrets, "secrets", false, "only what showed secrets in clear")
}

func (a *auditFlags) query() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"since": a.since, "until": a.until, "actor": a.actor, "kind": a.kind, "action": a.action,
		"object": a.object, "text": a.text, "cursor": a.cursor} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if a.secrets {
		q.Set("read", "true")
	}
	return q
}

// auditOp is the operation for the level that is named: host, environment, organization, or the site.
func (c *cli) auditOp(verb string) (client.Op, error) {
	switch {
	case c.host != "" && verb == "list":
		p, err := c.params("host")
		return client.Op{Name: "host.audit.list", Params: p}, err
	case c.or(c.environment, "MUSTER_ENVIRONMENT") != "" && verb == "list":
		p, err := c.params("environment")
		return client.Op{Name: "environment.audit.list", Params: p}, err
	case c.or(c.organization, "MUSTER_ORGANIZATION") != "":
		p, err := c.params("organization")
		return client.Op{Name: "audit." + verb, Params: p}, err
	}
	return client.Op{Name: "site.audit." + verb}, nil
}

// auditCommand shows who did what.
func auditCommand(c *cli) *cobra.Command {
	var a auditFlags
	var limit int
	cmd := c.verb("audit", "Who did what, from where, with what was before and after", noArgs,
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, _ []string) error {
			if limit < 1 || limit > 1000 {
				return usagef("--limit %d: give 1 to 1000", limit)
			}
			op, err := c.auditOp("list")
			if err != nil {
				return err
			}
			op.Query = a.query()
			op.Query.Set("order", "newest")
			op.Query.Set("limit", strconv.Itoa(limit))
			var list struct {
				Items []json.RawMessage `json:"items"`
			}
			if err := cl.Call(ctx, op, &list); err != nil {
				return err
			}
			return c.printList(cmd.OutOrStdout(), list.Items, columns("TIME", "timestamp", "ACTOR", "username", "ADDRESS", "address", "MESSAGE", "message", "CURSOR", "cursor"))
		})
	cmd.Long = `Who did what: every write, and every reading of secrets in clear, the newest first. It tells of a host, an environment or
an organization; administrators see what was done to none (users, sessions, the cluster) when none is named. With -o yaml it
tells the fields of each object before and after; secrets are masked.

"muster audit export" writes all that is kept as JSON lines, the oldest first. When it breaks off, go on with --cursor and the
cursor of the last line.`
	cmd.Example = "  muster audit -O acme --since 24h\n  muster audit -O acme --kind setting --text port -o yaml\n  muster audit -O acme --secrets\n  muster audit export -O acme > audit.jsonl"
	a.add(cmd)
	cmd.Flags().IntVar(&limit, "limit", 50, "how many, up to 1000")
	var e auditFlags
	export := c.verb("export", "Write all that is kept, as JSON lines", noArgs, func(ctx context.Context, cl *client.Client, cmd *cobra.Command, _ []string) error {
		op, err := c.auditOp("export")
		if err != nil {
			return err
		}
		op.Query = e.query()
		return cl.Stream(ctx, op, nil, 0, cmd.OutOrStdout())
	})
	e.add(export)
	cmd.AddCommand(export)
	cmd.PersistentFlags().StringVar(&c.host, "host", "", "host that is meant")
	return c.scoped(cmd, "host")
}

// deliveriesCommand shows what a webhook was sent.
func deliveriesCommand(c *cli) *cobra.Command {
	cmd := c.sent("HOOK", "What a webhook was sent, and what it answered, the newest first", "webhooks", "hook")
	cmd.Example = "  muster webhook deliveries chat -O acme"
	return cmd
}

// channelDeliveries shows what a notification channel was sent.
func channelDeliveries(c *cli) *cobra.Command {
	cmd := c.sent("CHANNEL", "What a channel was sent, and what came of it, the newest first", "notifications", "chan")
	cmd.Example = "  muster notification deliveries ops -O acme"
	return cmd
}

// sent lists deliveries.
func (c *cli) sent(arg, short, rows, id string) *cobra.Command {
	var limit int
	cmd := c.verb("deliveries "+arg, short, exactly(arg),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			if limit < 1 || limit > 1000 {
				return usagef("--limit %d: give 1 to 1000", limit)
			}
			p, err := c.params("organization")
			if err != nil {
				return err
			}
			op := client.Op{Name: rows + ".deliveries.list", Params: with(p, id, args[0]), Query: url.Values{"order": {"newest"}, "limit": {strconv.Itoa(limit)}}}
			var list struct {
				Items []json.RawMessage `json:"items"`
			}
			if err := cl.Call(ctx, op, &list); err != nil {
				return err
			}
			return c.printList(cmd.OutOrStdout(), list.Items, columns("TIME", "timestamp", "ID", "id", "EVENT", "kind", "ATTEMPT", "attempt", "STATUS", "status", "ERROR", "error", "NEXT", "next"))
		})
	cmd.Flags().IntVar(&limit, "limit", 50, "how many, up to 1000")
	return cmd
}
