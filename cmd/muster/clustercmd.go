package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
)

func clusterCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "cluster", Short: "The cluster of orchestrator nodes",
		Long: `The cluster of orchestrator nodes.

Each command asks one node: the one of --api, or the first of --server that answers. Give all nodes with
--server (or $MUSTER_SERVERS, with commas between), so that one that is down does not matter.`,
		Example: "  muster cluster status --server n1:8000,n2:8000,n3:8000\n  muster cluster token create --uses 2 > token\n" +
			"  muster cluster join 10.0.0.1:8001 --token-file token --api http://10.0.0.2:8000/api\n  muster cluster transfer-leadership n2",
	}
	c.serverFlag(cmd.PersistentFlags())
	cmd.AddCommand(
		clusterStatus(c), clusterToken(c), clusterJoin(c),
		c.member("remove NAME", "Take another member out of the cluster, also one that is dead; it can join again with an empty data folder", exactly("NAME"),
			func(ctx context.Context, cl *client.Client, args []string) (string, error) {
				return "removed " + args[0], cl.Call(ctx, client.Op{Name: "cluster.remove", Params: map[string]string{"name": args[0]}}, nil)
			}),
		c.member("leave", "Make the asked node leave its cluster", noArgs, func(ctx context.Context, cl *client.Client, _ []string) (string, error) {
			return "left", cl.Call(ctx, client.Op{Name: "cluster.leave"}, nil)
		}),
		c.member("transfer-leadership [NAME]", "Make another voter the leader, the one called NAME if given", atMostOne,
			func(ctx context.Context, cl *client.Client, args []string) (string, error) {
				to := strings.Join(args, "")
				return "leadership was handed over", cl.Call(ctx, client.Op{Name: "cluster.transfer", Body: spec.LeaderRequest{To: to}}, nil)
			}),
		c.member("rotate-gossip-key", "Encrypt the gossip between nodes with a new key; the leader does so by itself every 30 days", noArgs,
			func(ctx context.Context, cl *client.Client, _ []string) (string, error) {
				return "the gossip has a new key", cl.Call(ctx, client.Op{Name: "cluster.rotate"}, nil)
			}),
		c.member("rotate-login-keys", "Sign logins with a new key; ends all sessions of all users", noArgs,
			func(ctx context.Context, cl *client.Client, _ []string) (string, error) {
				return "logins are signed with a new key: everybody logs in again", cl.Call(ctx, client.Op{Name: "loginkeys.rotate"}, nil)
			}))
	cmd.AddCommand(clusterRecover(c), clusterKeyCommand(c))
	return cmd
}

// serverFlag lets a command ask the first of several nodes that answers.
func (c *cli) serverFlag(flags *pflag.FlagSet) {
	flags.StringSliceVar(&c.servers, "server", nil, "nodes to ask, in this order: host:port or an API root ($MUSTER_SERVERS)")
}

func atMostOne(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usagef("%s takes one name at most: see %s --help", cmd.CommandPath(), cmd.CommandPath())
	}
	return nil
}

// member makes a verb that does something with the members, and says so: as a line, or as a document.
func (c *cli) member(use, short string, args cobra.PositionalArgs, do func(ctx context.Context, cl *client.Client, args []string) (string, error)) *cobra.Command {
	return c.verb(use, short, args, func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
		did, err := do(ctx, cl, args)
		if err != nil {
			return err
		}
		if c.whole() {
			doc, err := json.Marshal(map[string]any{"success": true, "result": did})
			if err != nil {
				return fmt.Errorf("printing: %w", err)
			}
			return c.printDocument(cmd.OutOrStdout(), doc)
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), did)
		return err
	})
}

// serverURL is the root of the API of a node, from what was given for it.
func serverURL(s string) string {
	if strings.Contains(s, "://") {
		return s
	}
	if _, _, err := net.SplitHostPort(s); err != nil {
		s = net.JoinHostPort(strings.Trim(s, "[]"), "8000")
	}
	return "http://" + s + "/api"
}

// nodes are the API roots to ask, in order.
func (c *cli) nodes() []string {
	given := c.servers
	if env := c.getenv("MUSTER_SERVERS"); len(given) == 0 && c.api == "" && env != "" {
		given = strings.Split(env, ",")
	}
	var out []string
	for _, s := range given {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, serverURL(s))
		}
	}
	if len(out) == 0 {
		out = []string{c.or(c.api, "MUSTER_API")}
	}
	return out
}

// healthError tells by its exit code what the status says.
type healthError struct {
	code int
	text string
}

func (e *healthError) Error() string { return e.text }

// statusPatience is how long one node may take to say how the cluster is; it asks the others for that.
const statusPatience = 10 * time.Second

func clusterStatus(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "status", Short: "Show members, leader and health", Args: noArgs,
		Long: `Show members, leader and health, as the first of the nodes sees them that knows a leader.

The exit status tells the health: 0 every voter is healthy, 3 some are not, 1 there is no leader,
69 no node answers.`,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(c.output); err != nil {
			return err
		}
		doc, st, err := c.askStatus(cmd.Context())
		if err != nil {
			return err
		}
		if err := c.printCluster(cmd, doc); err != nil {
			return err
		}
		return health(st)
	}
	return cmd
}

// askStatus asks the nodes until one knows a leader; failing that, it gives what one without said.
func (c *cli) askStatus(ctx context.Context) (json.RawMessage, spec.ClusterStatus, error) {
	if ctx == nil {
		ctx = context.Background()
	}
	var best json.RawMessage
	var st spec.ClusterStatus
	var errs []error
	for _, url := range c.nodes() {
		cl, err := c.clientAt(url)
		if err != nil {
			return nil, st, err
		}
		actx, cancel := context.WithTimeout(ctx, statusPatience)
		var doc json.RawMessage
		err = cl.Call(actx, client.Op{Name: "cluster.show"}, &doc)
		cancel()
		var now spec.ClusterStatus
		if err == nil {
			err = json.Unmarshal(doc, &now)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if best == nil || now.Leader != "" {
			best, st = doc, now
		}
		if st.Leader != "" {
			break
		}
	}
	if best != nil {
		return best, st, nil
	}
	for _, err := range errs { // one that knows the caller, and refuses, has answered
		switch model.CodeOf(err) {
		case model.Unauthenticated, model.Forbidden:
			return nil, st, err
		}
	}
	return nil, st, &healthError{exitUnreachable, "no node answers: " + errors.Join(errs...).Error()}
}

// health is nil when every voter is healthy.
func health(st spec.ClusterStatus) error {
	if st.Leader == "" {
		return &healthError{exitFailed, "the cluster has no leader"}
	}
	var ill []string
	for _, m := range st.Members {
		if m.Voter && !m.Healthy {
			ill = append(ill, m.Name+" ("+oneLine(m.Problem)+")")
		}
	}
	if len(ill) > 0 {
		return &healthError{exitTasksFailed, "not healthy: " + strings.Join(ill, ", ")}
	}
	return nil
}

func (c *cli) printCluster(cmd *cobra.Command, doc json.RawMessage) error {
	if c.whole() {
		return c.printDocument(cmd.OutOrStdout(), doc)
	}
	var s struct {
		Members []json.RawMessage `json:"members"`
		Unheard int               `json:"agentsUnheard"`
	}
	if err := json.Unmarshal(doc, &s); err != nil {
		return fmt.Errorf("reading the status: %w", err)
	}
	if c.tabular() {
		err := c.printOne(cmd.OutOrStdout(), doc, columns("NODE", "node", "LEADER", "leader", "HEALTHY", "healthy", "TERM", "term", "EPOCH", "epoch",
			"SCHEMA", "schema", "VOTERS", "voters", "MAY LOSE", "failureTolerance", "BUS", "bus", "KEY", "key.id"))
		if err != nil {
			return err
		}
		if s.Unheard > 0 {
			_, err := fmt.Fprintf(cmd.ErrOrStderr(), "%d agents have not told yet what they did before the restore; their hosts get no orders\n", s.Unheard)
			if err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintln(cmd.OutOrStdout()); err != nil {
			return err
		}
	}
	for i, m := range s.Members {
		s.Members[i] = forReading(m)
	}
	return c.printList(cmd.OutOrStdout(), s.Members, columns("NAME", "name", "STATE", "state", "VOTER", "voter", "HEALTHY", "healthy", "ADDRESS", "address",
		"APPLIED", "applied", "LAG", "lag", "CONTACT MS", "lastContactMs", "SNAPSHOT", "snapshot", "DISK FREE", "disk", "LOG", "logStore",
		"CERTIFICATE", "certificateExpires", "BUS", "bus", "VERSION", "version", "PROBLEM", "problem"))
}

// forReading adds what people read more easily than milliseconds and bytes.
func forReading(member json.RawMessage) json.RawMessage {
	var m spec.ClusterMember
	var fields map[string]any
	if json.Unmarshal(member, &m) != nil || json.Unmarshal(member, &fields) != nil {
		return member
	}
	fields["snapshot"] = "-"
	if m.SnapshotIndex > 0 {
		fields["snapshot"] = fmt.Sprintf("%d (%s ago)", m.SnapshotIndex, (time.Duration(m.SnapshotAge) * time.Millisecond).Round(time.Second))
	}
	if m.DiskTotal > 0 {
		fields["disk"] = fmt.Sprintf("%.1f GiB (%d %%)", float64(m.DiskFree)/(1<<30), m.DiskFree*100/m.DiskTotal)
	}
	out, err := json.Marshal(fields)
	if err != nil {
		return member
	}
	return out
}

func clusterToken(c *cli) *cobra.Command {
	minting := func(use, short string) *cobra.Command {
		var expires string
		var uses int
		cmd := c.verb(use, short, noArgs, func(ctx context.Context, cl *client.Client, cmd *cobra.Command, _ []string) error {
			var doc json.RawMessage
			if err := cl.Call(ctx, client.Op{Name: "cluster.token", Body: spec.JoinTokenRequest{Expires: expires, Uses: &uses}}, &doc); err != nil {
				return err
			}
			return c.printToken(cmd, doc)
		})
		cmd.Flags().StringVar(&expires, "expires", "1h", "how long it holds")
		cmd.Flags().IntVar(&uses, "uses", 1, "how many nodes may join with it; 0 is any number until it expires")
		return cmd
	}
	cmd := minting("token", "Print a token that lets a node join; or list and revoke those that were made")
	cmd.Example = "  muster cluster token create --uses 2 --expires 30m > token\n  muster cluster token list\n  muster cluster token revoke 0123456789abcdef"
	cmd.AddCommand(minting("create", "Print a token that lets a node join"),
		c.verb("list", "List the join tokens; those that are of no more use for a day", noArgs, func(ctx context.Context, cl *client.Client, cmd *cobra.Command, _ []string) error {
			tokens, err := client.List[json.RawMessage](ctx, cl, client.Op{Name: "cluster.tokens.list"})
			if err != nil {
				return err
			}
			return c.printList(cmd.OutOrStdout(), tokens, columns("ID", "id", "USES", "uses", "USED", "used", "CREATED", "created", "EXPIRES", "expires", "REVOKED", "revoked"))
		}),
		c.member("revoke ID", "Make a join token useless; nodes that have joined with it stay", exactly("ID"),
			func(ctx context.Context, cl *client.Client, args []string) (string, error) {
				return "revoked " + args[0], cl.Call(ctx, client.Op{Name: "cluster.tokens.delete", Params: map[string]string{"id": args[0]}}, nil)
			}))
	return cmd
}

func clusterJoin(c *cli) *cobra.Command {
	var file string
	cmd := c.member("join ADDRESS", "Make the asked node, which must hold nothing yet, a member of the cluster at ADDRESS", exactly("ADDRESS"),
		func(ctx context.Context, cl *client.Client, args []string) (string, error) {
			if file == "" {
				return "", usagef("give the join token in a file: --token-file (muster cluster token create makes one)")
			}
			token, err := readSecret(file)
			if err != nil {
				return "", err
			}
			return "joined the cluster at " + args[0], cl.Call(ctx, client.Op{Name: "cluster.join", Body: spec.JoinRequest{Address: args[0], Token: token}}, nil)
		})
	cmd.Flags().StringVar(&file, "token-file", "", "file holding the join token")
	return cmd
}
