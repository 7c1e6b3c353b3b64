package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/fsm/orchestrate"
)

func clusterRecover(c *cli) *cobra.Command {
	var cfg serverConfig
	var yes bool
	cmd := &cobra.Command{
		Use: "recover", Short: "After the loss of a majority for good: go on with one stopped node alone",
		Long: `After the loss of a majority for good: go on with one stopped node alone.

It works on the data folder of a stopped node, on its machine, and makes it the only member of its cluster. All that
this node had is kept. What only the lost nodes had is gone, and writes that were acknowledged are among it if this
node was behind: so choose the node with the highest index (muster debug state DATA shows it). A new epoch begins.

Afterwards start the node, check it with muster cluster status, and let the others join again with a token and EMPTY
data folders. Never start a lost node again on its old folder: two of those could go on as a cluster of their own.`,
		Example: "  muster cluster recover --data /var/lib/muster --name n1 --cluster 10.0.0.1:8001\n" +
			"  muster server --data /var/lib/muster --name n1 ...\n  muster cluster token create --uses 2 > token      # then on two others: muster server --join 10.0.0.1:8001 --token-file token",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(c.output); err != nil {
				return err
			}
			return c.recover(cmd, cfg, yes)
		},
	}
	cmd.Flags().StringVar(&cfg.Data, "data", "/var/lib/muster", "data folder of the stopped node")
	cmd.Flags().StringVar(&cfg.Name, "name", "", "name of the node (default: the one that the folder has)")
	cmd.Flags().StringVar(&cfg.Cluster, "cluster", "", "address at which other nodes will reach it, like 10.0.0.1:8001 (default: where it was)")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (c *cli) recover(cmd *cobra.Command, cfg serverConfig, yes bool) error {
	name, err := cfg.nodeOf()
	if err != nil {
		return err
	}
	if cfg.Name != "" && cfg.Name != name {
		return usagef("%s is the folder of the node %s, not of %s", cfg.Data, name, cfg.Name)
	}
	if cfg.Cluster != "" && (!isAddress(cfg.Cluster) || strings.HasPrefix(cfg.Cluster, ":")) {
		return usagef("--cluster %q is not an address like 10.0.0.1:8001", cfg.Cluster)
	}
	if !yes {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "This makes %s the only member of its cluster. What only the other nodes have is lost, and none of them may ever be "+
			"started on its old folder again.\nType %s to go on: ", name, name)
		var word string
		if _, err := fmt.Fscanln(cmd.InOrStdin(), &word); err != nil || word != name {
			return usagef("not confirmed, nothing was changed: type the node's name, %s, or give --yes", name)
		}
	}
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	done, err := cluster.Recover(ctx, cluster.Config{
		Name: name, DataDir: cfg.clusterDir(), ClusterAdvertise: cfg.Cluster, Version: version, Tables: orchestrate.Tables(),
	})
	if err != nil {
		return err
	}
	if c.output == "json" || c.output == "yaml" {
		doc, err := json.Marshal(done)
		if err != nil {
			return fmt.Errorf("printing: %w", err)
		}
		return c.printDocument(cmd.OutOrStdout(), doc)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is now the only member of its cluster, with all up to index %d of %s, in epoch %d.\nNo longer members: %s.\n"+
		"Start it, then let the others join again with a token and empty data folders.\n",
		done.Node, done.Index, done.Time.Format(time.RFC3339), done.Epoch, strings.Join(done.Dropped, ", "))
	return err
}

// nodeOf is the name of the node whose folder it is.
func (c serverConfig) nodeOf() (string, error) {
	text, err := os.ReadFile(filepath.Join(c.clusterDir(), "node.json"))
	if err != nil {
		return "", &usageError{fmt.Errorf("%s is not the data folder of a node: %w", c.Data, err)}
	}
	var r struct {
		Node string `json:"node"`
	}
	if err := json.Unmarshal(text, &r); err != nil || r.Node == "" {
		return "", &usageError{errors.New(filepath.Join(c.clusterDir(), "node.json") + " is damaged: it names no node")}
	}
	return r.Node, nil
}
