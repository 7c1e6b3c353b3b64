package cluster

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// checkSnapshots compares what each snapshot in a folder of raft says of itself with the name of its folder, which has
// its term and index, too: raft's checksum is of the state alone, and a node that took another index for the
// snapshot's would never apply the entries between.
func checkSnapshots(raftDir string) error {
	dir := filepath.Join(raftDir, "snapshots")
	folders, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("reading the snapshots: %w", err)
	}
	for _, f := range folders {
		if !f.IsDir() || strings.HasSuffix(f.Name(), ".tmp") { // never finished
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, f.Name(), "meta.json"))
		if err != nil {
			return fmt.Errorf("reading the snapshots: %w", err)
		}
		var meta struct {
			ID          string
			Index, Term uint64
		}
		if err := json.Unmarshal(text, &meta); err != nil {
			return fmt.Errorf("the snapshot %s is damaged: %s: %w", f.Name(), adviceDamaged, err)
		}
		if meta.ID != f.Name() || !strings.HasPrefix(f.Name(), fmt.Sprintf("%d-%d-", meta.Term, meta.Index)) {
			return fmt.Errorf("the snapshot %s is damaged, as it says that it is %s of index %d and term %d: %s", f.Name(), meta.ID, meta.Index, meta.Term, adviceDamaged)
		}
	}
	return nil
}
