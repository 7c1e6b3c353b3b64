package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/fsm/seal"
)

// TestKeysWithAPassphrase exports the keys of a folder encrypted, from a file and from a descriptor, and imports them into
// the folder of a node that has lost its own. Needs no server: only who holds the folder may.
func TestKeysWithAPassphrase(t *testing.T) {
	t.Parallel()
	folder := func(ring *seal.Keyring) string {
		dir := t.TempDir()
		path := cluster.ClusterKeyPath(serverConfig{Data: dir}.clusterDir())
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(filepath.Join(dir, "cluster", "node.json"), []byte(`{"node": "n1", "mode": "alone"}`), 0o600)); err != nil {
			t.Fatal(err)
		}
		if ring != nil {
			if err := os.WriteFile(path, ring.Text(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	ring := &seal.Keyring{}
	ring.Add(seal.NewKey())
	id, dir := ring.IDs()[0], folder(ring)
	const word = "a passphrase of some length"
	pass, short, other := textFile(t, "pass", word+"\n"), textFile(t, "short", "short"), textFile(t, "other", "another one of some length")
	file := filepath.Join(t.TempDir(), "keys.age")
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"short":                {[]string{"--passphrase-file", short}, "at least 12 characters"},
		"a file and clear":     {[]string{"--passphrase-file", pass, "--clear"}, "not both"},
		"file and descriptor":  {[]string{"--passphrase-file", pass, "--passphrase-fd", "9"}, "not both"},
		"no descriptor":        {[]string{"--passphrase-fd", "987"}, "987"},
		"a folder without one": {[]string{"--passphrase-file", pass, "--data", folder(nil)}, "no keys of a cluster"},
	} {
		_, errs, code := muster(t, append([]string{"cluster", "key", "export", file, "--data", dir}, c.args...)...)
		if code != exitUsage || !strings.Contains(errs, c.want) || strings.Contains(errs, word) {
			t.Errorf("%s: status %d, %s", name, code, errs)
		}
		if _, err := os.Stat(file); err == nil {
			t.Fatalf("%s: a refusal left a file", name)
		}
	}
	fd, err := syscall.Open(pass, syscall.O_RDONLY, 0) // not by os: the command closes it
	if err != nil {
		t.Fatal(err)
	}
	if out, errs, code := muster(t, "cluster", "key", "export", file, "--data", dir, "--passphrase-fd", fmt.Sprint(fd), "-o", "json"); code != exitDone || !strings.Contains(out, id) || errs != "" {
		t.Fatalf("export: status %d, %s%s", code, out, errs)
	}
	text, err := os.ReadFile(file)
	if err != nil || !seal.IsLocked(text) || strings.Contains(string(text), "muster-key") {
		t.Fatalf("the file is %s, %v", text, err)
	}
	into := folder(nil)
	if _, errs, code := muster(t, "cluster", "key", "import", file, "--data", into, "--passphrase-file", other); code != exitUsage || !strings.Contains(errs, "passphrase") {
		t.Errorf("another passphrase: status %d, %s", code, errs)
	}
	if _, err := os.Stat(cluster.ClusterKeyPath(serverConfig{Data: into}.clusterDir())); err == nil {
		t.Error("a refusal left keys")
	}
	if out, errs, code := muster(t, "cluster", "key", "import", file, "--data", into, "--passphrase-file", pass, "-o", "json"); code != exitDone || !strings.Contains(out, id) {
		t.Errorf("import: status %d, %s%s", code, out, errs)
	}
	if got, err := os.ReadFile(cluster.ClusterKeyPath(serverConfig{Data: into}.clusterDir())); err != nil || !bytes.Equal(got, ring.Text()) {
		t.Errorf("the keys there: %v", err)
	}
	if _, errs, code := muster(t, "cluster", "key", "import", file, "--data", t.TempDir(), "--passphrase-file", pass); code != exitUsage || !strings.Contains(errs, "not the data folder") {
		t.Errorf("into no data folder: status %d, %s", code, errs)
	}
}
