package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/api/client"
)

// readInput reads a file, or standard input for -.
func readInput(cmd *cobra.Command, path string) ([]byte, error) {
	var b []byte
	var err error
	if path == "-" {
		b, err = io.ReadAll(cmd.InOrStdin())
	} else {
		b, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, &usageError{fmt.Errorf("reading what to send: %w", err)}
	}
	return b, nil
}

func changeCommand(c *cli) *cobra.Command {
	n := noun{
		word: "change", short: "Changes of a host: numbered pieces of work, made of tasks",
		example: "  muster change list --host web1 --all\n  muster change show 3 --host web1\n  muster change retry 3 --host web1 --wait",
		rows:    "host.changes", level: "host", id: "num",
		cols: columns("NUMBER", "orderNum", "DESCRIPTION", "description", "TASKS", "tasks"),
	}
	cmd := &cobra.Command{Use: n.word, Short: n.short, Example: n.example}
	cmd.AddCommand(changeList(c), changeShow(c), n.completes(c, n.remove(c)), changeClear(c), changeCancel(c), changeRetry(c), changeWait(c), changeComing(c))
	cmd.PersistentFlags().StringVar(&c.host, "host", "", "host whose changes are meant")
	return c.scoped(cmd, "environment")
}

// changeComing lists writes that concern so many hosts that their changes are still being planned.
func changeComing(c *cli) *cobra.Command {
	return c.verb("coming", "List writes of the organization whose changes are still being planned, host by host", noArgs,
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, _ []string) error {
			p, err := c.params("organization")
			if err != nil {
				return err
			}
			items, err := client.List[json.RawMessage](ctx, cl, client.Op{Name: "plans.list", Params: p})
			if err != nil {
				return err
			}
			return c.printList(cmd.OutOrStdout(), items, columns("DESCRIPTION", "description", "CREATED", "created", "BY", "actor", "HOSTS DONE", "done"))
		})
}

// changeState is one word for a change, for tables.
func changeState(ch client.Change) string {
	switch {
	case ch.Pending():
		return "PENDING"
	case ch.Failed():
		return "ERROR"
	}
	return "OK"
}

func changeList(c *cli) *cobra.Command {
	var all bool
	cmd := c.verb("list", "List those that are pending", noArgs, func(ctx context.Context, cl *client.Client, cmd *cobra.Command, _ []string) error {
		p, err := c.params("host")
		if err != nil {
			return err
		}
		q := url.Values{"show_processed": {strconv.FormatBool(all)}}
		items, err := client.List[json.RawMessage](ctx, cl, client.Op{Name: "host.changes.list", Params: p, Query: q})
		if err != nil {
			return err
		}
		if c.tabular() {
			items = withState(items)
		}
		return c.printList(cmd.OutOrStdout(), items,
			columns("NUMBER", "orderNum", "STATE", "state", "DESCRIPTION", "description", "TASKS", "tasks", "WAITS", "waiting"))
	})
	cmd.Flags().BoolVar(&all, "all", false, "show the processed ones too")
	return cmd
}

// withState adds the word of changeState to each change, for the table.
func withState(items []json.RawMessage) []json.RawMessage {
	out := make([]json.RawMessage, 0, len(items))
	for _, it := range items {
		var ch client.Change
		if err := json.Unmarshal(it, &ch); err != nil {
			out = append(out, it)
			continue
		}
		b, err := json.Marshal(map[string]any{"orderNum": ch.OrderNum, "state": changeState(ch), "description": ch.Description,
			"tasks": len(ch.Tasks), "waiting": ch.Waiting})
		if err != nil {
			b = it
		}
		out = append(out, b)
	}
	return out
}

func changeShow(c *cli) *cobra.Command {
	return c.verb("show NUMBER", "Show one with its tasks", exactly("NUMBER"), func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
		p, err := c.params("host")
		if err != nil {
			return err
		}
		var doc struct {
			Tasks []json.RawMessage `json:"tasks"`
		}
		var whole json.RawMessage
		if err := cl.Call(ctx, client.Op{Name: "host.changes.show", Params: with(p, "num", args[0])}, &whole); err != nil {
			return err
		}
		if !c.tabular() {
			return c.printOne(cmd.OutOrStdout(), whole, columns("NUMBER", "orderNum"))
		}
		if err := json.Unmarshal(whole, &doc); err != nil {
			return fmt.Errorf("reading the change: %w", err)
		}
		return c.printList(cmd.OutOrStdout(), doc.Tasks, columns("TASK", "orderNum", "STATUS", "status", "DESCRIPTION", "description", "ERROR", "error"))
	})
}

func changeCancel(c *cli) *cobra.Command {
	cmd := c.verb("cancel NUMBER", "End one before its next task", exactly("NUMBER"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			p, err := c.params("host")
			if err != nil {
				return err
			}
			var doc json.RawMessage
			if err := cl.Call(ctx, client.Op{Name: "host.changes.cancel", Params: with(p, "num", args[0])}, &doc); err != nil {
				return err
			}
			return c.printOne(cmd.OutOrStdout(), doc, columns("NUMBER", "orderNum", "DESCRIPTION", "description", "DONE", "done"))
		})
	cmd.Long = "End a change before its next task. The task that its agent is at is finished first, and nothing is undone.\n" +
		"A host that is away is told when it comes back; change show tells what was done. Retry does the rest."
	return cmd
}

func changeRetry(c *cli) *cobra.Command {
	var skip bool
	cmd := c.verb("retry NUMBER", "Do again what failed, as a new change", exactly("NUMBER"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			p, err := c.params("host")
			if err != nil {
				return err
			}
			after, host, err := c.before(ctx, cl, p)
			if err != nil {
				return err
			}
			q := url.Values{"skip_interrupted": {strconv.FormatBool(skip)}}
			var doc json.RawMessage
			if err := cl.Call(ctx, client.Op{Name: "host.changes.retry", Params: with(p, "num", args[0]), Query: q}, &doc); err != nil {
				return err
			}
			if err := c.printOne(cmd.OutOrStdout(), doc, columns("NUMBER", "orderNum", "DESCRIPTION", "description")); err != nil {
				return err
			}
			return c.follow(ctx, cl, cmd, host, after)
		})
	cmd.Flags().BoolVar(&skip, "skip-interrupted", false, "leave out the task that was interrupted, taking it as done")
	c.waiting(cmd)
	return cmd
}

func changeWait(c *cli) *cobra.Command {
	var after int
	cmd := c.verb("wait", "Wait until no change of the host is pending", noArgs, func(ctx context.Context, cl *client.Client, cmd *cobra.Command, _ []string) error {
		p, err := c.params("host")
		if err != nil {
			return err
		}
		c.wait = true
		if !cmd.Flags().Changed("after") {
			if after, err = firstPending(ctx, cl, p); err != nil {
				return err
			}
		}
		return c.follow(ctx, cl, cmd, p, after)
	})
	c.waiting(cmd)
	cmd.Flags().IntVar(&after, "after", 0, "wait for those after this number and judge them, also if they are done already")
	return cmd
}

// firstPending is the number before the first pending change: earlier failures are not this wait's.
func firstPending(ctx context.Context, cl *client.Client, host map[string]string) (int, error) {
	pending, err := cl.Changes(ctx, host, false)
	if err != nil {
		return 0, err
	}
	if len(pending) == 0 {
		return cl.LastChange(ctx, host)
	}
	return pending[0].OrderNum - 1, nil
}
