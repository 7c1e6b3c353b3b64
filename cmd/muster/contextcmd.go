package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"
)

// presentContext is the context that this command would log in with; none when flags or variables name other credentials, or
// another server.
func (c *cli) presentContext() loginContext {
	if c.or(c.appkeyFile, "MUSTER_APPKEY_FILE") != "" || c.or(c.user, "MUSTER_USER") != "" {
		return loginContext{}
	}
	for _, url := range c.nodes() {
		if at, ok, err := c.loggedIn(url); ok && err == nil { // a file that cannot be read is told when somebody is to log in
			return at
		}
	}
	return loginContext{}
}

// inOrganization is the organization that a command is about, "" when none is named: by its flag, by the variable, by the context.
func (c *cli) inOrganization() string {
	if org := c.or(c.organization, "MUSTER_ORGANIZATION"); org != "" {
		return org
	}
	return c.presentContext().Organization
}

// inEnvironment is the environment that a command is about, "" when none is named. That of the context is one of its organization
// only.
func (c *cli) inEnvironment(org string) string {
	if env := c.or(c.environment, "MUSTER_ENVIRONMENT"); env != "" {
		return env
	}
	if at := c.presentContext(); at.Organization == org {
		return at.Environment
	}
	return ""
}

func contextCommand(getenv func(string) string) *cobra.Command {
	c := &cli{getenv: getenv}
	cmd := &cobra.Command{Use: "context", Short: "Logins that are kept on this machine, and where their commands look",
		Long: `Logins that are kept on this machine, each with the organization and the environment that its commands are about when
neither a flag nor a variable names another. They hold for commands that need an organization or an environment; audit and events,
which tell of the whole site without one, go by flags and variables alone, and a folder by the organization that it names.`,
		Example: "  muster context list\n  muster context set --organization acme --environment Prod\n  muster context use production"}
	cmd.PersistentFlags().StringVarP(&c.output, "output", "o", formTable, "table, wide, json, yaml, name or jsonpath=EXPRESSION")
	change := func(use, short string, f func(all *contexts, name string)) *cobra.Command {
		return &cobra.Command{Use: use + " NAME", Short: short, Args: exactly("NAME"), ValidArgsFunction: contextNames(getenv), RunE: func(_ *cobra.Command, args []string) error {
			all, name, err := namedContext(getenv, args)
			if err != nil {
				return err
			}
			f(&all, name)
			return all.write(getenv)
		}}
	}
	cmd.AddCommand(
		&cobra.Command{Use: "list", Short: "List them, and which is in use", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			return c.listContexts(cmd.OutOrStdout())
		}},
		&cobra.Command{Use: "show [NAME]", Short: "Show one: the one in use, unless another is named", Args: atMostOne, ValidArgsFunction: contextNames(getenv),
			RunE: func(cmd *cobra.Command, args []string) error {
				if err := checkOutput(c.output); err != nil {
					return err
				}
				all, name, err := namedContext(getenv, args)
				if err != nil {
					return err
				}
				doc, err := all.document(name)
				if err != nil {
					return err
				}
				return c.printOne(cmd.OutOrStdout(), doc, contextColumns())
			}},
		setContextCommand(getenv),
		change("use", "Use another one from now on", func(all *contexts, name string) { all.Current = name }),
		change("delete", "Forget one; its session goes on at the server until it is over", func(all *contexts, name string) {
			delete(all.Contexts, name)
			if all.Current == name {
				all.Current = ""
			}
		}),
	)
	return cmd
}

// setContextCommand makes the verb that says where the commands of a context look.
func setContextCommand(getenv func(string) string) *cobra.Command {
	var org, env string
	cmd := &cobra.Command{Use: "set [NAME]", Short: "Set the organization and environment of one: of the one in use, unless another is named",
		Long: `Set the organization and the environment that commands are about when they name none. Another organization takes the
environment away, unless one is given, too. An empty text takes one away: --environment=.`,
		Args: atMostOne, ValidArgsFunction: contextNames(getenv),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, name, err := namedContext(getenv, args)
			if err != nil {
				return err
			}
			setOrg, setEnv := cmd.Flags().Changed("organization"), cmd.Flags().Changed("environment")
			if !setOrg && !setEnv {
				return usagef("set what? give --organization, --environment, or both")
			}
			at := all.Contexts[name]
			if setOrg && org != at.Organization {
				at.Organization, at.Environment = org, ""
			}
			if setEnv {
				at.Environment = env
			}
			if at.Environment != "" && at.Organization == "" {
				return usagef("environment %q of which organization? give --organization, too", at.Environment)
			}
			all.Contexts[name] = at
			return all.write(getenv)
		}}
	cmd.Flags().StringVarP(&org, "organization", "O", "", "organization that commands are about when they name none")
	cmd.Flags().StringVarP(&env, "environment", "E", "", "environment that commands are about when they name none")
	return cmd
}

// namedContext are all contexts, and the one that is named, or in use.
func namedContext(getenv func(string) string, args []string) (contexts, string, error) {
	all, err := readContexts(getenv)
	if err != nil {
		return all, "", err
	}
	name := all.Current
	if len(args) > 0 {
		name = args[0]
	}
	if _, ok := all.Contexts[name]; !ok {
		if len(args) == 0 {
			return all, "", usagef("no context is in use: log in with muster login, or choose one with muster context use")
		}
		return all, "", usagef("there is no context %q: see muster context list", name)
	}
	return all, name, nil
}

// document is a context as it is printed, without its token.
func (c contexts) document(name string) (json.RawMessage, error) {
	at := c.Contexts[name]
	b, err := json.Marshal(map[string]any{"name": name, "current": name == c.Current, "user": at.User, "server": at.Server,
		"organization": at.Organization, "environment": at.Environment})
	if err != nil {
		return nil, fmt.Errorf("printing: %w", err)
	}
	return b, nil
}

func contextColumns() []column {
	return columns("NAME", "name", "CURRENT", "current", "USER", "user", "SERVER", "server", "ORGANIZATION", "organization", "ENVIRONMENT", "environment")
}

// listContexts prints the contexts, without their tokens.
func (c *cli) listContexts(w io.Writer) error {
	if err := checkOutput(c.output); err != nil {
		return err
	}
	all, err := readContexts(c.getenv)
	if err != nil {
		return err
	}
	var items []json.RawMessage
	for _, name := range slices.Sorted(maps.Keys(all.Contexts)) {
		doc, err := all.document(name)
		if err != nil {
			return err
		}
		items = append(items, doc)
	}
	return c.printList(w, items, contextColumns())
}
