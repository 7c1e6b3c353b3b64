package main

import (
	"context"
	"encoding/json"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/api/client"
)

// hostMore are the verbs for what else belongs to a host.
func hostMore(c *cli) []*cobra.Command {
	all := c.plainVerbs(
		operation{use: "alerts HOST", short: "List the alerts of its monitoring", row: "host.instance.alerts.list", below: "host", list: true,
			cols: columns("TIME", "timestamp", "LEVEL", "level", "COLLECTION", "collection", "PROPERTY", "property", "OUTPUT", "output")},
		operation{use: "clear-alerts HOST", short: "Forget the alerts of its monitoring", row: "host.instance.alerts.clear", below: "host"},
		operation{use: "orchestrations HOST", short: "List the orchestrations that it is in", row: "host.orchestrations.list", below: "host", list: true, cols: columns("NAME", "name")},
		operation{use: "context HOST APPLICATION", short: "Show an application on it, with its settings", row: "host.applications.show", below: "host", ids: []string{"app"},
			cols: columns("APPLICATION", "application", "SETTINGS", "settings", "SERVICES", "services", "ENABLED", "enabled")},
	)
	return append(all, hostConfigure(c), hostFetch(c), hostSensor(c))
}

func hostFetch(c *cli) *cobra.Command {
	cmd := c.verb("fetch HOST PATH", "Print a file of its machine, which its agent reads", exactly("HOST", "PATH"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			c.host = args[0]
			p, err := c.params("host")
			if err != nil {
				return err
			}
			var b []byte
			op := client.Op{Name: "host.instance.files.show", Params: p, Query: url.Values{"path": {args[1]}}}
			if err := cl.Call(ctx, op, &b); err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(b)
			return err
		})
	cmd.Long = "Print a file of the machine of a host. The path is absolute. It takes the group users or admin, as files hold secrets;\n" +
		"that it was read is in the audit log. Files of more than 8 MiB are not fetched."
	cmd.Example = "  muster host fetch web1 /etc/nginx/nginx.conf"
	return cmd
}

func hostSensor(c *cli) *cobra.Command {
	cmd := c.verb("sensor HOST COLLECTION SENSOR", "Print what its agent observes now", exactly("HOST", "COLLECTION", "SENSOR"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			c.host = args[0]
			p, err := c.params("host")
			if err != nil {
				return err
			}
			var doc struct {
				Status map[string]json.RawMessage `json:"status"`
			}
			if err := cl.Call(ctx, client.Op{Name: "host.instance.status.show", Params: with(with(p, "coll", args[1]), "sensor", args[2])}, &doc); err != nil {
				return err
			}
			return c.printDocument(cmd.OutOrStdout(), doc.Status[args[2]])
		})
	cmd.Long = "Print the value of a sensor. Of the collection hosts it is one of the machine: cpu, hostname, ip, load, macaddress,\n" +
		"memavailable, memtotal, platform, uptime; of any other collection the state of one of its resources."
	cmd.Example = "  muster host sensor web1 hosts uptime\n  muster host sensor web1 services nginx"
	return cmd
}

func hostConfigure(c *cli) *cobra.Command {
	var file string
	cmd := c.verb("configure HOST APPLICATION", "Change which services of an application run on it", exactly("HOST", "APPLICATION"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			c.host = args[0]
			p, err := c.params("host")
			if err != nil {
				return err
			}
			if file == "" {
				return usagef("which document? give -f FILE, with services: [{name: NAME, enabled: true}]")
			}
			doc, err := readDocument(file, cmd.InOrStdin())
			if err != nil {
				return err
			}
			after, host, err := c.before(ctx, cl, p)
			if err != nil {
				return err
			}
			var answer json.RawMessage
			if err := cl.Call(ctx, client.Op{Name: "host.applications.update", Params: with(p, "app", args[1]), Body: doc}, &answer); err != nil {
				return err
			}
			if err := c.printOne(cmd.OutOrStdout(), answer, columns("APPLICATION", "application", "SERVICES", "services")); err != nil {
				return err
			}
			return c.follow(ctx, cl, cmd, host, after)
		})
	cmd.Flags().StringVarP(&file, "file", "f", "", "document in JSON or YAML; - reads standard input")
	c.waiting(cmd)
	return cmd
}

// changeClear deletes the changes of a host that are processed, or all.
func changeClear(c *cli) *cobra.Command {
	var pending bool
	cmd := c.verb("clear", "Delete those that are processed", noArgs, func(ctx context.Context, cl *client.Client, _ *cobra.Command, _ []string) error {
		p, err := c.params("host")
		if err != nil {
			return err
		}
		op := client.Op{Name: "host.changes.clear", Params: p}
		if pending {
			op.Query = map[string][]string{"processed_only": {"False"}}
		}
		return cl.Call(ctx, op, nil)
	})
	cmd.Flags().BoolVar(&pending, "pending", false, "those that are pending, too")
	return cmd
}
