package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
)

// followWait is how long one request of a follower waits for news.
const followWait = 30 * time.Second

// eventsCommand shows what was written, and goes on as more is.
func eventsCommand(c *cli) *cobra.Command {
	var follow bool
	var after string
	cmd := c.verb("events", "What was created, updated and deleted, as the cluster remembers it", noArgs,
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			if err := noArgs(cmd, args); err != nil {
				return err
			}
			f := follower{c: c, cl: cl, out: cmd.OutOrStdout(), org: c.or(c.organization, "MUSTER_ORGANIZATION"), after: after}
			if follow && (c.output == "yaml" || c.byPath()) {
				return usagef("--follow prints one line an event: give -o table, json or name")
			}
			return f.run(ctx, follow)
		})
	cmd.Long = `What was created, updated and deleted: who did it, when, and the id of the object. It tells of one
organization; administrators see all when none is named. The cluster remembers some ten thousands of events, the
oldest are forgotten first.

With --follow it goes on until it is stopped, over the loss of a node. Each event has a cursor; --after goes on
behind one, on any node. A cursor that is too old, or from before a restore, ends it with a hint: read what you need
anew, and follow from there.`
	cmd.Example = "  muster events --organization acme\n  muster events --follow --after now\n  muster events --follow -o json --after 1700000000000-42-1"
	cmd.Flags().BoolVar(&follow, "follow", false, "go on with what happens next; with -o json one object a line")
	cmd.Flags().StringVar(&after, "after", "", "only those after this cursor; now begins with the next")
	return c.scoped(cmd, "organization")
}

// follower prints events.
type follower struct {
	c          *cli
	cl         *client.Client
	out        io.Writer
	org, after string
}

// run prints what there is, and with follow what comes.
func (f *follower) run(ctx context.Context, follow bool) error {
	var all []json.RawMessage
	for {
		wait := time.Duration(0)
		if follow {
			wait = followWait
		}
		list, err := f.cl.Events(ctx, f.org, f.after, wait)
		switch code := model.CodeOf(err); {
		case err == nil:
		case ctx.Err() != nil && follow:
			return nil // stopped by hand
		case follow && (client.IsUnreachable(err) || code == model.Unavailable) && f.after != "" && f.after != "now":
			if !pauseFor(ctx, time.Second) {
				return nil
			}
			continue
		default:
			return err
		}
		f.after = list.Cursor
		if follow {
			if err := f.lines(list.Items); err != nil {
				return err
			}
			continue
		}
		for _, e := range list.Items {
			b, err := json.Marshal(e)
			if err != nil {
				return fmt.Errorf("printing an event: %w", err)
			}
			all = append(all, b)
		}
		if list.Count == 0 {
			return f.c.printList(f.out, all, columns("CURSOR", "cursor", "TIME", "time", "ORGANIZATION", "organization", "KIND", "kind", "OBJECT", "object", "ACTOR", "actor"))
		}
	}
}

// lines prints events one a line, at once.
func (f *follower) lines(events []spec.Event) error {
	for _, e := range events {
		var err error
		switch f.c.output {
		case "json":
			err = json.NewEncoder(f.out).Encode(e)
		case "name":
			_, err = fmt.Fprintln(f.out, e.Cursor)
		default:
			_, err = fmt.Fprintln(f.out, oneLine(fmt.Sprintf("%s  %-20s  %-24s  %s  %s", e.Time, e.Organization, e.Kind, e.Object, e.Actor)))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pauseFor waits; false when ctx ended first.
func pauseFor(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
