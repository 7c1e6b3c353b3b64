package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/seal"
	"github.com/muster-hq/muster/fsm/state"
)

// snapshotAPI gives and takes the whole state for the REST API.
type snapshotAPI struct{ n *cluster.Node }

// Save streams a snapshot.
func (s snapshotAPI) Save(ctx context.Context, w io.Writer) error {
	_, err := s.n.SaveSnapshot(ctx, w)
	return err
}

// Restore replaces the state, if it is that cluster's.
func (s snapshotAPI) Restore(ctx context.Context, id string, keys []byte, r io.Reader) error {
	if id != s.n.ClusterID() {
		return model.Errorf(model.Conflict, "this is the cluster %s, not %s: nothing was changed", s.n.ClusterID(), id)
	}
	if len(keys) == 0 {
		return s.n.RestoreSnapshot(ctx, r)
	}
	ring, err := seal.ParseKeyring(keys)
	if err != nil {
		return model.Errorf(model.Invalid, "the file of cluster keys: %v; nothing was changed", err)
	}
	return s.n.RestoreSealed(ctx, r, ring)
}

func snapshotCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "snapshot", Short: "Save, restore and check snapshots of the whole cluster",
		Long: `Save, restore and check snapshots of the whole cluster.

A snapshot is all that the cluster knows at one moment: organizations, hosts, settings, users, changes. Settings and
other secrets in it are sealed, and open with the cluster's key only, which is in no snapshot: keep a copy of that
elsewhere (muster cluster key export). Names and digests of passwords are not sealed: keep a
snapshot as you keep a password. save and restore talk to a node, the one of --api or the first of --server that answers, and are for
administrators of the site; inspect and verify read a file, or one of the folders in DATA/cluster/raft/snapshots, and need no server.`,
		Example: "  muster snapshot save muster.snapshot\n  muster snapshot verify muster.snapshot\n  muster snapshot restore muster.snapshot",
	}
	save, restore := snapshotSave(c), snapshotRestore(c)
	c.serverFlag(save.Flags())
	c.serverFlag(restore.Flags())
	cmd.AddCommand(save, restore,
		snapshotLook(c, "inspect", "Say what a snapshot holds", `Say what a snapshot holds: rows for each table, index, term, epoch, schema, time and size. Of a damaged one, what could
be read before the damage, and where that is; the status is then 1.`),
		snapshotLook(c, "verify", "Read a snapshot through and check its checksums", `Read a snapshot through and check its checksums. The status is 0 when it is whole, and 1 when it is not; then it says where
the damage is. It names the cluster keys that the snapshot is sealed with, which are kept apart; with --key-file it tries
whether that file opens it.`))
	return cmd
}

func snapshotSave(c *cli) *cobra.Command {
	cmd := c.verb("save FILE", "Write a snapshot of the running cluster to a file", exactly("FILE"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			look, err := saveSnapshot(ctx, cl, args[0], c.progress(cmd, "received"))
			if err != nil {
				return err
			}
			return c.printLook(cmd, look)
		})
	cmd.Long = `Write a snapshot of the running cluster to a file. Any node can be asked; it holds all that was acknowledged before,
and nobody has to wait for it. The file appears whole, checked and with mode 0600, or not at all; one of that name is
replaced.

It holds secrets: keep it as you keep a password.`
	return cmd
}

// saveSnapshot fetches a snapshot, checks it and puts it in its place.
func saveSnapshot(ctx context.Context, cl *client.Client, path string, meter *meter) (*look, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return nil, &usageError{fmt.Errorf("the snapshot cannot be written there: %w", err)}
	}
	defer os.Remove(f.Name())
	defer f.Close()
	meter.to = f
	err = cl.Stream(ctx, client.Op{Name: "cluster.snapshot.save"}, nil, 0, meter)
	meter.end()
	if err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, fmt.Errorf("writing the snapshot: %w", err)
	}
	l, err := lookAt(f.Name(), nil)
	if err != nil {
		return nil, fmt.Errorf("what came is no whole snapshot, and was not kept: %w", err)
	}
	if sum := hex.EncodeToString(meter.sum.Sum(nil)); sum != l.SHA256 {
		return nil, fmt.Errorf("what was written to the disk is not what came: its sha256 is %s, not %s", l.SHA256, sum)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return nil, fmt.Errorf("writing the snapshot: %w", err)
	}
	l.File = path
	return l, nil
}

func snapshotRestore(c *cli) *cobra.Command {
	var yes bool
	var file keyFile
	cmd := c.verb("restore FILE", "Replace the state of the running cluster by that of a snapshot", exactly("FILE"),
		func(ctx context.Context, cl *client.Client, cmd *cobra.Command, args []string) error {
			l, err := lookAt(args[0], nil)
			if err != nil {
				return err
			}
			var st spec.ClusterStatus
			if err := cl.Call(ctx, client.Op{Name: "cluster.show"}, &st); err != nil {
				return err
			}
			if !yes {
				if err := confirm(cmd, st, l); err != nil {
					return err
				}
			}
			ring, err := file.read(cmd)
			if err != nil {
				return err
			}
			var keys []byte
			if ring != nil {
				keys = ring.Text()
			}
			path, err := snapshotFile(args[0])
			if err != nil {
				return err
			}
			f, err := os.Open(path)
			if err != nil {
				return &usageError{fmt.Errorf("reading the snapshot: %w", err)}
			}
			defer f.Close() //nolint:errcheck // read only
			m := c.progress(cmd, "sent")
			m.to = io.Discard
			op := client.Op{Name: "cluster.snapshot.restore", Query: url.Values{"cluster": {st.Cluster}}}
			if len(keys) > 0 {
				op.Query.Set("keys", strconv.Itoa(len(keys)))
			}
			err = cl.Stream(ctx, op, io.MultiReader(bytes.NewReader(keys), io.TeeReader(f, m)), int64(l.Bytes)+int64(len(keys)), io.Discard)
			m.end()
			if err != nil {
				return err
			}
			return c.printLook(cmd, l)
		})
	cmd.Long = `Replace the state of the running cluster by that of a snapshot: everything in it goes back to what it was at that
time, on all nodes at once. What the cluster itself is stays: its members, join tokens, certificates and keys. So a
snapshot of three nodes can be restored into one, or into five, and into a new cluster. What is sealed in it needs the
key of the cluster that it is of: into another one, give that with --key-file. It is used once, and not kept.

A new epoch begins: cursors and ETags from before are void. Changes that were open when the snapshot was taken go on: one
that had no order yet is ordered anew, also if it was done since, so look at them first. Users and passwords are those
of the snapshot afterwards. The file is checked first, here and by the node, before anything changes.`
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	file.flags(cmd, ", of the cluster that the snapshot is of")
	return cmd
}

// confirm asks for the cluster's name, the first characters of its id.
func confirm(cmd *cobra.Command, st spec.ClusterStatus, l *look) error {
	name := st.Cluster[:min(8, len(st.Cluster))]
	var members []string
	for _, m := range st.Members {
		members = append(members, m.Name)
	}
	_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "This replaces everything in the cluster %s (%s) by its state of %s.\nType %s to go on: ",
		name, strings.Join(members, ", "), l.Time.Format(time.RFC3339), name)
	var word string
	if _, err := fmt.Fscanln(cmd.InOrStdin(), &word); err != nil || word != name {
		return usagef("not confirmed, nothing was changed: type the cluster's name, %s, or give --yes", name)
	}
	return nil
}

// look is what is told of a snapshot.
type look struct {
	File          string                     `json:"file"`
	Index         uint64                     `json:"index"`
	Term          uint64                     `json:"term"`
	Epoch         uint64                     `json:"epoch"`
	Schema        uint32                     `json:"schema"`
	SchemaVersion string                     `json:"schemaVersion,omitempty"`
	Time          time.Time                  `json:"time"`
	Bytes         uint64                     `json:"bytes"`
	SHA256        string                     `json:"sha256"`
	Rows          uint64                     `json:"rows"`
	Tables        map[string]state.TableSize `json:"tables"`
	Keys          []string                   `json:"keys"`              // ids of the cluster keys that it is sealed with
	KeyFile       string                     `json:"keyFile,omitempty"` // that opens it
	Damage        string                     `json:"damage,omitempty"`
}

// snapshotFile is the file itself, or that in one of raft's folders.
func snapshotFile(path string) (string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return "", &usageError{fmt.Errorf("reading the snapshot: %w", err)}
	}
	if !st.IsDir() {
		return path, nil
	}
	file := filepath.Join(path, "state.bin")
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return "", usagef("%s is no snapshot: give a file that muster snapshot save wrote, or one of the folders in DATA/cluster/raft/snapshots", path)
	}
	return file, nil
}

// lookAt reads a snapshot through. What it tells is there after an error, too, when the snapshot is damaged.
func lookAt(path string, keys *seal.Keyring) (*look, error) {
	file, err := snapshotFile(path)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, &usageError{fmt.Errorf("reading the snapshot: %w", err)}
	}
	defer f.Close() //nolint:errcheck // read only
	var sealed []*state.DataKeys
	c, err := state.Inspect(f, func(r state.RawRow) error {
		if d, ok, err := state.KeysIn(r); err != nil {
			return err
		} else if ok {
			sealed = append(sealed, d)
		}
		return nil
	})
	l := &look{
		File: path, Index: c.Index, Term: c.Term, Epoch: c.Epoch, Schema: c.Schema, SchemaVersion: c.SchemaVersion, Time: c.Time,
		Bytes: c.Bytes, SHA256: c.SHA256, Rows: c.Rows, Tables: c.Tables,
		Keys: cluster.SnapshotKeys(sealed),
	}
	if err == nil && file != path {
		err = cluster.CheckSnapshotFolder(path)
	}
	if err != nil {
		l.Damage = err.Error()
		return l, fmt.Errorf("%s: %w", path, err)
	}
	if keys != nil {
		if err := cluster.TryKeys(sealed, keys); err != nil {
			return l, fmt.Errorf("%s: the key file does not open it: %w", path, err)
		}
	}
	return l, nil
}

func snapshotLook(c *cli, verb, short, long string) *cobra.Command {
	var file keyFile
	cmd := &cobra.Command{
		Use: verb + " FILE", Short: short, Long: long, Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(c.output); err != nil {
				return err
			}
			keys, err := file.read(cmd)
			if err != nil {
				return err
			}
			l, err := lookAt(args[0], keys)
			if l == nil {
				return err
			}
			if err == nil && keys != nil {
				l.KeyFile = file.path
			}
			return errors.Join(c.printLook(cmd, l), err)
		},
	}
	if verb == "verify" {
		file.flags(cmd, " that is to open it")
	}
	return cmd
}

func (c *cli) printLook(cmd *cobra.Command, l *look) error {
	doc, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	switch {
	case c.whole():
		return c.printDocument(cmd.OutOrStdout(), doc)
	case c.output == "name":
		_, err := fmt.Fprintln(cmd.OutOrStdout(), l.File)
		return err
	}
	err = c.printOne(cmd.OutOrStdout(), doc, columns("FILE", "file", "TIME", "time", "INDEX", "index", "TERM", "term", "EPOCH", "epoch",
		"SCHEMA", "schema", "BYTES", "bytes", "ROWS", "rows", "KEYS", "keys", "SHA256", "sha256"))
	if err != nil || cmd.Name() == "save" || cmd.Name() == "restore" || cmd.Name() == "verify" {
		return err
	}
	if _, err := fmt.Fprintln(cmd.OutOrStdout()); err != nil {
		return err
	}
	return c.printTables(cmd.OutOrStdout(), l.Tables)
}

func (c *cli) printLookOf(w io.Writer, head json.RawMessage, tables map[string]state.TableSize) error {
	switch {
	case c.whole():
		return c.printDocument(w, head)
	case c.tabular():
		if err := c.printOne(w, head, columns("TIME", "time", "INDEX", "index", "TERM", "term", "EPOCH", "epoch", "SCHEMA", "schema")); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	return c.printTables(w, tables)
}

func (c *cli) printTables(w io.Writer, tables map[string]state.TableSize) error {
	var items []json.RawMessage
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		item, err := json.Marshal(map[string]any{"table": name, "rows": tables[name].Rows, "bytes": tables[name].Bytes})
		if err != nil {
			return fmt.Errorf("printing: %w", err)
		}
		items = append(items, item)
	}
	return c.printList(w, items, columns("TABLE", "table", "ROWS", "rows", "BYTES", "bytes"))
}

// meter counts and sums up what goes through, and shows it on a terminal.
type meter struct {
	to     io.Writer
	sum    hash.Hash
	n      int64
	screen io.Writer // nil shows nothing
	word   string
	last   time.Time
}

func (c *cli) progress(cmd *cobra.Command, word string) *meter {
	m := &meter{sum: sha256.New(), word: word}
	if w := cmd.ErrOrStderr(); isTerminal(w) {
		m.screen = w
	}
	return m
}

// Write passes on.
func (m *meter) Write(p []byte) (int, error) {
	n, err := m.to.Write(p)
	_, _ = m.sum.Write(p[:n]) // a hash never fails
	m.n += int64(n)
	if m.screen != nil && time.Since(m.last) > 200*time.Millisecond {
		m.last = time.Now()
		_, _ = fmt.Fprintf(m.screen, "\r%s %.1f MiB", m.word, float64(m.n)/(1<<20))
	}
	return n, err
}

func (m *meter) end() {
	if m.screen != nil {
		_, _ = fmt.Fprintf(m.screen, "\r%s %.1f MiB\n", m.word, float64(m.n)/(1<<20))
	}
}
