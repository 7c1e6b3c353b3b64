package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// raisedSchema is the schema that the cluster has raised, as this node knows.
func (n *Node) raisedSchema() int { return int(state.SchemaOf(n.Local())) }

// raiseSchema is a duty: the cluster's schema becomes the highest that all its members know. Rows and raft's
// configuration are looked at both: a voter that has no row yet may know less.
func (n *Node) raiseSchema(ctx context.Context, lead *Lead) error {
	for ctx.Err() == nil {
		ws := state.NewWatchSet()
		v := n.Local().Watched(ws)
		if lowest := n.commonSchema(v); lowest > state.SchemaOf(v) {
			if err := lead.Update(ctx, func(tx *state.Tx) error { return state.RaiseSchema(tx, n.commonSchema(tx)) }); err != nil {
				return fmt.Errorf("raising the schema to %d: %w", lowest, err)
			}
			n.log.Info("all members know it: the schema was raised", "schema", lowest)
		}
		wait, cancel := context.WithTimeout(ctx, n.cfg.Timing.Reconcile)
		_ = ws.Wait(wait)
		cancel()
	}
	return ctx.Err()
}

// commonSchema is the highest schema that all members know, as far as this node does.
func (n *Node) commonSchema(r state.Reader) uint32 {
	lowest, rows := uint32(n.cfg.Schema), map[string]bool{}
	for _, m := range state.List[Member](r, everyMember) {
		rows[m.Name] = true
		lowest = min(lowest, uint32(max(m.Schema, int(state.SchemaFirst))))
	}
	for _, s := range n.raft.GetConfiguration().Configuration().Servers {
		if !rows[string(s.ID)] {
			return state.SchemaFirst
		}
	}
	return lowest
}

// folderSchema is DATA/schema: of what schema the log and the snapshots may be, and which software raised it.
type folderSchema struct {
	Schema  int    `json:"schema"`
	Version string `json:"version,omitempty"`
}

func schemaPath(dir string) string { return filepath.Join(dir, "schema") }

// keepSchema notes in the data folder what schema the cluster has raised, until ctx ends: software that does not know
// it must not start on the folder.
func (n *Node) keepSchema(ctx context.Context) {
	for {
		ws := state.NewWatchSet()
		v := n.Local().Watched(ws)
		now := folderSchema{Schema: int(state.SchemaOf(v)), Version: state.SchemaVersion(v)}
		if old, err := readFolderSchema(n.cfg.DataDir); now.Schema > int(state.SchemaFirst) && (err != nil || old.Schema < now.Schema) {
			text, err := json.Marshal(now)
			if err == nil {
				err = writeSynced(schemaPath(n.cfg.DataDir), text)
			}
			if err != nil {
				n.log.Error("it could not be noted which schema the data folder is of", "schema", now.Schema, "error", err)
			}
		}
		if ws.Wait(ctx) != nil {
			return
		}
	}
}

func readFolderSchema(dir string) (folderSchema, error) {
	f := folderSchema{Schema: int(state.SchemaFirst)}
	text, err := os.ReadFile(schemaPath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return f, fmt.Errorf("reading which schema the data folder is of: %w", err)
	}
	if f, err = decodeFolderSchema(text); err != nil {
		return f, fmt.Errorf("%s is damaged: %s: %w", schemaPath(dir), adviceDamaged, err)
	}
	return f, nil
}

func decodeFolderSchema(text []byte) (folderSchema, error) {
	f := folderSchema{}
	if err := json.Unmarshal(text, &f); err != nil {
		return f, fmt.Errorf("reading which schema the data folder is of: %w", err)
	}
	if f.Schema < int(state.SchemaFirst) {
		return f, fmt.Errorf("reading which schema the data folder is of: there is no schema %d", f.Schema)
	}
	return f, nil
}

// raised says whether a data folder is of a schema that older versions refuse. Where that cannot be read, it is not.
func raised(dir string) bool {
	f, err := readFolderSchema(dir)
	return err == nil && f.Schema > int(state.SchemaFirst)
}

// checkSchema refuses a folder that this software is too old for.
func checkSchema(cfg Config) error {
	f, err := readFolderSchema(cfg.DataDir)
	if err != nil || f.Schema <= cfg.Schema {
		return err
	}
	return fmt.Errorf("the data folder %s is of schema %d, and this software knows schemas up to %d only: start %s",
		cfg.DataDir, f.Schema, cfg.Schema, orLater(f.Version))
}

// tooOld refuses a joiner that does not know the cluster's schema.
func tooOld(r state.Reader, m *Member) error {
	if raised := state.SchemaOf(r); m.Schema < int(raised) {
		return model.Errorf(model.Conflict, "%s knows schemas up to %d only, and the cluster is of schema %d: update it to %s",
			m.Name, m.Schema, raised, orLater(state.SchemaVersion(r)))
	}
	return nil
}

func orLater(version string) string {
	if version == "" {
		return "the version that the other members run"
	}
	return "version " + version + " or later"
}
