package main

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/api/client"
)

func hostgroupCommand(c *cli) *cobra.Command {
	n := noun{
		word: "hostgroup", short: "Host groups: hosts in an order, with settings between those of host and environment",
		example: "  muster hostgroup create frontends -f frontends.yaml -O acme\n  muster setting set port 8080 --hostgroup frontends -O acme",
		rows:    "hostgroups", level: "organization", id: "hg", fields: withDescription(),
		cols: columns("NAME", "name", "HOSTS", "hosts", "SETTINGS", "settings", "DESCRIPTION", "description"),
	}
	return c.scoped(n.command(c, "list", "show", "create", "update", "delete"), "organization")
}

func orchestrationCommand(c *cli) *cobra.Command {
	n := noun{
		word: "orchestration", short: "Orchestrations: operations over host groups, as stored definitions; they cannot be run yet",
		example: "  muster orchestration create roll -f roll.yaml -O acme\n  muster orchestration clone roll roll2",
		rows:    "orchestrations", level: "organization", id: "orch", fields: withDescription(),
		cols: columns("NAME", "name", "OPERATIONS", "applicationsOperations", "GROUPS", "orderedHostGroup", "DESCRIPTION", "description"),
	}
	cmd := n.command(c, "list", "show", "create", "update", "delete")
	var orchestration string
	handlers := noun{
		word: "handler", short: "Settings that set an orchestration off", rows: "orchestrations.handlers", id: "handler",
		example: "  muster orchestration handler create on-port --orchestration roll -f handler.yaml",
		cols:    columns("NAME", "name", "TRIGGERS", "triggers"),
		fields:  []field1{{"trigger", "triggers", "key of a setting; may be repeated", true}},
		place: func() (map[string]string, string, error) {
			if orchestration == "" {
				return nil, "", usagef("which orchestration? give --orchestration")
			}
			p, err := c.params("organization")
			p, err = with1(p, err, "orch", orchestration)
			return p, "", err
		},
	}
	below := handlers.command(c, "list", "show", "create", "update", "delete")
	below.PersistentFlags().StringVar(&orchestration, "orchestration", "", "orchestration that has the handler")
	cmd.AddCommand(n.clone(c), below)
	return c.scoped(cmd, "organization")
}

func webhookCommand(c *cli) *cobra.Command {
	n := noun{
		word: "webhook", short: "Webhooks: events sent to other servers as they happen",
		example: "  muster webhook create chat --server hooks.example.org --path /in --event 'host.*' -O acme\n  muster webhook deliveries chat -O acme\n" +
			"  muster webhook create chat -f chat.yaml -O acme\n  muster webhook show chat -o yaml",
		rows: "webhooks", level: "organization", id: "hook", fields: withDescription(field1{"event", "events", "kind of events to send: host.created, host.*, *; may be repeated", true},
			field1{"server", "serverName", "name of the server", false}, field1{"path", "path", "path at the server", false}),
		cols: columns("NAME", "name", "METHOD", "method", "SERVER", "serverName", "PATH", "path", "DESCRIPTION", "description"),
	}
	cmd := n.command(c, "list", "show", "create", "update", "delete")
	run := c.verb("run HOOK", "Call a webhook now, and show its answer's status and properties", exactly("HOOK"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			p, err := c.params("organization")
			if err != nil {
				return err
			}
			var res json.RawMessage
			if err := cl.Call(ctx, client.Op{Name: "webhooks.run", Params: with(p, "hook", args[0])}, &res); err != nil {
				return err
			}
			return c.printOne(cmd.OutOrStdout(), res, columns("STATUS", "returnCode", "PROPERTIES", "properties"))
		})
	run.Long = "Calls the webhook's address with its method, body, headers and parameters, signed like what events send, from the node that\nis asked. No answer, 429, 502, 503 and 504 are tried again up to twice; each attempt is among its deliveries."
	run.Example = "  muster webhook run chat -O acme\n  muster webhook run deploy -O acme -o jsonpath='{.properties[0].value}'"
	cmd.AddCommand(n.completes(c, deliveriesCommand(c)), n.completes(c, run))
	return c.scoped(cmd, "organization")
}

func notificationCommand(c *cli) *cobra.Command {
	n := noun{
		word: "notification", short: "Notification channels: who is told of what, by mail or at an address",
		example: "  muster notification create ops -f ops.yaml -O acme\n  muster notification test ops -O acme\n  muster notification deliveries ops -O acme",
		rows:    "notifications", level: "organization", id: "chan", fields: withDescription(field1{"channel", "channel", "kind of channel", false}),
		cols: columns("NAME", "name", "CHANNEL", "channel", "EVENTS", "notifiableViews"),
	}
	test := c.verb("test CHANNEL", "Send a test message to a channel, and let one that was disabled begin anew", exactly("CHANNEL"),
		func(ctx context.Context, cl *client.Client, _ *cobra.Command, args []string) error {
			p, err := c.params("organization")
			if err != nil {
				return err
			}
			return cl.Call(ctx, client.Op{Name: "notifications.run", Params: with(p, "chan", args[0])}, nil)
		})
	test.Long = "The leader sends it within seconds; muster notification deliveries tells what came of it."
	test.Example = "  muster notification test ops -O acme"
	cmd := n.command(c, "list", "show", "create", "update", "delete")
	cmd.AddCommand(n.completes(c, test), n.completes(c, channelDeliveries(c)))
	return c.scoped(cmd, "organization")
}

// ofApplication is a noun below an application.
func ofApplication(c *cli, n noun) *cobra.Command {
	var application string
	n.place = func() (map[string]string, string, error) {
		if application == "" {
			return nil, "", usagef("which application? give --application")
		}
		p, err := c.params("organization")
		p, err = with1(p, err, "app", application)
		return p, "", err
	}
	cmd := n.command(c, "list", "show", "create", "update", "delete")
	cmd.PersistentFlags().StringVar(&application, "application", "", "application that has it")
	return cmd
}

func moduleCommand(c *cli) *cobra.Command {
	return ofApplication(c, noun{
		word: "module", short: "RPM modules of an application", rows: "applications.rpmmodules", id: "mod",
		example: "  muster application module create nodejs --stream 20 --application site -O acme",
		fields:  []field1{{"stream", "stream", "stream", false}, {"profile", "profile", "profile", false}},
		cols:    columns("NAME", "name", "STREAM", "stream", "PROFILE", "profile", "ENABLED", "enabled"),
	})
}

func gitCommand(c *cli) *cobra.Command {
	return ofApplication(c, noun{
		word: "git", short: "Git repositories of an application", rows: "applications.gits", id: "git",
		example: "  muster application git create site --endpoint https://example.org/site.git --branch main --application site -O acme",
		fields: []field1{{"endpoint", "endpoint", "address of the repository", false}, {"branch", "branch", "branch", false},
			{"key-name", "keyName", "file with the SSH key", false}, {"method", "authenticationMethod", "HTTPS or SSH", false}},
		cols: columns("NAME", "name", "ENDPOINT", "endpoint", "BRANCH", "branch"),
	})
}
