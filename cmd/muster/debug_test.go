package main

import (
	"crypto/sha256"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"github.com/muster-hq/muster/cluster"
)

// digests are those of all files below a folder.
func digests(t *testing.T, dir string) map[string][32]byte {
	t.Helper()
	out := map[string][32]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		out[path] = sha256.Sum256(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestDebug looks into the folder of a stopped node: it tells rows and no secrets, changes nothing, and reads on
// after an entry that is damaged.
func TestDebug(t *testing.T) {
	t.Parallel()
	n := startNode(t, "n1")
	pw := n.passwordFile()
	n.do(pw, "organization", "create", "acme")
	n.do(pw, "cluster", "token")
	if _, errs, code := muster(t, "debug", "state", n.data); code == exitDone || !strings.Contains(errs, "a server runs") {
		t.Errorf("of a running node: status %d, %s", code, errs)
	}
	n.stop()
	before := digests(t, n.data)
	out, errs, code := muster(t, "debug", "log", n.data)
	if code != exitDone || !strings.Contains(out, "open term") || !strings.Contains(out, "create organization") || !strings.Contains(out, "configuration") {
		t.Errorf("log: status %d, %s%s", code, errs, out)
	}
	out, errs, code = muster(t, "debug", "log", n.data, "--from", "2", "--to", "3", "-o", "json")
	var lines []cluster.LogLine
	if err := json.Unmarshal([]byte(out), &lines); code != exitDone || err != nil || len(lines) != 2 || lines[0].Index != 2 {
		t.Errorf("a part of the log: status %d, %v, %s%s", code, err, errs, out)
	}
	if out, errs, code = muster(t, "debug", "log", n.data, "--from", "100000", "-o", "json"); code != exitDone || strings.TrimSpace(out) != "[]" {
		t.Errorf("a part that is empty: status %d, %s%s", code, errs, out)
	}
	var all struct {
		Tables map[string]struct{ Rows int }
	}
	out, errs, code = muster(t, "debug", "state", n.data, "-o", "json")
	if err := json.Unmarshal([]byte(out), &all); code != exitDone || err != nil || all.Tables["organization"].Rows != 1 {
		t.Errorf("state: status %d, %v, %s%s", code, err, errs, out)
	}
	out, _, code = muster(t, "debug", "state", n.data, "organization", "-o", "json")
	if code != exitDone || !strings.Contains(out, "acme") {
		t.Errorf("a table: status %d, %s", code, out)
	}
	for table, shown := range map[string]string{"clustersecret": `"for": "_cluster"`, "jointoken": "(secret)"} {
		out, _, code = muster(t, "debug", "state", n.data, table, "-o", "json")
		if code != exitDone || !strings.Contains(out, shown) || strings.Contains(out, "digest") || strings.Contains(out, "BEGIN") {
			t.Errorf("%s: status %d, %s", table, code, out)
		}
	}
	out, _, code = muster(t, "debug", "state", n.data, "user", "-o", "json")
	if code != exitDone || !strings.Contains(out, "admin") || strings.Contains(out, "argon2") || !strings.Contains(out, "(secret)") {
		t.Errorf("users: status %d, %s", code, out)
	}
	if _, errs, code := muster(t, "debug", "state", n.data, "clustersecret", "nothing"); code != exitFailed || !strings.Contains(errs, "no row") {
		t.Errorf("a row that is not there: status %d, %s", code, errs)
	}
	for path, sum := range digests(t, n.data) {
		if before[path] != sum {
			t.Errorf("%s was changed", path)
		}
	}
	debugOfDamage(t, n.data)
}

// debugOfDamage flips a bit in an entry of the log and looks again.
func debugOfDamage(t *testing.T, data string) {
	t.Helper()
	store, err := raftboltdb.NewBoltStore(filepath.Join(data, "cluster", "raft", "log.db"))
	if err != nil {
		t.Fatal(err)
	}
	last, err := store.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	var e raft.Log
	if err := store.GetLog(last-2, &e); err != nil {
		t.Fatal(err)
	}
	e.Data[len(e.Data)/2] ^= 1
	if err := store.StoreLog(&e); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	out, errs, code := muster(t, "debug", "log", data, "-o", "json")
	var lines []cluster.LogLine
	if err := json.Unmarshal([]byte(out), &lines); code != exitFailed || err != nil || !strings.Contains(errs, "damage") {
		t.Fatalf("a damaged log: status %d, %v, %s", code, err, errs)
	}
	if l := lines[len(lines)-3]; l.Index != last-2 || l.Damage == "" || lines[len(lines)-1].Index != last || lines[len(lines)-1].Damage != "" {
		t.Errorf("the entry %+v", l)
	}
	if _, errs, code := muster(t, "debug", "state", data); code != exitFailed || !strings.Contains(errs, "was read up to entry") {
		t.Errorf("the state of a damaged log: status %d, %s", code, errs)
	}
	if _, errs, code := muster(t, "debug", "state", t.TempDir()); code != exitUsage || !strings.Contains(errs, "not the data folder") {
		t.Errorf("of another folder: status %d, %s", code, errs)
	}
}

// TestMaskedRows looks at what debug state would print of rows that hold secrets in some of their fields.
func TestMaskedRows(t *testing.T) {
	for _, c := range []struct{ table, row, want string }{
		{"setting", `{"key":"port","value":{"a":"TOPSECRET"}}`, `{"key":"port","value":"(secret)"}`},
		{"setting", `{"key":"port","link":"x"}`, `{"key":"port","link":"x"}`},
		{"setting", `["TOPSECRET"]`, `"(secret)"`},
		{"application", `{"document":{"parameters":[{"default":"TOPSECRET","secret":true},{"default":1,"password":false}]}}`,
			`{"document":{"parameters":[{"default":"(secret)","secret":true},{"default":1,"password":false}]}}`},
		{"application", `{"parameters":[{"schema":{"secret":true},"value":"TOPSECRET"},{"schema":{"type":"string"},"value":1}]}`,
			`{"parameters":[{"schema":{"secret":true},"value":"(secret)"},{"schema":{"type":"string"},"value":1}]}`},
		{"organization", `{"accessKey":"a","secretKey":"TOPSECRET"}`, `{"accessKey":"a","secretKey":"(secret)"}`},
		{"x", `{"secret":"TOPSECRET","n":12345678901234567890,"none":null}`, `{"n":12345678901234567890,"none":null,"secret":"(secret)"}`},
	} {
		if got := string(masked(c.table, []byte(c.row))); got != c.want {
			t.Errorf("%s %s is shown as %s, want %s", c.table, c.row, got, c.want)
		}
	}
}
