package agent

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/muster-hq/muster/agent/journal"
	"github.com/muster-hq/muster/dispatch/wire"
)

// expectation is what one watched resource is expected to be.
type expectation struct {
	Collection string          `json:"collection"`
	Resource   string          `json:"resource"`
	Want       json.RawMessage `json:"want"`
	Origin     wire.Origin     `json:"origin"`
}

// store keeps the expectations, one file each, so that a step writes only its own. In memory it keeps
// their names only: wants carry the contents of files.
type store struct {
	dir string
	mu  sync.Mutex
	ids map[string]map[string]bool // collection -> resource
}

// stored is the form of a file: the checksum is over the exact bytes of Body.
type stored struct {
	Sum  string          `json:"sha256"`
	Body json.RawMessage `json:"expectation"`
}

// openStore reads the names of what is expected. A file that is damaged is put aside and told: its
// resource is not watched until the orchestrator describes it again.
func openStore(dir string, log *slog.Logger) (*store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keep expected resources: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read expected resources: %w", err)
	}
	s := &store{dir: dir, ids: map[string]map[string]bool{}}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if strings.HasSuffix(e.Name(), ".new") {
			_ = os.Remove(path)
		}
		if !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		x, err := readExpectation(path)
		if err != nil {
			log.Error("an expected resource cannot be read; it is put aside and not watched until it is described again", "file", path, "error", err)
			if err := os.Rename(path, path+".damaged"); err != nil {
				return nil, fmt.Errorf("put a damaged file aside: %w", err)
			}
			continue
		}
		s.add(x.Collection, x.Resource)
	}
	return s, nil
}

func (s *store) add(collection, id string) {
	if s.ids[collection] == nil {
		s.ids[collection] = map[string]bool{}
	}
	s.ids[collection][id] = true
}

func (s *store) path(collection, id string) string {
	sum := sha256.Sum256([]byte(journal.Key(collection, id)))
	return filepath.Join(s.dir, hex.EncodeToString(sum[:16])+".json")
}

// list returns the ids of a collection that are watched, sorted.
func (s *store) list(collection string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]string, 0, len(s.ids[collection]))
	for id := range s.ids[collection] {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// get reads one expectation; false: nothing is expected.
func (s *store) get(collection, id string) (expectation, bool, error) {
	s.mu.Lock()
	known := s.ids[collection][id]
	s.mu.Unlock()
	if !known {
		return expectation{}, false, nil
	}
	x, err := readExpectation(s.path(collection, id))
	return x, err == nil, err
}

func readExpectation(path string) (expectation, error) {
	var x expectation
	data, err := os.ReadFile(path)
	if err != nil {
		return x, fmt.Errorf("read an expected resource: %w", err)
	}
	return decodeExpectation(data)
}

func decodeExpectation(data []byte) (expectation, error) {
	var x expectation
	var f stored
	if err := json.Unmarshal(data, &f); err != nil {
		return x, fmt.Errorf("an expected resource is not JSON: %w", err)
	}
	if sum := sha256.Sum256(f.Body); hex.EncodeToString(sum[:]) != f.Sum {
		return x, errors.New("the checksum of an expected resource is wrong")
	}
	if err := json.Unmarshal(f.Body, &x); err != nil {
		return x, fmt.Errorf("an expected resource cannot be read: %w", err)
	}
	return x, nil
}

// put keeps an expectation; it is on the disk when put returns nil.
func (s *store) put(x expectation) error {
	var body bytes.Buffer
	enc, err := json.Marshal(x)
	if err == nil {
		err = json.Compact(&body, enc)
	}
	if err != nil {
		return fmt.Errorf("write an expected resource as JSON: %w", err)
	}
	sum := sha256.Sum256(body.Bytes())
	data, err := json.Marshal(stored{Sum: hex.EncodeToString(sum[:]), Body: body.Bytes()})
	if err != nil {
		return fmt.Errorf("write an expected resource as JSON: %w", err)
	}
	if err := writeFile(s.path(x.Collection, x.Resource), data, 0o600); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(x.Collection, x.Resource)
	return nil
}

// remove forgets an expectation; one that is not there is fine.
func (s *store) remove(collection, id string) error {
	err := os.Remove(s.path(collection, id))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget an expected resource: %w", err)
	}
	if err == nil {
		if err := (journal.OS{}).SyncDir(s.dir); err != nil {
			return fmt.Errorf("forget an expected resource: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ids[collection], id)
	return nil
}

// writeFile replaces a file as a whole: after a crash it is the old one or the new one.
func writeFile(path string, data []byte, mode fs.FileMode) error {
	next := path + ".new"
	f, err := os.OpenFile(next, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if c := f.Close(); err == nil {
		err = c
	}
	if err == nil {
		err = os.Rename(next, path)
	}
	if err == nil {
		err = (journal.OS{}).SyncDir(filepath.Dir(path))
	}
	if err != nil {
		_ = os.Remove(next)
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return nil
}
