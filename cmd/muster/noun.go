package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/api/client"
)

// noun says how the plain verbs of a noun map to the API.
type noun struct {
	word, short, example string
	rows                 string // prefix of the rows' names: "hosts"
	level                string // the level that its collection is below; "" for the root
	at                   string // the level's name in the table, for rows at several levels
	id                   string // the pattern's parameter for one of them
	idField              string // the document's field that names it: "name" unless given
	cols                 []column
	fields               []field1 // flags of create and update that set a field
	// place overrides where it is, for nouns at several levels: the values of the pattern and the
	// level's name in the table.
	place func() (params map[string]string, level string, err error)
}

// field1 is a flag that sets one field of the document.
type field1 struct {
	flag, field, help string
	list              bool // the flag may be repeated, and the field is a list of texts
}

func (n noun) where(c *cli) (map[string]string, string, error) {
	if n.place != nil {
		return n.place()
	}
	p, err := c.params(n.level)
	return p, n.at, err
}

func (n noun) key() string {
	if n.idField != "" {
		return n.idField
	}
	return "name"
}

// command makes the noun's command with the verbs list, show, create, update and delete.
func (n noun) command(c *cli, verbs ...string) *cobra.Command {
	cmd := &cobra.Command{Use: n.word, Short: n.short, Example: n.example}
	for _, v := range verbs {
		switch v {
		case "list":
			cmd.AddCommand(n.list(c))
		case "show":
			cmd.AddCommand(n.completes(c, n.show(c)))
		case "create":
			cmd.AddCommand(n.waits(c, n.write(c, "create", "Create "+article(n.word)+" "+n.word)))
		case "update":
			cmd.AddCommand(n.waits(c, n.completes(c, n.write(c, "update", "Change the fields that are given; the others stay"))))
			if slices.Contains(verbs, "show") {
				cmd.AddCommand(n.waits(c, n.edit(c)))
			}
		case "delete":
			cmd.AddCommand(n.waits(c, n.completes(c, n.remove(c))))
		}
	}
	return cmd
}

// waits adds --wait where a write may make changes on hosts.
func (n noun) waits(c *cli, cmd *cobra.Command) *cobra.Command {
	switch n.rows {
	case "applications", "files", "parameters", "platforms", "distributions", "hostgroups", "environments", "organizations", "hosts", "settings":
		return c.waitingForAll(cmd)
	}
	return cmd
}

// hostgroupLevel stands for host groups among the levels of settings: in the table their settings are rows of their own.
const hostgroupLevel = "hostgroup"

// op is the operation of a verb at a level.
func (n noun) op(verb, level string, op client.Op) client.Op {
	op.Name, op.Level = n.rows+verb, level
	if level == hostgroupLevel {
		op.Name, op.Level = "hostgroups."+n.rows+verb, ""
	}
	return op
}

func (n noun) list(c *cli) *cobra.Command {
	return c.verb("list", "List them", noArgs, func(ctx context.Context, cl *client.Client, cmd *cobra.Command, _ []string) error {
		p, level, err := n.where(c)
		if err != nil {
			return err
		}
		items, err := client.List[json.RawMessage](ctx, cl, n.op(".list", level, client.Op{Params: p}))
		if err != nil {
			return err
		}
		return c.printList(cmd.OutOrStdout(), items, n.cols)
	})
}

func (n noun) show(c *cli) *cobra.Command {
	use := "show " + argName(n.id)
	return c.verb(use, "Show one", exactly(argName(n.id)), func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
		p, level, err := n.where(c)
		if err != nil {
			return err
		}
		var doc json.RawMessage
		if err := cl.Call(ctx, n.op(".show", level, client.Op{Params: with(p, n.id, args[0])}), &doc); err != nil {
			return err
		}
		return c.printOne(cmd.OutOrStdout(), doc, n.cols)
	})
}

// write makes create and update: the document comes from a file, flags lie over it, and the argument
// names the object.
func (n noun) write(c *cli, verb, short string) *cobra.Command {
	var file string
	cmd := c.verb(verb+" ["+argName(n.id)+"]", short, cobra.MaximumNArgs(1),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			p, level, err := n.where(c)
			if err != nil {
				return err
			}
			doc, err := n.document(cmd, file)
			if err != nil {
				return err
			}
			name, _ := doc[n.key()].(string)
			if len(args) == 1 {
				if verb == "create" {
					doc[n.key()] = args[0]
				}
				name = args[0]
			}
			if name == "" {
				return usagef("%s needs %s, as an argument or in the file", cmd.CommandPath(), argName(n.id))
			}
			if verb == "update" {
				p = with(p, n.id, name)
			}
			var answer json.RawMessage
			if err := cl.Call(ctx, n.op("."+verb, level, client.Op{Params: p, Body: doc, Query: n.query(cmd)}), &answer); err != nil {
				return err
			}
			return c.printOne(cmd.OutOrStdout(), answer, n.cols)
		})
	cmd.Flags().StringVarP(&file, "file", "f", "", "document in JSON or YAML; - reads standard input")
	for _, f := range n.fields {
		if f.list {
			cmd.Flags().StringSlice(f.flag, nil, f.help)
		} else {
			cmd.Flags().String(f.flag, "", f.help)
		}
	}
	return cmd
}

// query passes on the flags that are parameters of the request.
func (n noun) query(cmd *cobra.Command) url.Values {
	q := url.Values{}
	if f := cmd.Flags().Lookup("no-handlers"); f != nil && f.Changed {
		q.Set("trigger_application_handler", "false")
		q.Set("trigger_orchestration_handler", "false")
	}
	for _, name := range []string{"flavor", "populate", "default", "test"} {
		if f := cmd.Flags().Lookup(name); f != nil && f.Changed {
			q.Set(name, f.Value.String())
		}
	}
	return q
}

// document is the file's document with the flags laid over it.
func (n noun) document(cmd *cobra.Command, file string) (map[string]any, error) {
	doc := map[string]any{}
	if file != "" {
		var err error
		if doc, err = readDocument(file, cmd.InOrStdin()); err != nil {
			return nil, err
		}
	}
	for _, f := range n.fields {
		if !cmd.Flags().Changed(f.flag) {
			continue
		}
		if f.list {
			v, err := cmd.Flags().GetStringSlice(f.flag)
			if err != nil {
				return nil, fmt.Errorf("reading --%s: %w", f.flag, err)
			}
			doc[f.field] = v
			continue
		}
		v, err := cmd.Flags().GetString(f.flag)
		if err != nil {
			return nil, fmt.Errorf("reading --%s: %w", f.flag, err)
		}
		doc[f.field] = v
	}
	return doc, nil
}

func (n noun) remove(c *cli) *cobra.Command {
	use := "delete " + argName(n.id)
	return c.verb(use, "Delete one", exactly(argName(n.id)), func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
		p, level, err := n.where(c)
		if err != nil {
			return err
		}
		return cl.Call(ctx, n.op(".delete", level, client.Op{Params: with(p, n.id, args[0]), Query: n.query(cmd)}), nil)
	})
}

// clone makes the verb that copies an object under another name.
func (n noun) clone(c *cli) *cobra.Command {
	return n.completes(c, c.verb("clone "+argName(n.id)+" NEW-NAME", "Copy one under another name", exactly(argName(n.id), "NEW-NAME"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			p, level, err := n.where(c)
			if err != nil {
				return err
			}
			var doc json.RawMessage
			op := n.op(".clone", level, client.Op{Params: with(p, n.id, args[0]), Query: url.Values{"name": {args[1]}}})
			if err := cl.Call(ctx, op, &doc); err != nil {
				return err
			}
			return c.printOne(cmd.OutOrStdout(), doc, n.cols)
		}))
}

// act makes a verb that calls one row for one object and prints nothing.
func (n noun) act(c *cli, verb, row, short string) *cobra.Command {
	return n.completes(c, c.verb(verb+" "+argName(n.id), short, exactly(argName(n.id)),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			p, level, err := n.where(c)
			if err != nil {
				return err
			}
			return cl.Call(ctx, client.Op{Name: row, Level: level, Params: with(p, n.id, args[0])}, nil)
		}))
}

// argName is how help names an argument.
func argName(id string) string {
	names := map[string]string{
		"org": "ORGANIZATION", "env": "ENVIRONMENT", "host": "HOST", "app": "APPLICATION", "key": "KEY", "file": "FILE",
		"param": "PARAMETER", "group": "GROUP", "name": "NAME", "num": "NUMBER", "id": "ID",
		"plat": "PLATFORM", "dist": "DISTRIBUTION", "flavor": "FLAVOR", "hg": "HOSTGROUP", "orch": "ORCHESTRATION", "hook": "WEBHOOK",
		"chan": "CHANNEL", "mod": "MODULE", "git": "REPOSITORY", "handler": "HANDLER", "job": "JOB",
	}
	if n, ok := names[id]; ok {
		return n
	}
	return id
}

// clonedParams copies params, for verbs that ask more than once.
func clonedParams(p map[string]string) map[string]string { return maps.Clone(p) }

// description is the flag that nearly every noun has.
func description() field1 {
	return field1{"description", "description", "what it is for", false}
}

func withDescription(fields ...field1) []field1 {
	return slices.Concat([]field1{description()}, fields)
}

// article goes before a noun.
func article(word string) string {
	if strings.ContainsAny(word[:1], "aeio") {
		return "an"
	}
	return "a"
}
