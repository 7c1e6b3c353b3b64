package main

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/api/client"
)

// completeWithin bounds what a key press waits for the server.
const completeWithin = 2 * time.Second

// completing is one completion: what the flags and the arguments before the cursor say.
type completing struct {
	c      *cli
	cl     *client.Client
	words  []string // what the arguments of the command are called: HOST, APPLICATION
	args   []string // those that are there
	verb   string
	parent string // the word before the verb: "platform" of host platform show
}

// arg is the argument that is called by a word, "" when it is not there yet.
func (x *completing) arg(word string) string {
	if i := slices.Index(x.words, word); i >= 0 && i < len(x.args) {
		return x.args[i]
	}
	return ""
}

// names asks the server for names; without an answer there are none. field names the objects of the list.
func (x *completing) names(ctx context.Context, op client.Op, field string) []string {
	items, err := client.List[map[string]json.RawMessage](ctx, x.cl, op)
	if err != nil {
		return nil
	}
	var out []string
	for _, it := range items {
		out = append(out, plainText(it[field]))
	}
	return out
}

// plainText is a name, or a number as text.
func plainText(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// place are the params of a level, from flags, variables and arguments; nil when something is missing.
func (x *completing) place(level string) map[string]string {
	if h := x.arg("HOST"); h != "" {
		x.c.host = h
	}
	p, err := x.c.params(level)
	if err != nil {
		return nil
	}
	return p
}

// candidates are the values of a word: an argument's name, or a flag's in capitals.
func (x *completing) candidates(ctx context.Context, word string) []string {
	switch word {
	case "HOST":
		if p := x.place("environment"); p != nil {
			return x.names(ctx, client.Op{Name: "hosts.list", Params: p}, "name")
		}
		return nil
	case "APPLICATION":
		if x.arg("HOST") != "" && x.verb != "install" {
			if p := x.place("host"); p != nil {
				return x.names(ctx, client.Op{Name: "host.applications.list", Params: p}, "application")
			}
			return nil
		}
	case "SERVICE", "PACKAGE", "HANDLER", "FILE":
		return x.parts(ctx, word)
	case "NUMBER":
		if p := x.place("host"); p != nil {
			return x.names(ctx, client.Op{Name: "host.changes.list", Params: p, Query: map[string][]string{"show_processed": {"true"}}}, "orderNum")
		}
		return nil
	case "NAME", "USER":
		if x.parent == "platform" || x.parent == "distribution" {
			return x.candidates(ctx, strings.ToUpper(x.parent))
		}
		return x.names(ctx, client.Op{Name: "users.list"}, "username")
	}
	row, ok := collectionRows()[word]
	if !ok {
		return nil
	}
	level := "organization"
	if word == "ORGANIZATION" || word == "FLAVOR" {
		level = ""
	}
	if p := x.place(level); p != nil {
		return x.names(ctx, client.Op{Name: row, Params: p}, "name")
	}
	return nil
}

// collectionRows are the lists that hold the values of a word.
func collectionRows() map[string]string {
	return map[string]string{
		"ORGANIZATION": "organizations.list", "ENVIRONMENT": "environments.list", "APPLICATION": "applications.list",
		"PLATFORM": "platforms.list", "DISTRIBUTION": "distributions.list", "FLAVOR": "flavors.list", "HOSTGROUP": "hostgroups.list",
		"ORCHESTRATION": "orchestrations.list", "WEBHOOK": "webhooks.list", "CHANNEL": "notifications.list", "GROUP": "groups.list", "JOB": "jobs.list",
	}
}

// parts are the services, packages, handlers or files of an application, or the files of a host's platform or distribution.
func (x *completing) parts(ctx context.Context, word string) []string {
	p := x.place("organization")
	list := strings.ToLower(word) + "s"
	op := client.Op{Name: "applications.show", Params: p}
	switch app := x.arg("APPLICATION"); {
	case p == nil:
		return nil
	case app != "":
		p["app"] = app
	case x.parent == "platform" || x.parent == "distribution":
		var doc map[string]json.RawMessage
		host := x.place("host")
		if host == nil || x.cl.Call(ctx, client.Op{Name: "host." + x.parent + ".show", Params: host}, &doc) != nil {
			return nil
		}
		op.Name = x.parent + "s.show"
		p[x.parent[:4]] = plainText(doc[x.parent])
	default:
		return nil
	}
	var doc map[string]json.RawMessage
	if x.cl.Call(ctx, op, &doc) != nil {
		return nil
	}
	var items []struct {
		Name string `json:"name"`
	}
	if json.Unmarshal(doc[list], &items) != nil {
		return nil
	}
	var out []string
	for _, it := range items {
		out = append(out, it.Name)
	}
	return out
}

// completeFlags are the flags whose values are names, by what they name.
func completeFlags() map[string]string {
	return map[string]string{"organization": "ORGANIZATION", "environment": "ENVIRONMENT", "host": "HOST", "application": "APPLICATION",
		"platform": "PLATFORM", "distribution": "DISTRIBUTION", "hostgroup": "HOSTGROUP", "orchestration": "ORCHESTRATION", "flavor": "FLAVOR",
		"install": "APPLICATION", "move-to": "ENVIRONMENT", "group": "GROUP"}
}

// addCompletion gives every command the completion of its arguments and flags.
func addCompletion(cmd *cobra.Command, getenv func(string) string) {
	for _, sub := range cmd.Commands() {
		addCompletion(sub, getenv)
	}
	words := argumentsOf(cmd.Use)
	switch {
	case cmd.ValidArgsFunction != nil || cmd.HasSubCommands():
	case len(words) == 0:
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	default:
		cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(args) >= len(words) {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			if word := words[len(args)]; word == "PATH" || word == "DIR" || word == "DATA" || cmd.HasParent() && cmd.Parent().Name() == "snapshot" {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return complete(cmd, getenv, words, args, words[len(args)], typed)
		}
	}
	known := completeFlags()
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if f := cmd.PersistentFlags().Lookup(name); f == nil || f.Value.Type() == "bool" {
			if f = cmd.LocalNonPersistentFlags().Lookup(name); f == nil || f.Value.Type() == "bool" {
				continue
			}
		}
		// It fails for a flag that is registered already: that completion stays.
		_ = cmd.RegisterFlagCompletionFunc(name, func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			return complete(cmd, getenv, words, args, known[name], typed)
		})
	}
	if cmd.PersistentFlags().Lookup("output") != nil {
		_ = cmd.RegisterFlagCompletionFunc("output", func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
			forms, directive := beginning([]string{formTable, formWide, "json", "yaml", "name", formPath}, typed)
			if len(forms) == 1 && forms[0] == formPath {
				directive |= cobra.ShellCompDirectiveNoSpace // the expression follows
			}
			return forms, directive
		})
	}
}

// argumentsOf are the words in capitals that a command's usage begins with.
func argumentsOf(use string) []string {
	var words []string
	for _, w := range strings.Fields(use)[1:] {
		w = strings.Trim(w, "[]")
		if w != strings.ToUpper(w) || strings.HasPrefix(w, "-") {
			break
		}
		words = append(words, w)
	}
	return words
}

// complete answers with the values that begin with what is typed.
func complete(cmd *cobra.Command, getenv func(string) string, words, args []string, word, typed string) ([]string, cobra.ShellCompDirective) {
	x := &completing{c: flagged(cmd, getenv), words: words, args: args, verb: cmd.Name()}
	if cmd.HasParent() {
		x.parent = cmd.Parent().Name()
	}
	ctx, cancel := context.WithTimeout(context.Background(), completeWithin)
	defer cancel()
	var err error
	if x.cl, err = x.c.client(); err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return beginning(x.candidates(ctx, word), typed)
}

// beginning are the names that begin with what is typed. A name that a line of completions cannot carry is left out.
func beginning(names []string, typed string) ([]string, cobra.ShellCompDirective) {
	names = slices.DeleteFunc(names, func(n string) bool {
		return n == "" || !strings.HasPrefix(n, typed) || oneLine(n) != n
	})
	slices.Sort(names)
	return slices.Compact(names), cobra.ShellCompDirectiveNoFileComp
}

// flagged is what the flags of a command say.
func flagged(cmd *cobra.Command, getenv func(string) string) *cli {
	text := func(name string) string {
		if f := cmd.Flags().Lookup(name); f != nil && f.Value.Type() == "string" {
			return f.Value.String()
		}
		return ""
	}
	return &cli{
		api: text("api"), user: text("user"), passwordFile: text("password-file"), appkeyFile: text("appkey-file"),
		organization: text("organization"), environment: text("environment"), host: text("host"), application: text("application"),
		getenv: getenv, http: &http.Client{Timeout: completeWithin},
	}
}

// completes gives a verb of a noun the completion of its first argument: the names in its collection.
func (n noun) completes(c *cli, cmd *cobra.Command) *cobra.Command {
	cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		c.http = &http.Client{Timeout: completeWithin}
		p, level, err := n.where(c)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		x := &completing{c: c}
		if x.cl, err = c.client(); err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(context.Background(), completeWithin)
		defer cancel()
		return beginning(x.names(ctx, n.op(".list", level, client.Op{Params: p}), n.key()), typed)
	}
	return cmd
}

// contextNames completes the names of the logins that are kept here.
func contextNames(getenv func(string) string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		all, err := readContexts(getenv)
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return beginning(slices.Collect(maps.Keys(all.Contexts)), typed)
	}
}
