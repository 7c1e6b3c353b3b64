package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/fsm/model"
)

func complianceCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "compliance", Short: "Compliance errors of a host: where it is not as described",
		Example: "  muster compliance list --host web1\n  muster compliance show applications/nginx/files/nginx.conf --host web1 -o yaml\n" +
			"  muster host update-file web1 nginx nginx.conf --wait",
	}
	cmd.AddCommand(complianceList(c), complianceShow(c), complianceDelete(c), complianceRebuild(c))
	cmd.PersistentFlags().StringVar(&c.host, "host", "", "host that is meant")
	return c.scoped(cmd, "environment")
}

func complianceColumns() []column {
	return columns("NAME", "name", "TYPE", "type", "APPLICATION", "application", "EXPECTED", "expectedState", "FOUND", "currentState")
}

func complianceList(c *cli) *cobra.Command {
	return c.verb("list", "List them", noArgs, func(ctx context.Context, cl *client.Client, cmd *cobra.Command, _ []string) error {
		p, err := c.params("host")
		if err != nil {
			return err
		}
		items, err := client.List[json.RawMessage](ctx, cl, client.Op{Name: "host.compliance.list", Params: p})
		if err != nil {
			return err
		}
		if err := c.printList(cmd.OutOrStdout(), items, complianceColumns()); err != nil || !c.tabular() {
			return err
		}
		return noteWaiting(ctx, cl, cmd, p)
	})
}

// noteWaiting says on standard error why the host gets no orders, so that the list is not taken for the last word.
func noteWaiting(ctx context.Context, cl *client.Client, cmd *cobra.Command, p map[string]string) error {
	var doc struct {
		Waiting string `json:"waiting"`
	}
	err := cl.Call(ctx, client.Op{Name: "host.instance.show", Params: p}, &doc)
	if model.CodeOf(err) == model.NotFound { // no instance
		return nil
	}
	if err == nil && doc.Waiting != "" {
		_, err = fmt.Fprintln(cmd.ErrOrStderr(), "the host gets no orders: "+doc.Waiting)
	}
	return err
}

// complianceID reads applications/APP/COLLECTION/NAME, where the name may hold slashes.
func complianceID(p map[string]string, id string) error {
	parts := strings.SplitN(strings.Trim(id, "/"), "/", 4)
	if len(parts) != 4 || parts[0] != "applications" {
		return usagef("a compliance error is named applications/APPLICATION/COLLECTION/NAME, not %q", id)
	}
	p["app"], p["type"], p["id"] = parts[1], parts[2], parts[3]
	return nil
}

func complianceShow(c *cli) *cobra.Command {
	return c.verb("show ID", "Show one", exactly("ID"), func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
		p, err := c.params("host")
		if err != nil {
			return err
		}
		if err := complianceID(p, args[0]); err != nil {
			return err
		}
		var doc json.RawMessage
		if err := cl.Call(ctx, client.Op{Name: "host.compliance.show", Params: p}, &doc); err != nil {
			return err
		}
		return c.printOne(cmd.OutOrStdout(), doc, complianceColumns())
	})
}

func complianceDelete(c *cli) *cobra.Command {
	var all bool
	cmd := c.verb("delete [ID]", "Forget one, or all", cobra.MaximumNArgs(1), func(ctx context.Context, cl *client.Client, _ *cobra.Command, args []string) error {
		p, err := c.params("host")
		if err != nil {
			return err
		}
		if all == (len(args) == 1) {
			return usagef("give either the ID of one, or --all")
		}
		if all {
			return cl.Call(ctx, client.Op{Name: "host.compliance.clear", Params: p}, nil)
		}
		if err := complianceID(p, args[0]); err != nil {
			return err
		}
		return cl.Call(ctx, client.Op{Name: "host.compliance.delete", Params: p}, nil)
	})
	cmd.Flags().BoolVar(&all, "all", false, "all of the host")
	return cmd
}

func complianceRebuild(c *cli) *cobra.Command {
	cmd := c.verb("rebuild", "Send the whole description to the agent again", noArgs, func(ctx context.Context, cl *client.Client, cmd *cobra.Command, _ []string) error {
		p, err := c.params("host")
		if err != nil {
			return err
		}
		after, host, err := c.before(ctx, cl, p)
		if err != nil {
			return err
		}
		if err := cl.Call(ctx, client.Op{Name: "host.compliance.rebuild", Params: p}, nil); err != nil {
			return err
		}
		return c.follow(ctx, cl, cmd, host, after)
	})
	c.waiting(cmd)
	return cmd
}
