package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/seal"
	"github.com/muster-hq/muster/fsm/state"
)

func debugCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "debug", Short: "Look into the data folder of a stopped node",
		Long: `Look into the data folder of a stopped node, or a copy of one. Nothing in it is changed. Values of tables that hold
secrets are not shown; of what is sealed, for whom and with which key.`,
		Example: "  muster debug log /var/lib/muster --from 1200\n  muster debug state /var/lib/muster host",
	}
	cmd.AddCommand(debugLog(c), debugState(c))
	return cmd
}

// openFolder opens the cluster's part of a data folder.
func openFolder(data string) (*cluster.Folder, error) {
	dir := serverConfig{Data: data}.clusterDir()
	if _, err := os.Stat(dir); err != nil {
		dir = data
	}
	if _, err := os.Stat(filepath.Join(dir, "raft")); err != nil {
		return nil, &usageError{fmt.Errorf("%s is not the data folder of a node: %w", data, err)}
	}
	return cluster.OpenFolder(dir, orchestrate.Tables())
}

// errDamage ends a look that has told of damage already.
var errDamage = errors.New("damage was found: see above; muster cluster status on another node, and the section on damaged nodes in docs/operations.md, say what to do")

func debugLog(c *cli) *cobra.Command {
	var from, to uint64
	cmd := &cobra.Command{
		Use: "log DATA", Short: "Print the entries of the node's log", Args: exactly("DATA"),
		Long: `Print the entries of the node's log: who wrote which rows, and when. Values are not shown, only their size. An entry
that is damaged is told with its index, and the reading goes on; the status is then 1. Where a snapshot took the place of
entries, as in a restore, they are told as absent. The last entries may never have been committed.`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if err := checkOutput(c.output); err != nil {
				return err
			}
			if c.byPath() {
				return usagef("a log may be longer than memory: give -o table, json, yaml or name")
			}
			f, err := openFolder(args[0])
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, f.Close()) }()
			damaged := false
			list := listPrinter{w: cmd.OutOrStdout(), yaml: c.output == "yaml"}
			err = f.Log(from, to, func(l cluster.LogLine) error {
				damaged = damaged || l.Damage != ""
				if c.tabular() || c.output == "name" {
					return printLogLine(cmd.OutOrStdout(), l)
				}
				doc, err := json.Marshal(l)
				if err != nil {
					return fmt.Errorf("printing: %w", err)
				}
				return list.add(doc)
			})
			if err == nil && (c.output == "json" || c.output == "yaml") {
				err = list.end()
			}
			if err == nil && damaged {
				err = errDamage
			}
			return err
		},
	}
	cmd.Flags().Uint64Var(&from, "from", 0, "first index (default: where the log begins)")
	cmd.Flags().Uint64Var(&to, "to", 0, "last index (default: where the log ends)")
	return cmd
}

func printLogLine(w io.Writer, l cluster.LogLine) error {
	at, what := "", l.Detail
	if l.Time != nil {
		at = l.Time.Format(time.RFC3339Nano)
	}
	if l.Damage != "" {
		what = strings.TrimSpace(what + " " + l.Damage)
	}
	if _, err := fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("%d term %d %s %s %d bytes %s", l.Index, l.Term, l.Kind, at, l.Bytes, what), " ")); err != nil {
		return err
	}
	for _, cm := range l.Commits {
		if _, err := fmt.Fprintf(w, "    commit %s base %d by %q reads %d\n", cm.ID, cm.Base, cm.Actor, cm.Reads); err != nil {
			return err
		}
		for _, wr := range cm.Writes {
			verb := "put"
			switch {
			case wr.Delete:
				verb = "delete"
			case wr.Fresh:
				verb = "create"
			}
			if _, err := fmt.Fprintf(w, "        %s %s %s (%d bytes)\n", verb, wr.Table, strconv.QuoteToGraphic(wr.Key), wr.Bytes); err != nil {
				return err
			}
		}
	}
	return nil
}

// maskedValue stands for what is not shown.
const maskedValue = `"(secret)"`

func debugState(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "state DATA [TABLE [KEY]]", Short: "Print the tables, the rows of one, or one row",
		Long: `Print the tables that the node had, the rows of one, or one row: its newest snapshot and the log after it. Snapshots that
are damaged are passed over, and the log is read up to the first entry that is damaged; both is told on standard error, and the
status is then 1. The last entries may never have been committed.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 3 {
				return usagef("%s needs DATA, and may have TABLE and KEY: see %s --help", cmd.CommandPath(), cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if err := checkOutput(c.output); err != nil {
				return err
			}
			f, err := openFolder(args[0])
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, f.Close()) }()
			view, notes, err := f.State()
			if err != nil {
				return err
			}
			for _, n := range notes {
				_, _ = fmt.Fprintln(cmd.ErrOrStderr(), n)
			}
			if err := c.printState(cmd.OutOrStdout(), f, view, args[1:]); err != nil {
				return err
			}
			if len(notes) > 0 {
				return errDamage
			}
			return nil
		},
	}
}

func (c *cli) printState(w io.Writer, f *cluster.Folder, view *state.View, at []string) error {
	sizes := map[string]state.TableSize{}
	var items []json.RawMessage
	found := false
	err := state.Rows(view, func(r state.RawRow) error {
		t := sizes[r.Table]
		t.Rows++
		t.Bytes += uint64(len(r.Value))
		sizes[r.Table] = t
		if len(at) == 0 || r.Table != at[0] || len(at) == 2 && r.Key != at[1] {
			return nil
		}
		found = true
		row := map[string]any{"key": r.Key, "version": r.Version.String(), "bytes": len(r.Value)}
		if len(at) == 2 || !c.tabular() {
			row["value"] = json.RawMessage(shown(f, r))
			row["ranges"] = r.Ranges
		}
		doc, err := json.Marshal(row)
		items = append(items, doc)
		return err
	})
	switch {
	case err != nil:
		return err
	case len(at) == 0:
		head, err := json.Marshal(map[string]any{"index": view.Index(), "term": view.Term(), "epoch": view.Epoch(), "time": view.Now(), "schema": state.SchemaOf(view), "tables": sizes})
		if err != nil {
			return fmt.Errorf("printing: %w", err)
		}
		return c.printLookOf(w, head, sizes)
	case len(at) == 2 && !found:
		return fmt.Errorf("there is no row %q in the table %s", at[1], at[0])
	case !found:
		return fmt.Errorf("there is no row in a table %s: muster debug state DATA lists the tables", at[0])
	case len(at) == 2 && c.tabular():
		was := c.output
		c.output = "json"
		defer func() { c.output = was }()
		return c.printDocument(w, items[0])
	case len(at) == 2:
		return c.printDocument(w, items[0])
	}
	return c.printList(w, items, columns("KEY", "key", "VERSION", "version", "BYTES", "bytes"))
}

// shown is a value as it may be printed.
func shown(f *cluster.Folder, r state.RawRow) []byte {
	if seal.Sealed(r.Value) {
		if doc, ok := sealedValue(r.Value); ok {
			return doc
		}
	}
	if f.Secret(r.Table) {
		return []byte(maskedValue)
	}
	if !json.Valid(r.Value) {
		return []byte(`"(not text)"`)
	}
	return masked(r.Table, r.Value)
}

// sealedValue tells of a sealed value whose key seals it.
func sealedValue(value []byte) ([]byte, bool) {
	h, err := seal.ParseHead(value)
	if err != nil {
		return nil, false // of a table whose values are any bytes
	}
	doc, err := json.Marshal(map[string]any{"sealed": map[string]string{"for": h.Domain, "key": h.KeyID}})
	return doc, err == nil
}

// masked hides what is secret in the rows of a table that is not secret as such. Whether a setting is, its own row may
// not tell, but that of an application: so no value of a setting is shown.
func masked(table string, value []byte) []byte {
	if table == (*model.SettingRow)(nil).Table() {
		var doc map[string]json.RawMessage
		if json.Unmarshal(value, &doc) != nil {
			return []byte(maskedValue)
		}
		if doc["value"] != nil {
			doc["value"] = json.RawMessage(maskedValue)
		}
		var err error
		if value, err = json.Marshal(doc); err != nil {
			return []byte(maskedValue)
		}
	}
	return maskedFields(value)
}

// maskedFields hides fields by their names, at any depth.
func maskedFields(value []byte) []byte {
	var list []json.RawMessage
	var doc map[string]json.RawMessage
	var out []byte
	var err error
	switch {
	case json.Unmarshal(value, &doc) == nil && doc != nil:
		marked := marksSecret(doc)
		for name, v := range doc {
			if marked && (name == "value" || name == "default") || isSecretName(name) && string(v) != "true" && string(v) != "false" {
				doc[name] = json.RawMessage(maskedValue)
			} else {
				doc[name] = maskedFields(v)
			}
		}
		out, err = json.Marshal(doc)
	case json.Unmarshal(value, &list) == nil && list != nil:
		for i := range list {
			list[i] = maskedFields(list[i])
		}
		out, err = json.Marshal(list)
	default:
		return value
	}
	if err != nil {
		return []byte(maskedValue)
	}
	return out
}

// marksSecret says whether an object, or the schema in it, says that its value is secret.
func marksSecret(doc map[string]json.RawMessage) bool {
	var schema map[string]json.RawMessage
	if string(doc["secret"]) == "true" || string(doc["password"]) == "true" {
		return true
	}
	return json.Unmarshal(doc["schema"], &schema) == nil && marksSecret(schema)
}

func isSecretName(name string) bool {
	low := strings.ToLower(name)
	return slices.ContainsFunc([]string{"hash", "password", "private", "secret"}, func(word string) bool { return strings.Contains(low, word) })
}
