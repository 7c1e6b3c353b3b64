package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/fsm/seal"
)

func clusterKeyCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "key", Short: "The key that opens the cluster's secrets, in its files and in its snapshots",
		Long: `The key that opens the cluster's secrets, in its files and in its snapshots.

What organizations keep secret is encrypted with a key of each, and these with the key of the cluster. That is in a file
of each node, DATA/cluster/pki/cluster-keys, and in no log and no snapshot. Export it once, and after each rotation, and
keep it apart from the snapshots: a snapshot without the key cannot be restored into another cluster, by nobody.`,
		Example: "  muster cluster key export /media/safe/muster.keys --data /var/lib/muster\n  muster cluster key rotate\n" +
			"  muster snapshot verify muster.snapshot --key-file /media/safe/muster.keys",
	}
	cmd.AddCommand(clusterKeyExport(c),
		c.member("rotate", "Make a new key for the cluster, and wrap the keys of all organizations with it", noArgs,
			func(ctx context.Context, cl *client.Client, _ []string) (string, error) {
				return "the cluster has a new key: export it anew", cl.Call(ctx, client.Op{Name: "cluster.key.rotate"}, nil)
			}))
	return cmd
}

func clusterKeyExport(c *cli) *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use: "export FILE", Short: "Copy the cluster's keys out of the data folder of a node", Args: exactly("FILE"),
		Long: `Copy the cluster's keys, those of before included, out of the data folder of a node, which may run. It needs the right to
read that folder, and no server. The file is made with mode 0600, must not exist yet, and is not encrypted: who has it and
a snapshot has all secrets.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(c.output); err != nil {
				return err
			}
			ring, err := exportKeys(data, args[0])
			if err != nil {
				return err
			}
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%s is not encrypted: keep it where only you come, and apart from the snapshots\n", args[0])
			doc, err := json.Marshal(map[string]any{"file": args[0], "keys": ring.IDs()})
			if err != nil {
				return fmt.Errorf("printing: %w", err)
			}
			return c.printOne(cmd.OutOrStdout(), doc, columns("FILE", "file", "KEYS", "keys"))
		},
	}
	cmd.Flags().StringVar(&data, "data", "/var/lib/muster", "data folder of the node")
	return cmd
}

func exportKeys(data, path string) (*seal.Keyring, error) {
	text, err := os.ReadFile(cluster.ClusterKeyPath(serverConfig{Data: data}.clusterDir()))
	if err != nil {
		return nil, &usageError{fmt.Errorf("%s has no keys of a cluster that can be read: give the data folder of a node with --data: %w", data, err)}
	}
	ring, err := seal.ParseKeyring(text)
	if err != nil {
		return nil, fmt.Errorf("the keys in %s are damaged: take them from another node: %w", data, err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, usagef("%s exists already: name a new file", path)
	}
	if err != nil {
		return nil, &usageError{fmt.Errorf("the keys cannot be written there: %w", err)}
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, fmt.Errorf("writing the keys: %w", errors.Join(err, os.Remove(path)))
	}
	return ring, nil
}

func organizationKey(c *cli) *cobra.Command {
	cols := columns("ID", "id", "CREATED", "created", "CLUSTER KEY", "clusterKey", "ROTATING", "rotating")
	verb := func(use, short, row string) *cobra.Command {
		return c.verb(use, short, exactly("ORGANIZATION"), func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			var doc json.RawMessage
			if err := cl.Call(ctx, client.Op{Name: row, Params: map[string]string{"org": args[0]}}, &doc); err != nil {
				return err
			}
			return c.printOne(cmd.OutOrStdout(), doc, cols)
		})
	}
	cmd := &cobra.Command{Use: "key", Short: "The key that an organization's secrets are encrypted with where they are stored",
		Example: "  muster organization key show acme\n  muster organization key rotate acme"}
	cmd.AddCommand(verb("show ORGANIZATION", "Show which key it is, and whether it is being rotated", "organizations.key.show"),
		verb("rotate ORGANIZATION", "Make a new key; what is stored is encrypted anew in the background", "organizations.key.rotate"))
	return cmd
}
