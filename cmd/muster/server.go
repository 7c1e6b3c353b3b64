package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/muster-hq/muster/internal/heap"
	"github.com/muster-hq/muster/internal/loglines"
)

func serverCommand() *cobra.Command {
	var cfg serverConfig
	var file string
	cmd := &cobra.Command{
		Use:   "server",
		Short: "run one orchestrator node",
		Long: `Run one orchestrator node: the REST API, its share of the replicated state, and a hub for agents.

On an empty data folder it makes a cluster of one, with its own certificate authority and a first
administrator, whose password it writes to DATA/admin-password. Further nodes join it:

  muster cluster token create --uses 2 > join-token                   # on the first node
  muster server --name n2 --join n1:8001 --token-file join-token      # on each other node

Nodes that are installed alike can form the cluster by themselves. Give each the same secret file, and the
cluster addresses of all:

  muster server --name n1 --bootstrap-expect 3 --join n1:8001,n2:8001,n3:8001 --token-file secret

Every flag is also a key of the YAML file given with --config, and an environment variable: --bus-listen is
bus-listen and MUSTER_BUS_LISTEN. Flags win over the environment, that over the file.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				file = os.Getenv("MUSTER_CONFIG")
			}
			if err := cfg.load(cmd, file); err != nil {
				return &usageError{err}
			}
			log, _, flush, err := newLogger(cmd.ErrOrStderr(), cfg.LogLevel)
			if err != nil {
				return &usageError{err}
			}
			defer flush()
			return runServer(cmd.Context(), cfg, log.With("node", cfg.Name))
		},
	}
	cfg.flags(cmd.Flags())
	cmd.Flags().StringVar(&file, "config", "", "YAML file with any of these settings")
	return cmd
}

// runServer runs a node until ctx ends or it fails.
func runServer(ctx context.Context, cfg serverConfig, log *slog.Logger) error {
	defer spareHeap()()
	stopProfiles, err := serveProfiles(cfg.Pprof, log)
	if err != nil {
		return err
	}
	defer stopProfiles()
	loaded := heap.Loading()
	m, err := openServer(ctx, cfg, log)
	loaded()
	if err != nil && ctx.Err() != nil {
		log.Info("stopped before the node was up", "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	log.Info("the node is up", "api", m.httpLn.Addr().String(), "data", cfg.Data, "version", version)
	select {
	case <-ctx.Done():
		log.Info("stopping")
	case err = <-m.done:
		if errors.Is(err, errLeft) {
			log.Info("left the cluster; this node's folder is of no more use to it", "data", cfg.Data)
			err = nil
		}
	}
	return errors.Join(err, m.shutdown())
}

// newLogger logs as text on a terminal, as JSON elsewhere, where lines may come a moment later and together: flush is called at
// the end. The level may be changed later.
func newLogger(w io.Writer, level string) (log *slog.Logger, l *slog.LevelVar, flush func(), err error) {
	l = new(slog.LevelVar)
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, nil, nil, fmt.Errorf("--log-level %q: give debug, info, warn or error", level)
	}
	opts := &slog.HandlerOptions{Level: l}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return slog.New(slog.NewTextHandler(w, opts)), l, func() {}, nil
	}
	lines := loglines.New(w)
	// An error of the log has nobody else to be told to.
	return slog.New(lines.Handler(slog.NewJSONHandler(lines, opts))), l, func() { _ = lines.Flush() }, nil
}
