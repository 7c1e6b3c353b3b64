package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/fsm/model"
)

// contexts is the file in which the client commands keep where they are logged in.
type contexts struct {
	Current  string                  `yaml:"current"`
	Contexts map[string]loginContext `yaml:"contexts"`
}

// loginContext is one login. The token is that of a session, which the server can revoke. Organization and environment are where
// commands look that name none.
type loginContext struct {
	Server       string `yaml:"server"`
	User         string `yaml:"user"`
	Token        string `yaml:"token"`
	Organization string `yaml:"organization,omitempty"`
	Environment  string `yaml:"environment,omitempty"`
}

// contextsFile is where contexts are kept (XDG base directories); "" when there is no place.
func contextsFile(getenv func(string) string) string {
	dir := getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) {
		home := getenv("HOME")
		if home == "" {
			return ""
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "muster", "contexts.yaml")
}

// readContexts reads the file; one that is missing holds nothing.
func readContexts(getenv func(string) string) (contexts, error) {
	c := contexts{Contexts: map[string]loginContext{}}
	path := contextsFile(getenv)
	if path == "" {
		return c, nil
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		c, err = decodeContexts(b)
	}
	if err != nil {
		return c, &usageError{fmt.Errorf("%s cannot be read: mend or remove it: %w", path, err)}
	}
	return c, nil
}

func decodeContexts(b []byte) (c contexts, err error) {
	err = yaml.Unmarshal(b, &c)
	if c.Contexts == nil {
		c.Contexts = map[string]loginContext{}
	}
	return c, err
}

// write replaces the file whole, readable by its owner alone.
func (c contexts) write(getenv func(string) string) error {
	path := contextsFile(getenv)
	if path == "" {
		return usagef("there is no place for the login: set HOME or XDG_CONFIG_HOME")
	}
	b, err := yaml.Marshal(c)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".contexts-") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// loggedIn is the present context, when commands are to use it: without other credentials, and for its server only.
func (c *cli) loggedIn(url string) (loginContext, bool, error) {
	all, err := readContexts(c.getenv)
	if err != nil {
		return loginContext{}, false, err
	}
	at, ok := all.Contexts[all.Current]
	return at, ok && (url == "" || strings.TrimRight(url, "/") == at.Server), nil
}

func loginCommand(getenv func(string) string) *cobra.Command {
	c := &cli{getenv: getenv}
	var name, code, expires string
	cmd := &cobra.Command{
		Use: "login", Short: "Log in, and keep a token for the other commands",
		Long: `Log in with a user and a password, and keep the token of the session, readable by its owner alone, in
$XDG_CONFIG_HOME/muster/contexts.yaml. The password is asked for on a terminal, else read from standard input
or --password-file; it is kept nowhere. The other commands use the login unless flags or variables say otherwise.`,
		Example: "  muster login --api https://muster.example.org/api --user anna\n  muster login --user anna --password-file /run/anna.pw --expires 720h",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.login(cmd, name, code, expires)
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.api, "api", "", "root of the API, ending in /api ($MUSTER_API; default http://localhost:8000/api)")
	f.StringVar(&c.user, "user", "", "user name ($MUSTER_USER)")
	f.StringVar(&c.passwordFile, "password-file", "", "file holding the password ($MUSTER_PASSWORD_FILE); default: ask")
	f.StringVar(&name, "context", "default", "name to keep the login under")
	f.StringVar(&code, "code", "", "one-time code, where the account has them")
	f.StringVar(&expires, "expires", "", "how long the session holds (default 12h, at most 720h)")
	return cmd
}

func (c *cli) login(cmd *cobra.Command, name, code, expires string) error {
	cfg := client.Config{URL: strings.TrimRight(c.or(c.api, "MUSTER_API"), "/"), User: c.or(c.user, "MUSTER_USER"), Code: code}
	if cfg.URL == "" {
		cfg.URL = "http://localhost:8000/api"
	}
	if cfg.User == "" {
		return usagef("who logs in? give --user")
	}
	var err error
	if file := c.or(c.passwordFile, "MUSTER_PASSWORD_FILE"); file != "" {
		cfg.Password, err = readSecret(file)
	} else {
		cfg.Password, err = askPassword(cmd.Context(), cmd.InOrStdin(), cmd.ErrOrStderr(), cfg.User)
	}
	if err != nil {
		return err
	}
	cl, err := client.New(cfg)
	if err != nil {
		return &usageError{err}
	}
	host, _ := os.Hostname()
	var s model.Session
	body := map[string]any{"description": "muster on " + host, "expires": expires}
	if err := cl.Call(cmd.Context(), client.Op{Name: "account.sessions.create", Body: body}, &s); err != nil {
		if code == "" && model.CodeOf(err) == model.Unauthenticated {
			return fmt.Errorf("%w (an account with one-time codes needs the present one: --code)", err)
		}
		return err
	}
	all, err := readContexts(c.getenv)
	if err != nil {
		return err
	}
	all.Current = name
	at := loginContext{Server: cfg.URL, User: cfg.User, Token: s.Token}
	if was := all.Contexts[name]; was.Server == at.Server {
		at.Organization, at.Environment = was.Organization, was.Environment
	}
	all.Contexts[name] = at
	if err := all.write(c.getenv); err != nil {
		return fmt.Errorf("keep the login: %w", err)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "logged in as %s at %s until %s\n", cfg.User, cfg.URL, s.Expires)
	return nil
}

func logoutCommand(getenv func(string) string) *cobra.Command {
	return &cobra.Command{
		Use: "logout", Short: "End the present login: the server forgets its session, this machine its token",
		Example: "  muster logout", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := readContexts(getenv)
			if err != nil {
				return err
			}
			at, ok := all.Contexts[all.Current]
			if !ok {
				return usagef("nobody is logged in: see muster context list")
			}
			cl, err := client.New(client.Config{URL: at.Server, JWT: at.Token})
			if err == nil {
				err = cl.Call(cmd.Context(), client.Op{Name: "account.sessions.delete", Params: map[string]string{"id": "current"}}, nil)
			}
			if err != nil && model.CodeOf(err) != model.Unauthenticated { // over already
				return err
			}
			delete(all.Contexts, all.Current)
			all.Current = ""
			return all.write(getenv)
		},
	}
}

// accountCommand is for one's own account.
func accountCommand(c *cli) *cobra.Command {
	cols := columns("ID", "uuid", "KIND", "kind", "FROM", "address", "BEGAN", "created", "ENDS", "expires", "WHAT", "description")
	cmd := &cobra.Command{
		Use: "account", Short: "Your own account: sessions, and registering one",
		Example: "  muster account sessions\n  muster account revoke ID\n  muster account confirm      # asks for the token of the letter",
	}
	cmd.AddCommand(
		c.verb("sessions", "List your sessions", noArgs, func(ctx context.Context, cl *client.Client, cmd *cobra.Command, _ []string) error {
			items, err := client.List[json.RawMessage](ctx, cl, client.Op{Name: "account.sessions.list"})
			if err != nil {
				return err
			}
			return c.printList(cmd.OutOrStdout(), items, cols)
		}),
		c.verb("revoke ID", "End one of your sessions", exactly("ID"), func(ctx context.Context, cl *client.Client, _ *cobra.Command, args []string) error {
			return cl.Call(ctx, client.Op{Name: "account.sessions.delete", Params: map[string]string{"id": args[0]}}, nil)
		}),
		c.openVerb("confirm", "Confirm a registration with the token of its letter, which is asked for or read from standard input", noArgs,
			func(ctx context.Context, cl *client.Client, cmd *cobra.Command, _ []string) error {
				token, err := askSecret(cmd.Context(), cmd.InOrStdin(), cmd.ErrOrStderr(), "Token")
				if err != nil {
					return err
				}
				if token == "" {
					return usagef("there is no token on standard input: type it, or send it there")
				}
				return cl.Call(ctx, client.Op{Name: "account.confirm", Body: map[string]string{"token": token}}, nil)
			}),
		registerCommand(c), codesCommand(c),
		c.plainVerb(operation{use: "show", short: "Show who you are", row: "account.show",
			cols: columns("NAME", "username", "FULL NAME", "fullname", "EMAIL", "email", "ADMIN", "admin", "CODES", "totp", "SESSION", "session")}),
	)
	cmd.AddCommand(identityVerbs(c)...)
	return cmd
}

func registerCommand(c *cli) *cobra.Command {
	var file, email, full string
	cmd := c.openVerb("register NAME", "Ask for an account, where the server takes registrations", exactly("NAME"),
		func(ctx context.Context, cl *client.Client, _ *cobra.Command, args []string) error {
			if file == "" || email == "" {
				return usagef("give --new-password-file and --email")
			}
			password, err := readSecret(file)
			if err != nil {
				return err
			}
			return cl.Call(ctx, client.Op{Name: "account.register",
				Body: map[string]any{"username": args[0], "password": password, "email": email, "fullname": full}}, nil)
		})
	cmd.Flags().StringVar(&file, "new-password-file", "", "file holding the password of the new account")
	cmd.Flags().StringVar(&email, "email", "", "mail address, where the confirmation goes")
	cmd.Flags().StringVar(&full, "fullname", "", "your name")
	return cmd
}

// openVerb is a verb that needs no login.
func (c *cli) openVerb(use, short string, args cobra.PositionalArgs, do run) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: args, RunE: func(cmd *cobra.Command, args []string) error {
		url := c.or(c.api, "MUSTER_API")
		if url == "" {
			url = "http://localhost:8000/api"
		}
		cl, err := client.New(client.Config{URL: url})
		if err != nil {
			return &usageError{err}
		}
		return do(cmd.Context(), cl, cmd, args)
	}}
}

// invitationCommand is for the administrators of an organization.
func invitationCommand(c *cli) *cobra.Command {
	n := noun{
		word: "invitation", short: "Names in groups that were nobody's account: confirm who they are",
		example: "  muster invitation list -O acme\n  muster invitation confirm ID -O acme",
		rows:    "invitations", level: "organization", id: "id", idField: "uuid",
		cols: columns("ID", "uuid", "USER", "username", "GROUP", "group", "ENVIRONMENT", "environment", "HOST", "host", "REGISTERED", "registered", "BY", "by"),
	}
	cmd := n.command(c, "list", "delete")
	cmd.AddCommand(n.act(c, "confirm", "invitations.confirm", "Make the user who has the name now a member of the group"))
	return c.scoped(cmd, "organization")
}
