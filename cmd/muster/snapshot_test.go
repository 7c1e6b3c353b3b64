package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/fsm/model"
)

// TestSnapshotCommands saves the state of one cluster, looks at it offline, and restores it into another.
func TestSnapshotCommands(t *testing.T) {
	t.Parallel()
	old := startNode(t, "n1")
	pw := old.passwordFile()
	old.do(pw, "organization", "create", "acme")
	file := filepath.Join(t.TempDir(), "muster.snapshot")
	var saved, seen look
	if err := json.Unmarshal([]byte(old.do(pw, "snapshot", "save", file, "-o", "json")), &saved); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(file)
	if err != nil || st.Mode().Perm() != 0o600 || uint64(st.Size()) != saved.Bytes || len(saved.SHA256) != 64 {
		t.Errorf("%v, mode %v, saved %+v", err, st.Mode(), saved)
	}
	if rest, err := filepath.Glob(filepath.Join(filepath.Dir(file), ".*")); err != nil || len(rest) > 0 {
		t.Errorf("besides the file there are %v, %v", rest, err)
	}
	// Of several nodes, the first that answers; that nothing listens on the discard port of this machine is known.
	again := file + ".again"
	out, errs, code := muster(t, "snapshot", "save", again, "--server", "127.0.0.1:9,"+old.http, "--user", adminName, "--password-file", pw)
	if code != exitDone || !strings.Contains(out, again) {
		t.Errorf("save from the second of two nodes: status %d, %s%s", code, out, errs)
	}
	out, errs, code = muster(t, "snapshot", "inspect", file, "-o", "json")
	if code != exitDone || json.Unmarshal([]byte(out), &seen) != nil || seen.SHA256 != saved.SHA256 || seen.Tables["organization"].Rows != 1 || seen.Epoch == 0 {
		t.Errorf("inspect: status %d, %s%s", code, out, errs)
	}
	if out, _, code := muster(t, "snapshot", "verify", file); code != exitDone || !strings.Contains(out, saved.SHA256) {
		t.Errorf("verify: status %d, %s", code, out)
	}
	if out, _, code := muster(t, "snapshot", "inspect", file); code != exitDone || !strings.Contains(out, "TABLE") {
		t.Errorf("inspect: status %d, %s", code, out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 4
	bad := textFile(t, "bad.snapshot", string(b))
	for _, verb := range []string{"verify", "inspect"} {
		if _, errs, code := muster(t, "snapshot", verb, bad); code != exitFailed || !strings.Contains(errs, "the snapshot is damaged ") {
			t.Errorf("%s of a damaged one: status %d, %s", verb, code, errs)
		}
	}
	if _, errs, code := muster(t, "snapshot", "verify", t.TempDir()); code != exitUsage || !strings.Contains(errs, "raft/snapshots") {
		t.Errorf("verify of a folder: status %d, %s", code, errs)
	}

	fresh := startNode(t, "m1")
	first := fresh.passwordFile()
	fresh.do(first, "organization", "create", "rival")
	if _, errs, code := muster(t, fresh.as(first, "snapshot", "restore", file)...); code != exitUsage || !strings.Contains(errs, "nothing was changed") {
		t.Errorf("without a word: status %d, %s", code, errs)
	}
	if _, errs, code := muster(t, fresh.as(first, "snapshot", "restore", bad, "--yes")...); code != exitFailed || !strings.Contains(errs, "damaged") {
		t.Errorf("a damaged one: status %d, %s", code, errs)
	}
	cl, err := fresh.client(first)
	if err != nil {
		t.Fatal(err)
	}
	for cluster, want := range map[string]model.Code{"": model.Invalid, "0123": model.Conflict, fresh.status(first).Cluster: model.Invalid} {
		op := client.Op{Name: "cluster.snapshot.restore", Query: map[string][]string{"cluster": {cluster}}}
		if err := cl.Stream(t.Context(), op, strings.NewReader("no snapshot"), 11, &bytes.Buffer{}); model.CodeOf(err) != want {
			t.Errorf("for the cluster %q: %v", cluster, err)
		}
	}
	before := fresh.status(first)
	if _, errs, code := muster(t, fresh.as(first, "snapshot", "restore", file, "--yes")...); code != exitConflict || len(saved.Keys) != 1 || !strings.Contains(errs, saved.Keys[0]) {
		t.Errorf("without the other cluster's key: status %d, %s", code, errs)
	}
	keyFile, wrong := exportedKeys(t, old.data), exportedKeys(t, fresh.data)
	if _, errs, code := muster(t, fresh.as(first, "snapshot", "restore", file, "--yes", "--key-file", wrong)...); code != exitConflict || !strings.Contains(errs, saved.Keys[0]) {
		t.Errorf("with another key: status %d, %s", code, errs)
	}
	for _, f := range []string{wrong, textFile(t, "no.keys", "muster-key-1.0.0")} {
		if _, errs, code := muster(t, "snapshot", "verify", file, "--key-file", f); code == exitDone || errs == "" {
			t.Errorf("verify with %s: status %d, %s", f, code, errs)
		}
	}
	if out, errs, code := muster(t, "snapshot", "verify", file, "--key-file", keyFile, "-o", "json"); code != exitDone || !strings.Contains(out, keyFile) {
		t.Errorf("verify with the key: status %d, %s%s", code, out, errs)
	}
	locked, pass := filepath.Join(t.TempDir(), "locked"), textFile(t, "pass", "a passphrase of some length")
	if out, errs, code := muster(t, "cluster", "key", "export", locked, "--data", old.data, "--passphrase-file", pass); code != exitDone {
		t.Fatalf("export of the keys: status %d, %s%s", code, out, errs)
	}
	if out, errs, code := muster(t, "snapshot", "verify", file, "--key-file", locked, "--passphrase-file", pass); code != exitDone {
		t.Errorf("verify with the encrypted keys: status %d, %s%s", code, out, errs)
	}
	fresh.do(first, "snapshot", "restore", file, "--yes", "--key-file", locked, "--passphrase-file", pass)
	after := fresh.status(pw) // the users are those of the snapshot
	if after.Epoch <= before.Epoch || after.Cluster != before.Cluster || len(after.Members) != 1 || after.Members[0].Name != "m1" {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if out := fresh.do(pw, "organization", "list", "-o", "name"); strings.TrimSpace(out) != "acme" {
		t.Errorf("it has the organizations %q", out)
	}
	if _, _, code := muster(t, fresh.as(first, "organization", "list")...); code != exitNotAllowed {
		t.Errorf("the password of before: status %d", code)
	}
	fresh.do(pw, "user", "create", "eve", "--new-password-file", textFile(t, "eve", "eve-password-1"))
	_, errs, code = muster(t, "snapshot", "save", file+"2", "--api", fresh.api(), "--user", "eve", "--password-file", textFile(t, "eve", "eve-password-1"))
	if code != exitNotAllowed || !strings.Contains(errs, "administrator") {
		t.Errorf("who is no administrator: status %d, %s", code, errs)
	}
	if _, err := os.Stat(file + "2"); err == nil {
		t.Error("a refusal left a file")
	}
}

// exportedKeys are the keys of a node's cluster, exported from its data folder while it runs, in clear.
func exportedKeys(t *testing.T, data string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	if _, errs, code := muster(t, "cluster", "key", "export", path, "--data", data); code != exitUsage || !strings.Contains(errs, "--passphrase-file") {
		t.Errorf("without a passphrase: status %d, %s", code, errs)
	}
	if out, errs, code := muster(t, "cluster", "key", "export", path, "--data", data, "--clear"); code != exitDone || !strings.Contains(errs, "not encrypted") {
		t.Fatalf("export of the keys: status %d, %s%s", code, out, errs)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the file of keys: %v, %v", st, err)
	}
	if _, errs, code := muster(t, "cluster", "key", "export", path, "--data", data, "--clear"); code != exitUsage || !strings.Contains(errs, "exists already") {
		t.Errorf("over a file that is there: status %d, %s", code, errs)
	}
	return path
}

// TestKeyCommands rotates both keys of a running node.
func TestKeyCommands(t *testing.T) {
	t.Parallel()
	n := startNode(t, "n1")
	pw := n.passwordFile()
	n.do(pw, "organization", "create", "acme")
	was := n.status(pw).Key.ID
	n.do(pw, "cluster", "key", "rotate")
	if now := n.status(pw).Key; now.ID == was || now.Rotating || now.Keys == 0 {
		t.Errorf("after the rotation of %s the key is %+v", was, now)
	}
	before := n.do(pw, "organization", "key", "show", "acme", "-o", "name")
	if after := n.do(pw, "organization", "key", "rotate", "acme", "-o", "name"); after == before {
		t.Errorf("the key of the organization is still %s", after)
	}
	if out := n.do(pw, "organization", "show", "acme"); !strings.Contains(out, "acme") {
		t.Error(out)
	}
}

// TestConfirm types the cluster's name, and something else.
func TestConfirm(t *testing.T) {
	t.Parallel()
	n := startNode(t, "n1")
	pw := n.passwordFile()
	file := filepath.Join(t.TempDir(), "s")
	n.do(pw, "snapshot", "save", file)
	id := n.status(pw).Cluster
	for word, want := range map[string]int{id[:8] + "\n": exitDone, "yes\n": exitUsage, "": exitUsage} {
		var out, errs bytes.Buffer
		code := execute(t.Context(), n.as(pw, "snapshot", "restore", file), strings.NewReader(word), &out, &errs)
		if code != want || !strings.Contains(errs.String(), id[:8]) {
			t.Errorf("%q: status %d, %s", word, code, errs.String())
		}
	}
}
