package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestScheduledSnapshots writes snapshots at a short interval: each is whole, the oldest go, what is not ours stays,
// and the status tells the last one.
func TestScheduledSnapshots(t *testing.T) {
	n := newNode(t, "n1", "--snapshot-every", "100ms", "--snapshot-keep", "3")
	dir := filepath.Join(n.data, "snapshots")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	old, other := filepath.Join(dir, "muster-n1-20200101T000000.000Z.snapshot"), filepath.Join(dir, "muster-n2-20200101T000000.000Z.snapshot")
	left, others := filepath.Join(dir, ".muster-n1-new-123"), filepath.Join(dir, ".muster-n1-new-new-123")
	for _, path := range []string{old, other, left, others} {
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n.start().waitLogin(n.passwordFile())
	mine := func() []string {
		files, err := filepath.Glob(filepath.Join(dir, "muster-n1-*.snapshot"))
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	first := ""
	eventually(t, "a snapshot", func() bool {
		for _, f := range mine() {
			if f != old {
				first = f
			}
		}
		return first != ""
	})
	eventually(t, "the oldest to go", func() bool {
		_, err1 := os.Stat(old)
		_, err2 := os.Stat(first)
		return os.IsNotExist(err1) && os.IsNotExist(err2)
	})
	eventually(t, "the status to tell it", func() bool {
		b := n.status(n.passwordFile()).Backup
		return b != nil && b.Error == "" && strings.HasPrefix(b.File, dir) && b.Bytes > 0
	})
	n.stop()
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("what a killed node left unfinished: %v", err)
	}
	if _, err := os.Stat(others); err != nil {
		t.Errorf("what another node is writing: %v", err)
	}
	files := mine()
	if len(files) != 3 {
		t.Errorf("%d snapshots are kept: %v", len(files), files)
	}
	for _, f := range files {
		if _, errs, code := muster(t, "snapshot", "verify", f); code != exitDone {
			t.Errorf("%s: %s", f, errs)
		}
		if st, err := os.Stat(f); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, st.Mode(), err)
		}
	}
	if _, err := os.Stat(other); err != nil {
		t.Errorf("another node's: %v", err)
	}
}

func TestPruneByAge(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 1, 10, 0, 0, 0, 0, time.UTC)
	for _, age := range []time.Duration{0, 24, 48, 72} {
		name := "muster-n1-" + now.Add(-age*time.Hour).Format(backupTime) + backupEnd
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := &backups{dir: dir, keep: 10, age: 30 * time.Hour, name: "n1"}
	if err := b.prune(now); err != nil || len(b.list()) != 2 {
		t.Errorf("%d are left, %v", len(b.list()), err)
	}
	if err := b.prune(now.Add(1000 * time.Hour)); err != nil || len(b.list()) != 1 {
		t.Errorf("%d are left of which all are old, %v", len(b.list()), err)
	}
}
