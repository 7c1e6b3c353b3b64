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
keep it apart from the snapshots: a snapshot without the key cannot be restored into another cluster, by nobody. Keep the
passphrase apart from both.`,
		Example: "  muster cluster key export /media/safe/muster.keys --data /var/lib/muster\n  muster cluster key rotate\n" +
			"  muster snapshot verify muster.snapshot --key-file /media/safe/muster.keys",
	}
	cmd.AddCommand(clusterKeyExport(c), clusterKeyImport(c),
		c.member("rotate", "Make a new key for the cluster, and wrap the keys of all organizations with it", noArgs,
			func(ctx context.Context, cl *client.Client, _ []string) (string, error) {
				return "the cluster has a new key: export it anew", cl.Call(ctx, client.Op{Name: "cluster.key.rotate"}, nil)
			}))
	return cmd
}

func clusterKeyExport(c *cli) *cobra.Command {
	var data string
	var clear bool
	var pass passphraseFlags
	cmd := &cobra.Command{
		Use: "export FILE", Short: "Copy the cluster's keys out of the data folder of a node, encrypted with a passphrase", Args: exactly("FILE"),
		Long: `Copy the cluster's keys, those of before included, out of the data folder of a node, which may run, and encrypt them with a
passphrase of at least 12 characters. It is asked for on a terminal; elsewhere give --passphrase-file or --passphrase-fd. The command
needs the right to read that folder, and no server. The file is made with mode 0600 and must not exist yet. It is one of age (age -d
opens it, too), armored, so that it can be printed on paper.

With --clear the keys are not encrypted: who has that file and a snapshot has all secrets.`,
		Example: "  muster cluster key export /media/safe/muster.keys\n  muster cluster key export muster.keys --passphrase-file /run/pass\n" +
			"  muster cluster key export muster.keys --passphrase-fd 3 3< <(pass show muster)",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(c.output); err != nil {
				return err
			}
			if clear && pass.given() {
				return usagef("give a passphrase or --clear, not both")
			}
			ring, err := keysIn(data)
			if err != nil {
				return err
			}
			if _, err := os.Lstat(args[0]); err == nil { // before anybody types
				return usagef("%s exists already: name a new file", args[0])
			}
			text := ring.Text()
			if clear {
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%s is not encrypted: keep it where only you come, and apart from the snapshots\n", args[0])
			} else if text, err = lockKeys(cmd, &pass, ring); err != nil {
				return err
			}
			if err := writeKeys(args[0], text); err != nil {
				return err
			}
			doc, err := json.Marshal(map[string]any{"file": args[0], "keys": ring.IDs(), "encrypted": !clear})
			if err != nil {
				return fmt.Errorf("printing: %w", err)
			}
			return c.printOne(cmd.OutOrStdout(), doc, columns("FILE", "file", "KEYS", "keys", "ENCRYPTED", "encrypted"))
		},
	}
	cmd.Flags().StringVar(&data, "data", "/var/lib/muster", "data folder of the node")
	cmd.Flags().BoolVar(&clear, "clear", false, "do not encrypt the file")
	pass.add(cmd, "that encrypts the file")
	return cmd
}

// lockKeys encrypts keys with a passphrase that is asked for, and tries whether it opens them.
func lockKeys(cmd *cobra.Command, from *passphraseFlags, ring *seal.Keyring) ([]byte, error) {
	pass, err := from.read(cmd, true)
	if err != nil {
		return nil, err
	}
	text, err := ring.Locked(pass)
	if err != nil {
		return nil, &usageError{fmt.Errorf("%w; nothing was written", err)}
	}
	if _, err := seal.ParseLocked(text, pass); err != nil {
		return nil, fmt.Errorf("the encrypted keys do not open, and were not written: %w", err)
	}
	return text, nil
}

// keysIn are the keys in the data folder of a node.
func keysIn(data string) (*seal.Keyring, error) {
	text, err := os.ReadFile(cluster.ClusterKeyPath(serverConfig{Data: data}.clusterDir()))
	if err != nil {
		return nil, &usageError{fmt.Errorf("%s has no keys of a cluster that can be read: give the data folder of a node with --data: %w", data, err)}
	}
	ring, err := seal.ParseKeyring(text)
	if err != nil {
		return nil, fmt.Errorf("the keys in %s are damaged: take them from another node: %w", data, err)
	}
	return ring, nil
}

// writeKeys writes a new file for its owner alone.
func writeKeys(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return usagef("%s exists already: name a new file", path)
	}
	if err != nil {
		return &usageError{fmt.Errorf("the keys cannot be written there: %w", err)}
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing the keys: %w", errors.Join(err, os.Remove(path)))
	}
	return nil
}

func clusterKeyImport(c *cli) *cobra.Command {
	var data string
	var file keyFile
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Put exported keys of the cluster into the data folder of a stopped node", Args: exactly("FILE"),
		Long: `Put the keys of a file that muster cluster key export wrote into the data folder of a stopped node, beside those that it has.
That is for a node whose keys are lost, when no other node has them: a node that runs gets them from the others by itself. A file
of keys there that is damaged is kept beside the new one, under a name that ends in .damaged. The passphrase of an
encrypted file is asked for on a terminal.`,
		Example: "  muster cluster key import /media/safe/muster.keys --data /var/lib/muster --passphrase-file /run/pass",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(c.output); err != nil {
				return err
			}
			if _, err := (serverConfig{Data: data}).nodeOf(); err != nil {
				return err
			}
			file.path = args[0]
			ring, err := file.read(cmd)
			if err != nil {
				return err
			}
			added, err := cluster.ImportKeys(serverConfig{Data: data}.clusterDir(), ring)
			if err != nil {
				return err
			}
			doc, err := json.Marshal(map[string]any{"file": args[0], "keys": ring.IDs(), "new": added})
			if err != nil {
				return fmt.Errorf("printing: %w", err)
			}
			return c.printOne(cmd.OutOrStdout(), doc, columns("FILE", "file", "KEYS", "keys", "NEW", "new"))
		},
	}
	cmd.Flags().StringVar(&data, "data", "/var/lib/muster", "data folder of the node")
	file.pass.add(cmd, "of the file, if it is encrypted")
	return cmd
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
