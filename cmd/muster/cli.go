package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/internal/ordered"
)

// The exit codes of the client commands.
const (
	exitDone        = 0
	exitFailed      = 1
	exitDifferences = 2  // with --detailed-exitcode: it succeeded, and there are differences
	exitTasksFailed = 3  // what was waited for ended, and a task of it failed
	exitWaitOver    = 4  // the wait ran out; the work goes on
	exitConflict    = 6  // the name is taken, the object is in use or in the wrong state
	exitUsage       = 64 // the command line or a file given on it is wrong
	exitUnreachable = 69 // no answer, or the cluster has no leader
	exitNotAllowed  = 77 // wrong credentials, or no right
)

// usageError is a fault of the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// tasksError tells that work ended with failed tasks.
type tasksError struct{ failed int }

func (e *tasksError) Error() string {
	if e.failed == 1 {
		return "a task failed"
	}
	return fmt.Sprintf("%d tasks failed", e.failed)
}

// changesError tells that changes ended with failed tasks.
type changesError struct{ failed int }

func (e *changesError) Error() string {
	if e.failed == 1 {
		return "a change failed"
	}
	return fmt.Sprintf("%d changes failed", e.failed)
}

// waitError tells that a wait ran out.
type waitError struct{ after time.Duration }

func (e *waitError) Error() string {
	return fmt.Sprintf("still not done after %s; the work goes on: see muster change list, or give --timeout", e.after)
}

// exitCode is the status for what a command returned.
func exitCode(err error) int {
	var usage *usageError
	var tasks *tasksError
	var changes *changesError
	var wait *waitError
	var health *healthError
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errDifferences):
		return exitDifferences
	case errors.As(err, &health):
		return health.code
	case errors.As(err, &tasks), errors.As(err, &changes):
		return exitTasksFailed
	case errors.As(err, &wait):
		return exitWaitOver
	case errors.As(err, &usage):
		return exitUsage
	case client.IsUnreachable(err):
		return exitUnreachable
	}
	switch model.CodeOf(err) {
	case model.Conflict:
		return exitConflict
	case model.Unauthenticated, model.Forbidden:
		return exitNotAllowed
	case model.Unavailable:
		return exitUnreachable
	}
	return exitFailed
}

// cli is what the client commands share: flags, and the ends of the process.
type cli struct {
	api, user, passwordFile, appkeyFile string
	organization, environment           string
	host, application                   string
	platform, distribution, hostgroup   string
	output                              string
	servers                             []string // of the cluster commands
	wait                                bool
	dryRun                              bool
	timeout                             time.Duration
	caused                              *client.Caused // what the writes of a command that waits have caused
	many                                bool           // on many hosts, or on none that the command names
	http                                *http.Client   // nil is the client's own
	getenv                              func(string) string
}

// newNouns are the client commands, one for each noun of the API.
func newNouns(getenv func(string) string) []*cobra.Command {
	builders := []func(*cli) *cobra.Command{
		templateCommand,
		organizationCommand, environmentCommand, hostCommand, applicationCommand, platformCommand, distributionCommand, flavorCommand, settingCommand, fileCommand,
		parameterCommand, groupCommand, hostgroupCommand, orchestrationCommand, webhookCommand, notificationCommand, jobCommand, machineCommand, instanceCommand, userCommand, keyCommand, changeCommand, complianceCommand,
		enrolTokenCommand, accountCommand, invitationCommand, eventsCommand, auditCommand, clusterCommand, snapshotCommand, debugCommand,
		exportCommand, importCommand, diffCommand, applyCommand, quotaCommand, logCommand,
	}
	var all []*cobra.Command
	for _, build := range builders {
		c := &cli{getenv: getenv}
		cmd := build(c)
		c.connection(cmd)
		all = append(all, cmd)
	}
	return append(all, loginCommand(getenv), logoutCommand(getenv), contextCommand(getenv))
}

// connection adds the flags that say where the API is and how to print.
func (c *cli) connection(cmd *cobra.Command) {
	f := cmd.PersistentFlags()
	f.StringVar(&c.api, "api", "", "root of the API, ending in /api ($MUSTER_API; default http://localhost:8000/api)")
	f.StringVar(&c.user, "user", "", "user name ($MUSTER_USER)")
	f.StringVar(&c.passwordFile, "password-file", "", "file holding the password ($MUSTER_PASSWORD_FILE)")
	f.StringVar(&c.appkeyFile, "appkey-file", "", "file holding an application key's token; wins over the user ($MUSTER_APPKEY_FILE)")
	f.BoolVar(&c.dryRun, "dry-run", false, "do nothing, and show what would be done: which hosts, which steps, how files would differ")
	f.StringVarP(&c.output, "output", "o", formTable, "table, wide, json, yaml, name or jsonpath=EXPRESSION: see muster help output")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
}

// refuseUnknown makes commands that only hold others refuse what they do not hold.
func refuseUnknown(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		refuseUnknown(sub)
		if sub.Runnable() || !sub.HasSubCommands() {
			continue
		}
		sub.Args = cobra.ArbitraryArgs
		sub.RunE = func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q for %q: see %s --help", args[0], cmd.CommandPath(), cmd.CommandPath())
			}
			return cmd.Help()
		}
	}
}

// scoped adds the flags that name where an object is, down to the level asked for.
func (c *cli) scoped(cmd *cobra.Command, level string) *cobra.Command {
	f := cmd.PersistentFlags()
	f.StringVarP(&c.organization, "organization", "O", "", "organization ($MUSTER_ORGANIZATION)")
	if level != "organization" {
		f.StringVarP(&c.environment, "environment", "E", "", "environment ($MUSTER_ENVIRONMENT)")
	}
	return cmd
}

func (c *cli) or(flag, variable string) string {
	if flag != "" {
		return flag
	}
	return c.getenv(variable)
}

// writePatience is how long a write outlives the loss of a leader or a connection. The server does it once.
const writePatience = 15 * time.Second

// client makes the client from flags and environment, for the first of several nodes that takes a connection.
func (c *cli) client() (*client.Client, error) {
	nodes := c.nodes()
	for _, url := range nodes[:len(nodes)-1] {
		if listens(url) {
			return c.clientAt(url)
		}
	}
	return c.clientAt(nodes[len(nodes)-1])
}

// listens says whether something takes connections at the address of an API.
func listens(api string) bool {
	u, err := url.Parse(api)
	if err != nil {
		return true // the error is told by the client
	}
	addr := u.Host
	if u.Port() == "" {
		addr = net.JoinHostPort(u.Hostname(), map[string]string{"https": "443"}[u.Scheme]+map[string]string{"http": "80"}[u.Scheme])
	}
	conn, err := net.DialTimeout("tcp", addr, 3*time.Second)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// clientAt makes the client of the node with that API, "" is the one on this machine.
func (c *cli) clientAt(url string) (*client.Client, error) {
	cfg := client.Config{URL: url, User: c.or(c.user, "MUSTER_USER")}
	cfg.Patience, cfg.DryRun, cfg.HTTP = writePatience, c.dryRun, c.http
	appkey, password := c.or(c.appkeyFile, "MUSTER_APPKEY_FILE"), c.or(c.passwordFile, "MUSTER_PASSWORD_FILE")
	var login loginContext
	var in bool
	var err error
	if appkey == "" && cfg.User == "" {
		if login, in, err = c.loggedIn(url); err != nil {
			return nil, err
		}
	}
	if in {
		cfg.URL, cfg.JWT = login.Server, login.Token
	}
	if cfg.URL == "" {
		cfg.URL = "http://localhost:8000/api"
	}
	switch {
	case in:
	case appkey != "":
		cfg.AppKey, err = readSecret(appkey)
	case cfg.User == "":
		return nil, usagef("who calls? log in with muster login, or set MUSTER_USER and MUSTER_PASSWORD_FILE, or MUSTER_APPKEY_FILE")
	case password == "":
		return nil, usagef("give the password of %s in a file: MUSTER_PASSWORD_FILE or --password-file", cfg.User)
	default:
		cfg.Password, err = readSecret(password)
	}
	if err != nil {
		return nil, err
	}
	cl, err := client.New(cfg)
	if err != nil {
		return nil, &usageError{err}
	}
	return cl, nil
}

// readSecret reads a secret from a file, without its final line end.
func readSecret(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", &usageError{fmt.Errorf("reading a secret: %w", err)}
	}
	s := strings.TrimRight(string(b), "\r\n")
	if s == "" {
		return "", usagef("%s is empty: it must hold the secret", path)
	}
	return s, nil
}

// params are the values for a pattern down to a level, from flags and environment.
func (c *cli) params(level string) (map[string]string, error) {
	p := map[string]string{}
	if level == "" {
		return p, nil
	}
	if p["org"] = c.inOrganization(); p["org"] == "" {
		return nil, usagef("which organization? give --organization, set MUSTER_ORGANIZATION, or keep one with muster context set")
	}
	if level == "organization" {
		return p, nil
	}
	if level == "application" {
		if p["app"] = c.application; p["app"] == "" {
			return nil, usagef("which application? give --application")
		}
		return p, nil
	}
	if p["env"] = c.inEnvironment(p["org"]); p["env"] == "" {
		return nil, usagef("which environment? give --environment, set MUSTER_ENVIRONMENT, or keep one with muster context set")
	}
	if level == "environment" {
		return p, nil
	}
	if p["host"] = c.host; p["host"] == "" {
		return nil, usagef("which host? give --host")
	}
	if level == "context" {
		p["app"] = c.application
	}
	return p, nil
}

// with adds one value to params.
func with(p map[string]string, key, value string) map[string]string {
	p[key] = value
	return p
}

// readDocument reads a document from a file (- is standard input), in JSON or YAML.
func readDocument(path string, stdin io.Reader) (map[string]any, error) {
	var b []byte
	var err error
	if path == "-" {
		b, err = io.ReadAll(stdin)
	} else {
		b, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, &usageError{fmt.Errorf("reading the document: %w", err)}
	}
	var v any
	if trimmed := bytes.TrimSpace(b); len(trimmed) > 0 && trimmed[0] == '{' {
		v, err = ordered.Decode(b)
	} else {
		v, err = decodeYAML(b)
	}
	if err != nil {
		return nil, usagef("%s is neither JSON nor YAML of one object: %s", path, err)
	}
	if v == nil {
		return nil, usagef("%s is empty: it must hold an object", path)
	}
	doc, ok := v.(*ordered.Object)
	if !ok {
		return nil, usagef("%s is neither JSON nor YAML of one object: begin with a field", path)
	}
	return doc.Map(), nil
}

// parseValue reads a setting's value as typed: JSON where it is JSON, else text.
func parseValue(s string) any {
	dec := json.NewDecoder(strings.NewReader(s))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err == nil {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			return v
		}
	}
	return s
}

// isTerminal tells whether w is a terminal: only there progress is shown.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// exactly wants n arguments, named for the error's text.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return usagef("%s needs %s: see %s --help", cmd.CommandPath(), strings.Join(names, " "), cmd.CommandPath())
		}
		return nil
	}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no argument, but got %q: see %s --help", cmd.CommandPath(), args[0], cmd.CommandPath())
	}
	return nil
}

// run is the shape of a verb's body.
type run func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error

// verb makes a command that calls the API.
func (c *cli) verb(use, short string, args cobra.PositionalArgs, do run) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: args,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(c.output); err != nil {
				return err
			}
			if c.wait && c.timeout <= 0 {
				return usagef("--timeout %s: give a time above 0, like 10m", c.timeout)
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			if ctx == nil {
				ctx = context.Background()
			}
			if c.wait {
				cl, c.caused = cl.Following()
			}
			err = do(ctx, cl, cmd, args)
			if c.many && c.wait && (err == nil || errors.Is(err, errDifferences)) {
				if judged := c.judge(ctx, cmd); judged != nil {
					err = judged
				}
			}
			return c.planned(cmd.OutOrStdout(), err)
		},
	}
}
