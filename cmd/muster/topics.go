package main

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
)

// errDifferences tells, as exit code 2, that a command succeeded and found differences. Nothing is printed for it.
var errDifferences = errors.New("there are differences")

// typeFirst is what `muster` alone says: what to type, by whether somebody is logged in.
func typeFirst(w io.Writer, getenv func(string) string) error {
	text := `Muster keeps machines in the state that their owners described. Nobody is logged in. Type one of:

  muster dev                                             try it out: one process, which prints what to type next
  muster login --api http://HOST:8000/api --user NAME    use an installation that is there already
  muster server --help                                   run a node
`
	all, err := readContexts(getenv)
	if at, ok := all.Contexts[all.Current]; err == nil && ok {
		text = fmt.Sprintf(`Muster keeps machines in the state that their owners described. You are %s at %s. Type one of:

  muster organization list                               what there is
  muster host list -O ORGANIZATION -E ENVIRONMENT
  muster account show                                    who you are
`, oneLine(at.User), oneLine(at.Server))
	} else if getenv("MUSTER_USER") != "" || getenv("MUSTER_APPKEY_FILE") != "" {
		text = `Muster keeps machines in the state that their owners described. Your login is in the environment. Type one of:

  muster organization list                               what there is
  muster host list -O ORGANIZATION -E ENVIRONMENT
`
	}
	_, err = io.WriteString(w, text+"  muster --help                                          all commands\n  muster help exit-codes                                 what scripts need to know\n")
	return err
}

// helpTopics are the pages of muster help that belong to no command.
func helpTopics() []*cobra.Command {
	return []*cobra.Command{
		{Use: "exit-codes", Short: "What the exit status tells", Long: `Every command ends with one of these:

   0   done
   1   failed: the server refused it, or there is no such object
   2   done, and there are differences (only with --detailed-exitcode)
   3   some hosts failed: what was waited for ended with failed tasks, or a part of a cluster is not healthy
   4   the wait ran out (--timeout); the work goes on
   6   conflict: the name is taken, the object is in use or in the wrong state, or it changed meanwhile
  64   usage: the command line is wrong, or a file given on it
  69   unreachable: no answer, or the cluster has no leader
  77   not allowed: wrong credentials, or no right

Errors are one line on standard error. Standard output holds only what was asked for.`},
		{Use: "output", Short: "What -o prints", Long: `-o says how objects are printed:

  table            columns for people, the default
  wide             the same with every further plain field
  json, yaml       the documents as the server has them; what show prints goes back in with create -f
  name             the name alone, a line each
  jsonpath=WHAT    what a JSONPath (RFC 9535) finds: a text as it is, all else as JSON

WHAT is one expression, whose values come a line each, or a text with expressions in braces. Lists are printed as
JSON arrays, so an expression for a list begins with [*]:`,
			Example: `  muster host list -O acme -E Dev -o name
  muster host list -O acme -E Dev -o jsonpath='[*].name'
  muster host list -O acme -E Dev -o jsonpath='[?@.state == "READY"].name'
  muster host show web1 -O acme -E Dev -o jsonpath='{.name} is {.state}{"\n"}'`},
		{Use: "variables", Short: "What comes from the environment", Long: `Flags win over variables, and variables over the login that muster login keeps,
with the organization and environment that muster context set gave it:

  MUSTER_API             root of the API, ending in /api; default http://localhost:8000/api
  MUSTER_SERVERS         nodes, parted by commas: the first that listens is asked, unless --api is given
  MUSTER_USER            user name, with MUSTER_PASSWORD_FILE
  MUSTER_PASSWORD_FILE   file holding the password
  MUSTER_APPKEY_FILE     file holding an application key's token
  MUSTER_ORGANIZATION    organization, where none is given
  MUSTER_ENVIRONMENT     environment, where none is given
  XDG_CONFIG_HOME        where logins are kept: muster/contexts.yaml (default: ~/.config)
  VISUAL, EDITOR         what the verb edit starts (default: vi)

Secrets are never arguments: they are read from files, from standard input, or asked for on a terminal.`},
	}
}

// sorted puts the commands into groups, for the help.
func sorted(root *cobra.Command) {
	groups := []struct {
		title string
		names []string
	}{
		{"Begin:", []string{"dev", "server", "login", "logout", "context", "account"}},
		{"Describe:", []string{"organization", "environment", "application", "file", "parameter", "setting", "platform", "distribution", "flavor", "template"}},
		{"Hosts, and what happens on them:", []string{"host", "instance", "change", "machine", "compliance", "hostgroup", "orchestration", "job", "enrol-token"}},
		{"Folders and files:", []string{"export", "import", "diff", "apply", "edit"}},
		{"People and programs:", []string{"user", "group", "key", "invitation", "quota", "webhook", "notification", "events", "audit", "log"}},
		{"The cluster:", []string{"cluster", "snapshot", "debug", "recover"}},
	}
	for _, g := range groups {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title})
	}
	for _, cmd := range root.Commands() {
		for _, g := range groups {
			if slices.Contains(g.names, cmd.Name()) {
				cmd.GroupID = g.title
			}
		}
	}
}
