package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/fsm/model"
)

// hostMachine are the verbs of a host's machine.
func hostMachine(c *cli) []*cobra.Command {
	cmds := []*cobra.Command{hostProvision(c), hostDestroy(c), hostVNC(c), hostToken(c), hostImage(c)}
	for _, a := range []struct {
		verb, short string
		state       model.InstanceState
	}{
		{"start", "Start the machine of a host", model.InstanceRunning},
		{"pause", "Pause the machine of a host", model.InstancePaused},
		{"resume", "Resume the paused machine of a host", model.InstanceRunning},
		{"stop", "Shut the machine of a host down, in order", model.InstanceStopped},
		{"off", "Turn the machine of a host off, at once", model.InstanceStopped},
	} {
		cmds = append(cmds, c.onMachine(a.verb, a.short, client.Op{Name: "host.instance." + a.verb}, func(m machineLook) (bool, error) {
			return !m.working && m.instance.State == a.state, m.failure()
		}))
	}
	for verb, short := range map[string]string{"lock": "Protect the machine of a host against destroying, stopping and turning off", "unlock": "End the protection of a host's machine"} {
		cmds = append(cmds, c.onMachine(verb, short, client.Op{Name: "host.instance." + verb}, nil))
	}
	return cmds
}

// machineLook is a host and its machine at one moment.
type machineLook struct {
	host     model.Host
	instance model.Instance
	there    bool // it has a machine
	working  bool // a driver is at work on it
}

// failure is what went wrong with the machine for good, nil when nothing did.
func (m machineLook) failure() error {
	if m.there && !m.working && m.instance.Error != "" {
		return errors.New(m.instance.Error)
	}
	return nil
}

// told is what there is to tell of it on one line.
func (m machineLook) told() string {
	text := string(m.host.State)
	if m.there {
		text += ", machine " + string(m.instance.State)
	}
	for _, more := range []string{m.instance.Waiting, m.instance.Error} {
		if more != "" {
			text += ": " + more
		}
	}
	return oneLine(text)
}

func seeMachine(ctx context.Context, cl *client.Client, p map[string]string) (machineLook, error) {
	var m machineLook
	if err := cl.Call(ctx, client.Op{Name: "hosts.show", Params: p}, &m.host); err != nil {
		return m, err
	}
	err := cl.Call(ctx, client.Op{Name: "host.instance.show", Params: p}, &m.instance)
	if model.CodeOf(err) == model.NotFound {
		return m, nil
	}
	m.there = err == nil
	m.working = m.instance.Waiting != ""
	return m, err
}

// onMachine makes a verb that asks for something to be done to the machine of a host; over says when it is done, and nil that
// there is nothing to wait for.
func (c *cli) onMachine(verb, short string, op client.Op, over func(machineLook) (bool, error)) *cobra.Command {
	cmd := c.verb(verb+" HOST", short, exactly("HOST"), func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
		return c.doMachine(ctx, cl, cmd, args[0], op, over)
	})
	if over != nil {
		c.waiting(cmd)
		cmd.Flags().Lookup("wait").Usage = "wait until it is done"
	}
	return cmd
}

func (c *cli) doMachine(ctx context.Context, cl *client.Client, cmd *cobra.Command, host string, op client.Op, over func(machineLook) (bool, error)) error {
	c.host = host
	p, err := c.params("host")
	if err != nil {
		return err
	}
	op.Params = p
	if err := cl.Call(ctx, op, nil); err != nil || !c.wait || over == nil {
		return err
	}
	parent := ctx
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, &waitError{c.timeout})
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	last := ""
	for {
		m, err := seeMachine(ctx, cl, p)
		if err != nil && ctx.Err() == nil && !client.IsUnreachable(err) {
			return err
		}
		if err == nil {
			if text := m.told(); text != last && isTerminal(cmd.ErrOrStderr()) {
				cmd.PrintErrln(text)
				last = text
			}
			if done, err := over(m); err != nil || done {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return whenInterrupted(parent, context.Cause(ctx))
		}
	}
}

func hostProvision(c *cli) *cobra.Command {
	var properties []string
	cmd := c.verb("provision HOST", "Make the machine of a host, by the driver of its platform", exactly("HOST"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			op := client.Op{Name: "host.instance.set", Body: map[string]any{}}
			if len(properties) > 0 {
				var props []model.Property
				for _, p := range properties {
					key, value, ok := strings.Cut(p, "=")
					if !ok || key == "" {
						return usagef("--property %q: write it as KEY=VALUE", p)
					}
					props = append(props, model.Property{Key: key, Value: value})
				}
				op = client.Op{Name: "host.instance.properties.set", Body: props}
			}
			return c.doMachine(ctx, cl, cmd, args[0], op, func(m machineLook) (bool, error) {
				switch m.host.State {
				case model.HostReady:
					return true, nil
				case model.HostError:
					if err := m.failure(); err != nil {
						return false, err
					}
					return false, &tasksError{1}
				}
				return false, nil
			})
		})
	cmd.Long = "Make the machine of a host, by the driver of its platform. The host is ready once the machine runs, its agent has\n" +
		"enrolled and its applications are installed. On a platform of class FreeDriver the machine is made by somebody:\n" +
		"start the agent there with the token that muster host token prints."
	cmd.Example = "  muster host provision web1 --wait -O acme -E Dev\n  muster host provision web1 --property ip.eth0=192.0.2.7"
	cmd.Flags().StringArrayVar(&properties, "property", nil, "KEY=VALUE of a machine that exists already: none is made; may be repeated")
	c.waiting(cmd)
	cmd.Flags().Lookup("wait").Usage = "wait until the host is ready"
	return cmd
}

func hostDestroy(c *cli) *cobra.Command {
	cmd := c.onMachine("destroy", "Destroy the machine of a host; the host stays, without one", client.Op{Name: "host.instance.delete"}, nil)
	cmd.Example = "  muster host destroy web1 -O acme -E Dev\n  muster machine list"
	return cmd
}

func hostVNC(c *cli) *cobra.Command {
	return c.verb("vnc HOST", "Print where the screen of a host's machine is reached by VNC", exactly("HOST"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			c.host = args[0]
			p, err := c.params("host")
			if err != nil {
				return err
			}
			var doc json.RawMessage
			if err := cl.Call(ctx, client.Op{Name: "host.instance.vnc.show", Params: p}, &doc); err != nil {
				return err
			}
			if c.output == "json" || c.output == "yaml" {
				return c.printDocument(cmd.OutOrStdout(), doc)
			}
			var v struct{ Hostname, Port string }
			if err := json.Unmarshal(doc, &v); err != nil {
				return fmt.Errorf("reading the address: %w", err)
			}
			if v.Hostname == "" {
				return errors.New("the machine has no console")
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), net.JoinHostPort(v.Hostname, v.Port))
			return err
		})
}

func hostToken(c *cli) *cobra.Command {
	cmd := c.verb("token HOST", "Print the token with which the agent of a host's new machine enrols", exactly("HOST"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			c.host = args[0]
			p, err := c.params("host")
			if err != nil {
				return err
			}
			var doc json.RawMessage
			if err := cl.Call(ctx, client.Op{Name: "host.instance.token", Params: p}, &doc); err != nil {
				return err
			}
			return c.printToken(cmd, doc)
		})
	cmd.Example = "  muster host provision web1 && muster host token web1 > token\n" +
		"  muster-agent run --bus amqps://orchestrator:5671 --token-file token"
	return cmd
}

func hostImage(c *cli) *cobra.Command {
	var distribution bool
	var settings []string
	cmd := c.verb("image HOST NAME", "Make an image of a host's machine", exactly("HOST", "NAME"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			image := model.Image{Name: args[1], CreateDistribution: distribution, Settings: []model.Setting{}}
			for _, s := range settings {
				key, value, ok := strings.Cut(s, "=")
				if !ok || key == "" {
					return usagef("--setting %q: write it as KEY=VALUE", s)
				}
				text, err := json.Marshal(value)
				if err != nil {
					return err
				}
				image.Settings = append(image.Settings, model.Setting{Key: key, Value: text})
			}
			return c.doMachine(ctx, cl, cmd, args[0], client.Op{Name: "host.instance.create_image", Body: image}, func(m machineLook) (bool, error) {
				return !m.working, m.failure()
			})
		})
	cmd.Flags().BoolVar(&distribution, "distribution", false, "make a distribution of that name, too")
	cmd.Flags().StringArrayVar(&settings, "setting", nil, "KEY=VALUE of an image parameter of the platform's driver; may be repeated")
	c.waiting(cmd)
	cmd.Flags().Lookup("wait").Usage = "wait until the image is made"
	return cmd
}

// instanceCommand shows the machine of a host: what host instance does, as a noun.
func instanceCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "instance", Short: "The machines of hosts", Example: "  muster instance show web1 -O acme -E Dev -o yaml"}
	show := hostInstance(c)
	show.Use = "show HOST"
	cmd.AddCommand(show)
	return c.scoped(cmd, "environment")
}

// machineCommand is about what drivers have to do.
func machineCommand(c *cli) *cobra.Command {
	n := noun{
		word: "machine", short: "Machines that are being made, turned or destroyed, and what went wrong with them",
		example: "  muster machine list -O acme\n  muster machine retry 0123456789ABCDEF0123456789ABCDEF",
		rows:    "machines", level: "organization", id: "id", idField: "id",
		cols: columns("ID", "id", "HOST", "host", "PLATFORM", "platform", "DO", "do", "STEP", "step", "ATTEMPTS", "attempts", "FAILED", "failed", "ERROR", "error"),
	}
	cmd := n.command(c, "list", "delete")
	for _, sub := range cmd.Commands() {
		if sub.Name() == "delete" {
			sub.Short = "Give up a machine that is to be destroyed: it is left alone"
		}
	}
	cmd.AddCommand(n.act(c, "retry", "machines.retry", "Try again at once"))
	return c.scoped(cmd, "organization")
}

// jobCommand is about actions that are due at some time.
func jobCommand(c *cli) *cobra.Command {
	n := noun{
		word: "job", short: "Jobs: actions on hosts at a date, or by a time table",
		example: "  muster job create nightly-stop --action STOP_HOST --input organizations/acme/environments/Dev/hosts/web1 --cron '0 22 * * mon-fri' -O acme\n" +
			"  muster job run nightly-stop --wait",
		rows: "jobs", level: "organization", id: "job",
		fields: withDescription(field1{"action", "action", "what to do: DELETE_HOST, PROVISION_HOST, START_HOST, STOP_HOST, ...", false},
			field1{"input", "input", "path of the host: organizations/ORG/environments/ENV/hosts/HOST", false},
			field1{"cron", "cron", "when, as five fields of crontab, in UTC", false}, field1{"date", "date", "when, once: 2018-04-04T15:37:30.612+0200", false},
			field1{"enabled", "enabled", "true or false", false}),
		cols: columns("NAME", "name", "ENABLED", "enabled", "CRON", "cron", "DATE", "date", "ACTION", "action", "INPUT", "input", "NEXT", "nextRun", "ERROR", "lastError"),
	}
	cmd := n.command(c, "list", "show", "create", "update", "delete")
	var wait bool
	run := c.verb("run JOB", "Do now what a job is for", exactly("JOB"), func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
		p, err := c.params("organization")
		if err != nil {
			return err
		}
		q := url.Values{}
		if wait {
			q.Set("wait", "true")
		}
		return cl.Call(ctx, client.Op{Name: "jobs.run", Params: with(p, "job", args[0]), Query: q}, nil)
	})
	run.Flags().BoolVar(&wait, "wait", false, "until what it begins is over")
	cmd.AddCommand(run)
	return c.scoped(cmd, "organization")
}
